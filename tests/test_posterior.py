import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import cubature

from dgmpipe.evaluation import posterior_grid
from dgmpipe.evaluation.evidence import evidence_of_images, summarise_evidence
from dgmpipe.evaluation.latent import aggregate_posterior, latent_structure
from dgmpipe.evaluation.posterior import compare_posteriors, elbo, log_evidence
from dgmpipe.models import VAE, Encoder, Generator
from dgmpipe.models.approximation import DiagonalGaussian
from dgmpipe.models.vae import LIKELIHOODS, VAETask
from dgmpipe.statistics.clusters import Clusters


@pytest.fixture(scope="module")
def trained(images: torch.Tensor) -> VAE:
    """A VAE after a short training, so that posteriors are narrow and have several modes."""
    torch.manual_seed(0)
    config = {"latent_dim": 2, "width": 8, "learning_rate": 0.005, "weight_decay": 0.0}
    task = VAETask(VAETask.build(config), config)
    x, noise = images.unsqueeze(1).float() / 255, torch.Generator().manual_seed(0)
    for _ in range(80):
        task.step(iter([x[torch.randperm(len(x), generator=noise)[:64]]]), noise)
    return task.model.eval()


class _LinearGenerator(torch.nn.Module):
    """Logits that are linear in z, so that everything about the posterior is smooth."""

    latent_dim = 2
    image_shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(0.1 * torch.randn(784, 2, generator=stream))

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.weight.T.to(z)).view(-1, 1, 28, 28)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.logits(z))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_evidence_agrees_with_adaptive_quadrature(likelihood: str, images: torch.Tensor) -> None:
    vae = VAE(Encoder(), _LinearGenerator(), likelihood).double()
    x = images[:1].unsqueeze(1).double() / 255
    with torch.no_grad():
        peak = posterior_grid(vae, x[0, 0], limit=6, resolution=101).log_joint.max().item()

        def density(z: np.ndarray) -> np.ndarray:
            return (vae.log_joint(torch.from_numpy(z), x) - peak).exp().numpy()

        integral = cubature(density, [-6, -6], [6, 6], rtol=1e-6)
        expected = peak + math.log(integral.estimate)
    grid = posterior_grid(vae, x[0, 0], limit=6, resolution=101)
    assert grid.log_evidence == pytest.approx(expected, abs=1e-4)
    assert grid.log_evidence_error < 1e-3


def test_posterior_integrates_to_one(trained: VAE, images: torch.Tensor) -> None:
    grid = posterior_grid(trained, images[0].float() / 255, limit=5, resolution=201)
    cell = (grid.axis[1] - grid.axis[0]) ** 2
    assert (grid.log_posterior.exp().sum() * cell).item() == pytest.approx(1, abs=1e-5)


def test_grid_has_z1_along_columns_and_its_map_at_the_maximum(
    trained: VAE, images: torch.Tensor
) -> None:
    image = images[0].float() / 255
    grid = posterior_grid(trained, image, resolution=50)
    with torch.no_grad():
        z = torch.stack([grid.axis[30], grid.axis[7]])
        expected = trained.log_joint(z[None], image[None, None])[0]
        at_map = trained.log_joint(grid.map[None], image[None, None])[0]
    assert grid.log_joint[7, 30].item() == pytest.approx(expected.item(), abs=1e-2)
    assert grid.log_joint.max().item() == pytest.approx(at_map.item(), abs=1e-2)


@pytest.mark.slow
def test_evidence_of_many_is_that_of_each(trained: VAE, images: torch.Tensor) -> None:
    x = images[:3].unsqueeze(1).float() / 255
    together, border = log_evidence(trained, x, resolution=100)
    for k in range(3):
        alone = posterior_grid(trained, x[k, 0], resolution=100)
        assert together.value[k].item() == pytest.approx(alone.log_evidence, abs=1e-3)
        assert together.error[k].item() == pytest.approx(alone.log_evidence_error, abs=1e-3)
    assert (border < 1e-2).all()


@pytest.mark.slow
def test_tiles_that_are_left_out_change_nothing(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, points = _LinearGenerator(), []
    with torch.no_grad():
        generator.weight.mul_(5)  # narrow posteriors, far from one another
    vae, logits = VAE(Encoder(), generator), generator.logits
    monkeypatch.setattr(generator, "logits", lambda z: points.append(len(z)) or logits(z))
    x = images[:3].unsqueeze(1).float() / 255
    few, few_border = log_evidence(vae, x, limit=8, resolution=400)
    evaluated = sum(points)
    monkeypatch.setattr("dgmpipe.evaluation.posterior._FAR", math.inf)
    whole, border = log_evidence(vae, x, limit=8, resolution=400)
    assert evaluated < 0.5 * 400**2 < sum(points) - evaluated
    torch.testing.assert_close(few.value, whole.value, rtol=0, atol=2e-4)
    torch.testing.assert_close(few.error, whole.error, rtol=0, atol=2e-4)
    torch.testing.assert_close(few_border, border, rtol=1e-2, atol=1e-15)


@pytest.mark.slow
def test_stated_errors_are_of_the_size_of_the_true_ones(trained: VAE, images: torch.Tensor) -> None:
    x = images[:20].unsqueeze(1).float() / 255
    coarse, _ = log_evidence(trained, x, resolution=100)
    fine, _ = log_evidence(trained, x, resolution=301)
    bound, fine_bound = elbo(trained, x), elbo(trained, x, limit=6, spacing=0.25)
    for estimate, reference in ((coarse, fine), (bound, fine_bound)):
        true_error = (estimate.value - reference.value).abs()
        assert (true_error <= estimate.error + 1e-3).double().mean() >= 0.8
        assert (true_error <= 3 * estimate.error + 1e-3).all()


@pytest.mark.slow
def test_elbo_agrees_with_monte_carlo(trained: VAE, images: torch.Tensor) -> None:
    x, stream = images[:5].unsqueeze(1).float() / 255, torch.Generator().manual_seed(1)
    with torch.no_grad():
        draws = torch.stack([trained.elbo(x, stream) for _ in range(2000)]).double()
    standard_error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - elbo(trained, x).value).abs() < 5 * standard_error + 0.01).all()


@pytest.mark.slow
def test_elbo_never_exceeds_the_evidence(trained: VAE, images: torch.Tensor) -> None:
    table = evidence_of_images(
        trained, images, torch.zeros(len(images)), num_images=100, limit=5, resolution=200,
        num_samples=2, noise=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert len(table) == 100
    assert table["index"].is_unique
    assert (table["gap"] > -(table["log_evidence_error"] + table["elbo_error"])).all()
    assert table["gap"].mean() > 0.05
    summary = summarise_evidence(table)
    assert summary["gap_smallest"] == table["gap"].min()
    assert summary["elbo_mean"] < summary["log_evidence_mean"]
    assert (table["log_evidence"] < table["ceiling"]).all()
    # What is said of MNIST's test images, of the part of them that comes with the tests.
    assert -60 < summary["ceiling_mean"] == table["ceiling"].mean() < -30
    assert summary["gap_standard_error"] == pytest.approx(table["gap"].sem())
    # By the positions among all images, of which the table has a third.
    clusters = Clusters.in_order(len(images), 15)
    error = summarise_evidence(table, clusters)["gap_standard_error"]
    gaps = torch.tensor(table["gap"].to_numpy())
    assert error**2 == pytest.approx(Clusters.in_order(100, 5).variance_of_mean(gaps))
    assert error != pytest.approx(table["gap"].sem(), rel=1e-3)


@pytest.mark.slow
def test_the_gap_is_the_divergence_of_the_approximate_posterior(
    trained: VAE, images: torch.Tensor
) -> None:
    # log p(x) − ELBO = KL(e(z|x) ‖ p(z|x)), computed here from the two densities of Figure 7.
    arrays = compare_posteriors(trained, images, torch.arange(300), [4], limit=5, resolution=250)
    cell = (arrays["axis"][1] - arrays["axis"][0]).double() ** 2
    approximate = arrays["log_approximate"][0].double()
    ratio = approximate - arrays["log_posterior"][0].double()
    divergence = (approximate.exp() * ratio).sum() * cell
    gap = arrays["log_evidence"] - arrays["elbo"]
    assert gap[0].item() == pytest.approx(divergence.item(), abs=0.02)
    assert arrays["label"].tolist() == [4]


def test_posteriors_in_another_precision_are_the_same(trained: VAE, images: torch.Tensor) -> None:
    settings = {"limit": 5, "resolution": 40}
    single = compare_posteriors(trained, images, torch.arange(300), [4, 7], **settings)
    double = copy.deepcopy(trained).double()
    precise = compare_posteriors(double, images, torch.arange(300), [4, 7], **settings)
    for name, values in precise.items():
        torch.testing.assert_close(values.double(), single[name].double(), rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_one_sample_estimates_of_the_bound_have_it_as_their_mean(
    trained: VAE, images: torch.Tensor
) -> None:
    x = images[:20].unsqueeze(1).float() / 255
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        estimates = torch.stack([trained.elbo(x, stream) for _ in range(400)]).double()
    standard_errors = estimates.std(0) / 20
    deviations = (estimates.mean(0) - elbo(trained, x).value) / standard_errors
    # More than 5 standard errors: one in 80,000 of twenty normal deviations.
    assert deviations.abs().max() < 5


def test_aggregate_posterior_is_the_mean_density() -> None:
    stream = torch.Generator().manual_seed(0)
    mean, log_variance, z = (torch.randn(n, 2, generator=stream) for n in (30, 30, 40))
    normal = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    expected = normal.log_prob(z[:, None]).sum(2).exp().mean(1)
    parts = (values.split([20, 10]) for values in (mean, log_variance))
    posteriors = [DiagonalGaussian(*part) for part in zip(*parts, strict=True)]
    torch.testing.assert_close(aggregate_posterior(posteriors, z), expected)


def test_shown_points_are_where_the_prior_exceeds_the_aggregate(
    trained: VAE, images: torch.Tensor
) -> None:
    x = images.unsqueeze(1).float() / 255
    structure = latent_structure(
        trained, x, samples_per_image=10, limit=4, resolution=80,
        num_candidates=300, num_points=64, noise=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert structure.samples.shape == (len(x), 10, 2)
    assert structure.point_images.shape == (64, 28, 28)
    assert (structure.points[1:, 0] >= structure.points[:-1, 0]).all()
    assert len(structure.points.unique(dim=0)) == 64
    with torch.no_grad():
        posterior = trained.encoder(x)

    def excess(z: torch.Tensor) -> torch.Tensor:
        prior = torch.exp(-0.5 * z.square().sum(1)) / (2 * math.pi)
        return prior - aggregate_posterior([posterior], z)

    axis = torch.linspace(-4, 4, 80)
    everywhere = excess(torch.cartesian_prod(axis, axis)).sort(descending=True).values
    assert excess(structure.points).min() >= everywhere[300]


def test_quadrature_refuses_other_latent_spaces(images: torch.Tensor) -> None:
    vae = VAE(Encoder(latent_dim=3), Generator(latent_dim=3)).eval()
    with pytest.raises(ValueError, match="one- or two-dimensional latent space"):
        log_evidence(vae, images[:1].unsqueeze(1).float())
    with pytest.raises(ValueError, match="one- or two-dimensional latent space"):
        elbo(vae, images[:1].unsqueeze(1).float())
    line = VAE(Encoder(latent_dim=1), Generator(latent_dim=1)).eval()
    with pytest.raises(ValueError, match=r"needs a two-dimensional .* has dimension 1"):
        posterior_grid(line, images[0].float() / 255)
    two = VAE(Encoder(), Generator()).eval()
    with pytest.raises(ValueError, match=r"shape \(28, 28\)"):
        posterior_grid(two, torch.zeros(1, 28, 28))
    with pytest.raises(ValueError, match="resolution must be at least 4, not 2"):
        posterior_grid(two, torch.zeros(28, 28), resolution=2)
