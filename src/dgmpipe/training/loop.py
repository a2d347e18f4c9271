"""The one training loop of every model."""

import math
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor

from dgmpipe.data.batches import Batches
from dgmpipe.errors import Interrupted, UserError
from dgmpipe.jobs.progress import Progress
from dgmpipe.models.task import Task
from dgmpipe.streams import random_stream
from dgmpipe.training.checkpoint import Checkpoints
from dgmpipe.training.options import Average, Rates
from dgmpipe.training.stopwatch import Stopwatch

__all__ = ["Row", "Snapshots", "snapshot_steps", "train"]

# Losses stay on the device between two looks at them: on a GPU every look waits for the device.
_LOOK_EVERY = 25

Row = dict[str, float]
Snapshots = dict[int, Tensor]


def train(
    task: Task,
    batches: Batches,
    held_out: Any,
    *,
    name: str,
    steps: int,
    seed: int,
    evaluate_every: int,
    checkpoint_every: int,
    checkpoints: Checkpoints,
    stopwatch: Stopwatch,
    decay: str = "none",
    average: float = 0.0,
    precision: torch.dtype = torch.float32,
    snapshots_at: Collection[int] = (),
    on_evaluation: Callable[[Row], None] = lambda row: None,
) -> tuple[list[Row], Snapshots]:
    """Train a task's model and return its history and its snapshots.

    The same task, data, seed and step counts give the same weights and history to the byte,
    also when the training was stopped and continued from its checkpoints in between.

    Args:
        task: The model with its objective and optimisers.
        batches: Stream of training batches, whose position is part of a checkpoint.
        held_out: Data for the evaluations, in the form that the task's `evaluate` expects.
        name: What to call the training in messages, such as "vae, seed 0".
        steps: Number of training steps.
        seed: Seeds the noise of the training and of the evaluations.
        evaluate_every: Steps between two evaluations; there is one before the first step and
            one after the last.
        checkpoint_every: Steps between two checkpoints.
        checkpoints: Where they are kept. If one is there, the training continues from it.
        stopwatch: Takes over the time of the checkpoint that the training continues from.
        decay: How the learning rates fall, a name of `training.options.DECAYS`.
        average: Decay of the moving average of the weights that is evaluated and returned in the
            model; with 0 these are the weights themselves.
        precision: Of the operations of a step that have a faster form in bfloat16, by autocast.
        snapshots_at: Steps after which the task takes a snapshot.
        on_evaluation: Called with each row of the history; after an interruption also with those
            from before it.

    Returns:
        A row an evaluation: `step`, the mean of each loss since the row before (absent in the
        first), and what the task's evaluation returns; and by their steps the snapshots, of a task
        that takes any.

    Raises:
        UserError: If a loss or a weight is not finite; the checkpoints stay.
        Interrupted: After SIGTERM, once a checkpoint is written.
    """
    noise = random_stream(seed, "noise")
    rates = Rates(list(task.optimizers.values()), decay, steps)
    averaged = Average(task.model, average)
    history: list[Row] = []
    snapshots: Snapshots = {}
    sums: dict[str, float] = {}
    count = 0  # steps in `sums`
    step = 0

    state = checkpoints.load_latest()
    if state is not None:
        task.model.load_state_dict(state["model"])
        for key, optimizer in task.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][key])
        batches.load_state_dict(state["batches"])
        noise.set_state(state["noise"])
        averaged.continue_from(state["average"])
        stopwatch.continue_from(state["time"])
        history, snapshots = state["history"], state["snapshots"]
        sums, count, step = state["sums"], state["count"], state["step"]
        print(f"{name}: continuing after step {step:,} of {steps:,}", flush=True)
        for row in history:
            on_evaluation(row)

    def require_finite_weights() -> None:
        # A loss is that of the weights before its step, and says nothing of those after it.
        tensors = [t for t in task.model.state_dict().values() if t.is_floating_point()]
        if not torch.stack([t.isfinite().all() for t in tensors]).all():
            _diverged("a weight is not finite", name, step, checkpoints)

    def save_checkpoint() -> None:
        checkpoints.save(
            step,
            {
                "model": task.model.state_dict(),
                "optimizers": {k: o.state_dict() for k, o in task.optimizers.items()},
                "batches": batches.state_dict(),
                "noise": noise.get_state(),
                "average": averaged.state(),
                "history": history,
                "snapshots": snapshots,
                "sums": sums,
                "count": count,
                "step": step,
                "time": stopwatch.read(),
            },
        )

    @contextmanager
    def shown() -> Iterator[None]:
        task.model.eval()
        with torch.no_grad(), averaged.in_place():
            yield
        task.model.train()

    def add_row() -> None:
        with shown():
            merit = task.evaluate(held_out, random_stream(seed, "evaluation"))
        _require_finite(merit, name, step, checkpoints)
        means = {key: total / count for key, total in sums.items()}
        history.append({"step": step, **means, **merit})
        on_evaluation(history[-1])

    def add_snapshot() -> None:
        with shown():
            snapshot = task.snapshot(random_stream(seed, "snapshot"))
        if snapshot is not None:
            snapshots[step] = snapshot.cpu()

    device = next(task.model.parameters()).device
    lower = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    progress = Progress(name, steps, initial=step)
    unread: list[dict[str, Tensor]] = []
    task.model.train()
    with _sigterm_flag() as asked_to_stop, _without_denormals():
        if not history:
            add_row()
            if 0 in snapshots_at:
                add_snapshot()
        while step < steps:
            rates.set_for(step)
            with lower:
                unread.append(task.step(batches, noise))
            step += 1
            averaged.update(step)
            evaluates = step % evaluate_every == 0 or step == steps
            saves = step % checkpoint_every == 0 and step < steps
            stops = asked_to_stop.is_set()
            if evaluates or saves or stops or len(unread) == _LOOK_EVERY:
                for at, losses in enumerate(_to_floats(unread), start=step - len(unread) + 1):
                    _require_finite(losses, name, at, checkpoints)
                    count += 1
                    # One by one, so that the sum does not depend on where the loop looked.
                    for key, value in losses.items():
                        sums[key] = sums.get(key, 0.0) + value
                unread.clear()
                progress.advance({key: total / count for key, total in sums.items()}, step)
            if evaluates or saves or stops:
                require_finite_weights()
            if evaluates:
                add_row()
                sums, count = {}, 0
            if step in snapshots_at:
                add_snapshot()
            if saves or stops:
                save_checkpoint()
            if stops:
                raise Interrupted(f"{name}: stopped after step {step:,}; a checkpoint is written")
    progress.close()
    averaged.keep()
    task.model.eval()
    return history, snapshots


def snapshot_steps(steps: int, count: int) -> list[int]:
    """Return the steps of a training after which to take `count` snapshots, and 0 before these.

    They lie closer at the start, where a model changes fastest: at the squares of equal parts.
    """
    return sorted({round(steps * (part / count) ** 2) for part in range(count + 1) if count})


def _to_floats(unread: list[dict[str, Tensor]]) -> Iterator[dict[str, float]]:
    """Read the losses of several steps with one transfer from the device."""
    keys = list(unread[0])
    table = torch.stack([torch.stack([losses[key] for key in keys]) for losses in unread])
    for values in table.tolist():
        yield dict(zip(keys, values, strict=True))


def _require_finite(values: Row, name: str, step: int, checkpoints: Checkpoints) -> None:
    if all(math.isfinite(value) for value in values.values()):
        return
    shown = ", ".join(f"{key} is {value}" for key, value in values.items())
    _diverged(shown, name, step, checkpoints)


def _diverged(shown: str, name: str, step: int, checkpoints: Checkpoints) -> NoReturn:
    kept = checkpoints.latest_path()
    rest = f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet"
    raise UserError(f"{name}: {shown} at step {step:,}; lower its learning rate ({rest})")


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 as zero, in this thread and those that it is the first to need.

    Weight decay lets weights that get no gradient come to such numbers, which processors are slow
    to calculate with: after 20,000 steps of the VAE a step took more than twice as long.
    """
    before = bool(torch.tensor(torch.finfo(torch.float32).smallest_normal) / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def _sigterm_flag() -> Iterator[threading.Event]:
    """Turn SIGTERM into a flag, where Python allows it: in the main thread."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before: Any = signal.signal(signal.SIGTERM, lambda *_: flag.set())
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, before)
