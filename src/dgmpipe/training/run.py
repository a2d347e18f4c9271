"""From the settings of a model to a trained model's files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dgmpipe.config.kinds import KINDS, FlowSettings, ModelSettings
from dgmpipe.data.datasets import Dataset, Images, LabelledImages, Moons, PlanePoints, Points
from dgmpipe.files import replacing, write_json
from dgmpipe.models.flow import Standardised
from dgmpipe.models.registry import build_model, task_class
from dgmpipe.models.storage import load_model, save_weights
from dgmpipe.streams import stream_seed
from dgmpipe.training.checkpoint import Checkpoints
from dgmpipe.training.loop import Row, snapshot_steps, train
from dgmpipe.training.stopwatch import Stopwatch

__all__ = ["dataset_of", "train_model"]


def dataset_of(settings: ModelSettings, images: str | Path | None = None) -> Dataset:
    """Return what a model is trained on.

    Args:
        settings: Of the model.
        images: Folder of the images' files, if it is trained on these.

    Raises:
        UserError: If a file of points is missing or holds something else.
    """
    if isinstance(settings, FlowSettings):
        return Moons(settings.noise) if settings.data == "moons" else Points(settings.data)
    assert images is not None
    labelled = KINDS[settings.kind].data == "labelled images"
    return LabelledImages(images) if labelled else Images(images)


def train_model(
    model: str,
    settings: ModelSettings,
    dataset: Dataset,
    *,
    seed: int,
    device: torch.device,
    folder: str | Path,
    checkpoints: str | Path,
    start: str | Path | None = None,
    on_evaluation: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train a model and write its files.

    They are `model.safetensors`, `history.csv`, `snapshots.npz` with samples from `steps` of the
    training, `summary.json` and, which alone differs from one training to the same again,
    `time.json`.

    Args:
        model: Name of the model.
        settings: Its settings.
        dataset: What it is trained on.
        seed: Seeds initial weights, batches and noise, each with a stream of its own.
        device: Where the training takes place.
        folder: Where the files go.
        checkpoints: Where checkpoints are kept until the result stands.
        start: Folder of a trained model whose generator this one starts from.
        on_evaluation: Called with each new row of the history.

    Raises:
        UserError: If data are missing or a loss is not finite.
    """
    task_type, config = (
        task_class(settings.kind),
        settings.model_dump() | dataset.hyperparameters(),
    )
    # On a GPU cuDNN is free to add in another order every time, unless told not to.
    torch.backends.cudnn.deterministic = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights"))
        network = build_model(settings.kind, config)
    if isinstance(network, Standardised):
        assert isinstance(dataset, PlanePoints)
        network = Standardised(network.flow, *dataset.moments())
    if start is not None:
        generator = load_model(start).get_submodule("generator")
        network.get_submodule("generator").load_state_dict(generator.state_dict())
    task = task_type(network.to(device), config)
    kept = Checkpoints(checkpoints)
    print(f"training {model}, seed {seed}, on {device}", flush=True)

    with kept.held():
        stopwatch = Stopwatch()
        history, snapshots = train(
            task,
            dataset.batches(settings.batch_size, seed, device),
            dataset.held_out(settings.held_out_size, seed, device),
            name=f"{model}, seed {seed}",
            steps=settings.steps,
            seed=seed,
            evaluate_every=settings.evaluate_every,
            checkpoint_every=settings.checkpoint_every,
            checkpoints=kept,
            stopwatch=stopwatch,
            decay=settings.learning_rate_decay,
            average=settings.average,
            precision=getattr(torch, settings.precision),
            snapshots_at=snapshot_steps(settings.steps, settings.snapshots),
            on_evaluation=on_evaluation,
        )
        folder = Path(folder)
        save_weights(task.model, folder / "model.safetensors")
        with replacing(folder / "history.csv") as temporary:
            pd.DataFrame(history).to_csv(temporary, index=False)
        with replacing(folder / "snapshots.npz") as temporary, temporary.open("wb") as file:
            samples = torch.stack([*snapshots.values()]) if snapshots else torch.empty(0)
            np.savez_compressed(file, steps=np.array([*snapshots], int), samples=samples.numpy())
        summary = {
            "model": model,
            "kind": settings.kind,
            "seed": seed,
            "hyperparameters": config,
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "final": history[-1],
        }
        write_json(summary, folder / "summary.json")
        write_json(stopwatch.read(), folder / "time.json")
        kept.remove()
