"""Figure 3: MNIST images and the latent distribution they are generated from."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import (
    arrow_panel,
    check_shapes,
    image_grid,
    latent_panel,
    new_figure,
    square_grid,
)

__all__ = ["figure_03", "from_files"]


def figure_03(latent: ArrayLike, images: ArrayLike) -> Figure:
    """Draw Figure 3: samples of N(0, I), an arrow for the generator, and images of the data set.

    Args:
        latent: Samples of the latent distribution, shape (n, 2).
        images: Images (N, H, W) or (N, 3, H, W) with intensities in [0, 1].

    Raises:
        ValueError: If an array has another shape.
    """
    check_shapes({"latent": latent, "images": images}, latent="n 2", images="N H W")
    with new_figure(6.2, 2.8) as figure:
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 0.25, 1])
        latent_panel(left, latent)
        arrow_panel(middle)
        image_grid(right, images, *square_grid(len(np.asarray(images))))
        size = r" \times ".join(map(str, np.shape(images)[1:]))
        right.set_title(rf"data space, $\mathbf{{x}} \in [0, 1]^{{{size}}}$")
    return figure


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 3 of the points and images in a file."""
    arrays = np.load(files["arrays"][0])
    return figure_03(arrays["latent"], arrays["images"])
