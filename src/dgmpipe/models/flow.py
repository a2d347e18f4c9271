"""What every normalizing flow of Section 3 can do, and its maximum likelihood loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import whole_number
from dgmpipe.models.inputs import require_batch
from dgmpipe.models.sampling import stream_of
from dgmpipe.models.task import Task

__all__ = ["DIM", "Flow", "FlowTask", "Standardised", "log_normal", "negative_log_likelihood"]

DIM = 2  # of the latent and of the data space, n in the paper


def log_normal(z: Tensor) -> Tensor:
    """Return the log density of N(0, I) in nats, shape (N,), at `z` (N, 2)."""
    return -0.5 * z.square().sum(dim=1) - 0.5 * DIM * math.log(2 * math.pi)


class Flow(nn.Module, ABC):
    """An invertible generator g_θ of the plane, whose likelihood is known by eq. (6).

    A subclass brings `forward`, `inverse` and `hidden_states`; the latent distribution is N(0, I).
    Points are tensors of the model's type on its device, or anything that NumPy reads, which is
    converted; what is returned are tensors.
    """

    @abstractmethod
    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return x = g_θ(z), shape (N, 2), and log |det ∇g_θ(z)|, shape (N,), for `z` (N, 2).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """

    @abstractmethod
    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return z = g_θ⁻¹(x), shape (N, 2), and log |det ∇g_θ⁻¹(x)|, shape (N,), for `x` (N, 2).

        Raises:
            ValueError: If `x` is not of shape (N, 2).
        """

    @abstractmethod
    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        """Return what the K layers make of `z` (N, 2), shape (K+1, N, 2), from z to x = g_θ(z).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """

    def log_prob(self, x: Tensor | ArrayLike) -> Tensor:
        """Return log p_θ(x) in nats, eq. (6), shape (N,), for `x` (N, 2).

        It is −∞ where a coordinate is infinite, or so large that its powers are, and NaN where one
        is NaN.

        Raises:
            ValueError: If `x` is not of shape (N, 2).
        """
        x = require_batch(x, (DIM,), "points", self)
        # So far out products with weights may overflow, and the density is 0 to the last digit.
        far = x.detach().abs().amax(dim=1) > torch.finfo(x.dtype).max ** 0.75
        # Not the points themselves: what overflows has NaN for a gradient, of the weights as well.
        z, log_det = self.inverse(x.masked_fill(far.unsqueeze(1), 0))
        return (log_normal(z) + log_det).masked_fill(far, -math.inf)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Return `n` samples of p_θ, shape (n, 2), on the model's device.

        Args:
            n: Number of samples.
            generator: Random stream of the latent points; on the CPU, so that every device
                sees the same numbers.
            seed: In its place the seed of a new stream; with neither torch's own is used.

        Raises:
            ValueError: If `n` is no whole number or negative, `generator` no stream on the CPU, the
                seed not possible, or both are given.
        """
        n = whole_number(n, "n", 0)
        generator = stream_of(generator, seed)
        parameter = next(self.parameters())
        z = torch.randn(n, DIM, generator=generator, dtype=parameter.dtype).to(parameter.device)
        return self(z)[0]


class Standardised(Flow):
    """A flow of standardised points, followed by the map to the data's mean and scale.

    Args:
        flow: Makes points with mean 0 and standard deviation 1.
        mean: Mean of the data, (2,); 0 by default.
        deviation: Its standard deviation along each axis, (2,), positive; 1 by default.

    Raises:
        ValueError: If a deviation is not positive.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, flow: Flow, mean: Tensor | None = None, deviation: Tensor | None = None
    ) -> None:
        super().__init__()
        self.flow = flow
        like = next(flow.parameters())
        self.register_buffer("mean", torch.zeros(DIM).to(like) if mean is None else mean.to(like))
        ones = torch.ones(DIM).to(like)
        self.register_buffer("deviation", ones if deviation is None else deviation.to(like))
        if not (self.deviation > 0).all():
            raise ValueError(f"the data must vary along each axis, not by {deviation}")

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        y, log_det = self.flow(z)
        return self.mean + self.deviation * y, log_det + self.deviation.log().sum()

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        x = require_batch(x, (DIM,), "points", self)
        z, log_det = self.flow.inverse(self.standardise(x))
        return z, log_det - self.deviation.log().sum()

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        states = self.flow.hidden_states(z)
        return torch.cat([states, self.mean + self.deviation * states[-1:]])

    def standardise(self, x: Tensor) -> Tensor:
        """Return points with mean 0 and deviation 1 for those of the data, `x` (N, 2)."""
        return (x - self.mean) / self.deviation


def negative_log_likelihood(flow: Flow, x: Tensor | ArrayLike) -> Tensor:
    """Return the mean of −log p_θ(x) in nats, eq. (8), a scalar, for a batch `x` (N, 2).

    Raises:
        ValueError: If `x` is not of shape (N, 2).
    """
    return -flow.log_prob(x).mean()


class FlowTask(Task):
    """Training of a flow with Adam on an objective of which the likelihood is a part."""

    model: Flow

    def __init__(self, model: Flow, config: Mapping[str, Any]) -> None:
        self.model = model
        # What is trained: a map to fixed mean and scale has nothing to train.
        self.flow = model.flow if isinstance(model, Standardised) else model
        self.config = config
        self.optimizers = {
            "adam": torch.optim.Adam(model.parameters(), lr=config["learning_rate"], fused=True)
        }

    @abstractmethod
    def objective(self, x: Tensor) -> dict[str, Tensor]:
        """Return the scalar `loss` of `flow` for a batch `x` (N, 2), and the parts to be shown."""

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        x = next(batches)
        terms = self.objective(
            self.model.standardise(x) if isinstance(self.model, Standardised) else x
        )
        optimizer = self.optimizers["adam"]
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def evaluate(self, held_out: Tensor, noise: torch.Generator) -> dict[str, float]:
        return {"held_out_nll": negative_log_likelihood(self.model, held_out).item()}

    def snapshot(self, noise: torch.Generator) -> Tensor:
        return self.model.sample(300, noise)
