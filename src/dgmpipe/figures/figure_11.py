"""Figure 11: how far the GANs' images are from the data over the training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import ArrayLike

from dgmpipe.evaluation.floor import floor_level
from dgmpipe.figures.style import SERIES_COLOURS, SERIES_MARKERS, check_shapes, new_figure

__all__ = ["Curves", "figure_11", "from_files"]


_MARKERS = ("None", *SERIES_MARKERS)


class Curves(NamedTuple):
    """The energy distance of one model over its training, for one seed or several.

    Attributes:
        colour: Place of its kind among the kinds of GAN, which gives the colour.
        start: Title of the model whose generator it starts from, or None; a start makes the line
            solid.
        title: Its name in the legend.
        steps: The generator's steps of the K evaluations, shape (K,).
        distances: The energy distance at each of them for S seeds, shape (S, K).
    """

    colour: int
    start: str | None
    title: str
    steps: ArrayLike
    distances: ArrayLike


def figure_11(curves: list[Curves], floor: ArrayLike) -> Figure:
    """Draw Figure 11: the energy distance of generated from held-out images over the training.

    Each kind has a colour: DCGAN is blue, WGAN is orange. Models that start from random weights
    have dashed lines, those that start from another's generator solid ones; a second model of the
    same kind and start has markers, filled ones first. A line is the mean over the seeds, in a band
    from their least to their greatest with a thin line a seed, and ends with its training; what
    ends before the longest says so. A thin dotted line is the level of each model that others start
    from. The grey band is where real images are: below the 95% quantile of `floor`, unless that is
    negative.

    Args:
        curves: At least one model.
        floor: The same distance of R draws of real training images, shape (R,).

    Raises:
        ValueError: If there are no curves, or an array has another shape.
    """
    if not curves:
        raise ValueError("there must be at least one model's curves")
    check_shapes({"floor": floor}, floor="R")
    ceiling = floor_level(floor)
    with new_figure(5.6, 3.7) as figure:
        axes = figure.subplots()
        looks: list[tuple[int, bool]] = []
        longest = max(np.asarray(curve.steps)[-1] for curve in curves)
        for curve in curves:
            check_shapes(curve._asdict(), steps="K", distances="S K")
            look = curve.colour, curve.start is not None
            colour = SERIES_COLOURS[curve.colour % len(SERIES_COLOURS)]
            hollow, marker = divmod(looks.count(look), len(_MARKERS))
            looks.append(look)
            distances = np.asarray(curve.distances)
            axes.plot(
                curve.steps,
                distances.mean(axis=0),
                "-" if curve.start else "--",
                marker=_MARKERS[marker],
                markerfacecolor="white" if hollow else colour,
                color=colour,
                markersize=3,
                label=curve.title,
            )
            if len(distances) > 1:
                axes.fill_between(
                    curve.steps,
                    distances.min(axis=0),
                    distances.max(axis=0),
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
                axes.plot(curve.steps, distances.T, color=colour, alpha=0.4, linewidth=0.4)
            last = np.asarray(curve.steps)[-1]
            if last < longest:
                axes.annotate(
                    f"ends after {last:,} steps",
                    xy=(last, distances.mean(axis=0)[-1]),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                )
        _levels(axes, curves)
        axes.set_yscale("log")
        # Real images are so near that an unbiased distance can be negative: no lower edge, and of
        # few draws no upper one that a logarithm could show.
        if ceiling > 0:
            axes.axhspan(
                ceiling / 3, ceiling, color="0.85", zorder=0, label="95% of draws of real images"
            )
            axes.set_ylim(bottom=ceiling / 3)
        axes.set(xlabel="training step of the generator")
        axes.set(ylabel="energy distance from held-out images")
        axes.locator_params(axis="x", integer=True)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.margins(x=0.01)
        # Above the axes, where it cannot lie on a curve.
        figure.legend(ncols=3, loc="outside upper center")
    return figure


def _levels(axes: Axes, curves: list[Curves]) -> None:
    """Draw the levels of the models that others start from, where the curves of these begin."""
    for start in dict.fromkeys(curve.start for curve in curves if curve.start):
        first = [np.asarray(c.distances)[:, 0].mean() for c in curves if c.start == start]
        axes.axhline(
            float(np.mean(first)), color="black", linestyle=":", linewidth=0.8, label=f"the {start}"
        )


def from_files(files: Mapping[str, Sequence[str]], *, curves: list[dict[str, Any]]) -> Figure:
    """Draw Figure 11 of histories, seed by seed of each model, and of the floor, in files.

    Args:
        files: `histories` and `floor`.
        curves: Fields `colour`, `start` and `title` of each model's `Curves`, and how many `seeds`
            it has.
    """
    histories = iter(map(pd.read_csv, files["histories"]))
    drawn = []
    for curve in curves:
        of_seeds = [next(histories) for _ in range(curve["seeds"])]
        fields = {name: value for name, value in curve.items() if name != "seeds"}
        distances = np.stack([history["energy_distance"] for history in of_seeds])
        drawn.append(Curves(**fields, steps=of_seeds[0]["step"], distances=distances))
    return figure_11(drawn, np.load(files["floor"][0])["energy_distances"])
