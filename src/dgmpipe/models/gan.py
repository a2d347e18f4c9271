"""The generative adversarial networks of Section 5 and how they are trained."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.evaluation.energy import energy_distance
from dgmpipe.models.convolution import FromChannels, FromOneChannel
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import IMAGE_SHAPE, require_batch
from dgmpipe.training.task import Task

__all__ = ["GAN", "DCGANTask", "Discriminator", "WGANTask"]


class Discriminator(nn.Module):
    """The discriminator of eq. (33) without its sigmoid, which is also the critic of the WGAN.

    Two convolutions with 4×4 stencils and stride 2, each with batch norm and a leaky ReLU (0.2 x
    for negative x, where the paper's formula lacks the x), then a linear layer. With the paper's
    `width=32` it has 36,705 parameters.

    Args:
        width: Channels of the first convolution; the second has twice as many.

    Raises:
        ValueError: If `width` is no whole number or less than 1.

    Example:
        >>> discriminator = Discriminator()
        >>> sum(p.numel() for p in discriminator.parameters())
        36705
        >>> discriminator(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3])
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        width = whole_number(width, "width", 1)
        self.layers = nn.Sequential(
            FromOneChannel(width),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            FromChannels((2 * width, 7, 7), 1),
        )

    def forward(self, x: Tensor | ArrayLike) -> Tensor:
        """Return logits (N,) for images `x` (N, 1, 28, 28) with intensities in [0, 1].

        The layers see the intensities scaled to [−1, 1]. The logit of d_φ(x) is its argument of
        the sigmoid in eq. (33): positive where the discriminator takes the image for a true one.

        Raises:
            ValueError: If `x` is not of shape (N, 1, 28, 28).
        """
        x = require_batch(x, IMAGE_SHAPE, "images", self)
        return self.layers(2 * x - 1)[:, 0]


class GAN(nn.Module):
    """A generator with the discriminator, or critic, that it is trained against.

    Args:
        generator: Maps latent points (N, q) to images (N, 1, 28, 28) with values in (0, 1).
        discriminator: Maps images to logits, or values of the potential, of shape (N,).
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator


class GANTask(Task):
    """What both ways of training have in common: the model and its evaluation."""

    model: GAN

    @staticmethod
    def build(config: Mapping[str, Any]) -> GAN:
        generator = Generator(config["latent_dim"], config["width"])
        return GAN(generator, Discriminator(config["width"]))

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


class DCGANTask(GANTask):
    """Training by eqs. (31) and (32): Adam for both networks, alternating.

    The generator's objective is the saturating one of eq. (32), log(1 − d(g(z))). It is taken at
    new latent points where `fresh_latent_points` is set, else at those that the discriminator has
    just been trained on.
    """

    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.fresh_latent_points = config["fresh_latent_points"]
        self.optimizers = {
            name: torch.optim.Adam(
                network.parameters(),
                lr=config[f"{name}_learning_rate"],
                betas=(config["beta_1"], config["beta_2"]),
                fused=True,
            )
            for name, network in model.named_children()
        }

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        generator, discriminator = self.model.generator, self.model.discriminator
        true = next(batches)
        generated = generator(self.latent_points(true, noise))

        # log(1 − d) is log-sigmoid of minus the logit, so there is no log of zero.
        log_true = F.logsigmoid(discriminator(true)).mean()
        log_false = F.logsigmoid(-discriminator(generated.detach())).mean()
        discriminator_loss = -(log_true + log_false)
        _update(self.optimizers["discriminator"], discriminator_loss)

        if self.fresh_latent_points:
            generated = generator(self.latent_points(true, noise))
        with _frozen(discriminator):
            generator_loss = F.logsigmoid(-discriminator(generated)).mean()
        _update(self.optimizers["generator"], generator_loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
        }


class WGANTask(GANTask):
    """Training by eq. (35), arXiv:1701.07875: several critic steps to each of the generator.

    RMSprop for both networks. At each of its steps the critic's parameters are clipped to
    ±`clip`, those of its batch norms only where `clip_batch_norm` is set; before the update where
    `clip_before_update` is set, so that they may exceed `clip` by an update, else after it.
    """

    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.critic_steps = config["critic_steps"]
        self.clip = config["clip"]
        self.clip_before_update = config["clip_before_update"]
        self.clipped = [
            parameter
            for layer in model.discriminator.layers
            if config["clip_batch_norm"] or not isinstance(layer, nn.BatchNorm2d)
            for parameter in layer.parameters()
        ]
        self.optimizers = {
            name: torch.optim.RMSprop(
                network.parameters(), lr=config[f"{name}_learning_rate"], foreach=True
            )
            for name, network in model.named_children()
        }

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        generator, critic = self.model.generator, self.model.discriminator
        for _ in range(self.critic_steps):
            true = next(batches)
            if self.clip_before_update:
                self._clip()
            with torch.no_grad():
                generated = generator(self.latent_points(true, noise))
            distance = critic(generated).mean() - critic(true).mean()
            _update(self.optimizers["discriminator"], -distance)
            if not self.clip_before_update:
                self._clip()

        with _frozen(critic):
            generator_loss = critic(generator(self.latent_points(true, noise))).mean()
        _update(self.optimizers["generator"], generator_loss)
        return {"critic_distance": distance.detach(), "generator_loss": generator_loss.detach()}

    @torch.no_grad()
    def _clip(self) -> None:
        for parameter in self.clipped:
            parameter.clamp_(-self.clip, self.clip)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Keep the gradients of a network's parameters from being computed."""
    network.requires_grad_(False)
    yield
    network.requires_grad_(True)
