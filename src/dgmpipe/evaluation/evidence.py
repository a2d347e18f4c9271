"""How loose the evidence lower bound is, image by image: the paper's Section 4.1 leaves it open.

With the Bernoulli likelihood of grey values log p(x) and its bound are of a pseudo-likelihood, with
a ceiling set by the pixels' entropy; with the continuous Bernoulli they are log densities in nats.

With one or two latent dimensions log p(x) is a quadrature. With more it is bounded from below by
importance weighting, arXiv:1509.00519, and the true gap is on average larger than the stated one.
"""

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.importance import importance_weighted
from dgmpipe.evaluation.posterior import elbo, log_evidence
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.approximation import DiagonalGaussian
from dgmpipe.models.posteriors import Pushed
from dgmpipe.models.vae import VAE
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.streams import random_stream

__all__ = ["evaluate_evidence", "evidence_of_images", "summarise_evidence"]


def evidence_of_images(
    vae: VAE,
    images: Tensor,
    labels: Tensor | None,
    *,
    num_images: int,
    limit: float,
    resolution: int,
    num_samples: int,
    noise: torch.Generator,
) -> pd.DataFrame:
    """Return log p(x), its lower bound and the gap between them for a part of the images.

    Args:
        vae: Trained, in evaluation mode.
        images: Bytes (N, H, W) or (N, 3, H, W).
        labels: Classes (N,), if they are known.
        num_images: How many of the images, spread evenly over them, are evaluated.
        limit: Half the side of the square of integration in the latent space, if q is 1 or 2.
        resolution: Grid points along each of its axes.
        num_samples: Draws an image of the importance-weighted bound, if q is larger.
        noise: Random stream of these, on the CPU.

    Returns:
        A row an image: `log_evidence` and `elbo` with the `_error` of their quadrature, or the
        standard error of their sampling; `ceiling`, which neither can exceed; `gap` =
        KL(e(z|x) ‖ p(z|x)) in nats; `border_share`, the share of the posterior within the outer
        tenth of the square. `samples` is 0 where log p(x) is a quadrature; else it is
        `num_samples`, and `log_evidence` is a lower bound. Of that bound `log_evidence_rise` is by
        how much it exceeds the one with half as many draws, and `effective_samples` is how many
        draws of the posterior would be as good.

    Raises:
        UserError: If there are fewer than `num_images` images.
    """
    chosen = evenly_spread(num_images, len(images))
    x = to_float(images[chosen])
    on_grid = vae.generator.latent_dim <= 2
    rise = effective = border_share = torch.full((len(x),), math.nan).double()
    if not on_grid or not isinstance(vae.encoder(x[:1]), DiagonalGaussian | Pushed):
        sampled = importance_weighted(vae, x, num_samples=num_samples, noise=noise)
        evidence, bound = sampled.log_evidence, sampled.elbo
        rise, effective = sampled.rise, sampled.effective_samples
    else:
        bound = elbo(vae, x)
    if on_grid:
        evidence, border_share = log_evidence(vae, x, limit=limit, resolution=resolution)
    return pd.DataFrame(
        {
            "index": chosen,
            **({} if labels is None else {"label": labels[chosen]}),
            "log_evidence": evidence.value,
            "log_evidence_error": evidence.error,
            "log_evidence_rise": rise,
            "elbo": bound.value,
            "elbo_error": bound.error,
            "ceiling": vae.ceiling(x).detach().double(),
            "gap": evidence.value - bound.value,
            "border_share": border_share,
            "samples": 0 if on_grid else num_samples,
            "effective_samples": effective,
        }
    )


def summarise_evidence(table: pd.DataFrame, clusters: Clusters | None = None) -> dict[str, float]:
    """Return means over the images with standard errors, and the extremes.

    Args:
        table: What `evidence_of_images` returned.
        clusters: Which of all test images, of which the table has some, depend on one another; none
            do if it is None.
    """
    row: dict[str, float] = {"images": len(table), "samples": int(table["samples"].iloc[0])}
    index = torch.tensor(table["index"].to_numpy())
    errors_of = Clusters.of_labels(index) if clusters is None else clusters[index]
    for name in ("log_evidence", "elbo", "gap"):
        values = torch.tensor(table[name].to_numpy())
        row[f"{name}_mean"] = table[name].mean()
        row[f"{name}_standard_error"] = math.sqrt(errors_of.variance_of_mean(values))
    row["ceiling_mean"] = table["ceiling"].mean()
    row["gap_median"] = table["gap"].median()
    row["gap_smallest"] = table["gap"].min()
    row["gap_largest"] = table["gap"].max()
    row["log_evidence_error_largest"] = table["log_evidence_error"].max()
    row["log_evidence_rise_mean"] = table["log_evidence_rise"].mean()
    row["effective_samples_median"] = table["effective_samples"].median()
    row["elbo_error_largest"] = table["elbo_error"].max()
    row["border_share_largest"] = table["border_share"].max()
    return {name: float(value) for name, value in row.items()}


def evaluate_evidence(subject: Subject, **settings: Any) -> dict[str, Any]:
    """Return the `table` that `evidence_of_images` makes of test images, and its `numbers`."""
    vae = subject.model()
    assert isinstance(vae, VAE)
    images, labels = subject.load_images("t10k")
    noise = random_stream(subject.seed, "evidence")
    table = evidence_of_images(vae, images, labels, **settings, noise=noise)
    numbers = summarise_evidence(table, subject.test_clusters(len(images)))
    return {"table": table, "numbers": numbers}
