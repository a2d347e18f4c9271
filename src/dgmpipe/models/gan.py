"""The generative adversarial networks of Section 5, and what all ways to train them share."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import whole_number
from dgmpipe.data.batches import to_bytes
from dgmpipe.models.convolution import FromChannels, from_image
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape, image_shape_of, require_batch
from dgmpipe.models.task import Task
from dgmpipe.statistics.energy import energy_distance

__all__ = ["GAN", "Discriminator", "GANTask", "for_both", "frozen", "update"]


class Discriminator(nn.Module):
    """The discriminator of eq. (33) without its sigmoid, which is also the critic of the WGAN.

    Two convolutions with 4×4 stencils and stride 2, each with batch norm and a leaky ReLU (0.2 x
    for negative x, where the paper's formula lacks the x), then a linear layer. With the paper's
    `width=32` it has 36,705 parameters.

    Args:
        width: Channels of the first convolution; the second has twice as many.
        image_shape: Channels, height and width (C, H, W) of the images.
        batch_norm: Whether there are batch norms, with which a value depends on the whole batch.

    Raises:
        ValueError: If `width` is no whole number or less than 1.

    Example:
        >>> discriminator = Discriminator()
        >>> sum(p.numel() for p in discriminator.parameters())
        36705
        >>> discriminator(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3])
    """

    def __init__(
        self, width: int = 32, image_shape: ImageShape = IMAGE_SHAPE, *, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        channels, rows, columns = image_shape
        width = whole_number(width, "width", 1)
        self.layers = nn.Sequential(
            from_image(channels, width),
            nn.BatchNorm2d(width) if batch_norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width) if batch_norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            FromChannels((2 * width, rows // 4, columns // 4), 1),
        )

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """Return logits (N,) for images `x` (N, C, H, W) with intensities in [0, 1].

        The layers see the intensities scaled to [−1, 1]. The logit of d_φ(x) is its argument of
        the sigmoid in eq. (33): positive where the discriminator takes the image for a true one.

        Raises:
            ValueError: If `x` is not of shape (N, C, H, W).
        """
        x = require_batch(x, self.image_shape, "images", self)
        return self.layers(2 * x - 1)[:, 0]


class GAN(nn.Module):
    """A generator with the discriminator, or critic, that it is trained against.

    Args:
        generator: Maps latent points (N, q) to images (N, C, H, W) with values in (0, 1).
        discriminator: Maps images to logits, or values of the potential, of shape (N,).
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def sample(  # only for users
        self, n: int, generator: torch.Generator | None = None, *, seed: int | None = None
    ) -> Tensor:
        """Return `n` images of the generator, shape (n, C, H, W); see `Generator.sample`."""
        return self.generator.sample(n, generator, seed=seed)


class GANTask(Task):
    """What all ways of training have in common: the model and its evaluation."""

    model: GAN

    @staticmethod
    def build(config: Mapping[str, Any]) -> GAN:
        shape = image_shape_of(config)
        generator = Generator(config["latent_dim"], config["width"], shape)
        return GAN(generator, Discriminator(config["width"], shape))

    @abstractmethod
    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None: ...

    def latent_points(self, like: Tensor, noise: torch.Generator) -> Tensor:
        """Draw as many points of N(0, I) as there are images in a batch, on its device."""
        size = len(like), self.model.generator.latent_dim
        return torch.randn(size, generator=noise).to(like)

    def evaluate(self, held_out: Tensor, noise: torch.Generator) -> dict[str, float]:
        z = self.latent_points(held_out, noise)
        generated = torch.cat([self.model.generator(some) for some in z.split(500)])
        return {"energy_distance": energy_distance(generated, held_out).value}

    def snapshot(self, noise: torch.Generator) -> Tensor:
        return to_bytes(self.model.sample(9, noise))


def for_both(
    model: GAN,
    config: Mapping[str, Any],
    kind: Callable[..., torch.optim.Optimizer],
    **options: Any,
) -> dict[str, torch.optim.Optimizer]:
    """Return an optimiser of each network, with the learning rate that the config gives it."""
    return {
        name: kind(network.parameters(), lr=config[f"{name}_learning_rate"], **options)
        for name, network in model.named_children()
    }


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Do a step of an optimiser on a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Keep the gradients of a network's parameters from being computed."""
    network.requires_grad_(False)
    yield
    network.requires_grad_(True)
