"""How much nearer to the data one generator is than another, with the error of the difference."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import (
    Contributions,
    EnergyTestResult,
    difference_standard_error,
)

__all__ = ["contributions_as_arrays", "differences", "generator_differences", "load_contributions"]


def contributions_as_arrays(result: EnergyTestResult) -> dict[str, Tensor]:
    """Return the contributions of generated and of test images in single precision, to be kept."""
    x, y = result.contributions
    return {"generated": x.float(), "test": y.float()}


def load_contributions(path: str | Path) -> Contributions:
    """Read the file of what `contributions_as_arrays` returned."""
    with np.load(path) as arrays:
        return Contributions(*(torch.from_numpy(arrays[name]) for name in ("generated", "test")))


def generator_differences(
    energy: Mapping[str, tuple[float, Contributions]],
    latent_dims: Mapping[str, int | str],
    test_clusters: Clusters | None = None,
) -> pd.DataFrame:
    """Return a row for each two generators: the second's energy distance less the first's.

    Two generators with latent spaces of one dimension have been given the same latent points, and
    all are compared with the same test images. Those of unequal dimensions are taken for
    independent; their points are of one stream, but no two images have the same.

    Args:
        energy: The energy distance of each from M test images, and the contributions to it.
        latent_dims: What names the latent space of those that have one, such as its dimension.
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


def differences(
    files: Mapping[str, Sequence[str]],
    *,
    trainings: Sequence[tuple[str, int]],
    latent_dims: dict[str, int | str],
    clusters: dict[str, int],
) -> pd.DataFrame:
    """Return `generator_differences` of each seed, between those that have it, from files.

    Args:
        files: `numbers`, energy.json, and `contributions`, energy.npz, of each model and seed.
        trainings: Generator and seed of each.
        latent_dims: What names the latent space of those that have one, such as its dimension.
        clusters: Arguments of `Clusters.in_order`, by which test images depend on one another.
    """
    paths = zip(files["numbers"], files["contributions"], strict=True)
    energy: dict[int, dict[str, tuple[float, Contributions]]] = {}
    for (model, seed), (numbers, arrays) in zip(trainings, paths, strict=True):
        value = json.loads(Path(numbers).read_text(encoding="utf-8"))["energy_distance"]
        energy.setdefault(seed, {})[model] = value, load_contributions(arrays)
    tables = []
    for seed, results in energy.items():
        num_test = len(next(iter(results.values()))[1].y)
        table = generator_differences(results, latent_dims, Clusters.in_order(num_test, **clusters))
        tables.append(table.assign(seed=seed)[["seed", *table.columns]])
    return pd.concat(tables)
