"""How near the critic of a Wasserstein GAN comes to the distance that it is to measure, eq. (35).

The maximum of eq. (35) is over functions whose slope is at most 1. A critic divided by its largest
slope is one, so that what it finds between generated and true images is a lower bound of their
distance. For two samples this is exact with the largest slope from image to image. Between images
slopes can be larger, and the largest measured need not be the largest: there it is an estimate.
"""

from typing import Any

import torch
from torch import Tensor, nn

from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.samples import evaluated_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.gan import GAN
from dgmpipe.statistics.energy import pairwise_distances
from dgmpipe.statistics.transport import exact_transport
from dgmpipe.streams import random_stream

__all__ = ["critic_quality", "evaluate_critic"]


def evaluate_critic(subject: Subject, *, num_images: int) -> dict[str, Any]:
    """Return as `numbers` what `critic_quality` finds between a GAN's images and test images.

    Raises:
        UserError: If there are fewer than `num_images` test images.
    """
    model = subject.model()
    assert isinstance(model, GAN)
    test = subject.intensities("t10k")
    true = test[evenly_spread(num_images, len(test))]
    generated = evaluated_images(subject, num_images)
    shape = (-1, *model.discriminator.image_shape)
    noise = random_stream(subject.seed, "critic")
    critic = model.discriminator
    return {"numbers": critic_quality(critic, generated.view(shape), true.view(shape), noise)}


def critic_quality(
    critic: nn.Module, generated: Tensor, true: Tensor, noise: torch.Generator
) -> dict[str, float]:
    """Compare what a critic finds between two samples with the distance of the samples.

    Args:
        critic: Maps images to values (N,), in evaluation mode: one function of one image.
        generated: Images (N, C, H, W).
        true: As many real ones.
        noise: Of the points between them, on the CPU.

    Returns:
        `difference_of_means` of the critic; its largest slopes: `slope_true`, `slope_generated` and
        `slope_between`, the norms of its gradients at the images and at points on lines between
        them, with `slope_between_mean`; `slope_pairs`, between any two of the images, and `slope`,
        the largest of all; `wasserstein`, the exact distance of the samples; `estimate`, the
        difference over `slope`, and `sample_bound`, over `slope_pairs`, which is at most
        `wasserstein`; and `share`, `estimate` over `wasserstein`.

    Raises:
        ValueError: If the numbers of images differ.
    """
    share = torch.rand(len(true), 1, 1, 1, generator=noise).to(true)
    between = torch.lerp(generated, true, share)
    at = {"true": true, "generated": generated, "between": between}
    slopes = {f"slope_{name}": _gradients(critic, x) for name, x in at.items()}
    both = torch.cat([generated, true])
    with torch.no_grad():
        values = torch.cat([critic(some) for some in both.split(500)]).double()
    difference = (values[: len(generated)].mean() - values[len(generated) :].mean()).abs().item()
    distances = pairwise_distances(both.flatten(1), both.flatten(1))
    rises = (values[:, None] - values).abs() / distances
    pairs = rises[distances > 0].max().item()
    largest = {name: slope.max().item() for name, slope in slopes.items()}
    slope = max(pairs, *largest.values())
    wasserstein = exact_transport(generated.flatten(1), true.flatten(1)).cost
    # A critic without any slope finds nothing, and between equal samples there is nothing to find.
    estimate = difference / slope if slope else 0.0
    return {
        "difference_of_means": difference,
        **largest,
        "slope_between_mean": slopes["slope_between"].mean().item(),
        "slope_pairs": pairs,
        "slope": slope,
        "wasserstein": wasserstein,
        "estimate": estimate,
        "sample_bound": difference / pairs if pairs else 0.0,
        "share": estimate / wasserstein if wasserstein else 0.0,
    }


def _gradients(critic: nn.Module, images: Tensor) -> Tensor:
    """Return the norms (N,) of a critic's gradients at images (N, C, H, W)."""
    norms = []
    for some in images.split(500):
        x = some.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x)
        norms.append(gradient.flatten(1).norm(dim=1))
    return torch.cat(norms)
