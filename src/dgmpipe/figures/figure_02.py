"""Figure 2: the moons and the latent distribution they are generated from."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import (
    DATA,
    DATA_MARKER,
    arrow_panel,
    check_shapes,
    draw_points,
    latent_panel,
    new_figure,
)

__all__ = ["figure_02", "from_files"]


def figure_02(latent: ArrayLike, samples: ArrayLike) -> Figure:
    """Draw Figure 2: samples of N(0, I), an arrow for the generator, and samples of the moons.

    Args:
        latent: Samples of the latent distribution, shape (n, 2).
        samples: Samples of the data, shape (m, 2); m may differ from n.

    Raises:
        ValueError: If an array has another shape.
    """
    check_shapes({"latent": latent, "samples": samples}, latent="n 2", samples="m 2")
    samples = np.asarray(samples)
    low, high = samples.min(axis=0) - 0.15, samples.max(axis=0) + 0.15
    width, height = high - low
    with new_figure(7.0, 2.75) as figure:
        # The widths follow the ranges, so that panels of equal aspect come out equally high.
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 0.2, width / height])
        latent_panel(left, latent)
        arrow_panel(middle)
        draw_points(right, samples, s=7, c=DATA, marker=DATA_MARKER, alpha=0.7, linewidths=0)
        right.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        right.set(xlabel="$x_1$", ylabel="$x_2$", title="data space, two moons")
    return figure


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 2 of the points in a file."""
    arrays = np.load(files["arrays"][0])
    return figure_02(arrays["latent"], arrays["samples"])
