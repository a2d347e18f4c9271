"""Figure 11: how far the GANs' images are from the data over the training."""

from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import ArrayLike

from dgmpipe.figures.style import DATA, LATENT, check_shapes, new_figure

__all__ = ["Curves", "figure_11"]

COLOURS = {"dcgan": DATA, "wgan": LATENT}
# Of other kinds of GAN, of which a user may bring some, in the order in which they come.
FURTHER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FLOOR_QUANTILE = 0.95


class Curves(NamedTuple):
    """The energy distance of one model over its training, for one seed or several.

    Attributes:
        model: Its name in the config, such as "dcgan_vae", which gives colour and kind of line.
        title: Its name in the legend.
        steps: The generator's steps of the K evaluations, shape (K,).
        distances: The energy distance at each of them for S seeds, shape (S, K).
    """

    model: str
    title: str
    steps: ArrayLike
    distances: ArrayLike


def figure_11(curves: list[Curves], floor: ArrayLike) -> Figure:
    """Draw Figure 11: the energy distance of generated from held-out images over the training.

    DCGAN is blue, WGAN is red and any other kind has a colour of its own. Names that end in
    "_random", for random weights at the start, have dashed lines, others solid ones. A line is the
    mean over the seeds, in a band from their least to their greatest. The grey band is where real
    images are: below the 95% quantile of `floor`, unless that is negative.

    Args:
        curves: At least one model.
        floor: The same distance of R draws of real training images, shape (R,).

    Raises:
        ValueError: If there are no curves, or an array has another shape.
    """
    if not curves:
        raise ValueError("there must be at least one model's curves")
    check_shapes({"floor": floor}, floor="R")
    ceiling = float(np.quantile(np.asarray(floor), FLOOR_QUANTILE))
    kinds = dict.fromkeys(_kind(curve.model) for curve in curves)
    others = [kind for kind in kinds if kind not in COLOURS]
    colours = COLOURS | dict(zip(others, cycle(FURTHER_COLOURS), strict=False))
    with new_figure(5.6, 3.7) as figure:
        axes = figure.subplots()
        for curve in curves:
            check_shapes(curve._asdict(), steps="K", distances="S K")
            colour = colours[_kind(curve.model)]
            line = "--" if curve.model.endswith("_random") else "-"
            distances = np.asarray(curve.distances)
            axes.plot(curve.steps, distances.mean(axis=0), line, color=colour, label=curve.title)
            if len(distances) > 1:
                axes.fill_between(
                    curve.steps,
                    distances.min(axis=0),
                    distances.max(axis=0),
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
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


def _kind(model: str) -> str:
    """Return the name of a GAN without what it starts from."""
    return model.removesuffix("_random").removesuffix("_vae")
