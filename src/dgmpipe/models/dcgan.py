"""The GAN of Section 5.1, whose discriminator tells true images from generated ones."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.models.gan import GAN, GANTask, for_both, frozen, update

__all__ = ["DCGANTask"]


class DCGANTask(GANTask):
    """Training by eqs. (31) and (32): Adam for both networks, alternating.

    The generator's objective is the saturating one of eq. (32), log(1 − d(g(z))). It is taken at
    new latent points where `fresh_latent_points` is set, else at those that the discriminator has
    just been trained on.
    """

    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.fresh_latent_points = config["fresh_latent_points"]
        betas = config["beta_1"], config["beta_2"]
        self.optimizers = for_both(model, config, torch.optim.Adam, betas=betas, fused=True)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        generator, discriminator = self.model.generator, self.model.discriminator
        true = next(batches)
        generated = generator(self.latent_points(true, noise))

        # log(1 − d) is log-sigmoid of minus the logit, so there is no log of zero.
        log_true = F.logsigmoid(discriminator(true)).mean()
        log_false = F.logsigmoid(-discriminator(generated.detach())).mean()
        discriminator_loss = -(log_true + log_false)
        update(self.optimizers["discriminator"], discriminator_loss)

        if self.fresh_latent_points:
            generated = generator(self.latent_points(true, noise))
        with frozen(discriminator):
            generator_loss = F.logsigmoid(-discriminator(generated)).mean()
        update(self.optimizers["generator"], generator_loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
        }
