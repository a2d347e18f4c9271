"""Arrays of one's own in files."""

import csv
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from dgmpipe.errors import UserError

__all__ = ["load_array"]


def load_array(path: str | Path, name: str = "samples") -> np.ndarray:
    """Return the array in a .npy file, under a name in a .npz file, or a .csv file's columns.

    Args:
        path: The file. A .csv file has commas between its columns, and one line of titles or none.
        name: Name of the array in a .npz file.

    Returns:
        Its numbers, of a .csv file as doubles (N, columns).

    Raises:
        UserError: If the file is missing, damaged, of another kind or not of numbers.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} must be a .npy, .npz or .csv file")
    try:
        return readers[path.suffix.lower()](path, name)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a .npy, .npz or .csv file") from None
    except (ValueError, EOFError, BadZipFile, zlib.error, csv.Error) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path} is not a whole {path.suffix} file of numbers: {reason}") from error


def _read_npy(path: Path, name: str) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file)


def _read_npz(path: Path, name: str) -> np.ndarray:
    with ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            there = ", ".join(member.removesuffix(".npy") for member in archive.namelist())
            raise UserError(f"{path} has no array '{name}', it has {there or 'none'}")
        with archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file)


def _read_csv(path: Path, name: str) -> np.ndarray:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not any(map(_is_number, rows[0])):
        del rows[0]
    if not rows:
        raise ValueError("it has no rows")
    for at, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {at + 1} has {len(row)} columns, the first has {len(rows[0])}")
    return np.array(rows, dtype=np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
