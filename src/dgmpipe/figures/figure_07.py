"""Figure 7: the posterior of single images and its Gaussian approximation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from dgmpipe.figures.style import (
    DATA,
    DATA_MARKER,
    LATENT,
    LATENT_MARKER,
    check_shapes,
    image_grid,
    new_figure,
)

__all__ = ["figure_07", "from_files"]

DEPTH = 100  # nats below the row's maximum at which the colours end
OUTLINE = 3  # nats below its own maximum at which a density is outlined: 95% of a Gaussian's mass
SMALLEST_ZOOM = 0.3  # half the side of the smallest square that an inset shows

EDGE: dict[str, Any] = {
    "markersize": 4.5,
    "markeredgecolor": "white",
    "markeredgewidth": 0.6,
    "linestyle": "none",
}
MARKS: dict[str, dict[str, Any]] = {
    "map": {"color": DATA, "marker": DATA_MARKER, **EDGE},
    "mean": {"color": LATENT, "marker": LATENT_MARKER, **EDGE},
}

SHAPES = {
    "index": "I",
    "image": "I H W",
    "axis": "R",
    "log_posterior": "I R R",
    "log_approximate": "I R R",
    "map": "I 2",
    "map_reconstruction": "I H W",
    "mean": "I 2",
    "mean_reconstruction": "I H W",
    "log_evidence": "I",
    "elbo": "I",
}

COLUMNS = (
    "true image",
    "log posterior\n" r"$\log p_\theta(\mathbf{z} | \mathbf{x})$",
    "reconstruction\nof the MAP",
    "log approximate posterior\n" r"$\log e_\psi(\mathbf{z} | \mathbf{x})$",
    "reconstruction\nof the mean",
)


def figure_07(posterior: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 7: a row for each image, comparing the posterior with its approximation.

    Each row holds the true image, with its evidence, ELBO and their gap; the log posterior; the
    reconstruction of its maximum (MAP, blue square); the log approximate posterior; and the
    reconstruction of its mean (orange dot). The two log densities of a row have one colour scale,
    which ends 100 nats below their maximum. Insets zoom in on the two marks, and outline each
    density 3 nats below its own maximum.

    Args:
        posterior: Arrays for I images on a grid of R × R latent points, others being ignored:
            `index` (I,) of the image in the test set, and `label` (I,) if there are labels;
            `image`, `map_reconstruction` and `mean_reconstruction`, each (I, H, W) or
            (I, 3, H, W) in [0, 1];
            `axis` (R,), the equidistant values of each latent coordinate;
            `log_posterior` and `log_approximate`, each (I, R, R) in nats, normalised, row z2,
            column z1;
            `map` and `mean`, each (I, 2), as (z1, z2);
            `log_evidence` and `elbo`, each (I,), eq. (22); with eq. (4) of a pseudo-likelihood.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    check_shapes(posterior, **SHAPES)
    arrays = {name: np.asarray(posterior[name]) for name in SHAPES}
    if "label" in posterior:
        check_shapes(posterior, index="I", label="I")
        arrays["label"] = np.asarray(posterior["label"])
    number = len(arrays["image"])
    with new_figure(7.5, 0.7 + 1.85 * number) as figure:
        grid = figure.subplots(number, 5, squeeze=False, width_ratios=[1.2, 1.8, 1.2, 1.8, 1.2])
        for axes, title in zip(grid[0], COLUMNS, strict=True):
            axes.set_title(title)
        for i, row in enumerate(grid):
            draw_row(row, {n: a if n == "axis" else a[i] for n, a in arrays.items()})
        marks = [Line2D([], [], **style) for style in MARKS.values()]
        outline = Line2D([], [], color="black", linewidth=0.8)
        labels = [
            "maximum a posteriori (MAP)",
            "mean of the approximation",
            f"{OUTLINE} nats below the panel's maximum",
        ]
        figure.legend([*marks, outline], labels, loc="outside lower center", ncols=3)
    return figure


def draw_row(row: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw the five panels and the colour bar of one image."""
    picture, exact, of_map, approximate, of_mean = row
    image_grid(picture, arrays["image"][None], 1, 1)
    label = f", a {arrays['label']}" if "label" in arrays else ""
    evidence, elbo = arrays["log_evidence"], arrays["elbo"]
    # A text, not a label of the axis: the layout makes room for the width of texts alone.
    picture.text(
        0.5,
        -0.06,
        f"test image {arrays['index']}{label}\n"
        f"$\\log p_\\theta(\\mathbf{{x}}) = {evidence:.1f}$\n"
        f"ELBO = ${elbo:.1f}$\n"
        f"gap = ${evidence - elbo:.1f}$ nats",
        ha="center",
        va="top",
        linespacing=1.4,
        transform=picture.transAxes,
    )
    highest = max(arrays["log_posterior"].max(), arrays["log_approximate"].max())
    for axes, name in ((exact, "log_posterior"), (approximate, "log_approximate")):
        shown = draw_density(axes, arrays[name], arrays["axis"], highest)
        draw_marks(axes, arrays)
        draw_zoom(axes, arrays, name, highest)
    image_grid(of_map, arrays["map_reconstruction"][None], 1, 1)
    image_grid(of_mean, arrays["mean_reconstruction"][None], 1, 1)
    for axes, mark in ((of_map, "map"), (of_mean, "mean")):
        axes.spines[:].set(color=MARKS[mark]["color"], linewidth=1.5)
    for axes in row:
        axes.set_anchor("N")
    # In the panel's own coordinates, so that the bar is as high as the square panel.
    bar = approximate.inset_axes((1.05, 0, 0.06, 1))
    bar.figure.colorbar(shown, cax=bar, extend="min", label="log density (nats)")


def draw_density(
    axes: Axes, log_density: np.ndarray, axis: np.ndarray, highest: float
) -> AxesImage:
    """Show a log density (R, R) on the row's colour scale."""
    half = (axis[-1] - axis[0]) / (len(axis) - 1) / 2
    low, high = axis[0] - half, axis[-1] + half
    ticks = np.linspace(axis[0], axis[-1], 3)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", xticks=ticks, yticks=ticks)
    # Clipped here, since resampling would smear values of minus infinity.
    image = axes.imshow(
        np.maximum(log_density, highest - DEPTH),
        origin="lower",
        extent=(low, high, low, high),
        vmin=highest - DEPTH,
        vmax=highest,
    )
    axes.autoscale(False)
    return image


def draw_marks(axes: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    """Mark the MAP by a blue square and the approximate mean by an orange dot, edged in white."""
    for name, style in MARKS.items():
        axes.plot(*arrays[name], **style)


def draw_zoom(axes: Axes, arrays: Mapping[str, np.ndarray], name: str, highest: float) -> None:
    """Add an inset with the square around both marks, in the corner farthest from them."""
    axis = arrays["axis"]
    centre = (arrays["map"] + arrays["mean"]) / 2
    half = max(SMALLEST_ZOOM, 0.75 * np.abs(arrays["map"] - arrays["mean"]).max())
    corner = np.where(centre < axis.mean(), 1, -1)
    # In fractions of the panel, from its middle.
    place, side = 0.27 * corner, 0.42
    inset = axes.inset_axes((*(0.5 + place - side / 2), side, side))
    draw_density(inset, arrays[name], axis, highest)
    levels = [arrays[name].max() - OUTLINE]
    inset.contour(
        axis, axis, arrays[name], levels, colors="black", linewidths=0.8, linestyles="solid"
    )
    draw_marks(inset, arrays)
    inset.set(xlim=centre[0] + [-half, half], ylim=centre[1] + [-half, half])
    inset.set(xticks=[], yticks=[], xlabel="", ylabel="")
    inset.spines[:].set(color="white")
    axes.set_xlabel(f"$z_1$ (inset: {2 * half:.1f} wide)")
    # Not indicate_inset_zoom, whose slanted lines differ by rounding from one run to the next.
    line: dict[str, Any] = {"color": "white", "linewidth": 0.6, "alpha": 0.8}
    axes.add_patch(Rectangle(centre - half, 2 * half, 2 * half, fill=False, **line))
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    for across in (corner * (1, -1), corner * (-1, 1)):
        start, end = centre + half * across, axis.mean() + width * (place + side / 2 * across)
        axes.plot(*zip(start, end, strict=True), **line)


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 7 of the arrays in a file."""
    return figure_07(dict(np.load(files["arrays"][0])))
