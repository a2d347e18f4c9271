"""The two moons, sampled independently, and their exact density."""

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dgmpipe.arguments import (
    in_transform,
    positive_number,
    require_stream,
    to_tensor,
    whole_number,
)

__all__ = ["MoonsDensity", "sample_moons"]

# exp(-40) is below the rounding of a double: after such a drop an integrand adds nothing.
NEGLIGIBLE_DROP = 40.0
QUADRATURE_NODES = 32
_NOISE = 1e-30, 1e30
# Points whose nodes are held at once; a value at each of them takes 4 MB.
_POINTS_AT_ONCE = 16_384


def _read_noise(noise: Any) -> float:
    number = positive_number(noise, "noise")
    if not _NOISE[0] <= number <= _NOISE[1]:  # beyond, squares are beyond a double
        raise ValueError(f"noise must be between {_NOISE[0]:g} and {_NOISE[1]:g}, not {number:g}")
    return number


def sample_moons(n: int, noise: float, generator: torch.Generator) -> Tensor:
    """Return `n` independent points (n, 2), float32, of the two moons.

    Each half circle has probability 1/2 and its angle is uniform on [0, π]; `make_moons` of
    scikit-learn has the same half circles, but puts its points on a fixed grid of angles.

    Args:
        n: Number of points.
        noise: Standard deviation σ of the normal noise N(0, σ²I) around the half circles.
        generator: Source of the randomness; the points are on its device.

    Raises:
        ValueError: If `n` is no whole number or less than 1, `noise` is not between 1e-30 and
            1e30, or `generator` is no `torch.Generator`.

    Example:
        >>> sample_moons(3, 0.05, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """
    n, noise = whole_number(n, "n", 1), _read_noise(noise)
    require_stream(generator, "generator", on_cpu=False)
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
        ValueError: If `noise` is not between 1e-30 and 1e30.

    Example:
        >>> round(MoonsDensity(0.05).entropy(), 4)
        0.2892
    """

    def __init__(self, noise: float) -> None:
        self.noise = _read_noise(noise)

    def log_prob(self, x: Tensor | ArrayLike) -> Tensor:
        """Return log p(x) in nats at the points `x` (N, 2): a tensor (N,) on the device of `x`.

        Computed in double precision to about 1e-12, relative to log p where that is large, however
        far out a point lies; −∞ where a coordinate is infinite. All derivatives exist.

        Args:
            x: A tensor, or anything that NumPy reads. The result has its type, or that of a double
                if these are whole numbers.

        Raises:
            ValueError: If `x` is not of shape (N, 2), not of real numbers, or some are NaN.
        """
        x = to_tensor(x, "points")
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"points must have shape (N, 2), not {tuple(x.shape)}")
        points = x.double()
        if not in_transform() and points.isnan().any():
            raise ValueError("points must be numbers, but some are NaN")
        far = points.detach().abs().amax(dim=1) > 1e150 * self.noise  # where log p is below -1e300
        near = torch.where(far.unsqueeze(1), 0, points)
        values = torch.cat([self._log_prob(some) for some in near.split(_POINTS_AT_ONCE)])
        values = values.masked_fill(far, -math.inf)
        return values.to(x.dtype) if x.is_floating_point() else values

    def _log_prob(self, points: Tensor) -> Tensor:
        outer = self._log_half_circle(points)
        inner = self._log_half_circle(points.new_tensor([1.0, 0.5]) - points)
        # Of torch.logaddexp the second derivative is NaN where one of the two is far smaller.
        return torch.stack([outer, inner]).logsumexp(0) - math.log(2)

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

        It is the mean of N(x; c(t), σ²I) over the angles t in [0, π] of c(t) = (cos t, sin t).
        With a = c(s), the point of the half circle that is nearest to x, and κ = ‖x‖/σ² it is
        N(x; a, σ²I) times the mean of exp((x − a)·(c(t) − a)/σ² − ‖c(t) − a‖²/(2σ²)), which is
        exp(x·(c(t) − a)/σ²), since both are of length 1. The range of t is two pieces along which
        this falls: from s on in both directions if the point is above the diameter, from both ends
        if below.

        The nodes of the quadrature depend on x, but wherever they are, the integral is the same. So
        derivatives take them as given, and polar coordinates, which have none at the centre, are
        for the nodes alone.
        """
        # Not no_grad, which forward mode does not heed.
        x, y = points.detach().unbind(1)
        kappa, polar, above = torch.hypot(x, y) / self.noise**2, torch.atan2(y, x), y >= 0
        below_left, below_right = ~above & (x < 0), ~above & (x >= 0)
        angle, rest = polar.abs(), math.pi - polar.abs()
        # Of each piece: where it begins, in which direction it goes, and half its length.
        first = torch.where(above, polar, 0), torch.where(above, -1, 1)
        second = torch.where(above, polar, math.pi), torch.where(above, 1, -1)
        nearest = torch.where(below_left, second[0], first[0])
        windows = [
            _half_window(kappa, torch.where(above, 0, start), torch.where(above, start, length))
            for start, length in ((angle, rest), (rest, angle))
        ]

        x, y = points.unbind(1)
        # Between the two ends of the half circle x·(c(t) − a) differs by 2x.
        gaps = torch.where(below_left, 2 * x, 0), torch.where(below_right, -2 * x, 0)
        nodes, weights = map(points.new_tensor, np.polynomial.legendre.leggauss(QUADRATURE_NODES))
        total = torch.zeros_like(x)
        for (begin, sign), half_window, gap in zip((first, second), windows, gaps, strict=True):
            along = x * torch.cos(begin) + y * torch.sin(begin)
            across = y * torch.cos(begin) - x * torch.sin(begin)
            # Above, c(t) begins in the direction of x: this is 0, but for its derivative.
            across = torch.where(above, across - across.detach(), across)
            h = sign * half_window * (1 + nodes.unsqueeze(1)) / 2
            rise = 2 * torch.sin(h) * (across * torch.cos(h) - along * torch.sin(h))
            values = weights.unsqueeze(1) * torch.exp((gap + rise) / self.noise**2)
            total = total + half_window * values.sum(dim=0)
        square = ((x - torch.cos(nearest)) / self.noise) ** 2
        square = square + ((y - torch.sin(nearest)) / self.noise) ** 2
        log_constant = math.log(2 * math.pi * self.noise**2) + math.log(math.pi)
        return torch.log(total) - square / 2 - log_constant


def _half_window(kappa: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Return half the range after which exp(κ cos u), falling from `start` on, adds nothing, (N,).

    It is at most half the `length`. At u = start + 2h the exponent has dropped by
    κ (cos(start) - cos(u)) = 2κ sin(start + h) sin(h), and this reaches the negligible drop where
    tan(h) solves a quadratic equation.
    """
    sin, cos = start.sin(), start.cos()
    drop = NEGLIGIBLE_DROP / kappa
    discriminant = sin**2 + drop * (2 * cos - drop)
    # A negative discriminant: the integrand never drops so far, and arctan gives all of [0, π].
    half_window = torch.atan(drop / (sin + discriminant.clamp_min(0).sqrt()))
    return torch.minimum(half_window, length / 2)
