"""What holds for every kind of model, on every kind of device that is here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from dgmpipe.config.kinds import KINDS
from dgmpipe.training.data import dataset_from
from dgmpipe.training.loop import Row
from dgmpipe.training.run import train_model
from trainings import settings_of

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
RATES = dict.fromkeys(
    ("learning_rate", "discriminator_learning_rate", "generator_learning_rate"), 1e-3
)
SMALL = {"width": 8, "steps": 7, "batch_size": 16, "held_out_size": 40, **RATES}
STARTS = {"latent_flow": "vae"}
# For work on one module the paper's kinds are enough.
OF_THE_PAPER = ("realnvp", "otflow", "vae", "dcgan", "wgan")


class Killed(Exception):
    """Stands for the end of a process that nobody announced."""


def _train(
    kind: str,
    folder: Path,
    images: Path,
    device: str,
    on_evaluation: Callable[[Row], None] = lambda row: None,
) -> tuple[bytes, pd.DataFrame]:
    """Train a small model of a kind, and return its weights and history."""
    keys = KINDS[kind].settings.model_fields
    block: dict[str, Any] = {key: value for key, value in SMALL.items() if key in keys}
    block |= {"kind": kind, "evaluate_every": 2, "checkpoint_every": 3}
    start = None
    if kind in STARTS:
        start = folder.with_name(STARTS[kind])
        block |= {"start": STARTS[kind]}
        if not start.is_dir():
            _train(STARTS[kind], start, images, device)
    settings = settings_of(block)
    train_model(
        kind,
        settings,
        dataset_from(settings, images, start),
        seed=0,
        device=torch.device(device),
        folder=folder,
        checkpoints=folder.with_name(f"{folder.name}_checkpoints"),
        start=start,
        on_evaluation=on_evaluation,
    )
    weights = (folder / "model.safetensors").read_bytes()
    return weights, pd.read_csv(folder / "history.csv")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "kind",
    [k if k in OF_THE_PAPER else pytest.param(k, marks=pytest.mark.slow) for k in KINDS],
)
def test_a_training_that_was_killed_continues_to_the_same_bytes(
    kind: str, device: str, tmp_path: Path, image_folder: Path
) -> None:
    def kill(row: Row) -> None:
        if row["step"] == 4:
            raise Killed

    weights, history = _train(kind, tmp_path / "whole", image_folder, device)
    with pytest.raises(Killed):
        _train(kind, tmp_path / "killed", image_folder, device, kill)
    assert list((tmp_path / "killed_checkpoints").rglob("*.ckpt"))
    again, rows = _train(kind, tmp_path / "killed", image_folder, device)
    assert again == weights
    pd.testing.assert_frame_equal(rows, history, check_exact=True)
    assert rows["step"].tolist() == [0, 2, 4, 6, 7]
