"""Points of one's own, from a file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dgmpipe.data.files import load_array
from dgmpipe.errors import UserError

__all__ = ["load_points"]


def load_points(path: str | Path) -> Tensor:
    """Return the points in a file, as `load_array` reads it, as floats, shape (N, 2).

    Raises:
        UserError: If the file cannot be read, or holds something else.
    """
    values = load_array(path)
    if values.ndim != 2 or values.shape[1] != 2 or len(values) < 2:
        raise UserError(f"{path} must hold points of the plane, (N, 2), not {values.shape}")
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise UserError(f"{path} must hold finite numbers only")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
