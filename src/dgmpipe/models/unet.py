"""A small U-Net: the velocity of images."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.models.convolution import from_image, to_image
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape

__all__ = ["TimeFeatures", "UNet"]

_GROUPS = 8
_FREQUENCIES, _HIGHEST, _FEATURES = 16, 200.0, 64


class TimeFeatures(nn.Module):
    """Features of a time in [0, 1]: sines and cosines, and two linear layers with SiLU.

    Args:
        features: Their number.
    """

    frequencies: Tensor

    def __init__(self, features: int = _FEATURES) -> None:
        super().__init__()
        spread = torch.linspace(0, math.log(_HIGHEST), _FREQUENCIES).exp()
        self.register_buffer("frequencies", spread, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, features),
            nn.SiLU(),
            nn.Linear(features, features),
            nn.SiLU(),
        )

    def forward(self, t: Tensor) -> Tensor:
        """Return the features (N, F) of times `t` (N,)."""
        angles = t[:, None] * self.frequencies
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


class _Block(nn.Module):
    """x + f(x, t), where f has two 3×3 convolutions, each after group norm and SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(_GROUPS, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.of_time = nn.Linear(_FEATURES, channels)
        self.second_norm = nn.GroupNorm(_GROUPS, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # The identity at first, so that depth costs nothing at the start.
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        h = self.first(F.silu(self.first_norm(x))) + self.of_time(features)[:, :, None, None]
        return x + self.second(F.silu(self.second_norm(h)))


class UNet(nn.Module):
    """A velocity v(y, t) of images: a U-Net of four residual blocks, and a multiple of y itself.

    From the image a 4×4 convolution with stride 2 makes `width` channels at half the resolution,
    where there is a block on the way down and one on the way up, and between them two blocks of
    `2 width` channels at a quarter. What the way down had at half the resolution is added on the
    way up. All blocks see the time. With `width=32` it has 256,706 weights.

    Args:
        width: Channels at half the resolution, a multiple of 8.
        image_shape: Channels, height and width (C, H, W) of the images.

    Raises:
        ValueError: If `width` is no multiple of 8.

    Example:
        >>> network = UNet()
        >>> network(torch.zeros(3, 1, 28, 28), torch.zeros(3)).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(self, width: int = 32, image_shape: ImageShape = IMAGE_SHAPE) -> None:
        super().__init__()
        if whole_number(width, "width", 1) % _GROUPS:
            raise ValueError(f"width must be a multiple of {_GROUPS}, not {width}")
        channels = image_shape[0]
        self.time = TimeFeatures()
        self.enter = from_image(channels, width)
        self.down = _Block(width)
        self.shrink = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(_Block(2 * width) for _ in range(2))
        self.grow = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.up = _Block(width)
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.leave = to_image(width, channels)
        self.share = nn.Linear(_FEATURES, 1)
        for last in (self.leave, self.share):  # v = 0 at first
            nn.init.zeros_(last.weight)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        """Return the velocity of images `y` (N, C, H, W) at times `t` (N,), (N, C, H, W)."""
        features = self.time(t)
        half = self.down(self.enter(y), features)
        quarter = self.shrink(half)
        for block in self.middle:
            quarter = block(quarter, features)
        half = self.up(self.grow(quarter) + half, features)
        made = self.leave(F.silu(self.norm(half)))
        return made + self.share(features)[:, :, None, None] * y
