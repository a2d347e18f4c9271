"""What limits a training step on one core: each operation's time beside the least that it can be.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/roofline.py KIND [ROUNDS]

prints the textbook's step and ours, done in turn, and a table of the operations of ours. All times
are processor times, in which other programs on the machine count only as far as they take cache.
"""

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from page import markdown
from steps import build_step

# An operation, with the shapes of the tensors that it takes first.
Operation = tuple[str, str]
SHOWN = 0.01  # of a step's time, for an operation to have a row of its own


class Recorder(TorchDispatchMode):
    """Note of each operation its milliseconds, GFLOP and MB, those of backward included."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Operation, list[tuple[float, float, float]]] = defaultdict(list)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        begin = time.thread_time()
        result = function(*args, **kwargs)
        milliseconds = (time.thread_time() - begin) * 1e3
        packet = function.overloadpacket
        count = flop_registry.get(packet)
        flop = count(*args, **kwargs, out_val=result) if count else 0
        taken, made = _tensors(args), _tensors(result)
        sizes = {t.data_ptr(): t.numel() * t.element_size() for t in (*taken, *made)}
        # A view costs nothing, and a copy has another place.
        moves = not made or any(t.data_ptr() not in {o.data_ptr() for o in taken} for t in made)
        shapes = " and ".join("×".join(map(str, t.shape)) for t in taken[:2])
        size = sum(sizes.values()) / 1e6 if moves else 0.0
        self.calls[packet.__name__, shapes].append((milliseconds, flop / 1e9, size))
        return result


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, tuple | list):
        return [t for value in values for t in _tensors(value)]
    return []


def milliseconds(function: Callable[[], Any]) -> float:
    """Return the processor time of one call."""
    begin = time.thread_time()
    function()
    return (time.thread_time() - begin) * 1e3


def typical(values: list[float]) -> float:
    """Return the lower quartile: what disturbs a measurement only ever makes it longer."""
    return quantiles(values, n=4)[0] if len(values) > 1 else values[0]


def roofs() -> tuple[float, float]:
    """Return GFLOP/s of a product of 2048 rows and columns, and GB/s of copying 1.6 MB."""
    a, b = torch.rand(2, 2048, 2048)
    x = torch.rand(400_000)
    y = torch.empty_like(x)
    product = min(milliseconds(lambda: a @ b) for _ in range(10))
    copy = min(milliseconds(lambda: y.copy_(x)) for _ in range(200))
    return 2 * 2048**3 / product / 1e6, 2 * 4 * len(x) / copy / 1e6


def in_turn(kind: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return milliseconds of so many steps of the textbook's and of ours, one after the other."""
    steps = [build_step(kind, version) for version in ("textbook", "ours")]
    for _ in range(5):
        for step in steps:
            step()
    pairs = [[milliseconds(step) for step in steps] for _ in range(rounds)]
    plain, ours = zip(*pairs, strict=True)
    return list(plain), list(ours)


def operations(kind: str, count: int) -> dict[Operation, tuple[float, float, float, float]]:
    """Return calls, milliseconds, GFLOP and MB a step of each operation of ours."""
    step = build_step(kind, "ours")
    for _ in range(5):
        step()
    with Recorder() as recorder:
        for _ in range(count):
            step()
    return {
        operation: (
            n := len(calls) / count,
            n * typical([c[0] for c in calls]),
            sum(c[1] for c in calls) / count,
            sum(c[2] for c in calls) / count,
        )
        for operation, calls in recorder.calls.items()
    }


def main() -> None:
    """Measure and print."""
    kind, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60
    torch.set_num_threads(1)
    gflops, gbytes = roofs()
    plain, ours = in_turn(kind, rounds)
    low, middle, high = quantiles([a / b for a, b in zip(plain, ours, strict=True)], n=4)
    print(
        f"A step of the textbook takes {typical(plain):.1f} ms, ours {typical(ours):.1f} ms;"
        f" ratio {middle:.2f}, quartiles {low:.2f} and {high:.2f}. A product reaches"
        f" {gflops:.0f} GFLOP/s, a copy {gbytes:.0f} GB/s.\n"
    )
    found = sorted(operations(kind, rounds // 2).items(), key=lambda item: -item[1][1])
    rows, sums, rest = [], [0.0] * 5, [0.0] * 5
    for (name, shapes), (calls, ms, gflop, mb) in found:
        least = max(gflop / gflops * 1e3, mb / gbytes)
        values = [calls, ms, gflop, mb, least]
        sums = [a + b for a, b in zip(sums, values, strict=True)]
        if ms < SHOWN * typical(ours):
            rest = [a + b for a, b in zip(rest, values, strict=True)]
        else:
            rows.append(_row(f"{name} {shapes}", values))
    rows += [_row("all others", rest), _row("together", sums)]
    print(markdown(rows))


def _row(name: str, values: list[float]) -> dict[str, str]:
    calls, ms, gflop, mb, least = values
    return {
        "operation": name,
        "calls": f"{calls:.0f}",
        "ms": f"{ms:.2f}",
        "GFLOP": f"{gflop:.3f}" if gflop else "",
        "MB": f"{mb:.1f}",
        "least ms": f"{least:.2f}",
        "share of the roof": f"{least / ms:.0%}" if ms > 0 else f"{math.nan}",
    }


if __name__ == "__main__":
    main()
