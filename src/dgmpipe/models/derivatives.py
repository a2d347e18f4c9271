"""When derivatives that are written by hand serve."""

from torch import Tensor, compiler, is_autocast_enabled
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from dgmpipe.arguments import in_transform

__all__ = ["by_hand"]


def by_hand(*tensors: Tensor) -> bool:
    """Return whether torch does nothing now but differentiate backward, one gradient at a time.

    If not (a transform of `torch.func`, forward mode, several gradients at once, autocast), the
    same has to be done in operations of torch, for which it has all rules. torch has no public
    function that tells; the tests go through all of these ways.

    Args:
        tensors: Any that are given, or in a `backward` all gradients.
    """
    return compiler.is_compiling() or not (
        in_transform()
        or forward_ad._current_level >= 0
        or is_autocast_enabled(tensors[0].device.type)
        or any(map(is_legacy_batchedtensor, tensors))
    )
