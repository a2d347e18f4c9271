"""Independent random streams, each made from a seed and its purpose."""

import hashlib

import torch

from dgmpipe.arguments import whole_number

__all__ = ["random_stream", "stream_seed"]


def stream_seed(seed: int, purpose: str) -> int:
    """Return the 63-bit seed of the stream for `purpose` under the run's `seed`.

    Hashing keeps the streams of neighbouring seeds and of different purposes unrelated, and a
    new purpose leaves the old ones as they are.

    Raises:
        ValueError: If `seed` is no whole number.

    Example:
        >>> stream_seed(0, "noise") == stream_seed(0, "noise")
        True
        >>> stream_seed(0, "noise") == stream_seed(1, "noise")
        False
    """
    digest = hashlib.sha256(f"{whole_number(seed, 'seed')}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_stream(seed: int, purpose: str) -> torch.Generator:
    """Return a generator on the CPU, so that every device sees the same random numbers."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose))
