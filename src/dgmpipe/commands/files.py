"""Arrays and pictures that the commands read and write, by the ends of their names."""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dgmpipe.arguments import to_tensor
from dgmpipe.data.batches import to_float
from dgmpipe.data.files import load_array
from dgmpipe.data.images import load_images
from dgmpipe.errors import UserError
from dgmpipe.evaluation.posterior import PosteriorGrid
from dgmpipe.files import replacing

__all__ = [
    "check_output",
    "read_picture",
    "read_sample",
    "require_writable",
    "write_array",
    "write_pictures",
    "write_posterior",
]

_WITH_TRANSPARENCY = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # modes of Pillow of more than 8 bits


def check_output(
    path: Path, endings: tuple[str, ...], replace: bool, source: Path | None = None
) -> None:
    """Refuse a file that cannot be written, or that is there and is not to be replaced.

    Args:
        path: The file.
        endings: Of its name, one of which it must have.
        replace: Whether it may be there.
        source: A file that is read, which it must not be.

    Raises:
        UserError: If so.
    """
    if path.suffix.lower() not in endings:
        raise UserError(f"{path} must end with {' or '.join(endings)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if source and path.exists() and source.exists() and path.samefile(source):
        raise UserError(f"{path} is what is read; name another file")
    if path.exists() and not replace:
        raise UserError(f"{path} exists; replace it with --force or name another file")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a folder; make it or name a file elsewhere")
    require_writable(path.parent)


def require_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Raises:
        UserError: If so, with the reason.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {error.strerror}; name another place"
        ) from None


def read_picture(
    path: Path, shape: tuple[int, ...] | None = None, *, scale: bool = False
) -> np.ndarray:
    """Return a picture's intensities in [0, 1], (H, W) or (3, H, W), in any format of Pillow's.

    Args:
        path: The file.
        shape: (C, H, W) that it has to have; colours become grey where C is 1. By default a picture
            in grey is (H, W) and one in colour (3, H, W).
        scale: Whether it is brought to that height and width if it has another.

    Raises:
        UserError: If it cannot be read, has transparency or more than 8 bits, or another shape.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            if mode in _WITH_TRANSPARENCY or "transparency" in image.info:
                raise UserError(f"{path} has transparency; save it without")
            if mode in _DEEP:
                raise UserError(f"{path} has more than 8 bits a pixel; save it with 8")
            grey = mode in ("1", "L") if shape is None else shape[0] == 1
            upright = ImageOps.exif_transpose(image)  # as a telephone says that it was held
            converted = upright.convert("L" if grey else "RGB")
            if shape is not None and scale:
                converted = converted.resize((shape[2], shape[1]), Image.Resampling.LANCZOS)
            pixels = np.asarray(converted)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a picture") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name a picture") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError):
        raise UserError(f"{path} is not a picture in a format that is known") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from None
    if shape is not None and pixels.shape[:2] != shape[1:]:
        (height, width), (rows, columns) = pixels.shape[:2], shape[1:]
        raise UserError(
            f"{path} has {width}x{height} pixels, and the model's images have {columns}x{rows};"
            " scale it with --scale"
        )
    intensities = pixels.astype(np.float32) / 255
    return intensities if grey else np.moveaxis(intensities, 2, 0)


def read_sample(path: Path, name: str) -> Tensor:
    """Return points (N, d) from an array, or from a folder of pictures or of MNIST's files.

    Images of bytes become intensities in [0, 1], and each image is a point of all its pixels, one
    colour after the other, whether the array has colours first or last. Of MNIST's files it is the
    test images.

    Args:
        path: A .npy, .npz or .csv file, or a folder.
        name: Name of the array in a .npz file.

    Raises:
        UserError: If it cannot be read, or has no numbers.
        ValueError: If it has values that are no real numbers.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name a .npy, .npz or .csv file, or a folder")
    values = _read_folder(path) if path.is_dir() else to_tensor(load_array(path, name), str(path))
    if values.ndim < 1 or not values.numel():
        raise UserError(f"{path} must have points, (N, ...), not {tuple(values.shape)}")
    if values.ndim > 2 and values.dtype == torch.uint8:
        values = to_float(values)
    if values.ndim == 4 and values.shape[3] == 3 != values.shape[1]:
        values = values.movedim(3, 1)
    return values.reshape(len(values), -1)


def _read_folder(folder: Path) -> Tensor:
    if any(folder.glob("*-ubyte")) or (folder / "images.npz").exists():
        return load_images(folder, "t10k")[0]
    known = Image.registered_extensions()
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in known)
    if not files:
        raise UserError(f"{folder} has no pictures")
    pictures = [read_picture(file) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise UserError(
                f"{file} has shape {picture.shape}, but {files[0]} has {pictures[0].shape};"
                " bring all pictures to one size, in grey or in colour"
            )
    return torch.from_numpy(np.stack(pictures))


def write_array(values: Tensor, path: Path) -> None:
    """Write an array to .npy as it is, or to .csv with a row of it in each line."""
    with replacing(path) as temporary:
        if path.suffix.lower() == ".npy":
            with temporary.open("wb") as file:
                np.save(file, values.numpy())
        else:
            np.savetxt(temporary, values.reshape(len(values), -1).numpy(), "%.9g", delimiter=",")


def write_pictures(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write images (N, C, H, W) to .png side by side, white where they are 1, or as an array.

    Args:
        images: Intensities in [0, 1].
        path: Ends with .png, or with .npy for an array (N, H, W) or (N, 3, H, W), or .csv.
        columns: Images in a row of the .png; by default about as many as there are rows.
    """
    if path.suffix.lower() != ".png":
        write_array(images.squeeze(1), path)
        return
    n, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    tiles = torch.zeros(rows * columns, channels, height, width)
    tiles[:n] = images
    grid = tiles.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = grid.reshape(rows * height, columns * width, channels).squeeze(2)
    with replacing(path) as temporary:
        Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()).save(temporary)


def write_posterior(grid: PosteriorGrid, path: Path) -> None:
    """Write log p(z|x) on the latent grid, to .npy as an array (R, R) or to .png as a picture."""
    if path.suffix.lower() == ".npy":
        write_array(grid.log_posterior, path)
        return
    from dgmpipe.figures.figure_07 import DEPTH, MARKS
    from dgmpipe.figures.style import new_figure

    highest = grid.log_posterior.max().item()
    limit = grid.axis[-1].item()
    with replacing(path) as temporary, new_figure(4, 3.4) as figure:
        axes = figure.subplots()
        shown = axes.imshow(
            grid.log_posterior.numpy(),
            origin="lower",
            extent=(-limit, limit, -limit, limit),
            vmin=highest - DEPTH,
            vmax=highest,
        )
        axes.plot(*grid.map.tolist(), **MARKS["map"])
        axes.set_title(r"$\log p_\theta(\mathbf{z} | \mathbf{x})$ and its maximum")
        axes.set(xlabel="$z_1$", ylabel="$z_2$")
        figure.colorbar(shown, label="nats")
        figure.savefig(temporary, dpi=200)
