"""Figure 8's map again under other priors: where each asks for what the encoder has not seen."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgmpipe.figures.style import (
    LATENT,
    LATENT_MARKER,
    check_shapes,
    draw_points,
    image_grid,
    new_figure,
    square_grid,
)

__all__ = ["figure_priors", "from_files"]

ROWS = ("aggregate posterior\nand the prior's outlines", "images of the dots", "samples")
# Shares of the prior's mass that its outlines hold.
SHARES = (0.95, 0.5)


def figure_priors(priors: Mapping[str, ArrayLike], titles: Mapping[str, str]) -> Figure:
    """Draw a column for each prior of a VAE.

    At the top the aggregate posterior in colours, outlines that hold 50% and 95% of the prior, and
    dots drawn from the grid points at which the prior exceeds the aggregate posterior most; below
    the generator's images of these dots, and images of random points of the prior.

    Args:
        priors: `axis` (R,), the equidistant values of each latent coordinate, and `aggregate`
            (R, R), row z2, column z1; of each prior its name and `_density` (R, R), `_points`
            (P, 2), `_point_images` (P, H, W) or (P, 3, H, W) and `_samples` (S, H, W) or likewise.
        titles: What each prior is called, by its name.

    Raises:
        ValueError: If an array is missing or has another shape.
    """
    check_shapes(priors, axis="R", aggregate="R R")
    arrays = {name: np.asarray(array) for name, array in priors.items()}
    axis = arrays["axis"]
    with new_figure(2.6 * len(titles) + 0.4, 7.6) as figure:
        grid = figure.subplots(3, len(titles), squeeze=False)
        for column, (name, title) in zip(grid.T, titles.items(), strict=True):
            shapes = {
                f"{name}_density": "R R",
                f"{name}_points": "P 2",
                f"{name}_point_images": "P H W",
                f"{name}_samples": "S H W",
            }
            check_shapes(priors, axis="R", **shapes)
            plane, asked, samples = column
            plane.pcolormesh(axis, axis, arrays["aggregate"], rasterized=True)
            density = arrays[f"{name}_density"]
            plane.contour(axis, axis, density, _levels(density), colors="white", linewidths=0.7)
            draw_points(
                plane, arrays[f"{name}_points"], s=12, c=LATENT, marker=LATENT_MARKER,
                edgecolors="white", linewidths=0.5,
            )  # fmt: skip
            plane.set(aspect="equal", xlabel="$z_1$", ylabel="$z_2$", title=title)
            for axes, images in (
                (asked, arrays[f"{name}_point_images"]),
                (samples, arrays[f"{name}_samples"]),
            ):
                image_grid(axes, images, *square_grid(len(images)))
        for axes, text in zip(grid[:, 0], ROWS, strict=True):
            axes.set_ylabel(f"{text}\n\n{axes.get_ylabel()}".rstrip())
    return figure


def _levels(density: np.ndarray) -> list[float]:
    """Return the densities above which there is each of the shares of a density's mass."""
    falling = np.sort(density.ravel())[::-1]
    held = falling.cumsum() / falling.sum()
    return [float(falling[np.searchsorted(held, share)]) for share in SHARES]


def from_files(files: Mapping[str, Sequence[str]], *, titles: Mapping[str, str]) -> Figure:
    """Draw the priors of the VAE whose arrays are in a file."""
    return figure_priors(dict(np.load(files["arrays"][0])), titles)
