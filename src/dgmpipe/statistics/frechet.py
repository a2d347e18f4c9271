"""The Fréchet distance between two samples of features, as of normal distributions."""

import torch
from torch import Tensor

__all__ = ["frechet_distance"]


@torch.no_grad()
def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Return |m − m′|² + tr(S + S′ − 2 (S S′)^½) of means and covariances, arXiv:1706.08500.

    It depends on the features, and is too large for small samples: compare it at equal sizes, and
    only in the same features.

    Args:
        x: Points (n, d), n at least 2.
        y: Points (m, d), m at least 2.

    Raises:
        ValueError: If the points are of other shapes or too few.

    Example:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> round(frechet_distance(x, x + 3), 6)
        9.0
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "x and y must be at least 2 points (n, d) and (m, d),"
            f" not of shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    x, y = x.double(), y.double()
    s, t = (torch.cov(points.T).view(points.shape[1], -1) for points in (x, y))
    # The eigenvalues of S S′ are those of the symmetric S^½ S′ S^½.
    values, vectors = torch.linalg.eigh(s)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    of_product = torch.linalg.eigvalsh(root @ t @ root).clamp(min=0).sqrt().sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return (apart + s.trace() + t.trace() - 2 * of_product).clamp(min=0).item()
