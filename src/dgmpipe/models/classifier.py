"""A small classifier of digits that rejects what shows none, and how it is trained.

It judges the generators' images. `dgmpipe.evaluation.judge` measures how well, and says what is
required of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.data.made_up import no_digits, with_no_digits
from dgmpipe.models.convolution import FromChannels, FromOneChannel
from dgmpipe.models.inputs import IMAGE_SHAPE, require_batch
from dgmpipe.models.task import Task

__all__ = ["Classifier", "ClassifierTask"]


class Classifier(nn.Module):
    """A convolutional classifier of the ten digits and of what is none, like the discriminator.

    Two convolutions with 4×4 stencils and stride 2, each with batch norm and a ReLU, then a
    linear layer with a ReLU, whose values are the features, and one that makes the logits of them:
    of the digits 0 to 9, then of an image that shows none.

    Args:
        width: Channels of the first convolution; the second has twice as many, and there are
            four times as many features.

    Raises:
        ValueError: If `width` is no whole number or less than 1.

    Example:
        >>> classifier = Classifier(width=16)
        >>> sum(p.numel() for p in classifier.parameters())
        109675
        >>> classifier(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 11])
        >>> classifier.features(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 64])

    Attributes:
        reject: The class of an image without a digit, 10.
    """

    reject = 10

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        width = whole_number(width, "width", 1)
        # The batch norms take a constant of the convolutions out again.
        self.layers = nn.Sequential(
            FromOneChannel(width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            FromChannels((2 * width, 7, 7), 4 * width),
            nn.ReLU(),
        )
        self.output = nn.Linear(4 * width, self.reject + 1)

    def features(self, x: Tensor | ArrayLike) -> Tensor:
        """Return the features (N, 4 width), none negative, of images `x` (N, 1, 28, 28).

        Args:
            x: Intensities in [0, 1].

        Raises:
            ValueError: If `x` is not of shape (N, 1, 28, 28).
        """
        x = require_batch(x, IMAGE_SHAPE, "images", self)
        return self.layers(x)

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """Return the logits (N, 11) of images `x` (N, 1, 28, 28), as `output` makes of features."""
        return self.output(self.features(x))


class ClassifierTask(Task):
    """Training of the classifier: Adam on the cross entropy.

    Beside the digits of a batch stand images that show none (`with_no_digits`).
    """

    model: Classifier

    @staticmethod
    def build(config: Mapping[str, Any]) -> Classifier:
        return Classifier(config["width"])

    def __init__(self, model: Classifier, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizers = {
            "adam": torch.optim.Adam(model.parameters(), lr=config["learning_rate"], fused=True)
        }

    def step(
        self, batches: Iterator[tuple[Tensor, Tensor]], noise: torch.Generator
    ) -> dict[str, Tensor]:
        images, classes = with_no_digits(*next(batches), self.model.reject, noise)
        loss = F.cross_entropy(self.model(images), classes)
        optimizer = self.optimizers["adam"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    def evaluate(self, held_out: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, float]:
        """Return what it makes of real images, and the share of made-up ones that it rejects."""
        images, labels = held_out
        logits = torch.cat([self.model(x) for x in images.split(500)])
        # With strides, as the images may be in the order of their classes.
        runs = -(-len(images) // 500)
        made_up = (no_digits(images[k::runs], labels[k::runs], noise) for k in range(runs))
        rejected = [self.model(x).argmax(1) == self.model.reject for x in made_up]
        return {
            "held_out_cross_entropy": F.cross_entropy(logits, labels).item(),
            "held_out_accuracy": (logits.argmax(1) == labels).float().mean().item(),
            "made_up_rejected": torch.cat(rejected).float().mean().item(),
        }
