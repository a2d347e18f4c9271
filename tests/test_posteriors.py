"""Every family of approximate posteriors at once, and the VAE that has a choice of them."""

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from dgmpipe.config.kinds import KINDS
from dgmpipe.evaluation.evidence import evidence_of_images
from dgmpipe.evaluation.posterior import compare_posteriors, elbo, log_evidence
from dgmpipe.evaluation.split import split_gap, summarise_split
from dgmpipe.figures.figure_posteriors import figure_posteriors
from dgmpipe.models.flexible_vae import FamilyEncoder, FlexibleVAE, FlexibleVAETask
from dgmpipe.models.generator import Generator
from dgmpipe.models.posteriors import FAMILIES, Family, FullCovarianceGaussian, family_of, push
from dgmpipe.models.vae import LIKELIHOODS, VAE, Encoder

every_family = pytest.mark.parametrize("name", FAMILIES)
SETTINGS = {"kind": "flexible_vae", "steps": 10, "width": 4, "components": 3, "flow_layers": 3}


def _noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _members(name: str, n: int) -> tuple[Family, Tensor]:
    """Return a family of the plane and codes of members far from normal, if it has such."""
    torch.manual_seed(0)
    family = family_of(name, 2, components=3, layers=3).double()
    code = 0.6 * torch.randn(n, family.size, generator=_noise()).double()
    return family, code.requires_grad_()


def _plane(points: int) -> tuple[Tensor, float]:
    """Return the points (M, 2) of a grid that holds the members, and the size of a cell."""
    axis = torch.linspace(-16, 16, points, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (32 / (points - 1)) ** 2


def _wave(z: Tensor) -> Tensor:
    return torch.cos(0.7 * z[..., 0]) + torch.sin(z[..., 1]) * torch.exp(-z[..., 0].square())


@every_family
def test_densities_integrate_to_one(name: str) -> None:
    family, code = _members(name, 2)
    plane, cell = _plane(240)
    with torch.no_grad():
        density = family(code).log_prob(plane[None]).exp()
    assert ((density.sum(1) * cell - 1).abs() < 2e-3).all()


@every_family
def test_draws_and_density_agree(name: str) -> None:
    family, code = _members(name, 3)
    plane, cell = _plane(200)
    with torch.no_grad():
        posterior = family(code)
        draws = posterior.rsample(_noise(), samples=6_000)
        weight = posterior.log_prob(plane[None]).exp() * cell
        for wave in (_wave, lambda z: torch.tanh(z[..., 0] * z[..., 1])):
            found, expected = wave(draws), (weight * wave(plane)).sum(1)
            error = found.std(1) / math.sqrt(6_000)
            assert ((found.mean(1) - expected).abs() < 5 * error + 2e-3).all()
        # A flow's mean is over 1,024 points.
        away = (posterior.mean - draws.mean(1)).abs()
        assert (away < 6 * draws.std(1) / math.sqrt(1000)).all()
        assert posterior.rsample(_noise()).shape == (3, 2)


@every_family
def test_the_density_where_noise_is_pushed_is_the_density_there(name: str) -> None:
    family, code = _members(name, 3)
    for noise in (torch.randn(7, 2, generator=_noise()), torch.randn(3, 7, 2, generator=_noise())):
        z, log_density, log_weight = push(family(code), noise.double())
        again = family(code).log_prob(z)
        torch.testing.assert_close(again, log_density, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(log_weight.exp().sum(1), torch.ones(3).double())
        # Along either way the parameters are seen.
        first, second = (
            torch.autograd.grad(v.sum(), code, retain_graph=True)[0] for v in (again, log_density)
        )
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)


@every_family
def test_derivatives_of_draws_are_those_of_the_expectation(name: str) -> None:
    family, code = _members(name, 1)
    draws = family(code).rsample(_noise(), samples=6_000)
    found = torch.cat([
        torch.autograd.grad(_wave(part).mean(), code, retain_graph=True)[0]
        for part in draws.split(200, dim=1)
    ])  # fmt: skip
    plane, cell = _plane(200)
    expectation = (family(code).log_prob(plane[None]).exp() * _wave(plane)).sum() * cell
    (expected,) = torch.autograd.grad(expectation, code)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - expected[0]).abs() < 5 * error + 2e-3).all()
    assert expected.abs().max() > 0.05


@every_family
def test_latent_points_of_another_shape_are_refused(name: str) -> None:
    family, code = _members(name, 3)
    posterior = family(code)
    assert posterior.log_prob(torch.zeros(1, 2).double()).shape == (3,)
    assert posterior.log_prob(torch.zeros(3, 4, 5, 2).double()).shape == (3, 4, 5)
    for shape in ((4, 2), (3, 5, 3), (2,)):
        with pytest.raises(ValueError, match=r"shape \(3, ..., 2\) or \(1, ..., 2\), not"):
            posterior.log_prob(torch.zeros(shape).double())
    with pytest.raises(ValueError, match=r"noise must be a torch\.Generator"):
        posterior.rsample(7)
    with pytest.raises(ValueError, match="samples must be at least 1, not 0"):
        posterior.rsample(_noise(), samples=0)


@pytest.mark.parametrize("q", [1, 3])
def test_the_full_covariance_agrees_with_torch_distributions(q: int) -> None:
    family = family_of("full_covariance", q)
    posterior = family(torch.randn(6, family.size, generator=_noise()).double())
    assert isinstance(posterior, FullCovarianceGaussian)
    oracle = MultivariateNormal(posterior.mean, scale_tril=posterior.scale)
    prior = MultivariateNormal(torch.zeros(q).double(), torch.eye(q).double())
    torch.testing.assert_close(posterior.kl_to_standard_normal(), kl_divergence(oracle, prior))
    z = torch.randn(6, q, generator=_noise()).double()
    torch.testing.assert_close(posterior.log_prob(z), oracle.log_prob(z))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="posterior must be one of diagonal, "):
        family_of("cauchy", 2)
    for name in ("iaf", "realnvp"):
        with pytest.raises(ValueError, match="at least two latent dimensions"):
            family_of(name, 1)
        with pytest.raises(ValueError, match=f"posterior {name} needs a latent_dim of at least 2"):
            KINDS["flexible_vae"].settings.model_validate(
                SETTINGS | {"posterior": name, "latent_dim": 1}
            )


@pytest.fixture(scope="module")
def trained(images: Tensor):
    """A function that returns a small VAE of a family after a short training, in eval mode."""
    made: dict[str, FlexibleVAE] = {}

    def train(name: str) -> FlexibleVAE:
        if name not in made:
            torch.manual_seed(0)
            kind = KINDS["flexible_vae"].settings
            given = SETTINGS | {"posterior": name, "learning_rate": 0.01}
            config = kind.model_validate(given).model_dump()
            task, noise = FlexibleVAETask(FlexibleVAETask.build(config), config), _noise()
            x = images.unsqueeze(1).float() / 255
            for _ in range(30):
                task.step(iter([x[torch.randperm(len(x), generator=noise)[:64]]]), noise)
            assert all(p.grad is not None and p.grad.isfinite().all() for p in _parameters(task))
            made[name] = task.model.eval()
        return copy.deepcopy(made[name])

    return train


def _parameters(task: FlexibleVAETask) -> list[Tensor]:
    return list(task.model.parameters())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "iaf" else [pytest.mark.slow]) for name in FAMILIES],
)
def test_bounds_are_in_their_order(name: str, trained, images: Tensor) -> None:
    vae, x = trained(name), images[:6].unsqueeze(1).float() / 255
    many = x.repeat_interleave(100, dim=0)
    with torch.no_grad():
        elbo_draws, weighted = (vae.bound(many, _noise(), k).view(6, 100).double() for k in (1, 5))
        evidence, _ = log_evidence(vae, x, limit=6, resolution=100)
    error = elbo_draws.std(1) / math.sqrt(100)
    assert (elbo_draws.mean(1) < evidence.value + 5 * error + evidence.error).all()
    bound = elbo(vae, x)
    assert ((elbo_draws.mean(1) - bound.value).abs() < 5 * error + bound.error + 1e-3).all()
    # Of 5 draws the bound is tighter, and below as well.
    error = error + weighted.std(1) / math.sqrt(100)
    assert (elbo_draws.mean(1) < weighted.mean(1) + 5 * error).all()
    assert elbo_draws.mean() < weighted.mean() < evidence.value.mean()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_with_the_papers_family_it_is_the_papers_vae(likelihood: str, images: Tensor) -> None:
    torch.manual_seed(0)
    encoder, generator = Encoder(2, 4), Generator(2, 4)
    flexible = FlexibleVAE(FamilyEncoder(family_of("diagonal", 2), 4), generator, likelihood)
    flexible.encoder.features.load_state_dict(encoder.features.state_dict())
    for key in ("weight", "bias"):
        parts = [getattr(part, key).data for part in (encoder.mean, encoder.log_variance)]
        getattr(flexible.encoder.output, key).data = torch.cat(parts)
    plain = VAE(encoder, generator, likelihood)
    x = images[:16].unsqueeze(1).float() / 255
    expected, found = (vae.eval().elbo(x, _noise()) for vae in (plain, flexible))
    torch.testing.assert_close(found, expected)


def test_refinement_raises_the_bound_of_each_image(trained, images: Tensor) -> None:
    plain, x = trained("full_covariance"), images[:20].unsqueeze(1).float() / 255
    refined = FlexibleVAE(plain.encoder, plain.generator, refinement_steps=10).eval()
    code = refined.encoder.code(x)
    with torch.no_grad():
        # More of the same points of noise, so that the two differ by the codes alone.
        before, after = (
            refined.bound_of(refined.encoder.family(c), x, _noise(), 1)
            for c in (code, refined.refined(code, x))
        )
        many = x.repeat_interleave(50, dim=0)
        bounds = [
            refined.bound_of(refined.encoder.family(c.repeat_interleave(50, dim=0)), many, _noise())
            for c in (code, refined.refined(code, x))
        ]
    gain = (bounds[1] - bounds[0]).view(20, 50).mean(1)
    assert gain.mean() > 0.5
    assert (gain > -0.2).all()
    assert not torch.equal(before, after)
    # The encoder has it in evaluation mode, with or without derivatives, and not in training.
    mean = refined.encoder(x).mean
    torch.testing.assert_close(mean, refined.encoder.family(refined.refined(code, x)).mean)
    assert not torch.allclose(mean, refined.encoder.family(code).mean)
    torch.testing.assert_close(copy.deepcopy(refined).encoder(x).mean, mean)
    torch.testing.assert_close(refined.train().encoder(x).mean, refined.encoder.family(code).mean)


def test_trained_with_refinement_the_encoder_learns_as_well(images: Tensor) -> None:
    torch.manual_seed(0)
    kind = KINDS["flexible_vae"].settings
    config = kind.model_validate(
        SETTINGS | {"refinement_steps": 2, "train_refined": True, "learning_rate": 0.01}
    )
    task = FlexibleVAETask(FlexibleVAETask.build(config.model_dump()), config.model_dump())
    x, noise = images[:32].unsqueeze(1).float() / 255, _noise()
    losses = [task.step(iter([x]), noise)["loss"].item() for _ in range(15)]
    assert losses[-1] < losses[0] - 100
    assert all(p.requires_grad and p.grad.abs().sum() > 0 for p in task.model.parameters())
    with torch.no_grad():
        code = task.model.encoder.code(x)
        own, other = (
            task.model.bound_of(task.model.encoder.family(c), x, _noise()).mean()
            for c in (code, torch.zeros_like(code))
        )
    assert own > other + 10


@pytest.mark.parametrize("posterior", ["diagonal", "realnvp"])
def test_trained_with_refinement_the_likelihood_learns_from_the_refined_codes_alone(
    posterior: str, images: Tensor
) -> None:
    torch.manual_seed(0)
    chosen = {"refinement_steps": 2, "train_refined": True, "likelihood": "gaussian"}
    settings = SETTINGS | chosen | {"posterior": posterior}
    config = KINDS["flexible_vae"].settings.model_validate(settings).model_dump()
    task = FlexibleVAETask(FlexibleVAETask.build(config), config)
    model, x = copy.deepcopy(task.model), images[:8].unsqueeze(1).float() / 255
    task.step(iter([x]), _noise())
    noise = _noise()
    code = model.encoder.code(x)
    own = -model.bound_of(model.encoder.family(code), x, noise, 1).mean()
    encoder = [*model.encoder.parameters()]
    of_encoder = torch.autograd.grad(own, encoder)
    posterior_of_refined = model.encoder.family(model.refined(code.detach(), x))
    refined = -model.bound_of(posterior_of_refined, x, noise, 1).mean()
    likelihood = [*model.generator.parameters(), model.log_deviation]
    of_likelihood = torch.autograd.grad(refined, likelihood)
    trained = [*task.model.encoder.parameters(), *task.model.generator.parameters()]
    found = [p.grad for p in [*trained, task.model.log_deviation]]
    torch.testing.assert_close(found, [*of_encoder, *of_likelihood])


def test_the_gaussian_likelihood_is_a_density_with_a_ceiling(images: Tensor) -> None:
    torch.manual_seed(0)
    encoder = FamilyEncoder(family_of("diagonal", 2), 4)
    vae = FlexibleVAE(encoder, Generator(2, 4), "gaussian").double().eval()
    x, z = images[:3].unsqueeze(1).double() / 255, torch.randn(3, 2).double()
    with torch.no_grad():
        mean = vae.generator(z)
        oracle = Independent(Normal(mean, vae.log_deviation.exp()), 3)
        torch.testing.assert_close(vae.log_likelihood(z, x), oracle.log_prob(x))
        torch.testing.assert_close(vae.ceiling(x), oracle.log_prob(mean))
        # The quadrature knows it as well.
        evidence, _ = log_evidence(vae, x, limit=6, resolution=60)
        axis = torch.linspace(-6, 6, 60, dtype=torch.float64)
        plane = torch.cartesian_prod(axis, axis)
        joint = torch.stack([vae.log_joint(plane, image[None]) for image in x])
    expected = joint.logsumexp(1) + 2 * math.log(12 / 59)
    torch.testing.assert_close(evidence.value, expected)
    table = evidence_of_images(
        vae.float(),
        images,
        None,
        num_images=5,
        limit=6,
        resolution=40,
        num_samples=2,
        noise=_noise(),
    )
    assert (table["log_evidence"] < table["ceiling"]).all()
    assert table["ceiling"].nunique() == 1


SPLIT = {"num_images": 5, "limit": 5, "resolution": 120, "num_starts": 3, "num_steps": 150}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diagonal", "mixture", "iaf"])
def test_the_parts_of_the_gap_add_up_to_it_within_the_stated_error(
    name: str, trained, images: Tensor, labels: Tensor
) -> None:
    table = split_gap(trained(name), images, labels, **SPLIT)
    # Each part is a quadrature of its own, and none is made of the others.
    assert (table["left"].abs() <= table["error"] + 1e-3).all()
    assert (table["error"] < 0.2).all()
    assert (table["gap_error"] >= table["evidence_error"]).all()
    assert (table["family_gap"] > -table["error"]).all()
    assert (table["amortisation_gap"] >= 0).all()
    assert table["amortisation_gap"].mean() > 0.05
    numbers = summarise_split(table)
    parts = numbers["family_gap_mean"] + numbers["amortisation_gap_mean"] + numbers["left_mean"]
    assert parts == pytest.approx(numbers["gap_mean"])
    assert numbers["gap_standard_error"] == pytest.approx(table["gap"].sem())


@pytest.mark.slow
def test_an_encoder_that_has_the_best_member_loses_nothing(trained, images: Tensor) -> None:
    plain = trained("diagonal")
    refined = FlexibleVAE(plain.encoder, plain.generator, refinement_steps=60).eval()
    found = split_gap(refined, images, None, **SPLIT)
    plain.encoder.refine = None
    before = split_gap(plain, images, None, **SPLIT)
    assert found["gap"].mean() < before["gap"].mean() - 0.1
    assert found["amortisation_gap"].mean() < 0.2 * before["amortisation_gap"].mean()
    # What the family cannot express does not depend on the encoder.
    assert (found["family_gap"] - before["family_gap"]).abs().max() < 0.02


def test_the_figure_shows_the_same_images_under_each(trained, images: Tensor) -> None:
    arrays = [
        compare_posteriors(trained(name), images, None, [4, 7], limit=5, resolution=40)
        for name in ("diagonal", "mixture")
    ]
    figure = figure_posteriors(arrays, ["one", "other"])
    panels = [axes for axes in figure.axes if "gap" in axes.get_xlabel()]
    gaps = [float(axes.get_xlabel().split()[1]) for axes in panels]
    expected = torch.stack([a["log_evidence"] - a["elbo"] for a in arrays], 1).flatten()
    assert gaps == pytest.approx(expected.tolist(), abs=0.006)
    assert [axes.get_title() for axes in panels] == ["one", "other", "one", "other"]
    other = compare_posteriors(trained("iaf"), images, None, [4, 8], limit=5, resolution=20)
    with pytest.raises(ValueError, match="of different images"):
        figure_posteriors([arrays[0], other], ["one", "other"])
