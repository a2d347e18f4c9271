"""Standard errors of what is measured on points that depend on one another, such as one writer's.

docs/errors.md has the criterion for them, the simulation that they pass, and what they change.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Clusters"]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which of n points depend on one another; all others are independent.

    Made by `of_labels`, where the cluster of each point is known, or by `in_order`, where all that
    is known is that a cluster's points follow one another.

    Attributes:
        blocks: The block of each point, int64 (n,), from 0.
        strata: The stratum of each point, int64 (n,), from 0. The shares of the strata are given
            and not drawn, so that the distance between their means is no error.
        adjoining: Whether points of blocks k and k + 1 of a stratum depend on one another as well.
    """

    blocks: Tensor
    strata: Tensor
    adjoining: bool

    @classmethod
    def of_labels(cls, labels: ArrayLike | Tensor) -> "Clusters":
        """Return known clusters: points are dependent if they have the same label, (n,).

        Raises:
            ValueError: If there are no labels or they are not one-dimensional.
        """
        labels = torch.as_tensor(labels)
        if labels.ndim != 1 or not len(labels):
            raise ValueError(f"labels must have shape (n,), n >= 1, not {tuple(labels.shape)}")
        blocks = labels.unique(return_inverse=True)[1]
        return cls(blocks, torch.zeros_like(blocks), adjoining=False)

    @classmethod
    def in_order(cls, n: int, length: int, *, strata: int = 1) -> "Clusters":
        """Return blocks of n points in an order in which no cluster is longer than `length`.

        Where clusters begin is not known, so that one may reach from a block into the next, and
        the dependence of adjoining blocks counts as well. With a length of 1 all points are
        independent.

        Args:
            n: Number of points.
            length: Points of a block, at least 1; the last of a stratum may be shorter.
            strata: Into how many runs of equal length the points are divided, each of which is
                drawn from a population of its own.

        Raises:
            ValueError: If an argument is less than 1, or there are more strata than points.

        Example:
            >>> Clusters.in_order(7, 2, strata=2).blocks
            tensor([0, 0, 1, 1, 2, 2, 3])
        """
        if not (length >= 1 and 1 <= strata <= n):
            raise ValueError(
                "n, length and strata must be at least 1, and strata at most n,"
                f" not {n}, {length} and {strata}"
            )
        positions = torch.arange(n)
        of_stratum = (positions * strata).div(n, rounding_mode="floor")
        sizes = of_stratum.bincount(minlength=strata)
        firsts = sizes.cumsum(0) - sizes
        blocks_before = torch.cat([firsts[:1], (-(-sizes // length)).cumsum(0)[:-1]])
        within = (positions - firsts[of_stratum]).div(length, rounding_mode="floor")
        return cls(blocks_before[of_stratum] + within, of_stratum, adjoining=length > 1)

    @classmethod
    def independent(cls, n: int, *, groups: int = 100) -> "Clusters":
        """Return at most so many groups of n independent points, whose deletion costs less time.

        Raises:
            ValueError: If n or groups is less than 1.
        """
        if n < 1 or groups < 1:
            raise ValueError(f"n and groups must be at least 1, not {n} and {groups}")
        blocks = (torch.arange(n) * min(n, groups)).div(n, rounding_mode="floor")
        return cls(blocks, torch.zeros_like(blocks), adjoining=False)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, positions: Tensor) -> "Clusters":
        """Return the clusters of some of the points, by positions or a mask."""
        return Clusters(self.blocks[positions], self.strata[positions], self.adjoining)

    @property
    def sizes(self) -> Tensor:
        """Points of each block, int64 (K,)."""
        return self.blocks.bincount()

    def depend_on(self, block: int) -> Tensor:
        """Return which points depend on those of a block, bool (n,), its own included."""
        reach = 1 if self.adjoining else 0
        stratum = self.strata[self.blocks == block][:1]
        return ((self.blocks - block).abs() <= reach) & (self.strata == stratum)

    def variance_of_mean(self, values: Tensor) -> float:
        """Return the variance of the mean of one value a point, (n,): its standard error squared.

        It is NaN if a stratum has fewer than 2 blocks, or 3 if adjoining ones depend on one
        another. Of independent points it is s²/n.

        Raises:
            ValueError: If there is not one value a point.
        """
        if values.shape != (len(self),):
            raise ValueError(
                f"values must have shape ({len(self)},), one a point, not {tuple(values.shape)}"
            )
        values = values.detach().double().cpu()
        sums = torch.zeros(len(self.sizes), dtype=torch.float64)
        sums.index_add_(0, self.blocks, values - values.mean())
        return self._variance(sums[:, None] / len(self))[0].item()

    def variance_by_deletion(self, statistic: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the variances of statistics by the jackknife that deletes one block after another.

        Args:
            statistic: Maps the points that are kept, bool (n,), to S numbers, (S,).

        Returns:
            float64 (S,), NaN as for `variance_of_mean`, with which it agrees for a mean.
        """
        whole = statistic(torch.ones(len(self), dtype=torch.bool))
        without = [
            statistic(self.blocks != block) if size else whole
            for block, size in enumerate(self.sizes.tolist())
        ]
        return self.variance_of_deletions(whole, torch.stack(without))

    def variance_of_deletions(self, whole: Tensor, without: Tensor) -> Tensor:
        """Return the variances of statistics from their values (S,), and (K, S) without each block.

        Returns:
            float64 (S,), NaN as for `variance_of_mean`.
        """
        kept = 1 - self.sizes.double() / len(self)
        return self._variance(kept[:, None] * (whole.double() - without.double()).cpu())

    def _variance(self, contributions: Tensor) -> Tensor:
        """Return the variances of S statistics from the contributions of blocks, float64 (K, S)."""
        sizes = self.sizes
        stratum = torch.zeros_like(sizes).index_put_((self.blocks,), self.strata)
        fewest = 3 if self.adjoining else 2
        plain, joined = torch.zeros(2, contributions.shape[1], dtype=torch.float64)
        for s in self.strata.unique():
            chosen = ((stratum == s) & (sizes > 0)).nonzero()[:, 0]
            k, share = len(chosen), sizes[chosen, None] / sizes[chosen].sum()
            if k < fewest:
                return torch.full_like(plain, math.nan)
            centred = contributions[chosen] - share * contributions[chosen].sum(0)
            squares = centred.square().sum(0) * k / (k - 1)
            plain = plain + squares
            if self.adjoining:
                follow = (chosen.diff() == 1).double()[:, None]
                products = 2 * (follow * centred[1:] * centred[:-1]).sum(0) * k / (k - 1)
                # Centring takes 2/k of what independent blocks have.
                joined = joined + (squares + products) * k / (k - 2)
        # Blocks that seem to repel one another do so by chance.
        return torch.maximum(plain, joined)
