"""A VAE with a choice of approximate posterior, of bound and of likelihood; Section 4.2."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import require_stream, whole_number
from dgmpipe.models.approximation import ApproximatePosterior
from dgmpipe.models.convolution import FromChannels
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape, image_shape_of, require_batch
from dgmpipe.models.posteriors import Family, family_of, push
from dgmpipe.models.vae import VAE, Encoder, VAETask

__all__ = ["FamilyEncoder", "FlexibleVAE", "FlexibleVAETask"]

# Few enough that the activations stay in the cache.
_POINTS_AT_ONCE = 512


class FamilyEncoder(nn.Module):
    """The paper's encoder with as many outputs as a family of posteriors has numbers.

    Args:
        family: Makes a distribution of each code.
        width: Channels of the first convolution; the second has twice as many.
        image_shape: Channels, height and width (C, H, W) of the images.

    Attributes:
        refine: What is done to the codes (N, P) of images (N, C, H, W) in evaluation mode.

    Example:
        >>> encoder = FamilyEncoder(family_of("full_covariance", 2))
        >>> encoder(torch.zeros(3, 1, 28, 28)).scale.shape
        torch.Size([3, 2, 2])
    """

    refine: Callable[[Tensor, Tensor], Tensor] | None = None

    def __init__(
        self, family: Family, width: int = 32, image_shape: ImageShape = IMAGE_SHAPE
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.features = Encoder(1, width, image_shape).features
        _, rows, columns = image_shape
        self.output = FromChannels((2 * width, rows // 4, columns // 4), family.size)
        self.family = family

    def code(self, x: Tensor | ArrayLike) -> Tensor:
        """Return the code (N, P) of each image of `x` (N, C, H, W), before any refinement."""
        x = require_batch(x, self.image_shape, "images", self)
        return self.output(self.features(x))

    def final_code(self, x: Tensor | ArrayLike) -> Tensor:
        """Return the codes (N, P) that posteriors are made of: in evaluation mode refined ones."""
        x = require_batch(x, self.image_shape, "images", self)
        code = self.code(x)
        return code if self.refine is None or self.training else self.refine(code, x)

    def forward(self, x: Tensor | ArrayLike) -> ApproximatePosterior:
        """Return the approximate posteriors of images `x` (N, C, H, W).

        Raises:
            ValueError: If `x` is not of shape (N, C, H, W).
        """
        return self.family(self.final_code(x))


class FlexibleVAE(VAE):
    """A VAE whose posterior, bound and likelihood can be chosen.

    A third likelihood is the Gaussian with the generator's images as means and one learned standard
    deviation of all pixels; its log p(x) is a log density in nats.

    Args:
        encoder: Makes a member of a family of each image.
        generator: As of a `VAE`.
        likelihood: `gaussian` or a key of `dgmpipe.models.vae.LIKELIHOODS`.
        refinement_steps: Steps of Adam by which the bound of each image is raised over its code
            in evaluation mode, arXiv:1802.02550 without derivatives through the steps.
        refinement_rate: Learning rate of the first of them; it falls to 0.

    Raises:
        ValueError: If there is no such likelihood.

    Example:
        >>> vae = FlexibleVAE(FamilyEncoder(family_of("iaf", 2)), Generator())
        >>> vae.bound(torch.rand(3, 1, 28, 28), torch.Generator().manual_seed(0), 5).shape
        torch.Size([3])
    """

    encoder: FamilyEncoder

    def __init__(
        self,
        encoder: FamilyEncoder,
        generator: Generator,
        likelihood: str = "bernoulli",
        refinement_steps: int = 0,
        refinement_rate: float = 0.1,
    ) -> None:
        gaussian = likelihood == "gaussian"
        super().__init__(encoder, generator, "bernoulli" if gaussian else likelihood)
        self.likelihood = likelihood
        if gaussian:
            self.log_deviation = nn.Parameter(torch.tensor(-1.0))
        self.refinement_steps = whole_number(refinement_steps, "refinement_steps", 0)
        self.refinement_rate = refinement_rate
        if refinement_steps:
            encoder.refine = self.refined

    def elbo(self, x: Tensor | ArrayLike, noise: torch.Generator) -> Tensor:
        """Return a one-sample estimate of each image's evidence lower bound, eq. (22)."""
        return self.bound(x, noise)

    def bound(self, x: Tensor | ArrayLike, noise: torch.Generator, samples: int = 1) -> Tensor:
        """Return an estimate of a lower bound of each image's evidence, shape (N,).

        Args:
            x: Images (N, C, H, W) with intensities in [0, 1].
            noise: Random stream on the CPU.
            samples: With 1 the bound is the ELBO; with more that of arXiv:1509.00519. Of a mixture
                each component has as many, weighted as the component is, arXiv:2003.01687.
        """
        x = require_batch(x, self.generator.image_shape, "images", self)
        return self.bound_of(self.encoder(x), x, noise, samples)

    def bound_of(
        self, posterior: ApproximatePosterior, x: Tensor, noise: torch.Generator, samples: int = 1
    ) -> Tensor:
        """Return what `bound` does, of images `x` (N, C, H, W) and their posteriors."""
        require_stream(noise, "noise")
        q = self.generator.latent_dim
        epsilon = torch.randn(len(x), samples, q, generator=noise).to(x)
        return self._bound(posterior, x, epsilon, averaged=samples == 1)

    def _bound(
        self, posterior: ApproximatePosterior, x: Tensor, noise: Tensor, averaged: bool
    ) -> Tensor:
        """Return the mean of log w, or the log of the mean of w, of the points of noise."""
        z, log_density, log_weight = push(posterior, noise)
        images = x.repeat_interleave(z.shape[1] * z.shape[2], dim=0)
        flat = z.flatten(0, 2)
        divergence = posterior.kl_to_standard_normal()
        if averaged and divergence is not None:
            likelihood = self.log_likelihood(flat, images).view(len(x), -1)
            return likelihood.mean(1) - divergence
        values = self.log_joint(flat, images).view(log_density.shape) - log_density
        if averaged:
            return (log_weight.exp() * values.mean(2)).sum(1)
        values = (values + log_weight[..., None]).flatten(1)
        return values.logsumexp(1) - math.log(z.shape[2])

    def refined(self, code: Tensor, x: Tensor) -> Tensor:
        """Return codes (N, P) of images `x` (N, C, H, W) after the steps that raise their bounds.

        The generator is as in evaluation mode. In the place of draws of the noise are ±√q eᵢ, whose
        mean of any polynomial of degree 3 is the normal's.
        """
        q, training = self.generator.latent_dim, self.generator.training
        corners = math.sqrt(q) * torch.eye(q).to(code)
        noise = torch.cat([corners, -corners])
        at_once = max(1, _POINTS_AT_ONCE // len(noise))
        parts = zip(code.detach().split(at_once), x.split(at_once), strict=True)
        self.generator.eval()
        found = [self._climbed(*part, noise) for part in parts]
        self.generator.train(training)
        return torch.cat(found)

    @torch.enable_grad()
    def _climbed(self, code: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        code = code.clone().requires_grad_()
        adam = torch.optim.Adam([code], lr=self.refinement_rate)
        for step in range(self.refinement_steps):
            # Falling to 0, so that the last steps settle.
            adam.param_groups[0]["lr"] = self.refinement_rate * (1 - step / self.refinement_steps)
            bound = self._bound(self.encoder.family(code), x, noise, averaged=True)
            (code.grad,) = torch.autograd.grad(-bound.sum(), code)
            adam.step()
        return code.detach()

    def log_likelihood(self, z: Tensor | ArrayLike, x: Tensor | ArrayLike) -> Tensor:
        """Return log p(x|z), shape (N,), for `z` (N, q) and `x` (N, C, H, W), as of a `VAE`."""
        if self.likelihood != "gaussian":
            return super().log_likelihood(z, x)
        x = require_batch(x, self.generator.image_shape, "images", self)
        z = require_batch(z, (self.generator.latent_dim,), "latent points", self)
        if len(z) != len(x) and 1 not in (len(z), len(x)):
            raise ValueError(f"{len(z)} latent points do not go with {len(x)} images")
        away = (x - self.generator(z)) * torch.exp(-self.log_deviation)
        return self.ceiling(x[:1]) - 0.5 * away.square().sum(dim=(1, 2, 3))

    def ceiling(self, x: Tensor) -> Tensor:
        """Return what log p(x|z) cannot exceed at any z, shape (N,), for `x` (N, C, H, W).

        Of the Gaussian, the log density at its mean: the same for each image.
        """
        if self.likelihood != "gaussian":
            return super().ceiling(x)
        pixels = math.prod(self.generator.image_shape)
        each = -pixels * (self.log_deviation + 0.5 * math.log(2 * math.pi))
        return each.expand(len(x))


class FlexibleVAETask(VAETask):
    """Training of a `FlexibleVAE`: Adam on minus the bound."""

    model: FlexibleVAE

    @staticmethod
    def build(config: Mapping[str, Any]) -> FlexibleVAE:
        q, width, shape = config["latent_dim"], config["width"], image_shape_of(config)
        family = family_of(
            config["posterior"], q, components=config["components"], layers=config["flow_layers"]
        )
        return FlexibleVAE(
            FamilyEncoder(family, width, shape),
            Generator(q, width, shape),
            config["likelihood"],
            config["refinement_steps"],
            config["refinement_rate"],
        )

    def __init__(self, model: FlexibleVAE, config: Mapping[str, Any]) -> None:
        super().__init__(model, config)
        self.samples = config["importance_samples"]
        self.refined = config["train_refined"] and model.refinement_steps > 0

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        model, x = self.model, next(batches)
        self.optimizers["adam"].zero_grad()
        code = model.encoder.code(x)
        loss = -model.bound_of(model.encoder.family(code), x, noise, self.samples).mean()
        if not self.refined:
            loss.backward()
        else:
            # The encoder learns from its own code, and the likelihood from the refined one.
            named = dict(model.named_parameters())
            encoder = [name for name in named if name.startswith("encoder.")]
            loss.backward(inputs=[named.pop(name) for name in encoder])
            posterior = model.encoder.family(model.refined(code, x))
            loss = -model.bound_of(posterior, x, noise, self.samples).mean()
            loss.backward(inputs=[*named.values()])
        self.optimizers["adam"].step()
        return {"loss": loss.detach()}
