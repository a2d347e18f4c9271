"""Figure 9: true images beside samples of the trained models."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import check_shapes, image_grid, new_figure, square_grid

__all__ = ["figure_09", "from_files"]


def figure_09(true_images: ArrayLike, samples: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 9: a grid of true images, then a grid of random samples for each model.

    Two or three panels stand in a row, more in two rows and column by column, so that all six have
    the paper's order: true images over the VAE, then a column a GAN, random start over the VAE's.

    Args:
        true_images: Images (N, H, W) or (N, 3, H, W) with intensities in [0, 1].
        samples: Generated images likewise for each title, in the order of the panels.

    Raises:
        ValueError: If `samples` has no model or an array has another shape.
    """
    if not samples:
        raise ValueError("samples must have at least one model")
    panels = {"true images": true_images, **samples}
    for title, images in panels.items():
        check_shapes({title: images}, **{title: "N H W"})
    rows = 1 if len(panels) <= 3 else 2
    columns = -(-len(panels) // rows)
    with new_figure(2.35 * columns, 2.5 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, images) in zip(grid.T.flat, panels.items(), strict=False):
            image_grid(axes, images, *square_grid(len(np.asarray(images))))
            axes.set_title(title)
        for axes in grid.T.flat[len(panels) :]:
            axes.remove()
    return figure


def from_files(files: Mapping[str, Sequence[str]], *, titles: list[str]) -> Figure:
    """Draw Figure 9 of the true images in one file and of the samples in one for each title."""
    samples = [np.load(path)["samples"] for path in files["samples"]]
    images = np.load(files["images"][0])["images"]
    return figure_09(images, dict(zip(titles, samples, strict=True)))
