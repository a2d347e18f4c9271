"""The energy distance of two samples, and the permutation test that they have one distribution.

Reference: G. J. Székely and M. L. Rizzo, "Energy statistics: a class of statistics based on
distances", JSPI 143 (2013), doi:10.1016/j.jspi.2013.03.018.

Both work on the N = n + m pooled points. Their distance matrix D is made block by block, each
pair of blocks once, and dropped, so that memory does not grow with N². A partition is a row s of
zeros and ones that labels one sample, and sᵀDs is its sum of distances within that sample; all
permutations at once are rows of one matrix S, for which the diagonal of SDSᵀ takes a matrix
product a block.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dgmpipe.arguments import to_tensor, whole_number
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.streams import random_stream

__all__ = [
    "Contributions",
    "EnergyDistance",
    "EnergyTestResult",
    "difference_standard_error",
    "energy_distance",
    "energy_distances",
    "energy_test",
    "pairwise_distances",
    "scaled_to_one",
]

# Large enough for matrix products at full speed; a block of distances takes 8 MB.
_BLOCK_SIZE = 1024

# Below this share of ‖x‖² + ‖y‖², ‖x − y‖² from the product loses more than 3 of 16 digits, and in
# single precision more than 2 of 7.
_NEAR, _NEAR_SINGLE = 1e-3, 1e-2

_PARTITIONS_AT_ONCE = 1024

# Numbers that the recomputation of near pairs holds at once.
_VALUES_AT_ONCE = 2**20

# Distances of larger numbers, or sums of them, could overflow.
_LARGEST = 1e150

# Of numbers up to one that is between these, squares are within the range of a float.
_MODERATE = 1e-6, 1e12


class Contributions(NamedTuple):
    """What the points contribute to an estimate of the energy distance, to first order.

    About its expectation the estimate varies as the mean of `x` plus the mean of `y` does about
    theirs.

    Attributes:
        x: 2 (E‖x − Y‖ − E‖x − X′‖) of each point of the first sample, estimated, float64 (n,).
        y: Likewise 2 (E‖y − X‖ − E‖y − Y′‖) of the second sample, float64 (m,).
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class EnergyDistance:
    """An unbiased estimate of the energy distance, its standard error, and what they are made of.

    Attributes:
        value: The estimate.
        standard_error: Its standard error.
        contributions: What each point contributes to it, on the CPU.
    """

    value: float
    standard_error: float
    contributions: Contributions = field(repr=False, compare=False)


@dataclass(frozen=True)
class EnergyTestResult:
    """What `energy_test` found.

    Attributes:
        statistic: T = nm/(n+m) V, where V is the energy distance of the two empirical
            distributions (the V-statistic), never negative.
        energy_distance: Unbiased estimate, as `energy_distance` returns it; NaN if a sample has
            one point.
        standard_error: Its standard error, NaN likewise.
        contributions: Those of the points to it, NaN likewise.
        pvalue: (1 + #{T* ≥ T}) / (B + 1).
        null_distribution: T* of the B permutations, float64 (B,), on the CPU.
        null_energy_distance: The unbiased estimate of the same permutations, float64 (B,): how
            large `energy_distance` gets where the distributions are equal. NaN likewise.
    """

    statistic: float
    energy_distance: float
    standard_error: float
    contributions: Contributions = field(repr=False, compare=False)
    pvalue: float
    null_distribution: Tensor
    null_energy_distance: Tensor


@torch.no_grad()
def pairwise_distances(x: Tensor, y: Tensor, *, single: bool = False) -> Tensor:
    """Return the Euclidean distances of all points of `x` (n, d) to those of `y` (m, d), (n, m).

    They come from one matrix product; pairs so near that it would cancel more than a few digits
    are recomputed from their differences. The result is float64, with a relative error of about
    1e-12 for all pairs, and exactly 0 for equal points; `scaled_to_one` is for points whose squares
    are beyond a double. With `single` the product is in single precision, which takes half the
    time and leaves a relative error of about 1e-5 for the nearest pairs and 1e-7 for most.

    Raises:
        ValueError: If x or y is not two-dimensional, or they have different d.

    Example:
        >>> pairwise_distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[5., 0.]], dtype=torch.float64)
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            "x and y must be points (n, d) and (m, d),"
            f" not of shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    x, y = x.double(), y.double()
    # The nearer the origin is to the points, the fewer pairs are near by comparison.
    center = (x.mean(0) + y.mean(0)) / 2
    x_centered, y_centered = x - center, y - center
    x_norm, y_norm = (torch.linalg.vector_norm(z, dim=1) for z in (x_centered, y_centered))
    norms = x_norm.square()[:, None] + y_norm.square()
    if single:
        squared = torch.sub(norms, x_centered.float() @ y_centered.float().T, alpha=2)
    else:
        squared = torch.addmm(norms, x_centered, y_centered.T, alpha=-2)
    near = (squared <= norms.mul_(_NEAR_SINGLE if single else _NEAR)).nonzero()
    if 8 * len(near) > squared.numel():
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    distances = squared.sqrt_()
    for pairs in near.split(max(1, _VALUES_AT_ONCE // x.shape[1])):
        i, j = pairs.unbind(1)
        distances[i, j] = torch.linalg.vector_norm(x[i] - y[j], dim=1)
    return distances


@torch.no_grad()
def energy_distance(
    x: Tensor | ArrayLike,
    y: Tensor | ArrayLike,
    *,
    y_clusters: Clusters | None = None,
    block_size: int = _BLOCK_SIZE,
) -> EnergyDistance:
    """Estimate 2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖ without bias from samples of X and Y.

    The quantity is 0 if the distributions are equal and positive otherwise, in the unit of the
    data; the estimate may be negative. Its means leave out the distances of points to themselves
    (U-statistics).

    The standard error is that of the first-order (Hoeffding) projection, to which a point x
    contributes 2 (E‖x − Y‖ − E‖x − X′‖). Where the distributions are equal this is 0 for all x:
    the estimate then is skewed and of the order 1/n, and its measure is not the standard error but
    the null distribution of `energy_test`.

    Points of one cluster are nearer to one another than independent ones, so that with `y_clusters`
    the mean of ‖Y − Y′‖ is over independent pairs only, and the contributions are summed by cluster
    before they are squared. docs/errors.md shows how well this works.

    Args:
        x: Independent points (n, ...), n at least 2: a tensor, or whatever NumPy reads; dimensions
            after the first are flattened.
        y: Likewise (m, ...), on the same scale: bytes are not divided by 255.
        y_clusters: Which points of y depend on one another; none do if it is None.
        block_size: Points of each side whose distances are held at once.

    Raises:
        ValueError: If a sample has fewer than 2 points or values that are no real numbers, masked,
            not finite or above 1e150, the shapes of points differ, y_clusters are not of m points,
            or block_size is no whole number or less than 1.

    Example:
        >>> estimate = energy_distance([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
        >>> round(estimate.value, 3), round(estimate.standard_error, 3)
        (0.444, 2.123)
    """
    block_size = whole_number(block_size, "block_size", 1)
    x, y = to_tensor(x, "x"), to_tensor(y, "y")
    points, n, unit = _pool(x, y)
    if n < 2:
        raise ValueError("the unbiased estimate needs at least 2 points of each sample, not 1")
    is_y, y_clusters = _roles(x, y, points, y_clusters)
    sums = _sum_distances(points, _partitions(n, len(points)), block_size, is_y, y_clusters)
    return _estimate(points, sums, is_y, y_clusters, block_size, unit)


@torch.no_grad()
def energy_distances(samples: Iterable[Tensor], y: Tensor, *, single: bool = False) -> Tensor:
    """Return `energy_distance` of each of many samples and one sample y, without errors, (S,).

    The distances within y are computed once.

    Args:
        samples: Points (n, ...) each, n at least 2, up to about 1e12 in magnitude.
        y: Points (m, ...) likewise.
        single: As for `pairwise_distances`.

    Example:
        >>> energy_distances([torch.arange(3.0)], torch.tensor([1.0, 3.0, 5.0]))
        tensor([0.4444], dtype=torch.float64)
    """

    def inside(points: Tensor) -> Tensor:
        sums = [
            (1 if i == j else 2) * distances.sum()
            for i, j, distances in _distance_blocks(points, _BLOCK_SIZE, single)
        ]
        return torch.stack(sums).sum() / (len(points) * (len(points) - 1))

    y = y.double().reshape(len(y), -1)
    inside_y, values = inside(y), []
    for sample in samples:
        x = sample.double().reshape(len(sample), -1)
        across = [
            pairwise_distances(some, others, single=single).sum()
            for some in x.split(_BLOCK_SIZE)
            for others in y.split(_BLOCK_SIZE)
        ]
        mean = torch.stack(across).sum() / (len(x) * len(y))
        values.append(2 * mean - inside(x) - inside_y)
    return torch.stack(values)


@torch.no_grad()
def energy_test(
    x: Tensor | ArrayLike,
    y: Tensor | ArrayLike,
    *,
    num_permutations: int = 999,
    y_clusters: Clusters | None = None,
    block_size: int = _BLOCK_SIZE,
    seed: int = 0,
    single: bool = False,
) -> EnergyTestResult:
    """Test whether two samples come from one distribution, by permutations of their labels.

    If all points are independent, which makes them exchangeable under equality, the p-value is
    exact for samples of any size: it is then at most a with probability at most a. Of points that
    depend on one another within a sample it is too small: what the test then rejects is that all
    points are independent draws of one distribution. `y_clusters` changes nothing in this; they are
    for the estimate and its standard error. A permutation of whole clusters would need both samples
    to have such.

    All is computed in float64, on the samples' CUDA device if they share one, otherwise on the CPU.
    Besides the points and a few blocks it takes N bytes of memory a permutation: 20 MB for 20,000
    points and 999 permutations.

    Args:
        x: Independent points (n, ...), n at least 1: a tensor, or whatever NumPy reads; dimensions
            after the first are flattened.
        y: Likewise (m, ...), on the same scale: bytes are not divided by 255.
        num_permutations: B, at least 1.
        y_clusters: Which points of y depend on one another, as for `energy_distance`.
        block_size: Points of each side whose distances are held at once.
        seed: Of the permutations, which depend on nothing else but n and m.
        single: Whether matrix products are in single precision, which takes half the time. Of
            images the energy distance and its error keep 6 digits; partitions that tie with the
            observed one may then count or not.

    Raises:
        ValueError: If a sample is empty or has values that are no real numbers, masked, not finite
            or above 1e150, the shapes of points differ, y_clusters are not of m points,
            num_permutations or block_size is no whole number or less than 1, or seed is no whole
            number.

    Example:
        >>> result = energy_test(torch.arange(9.0), torch.arange(9.0) + 10)
        >>> round(result.statistic, 3), result.pvalue
        (63.333, 0.001)
    """
    num_permutations = whole_number(num_permutations, "num_permutations", 1)
    block_size = whole_number(block_size, "block_size", 1)
    x, y = to_tensor(x, "x"), to_tensor(y, "y")
    points, n, unit = _pool(x, y)
    m = len(points) - n
    labels = _partitions(n, n + m, num_permutations, seed)
    is_y, y_clusters = _roles(x, y, points, y_clusters)
    sums = _sum_distances(points, labels, block_size, is_y, y_clusters, single)
    estimate = _estimate(points, sums, is_y, y_clusters, block_size, unit)

    across = 2 * sums.between / (n * m)
    inside = sums.within / n**2 + sums.rest / m**2
    # Never negative but for rounding.
    statistics = n * m / (n + m) * (across - inside).clamp(min=0)
    # Partitions that tie are summed in different orders. This is far above what that rounds, and
    # far below the spread of the statistics.
    tie = 1e-12 * n * m / (n + m) * (across + inside).max()
    num_exceeding = (statistics[1:] >= statistics[0] - tie).sum().item()
    return EnergyTestResult(
        statistic=unit * statistics[0].item(),
        energy_distance=estimate.value,
        standard_error=estimate.standard_error,
        contributions=estimate.contributions,
        pvalue=(1 + num_exceeding) / (num_permutations + 1),
        null_distribution=unit * statistics[1:].cpu(),
        null_energy_distance=unit * sums.unbiased()[1:].cpu(),
    )


def difference_standard_error(
    first: Contributions,
    second: Contributions,
    *,
    paired_x: bool,
    y_clusters: Clusters | None = None,
) -> float:
    """Return the standard error of the difference of two energy distances from one sample y.

    What the points y contribute to both cancels, so that it is smaller than for two samples.

    Args:
        first: Contributions to one of them, of n points x and the m points y.
        second: Contributions to the other one, of the same points y in the same order.
        paired_x: Whether points x with one position belong together, such as images of one latent
            point by two generators; otherwise all points x are independent.
        y_clusters: Which points of y depend on one another; none do if it is None.

    Raises:
        ValueError: If numbers of points differ that must be equal.

    Example:
        >>> near, far = (energy_distance([0.0, 1.0], [0.5, c, 2.0]) for c in (1.0, 1.0))
        >>> difference_standard_error(near.contributions, far.contributions, paired_x=True)
        0.0
    """
    if len(first.y) != len(second.y) or (paired_x and len(first.x) != len(second.x)):
        raise ValueError(
            "paired contributions must be of as many points, not"
            f" {len(first.x)} and {len(second.x)} x, {len(first.y)} and {len(second.y)} y"
        )
    y_clusters = _checked(y_clusters, len(first.y))
    doubles = (values.double() for values in (*first, *second))
    (first_x, first_y, second_x, second_y), unit = scaled_to_one(*doubles)
    variance = y_clusters.variance_of_mean(first_y - second_y)
    for x in [first_x - second_x] if paired_x else [first_x, second_x]:
        variance += x.var().item() / len(x)
    return unit * math.sqrt(variance)


@dataclass(frozen=True)
class _Sums:
    """Sums of distances of P partitions into n labelled points and m others.

    Attributes:
        labels: The first partition, bool (N,).
        to_labelled: From each point to those that the first partition labels, (N,).
        to_others: To those that it does not label, (N,).
        to_strata: To those of each of the S strata of y, (S, N).
        within: Over ordered pairs of labelled points, (P,).
        between: Over pairs of a labelled point and another one, (P,).
        rest: Over ordered pairs of others, (P,).
    """

    labels: Tensor
    to_labelled: Tensor
    to_others: Tensor
    to_strata: Tensor
    within: Tensor
    between: Tensor
    rest: Tensor

    @property
    def sizes(self) -> tuple[int, int]:
        n = int(self.labels.sum())
        return n, len(self.labels) - n

    def unbiased(self) -> Tensor:
        """Return the unbiased energy distance of each partition, (P,), NaN (0/0) if n is 1."""
        n, m = self.sizes
        inside = self.within / (n * (n - 1)) + self.rest / (m * (m - 1))
        return 2 * self.between / (n * m) - inside


def _roles(
    x: Tensor, y: Tensor, points: Tensor, clusters: Clusters | None
) -> tuple[Tensor, Clusters]:
    """Return which of the pooled points are of y, bool (N,), and the clusters of y."""
    n, m = len(x), len(y)
    is_y = torch.arange(n + m, device=points.device)
    return (is_y >= n if n <= m else is_y < m), _checked(clusters, m)


def _checked(clusters: Clusters | None, m: int) -> Clusters:
    """Return the clusters of m points, which are independent if there are none."""
    if clusters is None:
        return Clusters.independent(m, groups=m)
    if len(clusters) != m:
        raise ValueError(f"y_clusters must be of the {m} points of y, not of {len(clusters)}")
    return clusters


def _sum_distances(
    points: Tensor,
    labels: Tensor,
    block_size: int,
    is_y: Tensor,
    y_clusters: Clusters,
    single: bool = False,
) -> _Sums:
    """Return the sums of distances of `points` (N, d) for the partitions `labels`, bool (P, N)."""
    labels = labels.to(points.device)
    everyone = torch.ones_like(labels[0])
    strata = torch.zeros(int(y_clusters.strata.max()) + 1, len(points)).to(points)
    strata[y_clusters.strata, is_y.nonzero()[:, 0].cpu()] = 1
    groups = torch.cat([torch.stack([labels[0], everyone]).double(), strata])
    to_groups = torch.zeros_like(groups)
    within = torch.zeros(len(labels)).to(points)
    kind, middle = torch.float32 if single else torch.float64, 0.0
    for i, j, distances in _distance_blocks(points, block_size, single):
        to_groups[:, i] += groups[:, j] @ distances.T
        if i != j:  # for the block below the diagonal as well
            to_groups[:, j] += groups[:, i] @ distances
        weight = 1 if i == j else 2
        if single:  # of differences from a value in their middle fewer digits are rounded off
            middle = middle or distances.mean().item()
            distances = (distances - middle).float()
        for first in range(0, len(labels), _PARTITIONS_AT_ONCE):
            part = slice(first, first + _PARTITIONS_AT_ONCE)
            reach = labels[part, i].to(kind) @ distances
            within[part] += weight * torch.einsum("pj,pj->p", reach, labels[part, j].to(kind))
    within += middle * int(labels[0].sum()) ** 2
    to_labelled, to_all, *to_strata = to_groups
    from_labelled = torch.stack([row.double() @ to_all for row in labels])
    between = from_labelled - within
    rest = to_all.sum() - from_labelled - between
    to_others = to_all - to_labelled
    return _Sums(labels[0], to_labelled, to_others, torch.stack(to_strata), within, between, rest)


def _estimate(
    points: Tensor,
    sums: _Sums,
    is_y: Tensor,
    y_clusters: Clusters,
    block_size: int,
    unit: float,
) -> EnergyDistance:
    """Return the estimate of the first partition, NaN if a sample has one point.

    Distances are in a unit in which the result is not.
    """
    m = len(y_clusters)
    n = len(points) - m
    to_y, to_x = sums.to_labelled, sums.to_others
    if not sums.labels[is_y].all():
        to_y, to_x = to_x, to_y
    # From a point of y to those that are independent of it, with the weight of their stratum.
    near, num_near = _near_in_clusters(points[is_y], y_clusters, block_size)
    inside = torch.zeros(m).to(points)
    for s, sum_to in enumerate(sums.to_strata[:, is_y]):
        size, member = int((y_clusters.strata == s).sum()), (y_clusters.strata == s).to(is_y.device)
        inside += (size / m) * (sum_to - near * member) / (size - num_near * member)
    across, inside_x = to_x[is_y] / n, to_x[~is_y] / (n - 1)
    of_x, of_y = (2 * (to_y[~is_y] / m - inside_x)).cpu(), (2 * (across - inside)).cpu()
    value = 2 * across.mean() - inside_x.mean() - inside.mean()
    # In this unit, as squares of the contributions themselves may be beyond a double.
    variance = y_clusters.variance_of_mean(of_y)
    variance += of_x.var(correction=1).item() / n if n > 1 else math.nan
    contributions = Contributions(unit * of_x, unit * of_y)
    return EnergyDistance(unit * value.item(), unit * math.sqrt(variance), contributions)


def _near_in_clusters(points: Tensor, clusters: Clusters, block_size: int) -> tuple[Tensor, Tensor]:
    """Return the sums of distances (m,) from each point to those it depends on, and their numbers.

    A point depends on itself.
    """
    near, number = torch.zeros(len(points)).to(points), torch.ones(len(points)).to(points)
    if len(clusters.sizes) == len(points):
        return near, number
    for block in clusters.blocks.unique().tolist():
        rows = (clusters.blocks == block).nonzero()[:, 0]
        others = points[clusters.depend_on(block)]
        number[rows] = float(len(others))
        for some in rows.split(block_size):
            for part in others.split(block_size):
                near[some] += pairwise_distances(points[some], part).sum(1)
    return near, number


def _distance_blocks(
    points: Tensor, block_size: int, single: bool = False
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the blocks of the distance matrix on and above its diagonal: rows, columns, values."""
    blocks = [slice(k, k + block_size) for k in range(0, len(points), block_size)]
    for i, j in itertools.combinations_with_replacement(blocks, 2):
        yield i, j, pairwise_distances(points[i], points[j], single=single)


def _partitions(n: int, total: int, num_permutations: int = 0, seed: int = 0) -> Tensor:
    """Return the partition that labels the first n points, and B random ones, bool (1 + B, N)."""
    labels = torch.zeros(1 + num_permutations, total, dtype=torch.bool)
    labels[0, :n] = True
    generator = random_stream(seed, "energy test")
    for row in labels[1:]:
        row.index_fill_(0, torch.randperm(total, generator=generator)[:n], True)
    return labels


def _pool(x: Tensor, y: Tensor) -> tuple[Tensor, int, float]:
    """Return all points (N, d), the smaller sample first, that sample's size, and their unit.

    The points are in float64, in a unit that `scaled_to_one` chooses. The smaller sample is the
    labelled one, so that no sum is a small difference of large ones.
    """
    device = x.device if x.is_cuda and x.device == y.device else "cpu"
    samples = []
    for name, values in (("x", x), ("y", y)):
        if values.ndim == 0 or values.numel() == 0 or values.is_meta:
            raise ValueError(
                f"{name} must hold at least one point,"
                f" not {values.dtype} of shape {tuple(values.shape)} on {values.device}"
            )
        # On the GPU of Apple silicon there is no double precision.
        points = values.to(device).to(torch.float64).reshape(len(values), -1)
        largest = points.abs().max().item()
        if not largest <= _LARGEST:  # NaN is not either
            raise ValueError(
                f"{name} must hold finite numbers up to {_LARGEST:g} in magnitude, not {largest}"
            )
        samples.append(points)
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(
            "the points of x and y must have one shape,"
            f" not {tuple(x.shape[1:])} and {tuple(y.shape[1:])}"
        )
    smaller, larger = sorted(samples, key=len)
    (points,), unit = scaled_to_one(torch.cat([smaller, larger]))
    return points, len(smaller), unit


def scaled_to_one(*samples: Tensor) -> tuple[list[Tensor], float]:
    """Return points in a unit in which their squares neither overflow nor vanish, and this unit.

    The unit is a power of 2, which rounds nothing: 1 for points that are neither small nor large.
    """
    largest = max(points.abs().max().item() for points in samples)
    if largest == 0 or _MODERATE[0] <= largest <= _MODERATE[1]:
        return list(samples), 1.0
    # The inverse of a smaller power would overflow.
    unit = 2.0 ** max(math.frexp(largest)[1], -1022)
    return [(points.double() / unit).to(points) for points in samples], unit
