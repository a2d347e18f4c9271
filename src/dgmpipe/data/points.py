"""Points of one's own, from a file."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dgmpipe.errors import UserError

__all__ = ["load_points"]


def load_points(path: str | Path) -> Tensor:
    """Return the points in a file as floats, shape (N, 2).

    Args:
        path: `.npy` with an array (N, 2), or `.csv` with two columns of numbers, with or without
            a line of names.

    Raises:
        UserError: If the file cannot be read, or holds something else.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".npy"):
        raise UserError(f"{path} must be a .csv or an .npy file of points")
    try:
        npy = path.suffix == ".npy"
        values = np.load(path, allow_pickle=False) if npy else _read_csv(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there; name a file of points") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as points: {error}") from error
    if values.ndim != 2 or values.shape[1] != 2 or len(values) < 2:
        raise UserError(f"{path} must hold points of the plane, (N, 2), not {values.shape}")
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise UserError(f"{path} must hold finite numbers only")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _read_csv(path: Path) -> np.ndarray:
    table = pd.read_csv(path, header=None, comment="#")
    first = pd.to_numeric(table.iloc[0], errors="coerce")
    if first.isna().all():  # names of the columns
        table = table.iloc[1:]
    return table.astype(float).to_numpy()
