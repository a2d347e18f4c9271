import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from dgmpipe.models import VAE, Encoder, Generator
from dgmpipe.models.vae import VAETask, kl_to_standard_normal


def test_parameter_counts_are_the_papers() -> None:
    assert sum(p.numel() for p in Generator().parameters()) == 42_913
    assert sum(p.numel() for p in Encoder().parameters()) == 45_924


def test_generator_makes_intensities() -> None:
    images = Generator()(5 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (16, 1, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1


def test_kl_agrees_with_torch_distributions() -> None:
    stream = torch.Generator().manual_seed(0)
    mean = torch.randn(50, 2, generator=stream, dtype=torch.float64)
    log_variance = torch.randn(50, 2, generator=stream, dtype=torch.float64)
    approximate = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
    torch.testing.assert_close(
        kl_to_standard_normal(mean, log_variance), kl_divergence(approximate, prior)
    )


def test_log_joint_agrees_with_torch_distributions(vae: VAE, images: torch.Tensor) -> None:
    vae, z = vae.double(), torch.randn(8, 2, dtype=torch.float64)
    x = (images[:8].unsqueeze(1) > 127).double()
    likelihood = Independent(Bernoulli(logits=vae.generator.logits(z)), 3)
    prior = Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.0), 1)
    torch.testing.assert_close(vae.log_joint(z, x), likelihood.log_prob(x) + prior.log_prob(z))


def test_log_likelihood_of_fractional_intensities_is_equation_4(vae: VAE) -> None:
    z, x = torch.zeros(1, 2), torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    g = vae.generator(z)
    expected = (x * g.log() + (1 - x) * (1 - g).log()).sum()
    torch.testing.assert_close(vae.log_likelihood(z, x)[0], expected)


def test_samples_of_the_posterior_have_the_encoders_standard_deviation(
    vae: VAE, images: torch.Tensor
) -> None:
    # Eq. (24) makes exp(Σ) the covariance; with eq. (25)'s exp(Σ) as standard deviation, the
    # ratio below would be exp(Σ/2), here about e.
    with torch.no_grad():
        vae.encoder.log_variance.bias += 2
    seen = []
    vae.generator.logits = lambda z: seen.append(z) or torch.zeros(len(z), 1, 28, 28)
    x = images[:1].unsqueeze(1).float().expand(5_000, -1, -1, -1) / 255
    with torch.no_grad():
        vae.elbo(x, torch.Generator().manual_seed(0))
        mean, log_variance = vae.encoder(x[:1])
    ratio = seen[0].std(0) / torch.exp(log_variance[0] / 2)
    assert (ratio - 1).abs().max() < 0.05
    assert (seen[0].mean(0) - mean[0]).abs().max() < 0.1 * math.e


def test_a_step_reaches_every_parameter_and_lowers_the_loss(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    config = {"latent_dim": 2, "width": 8, "learning_rate": 0.002, "weight_decay": 0.0}
    task = VAETask(VAETask.build(config), config)
    x = images[:64].unsqueeze(1).float() / 255
    noise = torch.Generator().manual_seed(0)
    losses = [task.step(iter([x]), noise)["loss"].item() for _ in range(30)]
    assert all(p.grad.abs().sum() > 0 for p in task.model.parameters())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("shape", [(28, 28), (3, 28, 28), (3, 3, 28, 28), (3, 1, 32, 32)])
def test_encoder_names_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 1, 28, 28\)"):
        Encoder()(torch.zeros(shape))


def test_generator_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 2\), not \(4, 3\)"):
        Generator()(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at least 1"):
        Generator(latent_dim=0)
