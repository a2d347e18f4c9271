"""The variational autoencoder of Section 4 and how it is trained."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import require_stream, whole_number
from dgmpipe.data.batches import to_bytes
from dgmpipe.models.approximation import DiagonalGaussian
from dgmpipe.models.convolution import FromChannels, from_image
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape, image_shape_of, require_batch
from dgmpipe.models.task import Task

__all__ = ["LIKELIHOODS", "VAE", "Encoder", "VAETask"]


def log_partition(logits: Tensor) -> Tensor:
    """Return log ∫₀¹ exp(x l) dx = log((eˡ − 1)/l), elementwise, for the logits l of λ.

    A pixel's log density under the continuous Bernoulli, arXiv:1907.06845, is x l minus this. It
    is softplus(l), what the Bernoulli has here, minus the log of that paper's normalising
    constant C(λ). Its derivative is the mean of the pixel, which is not λ.
    """
    size = logits.abs()
    is_small = size < 0.2
    square = torch.where(is_small, size, 0).square()
    # log(sinh(h)/h) for h = l/2, whose closed form has no derivative at 0.
    series = square / 24 * (1 - square / 120 * (1 - square * 4 / 252 * (1 - square * 3 / 160)))
    large = torch.where(is_small, 1, size)
    closed = logits.relu() + torch.log(-torch.expm1(-large) / large)
    return torch.where(is_small, logits / 2 + series, closed)


# Of each likelihood of an intensity x in [0, 1]: the function A of log p(x|z) = x l − A(l) for a
# pixel of logit l. The Bernoulli's are no densities of grey values, for these integrate to less
# than 1: it is a pseudo-likelihood of them.
LIKELIHOODS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "bernoulli": F.softplus,
    "continuous_bernoulli": log_partition,
}


class Encoder(nn.Module):
    """The encoder of eqs. (27)-(28): mean and log variance of the approximate posterior.

    Two convolutions with 4×4 stencils and stride 2, then a linear layer for each of the two
    outputs. With the paper's `latent_dim=2` and `width=32` it has 45,924 parameters.

    Args:
        latent_dim: Dimension q of the latent space.
        width: Channels of the first convolution; the second has twice as many.
        image_shape: Channels, height and width (C, H, W) of the images.

    Raises:
        ValueError: If `latent_dim` or `width` is no whole number or less than 1.

    Example:
        >>> encoder = Encoder()
        >>> sum(p.numel() for p in encoder.parameters())
        45924
        >>> posterior = encoder(torch.zeros(3, 1, 28, 28))
        >>> posterior.mean.shape, posterior.log_variance.shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(
        self, latent_dim: int = 2, width: int = 32, image_shape: ImageShape = IMAGE_SHAPE
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        channels, rows, columns = image_shape
        latent_dim = whole_number(latent_dim, "latent_dim", 1)
        width = whole_number(width, "width", 1)
        self.features = nn.Sequential(
            from_image(channels, width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
        )
        layer = (2 * width, rows // 4, columns // 4)
        self.mean = FromChannels(layer, latent_dim)
        self.log_variance = FromChannels(layer, latent_dim)

    def forward(self, x: Tensor | ArrayLike) -> DiagonalGaussian:
        """Return the approximate posteriors of eq. (24) for images `x` (N, C, H, W).

        Raises:
            ValueError: If `x` is not of shape (N, C, H, W).
        """
        x = require_batch(x, self.image_shape, "images", self)
        features = self.features(x)
        return DiagonalGaussian(self.mean(features), self.log_variance(features))


class VAE(nn.Module):
    """A generator with the encoder that approximates its posterior, arXiv:1312.6114.

    The prior is N(0, I), and the approximate posterior is what the encoder returns: with `Encoder`
    the Gaussian of eq. (24), with covariance exp(Σ), so with standard deviation exp(Σ/2), not the
    exp(Σ) of the paper's eq. (25).

    Two likelihoods can be chosen for intensities x in [0, 1]. That of eq. (4) is the probability of
    black and white pixels; of grey values it is a pseudo-likelihood, which does not integrate to 1.
    Then log p(x) is no log density: it has a `ceiling` that the image sets, and it can be compared
    with other values of its kind only. The continuous Bernoulli, arXiv:1907.06845, is eq. (4)
    normalised, and log p(x) is in nats. With either the generator's images are the parameter λ;
    the mean of the Bernoulli is λ, that of the continuous Bernoulli is nearer to 1/2.

    Args:
        encoder: Maps images (N, C, H, W) to an `ApproximatePosterior`.
        generator: Has `image_shape` and `logits`, mapping latent points (N, q) to (N, C, H, W).
        likelihood: A key of `LIKELIHOODS`.

    Raises:
        ValueError: If there is no such likelihood.

    Example:
        >>> vae = VAE(Encoder(), Generator())
        >>> vae.elbo(torch.rand(5, 1, 28, 28), torch.Generator().manual_seed(0)).shape
        torch.Size([5])
    """

    def __init__(
        self, encoder: nn.Module, generator: Generator, likelihood: str = "bernoulli"
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be {' or '.join(LIKELIHOODS)}, not '{likelihood}'")
        self.encoder = encoder
        self.generator = generator
        self.likelihood = likelihood

    def elbo(self, x: Tensor | ArrayLike, noise: torch.Generator) -> Tensor:
        """Return a one-sample estimate of each image's evidence lower bound, eq. (22).

        The divergence of approximate posterior and prior is in closed form where there is one, and
        else estimated by the same sample.

        Args:
            x: Images (N, C, H, W) with intensities in [0, 1].
            noise: Random stream of the reparametrisation; on the CPU, so that every device
                sees the same numbers.

        Returns:
            The estimate, shape (N,), unbiased for the ELBO.
        """
        require_stream(noise, "noise")
        x = require_batch(x, self.generator.image_shape, "images", self)
        posterior = self.encoder(x)
        z = posterior.rsample(noise)
        divergence = posterior.kl_to_standard_normal()
        if divergence is None:
            return self.log_joint(z, x) - posterior.log_prob(z)
        return self.log_likelihood(z, x) - divergence

    def log_likelihood(self, z: Tensor | ArrayLike, x: Tensor | ArrayLike) -> Tensor:
        """Return log p(x|z), shape (N,), for `z` (N, q) and `x` (N, C, H, W).

        By eq. (4), which is a pseudo-likelihood of grey values, or in nats by the continuous
        Bernoulli. Either of the two may hold a single row, which then goes with each row of the
        other.

        Raises:
            ValueError: If the shapes are others, or do not go together.
        """
        x = require_batch(x, self.generator.image_shape, "images", self)
        z = require_batch(z, (self.generator.latent_dim,), "latent points", self)
        if len(z) != len(x) and 1 not in (len(z), len(x)):
            raise ValueError(f"{len(z)} latent points do not go with {len(x)} images")
        logits = self.generator.logits(z)
        # x l − softplus(l) is x log g + (1−x) log(1−g) for g = sigmoid(l), with no log of zero.
        return (x * logits - LIKELIHOODS[self.likelihood](logits)).sum(dim=(1, 2, 3))

    def ceiling(self, x: Tensor) -> Tensor:
        """Return what log p(x|z) cannot exceed at any z, shape (N,), for `x` (N, C, H, W).

        Of the Bernoulli, minus the entropy of the pixels: Σ x log x + (1−x) log(1−x), as if the
        generator made x itself. The continuous Bernoulli's density has none, as it grows without
        limit at black and at white: inf.
        """
        if self.likelihood == "bernoulli":
            return (torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum(dim=(1, 2, 3))
        return torch.full((len(x),), math.inf).to(x)

    def log_joint(self, z: Tensor | ArrayLike, x: Tensor | ArrayLike) -> Tensor:
        """Return log p(x, z) = log p(x|z) + log p(z), shape (N,), as in eq. (20).

        Either of `z` (N, q) and `x` (N, C, H, W) may hold a single row.
        """
        z = require_batch(z, (self.generator.latent_dim,), "latent points", self)
        log_prior = -0.5 * z.square().sum(dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return self.log_likelihood(z, x) + log_prior

    def sample(  # only for users
        self, n: int, generator: torch.Generator | None = None, *, seed: int | None = None
    ) -> Tensor:
        """Return `n` images of the generator, shape (n, C, H, W); see `Generator.sample`."""
        return self.generator.sample(n, generator, seed=seed)


class VAETask(Task):
    """Training of the VAE: Adam on −ELBO, one sample per image, eqs. (23) and (26)."""

    model: VAE

    @staticmethod
    def build(config: Mapping[str, Any]) -> VAE:
        size = {
            "latent_dim": config["latent_dim"],
            "width": config["width"],
            "image_shape": image_shape_of(config),
        }
        # Models that were trained before there was a choice have the paper's.
        return VAE(Encoder(**size), Generator(**size), config.get("likelihood", "bernoulli"))

    def __init__(self, model: VAE, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizers = {
            "adam": torch.optim.Adam(
                model.parameters(),
                lr=config["learning_rate"],
                weight_decay=config["weight_decay"],
                fused=True,
            )
        }

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        loss = -self.model.elbo(next(batches), noise).mean()
        optimizer = self.optimizers["adam"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    def evaluate(self, held_out: Tensor, noise: torch.Generator) -> dict[str, float]:
        negative_elbo = [-self.model.elbo(x, noise) for x in held_out.split(500)]
        return {"held_out_negative_elbo": torch.cat(negative_elbo).mean().item()}

    def snapshot(self, noise: torch.Generator) -> Tensor:
        return to_bytes(self.model.sample(9, noise))
