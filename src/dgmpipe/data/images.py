"""The images that models are trained on: MNIST's four files, an archive or a folder of pictures."""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dgmpipe.data.mnist import SPLITS, load_mnist
from dgmpipe.errors import UserError
from dgmpipe.files import save_arrays

__all__ = ["image_shape", "load_images", "prepare_images"]

# What images other than MNIST's are kept in, beside one another.
_PREPARED = "images.npz"

# Names in an archive, of which the second are those that Keras gives.
_NAMES = {
    "train_images": ("train_images", "x_train"),
    "t10k_images": ("test_images", "x_test"),
    "train_labels": ("train_labels", "y_train"),
    "t10k_labels": ("test_labels", "y_test"),
}
_FOLDERS = {"train": "train", "t10k": "test"}
_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY, _COLOURED = ("1", "L"), ("RGB", "P")  # modes of Pillow


def load_images(folder: str | Path, split: str) -> tuple[Tensor, Tensor | None]:
    """Return images of bytes, (N, H, W) or (N, 3, H, W), and labels (N,), int64, of one split.

    There are none if the images come without labels.

    Args:
        folder: Holds MNIST's four files, or what `prepare_images` wrote.
        split: "train" or "t10k".

    Raises:
        ValueError: If there is no such split.
        UserError: If a file is missing or broken.
    """
    path = Path(folder, _PREPARED)
    if split not in SPLITS or not path.exists():
        return load_mnist(folder, split)
    arrays = _read_arrays(path, (f"{split}_images", f"{split}_labels"))
    labels = arrays.get(f"{split}_labels")
    images = torch.from_numpy(arrays[f"{split}_images"])
    return images, None if labels is None else torch.from_numpy(labels)


def image_shape(folder: str | Path) -> tuple[int, ...]:
    """Return the shape (C, H, W) of the images in a folder that `load_images` reads."""
    if not Path(folder, _PREPARED).exists():
        return (1, 28, 28)
    images, _ = load_images(folder, "t10k")
    return tuple(images[:1].view(-1, *images.shape[-2:]).shape)


def prepare_images(
    folder: str | Path, *, archive: str | Path | None = None, pictures: str | Path | None = None
) -> None:
    """Write images of one's own to a folder in the form that `load_images` reads.

    Args:
        folder: Where they go.
        archive: A .npz file with bytes (N, H, W) or (N, H, W, 3) as `train_images` and
            `test_images`, or `x_train` and `x_test`; with labels (N,), 0 to 9, as `train_labels`
            and `test_labels`, or `y_train` and `y_test`, or without.
        pictures: In its place a folder with folders `train` and `test` of .png and .jpg files;
            these may be in a folder for each class, of which there are up to ten.

    Raises:
        UserError: If a file cannot be read, the images differ in shape, a side is no multiple of 4,
            or the labels are not as said.
    """
    if archive is not None:
        source, found = Path(archive), _read_archive(Path(archive))
    else:
        assert pictures is not None
        source, found = Path(pictures), _read_pictures(Path(pictures))
    arrays = {}
    for split in SPLITS:
        name = _FOLDERS[split]
        images = arrays[f"{split}_images"] = _checked(found[f"{split}_images"], source, name)
        labels = found.get(f"{split}_labels")
        if labels is not None:
            arrays[f"{split}_labels"] = _checked_labels(labels, len(images), source, name)
    train, test = (arrays[f"{split}_images"].shape[1:] for split in SPLITS)
    if train != test:
        raise UserError(f"{source}: training images have shape {train}, test images {test}")
    if len(arrays) == 3:
        raise UserError(f"{source} has labels of the training or of the test images alone")
    save_arrays(Path(folder, _PREPARED), arrays)


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    given = _read_arrays(path, tuple(name for names in _NAMES.values() for name in names))
    found = {}
    for ours, names in _NAMES.items():
        for name in names:
            if name in given:
                found[ours] = given[name]
    for ours in ("train_images", "t10k_images"):
        if ours not in found:
            raise UserError(f"{path} has no array {' or '.join(_NAMES[ours])}")
    return found


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return those of the named arrays that an archive has."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names if name in archive}
    except (OSError, ValueError, EOFError, TypeError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read as an .npz archive: {error}") from error


def _read_pictures(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    classes: list[str] | None = None
    for split in SPLITS:
        top = folder / _FOLDERS[split]
        files = sorted(path for path in top.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise UserError(f"{top} has no .png or .jpg files")
        found[f"{split}_images"] = _stacked([_read_picture(path) for path in files], files)
        names = [path.relative_to(top).parts[0] for path in files if path.parent != top]
        if not names:
            continue
        if len(names) < len(files):
            raise UserError(f"{top} has pictures beside the folders of its classes; move them")
        classes = classes or sorted(set(names))
        if unknown := set(names) - set(classes):
            raise UserError(f"{top} has a class '{min(unknown)}' without training images")
        found[f"{split}_labels"] = np.array([classes.index(name) for name in names])
    return found


def _read_picture(path: Path) -> np.ndarray:
    """Return a picture's bytes, (H, W) or (H, W, 3)."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image.convert("L" if mode in _GREY else "RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from error
    if mode not in (*_GREY, *_COLOURED):
        raise UserError(
            f"{path} is a picture of mode {mode}; save it as 8 bits of grey, or of red, green and"
            " blue, without transparency"
        )
    return pixels


def _stacked(pictures: list[np.ndarray], files: list[Path]) -> np.ndarray:
    """Return pictures as one array, in colour if one of them is."""
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    for path, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            (height, width), (first_height, first_width) = picture.shape[:2], pictures[0].shape[:2]
            raise UserError(
                f"{path} has {width}x{height} pixels, but {files[0]} has"
                f" {first_width}x{first_height}; scale them to one size"
            )
    return np.stack(pictures)


def _checked(images: np.ndarray, source: Path, split: str) -> np.ndarray:
    """Return images (N, H, W), (N, H, W, 1) or (N, H, W, 3) as (N, H, W) or (N, 3, H, W)."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3) or not images.size:
        raise UserError(
            f"{source}: {split} images must have shape (N, H, W) or (N, H, W, 3), not"
            f" {images.shape}"
        )
    if images.dtype != np.uint8:
        raise UserError(
            f"{source}: {split} images must be bytes from 0 to 255, uint8, not {images.dtype}"
        )
    height, width = images.shape[1:3]
    if height % 4 or width % 4:
        raise UserError(
            f"{source}: {split} images have {height} rows and {width} columns, which must be"
            " multiples of 4; scale, cut or pad them"
        )
    return np.ascontiguousarray(np.moveaxis(images, 3, 1) if images.ndim == 4 else images)


def _checked_labels(labels: np.ndarray, count: int, source: Path, split: str) -> np.ndarray:
    if (
        labels.size != count
        or labels.dtype.kind not in "iu"
        or not 0 <= labels.min() <= labels.max() <= 9
    ):
        raise UserError(
            f"{source}: {split} labels must be {count:,} whole numbers from 0 to 9; without labels"
            " all but the classifier can do"
        )
    return labels.reshape(-1).astype(np.int64)
