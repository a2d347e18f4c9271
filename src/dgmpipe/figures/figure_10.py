"""Figure 10: images along a line through the latent space."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import GRID_GAP, check_shapes, image_grid, new_figure

__all__ = ["figure_10", "from_files"]

TICKS = {
    -1: r"$-\mathbf{e}$",
    -0.5: r"$-\mathbf{e}/2$",
    0: r"$\mathbf{0}$",
    0.5: r"$\mathbf{e}/2$",
    1: r"$\mathbf{e}$",
}


def figure_10(interpolations: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 10: a row of images for each model, from −e = (−1, −1) to e = (1, 1).

    Args:
        interpolations: Generated images (K, H, W) or (K, 3, H, W) in [0, 1] for each title, in
            the order of the rows; image k comes from the latent point −e + 2e·k/(K−1),
            k = 0, …, K−1.

    Raises:
        ValueError: If there is no row, or an array has another shape.
    """
    if not interpolations:
        raise ValueError("interpolations must have at least one row")
    check_shapes(interpolations, **dict.fromkeys(interpolations, "K H W"))
    number = len(np.asarray(next(iter(interpolations.values()))))
    with new_figure(7.4, 0.45 + 0.4 * len(interpolations)) as figure:
        rows = figure.subplots(len(interpolations), 1, squeeze=False).flat
        for axes, (title, images) in zip(rows, interpolations.items(), strict=True):
            image_grid(axes, images, 1, number)
            axes.set_ylabel(title, rotation=0, ha="right", va="center")
        # The latent coordinate runs linearly from the first image's centre to the last one's.
        width = np.shape(images)[-1]
        first = (width - 1) / 2
        last = first + (width + GRID_GAP) * (number - 1)
        positions = np.interp(list(TICKS), (-1, 1), (first, last))
        axes.set_xticks(positions, labels=list(TICKS.values()))
        axes.set_xlabel(r"latent point $\mathbf{z}$")
    return figure


def from_files(files: Mapping[str, Sequence[str]], *, titles: list[str]) -> Figure:
    """Draw Figure 10 of the interpolations in a file for each title."""
    rows = [np.load(path)["interpolation"] for path in files["samples"]]
    return figure_10(dict(zip(titles, rows, strict=True)))
