"""A flow of the moons beside their density: divergences by quadrature, transport, map and cost."""

import copy
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.mixture import GaussianMixture
from torch import Tensor
from zuko.nn import MLP, MaskedMLP

from dgmpipe.data.moons import MoonsDensity, sample_moons
from dgmpipe.evaluation.flows import density_grid, inverse_error, kernel_density_kl
from dgmpipe.evaluation.subject import Subject
from dgmpipe.evaluation.yardsticks import joined_at
from dgmpipe.models.flow import DIM, Flow, Standardised
from dgmpipe.models.flow_matching import Velocity
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.planar import PlanarFlow, RadialFlow
from dgmpipe.models.realnvp import PairedLinear
from dgmpipe.streams import random_stream

__all__ = [
    "density_axes",
    "divergences",
    "evaluate_lab",
    "mixture_kl",
    "passes",
    "singular_values",
    "wasserstein_1",
]

# The half circles lie in this box; the grid has a margin around them of 1 and of so many
# standard deviations of the noise.
_X, _Y, _DEVIATIONS = (-1.0, 2.0), (-0.5, 1.0), 8
# Points of the grid lie so many standard deviations of the noise apart. Even of every second point
# a plain sum over the moons' density alone is exact to 1e-13.
_STEP = 0.4
_COMPONENTS = (2, 4, 8, 12, 16, 24, 32)
# Modules of which a call is a pass through a network: of Real NVP the last layer of s and t.
_NETWORKS = (MLP, MaskedMLP, Velocity, PairedLinear)


def divergences(log_p: Tensor, log_q: Tensor, cell: float) -> dict[str, float]:
    """Return how far a density q is from the true one p, by sums over a grid that holds all of p.

    Args:
        log_p: The true log density, shape (H, W).
        log_q: That of a model, shape (H, W).
        cell: Area of a cell of the grid.

    Returns:
        `kl`, KL(p ‖ q), and `reverse_kl`, KL(q ‖ p) as far as q is on the grid, in nats;
        `total_variation`, ½ ∫ |p − q|; `hellinger`, the distance (½ ∫ (√p − √q)²)^½; and `mass`,
        ∫ q over the grid. Of each there is `{name}_error`: the furthest that the same sum over
        every second point in both directions is from it.
    """
    log_p, log_q = log_p.double(), log_q.double()
    p, q = log_p.exp(), log_q.exp()
    # Where a density is 0 to the last digit its logarithm counts nothing, be it −∞. What of q is
    # beyond the grid does not matter to the third and the fourth, as both densities integrate to 1.
    terms = {
        "kl": torch.where(p > 0, p * (log_p - log_q), 0),
        "reverse_kl": torch.where(q > 0, q * (log_q - log_p), 0),
        "total_variation": (p - q).clamp_min(0),
        "hellinger": p - (p * q).sqrt(),
        "mass": q,
    }

    def integral(name: str, values: Tensor, area: float) -> float:
        found = values.sum().item() * area
        return math.sqrt(max(found, 0)) if name == "hellinger" else found

    numbers: dict[str, float] = {}
    for name, values in terms.items():
        numbers[name] = integral(name, values, cell)
        halves = [values[i::2, j::2] for i in range(2) for j in range(2)]
        errors = [abs(integral(name, half, 4 * cell) - numbers[name]) for half in halves]
        numbers[f"{name}_error"] = max(errors)
    return numbers


def wasserstein_1(
    model: Callable[[int], Tensor],
    truth: Callable[[int], Tensor],
    *,
    num_points: int,
    num_draws: int,
) -> dict[str, float]:
    """Estimate the Wasserstein-1 distance of a model from the truth, by optimal transport.

    That of samples is too large, also where both are the same. So from the mean of the four between
    two samples of the model and two of the truth is taken half of that between the first two and
    half of that between the others; the rest is 0 in the mean where both are the same, and somewhat
    too small where they are far apart.

    Args:
        model: Draws so many points, (n, 2).
        truth: The same of the truth.
        num_points: Points of a sample; the time grows with their third power.
        num_draws: How often all four samples are drawn, at least 2.

    Returns:
        `w1` with `w1_standard_error` over the draws, and `w1_upper`, the mean before anything is
        taken from it.
    """

    def distance(a: Tensor, b: Tensor) -> float:
        cost = cdist(a.numpy(), b.numpy())
        return float(cost[linear_sum_assignment(cost)].mean())

    found, uppers = [], []
    for _ in range(num_draws):
        (x, y), (a, b) = [[draw(num_points) for _ in range(2)] for draw in (model, truth)]
        across = [distance(one, other) for one in (x, y) for other in (a, b)]
        uppers.append(float(np.mean(across)))
        found.append(uppers[-1] - (distance(x, y) + distance(a, b)) / 2)
    error = float(np.std(found, ddof=1) / math.sqrt(num_draws))
    mean, upper = float(np.mean(found)), float(np.mean(uppers))
    return {"w1": mean, "w1_standard_error": error, "w1_upper": upper}


def singular_values(flow: Flow, z: Tensor) -> Tensor:
    """Return those of the Jacobian of x = g_θ(z) by z, the larger first, shape (N, 2), doubles.

    Args:
        flow: The flow, which is copied to double precision.
        z: Latent points, shape (N, 2).
    """
    precise = copy.deepcopy(flow).double()
    with torch.enable_grad():
        z = z.to(next(precise.parameters())).requires_grad_()
        x, _ = precise(z)
        rows = [torch.autograd.grad(x[:, i].sum(), z, retain_graph=i == 0)[0] for i in range(DIM)]
    return torch.linalg.svdvals(torch.stack(rows, dim=1)).cpu()


def mixture_kl(
    points: Tensor, x: Tensor, true_log_prob: Callable[[Tensor], Tensor], *, seed: int
) -> dict[str, float]:
    """Estimate the KL divergence of eq. (7) of a Gaussian mixture, a yardstick for flows.

    Its number of components, from 2 to 32, is that of the least Bayesian information criterion.

    Args:
        points: Independent samples of the data, to which it is fitted, shape (N, 2).
        x: Further samples, at which the divergence is estimated, shape (M, 2).
        true_log_prob: Maps points (M, 2) to the log density of the data in nats, shape (M,).
        seed: Of its start.

    Returns:
        `kl` with `kl_standard_error` over `x`, in nats, and the number of `components`.
    """
    known = points.double().numpy()
    fits = [GaussianMixture(n, random_state=seed).fit(known) for n in _COMPONENTS]
    best = min(fits, key=lambda fit: fit.bic(known))
    gap = true_log_prob(x).double() - torch.from_numpy(best.score_samples(x.double().numpy()))
    error = gap.std().item() / math.sqrt(len(gap))
    return {"kl": gap.mean().item(), "kl_standard_error": error, "components": best.n_components}


def passes(flow: Flow) -> dict[str, int]:
    """Return through how many networks a point goes, one after another.

    A layer of Real NVP has two, side by side, that count as one; one of a planar or a radial flow
    has none, and counts as one itself.

    Returns:
        `sampling`, from z to x, and `likelihood`, from x to log p(x).
    """
    inner = flow.flow if isinstance(flow, Standardised) else flow
    if isinstance(inner, OTFlow):
        return dict.fromkeys(("sampling", "likelihood"), 4 * inner.num_steps)
    if isinstance(inner, PlanarFlow | RadialFlow):
        return dict.fromkeys(("sampling", "likelihood"), len(inner.layers))
    count = 0

    def add(*_: Any) -> None:
        nonlocal count
        count += 1

    networks = [
        module
        for name, module in inner.named_modules()
        if isinstance(module, _NETWORKS)
        and (not isinstance(module, PairedLinear) or name.endswith("closing"))
    ]
    hooks = [network.register_forward_hook(add) for network in networks]
    found = {}
    point = torch.zeros(1, DIM).to(next(flow.parameters()))
    with torch.no_grad():
        for name, run in (("sampling", flow.hidden_states), ("likelihood", flow.log_prob)):
            count = 0
            run(point)
            found[name] = count
    for hook in hooks:
        hook.remove()
    return found


def _seconds(run: Callable[[], Any]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.no_grad()
def evaluate_lab(
    subject: Subject,
    *,
    num_transported: int,
    num_draws: int,
    num_latent: int,
    num_timed: int,
    num_known: int,
) -> dict[str, dict[str, float]]:
    """Return the `numbers` of a flow of the moons, which docs/flows.md explains.

    Args:
        subject: The flow.
        num_transported: Points of a sample for the Wasserstein distance.
        num_draws: How often samples are drawn for it.
        num_latent: Latent points at which the Jacobian is taken.
        num_timed: Points that are sampled, and whose likelihood is evaluated, against the clock.
        num_known: Points that the Gaussian mixture and the kernel density estimate know.
    """
    flow, noise, seed = subject.model(), float(subject.settings["noise"]), subject.seed
    assert isinstance(flow, Flow)
    stream, truth = random_stream(seed, "flow lab"), MoonsDensity(noise)

    x_axis, y_axis = density_axes(noise)
    points = torch.cartesian_prod(y_axis, x_axis).flip(1)
    log_p = truth.log_prob(points).view(len(y_axis), len(x_axis))
    log_q = density_grid(flow, x_axis, y_axis)
    numbers = divergences(log_p, log_q, (_STEP * noise) ** 2)
    numbers["joined_at"] = joined_at(log_q.double().numpy(), log_p.numpy())
    numbers["true_joined_at"] = joined_at(log_p.numpy(), log_p.numpy())
    numbers |= wasserstein_1(
        lambda n: flow.sample(n, stream).double().cpu(),
        lambda n: sample_moons(n, noise, stream).double(),
        num_points=num_transported,
        num_draws=num_draws,
    )

    z = torch.randn(num_latent, DIM, generator=stream)
    values = singular_values(flow, z)
    condition = values[:, 0] / values[:, 1]
    numbers |= {
        "singular_value_largest": values.max().item(),
        "singular_value_smallest": values.min().item(),
        "condition_median": condition.median().item(),
        "condition_95": condition.quantile(0.95).item(),
        "condition_largest": condition.max().item(),
        "inverse_error": inverse_error(flow, z),
    }
    numbers |= _cost(flow, subject, num_timed, stream)

    known, x = sample_moons(num_known, noise, stream), sample_moons(10_000, noise, stream)
    for name, estimate in (
        ("mixture", mixture_kl(known, x, truth.log_prob, seed=seed)),
        ("kernel", kernel_density_kl(known, x, truth.log_prob, noise=noise)),
    ):
        numbers |= {f"{name}_{key}": value for key, value in estimate.items()}
    return {"numbers": numbers}


def density_axes(noise: float) -> tuple[Tensor, Tensor]:
    """Return the axes of a grid that holds all of the density of moons with that noise."""
    margin = max(1.0, _DEVIATIONS * noise)
    return (
        torch.arange(_X[0] - margin, _X[1] + margin, _STEP * noise, dtype=torch.float64),
        torch.arange(_Y[0] - margin, _Y[1] + margin, _STEP * noise, dtype=torch.float64),
    )


def _cost(flow: Flow, subject: Subject, n: int, stream: torch.Generator) -> dict[str, float]:
    """Return what a flow takes: weights, passes through networks, and processor seconds."""
    assert subject.folder is not None
    settings, found = subject.settings, passes(flow)
    trained = json.loads((subject.folder / "time.json").read_text(encoding="utf-8"))
    # Of a point in a training step; of a continuous flow by the Runge-Kutta steps of the training.
    a_step = {
        "otflow": 4 * settings.get("training_rk4_steps", 0),
        "flow_matching": 1,
    }.get(settings["kind"])
    if a_step is None:
        reverse = settings.get("objective") == "reverse_kl"
        a_step = found["sampling" if reverse else "likelihood"]
    x = flow.sample(n, stream)
    return {
        "parameters": sum(p.numel() for p in flow.parameters()),
        "sampling_passes": found["sampling"],
        "likelihood_passes": found["likelihood"],
        "training_passes": a_step * settings["steps"] * settings["batch_size"],
        "training_seconds": trained["processor_seconds"],
        "sampling_seconds": _seconds(lambda: flow.sample(n, stream)),
        "likelihood_seconds": _seconds(lambda: flow.log_prob(x)),
    }
