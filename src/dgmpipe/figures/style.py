"""What the figures share: style, colours by role, image grids, shape checks and saving."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

__all__ = [
    "DATA",
    "DATA_MARKER",
    "GRID_GAP",
    "LATENT",
    "LATENT_MARKER",
    "SERIES_COLOURS",
    "SERIES_MARKERS",
    "arrow_panel",
    "check_shapes",
    "draw_points",
    "image_grid",
    "latent_panel",
    "new_figure",
    "save_figure",
    "square_grid",
]

# The paper's coding, red dots for what is latent and blue squares for data; this red is an orange,
# which colour-blind readers tell from the blue.
LATENT = "#D55E00"
LATENT_MARKER = "o"
# Darker than the blue of Okabe and Ito, to differ from their vermillion in grey as well.
DATA = "#00508C"
DATA_MARKER = "s"

# Of series side by side: Okabe and Ito, the two roles' colours first.
SERIES_COLOURS = (DATA, LATENT, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

GRID_GAP = 2  # pixels between the images of a grid
GAP_INTENSITY = 0.25

# Starting from the defaults makes a figure independent of its user's matplotlibrc.
STYLE: list[str | Path] = ["default", Path(__file__).with_name("dgmpipe.mplstyle")]


@contextmanager
def new_figure(width_in: float, height_in: float) -> Iterator[Figure]:
    """Give an empty figure, `width_in` × `height_in` inches, with the style held in the block."""
    with matplotlib.style.context(STYLE):
        yield Figure(figsize=(width_in, height_in))


def save_figure(figure: Figure, png_path: str | Path, pdf_path: str | Path | None = None) -> None:
    """Save a figure as PNG, 200 dpi, and as vector PDF; equal figures give equal bytes."""
    with matplotlib.style.context(STYLE):
        figure.savefig(png_path, format="png", metadata={"Software": None})
        if pdf_path is not None:
            figure.savefig(pdf_path, format="pdf", metadata={"CreationDate": None})


def check_shapes(arrays: Mapping[str, ArrayLike], **shapes: str) -> None:
    """Check the shapes of named arrays, where equal letters stand for equal sizes.

    Args:
        arrays: The arrays by name; names without a shape are not looked at.
        shapes: A shape for each name, such as "N 2". That of images, "N H W", stands for "N 3 H W"
            as well.

    Raises:
        ValueError: If an array is missing, empty or of another shape.

    Example:
        >>> check_shapes({"z": np.ones((5, 2)), "label": np.ones(4)}, z="N 2", label="N")
        Traceback (most recent call last):
        ValueError: label must have shape (5), not (4)
    """
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"the array {name} of shape ({', '.join(shape.split())}) is missing")
        found, expected = np.shape(arrays[name]), shape.split()
        if shape.endswith("H W") and len(found) == len(expected) + 1:
            expected.insert(-2, "3")
        if 0 in found:
            raise ValueError(f"{name} must not be empty, but has shape {found}")
        if len(found) == len(expected):
            for letter, size in zip(expected, found, strict=True):
                sizes.setdefault(letter, int(letter) if letter.isdecimal() else size)
        wanted = ", ".join(str(sizes.get(letter, letter)) for letter in expected)
        actual = ", ".join(str(size) for size in found)
        if actual != wanted:
            raise ValueError(f"{name} must have shape ({wanted}), not ({actual})")


def square_grid(count: int) -> tuple[int, int]:
    """Return rows and columns of the most nearly square grid that has room for `count` images."""
    columns = math.isqrt(count - 1) + 1
    return math.ceil(count / columns), columns


def image_grid(axes: Axes, images: ArrayLike, rows: int, columns: int) -> AxesImage:
    """Show images, row by row, as one picture with thin grey lines between.

    Those of one channel are black on white, those of three in their colours. The picture has one
    unit a pixel, so image (i, j) of the grid is centred at x = (W + GRID_GAP)·j + (W − 1)/2 and
    y = (H + GRID_GAP)·i + (H − 1)/2. The axes have no ticks; a title
    or a label that says what is shown is up to the caller.

    Args:
        axes: Where to draw.
        images: Shape (N, H, W), intensities in [0, 1] with 1 as ink, or (N, 3, H, W), red, green
            and blue in [0, 1].
        rows: Rows of the grid.
        columns: Columns of the grid; cells beyond the N-th stay white.

    Raises:
        ValueError: If `images` has another shape, or N is more than `rows`·`columns`.
    """
    check_shapes({"images": images}, images="N H W")
    images = np.asarray(images)
    if coloured := images.ndim == 4:
        images = 1 - np.moveaxis(images, 1, -1)
    if len(images) > rows * columns:
        raise ValueError(f"{len(images)} images do not fit into {rows} rows of {columns}")
    height, width, *channels = images.shape[1:]
    high, wide = height + GRID_GAP, width + GRID_GAP
    tiles = np.full((rows * columns, high, wide, *channels), GAP_INTENSITY)
    tiles[:, :height, :width] = 0
    tiles[: len(images), :height, :width] = images
    picture = tiles.reshape(rows, columns, high, wide, *channels).swapaxes(1, 2)
    picture = picture.reshape(rows * high, columns * wide, *channels)[:-GRID_GAP, :-GRID_GAP]
    if coloured:
        picture = 1 - picture
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=str(1 - GAP_INTENSITY))
    return axes.imshow(picture, cmap="gray_r", vmin=0, vmax=1)


def draw_points(axes: Axes, points: np.ndarray, **options: Any) -> None:
    """Draw points, shape (n, 2), as markers with the options of `Axes.scatter`."""
    axes.scatter(points[:, 0], points[:, 1], **options)


def latent_panel(axes: Axes, latent: ArrayLike) -> None:
    """Draw latent points, shape (n, 2), as orange dots in the square that holds N(0, I)."""
    points = np.asarray(latent)
    draw_points(axes, points, s=7, c=LATENT, marker=LATENT_MARKER, alpha=0.7, linewidths=0)
    limit = max(3.5, 1.05 * np.abs(points).max())
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set(xlabel="$z_1$", ylabel="$z_2$", title=r"latent space, $\mathbf{z} \sim N(0, I)$")


def arrow_panel(axes: Axes) -> None:
    """Turn the axes between two panels into an arrow with the generator's name g_θ."""
    axes.axis("off")
    axes.annotate(
        "",
        xy=(1, 0.5),
        xytext=(0, 0.5),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "linewidth": 1.2, "color": "black", "shrinkA": 0},
    )
    axes.text(0.5, 0.53, r"$g_\theta$", fontsize=12, ha="center", transform=axes.transAxes)
