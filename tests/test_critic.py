"""What a critic is worth, on critics whose slopes and samples whose distance are known."""

import pytest
import torch
from torch import Tensor, nn

from dgmpipe.config import read_config
from dgmpipe.data.batches import to_float
from dgmpipe.evaluation.critic import critic_quality
from dgmpipe.models.gan import Discriminator
from dgmpipe.plan.evaluations import EVALUATIONS, subjects


class Sum(nn.Module):
    """f(x) = s Σ x, whose slope is 28 s."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.3 * x.sum(dim=(1, 2, 3))


class Flat(nn.Module):
    """f(x) = 0."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.sum(dim=(1, 2, 3))


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_best_critic_of_shifted_images_finds_their_distance(images: Tensor) -> None:
    true = to_float(images[:80]).double()
    found = critic_quality(Sum(), true + 0.1, true, _noise())
    assert found["wasserstein"] == pytest.approx(2.8)
    for name in ("slope", "slope_true", "slope_between", "slope_between_mean"):
        assert found[name] == pytest.approx(0.3 * 28)
    assert found["difference_of_means"] == pytest.approx(0.3 * 78.4)
    assert found["estimate"] == pytest.approx(2.8)
    assert found["share"] == pytest.approx(1)


def test_any_critics_bound_holds_for_the_sample(images: Tensor) -> None:
    true = to_float(images[:100])
    generated = torch.rand(100, 1, 28, 28, generator=_noise())
    for seed in range(3):
        torch.manual_seed(seed)
        critic = Discriminator(4)
        with torch.no_grad():
            critic(true)  # its batch norms have seen images
        found = critic_quality(critic.eval(), generated, true, _noise())
        assert 0 < found["estimate"] <= found["sample_bound"] <= found["wasserstein"]
        assert found["slope"] >= found["slope_pairs"] > 0


def test_equal_images_and_a_flat_critic_give_nothing(images: Tensor) -> None:
    true = to_float(images[:20])
    found = critic_quality(Sum(), true.flip(0), true, _noise())
    assert found["wasserstein"] == pytest.approx(0, abs=1e-9)
    assert found["slope_pairs"] <= 0.3 * 28 + 1e-5
    flat = critic_quality(Flat(), true + 0.1, true, _noise())
    assert (flat["slope"], flat["estimate"], flat["share"]) == (0, 0, 0)


def test_critics_are_those_that_measure_a_distance(root) -> None:
    import yaml

    laptop = yaml.safe_load((root / "config/config.yaml").read_text())
    rates = {"steps": 1, "discriminator_learning_rate": 1, "generator_learning_rate": 1}
    common = {"kind": "gan", "held_out_size": 2000, **rates}
    laptop["models"] |= {
        "mine": common | {"objective": "wasserstein"},
        "sharp": common | {"objective": "hinge"},
        "gp": common | {"kind": "wgan_gp"},
    }
    (evaluation,) = (entry for entry in EVALUATIONS if entry.name == "examine_critic")
    assert subjects(read_config(laptop), evaluation) == ["wgan_random", "wgan_vae", "mine", "gp"]
