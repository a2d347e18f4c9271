"""The energy test of a generator's images against the test images."""

from typing import Any

import torch
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.differences import contributions_as_arrays
from dgmpipe.evaluation.samples import evaluated_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.statistics.energy import energy_distances, energy_test
from dgmpipe.streams import random_stream

__all__ = ["energy_floor", "evaluate_energy"]

# A training of a GAN that ends with a larger energy distance has never left the plateau where the
# discriminator tells all images apart: noise is as far, and images that resemble digits are not.
_PLATEAU = 5.0


def evaluate_energy(subject: Subject, *, num_images: int, num_permutations: int) -> dict[str, Any]:
    """Return an energy test of `num_images` images against all test images.

    `numbers` are its results, and `contributions` what each image, generated or test, contributes.
    """
    test = subject.intensities("t10k")
    result = energy_test(
        evaluated_images(subject, num_images),
        test,
        num_permutations=num_permutations,
        y_clusters=subject.test_clusters(len(test)),
        seed=subject.seed,
        single=True,
    )
    numbers = {
        "energy_distance": result.energy_distance,
        "standard_error": result.standard_error,
        "statistic": result.statistic,
        "pvalue": result.pvalue,
        "null_95": result.null_energy_distance.quantile(0.95).item(),
        "on_plateau": float(result.energy_distance > _PLATEAU),
    }
    return {"numbers": numbers, "contributions": contributions_as_arrays(result)}


def energy_floor(
    training: Tensor, test: Tensor, *, held_out_size: int, num_draws: int, seed: int
) -> Tensor:
    """Return the energy distances of draws of training images from held-out ones, (num_draws,).

    Args:
        training: Bytes (T, H, W) or (T, 3, H, W).
        test: Bytes likewise, of which `held_out_size`, spread evenly, are held out.
        held_out_size: Images on both sides.
        num_draws: Number of draws.
        seed: Of the draws.

    Raises:
        UserError: If there are fewer test images.
    """
    held_out = to_float(test[evenly_spread(held_out_size, len(test))])
    stream = random_stream(seed, "energy floor")
    draws = (
        to_float(training[torch.randperm(len(training), generator=stream)[:held_out_size]])
        for _ in range(num_draws)
    )
    return energy_distances(draws, held_out, single=True)
