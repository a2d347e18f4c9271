"""Arrays of bytes in the IDX format, the one that MNIST comes in."""

import hashlib
import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from dgmpipe.arguments import to_tensor
from dgmpipe.errors import UserError

__all__ = ["idx_bytes", "parse_idx", "read_idx"]

# A magic number is two zero bytes, the type of the elements (8: unsigned byte), the dimensions.
NDIM_OF_MAGIC = {0x0801: 1, 0x0803: 3}
MAGIC_OF_NDIM = {ndim: magic for magic, ndim in NDIM_OF_MAGIC.items()}


def idx_bytes(values: ArrayLike) -> bytes:
    """Return the IDX file of labels (N,) or images (N, H, W) of bytes.

    Raises:
        ValueError: If the array is not of uint8, not of 1 or 3 dimensions, empty, or partly masked.

    Example:
        >>> idx_bytes(np.array([5, 0, 4], dtype=np.uint8)).hex(" ")
        '00 00 08 01 00 00 00 03 05 00 04'
    """
    array = to_tensor(values, "the array").numpy()
    if array.dtype != np.uint8 or array.ndim not in MAGIC_OF_NDIM or array.size == 0:
        raise ValueError(
            "an IDX array must have dtype uint8, 1 or 3 dimensions and at least one element,"
            f" not {array.dtype} and shape {array.shape}"
        )
    header = struct.pack(f">{1 + array.ndim}I", MAGIC_OF_NDIM[array.ndim], *array.shape)
    return header + array.tobytes()


def parse_idx(data: bytes, name: str) -> np.ndarray:
    """Return the array of bytes, (N,) or (N, H, W), that the IDX file with this content holds.

    Args:
        data: Content of the file.
        name: What an error calls the file.

    Raises:
        UserError: If the content is empty, not IDX of bytes, cut off or too long.
    """
    if not data:
        raise UserError(f"{name} is empty; fetch it again")
    magic = int.from_bytes(data[:4], "big")
    if len(data) >= 4 and magic not in NDIM_OF_MAGIC:
        raise UserError(
            f"{name} is not an IDX file of labels (2049) or images (2051): it starts with {magic};"
            " give the uncompressed file"
        )
    header_size = 4 + 4 * NDIM_OF_MAGIC.get(magic, 0)
    if len(data) < max(header_size, 8):
        raise UserError(f"{name} is cut off within its header; fetch it again")
    shape = struct.unpack_from(f">{NDIM_OF_MAGIC[magic]}I", data, offset=4)
    expected, found = math.prod(shape), len(data) - header_size
    if expected == 0:
        raise UserError(f"{name} holds no data, its shape is {shape}; fetch it again")
    if found != expected:
        fault = "is cut off" if found < expected else "has trailing bytes"
        raise UserError(
            f"{name} {fault}: {found:,} bytes follow its header where its shape {shape} asks for"
            f" {expected:,}; fetch it again"
        )
    # A copy, since a view of `data` could not be written to.
    return np.frombuffer(data, np.uint8, offset=header_size).reshape(shape).copy()


def read_idx(path: str | Path, md5: str | None = None) -> np.ndarray:
    """Return the array of bytes, (N,) or (N, H, W), in an uncompressed IDX file.

    Args:
        path: The file.
        md5: MD5 that it must have, in hexadecimal.

    Raises:
        UserError: If the file is missing, empty, not IDX of bytes, cut off or too long, or another
            than the one with that MD5.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; fetch the data first") from None
    if md5 is not None:
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5.lower():
            raise UserError(
                f"{path} has the MD5 {found}, where {md5.lower()} is expected: something has"
                " replaced it by a file of other data; delete it and run the same command again"
            )
    return parse_idx(data, str(path))
