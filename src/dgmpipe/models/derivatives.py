"""When derivatives that are written by hand serve."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from dgmpipe.arguments import in_transform

__all__ = ["autocast_type", "by_hand", "without_autocast"]


def autocast_type(device: torch.device) -> torch.dtype | None:
    """Return the type that autocast now converts to on a device, or nothing if it is off."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on a device."""
    if autocast_type(device) is None:
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def by_hand(*tensors: Tensor) -> bool:
    """Return whether torch does nothing now but differentiate backward, one gradient at a time.

    If not (a transform of `torch.func`, forward mode, several gradients at once, autocast), the
    same has to be done in operations of torch, for which it has all rules. torch has no public
    function that tells; the tests go through all of these ways.

    Args:
        tensors: Any that are given, or in a `backward` all gradients.
    """
    return torch.compiler.is_compiling() or not (
        in_transform()
        or forward_ad._current_level >= 0
        or autocast_type(tensors[0].device) is not None
        or any(map(is_legacy_batchedtensor, tensors))
    )
