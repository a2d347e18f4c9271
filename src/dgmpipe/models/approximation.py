"""The approximate posterior e(z|x) that an encoder gives: a distribution for each image."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from dgmpipe.arguments import require_stream, whole_number

__all__ = ["ApproximatePosterior", "DiagonalGaussian"]


class ApproximatePosterior(ABC):
    """A distribution of latent points for each of N images.

    With `rsample` and `log_prob` a family can be trained and evaluated. Where it knows its
    divergence to the prior in closed form, the ELBO has that in place of an estimate.

    Attributes:
        mean: Means of the N distributions, shape (N, q), which Figures 7 and 8 show.
    """

    mean: Tensor

    @abstractmethod
    def rsample(self, noise: torch.Generator, samples: int | None = None) -> Tensor:
        """Draw latent points, with derivatives by the parameters.

        Args:
            noise: Random stream on the CPU, so that every device sees the same numbers.
            samples: Draws S from each distribution; by default one, without an axis of its own.

        Returns:
            Latent points, shape (N, q) or (N, S, q).

        Raises:
            ValueError: If `samples` is no whole number or less than 1, or `noise` no stream on the
                CPU.
        """

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return log e(z|x) in nats, shape (N, ...), at latent points `z` (N, ..., q).

        A single row, (1, ..., q), goes with each image.

        Raises:
            ValueError: If `z` has another shape.
        """

    def kl_to_standard_normal(self) -> Tensor | None:
        """Return KL(e(z|x) ‖ N(0, I)) in nats, shape (N,), or None if it has no closed form."""
        return None


@dataclass(frozen=True, eq=False)
class DiagonalGaussian(ApproximatePosterior):
    """The normal distributions of eq. (24), with covariance exp(Σ), so standard deviation exp(Σ/2).

    Attributes:
        mean: Their means μ, shape (N, q).
        log_variance: Their log variances Σ, shape (N, q).

    Raises:
        ValueError: If the shapes are others.

    Example:
        >>> posterior = DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> posterior.rsample(torch.Generator().manual_seed(0), samples=5).shape
        torch.Size([3, 5, 2])
        >>> posterior.kl_to_standard_normal()
        tensor([0., 0., 0.])
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or self.mean.shape != self.log_variance.shape:
            raise ValueError(
                "mean and log_variance must both have shape (N, q), not"
                f" {tuple(self.mean.shape)} and {tuple(self.log_variance.shape)}"
            )

    @property
    def std(self) -> Tensor:
        """Standard deviations, shape (N, q)."""
        return torch.exp(self.log_variance / 2)

    def rsample(self, noise: torch.Generator, samples: int | None = None) -> Tensor:
        """Draw latent points by eq. (25), shape (N, q) or (N, S, q)."""
        require_stream(noise, "noise")
        mean, std = self.mean, self.std
        if samples is not None:
            mean, std = mean.unsqueeze(1), std.unsqueeze(1)
            samples = whole_number(samples, "samples", 1)
        size = self.mean.shape if samples is None else (len(mean), samples, mean.shape[-1])
        epsilon = torch.randn(size, generator=noise).to(mean)
        return mean + std * epsilon

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log e(z|x) in nats, shape (N, ...), at latent points `z` (N, ..., q)."""
        n, q = self.mean.shape
        if z.ndim < 2 or z.shape[-1] != q or len(z) not in (1, n):
            raise ValueError(
                f"latent points must have shape ({n}, ..., {q}) or (1, ..., {q}), not"
                f" {tuple(z.shape)}"
            )
        along = (n, *[1] * (z.ndim - 2), q)
        mean, log_variance = self.mean.view(along), self.log_variance.view(along)
        squares = (z - mean).square() * torch.exp(-log_variance)
        return -0.5 * (squares + log_variance).sum(dim=-1) - 0.5 * q * math.log(2 * math.pi)

    def kl_to_standard_normal(self) -> Tensor:
        """Return KL(e(z|x) ‖ N(0, I)) in nats, shape (N,).

        The second term of the rewritten eq. (22), arXiv:1312.6114, Appendix B.
        """
        log_variance = self.log_variance
        return 0.5 * (self.mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
