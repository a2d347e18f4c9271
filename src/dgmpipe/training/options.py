"""What the training loop can do beyond a plain step: decayed rates and averaged weights."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["DECAYS", "Average", "Rates"]

# By the share of the training that is done, from 0 to 1: the share of the learning rate.
DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
}


class Rates:
    """The learning rates of some optimisers, which fall as the training goes on.

    Args:
        optimizers: With the rates that they start with.
        decay: Name of one of `DECAYS`.
        steps: Steps of the whole training.
    """

    def __init__(self, optimizers: list[torch.optim.Optimizer], decay: str, steps: int) -> None:
        self._optimizers = optimizers
        self._initial = [[group["lr"] for group in o.param_groups] for o in optimizers]
        self._decay = DECAYS[decay]
        self._steps = steps

    def set_for(self, step: int) -> None:
        """Set the rates for the step after `step` steps."""
        share = self._decay(step / self._steps)
        for optimizer, initial in zip(self._optimizers, self._initial, strict=True):
            for group, rate in zip(optimizer.param_groups, initial, strict=True):
                group["lr"] = share * rate


class Average:
    """An exponential moving average of a model's weights and running statistics.

    After t steps its decay is at most (1 + t) / (10 + t), so that it soon forgets the weights that
    the training started from.

    Args:
        model: The model in training.
        decay: Share of the average that each step keeps; with 0 there is no average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        state = model.state_dict(keep_vars=True).values() if decay else ()
        self._live = [tensor.data for tensor in state if tensor.is_floating_point()]
        self._mean = [tensor.clone() for tensor in self._live]
        self._decay = decay

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        if self._live:
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average for its weights within the block."""
        live = [tensor.clone() for tensor in self._live]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(live)

    def keep(self) -> None:
        """Let the model have the average for its weights from now on."""
        self._set(self._mean)

    def state(self) -> list[Tensor]:
        """Return the average, for a checkpoint."""
        return self._mean

    def continue_from(self, state: list[Tensor]) -> None:
        """Go on from a state of before."""
        for mean, saved in zip(self._mean, state, strict=True):
            mean.copy_(saved)

    def _set(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self._live, values, strict=True):
            tensor.copy_(value)
