"""The two moons, sampled independently, and their exact density."""

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["MoonsDensity", "sample_moons"]

# exp(-40) is below the rounding of a double: after such a drop an integrand adds nothing.
NEGLIGIBLE_DROP = 40.0
QUADRATURE_NODES = 32


def _check_noise(noise: float) -> None:
    if not 0 < noise < math.inf:
        raise ValueError(f"noise must be positive and finite, not {noise}")


def sample_moons(n: int, noise: float, generator: torch.Generator) -> Tensor:
    """Return `n` independent points (n, 2), float32, of the two moons.

    Each half circle has probability 1/2 and its angle is uniform on [0, π]; `make_moons` of
    scikit-learn has the same half circles, but puts its points on a fixed grid of angles.

    Args:
        n: Number of points.
        noise: Standard deviation σ of the normal noise N(0, σ²I) around the half circles.
        generator: Source of the randomness; the points are on its device.

    Raises:
        ValueError: If `n` is less than 1, or `noise` is not positive and finite.

    Example:
        >>> sample_moons(3, 0.05, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    _check_noise(noise)
    options: dict[str, Any] = {"generator": generator, "device": generator.device}
    angle = math.pi * torch.rand(n, **options)
    outer = torch.stack([angle.cos(), angle.sin()], dim=1)
    inner = outer.new_tensor([1.0, 0.5]) - outer
    is_inner = torch.rand(n, 1, **options) < 0.5
    return torch.where(is_inner, inner, outer) + noise * torch.randn(n, 2, **options)


class MoonsDensity:
    """The density of the two moons: uniform on two half circles, convolved with N(0, σ²I).

    No model's expected negative log-likelihood is below its entropy.

    Args:
        noise: Standard deviation σ of the noise around the half circles.

    Raises:
        ValueError: If `noise` is not positive and finite.

    Example:
        >>> round(MoonsDensity(0.05).entropy(), 4)
        0.2892
    """

    def __init__(self, noise: float) -> None:
        _check_noise(noise)
        self.noise = noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats at the points `x` (N, 2): shape (N,), dtype and device of `x`.

        Computed in double precision to about 1e-12, relative to log p where that is large, however
        far out a point lies.

        Raises:
            ValueError: If `x` is not of shape (N, 2), not of floats, or not finite.
        """
        if x.ndim != 2 or x.shape[1] != 2 or not x.is_floating_point():
            raise ValueError(
                f"points must be floats of shape (N, 2), not {x.dtype} of shape {tuple(x.shape)}"
            )
        if not x.isfinite().all():
            raise ValueError("points must be finite, but some are NaN or infinite")
        points = x.double()
        outer = self._log_half_circle(points)
        inner = self._log_half_circle(points.new_tensor([1.0, 0.5]) - points)
        return (torch.logaddexp(outer, inner) - math.log(2)).to(x.dtype)

    def entropy(self) -> float:
        """Return the differential entropy -∫ p log p in nats, to about 1e-9.

        The time it takes grows with 1/σ²: a tenth of a second at σ = 0.05.
        """
        return self._entropy

    @functools.cached_property
    def _entropy(self) -> float:
        # Of a function as smooth as p log p a plain sum over a grid is exact beyond 1e-9.
        step, margin = self.noise / 2, 8 * self.noise
        grid = torch.cartesian_prod(
            torch.arange(-1 - margin, 2 + margin, step, dtype=torch.float64),
            torch.arange(-0.5 - margin, 1 + margin, step, dtype=torch.float64),
        )
        log_p = self.log_prob(grid)
        return -(step**2) * (log_p.exp() * log_p).sum().item()

    def _log_half_circle(self, points: Tensor) -> Tensor:
        """Return the log density (N,) of the noisy upper half of the unit circle.

        At the polar coordinates (r, φ) it is N(r; 1, σ²) / (σ √(2π)) times the mean over the
        angles t in [0, π] of exp(κ (cos(t-φ) - 1)), where κ = r/σ². With u = |t-φ|, folded into
        [0, π], the range of t is two pieces along which the integrand falls: from 0 to φ and to
        π-φ if the point is above the diameter, from -φ and from π+φ to π if below.
        """
        r = torch.hypot(points[:, 0], points[:, 1])
        angle = torch.atan2(points[:, 1], points[:, 0]).abs()
        above = points[:, 1] >= 0
        kappa = r / self.noise**2

        def log_piece(angle: Tensor) -> Tensor:
            start = torch.where(above, 0, angle)
            length = torch.where(above, angle, math.pi - angle)
            return _log_piece(kappa, start, length)

        log_integral = torch.logaddexp(log_piece(angle), log_piece(math.pi - angle))
        log_constant = math.log(2 * math.pi * self.noise**2) + math.log(math.pi)
        return log_integral - ((r - 1) / self.noise) ** 2 / 2 - log_constant


def _log_piece(kappa: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Return log ∫ exp(κ (cos u - 1)) du from `start` over `length`, within [0, π]; each (N,).

    Gauss-Legendre quadrature up to where the falling integrand is negligible. At u = start + 2h
    its exponent has dropped by κ (cos(start) - cos(u)) = 2κ sin(start + h) sin(h), and this
    reaches the negligible drop where tan(h) solves a quadratic equation.
    """
    sin, cos = start.sin(), start.cos()
    drop = NEGLIGIBLE_DROP / kappa
    discriminant = sin**2 + drop * (2 * cos - drop)
    # A negative discriminant: the integrand never drops so far, and arctan gives all of [0, π].
    half_window = torch.atan(drop / (sin + discriminant.clamp_min(0).sqrt()))
    half_window = torch.minimum(half_window, length / 2)
    total = torch.zeros_like(kappa)
    for node, weight in zip(*np.polynomial.legendre.leggauss(QUADRATURE_NODES), strict=True):
        h = half_window * (1 + float(node)) / 2
        total += float(weight) * torch.exp(-2 * kappa * torch.sin(start + h) * torch.sin(h))
    return torch.log(half_window * total) - 2 * kappa * (start / 2).sin() ** 2
