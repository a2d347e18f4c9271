"""What surrounds convolutions of many channels, so that these keep the channels last in memory.

The kernels that serve `nn.Conv2d` on a CPU work on many channels at once; with one they take five
times as long as a matrix product with all 4×4 patches of the images. And where the channels of a
value are last but those of its gradient are not, what goes element by element takes four times as
long.

Their derivatives by hand can be differentiated again; where torch differentiates in other ways than
backward, or chooses the precision, its own convolutions take their place.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.models.derivatives import by_hand

__all__ = [
    "FromChannels",
    "FromOneChannel",
    "ToChannels",
    "ToOneChannel",
    "from_image",
    "to_image",
]

STENCIL, STRIDE, PADDING = 4, 2, 1


class FromOneChannel(nn.Conv2d):
    """`nn.Conv2d` from 1 channel, with a 4×4 stencil and stride 2: (N, 1, 2a, 2b) -> (N, C, a, b).

    Args:
        channels: Their number C in the output.
        bias: Whether a constant is added to each.
    """

    def __init__(self, channels: int, bias: bool = True) -> None:
        super().__init__(1, channels, STENCIL, STRIDE, PADDING, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of images `x`, in memory with the channels last."""
        if not by_hand(x):
            return super().forward(x)
        return _PatchesTimes.apply(x, self.weight.flatten(1), self.bias)


class ToOneChannel(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` to 1 channel, likewise: (N, C, a, b) -> (N, 1, 2a, 2b).

    Args:
        channels: Their number C in the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, STENCIL, STRIDE, PADDING)

    def forward(self, h: Tensor) -> Tensor:  # type: ignore[override] # one size of output here
        """Return the images that a layer `h` makes."""
        if not by_hand(h):
            return super().forward(h)
        return _SumOfPatches.apply(h, self.weight.flatten(1)) + self.bias


def from_image(image_channels: int, channels: int, bias: bool = True) -> nn.Conv2d:
    """Return the convolution with a 4×4 stencil and stride 2 from the channels of images."""
    if image_channels == 1:
        return FromOneChannel(channels, bias)
    return nn.Conv2d(image_channels, channels, STENCIL, STRIDE, PADDING, bias=bias)


def to_image(channels: int, image_channels: int) -> nn.ConvTranspose2d:
    """Return the transposed convolution, likewise, to the channels of images."""
    if image_channels == 1:
        return ToOneChannel(channels)
    return nn.ConvTranspose2d(channels, image_channels, STENCIL, STRIDE, PADDING)


class FromChannels(nn.Linear):
    """`nn.Linear` of all values of a layer: (N, C, a, b) -> (N, out_features).

    The weight has the columns that it has for `h.flatten(1)`.

    Args:
        layer: Shape (C, a, b) of the layer.
        out_features: Values that it returns.
    """

    def __init__(self, layer: tuple[int, int, int], out_features: int) -> None:
        super().__init__(math.prod(layer), out_features)
        self.layer = layer

    def forward(self, h: Tensor) -> Tensor:
        """Return the linear map of a layer `h`."""
        weight = self.weight.view(-1, *self.layer).permute(0, 2, 3, 1)
        return F.linear(h.permute(0, 2, 3, 1).flatten(1), weight.flatten(1), self.bias)


class ToChannels(nn.Linear):
    """`nn.Linear` to all values of a layer: (N, in_features) -> (N, C, a, b).

    The weight has the rows that it has where `nn.Unflatten` follows.

    Args:
        in_features: Values that it takes.
        layer: Shape (C, a, b) of the layer.
    """

    def __init__(self, in_features: int, layer: tuple[int, int, int]) -> None:
        super().__init__(in_features, math.prod(layer))
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer, in memory with the channels last."""
        channels, a, b = self.layer
        weight = self.weight.view(channels, a * b, -1).transpose(0, 1).flatten(0, 1)
        bias = self.bias.view(channels, a * b).T.flatten()
        return F.linear(x, weight, bias).view(-1, a, b, channels).permute(0, 3, 1, 2)


class _PatchesTimes(torch.autograd.Function):
    """Each patch of images (N, 1, 2a, 2b) times each row of `weight` (C, 16): (N, C, a, b)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        patches = _patches(x)
        rows = patches.T @ weight.T if bias is None else torch.addmm(bias, patches.T, weight.T)
        return _channels_second(rows, x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # From the saved input, not from its patches: so second derivatives are right as well.
        x, weight = ctx.saved_tensors
        rows = _channels_last(gradient)
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _put_together(rows @ weight, x.shape) if for_x else None,
            (_patches(x) @ rows).T if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )


class _SumOfPatches(torch.autograd.Function):
    """The adjoint: the patches that `weight` (C, 16) makes of `h` (N, C, a, b), added up."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        rows = _channels_last(h)
        n, _, a, b = h.shape
        return _put_together(rows @ weight, (n, 1, STRIDE * a, STRIDE * b))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        h, weight = ctx.saved_tensors
        patches = _patches(gradient)
        for_h, for_weight = ctx.needs_input_grad
        return (
            _channels_second(patches.T @ weight.T, gradient.shape) if for_h else None,
            (patches @ _channels_last(h)).T if for_weight else None,
        )


def _patches(x: Tensor) -> Tensor:
    """The patch that the stencil sees at each place: (N, 1, 2a, 2b) -> (16, N a b)."""
    patches = F.pad(x[:, 0], (PADDING,) * 4)
    for dim in (1, 2):
        patches = patches.unfold(dim, STENCIL, STRIDE)
    # In this order the copy goes along the images, the other way in steps of 4.
    return patches.permute(3, 4, 0, 1, 2).reshape(STENCIL**2, -1)


def _put_together(patches: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Add patches (N a b, 16), which overlap, up to images of a shape (N, 1, 2a, 2b)."""
    n, _, height, width = shape
    columns = patches.view(n, height * width // STRIDE**2, STENCIL**2).transpose(1, 2)
    return F.fold(columns, (height, width), STENCIL, padding=PADDING, stride=STRIDE)


def _channels_last(h: Tensor) -> Tensor:
    return h.permute(0, 2, 3, 1).reshape(-1, h.shape[1])


def _channels_second(rows: Tensor, images: tuple[int, ...]) -> Tensor:
    n, _, height, width = images
    channels = rows.shape[1]
    return rows.view(n, height // STRIDE, width // STRIDE, channels).permute(0, 3, 1, 2)
