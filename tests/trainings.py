"""Trained models as the tests of several kinds need them: trained in this process, or made up."""

from pathlib import Path
from typing import Any

import torch

from dgmpipe.config.kinds import KINDS, ModelSettings
from dgmpipe.files import write_json
from dgmpipe.models.storage import save_weights, untrained_model
from dgmpipe.training.run import dataset_of, train_model

__all__ = ["make_up", "settings_of", "train_here"]


def settings_of(block: dict[str, Any]) -> ModelSettings:
    """Return the settings that a block of a config stands for."""
    return KINDS[block["kind"]].settings.model_validate(block)


def train_here(
    name: str,
    settings: ModelSettings,
    folder: Path,
    *,
    images: Path | None = None,
    start: Path | None = None,
) -> None:
    """Train a model with seed 0 on the CPU into a folder, with its checkpoints beside that."""
    train_model(
        name,
        settings,
        dataset_of(settings, images),
        seed=0,
        device=torch.device("cpu"),
        folder=folder,
        checkpoints=folder.parent / f"{folder.name}_checkpoints",
        start=start,
    )


def make_up(folder: Path, kind: str, **hyperparameters: Any) -> Path:
    """Write a model with random weights to a folder as if it had been trained."""
    save_weights(untrained_model(kind, hyperparameters), folder / "model.safetensors")
    write_json({"kind": kind, "hyperparameters": hyperparameters}, folder / "summary.json")
    return folder
