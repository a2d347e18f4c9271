"""Figure 4: the maximum likelihood objective of an affine flow of the line."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dgmpipe.figures.style import DATA, LATENT, LATENT_MARKER, new_figure

__all__ = ["figure_04", "from_files"]


def figure_04(example: float = 2.0) -> Figure:
    """Draw Figure 4: eq. (8) for g_θ⁻¹(x) = θx and a single example x, and its two terms.

    The objective ½θ²x² − log|θ| + ½ log 2π is least at θ = 1/|x|.

    Args:
        example: The example x, not zero.

    Raises:
        ValueError: If `example` is zero.
    """
    if example == 0:
        raise ValueError("for an example at zero the objective has no minimiser")
    best = 1 / abs(example)
    theta = best * np.linspace(0.02, 3, 500)
    square, volume = 0.5 * (theta * example) ** 2, -np.log(theta)
    constant = 0.5 * math.log(2 * math.pi)
    least = 0.5 - math.log(best) + constant
    with new_figure(4.6, 2.9) as figure:
        axes = figure.subplots()
        axes.plot(
            theta, square + volume + constant, color="black", label=r"$J_\mathrm{ML}(\theta)$"
        )
        axes.plot(
            theta, square, "--", color=DATA, label=r"$\frac{1}{2} \theta^2 x^2$: shrinks space"
        )
        axes.plot(theta, volume, ":", color=LATENT, label=r"$-\log |\theta|$: expands space")
        axes.plot(best, least, LATENT_MARKER, color="black")
        axes.annotate(
            rf"$\theta = 1 / |x| = {best:.3g}$",
            xy=(best, least),
            xytext=(0, -12),
            textcoords="offset points",
            ha="center",
            va="top",
        )
        axes.set(xlim=(0, theta[-1]), xlabel=r"$\theta$", ylabel="nats")
        axes.set_title(
            rf"affine flow $g_\theta^{{-1}}(x) = \theta x$, one example $x = {example:g}$"
        )
        axes.legend(loc="upper center", ncols=3, columnspacing=1)
        axes.set_ylim(top=1.25 * (square + volume + constant).max())
    return figure


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw Figure 4, which needs no file."""
    return figure_04()
