"""Figure 1: the idea of a deep generative model, drawn from one that was trained."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
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

__all__ = ["figure_01", "from_files"]

NUM_LINKED = 8  # latent points with a line to what the generator makes of them
LATENT_LIMIT = 3.2
EXPLANATION = """The data do not say which latent point
a true point comes from. Training has
to find such links, or to compare
the two distributions above."""


def figure_01(flow_arrays: Mapping[str, ArrayLike]) -> Figure:
    """Draw Figure 1: data, generated data, and the latent points that these are made from.

    Each distribution is shown by its density, in grey, and by samples. A line links a latent
    point with what the generator makes of it; data and latent points have no such links, which is
    what makes the discrepancy between the two upper distributions hard to measure.

    Args:
        flow_arrays: Of a trained flow: `batch` (B, 2), data; `latent_samples` (S, 2) and
            `samples` (S, 2), the same points before and after the generator; `x_axis` (W,) and
            `y_axis` (H,) with `log_density` and `true_log_density`, each (H, W) in nats.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    check_shapes(
        flow_arrays,
        batch="B 2",
        latent_samples="S 2",
        samples="S 2",
        x_axis="W",
        y_axis="H",
        log_density="H W",
        true_log_density="H W",
    )
    arrays = {name: np.asarray(array) for name, array in flow_arrays.items()}
    x, y = arrays["x_axis"], arrays["y_axis"]
    z, generated = arrays["latent_samples"], arrays["samples"]
    with new_figure(6.2, 4.6) as figure:
        grid = figure.subplots(2, 3, width_ratios=[1, 0.32, 1], height_ratios=[1, 1.25])
        (data, between, model), (*empty, latent) = grid
        for axes in (between, *empty):
            axes.axis("off")

        _show(data, x, y, arrays["true_log_density"])
        _dots(data, arrays["batch"][: len(z)], DATA, DATA_MARKER)
        data.set_title(r"true distribution $\mathcal{X}$")
        _show(model, x, y, arrays["log_density"])
        _dots(model, generated, DATA, DATA_MARKER)
        model.set_title(r"generated distribution $g_\theta(\mathcal{Z})$")

        axis = np.linspace(-LATENT_LIMIT, LATENT_LIMIT, 200)
        _show(latent, axis, axis, -0.5 * (axis**2 + axis[:, None] ** 2))
        _dots(latent, z, LATENT, LATENT_MARKER)
        latent.set_xlabel(r"latent distribution $\mathcal{Z} = N(0, I)$", labelpad=5)

        centre = {"ha": "center", "va": "center"}
        between.text(0.5, 0.5, r"$\overset{?}{\approx}$", fontsize=22, **centre)
        empty[0].text(0.5, 0.5, EXPLANATION, **centre)
        for start, end in zip(z[:NUM_LINKED], generated[:NUM_LINKED], strict=True):
            link = ConnectionPatch(
                start, end, "data", "data", axesA=latent, axesB=model, color="0.35", lw=0.7
            )
            link.set_in_layout(False)
            figure.add_artist(link)
        _dots(latent, z[:NUM_LINKED], LATENT, LATENT_MARKER, size=22)
        _dots(model, generated[:NUM_LINKED], DATA, DATA_MARKER, size=22)
        latent.annotate(
            r"generator $g_\theta$",
            xy=(-0.25, 1.05),
            xytext=(-0.25, 0.35),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "-|>", "linewidth": 1.2, "color": "black"},
            fontsize=9,
            **centre,
        )
    return figure


def _show(axes: Axes, x: np.ndarray, y: np.ndarray, log_density: np.ndarray) -> None:
    """Show a density in grey, without ticks."""
    density = np.exp(log_density)
    # Half as dark as could be, so that points stay visible on it.
    axes.pcolormesh(x, y, density, cmap="Greys", vmin=0, vmax=2 * density.max(), rasterized=True)
    axes.set(xticks=[], yticks=[], aspect="equal")


def _dots(axes: Axes, points: np.ndarray, colour: str, marker: str, size: float = 6) -> None:
    draw_points(axes, points, s=size, c=colour, marker=marker, alpha=0.8, linewidths=0, zorder=3)


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 1 of the arrays of a flow in a file."""
    return figure_01(dict(np.load(files["arrays"][0])))
