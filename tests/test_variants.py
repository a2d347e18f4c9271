"""Models, sweeps and studies that the package does not know, from a config alone."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import Config, read_config
from dgmpipe.plan.exhibits import exhibits
from workflow_runs import fresh_copy, planned, snakemake

ROOT = Path(__file__).parent.parent
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
COMMON = {"width": 8, "held_out_size": 100}
LAID_OVER: dict[str, Any] = {
    "tier": "made-up",
    "seeds": [0, 7],
    "models": dict.fromkeys(name for name in SMOKE["models"] if name != "classifier")
    | {
        "eight": {
            "kind": "vae", "latent_dim": 8, "steps": 20, "learning_rate": 0.002, **COMMON
        },
        "tight": {
            "kind": "wgan", "start": "eight", "latent_dim": 8, "steps": 4, "batch_size": 16,
            "discriminator_learning_rate": 0.0005, "generator_learning_rate": 0.0005,
            "clip": 0.05, "evaluate_every": 2, **COMMON
        },
        "short": {
            "kind": "realnvp", "num_layers": 3, "noise": 0.1, "steps": 30,
            "learning_rate": 0.001, **COMMON
        },
    },
    "sweeps": {
        "depth": {
            "models": ["short"], "combine": "zip",
            "learning_rate": [0.001, 0.002], "num_layers": [1, 2],
        }
    },
    "studies": {
        "depth": {
            "question": "How many layers does Real NVP need (Section 3.2)?",
            "sweep": "depth",
            "x": "num_layers",
            "measures": ["flow.kl", "flow.nll"],
            "note": "These were trained for a moment.",
        }
    },
}  # fmt: skip
SHORT = [
    "short",
    "short@learning_rate=0.001,num_layers=1",
    "short@learning_rate=0.002,num_layers=2",
]
# A figure that `all` leaves out.
ASKED = f"figures/any/flow_{SHORT[2]}_seed_7.png"

pytestmark = pytest.mark.slow

CONFIG_FILES = ("--configfile", "config/smoke.yaml", "made_up.yaml")


@pytest.fixture(scope="module")
def config() -> Config:
    """What the workflow makes of the two files."""
    laid = json.loads(json.dumps(SMOKE))
    update_config(laid, LAID_OVER)
    return read_config(laid)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder in which all of it has been made, and what Snakemake said."""
    folder = fresh_copy(tmp_path_factory.mktemp("made-up"))
    text = yaml.safe_dump(LAID_OVER, allow_unicode=True)
    (folder / "made_up.yaml").write_text(text, encoding="utf-8")
    targets = ["all", f"results/made-up/{ASKED}"]
    return folder, snakemake(folder, *CONFIG_FILES, "--keep-going", "--", *targets)


@pytest.fixture(scope="module")
def results(run: tuple[Path, subprocess.CompletedProcess]) -> Path:
    return run[0] / "results/made-up"


def _table(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / f"tables/{name}.csv")


def test_everything_is_made_and_nothing_is_left_to_do(
    run: tuple[Path, subprocess.CompletedProcess], results: Path, config: Config
) -> None:
    folder, made = run
    assert made.returncode == 0, made.stderr[-5000:]
    # Three models and two points of two seeds, and the judge of one.
    assert re.search(r"^11 trainings, about 0\.\d core hours", made.stderr, re.M)
    for exhibit in exhibits(config):
        for path in exhibit.outputs.values():
            assert (results / path).stat().st_size > 0, path
    again = snakemake(folder, "-n", *CONFIG_FILES, "--", "all")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_tables_have_every_model_and_seed(results: Path) -> None:
    flows = _table(results, "flows")
    assert list(zip(flows["model"], flows["seed"], strict=True)) == [
        (model, seed) for model in SHORT for seed in (0, 7)
    ]
    parameters = flows.groupby("model")["parameters"].unique()
    assert [parameters[model].tolist() for model in SHORT] == [
        [layers * parameters[SHORT[1]][0]] for layers in (3, 1, 2)
    ]
    # Of moons with noise 0.1; with 0.05 it is 0.29.
    assert flows["entropy"].between(1, 1.02).all()
    generators = _table(results, "generators")
    assert list(generators["model"]) == ["eight", "eight", "tight", "tight", "real", "real"]
    assert generators["energy_distance"].nunique() == 6
    for name in ("flows", "generators"):
        table, summary = _table(results, name), _table(results, f"{name}_summary")
        column = "nll" if name == "flows" else "energy_distance"
        of_seeds = table.groupby("model", sort=False)[column]
        assert (summary["seeds"] == 2).all()
        assert summary[f"{column}_mean"].tolist() == pytest.approx(of_seeds.mean().tolist())
        assert summary[f"{column}_sd"].tolist() == pytest.approx(of_seeds.std().tolist())


def test_the_evidence_of_eight_latent_dimensions_exceeds_its_bound(results: Path) -> None:
    table = _table(results, "vae_evidence")
    assert list(zip(table["model"], table["seed"], strict=True)) == [("eight", 0), ("eight", 7)]
    assert (table["gap_mean"] > 0).all()
    # What needs a plane is not attempted.
    assert not list(results.glob("evaluation/eight/*/posterior.npz"))
    assert not list(results.glob("figures/*eight*"))


def test_a_study_answers_its_question_in_numbers(results: Path) -> None:
    table = _table(results, "study_depth")
    assert table.columns.tolist() == [
        *("model", "learning_rate", "num_layers", "seed", "flow.kl", "flow.nll")
    ]
    assert table["num_layers"].tolist() == [1, 1, 2, 2]
    flows = _table(results, "flows")
    assert table["flow.kl"].tolist() == flows[flows["model"] != "short"]["kl"].tolist()
    caption = (results / "captions/study_depth_figure.rst").read_text(encoding="utf-8")
    assert caption.startswith("How many layers does Real NVP need (Section 3.2)?\n")
    pattern = r"^- short, kl: (\S+) ± \S+ at learning rate 0\.001, num layers 1; (\S+) ± "
    (answer,) = re.findall(pattern, caption, re.M)
    means = table.groupby("num_layers")["flow.kl"].mean()
    assert [float(value) for value in answer] == pytest.approx(means.tolist(), rel=0.1)
    assert "mean ± deviation over 2 seeds" in caption
    assert "These were trained for a moment." in caption


def test_captions_state_numbers_over_the_seeds(results: Path, config: Config) -> None:
    captions = {
        path.stem: path.read_text(encoding="utf-8") for path in results.glob("captions/*.rst")
    }
    assert captions.keys() == {exhibit.name for exhibit in exhibits(config)}
    for name, text in captions.items():
        assert "not computed" not in text, name
    over = re.compile("mean ± deviation over 2 seeds", re.I)
    said = {name for name, text in captions.items() if over.search(" ".join(text.split()))}
    assert said >= {"flow_short", "flows", "vae_evidence", "figure_09_samples"}
    assert said >= {"figure_11_energy_distance", "study_depth_figure"}
    flows = _table(results, "flows").groupby("model")["kl"]
    stated = re.search(r"^- short: .*nats, (\S+) ± (\S+) from", captions["flows"], re.M)
    mean, deviation = stated.groups()
    assert float(mean) == pytest.approx(flows.mean()["short"], rel=0.1)
    assert float(deviation) == pytest.approx(flows.std()["short"], rel=0.1)


def test_the_report_has_the_study_with_its_question(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    assert '<p class="question">How many layers does Real NVP need (Section 3.2)?</p>' in page
    assert 'id="flow_short"' in page


def test_mlflow_knows_each_model_by_kind_and_family(
    run: tuple[Path, subprocess.CompletedProcess],
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run[0] / 'results/mlflow.db'}")
    experiment = client.get_experiment_by_name("dgmpipe-made-up")
    runs = client.search_runs([experiment.experiment_id], "tags.seed = '7'")
    found = {r.data.tags["model"]: (r.data.tags["kind"], r.data.tags["family"]) for r in runs}
    assert found == {
        "eight": ("vae", "vae"),
        "tight": ("wgan", "gan"),
        **dict.fromkeys(SHORT, ("realnvp", "flow")),
    }
    models = client.search_logged_models([experiment.experiment_id])
    assert {model.tags["model"] for model in models} == found.keys(), "each makes something"
    (tight,) = (r for r in runs if r.data.tags["model"] == "tight")
    assert (tight.data.params["start"], tight.data.params["clip"]) == ("eight", "0.05")


def test_any_model_and_seed_can_be_drawn(results: Path) -> None:
    assert (results / ASKED).read_bytes().startswith(b"\x89PNG")


def test_a_further_point_is_all_that_a_longer_sweep_trains(
    run: tuple[Path, subprocess.CompletedProcess],
) -> None:
    lists = {"learning_rate": [0.001, 0.002, 0.002], "num_layers": [1, 2, 4]}
    longer = {"sweeps": {"depth": {"models": ["short"], "combine": "zip", **lists}}}
    (run[0] / "longer.yaml").write_text(yaml.safe_dump(longer))
    jobs = planned(snakemake(run[0], "-n", *CONFIG_FILES, "longer.yaml", "--", "study"))
    assert jobs == {
        "train": 2, "evaluate_flow": 2, "study_depth": 1, "study_depth_figure": 1, "study": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("short@width=9", "the config has no model short@width=9"),
        ("unknown", "MissingRuleException"),
    ],
)
def test_a_model_that_the_config_does_not_have_is_not_trained(
    run: tuple[Path, subprocess.CompletedProcess], model: str, sentence: str
) -> None:
    """Rules do not list all points of a sweep, which would take long to read."""
    file = f"results/made-up/models/{model}/seed_0/summary.json"
    asked = snakemake(run[0], "-n", *CONFIG_FILES, "--", file)
    assert asked.returncode != 0
    assert sentence in asked.stdout + asked.stderr
