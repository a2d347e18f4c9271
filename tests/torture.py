"""Kill trainings at random moments, let them continue, and compare what comes out in the end.

    python tests/torture.py --kills 100

Every model is trained on the committed sample of MNIST, or on moons, once undisturbed and once
with kills: SIGKILL after a random time, SIGKILL while a checkpoint is being written, and SIGTERM.
Weights, history and summary must be the same to the byte.
"""

import argparse
import contextlib
import gzip
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import yaml

from dgmpipe.config import read_config
from dgmpipe.config.kinds import ModelSettings
from dgmpipe.errors import Interrupted
from dgmpipe.models.registry import task_class
from trainings import train_here

ROOT = Path(__file__).parent.parent
FILES = ("model.safetensors", "history.csv", "summary.json")
CONTINUED = "continued from a checkpoint"
KINDS = {"after a random time": 6, "while writing a checkpoint": 3, "with SIGTERM": 1}

# A forked process has everything imported: a kill costs milliseconds, not the start of torch.
fork = multiprocessing.get_context("fork")


def settings_of_models() -> dict[str, ModelSettings]:
    """Return the smoke tier's models, with fewer steps and a checkpoint every other one."""
    smoke = read_config(yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8")))
    return {
        name: model.model_copy(update={"steps": min(30, model.steps), "checkpoint_every": 2})
        for name, model in smoke.models.items()
    }


MODELS = settings_of_models()


def train(model: str, work: Path, log: Path) -> None:
    """Train in this process, a fork, and leave with 143 where SIGTERM asked for it."""
    torch.set_num_threads(1)
    settings = MODELS[model]
    start = settings.start
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        try:
            train_here(
                model,
                settings,
                work / "result",
                images=work.parent / "images",
                start=start and work.parent / f"{start}_undisturbed/result",
            )
        except Interrupted:
            sys.exit(143)


def launch(model: str, work: Path) -> BaseProcess:
    work.mkdir(exist_ok=True)
    process = fork.Process(target=train, args=(model, work, work / "log.txt"))
    process.start()
    return process


def finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"a training ended with exit status {process.exitcode}")


def checkpoint_files(work: Path, prefix: str) -> list[str]:
    try:
        return [name for name in os.listdir(work / "result_checkpoints") if name.startswith(prefix)]
    except FileNotFoundError:  # not yet, or no more
        return []


def newest(work: Path) -> str:
    return max(checkpoint_files(work, "step_"), default="")


def kill(
    process: BaseProcess, kind: str, work: Path, duration: float, chance: random.Random
) -> bool:
    """Kill a training in the given way and return whether it had not ended by itself before."""
    # Mostly once it has got somewhere, so that there is something to continue from.
    if chance.random() < 0.8:
        before = newest(work)
        while process.is_alive() and newest(work) == before:
            pass
    if kind == "while writing a checkpoint":
        # Between the appearance of the temporary file and its renaming the state is being written.
        while process.is_alive() and not checkpoint_files(work, ".step_"):
            pass
        time.sleep(chance.uniform(0, 0.002))
    else:
        process.join(chance.uniform(0, duration / 4))
    if not process.is_alive():
        return False
    (process.terminate if kind == "with SIGTERM" else process.kill)()
    process.join()
    return process.exitcode != 0


def torture(model: str, kills: int, folder: Path, chance: random.Random) -> Counter[str]:
    """Train a model undisturbed and with `kills` kills; return how often which kind hit.

    Raises:
        SystemExit: If a result differs from the undisturbed one.
    """
    undisturbed, disturbed = folder / f"{model}_undisturbed", folder / f"{model}_disturbed"
    start = time.monotonic()
    finish(launch(model, undisturbed))
    duration = time.monotonic() - start
    hits: Counter[str] = Counter()
    continued = 0
    while True:
        process = launch(model, disturbed)
        if hits.total() < kills:
            (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
            if kill(process, kind, disturbed, duration, chance):
                hits[kind] += 1
                continue
        finish(process)
        for name in FILES:
            if (undisturbed / "result" / name).read_bytes() != (
                disturbed / "result" / name
            ).read_bytes():
                raise SystemExit(f"{model}: {name} differs after {hits.total()} kills: {disturbed}")
        continued += (
            (disturbed / "log.txt").read_text(encoding="utf-8").count("continuing after step")
        )
        if hits.total() >= kills:
            return hits + Counter({CONTINUED: continued})
        shutil.rmtree(disturbed)


def unpack_images(folder: Path) -> None:
    folder.mkdir()
    for path in (ROOT / "tests/data/mnist").glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="in all (default: 100)")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    # All are imported before the first fork.
    for settings in MODELS.values():
        task_class(settings.kind)
    models = arguments.models
    starts = [MODELS[m].start for m in models]
    total: Counter[str] = Counter()
    print(f"seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    unpack_images(folder / "images")
    for start in {s for s in starts if s and s not in models}:
        finish(launch(start, folder / f"{start}_undisturbed"))
    for k, model in enumerate(models):
        kills = arguments.kills // len(models) + (k < arguments.kills % len(models))
        hits = torture(model, kills, folder, chance)
        total += hits
        tally = ", ".join(f"{hits[kind]} {kind}" for kind in [*KINDS, CONTINUED])
        print(f"{model:13} {kills:4} kills: {tally}; identical bytes", flush=True)
    shutil.rmtree(folder)
    kills = sum(total[kind] for kind in KINDS)
    print(f"{kills} kills, {total[CONTINUED]} continuations, every result identical to the byte")


if __name__ == "__main__":
    main()
