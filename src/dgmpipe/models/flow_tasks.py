"""Trainings that several kinds of flow share."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dgmpipe.models.flow import FlowTask, negative_log_likelihood

__all__ = ["LikelihoodTask", "NoisyTask"]


class LikelihoodTask(FlowTask):
    """Maximum likelihood training, eq. (8)."""

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": negative_log_likelihood(self.flow, x)}


class NoisyTask(FlowTask):
    """Training on an objective that draws random numbers, from `self.noise`, a stream."""

    noise: torch.Generator

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        self.noise = noise
        return super().step(batches, noise)

    def latent_points(self, x: Tensor) -> Tensor:
        """Return as many draws of N(0, I) as there are points in `x` (N, 2)."""
        return torch.randn(x.shape, generator=self.noise, dtype=x.dtype).to(x.device)
