"""How much of a GAN's last energy distance is luck? A table of docs/gans.md.

    python benchmarks/excursions.py IMAGES MODEL [MODEL ...]

Trains each trained GAN for some steps more, with new moments of its optimisers, and measures the
energy distance every few steps, of its weights and of their moving average: how far it goes up and
down, and for how long. The first steps are left out, until the moments are those of the gradients.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dgmpipe.data.batches import Batches
from dgmpipe.data.datasets import Images
from dgmpipe.models.gan import GANTask
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import load_model
from dgmpipe.streams import random_stream
from dgmpipe.training.options import Average

STEPS, EVERY, LEFT_OUT = 1000, 20, 100
HELD_OUT = 1000
DECAY = 0.99


def continued(
    task: GANTask, batches: Batches, held_out: Tensor, steps: int, every: int
) -> Iterator[tuple[int, float, float]]:
    """Yield the step, the energy distance there and that of the averaged weights.

    Args:
        task: Of the trained model.
        batches: What it is trained on.
        held_out: Images (N, C, H, W) to compare with as many of the generator's.
        steps: How many to train for.
        every: After how many to measure, the first time before any.
    """
    noise, averaged = random_stream(0, "noise"), Average(task.model, DECAY)

    def distance() -> float:
        task.model.eval()
        with torch.no_grad():
            value = task.evaluate(held_out, random_stream(0, "evaluation"))["energy_distance"]
        task.model.train()
        return value

    for step in range(steps + 1):
        if step % every == 0:
            with averaged.in_place():
                of_average = distance()
            yield step, distance(), of_average
        task.step(batches, noise)
        averaged.update(step + 1)


def spread(distances: Sequence[float]) -> dict[str, float]:
    """Return median, 5% and 95% quantile and maximum, and how often it is twice the median.

    `longest` is how many measurements in a row are beyond twice the median at most.
    """
    values = np.array(distances)
    median = float(np.median(values))
    beyond = values > 2 * median
    runs = (len(list(run)) for is_beyond, run in itertools.groupby(beyond) if is_beyond)
    low, high = np.quantile(values, [0.05, 0.95])
    return {
        "median": median,
        "5%": float(low),
        "95%": float(high),
        "maximum": float(values.max()),
        "twice": float(beyond.mean()),
        "longest": max(runs, default=0),
    }


def main() -> None:
    """Print a row for each model and for its averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="folder of MNIST's files")
    parser.add_argument("models", nargs="+", help="folders of trained GANs")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--every", type=int, default=EVERY)
    arguments = parser.parse_args()
    if not 1 <= arguments.every <= arguments.steps - LEFT_OUT:
        parser.error(f"--every must be 1 to --steps less the {LEFT_OUT:,} that are left out")
    data, cpu = Images(arguments.images), torch.device("cpu")
    held_out = data.held_out(HELD_OUT, 0, cpu)
    torch.set_flush_denormal(True)
    for folder in arguments.models:
        summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
        settings = summary["hyperparameters"]
        task = task_class(settings["kind"])(load_model(folder), settings)
        batches = data.batches(settings["batch_size"], 0, cpu)
        found = pd.DataFrame(
            continued(task, batches, held_out, arguments.steps, arguments.every),
            columns=["step", "of its weights", "of their average"],
        )
        late = found[found["step"] >= LEFT_OUT]
        for kind in found.columns[1:]:
            row = {"model": folder, "distance": kind, "before": found[kind][0]}
            print(pd.Series(row | spread(late[kind])).to_json(force_ascii=False), flush=True)


if __name__ == "__main__":
    main()
