"""How the encoder fills the latent space, Figure 8."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dgmpipe.arguments import (
    as_type,
    positive_number,
    require_stream,
    to_tensor,
    whole_number,
)
from dgmpipe.data.batches import to_float
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.approximation import ApproximatePosterior
from dgmpipe.models.inputs import require_batch
from dgmpipe.models.vae import VAE
from dgmpipe.streams import random_stream

__all__ = ["LatentStructure", "aggregate_posterior", "evaluate_latent", "latent_structure"]


@dataclass(frozen=True)
class LatentStructure:
    """What Figure 8 shows of the latent plane.

    Attributes:
        means: Mean of each image's approximate posterior, shape (N, 2).
        samples: Draws from each approximate posterior, shape (N, S, 2).
        points: Points of high prior and low aggregate posterior, by increasing z₁, shape (P, 2).
        point_images: What the generator makes of them, shape (P, H, W) or (P, 3, H, W).
    """

    means: Tensor
    samples: Tensor
    points: Tensor
    point_images: Tensor


def aggregate_posterior(
    posteriors: Sequence[ApproximatePosterior], z: Tensor | ArrayLike
) -> Tensor:
    """Return the density of the mean of all approximate posteriors, (1/N) Σᵢ e(z|xᵢ), at `z`.

    Args:
        posteriors: Of batches of images, N together.
        z: Latent points, shape (M, q).

    Returns:
        Densities, shape (M,).

    Raises:
        ValueError: If the points are of another shape, or no real numbers.
    """
    mean = posteriors[0].mean
    z = as_type(to_tensor(z, "z"), "z", mean.dtype).to(mean.device)
    densities = []
    for some in z.split(1024):
        sums = [posterior.log_prob(some[None]).exp().sum(0) for posterior in posteriors]
        densities.append(torch.stack(sums).sum(0))
    return torch.cat(densities) / sum(len(posterior.mean) for posterior in posteriors)


@torch.no_grad()
def latent_structure(
    vae: VAE,
    images: Tensor | ArrayLike,
    *,
    samples_per_image: int,
    limit: float,
    resolution: int,
    num_candidates: int,
    num_points: int,
    noise: torch.Generator,
) -> LatentStructure:
    """Embed images and find where the generator is asked for what it was not trained on.

    Of the points of a grid on [−limit, limit]², the candidates are those at which the prior
    density exceeds the aggregate posterior's most; `num_points` of them are drawn at random. The
    paper estimates the aggregate posterior by a histogram of samples; here it is exact.

    Args:
        vae: Trained, in evaluation mode, with a two-dimensional latent space.
        images: Intensities in [0, 1], shape (N, C, H, W).
        samples_per_image: Draws S from each approximate posterior.
        limit: Half the side of the square.
        resolution: Grid points along each axis.
        num_candidates: How many grid points are candidates.
        num_points: How many of these are shown.
        noise: Random stream, on the CPU.

    Raises:
        ValueError: If there are fewer candidates than points, or fewer grid points than candidates.
    """
    require_stream(noise, "noise")
    limit = positive_number(limit, "limit")
    samples_per_image = whole_number(samples_per_image, "samples_per_image", 1)
    resolution = whole_number(resolution, "resolution", 1)
    num_candidates = whole_number(num_candidates, "num_candidates", 1)
    num_points = whole_number(num_points, "num_points", 1)
    if not num_points <= num_candidates <= resolution**2:
        raise ValueError(
            f"num_points ({num_points}) must not exceed num_candidates ({num_candidates}),"
            f" nor these the {resolution**2} grid points"
        )
    images = require_batch(images, vae.generator.image_shape, "images", vae)
    posteriors = [vae.encoder(x) for x in images.split(500)]
    mean = torch.cat([posterior.mean for posterior in posteriors])
    samples = torch.cat([posterior.rsample(noise, samples_per_image) for posterior in posteriors])

    axis = torch.linspace(-limit, limit, resolution).to(mean)
    grid = torch.cartesian_prod(axis, axis)
    prior = torch.exp(-0.5 * grid.square().sum(1)) / (2 * math.pi)
    excess = prior - aggregate_posterior(posteriors, grid)
    candidates = grid[excess.topk(num_candidates).indices]
    drawn = torch.randperm(num_candidates, generator=noise)[:num_points].to(candidates.device)
    points = candidates[drawn]
    points = points[points[:, 0].argsort()]
    return LatentStructure(mean, samples, points, vae.generator(points).squeeze(1))


def evaluate_latent(subject: Subject, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return the `arrays` that Figure 8 shows: `latent_structure`, a histogram, labels if any."""
    vae = subject.model()
    assert isinstance(vae, VAE)
    images, labels = subject.load_images("t10k")
    noise = random_stream(subject.seed, "latent structure")
    structure = latent_structure(vae, to_float(images), **settings, noise=noise)
    edges = np.linspace(-settings["limit"], settings["limit"], settings["resolution"] // 2 + 1)
    draws = structure.samples.flatten(0, 1).numpy()
    histogram, _, _ = np.histogram2d(draws[:, 0], draws[:, 1], bins=[edges, edges])
    arrays = asdict(structure) | {"histogram": histogram, "edges": edges}
    if labels is not None:
        arrays["labels"] = labels
    return {"arrays": arrays}
