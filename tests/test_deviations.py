"""What the slips of the paper come to, for models of which it is known."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from dgmpipe.models.flow import Flow
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.realnvp import RealNVP
from dgmpipe.models.vae import VAE
from dgmpipe.pages.deviations import DEVIATIONS, Deviation


def _numbers(where: str, tier: SimpleNamespace | None = None, slip: str = "") -> list[float]:
    """Return the numbers in a row of the page, 1.2e-05 and e^-3 among them."""
    (row,) = (d for d in DEVIATIONS if d.where == where and slip in d.slip)
    text = row.numbers if isinstance(row.numbers, str) else row.numbers(tier)
    assert isinstance(row, Deviation)
    return [
        float(n.replace(",", "")) for n in re.findall(r"(?<![\w.])-?\d[\d.,]*(?:e-?\d+)?", text)
    ]


def test_the_optimal_discriminator_of_a_collapsed_generator_is_one_in_s_plus_one() -> None:
    best, s = np.array(_numbers("5.1")[1:]).reshape(3, 2).T
    np.testing.assert_allclose(best, 1 / (s + 1), rtol=0.03)
    assert list(s) == [1, 64, 60_000]


def test_the_log_determinant_prefers_expansion() -> None:
    values, thetas = np.array(_numbers("3.1")[1:]).reshape(-1, 2).T
    assert (np.diff(thetas) > 0).all()
    assert (np.diff(values) < 0).all()


def test_eq_15_as_printed_does_not_lead_back() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = OTFlow()
    with torch.no_grad():
        flow.potential.A.mul_(2)
    printed, right = _numbers("(15)", SimpleNamespace(load=lambda _: flow))
    assert printed > 0.1
    assert 0 <= right < 1e-8


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_the_layers_of_real_nvp_are_as_large_as_they_say(weight: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow: Flow = RealNVP(width=8)
    with torch.no_grad():
        for name, values in flow.named_parameters():
            if "closing" in name:
                values.mul_(weight)
    batch = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    tier = SimpleNamespace(load=lambda _: flow, arrays=lambda *_: {"batch": batch})
    s, t = _numbers("(11)", tier, "tanh")[2:]
    assert (s, t) == ((0, 0) if weight == 0 else (1, 1))


def test_the_truth_joins_the_moons() -> None:
    x, y = np.meshgrid(*2 * [np.linspace(-3, 3, 241)])
    hills = np.logaddexp(*(-((x - c) ** 2 + y**2) / (2 * 0.2**2) for c in (-1, 1)))
    tier = SimpleNamespace(arrays=lambda *_: {"true_log_density": hills})
    level, _ = _numbers("Example 1", tier, "support")
    assert level == pytest.approx(2 * math.exp(-1 / (2 * 0.2**2)), rel=0.1)


@pytest.mark.slow
def test_the_pseudo_likelihood_of_a_generator_of_one_image_integrates_to_a_known_number(
    vae: VAE,
) -> None:
    vae.generator.logits = lambda z: torch.full((len(z), 1, 28, 28), -3.0)
    row = {"ceiling_mean": -44.91, "images": 500, "log_evidence_mean": -138.77}
    tier = SimpleNamespace(load=lambda _: vae, row=lambda *_, **__: row)
    of_pixel = (math.exp(-3) - 1) / -3 / (1 + math.exp(-3))
    found = _numbers("(4), 4.2", tier)
    text = next(d for d in DEVIATIONS if d.where == "(4), 4.2").numbers(tier)
    assert f"is e^{784 * math.log(of_pixel):.0f};" in text
    assert found[-3:] == [-44.9, 500, -138.8]
    vae.likelihood = "continuous_bernoulli"
    with pytest.raises(FileNotFoundError):
        _numbers("(4), 4.2", tier)


@torch.no_grad()
def test_eq_22_is_taken_literally_with_eq_25(vae: VAE, images: torch.Tensor) -> None:
    x = images[:4].unsqueeze(1).float() / 255
    vae.encoder.log_variance.bias -= 1
    row = {"elbo_mean": -500.0}
    tier = SimpleNamespace(evidence_images=lambda: (vae, x, None), row=lambda *_, **__: row)
    _, literal, mixed, right = _numbers("(22) with (25)", tier)[-4:]
    posterior = vae.encoder(x)
    mean, log_variance = posterior.mean, posterior.log_variance
    noise = torch.Generator().manual_seed(1)
    z = mean + log_variance.exp() * torch.randn(4000, *mean.shape, generator=noise)
    approximate = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
    of_densities = (prior.log_prob(z) - approximate.log_prob(z)).mean()
    drawn = z[:400]
    likelihood = torch.stack([vae.log_likelihood(points, x) for points in drawn]).mean()
    assert literal == pytest.approx((likelihood + of_densities).item(), abs=0.3)
    difference = of_densities + torch.distributions.kl_divergence(approximate, prior).mean()
    assert literal - mixed == pytest.approx(difference.item(), abs=0.05)
    assert right == -500


def test_critics_are_said_to_be_as_steep_as_they_are() -> None:
    rows = {
        "wgan_random": {"slope": 0.02, "estimate": 0.7, "wasserstein": 8.0},
        "wgan_vae": {"slope": 0.04, "estimate": 0.5, "wasserstein": 7.25},
    }
    tier = SimpleNamespace(row=lambda table, model: rows[model] if table == "critics" else {})
    assert _numbers("(35)", tier, "slopes of at most 1") == [0.02, 0.7, 8, 0.04, 0.5, 7.25]
