"""What generators of images by flow matching share: a path to follow, and its training."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import whole_number
from dgmpipe.data.batches import to_bytes
from dgmpipe.models.inputs import ImageShape, require_batch
from dgmpipe.models.matching import integrate, matching_loss, spread_times
from dgmpipe.models.sampling import stream_of
from dgmpipe.models.task import Task

__all__ = ["ImageFlow", "ImageFlowTask"]


class ImageFlow(nn.Module, ABC):
    """A generator of images, x = g_θ(z), that follows y' = v(y, t) from z at t = 0 to t = 1.

    Args:
        latent_dim: Dimension of z.
        image_shape: Channels, height and width (C, H, W) of the images.
        solver: How the equation is integrated, a key of `dgmpipe.models.matching.SOLVERS`.
        evaluations: Of the velocity, for a sample.
    """

    velocity: nn.Module

    def __init__(
        self, latent_dim: int, image_shape: ImageShape, solver: str, evaluations: int
    ) -> None:
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, image_shape
        self.solver, self.evaluations = solver, evaluations

    @abstractmethod
    def from_end(self, y: Tensor) -> Tensor:
        """Return the images (N, C, H, W) in [0, 1] of points `y` (N, q) of the time 1."""

    @abstractmethod
    def velocity_at(self, y: Tensor, t: Tensor) -> Tensor:
        """Return the velocity of points `y` (N, q) at times `t` (N,), shape (N, q)."""

    def forward(
        self,
        z: Tensor | ArrayLike,
        solver: str | None = None,
        evaluations: int | None = None,
    ) -> Tensor:
        """Return images with intensities in [0, 1]: `z` (N, q) -> (N, C, H, W).

        Args:
            z: Latent points, of N(0, I).
            solver: In the place of the model's own.
            evaluations: Likewise.

        Raises:
            ValueError: If `z` is not of shape (N, q), or the solver and the evaluations do not go
                together.
        """
        z = require_batch(z, (self.latent_dim,), "latent points", self)
        solver, evaluations = solver or self.solver, evaluations or self.evaluations
        return self.from_end(integrate(self.velocity_at, z, solver, evaluations))

    @torch.no_grad()
    def sample(  # only for users
        self, n: int, generator: torch.Generator | None = None, *, seed: int | None = None
    ) -> Tensor:
        """Return images of `n` points of N(0, I), shape (n, C, H, W), on the model's device.

        Args:
            n: Number of images.
            generator: Random stream of the latent points, on the CPU.
            seed: In its place the seed of a new stream; with neither torch's own is used.

        Raises:
            ValueError: If `n` is no whole number or negative, `generator` no stream on the CPU, the
                seed not possible, or both are given.
        """
        n = whole_number(n, "n", 0)
        generator = stream_of(generator, seed)
        parameter = next(self.parameters())
        z = torch.randn(n, self.latent_dim, generator=generator, dtype=parameter.dtype)
        return torch.cat([self(some) for some in z.to(parameter.device).split(500)])


class ImageFlowTask(Task):
    """Regression of the velocity on that of paths from latent points to data; Adam."""

    model: ImageFlow

    def __init__(self, model: ImageFlow, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.path = config["path"]
        self.optimizers = {
            "adam": torch.optim.Adam(
                model.velocity.parameters(), lr=config["learning_rate"], fused=True
            )
        }

    @abstractmethod
    def ends(self, batch: Tensor) -> Tensor:
        """Return the points (N, q) of the time 1 that belong to a batch."""

    def loss(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return the mean squared error of the velocity, a scalar, for points `x` (N, q)."""
        z = torch.randn(x.shape, generator=noise, dtype=x.dtype).to(x.device)
        t = spread_times(len(x), noise).to(x)
        return matching_loss(self.model.velocity_at, self.path, x, z, t)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        loss = self.loss(self.ends(next(batches)), noise)
        optimizer = self.optimizers["adam"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    def snapshot(self, noise: torch.Generator) -> Tensor:
        return to_bytes(self.model.sample(9, noise))
