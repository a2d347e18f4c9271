"""The study of flow matching and diffusion at smoke size, by the command that the docs name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import Config, read_config
from dgmpipe.figures.figure_solvers import figure_solvers
from dgmpipe.plan.companion import companion_params
from dgmpipe.plan.evaluations import EVALUATIONS, measurable, subjects
from dgmpipe.plan.exhibits import exhibits, study_exhibits
from dgmpipe.plan.trainings import training_seconds
from workflow_runs import fresh_copy, snakemake

ROOT = Path(__file__).parent.parent
STUDY = yaml.safe_load((ROOT / "config/studies/diffusion.yaml").read_text(encoding="utf-8"))
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
# Of the study's nine generators three.
CHOSEN = ["vae16", "codes", "pixels"]
SIZE = {"batch_size": 64, "held_out_size": 100, "evaluate_every": 10, "checkpoint_every": 10}
SMALL: dict[str, Any] = {
    "models": {
        **{name: None for name in SMOKE["models"] if name != "classifier"},
        **{name: None for name in STUDY["models"] if name not in CHOSEN},
        "vae16": SMOKE["models"]["vae"] | {"like": None, "latent_dim": 16, "width": 8},
        "pixels": {"like": None, "steps": 8, "width": 8, "evaluations": 4, **SIZE},
        "codes": {"like": None, "steps": 20, "width": 8, "evaluations": 4, **SIZE},
    },
    "studies": {"diffusion": {"models": CHOSEN}},
}


def _laid_over(*names: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in names:
        text = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")
        update_config(config, yaml.safe_load(text))
    return config


@pytest.fixture(scope="module", params=["config", "paper", "smoke"])
def config(request: pytest.FixtureRequest) -> Config:
    """Each tier with the study."""
    return read_config(_laid_over("config", request.param, "studies/diffusion"))


def test_an_image_flow_is_evaluated_by_what_applies_to_it(config: Config) -> None:
    done = {e.name: subjects(config, e) for e in EVALUATIONS}
    flows = {"pixels", "pixels_diffusion", "codes", "codes_diffusion"}
    able = {name for name, models in done.items() if flows & set(models)}
    assert able == {
        *("generate_images", "energy_test", "transport_costs", "sample_quality"),
        "compare_solvers",
    }
    assert all(flows <= set(done[name]) for name in able)
    assert set(done["compare_solvers"]) == flows


def test_without_the_study_there_is_no_comparison_of_solvers() -> None:
    config = read_config(_laid_over("config", "smoke"))
    assert "solvers" not in str(exhibits(config))
    (solvers,) = (e for e in EVALUATIONS if e.name == "compare_solvers")
    assert subjects(config, solvers) == []


def test_figures_of_lines_and_the_companion_leave_image_flows_out(config: Config) -> None:
    found = {exhibit.name: exhibit for exhibit in exhibits(config)}
    ninth, tenth = (found[name].params["titles"] for name in (
        "figure_09_samples", "figure_10_interpolation"
    ))  # fmt: skip
    assert {"Flow matching, pixels", "Diffusion, pixels"} <= set(ninth)
    assert not [title for title in tenth if "Flow" in title or "Diffusion" in title]
    shown = {model["name"] for model in companion_params(config)["models"]}
    assert "vae16" in shown
    assert not shown & {"pixels", "codes"}


def test_a_flow_of_pixels_takes_at_most_two_hours_of_two_cores_at_the_papers_size() -> None:
    config = read_config(_laid_over("config", "paper", "studies/diffusion"))
    assert training_seconds(config, Path("nowhere"))["pixels"] <= 2 * 2 * 3600


def test_the_figure_has_a_panel_a_measure_and_a_line_a_solver() -> None:
    rows = [("euler", 2), ("euler", 4), ("heun", 2), ("heun", 4), ("rk4", 4)]
    table = pd.DataFrame(rows, columns=["solver", "evaluations"])
    figure = figure_solvers({"one": table.assign(energy_distance=1.0, rejected=0.0)})
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "energy distance from test images", "share without a digit"
    ]  # fmt: skip
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [2, 2, 1]
    with pytest.raises(ValueError, match="at least one model"):
        figure_solvers({})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study has been made of three small generators."""
    folder = fresh_copy(tmp_path_factory.mktemp("diffusion"))
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL), "utf-8")
    files = ["config/smoke.yaml", "config/studies/diffusion.yaml", "small.yaml"]
    run = snakemake(folder, "--configfile", *files, "--", "study")
    assert run.returncode == 0, run.stderr[-5000:]
    return folder / "results/smoke"


@pytest.mark.slowest
def test_the_study_ends_in_a_table_and_figures(results: Path) -> None:
    table = pd.read_csv(results / "tables/study_diffusion.csv").set_index("model")
    assert table.index.tolist() == CHOSEN
    of_all = [name for name in table if not name.startswith("solvers.")]
    assert table[of_all].notna().all(axis=None)
    of_flows = [name for name in table if name.startswith("solvers.")]
    assert table.loc[["codes", "pixels"], of_flows].notna().all(axis=None)
    assert table.loc["vae16", of_flows].isna().all()
    for name in ("figure", "solvers", "samples"):
        path = results / f"figures/study_diffusion_{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        caption = (results / f"captions/study_diffusion_{name}.rst").read_text(encoding="utf-8")
        assert "not computed" not in caption
    assert 'id="study_diffusion_solvers"' in (results / "report.html").read_text(encoding="utf-8")


@pytest.mark.slowest
def test_the_evaluations_give_the_numbers_that_a_study_can_ask_for(results: Path) -> None:
    given = _laid_over("config", "smoke", "studies/diffusion")
    update_config(given, SMALL)
    config = read_config(given)
    for model in ("codes", "pixels"):
        folder = results / f"evaluation/{model}/seed_0"
        numbers = json.loads((folder / "solvers.json").read_text(encoding="utf-8"))
        assert numbers.keys() == set(measurable()["solvers"].numbers(config, model))
        table = pd.read_csv(folder / "solvers.csv")
        ways = list(zip(table["solver"], table["evaluations"], strict=True))
        assert ways == [("euler", 2), ("euler", 4), ("heun", 2), ("heun", 4), ("rk4", 4)]
        for row in table.itertuples():
            name = f"energy_distance_{row.solver}_{row.evaluations}"
            assert numbers[name] == pytest.approx(row.energy_distance)
    assert "interpolation" not in np.load(results / "evaluation/pixels/seed_0/samples.npz")
    assert [e.name for e in study_exhibits(config)] == [
        *("study_diffusion_solvers", "study_diffusion_samples"),
        *("study_diffusion_figure", "study_diffusion"),
    ]
