"""How good a flow of Section 3 is: likelihood, density, inverse error, latent points, paths."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import i0e, i1e
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from torch import Tensor

from dgmpipe.arguments import as_type, require_stream, to_tensor, whole_number
from dgmpipe.models.flow import DIM, Flow
from dgmpipe.models.otflow import OTFlow

__all__ = [
    "Gaussianity",
    "density_grid",
    "energy_distance_to_normal",
    "held_out_nll",
    "inverse_error",
    "kernel_density_kl",
    "latent_gaussianity",
    "path_straightness",
]

_POINTS_AT_ONCE = 16_384
# Whose distances to some thousand points stay in the cache.
_ROWS_AT_ONCE = 64


@torch.no_grad()
def held_out_nll(
    flow: Flow,
    x: Tensor | ArrayLike,
    true_log_prob: Callable[[Tensor], Tensor] | None = None,
    *,
    batch_size: int,
) -> dict[str, float]:
    """Estimate J_ML of eq. (8) on held-out data, and the KL divergence of eq. (7).

    The divergence is J_ML minus the entropy of the data (the paper's remark below eq. (8) has the
    sign wrong). It is estimated as the mean of log p(x) − log p_θ(x), whose standard error is far
    smaller than that of either term, since what makes both of them vary cancels.

    Args:
        flow: The flow.
        x: Independent samples of the data, not those of the training, shape (N, 2), N at least 2.
        true_log_prob: Maps points (N, 2) to the log density of the data in nats, shape (N,), if it
            is known.
        batch_size: Points that are evaluated at once.

    Returns:
        In nats: `nll` with `nll_standard_error`, and where the true density is known `kl` with
        `kl_standard_error`.

    Raises:
        ValueError: If `x` has fewer than 2 points or another shape, or `batch_size` is less than 1.
    """
    batch_size = whole_number(batch_size, "batch_size", 1)
    x = _points(x, "x")
    parts = _as_parameters(flow, x).split(batch_size)
    learned = torch.cat([flow.log_prob(part) for part in parts]).double().to(x.device)
    numbers = _mean_with_error("nll", -learned)
    if true_log_prob is None:
        return numbers
    return numbers | _mean_with_error("kl", true_log_prob(x).double() - learned)


def kernel_density_kl(
    points: Tensor, x: Tensor, true_log_prob: Callable[[Tensor], Tensor], *, noise: float
) -> dict[str, float]:
    """Estimate the KL divergence of eq. (7) of a kernel density estimate, a yardstick for flows.

    A normal kernel, whose bandwidth has the greatest likelihood in a cross-validation of five parts
    of the points themselves: the estimate knows nothing but them.

    Args:
        points: Independent samples of the data, from which the density is estimated, shape (N, 2).
        x: Further samples, at which the divergence is estimated, shape (M, 2).
        true_log_prob: Maps points (M, 2) to the log density of the data in nats, shape (M,).
        noise: A scale of the data; bandwidths from 0.2 to 4 times this are tried.

    Returns:
        `kl` with `kl_standard_error` over `x`, in nats.
    """
    bandwidths = {"bandwidth": noise * np.geomspace(0.2, 4, 16)}
    search = GridSearchCV(KernelDensity(rtol=1e-4), bandwidths, cv=5)
    search.fit(points.double().numpy())
    learned = torch.from_numpy(search.best_estimator_.score_samples(x.double().numpy()))
    return _mean_with_error("kl", true_log_prob(x).double() - learned)


def _mean_with_error(name: str, values: Tensor) -> dict[str, float]:
    error = values.std().item() / math.sqrt(len(values))
    return {name: values.mean().item(), f"{name}_standard_error": error}


@torch.no_grad()
def density_grid(flow: Flow, x_axis: Tensor | ArrayLike, y_axis: Tensor | ArrayLike) -> Tensor:
    """Return log p_θ in nats, eq. (6), on a grid: shape (H, W), row i at y_axis[i], on the CPU.

    Args:
        flow: The flow.
        x_axis: Values of the first coordinate, shape (W,).
        y_axis: Values of the second coordinate, shape (H,).

    Raises:
        ValueError: If an axis is not one-dimensional.
    """
    x_axis, y_axis = to_tensor(x_axis, "x_axis"), to_tensor(y_axis, "y_axis")
    if x_axis.ndim != 1 or y_axis.ndim != 1:
        raise ValueError(
            "the axes must be one-dimensional,"
            f" not of shapes {tuple(x_axis.shape)} and {tuple(y_axis.shape)}"
        )
    x_axis, y_axis = _as_parameters(flow, x_axis), _as_parameters(flow, y_axis)
    points = torch.cartesian_prod(y_axis, x_axis).flip(1)
    log_density = torch.cat([flow.log_prob(part) for part in points.split(_POINTS_AT_ONCE)])
    return log_density.view(len(y_axis), len(x_axis)).cpu()


@torch.no_grad()
def inverse_error(flow: Flow, z: Tensor | ArrayLike, *, num_steps: int | None = None) -> float:
    """Return ‖g_θ⁻¹(g_θ(z)) − z‖ / ‖z‖ over all latent points `z` (N, 2), as Section 3.3 advises.

    Args:
        flow: The flow.
        z: Latent points, shape (N, 2), not all zero.
        num_steps: Runge-Kutta steps in each direction, of an `OTFlow` only; its own if None.

    Raises:
        ValueError: If `z` is not of shape (N, 2), or `num_steps` is given for another flow.
    """
    z = _as_parameters(flow, z)
    if num_steps is None:
        back = flow.inverse(flow(z)[0])[0]
    elif isinstance(flow, OTFlow):
        x = flow.integrate(z, reverse=False, num_steps=num_steps).y
        back = flow.integrate(x, reverse=True, num_steps=num_steps).y
    else:
        raise ValueError(f"num_steps is for an OTFlow, not for a {type(flow).__name__}")
    return (torch.linalg.norm(back - z) / torch.linalg.norm(z)).item()


@torch.no_grad()
def path_straightness(flow: OTFlow, z: Tensor, *, num_steps: int) -> dict[str, float]:
    """Compare the characteristics of eq. (14) with the straight lines between their ends.

    Args:
        flow: The flow.
        z: Where the paths start, shape (N, 2).
        num_steps: Runge-Kutta steps, so many that their error does not matter.

    Returns:
        How much longer a path is than its chord, as a share of the chord, over the paths:
        `path_excess_median`, `path_excess_95` (the 95% quantile) and `path_excess_max`; and
        `transport_cost_ratio`, the transport cost of eq. (19) over that of the chords at constant
        speed, which is 1 only if all paths are straight and of constant speed.
    """
    fine = copy.deepcopy(flow)
    fine.num_steps = num_steps
    z = _as_parameters(flow, z)
    states = fine.hidden_states(z).double()
    length = states.diff(dim=0).norm(dim=2).sum(dim=0)
    chord = (states[-1] - states[0]).norm(dim=1)
    excess = length / chord - 1
    cost = fine.integrate(z, reverse=False).transport.double()
    return {
        "path_excess_median": excess.median().item(),
        "path_excess_95": excess.quantile(0.95).item(),
        "path_excess_max": excess.max().item(),
        "transport_cost_ratio": (cost.mean() / (chord.square() / 2).mean()).item(),
    }


@dataclass(frozen=True)
class Gaussianity:
    """How far latent points are from N(0, I), beside what true draws of N(0, I) would show.

    Attributes:
        energy_distance: Unbiased estimate of the energy distance to N(0, I).
        null_quantile: Its 95% quantile for as many independent draws of N(0, I).
        pvalue: Of the Monte Carlo test that the latent points are draws of N(0, I).
    """

    energy_distance: float
    null_quantile: float
    pvalue: float


@torch.no_grad()
def latent_gaussianity(
    flow: Flow, x: Tensor | ArrayLike, generator: torch.Generator, *, num_null: int = 199
) -> Gaussianity:
    """Compare z = g_θ⁻¹(x) with N(0, I) by the energy distance (Székely & Rizzo, 2013).

    The reference is the null distribution of the estimate, simulated with N draws of N(0, I) at a
    time; the p-value (1 + #{null ≥ estimate}) / (num_null + 1) is exact, not asymptotic. Time and
    memory grow with N²: take a few thousand points.

    Args:
        flow: The flow.
        x: Independent samples of the data, shape (N, 2), N at least 2.
        generator: Random stream of the null draws, on the CPU.
        num_null: How many times the null distribution is drawn from, at least 1.

    Raises:
        ValueError: If `x` has fewer than 2 points or another shape, or `num_null` is less than 1.
    """
    num_null = whole_number(num_null, "num_null", 1)
    require_stream(generator, "generator")
    z = flow.inverse(_as_parameters(flow, _points(x, "x")))[0]
    distance = energy_distance_to_normal(z)
    draws = (torch.randn(len(z), DIM, generator=generator) for _ in range(num_null))
    null = torch.tensor([energy_distance_to_normal(draw) for draw in draws], dtype=torch.float64)
    pvalue = (1 + (null >= distance).sum().item()) / (num_null + 1)
    return Gaussianity(distance, null.quantile(0.95).item(), pvalue)


def energy_distance_to_normal(z: Tensor | ArrayLike) -> float:
    """Estimate 2 E‖Z − G‖ − E‖Z − Z′‖ − E‖G − G′‖ without bias, with G and G′ from N(0, I).

    Only E‖Z − Z′‖ is a mean over pairs. The others are known: E‖G − G′‖ = √π, and E‖z − G‖ is the
    mean of a Rice distribution, √(π/2) e⁻ᑫ ((1 + 2q) I₀(q) + 2q I₁(q)) with q = ‖z‖²/4.

    Args:
        z: Independent points, shape (N, 2), N at least 2.

    Raises:
        ValueError: If `z` has fewer than 2 points or another shape.
    """
    z = _points(z, "z").detach().double().cpu()
    q = (z.square().sum(dim=1) / 4).numpy()
    to_normal = math.sqrt(math.pi / 2) * ((1 + 2 * q) * i0e(q) + 2 * q * i1e(q)).mean()
    return 2 * float(to_normal) - _mean_distance(z) - math.sqrt(math.pi)


def _mean_distance(points: Tensor) -> float:
    """Return the mean distance of all pairs of points (N, 2).

    `torch.pdist` takes four times as long for points of two dimensions.
    """
    total = torch.zeros((), dtype=points.dtype)
    for first in range(0, len(points), _ROWS_AT_ONCE):
        rows, others = points[first : first + _ROWS_AT_ONCE], points[first:]
        x, y = ((rows[:, k, None] - others[:, k]).square_() for k in range(DIM))
        distances = x.add_(y).sqrt_()
        total += distances.sum() - distances[:, : len(rows)].sum() / 2  # these pairs come twice
    return total.item() / math.comb(len(points), 2)


def _points(values: Tensor | ArrayLike, name: str) -> Tensor:
    """Return independent points (N, 2), of which a spread can be estimated."""
    points = to_tensor(values, name)
    if points.ndim != 2 or points.shape[1] != DIM or len(points) < 2:
        raise ValueError(
            f"{name} must have shape (N, {DIM}) with N at least 2, not {tuple(points.shape)}"
        )
    return points


def _as_parameters(flow: Flow, points: Tensor | ArrayLike) -> Tensor:
    """Return the points on the flow's device and in its precision."""
    parameter = next(flow.parameters())
    return as_type(to_tensor(points, "points"), "points", parameter.dtype).to(parameter.device)
