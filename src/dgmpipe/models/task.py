"""Interface between a model and the training loop."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Task"]


class Task(ABC):
    """A model with its objective and its optimisers; the loop brings everything else.

    A subclass makes its model from its block of the config (`build`), creates the optimisers
    (`__init__`), and says what one training step (`step`) and one evaluation (`evaluate`) are.

    Attributes:
        model: The whole model that is saved, on its device.
        optimizers: Each optimiser by name, saved in checkpoints.
    """

    model: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]

    @staticmethod
    @abstractmethod
    def build(config: Mapping[str, Any]) -> nn.Module:
        """Return the untrained model that the config block describes."""

    @abstractmethod
    def __init__(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        """Take the model, on its device, and create the optimisers of the config block."""

    @abstractmethod
    def step(self, batches: Iterator[Any], noise: torch.Generator) -> dict[str, Tensor]:
        """Do one training step and return its losses, scalars without a graph.

        Takes as many batches as it needs with `next(batches)` and draws every random number
        from `noise`, a stream on the CPU.
        """

    @abstractmethod
    def evaluate(self, held_out: Any, noise: torch.Generator) -> dict[str, float]:
        """Return figures of merit on held-out data; called in evaluation mode without a graph.

        `noise` starts at the same place in every evaluation, so that a curve of these values
        moves with the model and not with the draw.
        """

    def snapshot(self, noise: torch.Generator) -> Tensor | None:
        """Return some samples of a generative model: points (N, 2), or images as bytes.

        Called in evaluation mode without a graph; `noise` starts at the same place each time.
        """
        return None
