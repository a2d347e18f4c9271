"""The Wasserstein GANs of Section 5.2, whose critic measures a transport cost."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dgmpipe.models.gan import GAN, Discriminator, GANTask, for_both, frozen, update
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import image_shape_of

__all__ = ["CriticTask", "WGANGPTask", "WGANTask"]


class CriticTask(GANTask):
    """Training by eq. (35): several steps of the critic to each of the generator.

    A subclass creates the optimisers `generator` and `discriminator`, sets `critic_steps`, and says
    how the critic is held to small slopes: by what is added to its loss, or done before or after
    its update.
    """

    critic_steps: int

    def critic_loss(
        self, distance: Tensor, true: Tensor, generated: Tensor, noise: torch.Generator
    ) -> Tensor:
        """Return what the critic minimises, a scalar.

        Args:
            distance: The cost of eq. (35) that the critic finds between the batches, a scalar.
            true: True images (N, C, H, W).
            generated: Generated images (N, C, H, W).
            noise: Random stream, on the CPU.
        """
        return -distance

    def before_update(self) -> None:
        """Do something to the critic before each of its updates."""

    def after_update(self) -> None:
        """Do something to the critic after each of its updates."""

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        generator, critic = self.model.generator, self.model.discriminator
        for _ in range(self.critic_steps):
            true = next(batches)
            self.before_update()
            with torch.no_grad():
                generated = generator(self.latent_points(true, noise))
            distance = critic(generated).mean() - critic(true).mean()
            loss = self.critic_loss(distance, true, generated, noise)
            update(self.optimizers["discriminator"], loss)
            self.after_update()

        with frozen(critic):
            generator_loss = critic(generator(self.latent_points(true, noise))).mean()
        update(self.optimizers["generator"], generator_loss)
        return {"critic_distance": distance.detach(), "generator_loss": generator_loss.detach()}


class WGANTask(CriticTask):
    """Training of the paper's WGAN, arXiv:1701.07875: RMSprop, and a critic that is clipped.

    At each of its steps the critic's parameters are clipped to ±`clip`, those of its batch norms
    only where `clip_batch_norm` is set; before the update where `clip_before_update` is set, so
    that they may exceed `clip` by an update, else after it.
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
        self.optimizers = for_both(model, config, torch.optim.RMSprop, foreach=True)

    def before_update(self) -> None:
        if self.clip_before_update:
            self._clip()

    def after_update(self) -> None:
        if not self.clip_before_update:
            self._clip()

    @torch.no_grad()
    def _clip(self) -> None:
        for parameter in self.clipped:
            parameter.clamp_(-self.clip, self.clip)


class WGANGPTask(CriticTask):
    """Training with a gradient penalty instead of clipping, arXiv:1704.00028: Adam for both.

    The critic has no batch norms: with these its slope at an image depends on the whole batch.
    """

    @staticmethod
    def build(config: Mapping[str, Any]) -> GAN:
        shape = image_shape_of(config)
        generator = Generator(config["latent_dim"], config["width"], shape)
        return GAN(generator, Discriminator(config["width"], shape, batch_norm=False))

    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.critic_steps = config["critic_steps"]
        self.penalty = config["penalty"]
        betas = config["beta_1"], config["beta_2"]
        self.optimizers = for_both(model, config, torch.optim.Adam, betas=betas, fused=True)

    def critic_loss(
        self, distance: Tensor, true: Tensor, generated: Tensor, noise: torch.Generator
    ) -> Tensor:
        """Return −distance + λ E(‖∇f(x)‖ − 1)², at points x between true and generated images."""
        share = torch.rand(len(true), 1, 1, 1, generator=noise).to(true)
        between = torch.lerp(generated, true, share).requires_grad_()
        values = self.model.discriminator(between)
        (slope,) = torch.autograd.grad(values.sum(), between, create_graph=True)
        return -distance + self.penalty * (slope.flatten(1).norm(dim=1) - 1).square().mean()
