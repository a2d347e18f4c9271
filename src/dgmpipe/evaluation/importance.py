"""Evidence of a VAE with any number of latent dimensions, by sampling its approximate posterior."""

import math
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dgmpipe.arguments import require_stream, whole_number
from dgmpipe.evaluation.posterior import Estimate, require_intensities
from dgmpipe.models.vae import VAE

__all__ = ["ImportanceWeighted", "importance_weighted"]

# Few enough that the activations stay in the cache.
_POINTS_AT_ONCE = 512


@dataclass(frozen=True)
class ImportanceWeighted:
    """Two lower bounds of log p(x) of each image, from the same draws of e(z|x).

    Attributes:
        log_evidence: The bound of arXiv:1509.00519, which rises with the number of draws to
            log p(x), with its standard error by the delta method.
        rise: By how much it exceeds the bound with half as many draws, shape (N,): about what it
            still lacks to log p(x) if the draws are many and reach all of the posterior, else less.
        effective_samples: How many draws of the posterior itself would be as good, (Σw)²/Σw², shape
            (N,). If few, neither error nor rise can be relied on.
        elbo: The evidence lower bound, eq. (22), with its standard error; never above the other.
    """

    log_evidence: Estimate
    rise: Tensor
    effective_samples: Tensor
    elbo: Estimate


@torch.no_grad()
def importance_weighted(
    vae: VAE, images: Tensor | ArrayLike, *, num_samples: int, noise: torch.Generator
) -> ImportanceWeighted:
    """Estimate bounds of log p(x) with the weights w = p(x, z)/e(z|x) of draws z of e(z|x).

    The mean of w is unbiased for p(x), so its log is too small on average, arXiv:1509.00519. The
    mean of log w is the ELBO.

    Args:
        vae: Trained, in evaluation mode.
        images: Intensities in [0, 1], shape (N, C, H, W).
        num_samples: Draws K an image, at least 2.
        noise: Random stream, on the CPU.

    Raises:
        ValueError: If the images are not as said, there are fewer than 2 draws, or `noise` is no
            stream on the CPU.
    """
    num_samples = whole_number(num_samples, "num_samples", 2)
    require_stream(noise, "noise")
    images = require_intensities(vae, images)
    log_weights = torch.stack([_log_weights(vae, x, num_samples, noise) for x in images.split(1)])
    log_evidence = _log_mean_exp(log_weights)
    halves = log_weights.tensor_split(2, dim=1)
    relative = torch.exp(log_weights - log_evidence[:, None])
    root = math.sqrt(num_samples)
    effective = relative.sum(1).square() / relative.square().sum(1)
    return ImportanceWeighted(
        Estimate(log_evidence, relative.std(1) / root),
        log_evidence - torch.stack([_log_mean_exp(half) for half in halves]).mean(0),
        effective,
        Estimate(log_weights.mean(1), log_weights.std(1) / root),
    )


def _log_weights(vae: VAE, x: Tensor, num_samples: int, noise: torch.Generator) -> Tensor:
    """Return log p(x, z) − log e(z|x), shape (K,), at draws of an image `x` (1, C, H, W)."""
    posterior = vae.encoder(x)
    z = posterior.rsample(noise, num_samples)
    log_joint = torch.cat([vae.log_joint(some, x) for some in z[0].split(_POINTS_AT_ONCE)])
    return log_joint.double() - posterior.log_prob(z)[0].double()


def _log_mean_exp(values: Tensor) -> Tensor:
    return values.logsumexp(dim=1) - math.log(values.shape[1])
