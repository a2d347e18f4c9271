"""A training in this process, as the tests of several kinds need it."""

from pathlib import Path

import torch

from dgmpipe.config.kinds import ModelSettings
from dgmpipe.training.run import dataset_of, train_model

__all__ = ["train_here"]


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
