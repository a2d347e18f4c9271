"""The studies of posteriors and of priors at smoke size, by the command that the docs name."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import read_config
from dgmpipe.plan.evaluations import measurable
from workflow_runs import fresh_copy, snakemake

ROOT = Path(__file__).parent.parent
STUDY = yaml.safe_load((ROOT / "config/studies/posteriors.yaml").read_text(encoding="utf-8"))
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
# Of the study's nine VAEs three, trained for a moment.
CHOSEN = ["vae_diagonal", "vae_mixture", "vae_trained_refined"]
SMALL: dict[str, Any] = {
    "seeds": [0],
    "models": {
        **{name: None for name in SMOKE["models"] if name not in ("vae", "classifier")},
        "vae": {"width": 8},
        **{name: None for name in STUDY["models"] if name not in CHOSEN},
        "vae_diagonal": {"width": 8, "steps": 6, "evaluate_every": 3},
    },
    "evaluation": {
        "evidence": {"num_images": 20},
        "split": {"num_images": 4, "limit": 5, "resolution": 40, "num_starts": 2, "num_steps": 4},
        "prior": {
            "num_codes": 300, "components": 3, "flow_steps": 10, "num_images": 5, "limit": 5,
            "resolution": 40, "num_samples": 60,
        },
    },
    "studies": {"posteriors": {"models": CHOSEN}},
}  # fmt: skip
FILES = ["config/smoke.yaml", "config/studies/posteriors.yaml", "config/studies/priors.yaml"]
pytestmark = pytest.mark.slowest


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both studies have been made of small VAEs."""
    folder = fresh_copy(tmp_path_factory.mktemp("posteriors"))
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL, allow_unicode=True), "utf-8")
    run = snakemake(folder, "--configfile", *FILES, "small.yaml", "--", "study")
    assert run.returncode == 0, run.stderr[-5000:]
    return folder / "results/smoke"


def test_the_study_of_posteriors_has_a_row_for_each(results: Path) -> None:
    table = pd.read_csv(results / "tables/study_posteriors.csv")
    assert table["model"].tolist() == CHOSEN
    parts = table["split.family_gap_mean"] + table["split.amortisation_gap_mean"]
    splits = [json.loads(p.read_text()) for p in results.glob("evaluation/*/seed_0/split.json")]
    assert len(splits) == 3
    largest = max(split["left_largest"] for split in splits)
    assert (parts - table["split.gap_mean"]).abs().max() <= largest + 1e-9
    assert (table["training.processor_seconds"] > 0).all()
    for name in ("study_posteriors_posteriors", "study_posteriors_figure"):
        assert (results / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    caption = (results / "captions/study_posteriors_posteriors.rst").read_text(encoding="utf-8")
    assert "not computed" not in caption


def test_the_evaluations_give_the_numbers_that_a_study_can_ask_for(results: Path) -> None:
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    for file in FILES:
        update_config(given, yaml.safe_load((ROOT / file).read_text(encoding="utf-8")))
    update_config(given, SMALL)
    config = read_config(given)
    for name in ("split", "prior"):
        for path in results.glob(f"evaluation/*/seed_0/{name}.json"):
            numbers = json.loads(path.read_text(encoding="utf-8"))
            assert numbers.keys() == set(measurable()[name].numbers(config, path.parts[-3]))


def test_the_study_of_priors_has_a_row_for_each(results: Path) -> None:
    table = pd.read_csv(results / "tables/priors.csv")
    rows = list(zip(table["model"], table["prior"], strict=True))
    priors = ("normal", "mixture", "flow")
    assert rows == [(model, prior) for model in ("vae", *CHOSEN) for prior in priors]
    # Of five images there are too few clusters for errors.
    measured = [name for name in table if not name.endswith("standard_error")]
    assert table[measured].notna().all(axis=None)
    normal = table[table["prior"] == "normal"]
    assert (normal["log_evidence_gain_mean"] == 0).all()
    # The mixture was fitted to the codes, and N(0, I) was not.
    means = table.groupby("prior")["codes_nll"].mean()
    assert means["mixture"] < means["normal"]
    assert (results / "figures/priors_vae.png").read_bytes().startswith(b"\x89PNG")
    page = (results / "report.html").read_text(encoding="utf-8")
    assert 'id="priors"' in page
    assert 'id="study_posteriors_posteriors"' in page
