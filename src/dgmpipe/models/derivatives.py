"""When derivatives that are written by hand serve."""

from torch import Tensor, compiler, is_autocast_enabled
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd.forward_ad import unpack_dual

from dgmpipe.arguments import in_transform

__all__ = ["by_hand"]


def by_hand(*tensors: Tensor | None) -> bool:
    """Return whether torch does nothing with these tensors but differentiate them backward.

    If not (a transform of `torch.func`, forward mode, autocast), the same has to be done in
    operations of torch, for which it has all rules. Second derivatives are a matter of a function's
    `backward`.
    """
    if compiler.is_compiling():
        return True
    given = [tensor for tensor in tensors if tensor is not None]
    return not (
        in_transform()
        or is_autocast_enabled(given[0].device.type)
        or any(map(is_legacy_batchedtensor, given))
        or any(unpack_dual(tensor).tangent is not None for tensor in given)
    )
