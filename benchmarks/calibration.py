"""Do 95% intervals cover the truth where points come in clusters? The tables of docs/errors.md.

    python benchmarks/calibration.py means energy features test --repetitions 1000

Real points are in an order like that of MNIST's test images: of the first half each has a writer
of its own, the second half has 46 writers one after another, whose points are correlated, and the
halves' means may lie apart. Generated points are independent.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln, hyp1f1
from torch import Tensor

from dgmpipe.evaluation.quality import compare_features
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import energy_distance, energy_test
from dgmpipe.streams import random_stream

WRITERS = 46
# Standard deviations of a writer's number of points over their mean, as of the test images.
SPREAD = 0.2
DIM = 3
SHIFT = 0.5


class Case(NamedTuple):
    """A population of real points.

    Attributes:
        correlation: Intraclass correlation of a writer's points, in the second half.
        apart: Standard deviations between the means of the halves.
        hidden: Whether the first half has 250 writers with the same correlation, in random order.
    """

    correlation: float
    apart: float
    hidden: bool = False


CASES = [
    *(Case(correlation, apart) for apart in (0.0, 0.3) for correlation in (0.0, 0.1, 0.25, 0.5)),
    Case(0.25, 0.3, hidden=True),
]


def real_points(n: int, dim: int, case: Case, stream: torch.Generator) -> Tensor:
    """Return n points (n, dim), each with the covariance I about the mean of its half."""
    half, writers = n // 2, []
    while len(writers) < half:
        size = half / WRITERS * (1 + SPREAD * torch.randn((), generator=stream).item())
        writers += [writers[-1] + 1 if writers else 0] * max(1, round(size))
    second = torch.tensor(writers[:half])
    first = torch.randperm(half, generator=stream) % 250
    points = torch.randn(n, dim, generator=stream, dtype=torch.float64)
    for part, writer, clustered in ((slice(half), first, case.hidden), (slice(half, n), second, 1)):
        if clustered:
            habit = torch.randn(half, dim, generator=stream, dtype=torch.float64)[writer]
            points[part] *= math.sqrt(1 - case.correlation)
            points[part] += math.sqrt(case.correlation) * habit
    points[:half, 0] -= case.apart / 2
    points[half:, 0] += case.apart / 2
    return points


def block_length(n: int) -> int:
    """Return the length of blocks that goes with 125 for 10,000 test images."""
    return math.ceil(n / 80)


def clusters(n: int) -> Clusters:
    return Clusters.in_order(n, block_length(n), strata=2)


def mean_norm(mean: float, variance: float) -> float:
    """Return E‖Z‖ for Z from N(mean · e, variance · I) in DIM dimensions, e of norm 1."""
    scale = math.sqrt(2 * variance) * math.exp(gammaln((DIM + 1) / 2) - gammaln(DIM / 2))
    return float(scale * hyp1f1(-0.5, DIM / 2, -(mean**2) / (2 * variance)))


def true_distance(case: Case) -> float:
    """Return the energy distance of the population from N(SHIFT · e, I)."""
    across = mean_norm(SHIFT + case.apart / 2, 2) + mean_norm(SHIFT - case.apart / 2, 2)
    inside = (mean_norm(0, 2) + mean_norm(case.apart, 2)) / 2
    return across - mean_norm(0, 2) - inside


def cover_means(case: Case, stream: torch.Generator) -> dict[str, tuple[float, float, float]]:
    """Return estimate, truth and standard error by name, of means of 10,000 images or some."""
    n = 10_000
    values, known = real_points(n, 1, case, stream)[:, 0], clusters(n)
    # Blocks that are taken for independent.
    plain = dataclasses.replace(Clusters.in_order(n, 250, strata=2), adjoining=False)
    error = math.sqrt(plain.variance_of_mean(values))
    found = {"all, blocks of 250": (values.mean().item(), 0.0, error)}
    for name, chosen in (("all", torch.arange(n)), ("every 20th", torch.arange(0, n, 20))):
        some = values[chosen]
        for errors, of in (("old", Clusters.of_labels(chosen)), ("new", known[chosen])):
            error = math.sqrt(of.variance_of_mean(some))
            found[f"{name}, {errors}"] = (some.mean().item(), 0.0, error)
    # A share, as of the images that are rejected.
    shares, limit = (values > 1.0).double(), case.apart / 2
    truth = sum(math.erfc((1 + a) / math.sqrt(2)) / 4 for a in (limit, -limit))
    for errors, of in (("old", Clusters.of_labels(torch.arange(n))), ("new", known)):
        error = math.sqrt(of.variance_of_mean(shares))
        found[f"a share, {errors}"] = (shares.mean().item(), truth, error)
    return found


def cover_energy(
    case: Case, stream: torch.Generator, n: int = 1000
) -> dict[str, tuple[float, float, float]]:
    """Likewise of the energy distance of n generated and n real points."""
    x = torch.randn(n, DIM, generator=stream, dtype=torch.float64)
    x[:, 0] += SHIFT
    y = real_points(n, DIM, case, stream)
    found = {}
    for errors, of in (("old", None), ("new", clusters(n))):
        estimate = energy_distance(x, y, y_clusters=of)
        found[errors] = (estimate.value, true_distance(case), estimate.standard_error)
    return found


def cover_features(
    case: Case, stream: torch.Generator, n: int = 1000
) -> dict[str, tuple[float, float, float]]:
    """Likewise of `compare_features`, where the truth, NaN, is the mean over the repetitions."""
    x = 0.8 * torch.randn(n, DIM, generator=stream, dtype=torch.float64)
    x[:, 0] += SHIFT
    y = real_points(n, DIM, case, stream)
    comparison = vars(compare_features(x, y, real_clusters=clusters(n)))
    names = ("precision", "recall", "density", "coverage")
    return {k: (comparison[k], math.nan, comparison[f"{k}_standard_error"]) for k in names}


COVERED = {"means": cover_means, "energy": cover_energy, "features": cover_features}


def coverage(section: str, case: Case, repetitions: int, seed: int = 0) -> pd.DataFrame:
    """Return by kind of error: the share of intervals that cover, and the error over the spread."""
    draws = [
        COVERED[section](case, random_stream(seed + repetition, f"{section} {case}"))
        for repetition in range(repetitions)
    ]
    rows = {}
    for name in draws[0]:
        value, truth, error = np.array([draw[name] for draw in draws]).T
        truth = np.where(np.isnan(truth), value.mean(), truth)
        rows[name] = {
            "covered": (np.abs(value - truth) < 1.96 * error).mean(),
            "error_over_spread": math.sqrt((error**2).mean()) / value.std(),
        }
    return pd.DataFrame(rows).T


def rejected(
    size: int, correlation: float, repetitions: int, *, n: int = 500, seed: int = 0
) -> float:
    """Return how often p is at most 0.05 where the distributions are equal.

    All n real points come in clusters of one size, the n generated ones are independent.
    """
    pvalues = []
    for repetition in range(repetitions):
        stream = random_stream(seed + repetition, f"test {size} {correlation}")
        x, y, habit = torch.randn(3, n, DIM, generator=stream, dtype=torch.float64)
        habit = habit[torch.arange(n) // size]
        y = math.sqrt(1 - correlation) * y + math.sqrt(correlation) * habit
        pvalues.append(energy_test(x, y, num_permutations=99, seed=repetition).pvalue)
    return float(np.mean(np.array(pvalues) <= 0.05))


def tables(sections: list[str], repetitions: int) -> Iterator[str]:
    """Yield the lines of the tables, in Markdown."""
    for section in sections:
        if section == "test":
            yield "\n| points of a cluster | correlation | p ≤ 0.05 |\n|---|---|---|"
            for size, correlation in ((1, 0.0), (5, 0.1), (5, 0.25), (20, 0.1), (20, 0.25)):
                yield f"| {size} | {correlation} | {rejected(size, correlation, repetitions):.1%} |"
            continue
        for i, case in enumerate(CASES):
            table = coverage(section, case, repetitions)
            if not i:
                yield f"\n| {section} | {' | '.join(table.index)} |\n|---{'|---' * len(table)}|"
            cells = (f"{r.covered:.1%} ({r.error_over_spread:.2f})" for r in table.itertuples())
            hidden = ", hidden" if case.hidden else ""
            yield f"| {case.correlation}, {case.apart}{hidden} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 95% intervals.")
    parser.add_argument("sections", nargs="+", choices=[*COVERED, "test"])
    parser.add_argument("--repetitions", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for line in tables(args.sections, args.repetitions):
        print(line, flush=True)


if __name__ == "__main__":
    main()
