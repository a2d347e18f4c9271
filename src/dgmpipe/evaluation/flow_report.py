"""Everything that is measured of a trained flow: arrays for its figure, numbers for the table."""

import copy
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dgmpipe.data.datasets import Points
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.data.moons import MoonsDensity, sample_moons
from dgmpipe.evaluation.flows import (
    density_grid,
    held_out_nll,
    inverse_error,
    kernel_density_kl,
    latent_gaussianity,
    path_straightness,
)
from dgmpipe.evaluation.subject import Subject
from dgmpipe.evaluation.yardsticks import KDE_POINTS, RK4_STEPS
from dgmpipe.models.flow import Flow
from dgmpipe.models.otflow import OTFlow
from dgmpipe.streams import random_stream

__all__ = ["evaluate_flow", "flow_report", "points_report"]

_SHOWN_X, _SHOWN_Y = (-1.75, 2.75), (-1.25, 1.75)  # all of the moons, with a margin


@torch.no_grad()
def flow_report(
    flow: Flow, *, noise: float, seed: int, num_held_out: int, resolution: int, num_latent: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Measure a trained flow against the moons' true density.

    Args:
        flow: Trained on moons with this noise, in evaluation mode.
        noise: Standard deviation of the noise around the half circles.
        seed: Seed of the training; the points here are from streams of their own.
        num_held_out: Fresh points for the likelihood and for the latent histogram.
        resolution: Grid points along each axis of the density.
        num_latent: Points for the comparison of the latent distribution with N(0, I).

    Returns:
        What `points_report` does, with the truth beside it: the array `true_log_density`, and by
        name `kl` with its standard error in nats; `entropy`, the least that `nll` can be; and
        `kde_{n}_kl` of a kernel density estimate from each number n of `KDE_POINTS`, whatever the
        flow.
    """
    stream = random_stream(seed, "flow report")
    truth = MoonsDensity(noise)
    x = sample_moons(num_held_out, noise, stream)
    arrays, numbers = _report(
        flow,
        x,
        stream,
        (_SHOWN_X, _SHOWN_Y),
        resolution=resolution,
        num_latent=num_latent,
        true_log_prob=truth.log_prob,
    )
    numbers["entropy"] = truth.entropy()
    points = sample_moons(max(KDE_POINTS), noise, random_stream(seed, "kernel density"))
    for count in KDE_POINTS:
        estimate = kernel_density_kl(points[:count], x, truth.log_prob, noise=noise)
        for name, value in estimate.items():
            numbers[f"kde_{count}_{name}"] = value
    shown = torch.cartesian_prod(arrays["y_axis"], arrays["x_axis"]).flip(1)
    arrays["true_log_density"] = truth.log_prob(shown).view(resolution, resolution)
    arrays["entropy"] = torch.tensor(numbers["entropy"])
    return arrays, numbers


@torch.no_grad()
def points_report(
    flow: Flow, x: Tensor, *, seed: int, resolution: int, num_latent: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Measure a flow that was trained on points of which no true density is known.

    Args:
        flow: Trained, in evaluation mode.
        x: Points that it was not trained on, shape (N, 2), N at least 2.
        seed: Seed of the training; the points here are from streams of their own.
        resolution: Grid points along each axis of the density.
        num_latent: Points for the comparison of the latent distribution with N(0, I).

    Returns:
        The arrays that `figure_flow` draws, and by name: `nll` with its standard error, in nats;
        `mass`, the integral of the learned density over the shown rectangle; `inverse_error`, for
        OT-Flow also at each number of `RK4_STEPS` in single and in double precision; how straight
        OT-Flow's paths are; and how Gaussian the latent points are.
    """
    low, high = x.amin(0), x.amax(0)
    margin = 0.15 * (high - low)
    shown = torch.stack([low - margin, high + margin], dim=1).tolist()
    stream = random_stream(seed, "flow report")
    # What a part of them is taken for is of them all, whatever the order of their file.
    x = x[torch.randperm(len(x), generator=random_stream(seed, "order of points"))]
    return _report(flow, x, stream, shown, resolution=resolution, num_latent=num_latent)


def _report(
    flow: Flow,
    x: Tensor,
    stream: torch.Generator,
    shown: Sequence[Sequence[float]],
    *,
    resolution: int,
    num_latent: int,
    true_log_prob: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Measure a flow on points `x` (N, 2), and its density on the rectangle that is shown."""
    z = torch.randn(2000, 2, generator=stream)
    numbers = held_out_nll(flow, x, true_log_prob, batch_size=10_000)
    numbers["inverse_error"] = inverse_error(flow, z)
    if isinstance(flow, OTFlow):
        single, double = copy.deepcopy(flow).float(), copy.deepcopy(flow).double()
        for steps in RK4_STEPS:
            for suffix, precise in (("", single), ("_double", double)):
                error = inverse_error(precise, z, num_steps=steps)
                numbers[f"inverse_error_rk4_{steps}{suffix}"] = error
        numbers |= path_straightness(flow, z, num_steps=RK4_STEPS[-1])
    gaussianity = latent_gaussianity(flow, x[:num_latent], stream)
    numbers["latent_energy_distance"] = gaussianity.energy_distance
    numbers["latent_energy_distance_null_95"] = gaussianity.null_quantile
    numbers["latent_pvalue"] = gaussianity.pvalue

    x_axis, y_axis = (torch.linspace(low, high, resolution) for low, high in shown)
    log_density = density_grid(flow, x_axis, y_axis)
    cell = (x_axis[1] - x_axis[0]) * (y_axis[1] - y_axis[0])
    numbers["mass"] = (log_density.double().exp().sum() * cell).item()
    latent_samples = torch.randn(200, 2, generator=stream)
    like = next(flow.parameters())
    arrays = {
        "batch": x[:256],
        "latent_samples": latent_samples,
        "samples": flow(latent_samples.to(like))[0].cpu(),
        "x_axis": x_axis,
        "y_axis": y_axis,
        "log_density": log_density,
        "hidden_states": flow.hidden_states(z[:6].to(like)).cpu(),
        "latent": torch.cat([flow.inverse(some.to(like))[0].cpu() for some in x.split(10_000)]),
        "nll": torch.tensor(numbers["nll"]),
        "nll_standard_error": torch.tensor(numbers["nll_standard_error"]),
    }
    return arrays, numbers


def evaluate_flow(
    subject: Subject, *, num_held_out: int, **settings: int
) -> dict[str, dict[str, Tensor] | dict[str, float]]:
    """Return `arrays` and `numbers` of a trained flow: of `flow_report` if it learned the moons.

    Of points of one's own it is `points_report` with those that were held out.
    """
    flow, data = subject.model(), subject.settings["data"]
    assert isinstance(flow, Flow)
    if data == "moons":
        arrays, numbers = flow_report(
            flow,
            noise=subject.settings["noise"],
            seed=subject.seed,
            num_held_out=num_held_out,
            **settings,
        )
    else:
        x = Points(data).held_out(sys.maxsize, subject.seed, torch.device("cpu"))
        x = x[evenly_spread(min(num_held_out, len(x)), len(x))]
        arrays, numbers = points_report(flow, x, seed=subject.seed, **settings)
    return {"arrays": arrays, "numbers": numbers}
