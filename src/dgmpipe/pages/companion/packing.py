"""Packs arrays into the text of a page."""

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["encoded", "packed_snapshots"]

# A page shows no more of an image of a training, nor of a point, than these tell apart.
_GREY_LEVELS = 10
_PLACES = 4096


def encoded(data: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> str:
    """Return bytes as text that a script in a page may have, deflated and in base 85.

    That takes a sixteenth less than base 64. A comma stands for "<", which could end a script.

    Args:
        data: The bytes.
        strategy: Of zlib; Z_HUFFMAN_ONLY where nothing is ever repeated but by chance.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    packed = deflate.compress(data) + deflate.flush()
    return base64.b85encode(packed).decode().replace("<", ",")


def packed_snapshots(path: Path) -> dict[str, Any] | None:
    """Return the snapshots of a training, a `snapshots.npz`, as the page reads them.

    Images have ten grey levels, the coordinates of points 4,096 places.

    Returns:
        None if the training kept none.
    """
    with np.load(path) as arrays:
        steps, samples = arrays["steps"], arrays["samples"]
    if samples.size == 0:
        return None
    found = {"steps": steps.tolist(), "shape": list(samples.shape)}
    if samples.dtype == np.uint8:
        levels = np.round(samples * ((_GREY_LEVELS - 1) / 255)).astype(np.uint8)
        # The steps of a pixel one after the other, as it changes little from one to the next.
        packed = encoded(np.moveaxis(levels, 0, -1).tobytes())
        return found | {"levels": _GREY_LEVELS, "data": packed}
    low, high = float(samples.min()), float(samples.max())
    places = np.round((samples - low) * ((_PLACES - 1) / max(high - low, 1e-12))).astype("<u2")
    # First bytes first, which deflate well.
    planes = places.view(np.uint8).reshape(-1, 2).T.tobytes()
    return found | {"range": [low, high], "data": encoded(planes)}
