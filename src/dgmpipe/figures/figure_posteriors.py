"""The posteriors of Figure 7's images under several VAEs, each with its approximation."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from dgmpipe.figures.figure_07 import SHAPES
from dgmpipe.figures.style import DATA, LATENT, check_shapes, image_grid, new_figure

__all__ = ["figure_posteriors", "from_files"]

# Nats below its own maximum at which a density is outlined: one, two and three deviations of a
# Gaussian.
LEVELS = (4.5, 2.0, 0.5)
SMALLEST = 0.15  # half the side of the smallest square that is shown
COLUMNS = 5


def figure_posteriors(
    posteriors: Sequence[Mapping[str, ArrayLike]], titles: Sequence[str]
) -> Figure:
    """Draw for each image and each VAE the outlines of its posterior and of the approximation.

    The true posterior is filled and blue, the approximate one is outlined in orange, each 0.5, 2
    and 4.5 nats below its own maximum. Each panel has a window of its own, around all that both
    outline: as each VAE has a latent space of its own, places differ between panels, and only
    shapes compare.

    Args:
        posteriors: Of each VAE the arrays that Figure 7 shows, of the same I images.
        titles: What each VAE is called.

    Raises:
        ValueError: If an array is missing or has another shape, or the images differ.
    """
    for arrays in posteriors:
        check_shapes(arrays, **SHAPES)
        if not np.array_equal(arrays["index"], posteriors[0]["index"]):
            raise ValueError("the posteriors are of different images")
    images = np.asarray(posteriors[0]["image"])
    columns = min(COLUMNS, len(titles))
    rows_an_image = -(-len(titles) // columns)
    rows = rows_an_image * len(images)
    with new_figure(1.7 * columns + 1.2, 2.15 * rows + 0.3) as figure:
        # Titles are to stand clear of what is below the panels above.
        figure.set_layout_engine("constrained", h_pad=0.1)
        grid = figure.subplots(rows, columns + 1, squeeze=False)
        for i, image in enumerate(images):
            block = grid[i * rows_an_image : (i + 1) * rows_an_image]
            image_grid(block[0, 0], image[None], 1, 1)
            block[0, 0].set_title(f"test image {np.asarray(posteriors[0]['index'])[i]}")
            block[0, 0].set_anchor("N")
            panels = block[:, 1:].flatten()
            for unused in (*block[1:, 0], *panels[len(titles) :]):
                unused.axis("off")
            for axes, arrays, title in zip(panels, posteriors, titles, strict=False):
                _panel(axes, {name: np.asarray(arrays[name]) for name in SHAPES}, i)
                axes.set_title(title)
        lines = [Line2D([], [], color=colour) for colour in (DATA, LATENT)]
        labels = ["posterior", "approximate posterior"]
        figure.legend(lines, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, arrays: Mapping[str, np.ndarray], i: int) -> None:
    axis = arrays["axis"]
    densities = [arrays[name][i] for name in ("log_posterior", "log_approximate")]
    shown = np.logical_or(*(density > density.max() - LEVELS[0] for density in densities))
    along = [axis[shown.any(axis=k)] for k in (0, 1)]
    centre = np.array([(line[0] + line[-1]) / 2 for line in along])
    half = max(SMALLEST, *(0.6 * (line[-1] - line[0]) for line in along))
    for density, colour in zip(densities, (DATA, LATENT), strict=True):
        levels = [density.max() - depth for depth in LEVELS]
        if colour == DATA:
            filled = [*levels, density.max() + 1]
            axes.contourf(axis, axis, density, filled, colors=colour, alpha=0.25)
        axes.contour(axis, axis, density, levels, colors=colour, linewidths=0.9, linestyles="solid")
    gap = arrays["log_evidence"][i] - arrays["elbo"][i]
    axes.set(xlim=centre[0] + [-half, half], ylim=centre[1] + [-half, half])
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.set_xlabel(f"gap {gap:.2f} nats\n{2 * half:.1f} wide")


def from_files(files: Mapping[str, Sequence[str]], *, titles: Sequence[str]) -> Figure:
    """Draw the posteriors in files, a VAE each."""
    return figure_posteriors([dict(np.load(path)) for path in files["arrays"]], titles)
