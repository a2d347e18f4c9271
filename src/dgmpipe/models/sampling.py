"""The random stream that a user's sample of a trained model is drawn from."""

from typing import Any

import torch

from dgmpipe.arguments import require_stream, whole_number

__all__ = ["stream_of"]


def stream_of(generator: torch.Generator | None, seed: Any) -> torch.Generator | None:
    """Return the stream that is given, or a new one of a seed; neither is torch's own, None.

    Raises:
        ValueError: If both are given, `generator` is no stream on the CPU, or `seed` is no whole
            number from 0 to 2**63 - 1.
    """
    if generator is not None:
        require_stream(generator, "generator")
    if seed is None:
        return generator
    if generator is not None:
        raise ValueError("give a generator or a seed, not both")
    if whole_number(seed, "seed", 0) >= 2**63:
        raise ValueError(f"seed must be at most 2**63 - 1, not {seed}")
    return torch.Generator().manual_seed(int(seed))
