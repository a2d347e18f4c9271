"""The studies of GANs: what their designs change, and a run of them at the smallest size."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import Config, read_config
from workflow_runs import fresh_copy, snakemake

ROOT = Path(__file__).parent.parent


def _laid_over(tier: str, study: str) -> Config:
    config: dict[str, Any] = {}
    for name in ("config", tier, f"studies/{study}"):
        text = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")
        update_config(config, yaml.safe_load(text))
    return read_config(config)


# What differs between two models beside the kind, of the keys that both have.
CHANGES = {
    ("dcgan_random", "non_saturating"): {"objective"},
    ("dcgan_random", "least_squares"): {"objective"},
    ("dcgan_random", "hinge"): {"objective"},
    ("dcgan_random", "smoothed"): {"label_smoothing"},
    ("dcgan_random", "plain_critic"): {"critic_batch_norm"},
    ("plain_critic", "spectral"): {"constraint"},
    ("dcgan_random", "extragradient"): {"optimizer"},
    ("dcgan_random", "averaged"): {"average"},
    ("wgan_random", "clipped_weights"): {"clip_batch_norm"},
    ("penalised", "spectral_wgan"): {"constraint"},
    ("penalised", "together"): {"average", "start"},
}
# The choices of the paper's DCGAN, which are the defaults of the kind but for the tier's rates.
PAPER = {
    "objective": "saturating", "constraint": "none", "label_smoothing": 0, "critic_steps": 1,
    "critic_batch_norm": True, "optimizer": "adam",
}  # fmt: skip


@pytest.mark.parametrize("tier", ["config", "smoke", "paper"])
def test_the_design_changes_one_thing_at_a_time(tier: str) -> None:
    config = _laid_over(tier, "gans")
    assert config.seeds == [0, 1, 2]
    assert len(config.sweeps["gans"]) == 2 * 17
    for (one, other), expected in CHANGES.items():
        for q in (2, 16):
            first, second = (
                PAPER | config.models[f"{model}@latent_dim={q}"].model_dump()
                for model in (one, other)
            )
            shared = first.keys() & second.keys() - {"kind", "title"}
            assert {key for key in shared if first[key] != second[key]} == expected, (one, other)
    assert config.models["together@latent_dim=16"].start == "vae@latent_dim=16"


def test_the_map_of_hyperparameters_has_the_papers_point_in_its_middle() -> None:
    config = _laid_over("paper", "hyperparameters")
    points = [point.values for point in config.sweeps["hyperparameters"]]
    paper = config.models["dcgan_random"]
    middle = {k: getattr(paper, k) for k in ("discriminator_learning_rate", "batch_size")}
    for key, value in middle.items():
        assert sorted({point[key] for point in points})[1] == value


@pytest.mark.slowest
def test_the_studies_end_in_tables_and_figures(tmp_path: Path) -> None:
    folder = fresh_copy(tmp_path / "project")
    small = {
        "seeds": [0],
        "models": {"best": {"steps": 2, "evaluate_every": 2}},
        "sweeps": {
            "gans": {"models": ["dcgan_random", "extragradient"], "latent_dim": [2]},
            "critics": {"models": ["gradient_penalty"], "steps": [2]},
            "hyperparameters": {
                "models": ["dcgan_random"],
                "discriminator_learning_rate": [0.0002],
                "batch_size": [16],
            },
        },
        "studies": {
            "gans": {"measures": ["energy.energy_distance", "energy.on_plateau"]},
            "critics": {"measures": ["critic.share", "critic.slope"], "log_y": ["critic.slope"]},
            "hyperparameters": {"measures": ["energy.energy_distance", "energy.on_plateau"]},
            "best_gans": {
                "models": ["best"],
                "measures": ["energy.energy_distance", "training.processor_seconds"],
                "log_y": ["energy.energy_distance"],
            },
        },
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    studies = ("gans", "critics", "hyperparameters", "best_gans")
    configs = ["config/smoke.yaml", *(f"config/studies/{name}.yaml" for name in studies)]
    run = snakemake(folder, "--configfile", *configs, "small.yaml", "--", "study")
    assert run.returncode == 0, run.stderr[-5000:]
    tables = {
        name: pd.read_csv(folder / f"results/smoke/tables/study_{name}.csv") for name in studies
    }
    assert tables["gans"]["model"].tolist() == ["dcgan_random", "extragradient"]
    assert tables["gans"]["energy.on_plateau"].isin([0, 1]).all()
    assert tables["best_gans"]["energy.energy_distance"].gt(0).all()
    assert tables["hyperparameters"]["batch_size"].tolist() == [16]
    assert tables["critics"]["critic.share"].between(0, 1, inclusive="neither").all()
    for name in tables:
        assert (folder / f"results/smoke/figures/study_{name}_figure.png").stat().st_size > 0
