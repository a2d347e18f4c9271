"""The images of MNIST, and of whatever data set comes in the same four files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dgmpipe.data.idx import read_idx
from dgmpipe.errors import UserError

__all__ = ["evenly_spread", "load_mnist"]

SPLITS = ("train", "t10k")


def load_mnist(
    folder: str | Path, split: str, md5: Mapping[str, str] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the images (N, 28, 28), uint8, and the labels (N,), int64, of one split.

    Args:
        folder: Holds `{split}-images-idx3-ubyte` and `{split}-labels-idx1-ubyte`.
        split: "train" or "t10k".
        md5: MD5 that each of the two files must have, by its name; other names may be there.

    Raises:
        ValueError: If there is no such split.
        UserError: If a file is missing, broken or not the one with that MD5, or the two do not
            belong together.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    images_path = Path(folder) / f"{split}-images-idx3-ubyte"
    labels_path = Path(folder) / f"{split}-labels-idx1-ubyte"
    images, labels = (
        read_idx(path, md5=md5[path.name] if md5 else None) for path in (images_path, labels_path)
    )
    if images.shape[1:] != (28, 28):
        raise UserError(
            f"{images_path} must hold images of 28x28 pixels, but its shape is {images.shape};"
            " fetch the data again"
        )
    if labels.shape != (len(images),):
        raise UserError(
            f"{labels_path} must hold a label for each of the {len(images):,} images beside it,"
            f" but its shape is {labels.shape}; fetch the data again"
        )
    if labels.max() > 9:
        raise UserError(
            f"{labels_path} must hold labels from 0 to 9, but one is {labels.max()};"
            " fetch the data again"
        )
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def evenly_spread(n: int, size: int) -> Tensor:
    """Return the positions of `n` of `size` images, shape (n,), spread evenly over them.

    The first images of MNIST's test set are not like the last: each half has writers of its own.

    Raises:
        UserError: If there are fewer than `n` images.

    Example:
        >>> evenly_spread(4, 10)
        tensor([0, 2, 5, 7])
    """
    if n > size:
        raise UserError(
            f"the config asks for {n:,} test images, but there are {size:,}; lower the number"
        )
    return torch.arange(n) * size // n
