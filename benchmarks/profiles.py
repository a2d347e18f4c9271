"""What the milliseconds of a training step are spent on: the textbook's and ours.

    python benchmarks/profiles.py KIND textbook|ours STEPS

prints milliseconds a step by kind of operation.
"""

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd

from steps import OF_THE_PAPER, build_step

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEvent

REST = "element by element and the rest"
# By the beginning of an operation's name in PyTorch, the first that fits.
OPERATIONS = {
    "convolutions": ("aten::mkldnn_conv", "aten::slow_conv", "aten::_slow_conv", "aten::conv"),
    "products": ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::linear"),
    "batch norm": ("aten::native_batch_norm", "aten::_native_batch_norm"),
    "copies": ("aten::copy_", "aten::clone", "aten::cat", "aten::stack", "aten::index"),
    "optimiser": ("Optimizer", "aten::_fused", "aten::_foreach"),
    "data loader": ("enumerate(DataLoader)",),
}
OUTER = ("optimiser", "data loader")


def measure() -> pd.DataFrame:
    """Return a row for each kind of model, each step and kind of operation, one thread each."""
    rows = []
    for model in OF_THE_PAPER:
        for version in ("textbook", "ours"):
            print(f"profile of {model}, {version}", flush=True)
            rows += [
                {"model": model, "step": version, "operations": operations, "milliseconds": ms}
                for operations, ms in run(model, version, steps=30).items()
            ]
    return pd.DataFrame(rows)


def run(model: str, version: str, steps: int) -> dict[str, float]:
    """Profile so many steps, after as many others, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, model, version, str(steps)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def main() -> None:
    """Profile as the arguments say."""
    from torch.profiler import profile

    step, count = build_step(*sys.argv[1:3]), int(sys.argv[3])
    for _ in range(count):
        step()
    with profile() as recorded:
        for _ in range(count):
            step()
    milliseconds = dict.fromkeys([*OPERATIONS, REST], 0.0)
    for event in recorded.events():
        milliseconds[_kind(event)] += event.self_cpu_time_total / 1e3 / count
    print(json.dumps(milliseconds))


def _kind(event: "FunctionEvent") -> str:
    """Return the kind of an operation; within optimiser and data loader everything is theirs."""
    kind = REST
    for name, beginnings in reversed(OPERATIONS.items()):
        if event.name.startswith(beginnings):
            kind = name
    parent = event.cpu_parent
    while parent:
        kind = next((k for k in OUTER if parent.name.startswith(OPERATIONS[k])), kind)
        parent = parent.cpu_parent
    return kind


if __name__ == "__main__":
    main()
