"""How near real images are to held-out ones: the level that Figure 11 and the pages show."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["floor_level"]


def floor_level(distances: ArrayLike) -> float:
    """Return the 95% quantile of energy distances of draws of real images, shape (R,)."""
    return float(np.quantile(np.asarray(distances), 0.95))
