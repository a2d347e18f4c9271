"""Flow matching from white noise to the pixels of images."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dgmpipe.models.image_flow import ImageFlow, ImageFlowTask
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape, image_shape_of
from dgmpipe.models.unet import UNet
from dgmpipe.statistics.energy import energy_distance

__all__ = ["PixelFlow", "PixelFlowTask"]


class PixelFlow(ImageFlow):
    """The flow from white noise to images whose intensities are scaled to [−1, 1].

    Args:
        width: Of the U-Net.
        image_shape: Channels, height and width (C, H, W) of the images.
        solver: As of an `ImageFlow`.
        evaluations: As of an `ImageFlow`.

    Raises:
        ValueError: If `width` is not possible.

    Example:
        >>> PixelFlow(8).sample(3, seed=0).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(
        self,
        width: int = 32,
        image_shape: ImageShape = IMAGE_SHAPE,
        solver: str = "heun",
        evaluations: int = 32,
    ) -> None:
        super().__init__(math.prod(image_shape), image_shape, solver, evaluations)
        self.velocity = UNet(width, image_shape)

    def from_end(self, y: Tensor) -> Tensor:
        return ((y + 1) / 2).clamp(0, 1).view(-1, *self.image_shape)

    def velocity_at(self, y: Tensor, t: Tensor) -> Tensor:
        return self.velocity(y.view(-1, *self.image_shape), t).reshape(len(y), -1)


class PixelFlowTask(ImageFlowTask):
    """Training of a flow of pixels on images."""

    model: PixelFlow

    @staticmethod
    def build(config: Mapping[str, Any]) -> PixelFlow:
        shape = image_shape_of(config)
        return PixelFlow(config["width"], shape, config["solver"], config["evaluations"])

    def ends(self, batch: Tensor) -> Tensor:
        return 2 * batch.flatten(1) - 1

    def evaluate(self, held_out: Tensor, noise: torch.Generator) -> dict[str, float]:
        losses = [self.loss(self.ends(some), noise) for some in held_out.split(500)]
        return {
            "held_out_loss": torch.stack(losses).mean().item(),
            "energy_distance": energy_distance(
                self.model.sample(len(held_out), noise), held_out
            ).value,
        }
