"""How far a GAN's distance goes up and down after its training, where the answer is known."""

from typing import Any

import pytest
import torch
from torch import Tensor

import excursions
from dgmpipe.data.batches import ImageBatches, to_float
from dgmpipe.models.dcgan import DCGANTask
from dgmpipe.streams import random_stream

CONFIG = {
    **{"latent_dim": 2, "width": 4, "fresh_latent_points": True},
    **{"discriminator_learning_rate": 2e-3, "generator_learning_rate": 2e-3},
    **{"beta_1": 0.5, "beta_2": 0.999},
}


def _continued(images: Tensor, **changes: Any) -> list[tuple[int, float, float]]:
    torch.manual_seed(0)
    config = CONFIG | changes
    task = DCGANTask(DCGANTask.build(config), config)
    batches = ImageBatches(images, 8, random_stream(0, "batches"))
    return list(excursions.continued(task, batches, to_float(images[:40]), 30, 10))


def test_a_continued_training_is_measured_with_its_average_from_before_its_first_step(
    images: Tensor,
) -> None:
    found = _continued(images)
    assert [step for step, _, _ in found] == [0, 10, 20, 30]
    torch.manual_seed(0)
    task = DCGANTask(DCGANTask.build(CONFIG), CONFIG)
    task.model.eval()
    untouched = task.evaluate(to_float(images[:40]), random_stream(0, "evaluation"))
    assert found[0][1:] == 2 * (pytest.approx(untouched["energy_distance"], rel=1e-5),)
    # As a training goes on its average stays behind.
    assert len({value for _, *values in found[1:] for value in values}) == 6
    assert found == _continued(images)
    assert found != _continued(images, generator_learning_rate=0.0)


def test_an_excursion_is_beyond_twice_the_median() -> None:
    found = excursions.spread([1, 1, 3, 1, 1, 1, 5, 2.5, 2, 1])
    assert found["median"] == 1
    assert found["maximum"] == 5
    assert found["twice"] == pytest.approx(0.3)
    assert found["longest"] == 2
    assert found["5%"] == 1
    assert found["95%"] == pytest.approx(4.1)
    calm = excursions.spread([1.0, 1.9, 1.0])
    assert calm["twice"] == calm["longest"] == 0
