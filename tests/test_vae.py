import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    Independent,
    Normal,
    kl_divergence,
)

from dgmpipe.models import VAE, Encoder, Generator
from dgmpipe.models.approximation import ApproximatePosterior, DiagonalGaussian
from dgmpipe.models.vae import VAETask, log_partition

# Small ones, where the closed form fails; where series and closed form meet; and large ones.
LOGITS = st.one_of(st.floats(-1e-3, 1e-3), st.floats(-0.3, 0.3), st.floats(-200, 200))


def test_parameter_counts_are_the_papers() -> None:
    assert sum(p.numel() for p in Generator().parameters()) == 42_913
    assert sum(p.numel() for p in Encoder().parameters()) == 45_924


def test_generator_makes_intensities() -> None:
    images = Generator()(5 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (16, 1, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("q", [1, 2, 8])
def test_the_diagonal_gaussian_agrees_with_torch_distributions(q: int) -> None:
    stream = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 50, q, generator=stream, dtype=torch.float64)
    posterior = DiagonalGaussian(mean, log_variance)
    oracle = Independent(Normal(mean, torch.exp(log_variance / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
    torch.testing.assert_close(posterior.kl_to_standard_normal(), kl_divergence(oracle, prior))
    one, many = posterior.rsample(stream), posterior.rsample(stream, samples=7)
    assert (one.shape, many.shape) == ((50, q), (50, 7, q))
    torch.testing.assert_close(posterior.log_prob(one), oracle.log_prob(one))
    torch.testing.assert_close(posterior.log_prob(many), oracle.log_prob(many.movedim(1, 0)).T)
    shared = many[:1]
    expected = oracle.log_prob(shared.movedim(1, 0)).T
    torch.testing.assert_close(posterior.log_prob(shared), expected)


def test_draws_of_the_diagonal_gaussian_have_its_moments_and_derivatives() -> None:
    mean = torch.tensor([[1.0, -2.0]], requires_grad=True)
    log_variance = torch.tensor([[-2.0, 1.0]], requires_grad=True)
    posterior = DiagonalGaussian(mean, log_variance)
    draws = posterior.rsample(torch.Generator().manual_seed(0), samples=100_000)[0]
    # A standard error of the mean is σ/316, one of the standard deviation σ/447.
    assert ((draws.mean(0) - mean[0]) / posterior.std[0]).abs().max() < 5 / 316
    assert (draws.std(0) / posterior.std[0] - 1).abs().max() < 5 / 447
    z = posterior.rsample(torch.Generator().manual_seed(1))
    for_mean, for_log_variance = torch.autograd.grad(z.sum(), (mean, log_variance))
    torch.testing.assert_close(for_mean, torch.ones(1, 2))
    torch.testing.assert_close(for_log_variance, (z - mean) / 2)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: p.log_prob(torch.zeros(4, 2)), r"shape \(3, ..., 2\) or \(1, ..., 2\), not"),
        (lambda p: p.log_prob(torch.zeros(3, 5, 3)), r"not \(3, 5, 3\)"),
        (lambda p: p.rsample(torch.Generator(), samples=0), "samples must be at least 1, not 0"),
        (lambda p: p.rsample(7), "noise must be a torch.Generator"),
        (lambda p: DiagonalGaussian(p.mean, p.mean[:2]), r"both have shape \(N, q\)"),
    ],
)
def test_the_diagonal_gaussian_names_what_is_wrong(act: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act(DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2)))


class _Mixture(ApproximatePosterior):
    """Two equal normals an image: a family whose divergence has no closed form."""

    def __init__(self, first: DiagonalGaussian, second: DiagonalGaussian) -> None:
        self.parts = first, second
        self.mean = (first.mean + second.mean) / 2

    def rsample(self, noise: torch.Generator, samples: int | None = None) -> torch.Tensor:
        first, second = (part.rsample(noise, samples) for part in self.parts)
        chosen = torch.rand(first.shape[:-1], generator=noise).to(first) < 0.5
        return torch.where(chosen[..., None], first, second)

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        return torch.logaddexp(*(part.log_prob(z) for part in self.parts)) - math.log(2)


class _MixtureEncoder(torch.nn.Module):
    """Two encoders; of one and the same, the mixture is the normal itself."""

    def __init__(self, first: Encoder, second: Encoder) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> _Mixture:
        return _Mixture(self.first(x), self.second(x))


@pytest.mark.parametrize("q", [2, 5])
def test_a_family_without_a_closed_divergence_has_an_unbiased_bound(
    q: int, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    encoder, generator = Encoder(q, 4), Generator(q, 4).eval()
    x = (images[:1].unsqueeze(1).float() / 255).expand(4000, -1, -1, -1)
    with torch.no_grad():
        closed = VAE(encoder, generator).elbo(x, torch.Generator().manual_seed(0)).double()
        family = VAE(_MixtureEncoder(encoder, encoder), generator)
        sampled = family.elbo(x, torch.Generator().manual_seed(1)).double()
    error = math.sqrt((closed.var() + sampled.var()) / len(x))
    assert abs(closed.mean() - sampled.mean()) < 5 * error
    assert error < 0.1


def test_a_family_without_a_closed_divergence_can_be_trained(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    vae = VAE(_MixtureEncoder(Encoder(2, 4), Encoder(2, 4)), Generator(2, 4))
    task = VAETask(vae, {"learning_rate": 0.005, "weight_decay": 0.0})
    x = images[:64].unsqueeze(1).float() / 255
    noise = torch.Generator().manual_seed(0)
    losses = [task.step(iter([x]), noise)["loss"].item() for _ in range(30)]
    assert all(p.grad.abs().sum() > 0 for p in vae.parameters())
    assert losses[-1] < losses[0] - 150


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


@given(LOGITS)
def test_the_continuous_bernoulli_integrates_to_one(logit: float) -> None:
    # Gauss-Legendre on pieces that are short beside 1/|l|, near black and near white.
    decades = np.concatenate([[0], np.geomspace(1e-4, 0.5, 60)])
    edges = np.concatenate([decades, (1 - decades)[-2::-1]])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    width = np.diff(edges)[:, None]
    x = torch.from_numpy(edges[:-1, None] + width * (nodes + 1) / 2)
    parameter = torch.tensor(logit, dtype=torch.float64)
    density = torch.exp(x * parameter - log_partition(parameter)).numpy()
    assert (density * weights * width / 2).sum() == pytest.approx(1, abs=1e-12)


@given(LOGITS)
def test_the_log_partition_of_the_continuous_bernoulli_has_its_mean_as_derivative(
    logit: float,
) -> None:
    parameter = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(log_partition(parameter), parameter)
    step = 1e-4
    with torch.no_grad():
        rise = log_partition(parameter + step) - log_partition(parameter - step)
    assert derivative.item() == pytest.approx(rise.item() / (2 * step), abs=1e-8)
    if 0.01 < abs(logit) < 12:  # beyond, that implementation cuts off
        mean = ContinuousBernoulli(logits=parameter.detach()).mean.item()
        assert derivative.item() == pytest.approx(mean, abs=1e-8)


def test_series_and_closed_form_of_the_log_partition_meet() -> None:
    edge = torch.tensor([0.2 - 1e-9, 0.2 + 1e-9], dtype=torch.float64).requires_grad_()
    values = log_partition(edge)
    (slopes,) = torch.autograd.grad(values.sum(), edge)
    assert values.diff().item() == pytest.approx(slopes[0].item() * 2e-9, abs=1e-13)
    assert slopes.diff().item() == pytest.approx(0, abs=1e-9)
    at_zero = torch.zeros(1, requires_grad=True)
    log_partition(at_zero).backward()
    assert at_zero.grad == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_finite_log_likelihoods_and_gradients(dtype: torch.dtype) -> None:
    logits = torch.tensor([-1e4, -90, -1e-30, 0, 1e-30, 90, 1e4], dtype=dtype, requires_grad=True)
    log_partition(logits).sum().backward()
    assert logits.grad.isfinite().all()
    # Means of the distribution: 1/|l| from black or white where |l| is large.
    expected = torch.tensor([1e-4, 1 / 90, 0.5, 0.5, 0.5, 1 - 1 / 90, 1 - 1e-4], dtype=dtype)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-5, atol=1e-6)


def test_a_vae_with_the_continuous_bernoulli_agrees_with_torch_distributions() -> None:
    torch.manual_seed(0)
    vae = VAE(Encoder(), Generator(), "continuous_bernoulli").eval().double()
    stream = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(8, 2, generator=stream, dtype=torch.float64)
    x = torch.rand(8, 1, 28, 28, generator=stream, dtype=torch.float64)
    # Far from 0, where that implementation is exact.
    logits = 4 + vae.generator.logits(z)
    vae.generator.logits = lambda _: logits
    oracle = Independent(ContinuousBernoulli(logits=logits), 3)
    torch.testing.assert_close(vae.log_likelihood(z, x), oracle.log_prob(x))


def test_no_latent_point_exceeds_the_ceiling(vae: VAE) -> None:
    stream = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 28, 28, generator=stream, dtype=torch.float64)
    x[:, :, :14] = x[:, :, :14].round()
    vae.double()
    logits = torch.logit(x, eps=1e-12)
    vae.generator.logits = lambda z: logits
    z = torch.zeros(5, 2, dtype=torch.float64)
    reached = vae.log_likelihood(z, x)
    torch.testing.assert_close(reached, vae.ceiling(x), atol=1e-6, rtol=0)
    vae.generator.logits = lambda z: logits + torch.randn(logits.shape, generator=stream)
    assert (vae.log_likelihood(z, x) < vae.ceiling(x)).all()
    assert VAE(Encoder(), Generator(), "continuous_bernoulli").ceiling(x).isinf().all()


def test_a_likelihood_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="bernoulli or continuous_bernoulli, not 'normal'"):
        VAE(Encoder(), Generator(), "normal")


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
        posterior = vae.encoder(x[:1])
    ratio = seen[0].std(0) / torch.exp(posterior.log_variance[0] / 2)
    assert (ratio - 1).abs().max() < 0.05
    assert (seen[0].mean(0) - posterior.mean[0]).abs().max() < 0.1 * math.e


@pytest.mark.parametrize(
    ("likelihood", "latent_dim"),
    [("bernoulli", 2), ("continuous_bernoulli", 2), ("bernoulli", 1), ("bernoulli", 8)],
)
def test_a_step_reaches_every_parameter_and_lowers_the_loss(
    likelihood: str, latent_dim: int, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    config = {"latent_dim": latent_dim, "width": 8, "learning_rate": 0.002, "weight_decay": 0.0}
    config["likelihood"] = likelihood
    task = VAETask(VAETask.build(config), config)
    x = images[:64].unsqueeze(1).float() / 255
    noise = torch.Generator().manual_seed(0)
    losses = [task.step(iter([x]), noise)["loss"].item() for _ in range(30)]
    assert all(p.grad.abs().sum() > 0 for p in task.model.parameters())
    assert losses[-1] < losses[0] - 150


@pytest.mark.parametrize("shape", [(28, 28), (3, 28, 28), (3, 3, 28, 28), (3, 1, 32, 32)])
def test_encoder_names_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 1, 28, 28\)"):
        Encoder()(torch.zeros(shape))


def test_generator_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(N, 2\), not \(4, 3\)"):
        Generator()(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at least 1"):
        Generator(latent_dim=0)
