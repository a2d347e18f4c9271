"""Figure 8: the latent space of the variational autoencoder."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from dgmpipe.figures.style import (
    DATA,
    LATENT,
    LATENT_MARKER,
    check_shapes,
    draw_points,
    image_grid,
    new_figure,
    square_grid,
)

__all__ = ["figure_08", "from_files"]

# Ten classes need more colours than Okabe and Ito have: Paul Tol's muted scheme, and black.
CLASS_COLOURS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#000000",
)
SHADOW = withStroke(linewidth=1.5, foreground="#444444")
# Of the circles that hold such a part of N(0, I).
RADII = {mass: np.sqrt(-2 * np.log(1 - mass)) for mass in (0.5, 0.95)}


def figure_08(latent: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 8: the approximate posteriors' means and samples, and images from their gaps.

    The panels are the means, coloured by digit; the histogram of samples of the approximate
    posteriors; the same with P points that the prior finds likely and the samples rarely visit;
    and the images generated from those points. The titles say how much lies outside `edges`.

    Args:
        latent: Arrays by name, of which others than these are ignored:
            `means` (N, 2) of the approximate posteriors and `labels` (N,), 0 to 9, if
            there are any;
            `samples` (N, S, 2) of them, and their `histogram` (B, B), first index z1, second z2,
            with its bins' `edges` (B+1,), the same on both axes;
            `points` (P, 2), sorted by z1, and the generated `point_images` (P, H, W) or
            (P, 3, H, W) in [0, 1].

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    check_shapes(
        latent,
        means="N 2",
        **({"labels": "N"} if "labels" in latent else {}),
        samples="N S 2",
        histogram="B B",
        edges="E",
        points="P 2",
        point_images="P H W",
    )
    arrays = {name: np.asarray(array) for name, array in latent.items()}
    histogram, edges, points = arrays["histogram"], arrays["edges"], arrays["points"]
    if len(edges) != len(histogram) + 1:
        raise ValueError(f"{len(histogram)} bins need one edge more, not {len(edges)} edges")
    limits = edges[0], edges[-1]
    inside = ((arrays["means"] >= limits[0]) & (arrays["means"] <= limits[1])).all(axis=1)
    num_unseen = arrays["samples"].size // 2 - int(histogram.sum())
    with new_figure(7.0, 6.3) as figure:
        (means, counts), (chosen, images) = figure.subplots(2, 2)
        draw_means(means, arrays["means"], arrays.get("labels"), limits)
        means.set_title(
            f"(a) means of {len(inside):,} approximate\nposteriors ({(~inside).sum():,} outside)"
        )
        mesh = draw_histogram(counts, histogram, edges)
        # Inside the panel's own coordinates, so that the bar is as high as the square panel.
        figure.colorbar(mesh, cax=counts.inset_axes((1.04, 0, 0.05, 1)), label="samples in a bin")
        counts.set_title(f"(b) {arrays['samples'].size // 2:,} samples\n({num_unseen:,} outside)")
        label_circles(counts)
        draw_histogram(chosen, histogram, edges)
        draw_points(
            chosen, points, s=14, c=LATENT, marker=LATENT_MARKER, edgecolors="white", linewidths=0.5
        )
        chosen.set_title(f"(c) {len(points)} points with too few samples for $N(0, I)$")
        for axes in (means, counts, chosen):
            axes.set(xlim=limits, ylim=limits, aspect="equal")
            axes.set(xlabel="$z_1$", ylabel="$z_2$")
        image_grid(images, arrays["point_images"], *square_grid(len(points)))
        images.set_title("(d) images from these points, by $z_1$")
    return figure


def draw_means(
    axes: Axes, means: np.ndarray, labels: np.ndarray | None, limits: tuple[float, float]
) -> None:
    """Draw a dot for each mean, and each digit's badge where it is both frequent and pure."""
    colours = DATA if labels is None else np.array(CLASS_COLOURS)[labels]
    draw_points(axes, means, s=2, c=colours, linewidths=0, rasterized=True)
    if labels is None:
        return
    edges = np.linspace(*limits, 13)
    middles = (edges[:-1] + edges[1:]) / 2
    of_digits = (means[labels == digit] for digit in range(10))
    counts = np.stack([np.histogram2d(m[:, 0], m[:, 1], bins=edges)[0].ravel() for m in of_digits])
    score = counts**2 / np.maximum(counts.sum(axis=0), 1)
    # A cell for each digit, so that no badge hides another.
    for digit, cell in zip(*linear_sum_assignment(score, maximize=True), strict=True):
        if not counts[digit, cell]:
            continue
        column, row = divmod(cell, len(middles))
        axes.text(
            middles[column],
            middles[row],
            str(digit),
            fontweight="bold",
            ha="center",
            va="center",
            bbox={
                "boxstyle": "circle,pad=0.2",
                "facecolor": "white",
                "edgecolor": CLASS_COLOURS[digit],
                "linewidth": 1.8,
            },
        )


def draw_histogram(axes: Axes, histogram: np.ndarray, edges: np.ndarray) -> QuadMesh:
    """Show counts, and the circles that hold 50% and 95% of the prior N(0, I)."""
    mesh = axes.pcolormesh(edges, edges, histogram.T, rasterized=True)
    for radius in RADII.values():
        axes.add_patch(Circle((0, 0), radius, fill=False, color="white", linestyle="--"))
    return mesh


def label_circles(axes: Axes) -> None:
    """Say what the circles hold, where there is nothing that it could hide."""
    for mass, radius in RADII.items():
        label = f"{mass:.0%} of $N(0, I)$"
        axes.text(0, radius + 0.05, label, color="white", ha="center", path_effects=[SHADOW])


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 8 of the arrays in a file."""
    return figure_08(dict(np.load(files["arrays"][0])))
