"""What it costs to transport a generator's images to the test images, eq. (34)."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.samples import evaluated_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.transport import (
    Cost,
    debiased,
    entropic_transport,
    exact_transport,
    sliced_transport,
)

__all__ = ["evaluate_transport", "independent_halves"]


def evaluate_transport(
    subject: Subject, *, num_images: int, num_larger: int, num_projections: int, epsilon: float
) -> dict[str, Any]:
    """Return as `numbers` the three costs of `dgmpipe.statistics.transport`, each debiased.

    Args:
        subject: The generator, or real training images.
        num_images: Images of each of the four samples of the exact cost.
        num_larger: Likewise of the others.
        num_projections: Lines of the sliced cost.
        epsilon: Weight of the entropy in the regularised one.

    Returns:
        For `wasserstein`, `sliced` and `entropic` the fields of `Debiased`: `_debiased` with its
        `_standard_error`, `_across`, `_within_generated` and `_within_test`.

    Raises:
        UserError: If there are fewer images than two samples need.
    """
    costs: dict[str, tuple[Cost, int]] = {
        "wasserstein": (exact_transport, num_images),
        "sliced": (
            partial(sliced_transport, num_projections=num_projections, seed=subject.seed),
            num_larger,
        ),
        "entropic": (partial(entropic_transport, epsilon=epsilon), num_larger),
    }
    test = subject.intensities("t10k").flatten(1)
    clusters = subject.test_clusters(len(test))
    generated = evaluated_images(subject, 2 * max(num_images, num_larger)).flatten(1)
    numbers: dict[str, float] = {}
    for name, (cost, n) in costs.items():
        first, second = independent_halves(clusters, n)
        found = debiased(
            cost,
            (generated[:n], generated[n : 2 * n]),
            (test[first], test[second]),
            y_clusters=(clusters[first], clusters[second]),
        )
        numbers |= {
            f"{name}_debiased": found.value,
            f"{name}_debiased_standard_error": found.standard_error,
            f"{name}_across": found.across,
            f"{name}_within_generated": found.within_x,
            f"{name}_within_test": found.within_y,
        }
    return {"numbers": numbers}


def independent_halves(clusters: Clusters, n: int) -> tuple[Tensor, Tensor]:
    """Return the positions of two samples of `n` points, alike and nearly independent.

    They are spread evenly. The first is of the first half of each stratum and the second of its
    second half, so that only there one cluster can reach from the one into the other; independent
    points, whose order may be that of their classes, go to the two in turn.

    Raises:
        UserError: If there are fewer than `2 n` points.

    Example:
        >>> independent_halves(Clusters.in_order(8, 2, strata=2), 3)
        (tensor([0, 1, 4]), tensor([2, 5, 6]))
    """
    chosen = evenly_spread(2 * n, len(clusters))
    sizes = clusters.strata[chosen].bincount().tolist()
    if not clusters.adjoining:
        return chosen[::2], chosen[1::2]
    # The odd one of a stratum is of the first sample and of the second in turn.
    first = torch.cat([2 * torch.arange(size) + s % 2 < size for s, size in enumerate(sizes)])
    return chosen[first], chosen[~first]
