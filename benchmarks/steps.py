"""Milliseconds a training step, the textbook's and ours, and the speed of a matrix product.

    python benchmarks/steps.py KIND textbook|ours [DEVICE]  or  python benchmarks/steps.py product

answers seconds on its stdin with milliseconds a step within them, or with GFLOP/s.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.config.kinds import KINDS
from workers import Worker, serve

ROOT = Path(__file__).parent.parent
ROUNDS, SECONDS = 7, 1.5
OF_THE_PAPER = ("realnvp", "otflow", "vae", "dcgan", "wgan", "classifier")


def measure(threads: int, side_by_side: int) -> pd.DataFrame:
    """Return a row a model, with medians over rounds in which everything is measured in turn."""
    rows = []
    with Worker(__file__, "product", threads=threads) as product:
        for model in OF_THE_PAPER:
            print(f"{model}, threads: {threads}", flush=True)
            rows.append({"model": model, "threads": threads} | _compare(model, threads, product))
            # With one core there is nothing to be gained.
            together = threads == 1 and side_by_side > 1
            rows[-1]["side_by_side"] = _side_by_side(model, side_by_side) if together else math.nan
    return pd.DataFrame(rows)


def measure_gpu() -> pd.DataFrame:
    """Return a row a model, with medians over rounds on the GPU in which both steps take turns."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("error: PyTorch sees no GPU here; leave out: gpu")
    rows = []
    for model in OF_THE_PAPER:
        print(f"{model}, on the GPU", flush=True)
        with (
            Worker(__file__, model, "textbook", "cuda") as textbook,
            Worker(__file__, model, "ours", "cuda") as ours,
        ):
            pairs = [(textbook.measure(0.5), ours.measure(0.5)) for _ in range(ROUNDS + 1)][1:]
        plain, fast = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        rows.append({"model": model, "textbook_ms": plain, "ours_ms": fast, "ratio": ratio})
    return pd.DataFrame(rows).assign(gpu=torch.cuda.get_device_name())


def _compare(model: str, threads: int, product: Worker) -> dict[str, float]:
    with (
        Worker(__file__, model, "textbook", threads=threads) as textbook,
        Worker(__file__, model, "ours", threads=threads) as ours,
    ):
        rounds = [
            (textbook.measure(SECONDS), ours.measure(SECONDS), product.measure(SECONDS / 2))
            for _ in range(ROUNDS + 1)
        ][1:]
    plain, fast, speed = (statistics.median(values) for values in zip(*rounds, strict=True))
    ratios = sorted(a / b for a, b, _ in rounds)
    gflop = _gflop(model)
    return {
        "textbook_ms": plain,
        "ours_ms": fast,
        "ratio": statistics.median(ratios),
        "lowest_ratio": ratios[0],
        "highest_ratio": ratios[-1],
        "gflop": gflop,
        "gflops": gflop / fast * 1e3,
        "share_of_product": statistics.median(gflop / b * 1e3 / c for _, b, c in rounds),
        "product_gflops": speed,
    }


def _side_by_side(model: str, count: int) -> float:
    """How many times the steps of one training several do together, each with one thread."""
    workers = [Worker(__file__, model, "ours") for _ in range(count)]
    try:
        gains = []
        for _ in range(ROUNDS):
            alone = workers[0].measure(SECONDS)
            for worker in workers:
                worker.ask(SECONDS)
            gains.append(sum(alone / worker.answer() for worker in workers))
        return statistics.median(gains)
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)


def paper_config() -> Config:
    """Return the config of the paper tier."""
    return read_config(yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8")))


def build_step(kind: str, version: str, device: str = "cpu") -> Callable[[], Any]:
    """Return a function that does one step with the paper's settings, data loader included."""
    import torch

    import textbook
    from dgmpipe.data.batches import ImageBatches, LabelledBatches, MoonsBatches
    from dgmpipe.jobs.job import keep_freed_memory
    from dgmpipe.models.registry import task_class

    torch.manual_seed(0)
    settings = next(s for s in paper_config().models.values() if s.kind == kind)
    config, noise = settings.model_dump(), torch.Generator().manual_seed(0)
    size, data = settings.batch_size, KINDS[kind].data
    # What the images show does not matter here.
    images = torch.randint(256, (10_000, 28, 28), dtype=torch.uint8)
    labels = torch.randint(10, (10_000,))
    if version == "textbook":
        plain = textbook.build(kind, config).to(device)
        batches = {
            "points": lambda: textbook.moons(size),
            "images": lambda: textbook.images(images, labels, size),
            "labelled images": lambda: textbook.digits(images, labels, size),
        }[data]()
        if device != "cpu":
            batches = (_moved(batch, device) for batch in batches)
        return lambda: plain.step(batches, noise)
    keep_freed_memory()
    task = task_class(kind)
    ours = task(task.build(config).to(device), config)
    images, labels = images.to(device), labels.to(device)
    batches = {
        "points": lambda: MoonsBatches(0.05, size, noise, torch.device(device)),
        "images": lambda: ImageBatches(images, size, noise),
        "labelled images": lambda: LabelledBatches(images, labels, size, noise),
    }[data]()
    return lambda: ours.step(batches, noise)


def _moved(batch: Any, device: str) -> Any:
    """Move a batch, or each of its parts."""
    return [x.to(device) for x in batch] if isinstance(batch, list) else batch.to(device)


def _gflop(model: str) -> float:
    """Floating point operations of the products and convolutions in a step, in 10⁹."""
    from torch.utils.flop_counter import FlopCounterMode

    step = build_step(model, "textbook")
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e9


def _milliseconds(step: Callable[[], Any], seconds: float) -> float:
    import torch

    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds or not count:
        step()
        count += 1
    if torch.cuda.is_initialized():  # a GPU lags behind
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count * 1e3


def main() -> None:
    """Answer as the module says."""
    if sys.argv[1] == "product":
        import torch

        size = 2048
        a, b = torch.rand(size, size), torch.rand(size, size)
        serve(lambda seconds: 2 * size**3 / _milliseconds(lambda: a @ b, seconds) / 1e6)
    else:
        step = build_step(*sys.argv[1:])
        serve(lambda seconds: _milliseconds(step, seconds))


if __name__ == "__main__":
    main()
