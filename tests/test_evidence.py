"""Evidence of VAEs with any number of latent dimensions, against what is known of it."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from dgmpipe.evaluation.evidence import (
    evaluate_evidence,
    evidence_of_images,
    summarise_evidence,
)
from dgmpipe.evaluation.importance import importance_weighted
from dgmpipe.evaluation.posterior import elbo, log_evidence
from dgmpipe.evaluation.tables import summarise_seeds
from dgmpipe.models import VAE, Encoder, Generator
from dgmpipe.models.approximation import ApproximatePosterior, DiagonalGaussian
from dgmpipe.models.vae import LIKELIHOODS, VAETask
from dgmpipe.statistics.clusters import Clusters

SETTINGS = {"num_images": 6, "limit": 6, "resolution": 60, "num_samples": 50}


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# What is known of linear models is known for images of any size; of these it takes little time.
SIDE = 7


class _LinearGenerator(nn.Module):
    """Logits W z, with the columns of W orthogonal and of lengths √1 to √q."""

    def __init__(self, q: int) -> None:
        super().__init__()
        self.latent_dim, self.image_shape = q, (1, SIDE, SIDE)
        columns = torch.linalg.qr(torch.randn(SIDE**2, q, generator=_noise()).double()).Q
        self.weight = nn.Parameter(columns * torch.arange(1, q + 1).sqrt())

    def logits(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).view(-1, *self.image_shape)


class _LinearEncoder(nn.Module):
    """The exact posterior of a linear model, with its means and deviations put off."""

    def __init__(self, generator: _LinearGenerator, shift: float, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(generator.weight.detach().clone())
        self.shift, self.scale = shift, scale

    def forward(self, x: Tensor) -> DiagonalGaussian:
        precision = 1 + self.weight.square().sum(0)
        mean = x.flatten(1) @ self.weight / precision
        std = self.scale / precision.sqrt()
        return DiagonalGaussian(mean + self.shift * std, 2 * std.log().expand_as(mean))


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch):
    """Makes linear models with A(l) = l²/2, which is N(x; W z, I) but for a factor of x alone."""
    monkeypatch.setattr(
        "dgmpipe.models.vae.LIKELIHOODS",
        likelihoods := {"normal": lambda logits: logits.square() / 2},
    )
    monkeypatch.setattr("dgmpipe.evaluation.posterior.LIKELIHOODS", likelihoods)

    def make(q: int, shift: float = 0, scale: float = 1) -> VAE:
        generator = _LinearGenerator(q)
        return VAE(_LinearEncoder(generator, shift, scale), generator, "normal")

    return make


def _known(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p(x), and by how much the ELBO is below, of a linear model in closed form."""
    weight, x = vae.generator.weight.detach(), x.flatten(1)
    identity = torch.eye(len(weight), dtype=torch.float64)
    marginal = MultivariateNormal(torch.zeros(len(weight)).double(), identity + weight @ weight.T)
    factor = x.square().sum(1) / 2 + len(weight) / 2 * math.log(2 * math.pi)
    covariance = torch.linalg.inv(torch.eye(vae.generator.latent_dim) + weight.T @ weight)
    encoded = vae.encoder(x)
    divergence = kl_divergence(
        MultivariateNormal(encoded.mean, torch.diag_embed(encoded.std.square())),
        MultivariateNormal(x @ weight @ covariance, covariance),
    )
    return marginal.log_prob(x) + factor, divergence


@pytest.fixture
def some(images: Tensor) -> Tensor:
    """A few images as intensities in double precision, of each fourth pixel."""
    return images[:4, None, ::4, ::4].double() / 255


@pytest.mark.parametrize("q", [1, 2, 8])
def test_with_the_exact_posterior_every_draw_gives_the_evidence(linear, q: int, some: Tensor):
    vae = linear(q)
    expected, divergence = _known(vae, some)
    sampled = importance_weighted(vae, some, num_samples=10, noise=_noise())
    for estimate in (sampled.log_evidence, sampled.elbo):
        torch.testing.assert_close(estimate.value, expected, rtol=0, atol=1e-9)
        assert estimate.error.max() < 1e-9
    assert divergence.abs().max() < 1e-9
    assert sampled.rise.abs().max() < 1e-9
    torch.testing.assert_close(sampled.effective_samples, torch.full((4,), 10.0).double())


@pytest.mark.parametrize("q", [1, 2, 8])
def test_with_another_encoder_both_bounds_are_as_known(linear, q: int, some: Tensor) -> None:
    # Wider than the posterior, so that the weights are bounded; the bias is about error²/2.
    vae = linear(q, shift=0.3, scale=1.2)
    expected, divergence = _known(vae, some)
    sampled = importance_weighted(vae, some, num_samples=20_000, noise=_noise())
    evidence, bound = sampled.log_evidence, sampled.elbo
    assert evidence.error.max() < 0.02
    assert ((evidence.value - expected).abs() < 5 * evidence.error).all()
    assert ((bound.value - expected + divergence).abs() < 5 * bound.error).all()
    # The draws of another seed scatter as the errors say: a chi-squared with 40 × 4 degrees.
    seeds = [torch.Generator().manual_seed(seed) for seed in range(40)]
    runs = [importance_weighted(vae, some, num_samples=500, noise=seed) for seed in seeds]
    for name, truth in (("log_evidence", expected), ("elbo", expected - divergence)):
        estimates = [getattr(run, name) for run in runs]
        scaled = torch.stack([(e.value - truth) / e.error for e in estimates])
        assert 0.7 < scaled.square().mean() < 1.4
    # log E w − E log mean w is half the relative variance of the mean, which the rise shows.
    bias = torch.stack([expected - run.log_evidence.value for run in runs])
    rise = torch.stack([run.rise for run in runs])
    variances = torch.stack([run.log_evidence.error.square() for run in runs])
    assert (rise.mean() / (variances.mean() / 2)).item() == pytest.approx(1, abs=0.3)
    assert abs(bias.mean() - rise.mean()) < 5 * bias.std() / math.sqrt(bias.numel())


def test_the_effective_samples_are_known_for_a_wide_encoder(linear, some: Tensor) -> None:
    # Of normals with deviation ratio s in each coordinate, E w²/(E w)² is (s²/√(2s² − 1))^q.
    sampled = importance_weighted(linear(3, scale=1.5), some, num_samples=50_000, noise=_noise())
    share = (math.sqrt(2 * 1.5**2 - 1) / 1.5**2) ** 3
    expected = torch.full((4,), 50_000 * share).double()
    torch.testing.assert_close(sampled.effective_samples, expected, rtol=0.03, atol=0)


@pytest.mark.parametrize("q", [1, 2])
def test_quadrature_agrees_with_the_known_evidence(linear, q: int, some: Tensor) -> None:
    vae = linear(q, shift=0.3, scale=1.2)
    expected, divergence = _known(vae, some)
    found, border = log_evidence(vae, some, limit=8, resolution=60)
    torch.testing.assert_close(found.value, expected, rtol=0, atol=1e-7)
    assert found.error.max() < 1e-4
    assert border.max() < 1e-3
    bound = elbo(vae, some)
    torch.testing.assert_close(bound.value, expected - divergence, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def trained(images: Tensor):
    """Trains a small VAE of a latent dimension for a few steps."""

    def train(q: int) -> VAE:
        torch.manual_seed(0)
        config = {"latent_dim": q, "width": 4, "learning_rate": 0.01, "weight_decay": 0.0}
        task, noise = VAETask(VAETask.build(config), config), torch.Generator().manual_seed(0)
        x = images.unsqueeze(1).float() / 255
        for _ in range(60):
            task.step(iter([x[torch.randperm(len(x), generator=noise)[:64]]]), noise)
        return task.model.eval()

    made = {q: train(q) for q in (1, 2, 8)}
    return made.__getitem__


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_on_a_line_the_quadrature_agrees_with_brute_force(
    trained, likelihood: str, images: Tensor
) -> None:
    vae = VAE(trained(1).encoder, trained(1).generator, likelihood)
    x = images[:2].unsqueeze(1).float() / 255
    found, border = log_evidence(vae, x, limit=6, resolution=60)
    line = torch.linspace(-6, 6, 3_001)
    for k in range(2):
        with torch.no_grad():
            parts = [vae.log_joint(z, x[k : k + 1]) for z in line[:, None].split(500)]
        joint = torch.cat(parts).double()
        integral = torch.trapezoid(torch.exp(joint - joint.max()), line.double())
        expected = (joint.max() + integral.log()).item()
        assert found.value[k].item() == pytest.approx(expected, abs=1e-3)
    assert found.error.max() < 1e-2
    assert border.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("q", [1, 2])
def test_quadrature_and_sampling_of_one_vae_agree(trained, q: int, images: Tensor) -> None:
    vae, x = trained(q), images[:15].unsqueeze(1).float() / 255
    quadrature, _ = log_evidence(vae, x, limit=6, resolution=100)
    sampled = importance_weighted(vae, x, num_samples=2000, noise=_noise())
    bound, found = elbo(vae, x), sampled.log_evidence
    assert ((sampled.elbo.value - bound.value).abs() < 5 * sampled.elbo.error + 1e-3).all()
    # A bound on average: it may exceed by its error, and lacks what no draw has reached.
    below = quadrature.value - found.value
    assert (below > -5 * found.error - 1e-3).all()
    assert below.median() < 0.05
    assert below.mean() < 0.3 * (quadrature.value - bound.value).mean()


@pytest.mark.slow
def test_the_bound_rises_with_the_number_of_draws(trained, images: Tensor) -> None:
    x = images[:30].unsqueeze(1).float() / 255
    runs = [importance_weighted(trained(8), x, num_samples=k, noise=_noise()) for k in (2, 20, 200)]
    means = [run.log_evidence.value.mean() for run in runs]
    assert runs[0].elbo.value.mean() < means[0] < means[1] < means[2]
    for run in runs:
        # By Jensen's inequality for the very draws, whatever these are.
        assert (run.elbo.value <= run.log_evidence.value).all()
        assert (run.rise >= 0).all()
        assert (run.effective_samples >= 1).all()
    assert (runs[2].effective_samples <= 200).all()


@pytest.mark.parametrize("q", [1, 2, 8])
def test_the_table_tells_how_the_evidence_was_computed(
    trained, q: int, images: Tensor, labels: Tensor
) -> None:
    table = evidence_of_images(trained(q), images, labels, **SETTINGS, noise=_noise())
    numbers = summarise_evidence(table)
    sampled = ["log_evidence_rise", "effective_samples"]
    assert numbers["samples"] == (50 if q == 8 else 0)
    assert table[sampled].isna().all(axis=None) == (q < 3)
    assert table["border_share"].isna().all() == (q == 8)
    rest = table.drop(columns=[*sampled, "border_share"])
    assert rest.notna().all(axis=None)
    assert (table["gap"] > -table["log_evidence_error"] - table["elbo_error"]).all()
    assert (table["log_evidence"] < table["ceiling"]).all()
    # Every number can be written, and averaged over seeds.
    numbers = json.loads(json.dumps(numbers))
    rows = pd.DataFrame([{"model": "vae", "seed": seed, **numbers} for seed in (0, 1)])
    assert summarise_seeds(rows)["gap_mean_mean"].item() == pytest.approx(table["gap"].mean())


class _NoClosedForm(ApproximatePosterior):
    """A normal that does not tell its divergence."""

    def __init__(self, normal: DiagonalGaussian) -> None:
        self.normal, self.mean = normal, normal.mean

    def rsample(self, noise: torch.Generator, samples: int | None = None) -> Tensor:
        return self.normal.rsample(noise, samples)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.normal.log_prob(z)


class _OtherEncoder(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> _NoClosedForm:
        return _NoClosedForm(self.encoder(x))


def test_of_another_family_the_bound_is_sampled(trained, images: Tensor, labels: Tensor) -> None:
    vae = trained(2)
    other = VAE(_OtherEncoder(vae.encoder), vae.generator).eval()
    settings = SETTINGS | {"num_samples": 500}
    expected = evidence_of_images(vae, images, labels, **settings, noise=_noise())
    found = evidence_of_images(other, images, labels, **settings, noise=_noise())
    assert (found["log_evidence"] == expected["log_evidence"]).all()
    assert found["samples"].eq(0).all()
    assert ((found["elbo"] - expected["elbo"]).abs() < 5 * found["elbo_error"]).all()
    with pytest.raises(ValueError, match="diagonal Gaussian"):
        elbo(other, images[:1].unsqueeze(1).float() / 255)


def test_the_evaluation_depends_on_the_seed_alone(trained, images: Tensor, labels: Tensor) -> None:
    def evaluate(seed: int) -> dict:
        subject = SimpleNamespace(
            seed=seed,
            model=lambda: trained(8),
            load_images=lambda split: (images, labels),
            test_clusters=Clusters.independent,
        )
        return evaluate_evidence(subject, **SETTINGS)

    first, again, other = evaluate(0), evaluate(0), evaluate(1)
    pd.testing.assert_frame_equal(first["table"], again["table"])
    assert first["numbers"]["log_evidence_mean"] != other["numbers"]["log_evidence_mean"]


def test_importance_weighting_names_what_is_wrong() -> None:
    vae, x = VAE(Encoder(3, 4), Generator(3, 4)).eval(), torch.zeros(1, 1, 28, 28)
    with pytest.raises(ValueError, match="num_samples must be at least 2, not 1"):
        importance_weighted(vae, x, num_samples=1, noise=_noise())
    with pytest.raises(ValueError, match=r"images must hold intensities in \[0, 1\]"):
        importance_weighted(vae, x + 255, num_samples=2, noise=_noise())
    with pytest.raises(ValueError, match=r"noise must be a torch\.Generator"):
        importance_weighted(vae, x, num_samples=2, noise=0)
