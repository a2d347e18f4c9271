"""Figures 5 and 6: what a normalizing flow made of the moons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from dgmpipe.figures.style import (
    DATA,
    DATA_MARKER,
    LATENT,
    LATENT_MARKER,
    check_shapes,
    draw_points,
    new_figure,
)

__all__ = ["figure_flow", "from_files"]

LATENT_LIMIT = 3.5  # half the side of the latent histogram
BINS = 100
CONTOURS = np.array([0.1, 0.5])  # as shares of the true density's maximum
NUM_SHOWN = 40  # latent points over the histogram
TRUE_COLOUR = "#009E73"
LATENT_TO_DATA = LinearSegmentedColormap.from_list("latent to data", [LATENT, DATA])


def figure_flow(flow_arrays: Mapping[str, ArrayLike], *, title: str) -> Figure:
    """Draw Figure 5 or 6: data, learned density, hidden states and latent points of a flow.

    Latent points are orange dots, data and samples blue squares. The learned density lies under the
    generated samples and contours of the true density, at a tenth and half of its maximum. The
    histogram shows [−3.5, 3.5]², darker by the square root of the number of points; its title says
    how many lie outside.

    Args:
        flow_arrays: `batch` (B, 2), a batch of the training data;
            `samples` (S, 2), generated;
            `x_axis` (W,) and `y_axis` (H,), equidistant, with `log_density` (H, W) in nats, row i
            at y_axis[i], and where it is known `true_log_density` (H, W) with `entropy`, a scalar;
            `hidden_states` (K, P, 2) of P latent points, from z to x;
            `latent` (L, 2), independent data mapped to the latent space;
            `nll` and `nll_standard_error`, scalars in nats.
        title: Title of the figure, such as "Real NVP".

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    check_shapes(
        flow_arrays,
        batch="B 2",
        samples="S 2",
        x_axis="W",
        y_axis="H",
        log_density="H W",
        **({"true_log_density": "H W", "entropy": ""} if "entropy" in flow_arrays else {}),
        hidden_states="K P 2",
        latent="L 2",
        nll="",
        nll_standard_error="",
    )
    arrays = {name: np.asarray(array) for name, array in flow_arrays.items()}
    nll, error = (float(arrays[n]) for n in ("nll", "nll_standard_error"))
    bound = ""
    if "entropy" in arrays:
        entropy = float(arrays["entropy"])
        bound = f"; its lower bound, the entropy of the data: {entropy:.4f} nats"
    with new_figure(7.2, 5.4) as figure:
        (batch, density), (states, latent) = figure.subplots(2, 2)
        draw_batch(batch, arrays)
        draw_density(density, arrays)
        draw_hidden_states(states, arrays["hidden_states"])
        draw_latent(latent, arrays["latent"])
        figure.suptitle(title)
        figure.supxlabel(
            f"held-out negative log-likelihood {nll:.4f} ± {error:.4f} nats{bound}",
            fontsize=8,
        )
    return figure


def draw_batch(axes: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw one batch of the training data."""
    draw_points(axes, arrays["batch"], s=7, c=DATA, marker=DATA_MARKER, alpha=0.7, linewidths=0)
    set_data_space(axes, arrays)
    axes.set_title("a batch of the training data")


def draw_density(axes: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    """Show the learned density, with generated samples and contours of the true density."""
    x, y = arrays["x_axis"], arrays["y_axis"]
    shown = axes.pcolormesh(
        x, y, np.exp(arrays["log_density"]), cmap="Greys", vmin=0, rasterized=True
    )
    title = "learned density, samples"
    if "true_log_density" in arrays:
        truth = np.exp(arrays["true_log_density"])
        levels = CONTOURS * truth.max()
        style: dict[str, Any] = {"colors": TRUE_COLOUR, "linewidths": 0.8, "linestyles": "solid"}
        axes.contour(x, y, truth, levels=levels, **style)
        title += "; true density (lines)"
    draw_points(axes, arrays["samples"], s=5, c=DATA, marker=DATA_MARKER, alpha=0.7, linewidths=0)
    set_data_space(axes, arrays)
    axes.set_title(title)
    axes.figure.colorbar(shown, ax=axes, label=r"$p_\theta(\mathbf{x})$", shrink=0.7)


def draw_hidden_states(axes: Axes, states: np.ndarray) -> None:
    """Draw the way of each latent point through the layers, from orange to blue."""
    colours = LATENT_TO_DATA(np.linspace(0, 1, len(states)))
    for path in states.swapaxes(0, 1):
        axes.plot(*path.T, color="0.7", linewidth=0.8, zorder=1)
        draw_points(axes, path[1:-1], s=6, c=colours[1:-1], linewidths=0)
    draw_points(axes, states[0], s=22, c=LATENT, marker=LATENT_MARKER, label="$\\mathbf{z}$")
    draw_points(axes, states[-1], s=22, c=DATA, marker=DATA_MARKER, label=r"$g_\theta(\mathbf{z})$")
    axes.set(aspect="equal", xlabel="$y_1$", ylabel="$y_2$", title="hidden states of the generator")
    axes.set_adjustable("datalim")
    axes.legend(frameon=True)  # its marks are not two more points


def draw_latent(axes: Axes, latent: np.ndarray) -> None:
    """Show the histogram of the latent points, and the first few of them."""
    limits = (-LATENT_LIMIT, LATENT_LIMIT)
    outside = int((np.abs(latent) > LATENT_LIMIT).any(axis=1).sum())
    # Where a flow folds the plane a few bins hold so much that all else would be white.
    *_, shown = axes.hist2d(
        latent[:, 0],
        latent[:, 1],
        bins=BINS,
        range=(limits, limits),
        norm=PowerNorm(0.5, vmin=0),
        cmap="Greys",
        rasterized=True,
    )
    draw_points(axes, latent[:NUM_SHOWN], s=9, c=LATENT, marker=LATENT_MARKER, linewidths=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="$z_1$", ylabel="$z_2$")
    axes.set_title(f"{len(latent):,} data points in the latent space\n({outside:,} outside)")
    bar = axes.figure.colorbar(shown, ax=axes, label="points in a bin", shrink=0.9)
    bar.locator = MaxNLocator(5, integer=True)


def set_data_space(axes: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    """Give the axes the ranges of the density's grid."""
    x, y = arrays["x_axis"], arrays["y_axis"]
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    axes.set(xlabel="$x_1$", ylabel="$x_2$")


def from_files(files: Mapping[str, Sequence[str]], *, title: str) -> Figure:
    """Draw the figure of a flow whose arrays are in a file."""
    return figure_flow(dict(np.load(files["arrays"][0])), title=title)
