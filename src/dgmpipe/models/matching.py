"""What all kinds of flow matching share: paths from latent points to data, and ways along them."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PATHS", "SOLVERS", "Path", "integrate", "matching_loss", "spread_times"]

Velocity = Callable[[Tensor, Tensor], Tensor]


class Path(NamedTuple):
    """Points x_t = α x + σ z between a latent point z, at t = 0, and a datum x, at t = 1.

    Attributes:
        alpha: Weight α of the datum.
        sigma: Weight σ of the latent point.
        alpha_slope: Derivative of α by the time.
        sigma_slope: Derivative of σ by the time.
    """

    alpha: Tensor
    sigma: Tensor
    alpha_slope: Tensor
    sigma_slope: Tensor

    def point(self, x: Tensor, z: Tensor) -> Tensor:
        """Return x_t."""
        return self.alpha * x + self.sigma * z

    def velocity(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the derivative of x_t by the time."""
        return self.alpha_slope * x + self.sigma_slope * z


def _straight(t: Tensor) -> Path:
    one = torch.ones_like(t)
    return Path(t, 1 - t, one, -one)


def _variance_preserving(t: Tensor) -> Path:
    angle = t * (math.pi / 2)
    sine, cosine = angle.sin(), angle.cos()
    return Path(sine, cosine, cosine * (math.pi / 2), -sine * (math.pi / 2))


# By their times: straight lines, arXiv:2210.02747, and those of the diffusion that preserves the
# variance, α² + σ² = 1, arXiv:2011.13456, with the cosine of arXiv:2102.09672.
PATHS: dict[str, Callable[[Tensor], Path]] = {
    "straight": _straight,
    "variance_preserving": _variance_preserving,
}


def spread_times(n: int, noise: torch.Generator) -> Tensor:
    """Return `n` times, each uniform on [0, 1) and together spread evenly over it, shape (n,).

    The mean over a batch varies less with these than with independent ones, arXiv:2107.00630.
    """
    return (torch.arange(n) / n + torch.rand(1, generator=noise)) % 1


def matching_loss(velocity: Velocity, path: str, x: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Return the mean over a batch, per coordinate, of ‖v(x_t, t) − dx_t/dt‖², arXiv:2210.02747.

    Args:
        velocity: Takes points (N, ...) and times (N,).
        path: A key of `PATHS`.
        x: Data, (N, ...).
        z: The latent point that goes with each, (N, ...).
        t: The time of each, (N,).
    """
    at = PATHS[path](t.view(-1, *[1] * (x.ndim - 1)))
    return (velocity(at.point(x, z), t) - at.velocity(x, z)).square().mean()


def _euler(v: Velocity, y: Tensor, t: Tensor, h: float) -> Tensor:
    return y + h * v(y, t)


def _heun(v: Velocity, y: Tensor, t: Tensor, h: float) -> Tensor:
    first = v(y, t)
    return y + h / 2 * (first + v(y + h * first, t + h))


def _runge_kutta(v: Velocity, y: Tensor, t: Tensor, h: float) -> Tensor:
    v_1 = v(y, t)
    v_2 = v(y + h / 2 * v_1, t + h / 2)
    v_3 = v(y + h / 2 * v_2, t + h / 2)
    return y + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + v(y + h * v_3, t + h))


class Solver(NamedTuple):
    """A way to integrate y' = v(y, t).

    Attributes:
        step: Takes the velocity, points, their times and a time step.
        evaluations: Of the velocity in a step, the order of the scheme as well.
    """

    step: Callable[[Velocity, Tensor, Tensor, float], Tensor]
    evaluations: int


SOLVERS = {"euler": Solver(_euler, 1), "heun": Solver(_heun, 2), "rk4": Solver(_runge_kutta, 4)}


def integrate(velocity: Velocity, z: Tensor, solver: str, evaluations: int) -> Tensor:
    """Return where points `z` (N, ...) of the time 0 are at the time 1.

    Args:
        velocity: Takes points (N, ...) and times (N,).
        z: Where the points start.
        solver: A key of `SOLVERS`.
        evaluations: Of the velocity in all, in steps of equal size.

    Raises:
        ValueError: If there is no such solver, or the evaluations make no whole number of steps.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be {' or '.join(SOLVERS)}, not '{solver}'")
    step, each = SOLVERS[solver]
    if evaluations < each or evaluations % each:
        raise ValueError(f"{solver} takes a multiple of {each} evaluations, not {evaluations}")
    number = evaluations // each
    at = partial(torch.full, z.shape[:1], dtype=z.dtype, device=z.device)
    for place in range(number):
        z = step(velocity, z, at(fill_value=place / number), 1 / number)
    return z
