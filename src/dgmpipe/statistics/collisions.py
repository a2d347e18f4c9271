"""The birthday test: how many images a generator has, by how often two of a sample are the same."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dgmpipe.statistics.energy import pairwise_distances

__all__ = ["Collisions", "birthday_test"]


class Collisions(NamedTuple):
    """What `birthday_test` found.

    Attributes:
        pairs: How many pairs of the sample are nearer than `limit`.
        limit: The smallest distance between two points of the reference.
        support: Of how many points, all as likely, a sample would have as many equal pairs; inf if
            there are none.
        pvalue: Probability of so many pairs by chance, were the distributions equal.
    """

    pairs: int
    limit: float
    support: float
    pvalue: float


@torch.no_grad()
def birthday_test(sample: Tensor, reference: Tensor) -> Collisions:
    """Count pairs of a sample that are nearer than any two real points, arXiv:1706.08224.

    Of K points that are drawn with equal probability n have n (n − 1) / 2K equal pairs, so that a
    sample of some √K tells K. What counts as equal is given by the reference. Were the
    distributions equal, the nearest of all pairs of the two samples would be of one as often as of
    the other; so k nearest pairs, all of the sample, have a probability of 2⁻ᵏ, for sizes that are
    equal and as if pairs were independent.

    Args:
        sample: Points (n, ...), n at least 2; dimensions after the first are flattened.
        reference: As many real points.

    Raises:
        ValueError: If the numbers of points differ, or are less than 2.

    Example:
        >>> reference = torch.arange(6.0)[:, None]
        >>> birthday_test(torch.tensor([[0.0], [0.0], [0.0], [5.0], [9.0], [20.0]]), reference)
        Collisions(pairs=3, limit=1.0, support=5.0, pvalue=0.125)
    """
    n = len(sample)
    if n != len(reference) or n < 2:
        raise ValueError(
            "the sample and the reference must have as many points, at least 2,"
            f" not {n} and {len(reference)}"
        )
    limit = _pairs(reference).min().item()
    pairs = int((_pairs(sample) < limit).sum())
    support = n * (n - 1) / 2 / pairs if pairs else math.inf
    return Collisions(pairs, limit, support, 0.5**pairs)


def _pairs(points: Tensor) -> Tensor:
    """Return the distances of all pairs of points (n, ...), (n (n − 1) / 2,)."""
    x = points.flatten(1)
    rows = torch.arange(len(x))
    distances = (pairwise_distances(x[i : i + 1000], x[i:]) for i in range(0, len(x), 1000))
    parts = []
    for first, block in zip(range(0, len(x), 1000), distances, strict=True):
        after = rows[None, first:] > rows[first : first + len(block), None]
        parts.append(block[after])
    return torch.cat(parts)
