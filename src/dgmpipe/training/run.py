"""From a block of the config to a trained model's files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dgmpipe.data.batches import (
    Batches,
    ImageBatches,
    LabelledBatches,
    MoonsBatches,
    to_float,
)
from dgmpipe.data.mnist import evenly_spread, load_mnist
from dgmpipe.data.moons import sample_moons
from dgmpipe.errors import UserError
from dgmpipe.files import replacing, write_json
from dgmpipe.models.catalog import MODELS
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import load_model, save_weights
from dgmpipe.streams import random_stream, stream_seed
from dgmpipe.training.checkpoint import Checkpoints
from dgmpipe.training.loop import Row, train
from dgmpipe.training.stopwatch import Stopwatch

__all__ = ["train_model"]


def train_model(
    model: str,
    config: Mapping[str, Any],
    *,
    seed: int,
    device: torch.device,
    images: str | Path,
    moons_noise: float,
    folder: str | Path,
    checkpoints: str | Path,
    generator_from: str | Path | None = None,
    on_evaluation: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train a model and write its files.

    They are `model.safetensors`, `history.csv`, `summary.json` and, which alone differs from one
    training to the same again, `time.json`.

    Args:
        model: Name of the model in the config.
        config: The model's block of the config.
        seed: Seeds initial weights, batches and noise, each with a stream of its own.
        device: Where the training takes place.
        images: Folder of the IDX files; read if the model trains on images.
        moons_noise: Noise of the moons; used if the model trains on moons.
        folder: Where the files go.
        checkpoints: Where checkpoints are kept until the result stands.
        generator_from: Folder of a trained model whose generator this one starts from.
        on_evaluation: Called with each new row of the history.

    Raises:
        UserError: If data are missing or a loss is not finite.
    """
    task_type = task_class(model)
    # On a GPU cuDNN is free to add in another order every time, unless told not to.
    torch.backends.cudnn.deterministic = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights"))
        network = task_type.build(config)
    if generator_from is not None:
        start = load_model(generator_from).get_submodule("generator")
        network.get_submodule("generator").load_state_dict(start.state_dict())
    task = task_type(network.to(device), config)
    batches, held_out = _data(MODELS[model].dataset, config, seed, device, images, moons_noise)
    kept = Checkpoints(checkpoints)
    print(f"training {model}, seed {seed}, on {device}", flush=True)

    with kept.held():
        stopwatch = Stopwatch()
        history = train(
            task,
            batches,
            held_out,
            name=f"{model}, seed {seed}",
            steps=config["steps"],
            seed=seed,
            evaluate_every=config["evaluate_every"],
            checkpoint_every=config["checkpoint_every"],
            checkpoints=kept,
            stopwatch=stopwatch,
            on_evaluation=on_evaluation,
        )
        folder = Path(folder)
        save_weights(task.model, folder / "model.safetensors")
        with replacing(folder / "history.csv") as temporary:
            pd.DataFrame(history).to_csv(temporary, index=False)
        summary = {
            "model": model,
            "seed": seed,
            "hyperparameters": dict(config),
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "final": history[-1],
        }
        write_json(summary, folder / "summary.json")
        write_json(stopwatch.read(), folder / "time.json")
        kept.remove()


def _data(
    dataset: str,
    config: Mapping[str, Any],
    seed: int,
    device: torch.device,
    images: str | Path,
    moons_noise: float,
) -> tuple[Batches, Any]:
    """Return the training batches and the held-out data of the evaluations."""
    stream = random_stream(seed, "batches")
    size, held_out_size = config["batch_size"], config["held_out_size"]
    if dataset == "moons":
        held_out = sample_moons(held_out_size, moons_noise, random_stream(seed, "held out"))
        return MoonsBatches(moons_noise, size, stream, device), held_out.to(device)
    training, labels = (tensor.to(device) for tensor in load_mnist(images, "train"))
    if size > len(training):
        raise UserError(
            f"the config asks for batches of {size:,} images, but there are {len(training):,}"
            " training images; lower batch_size"
        )
    test, test_labels = load_mnist(images, "t10k")
    chosen = evenly_spread(held_out_size, len(test))
    test, test_labels = test[chosen].to(device), test_labels[chosen].to(device)
    if dataset == "digits":
        return LabelledBatches(training, labels, size, stream), (to_float(test), test_labels)
    return ImageBatches(training, size, stream), to_float(test)
