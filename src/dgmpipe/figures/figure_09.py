"""Figure 9: true images beside samples of the trained models."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import check_shapes, image_grid, new_figure, square_grid

__all__ = ["figure_09"]


def figure_09(true_images: ArrayLike, samples: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 9: a grid of true images, then a grid of random samples for each model.

    The panels come in rows of two or three, the true images first.

    Args:
        true_images: Images (N, 28, 28) with intensities in [0, 1].
        samples: Generated images (N, 28, 28) in [0, 1] for each title, in the order of the panels.

    Raises:
        ValueError: If `samples` has no model or an array has another shape.
    """
    if not samples:
        raise ValueError("samples must have at least one model")
    panels = {"true images": true_images, **samples}
    for title, images in panels.items():
        check_shapes({title: images}, **{title: "N 28 28"})
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    with new_figure(2.35 * columns, 2.5 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, images) in zip(grid.flat, panels.items(), strict=False):
            image_grid(axes, images, *square_grid(len(np.asarray(images))))
            axes.set_title(title)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
    return figure
