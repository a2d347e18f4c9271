"""How much nearer to the data one generator is than another, with the error of the difference."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dgmpipe.evaluation.clusters import Clusters
from dgmpipe.evaluation.energy import (
    Contributions,
    EnergyTestResult,
    difference_standard_error,
)
from dgmpipe.files import save_arrays

__all__ = ["generator_differences", "load_contributions", "save_contributions"]


def save_contributions(result: EnergyTestResult, path: str | Path) -> None:
    """Write the contributions of generated and of test images in single precision, as npz."""
    x, y = result.contributions
    save_arrays(path, {"generated": x.float().numpy(), "test": y.float().numpy()})


def load_contributions(path: str | Path) -> Contributions:
    """Read what `save_contributions` wrote."""
    with np.load(path) as arrays:
        return Contributions(*(torch.from_numpy(arrays[name]) for name in ("generated", "test")))


def generator_differences(
    energy: Mapping[str, tuple[float, Contributions]],
    latent_dims: Mapping[str, int],
    test_clusters: Clusters | None = None,
) -> pd.DataFrame:
    """Return a row for each two generators: the second's energy distance less the first's.

    Two generators with latent spaces of one dimension have been given the same latent points, and
    all are compared with the same test images.

    Args:
        energy: The energy distance of each from M test images, and the contributions to it.
        latent_dims: Dimension of the latent space of those that have one.
        test_clusters: Which test images depend on one another; none do if it is None.

    Returns:
        Columns `first`, `second`, `difference` and `standard_error`.

    Raises:
        ValueError: If the numbers of test images differ.
    """
    rows = []
    for first, second in combinations(energy, 2):
        (distance, of_first), (other_distance, of_second) = energy[first], energy[second]
        dims = {latent_dims.get(name) for name in (first, second)}
        error = difference_standard_error(
            of_first,
            of_second,
            paired_x=len(dims) == 1 and None not in dims,
            y_clusters=test_clusters,
        )
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": other_distance - distance,
                "standard_error": error,
            }
        )
    return pd.DataFrame(rows, columns=["first", "second", "difference", "standard_error"])
