"""How loose the evidence lower bound is, image by image: the paper's Section 4.1 leaves it open.

With the Bernoulli likelihood of grey values log p(x) and its bound are of a pseudo-likelihood, with
a ceiling set by the pixels' entropy; with the continuous Bernoulli they are log densities in nats.
"""

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.posterior import elbo, log_evidence
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.vae import VAE
from dgmpipe.statistics.clusters import Clusters

__all__ = ["evaluate_evidence", "evidence_of_images", "summarise_evidence"]


def evidence_of_images(
    vae: VAE, images: Tensor, labels: Tensor, *, num_images: int, limit: float, resolution: int
) -> pd.DataFrame:
    """Return log p(x), its lower bound and the gap between them for a part of the images.

    Args:
        vae: Trained, in evaluation mode, with a two-dimensional latent space.
        images: Bytes (N, 28, 28).
        labels: Digits (N,).
        num_images: How many of the images, spread evenly over them, are evaluated.
        limit: Half the side of the square of integration in the latent space.
        resolution: Grid points along each of its axes.

    Returns:
        A row an image: `log_evidence` and `elbo` with the `_error` of their quadrature,
        `ceiling`, which neither can exceed, `gap` = KL(e(z|x) ‖ p(z|x)) in nats, and
        `border_share`, the share of the posterior within the outer tenth of the square.

    Raises:
        UserError: If there are fewer than `num_images` images.
    """
    chosen = evenly_spread(num_images, len(images))
    x = to_float(images[chosen])
    evidence, border_share = log_evidence(vae, x, limit=limit, resolution=resolution)
    bound = elbo(vae, x)
    return pd.DataFrame(
        {
            "index": chosen,
            "label": labels[chosen],
            "log_evidence": evidence.value,
            "log_evidence_error": evidence.error,
            "elbo": bound.value,
            "elbo_error": bound.error,
            "ceiling": vae.ceiling(x),
            "gap": evidence.value - bound.value,
            "border_share": border_share,
        }
    )


def summarise_evidence(table: pd.DataFrame, clusters: Clusters | None = None) -> dict[str, float]:
    """Return means over the images with standard errors, and the extremes.

    Args:
        table: What `evidence_of_images` returned.
        clusters: Which of all test images, of which the table has some, depend on one another; none
            do if it is None.
    """
    row: dict[str, float] = {"images": len(table)}
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
    row["elbo_error_largest"] = table["elbo_error"].max()
    row["border_share_largest"] = table["border_share"].max()
    return {name: float(value) for name, value in row.items()}


def evaluate_evidence(
    subject: Subject, *, num_images: int, limit: float, resolution: int
) -> dict[str, Any]:
    """Return the `table` that `evidence_of_images` makes of test images, and its `numbers`."""
    vae = subject.model()
    assert isinstance(vae, VAE)
    images, labels = subject.load_images("t10k")
    table = evidence_of_images(
        vae, images, labels, num_images=num_images, limit=limit, resolution=resolution
    )
    numbers = summarise_evidence(table, subject.test_clusters(len(images)))
    return {"table": table, "numbers": numbers}
