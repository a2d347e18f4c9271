"""What flows are measured at and by, for the pages as well, which do not wait for torch."""

import numpy as np
from scipy import ndimage

__all__ = ["KDE_POINTS", "RK4_STEPS", "joined_at"]

# Runge-Kutta steps at which OT-Flow's inverse error is measured.
RK4_STEPS = (1, 2, 4, 8, 16, 32, 64)
# Points of which kernel density estimates are made, to compare their divergence with a flow's.
# Other draws of 2,000 points have divergences of 0.053 to 0.059 nats (4 seeds, noise 0.05).
KDE_POINTS = (500, 2000)


def joined_at(log_density: np.ndarray, true_log_density: np.ndarray) -> float:
    """Return how low a path between the moons must go, as a share of the density's maximum.

    Args:
        log_density: A learned log density on a grid, shape (R, R).
        true_log_density: The true one on the same grid; it has the moons where it is above a
            hundredth of its maximum, or the least share beyond at which there are two of them.

    Returns:
        The highest level at which the points of greater density join the learned density's
        highest points on either moon; 1 where the true density has one hill.
    """
    depths = np.linspace(np.log(100), 0, 50)
    labelled = (ndimage.label(true_log_density > true_log_density.max() - d) for d in depths)
    moons = next((labels for labels, count in labelled if count == 2), None)
    if moons is None:
        return 1.0
    highest = [int(np.where(moons == moon, log_density, -np.inf).argmax()) for moon in (1, 2)]
    high = log_density.flat[highest].min()
    if np.isneginf(high):  # a moon without any density
        return 0.0
    low = min(high, log_density[np.isfinite(log_density)].min())  # where it is 0 there is no path
    while high - low > 1e-3:
        level = (low + high) / 2
        regions = ndimage.label(log_density >= level)[0].flat[highest]
        low, high = (level, high) if regions[0] == regions[1] else (low, level)
    return float(np.exp(low - log_density.max()))
