"""Other priors of a VAE: a mixture against SciPy, a flow against its integral, both in use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import multivariate_normal
from torch import Tensor

from dgmpipe.config import read_config
from dgmpipe.config.blocks import PriorEvaluation
from dgmpipe.evaluation.prior import Prior, evaluate_prior, fit_flow, fit_mixture, standard_normal
from dgmpipe.evaluation.subject import Subject
from dgmpipe.plan.evaluations import measurable
from dgmpipe.plan.released import RELEASED

SETTINGS: dict[str, Any] = {
    "num_codes": 400, "components": 4, "flow": "nsf", "flow_steps": 40,
    "flow_learning_rate": 0.01, "num_images": 40, "limit": 5, "resolution": 80, "num_samples": 200,
}  # fmt: skip
PRIORS = ("normal", "mixture", "flow")
# Two narrow normals, which one normal cannot be.
CENTRES = torch.tensor([[-1.5, 0.0], [1.5, 1.0]])


def _noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return CENTRES.repeat(500, 1) + 0.4 * torch.randn(1000, 2, generator=_noise())


FITS: dict[str, Callable[[Tensor], Prior]] = {
    "normal": lambda codes: standard_normal(),
    "mixture": lambda codes: fit_mixture(codes, 2, seed=0),
    "flow": lambda codes: fit_flow(codes, "nsf", 60, 0.01, seed=0),
}


@pytest.fixture(scope="module")
def fitted(codes: Tensor) -> dict[str, Prior]:
    return {name: fit(codes) for name, fit in FITS.items()}


@pytest.mark.parametrize("name", PRIORS)
def test_the_density_of_a_prior_integrates_to_one(fitted: dict[str, Prior], name: str) -> None:
    axis = torch.arange(-6, 6, 0.04)
    mass = fitted[name].log_prob(torch.cartesian_prod(axis, axis)).double().exp().sum() * 0.04**2
    assert mass.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_of_a_prior_are_of_its_density(fitted: dict[str, Prior], name: str) -> None:
    """Moments of 20,000 draws are those of the density on a grid, within 5 standard errors."""
    prior, axis = fitted[name], torch.arange(-6, 6, 0.04)
    plane = torch.cartesian_prod(axis, axis).double()
    weights = prior.log_prob(plane.float()).double().exp()
    z = prior.sample(20_000, _noise()).double()
    assert z.shape == (20_000, 2)
    for moment in (lambda y: y, torch.square, lambda y: y.prod(1, keepdim=True), torch.abs):
        expected = (weights[:, None] * moment(plane)).sum(0) / weights.sum()
        error = moment(z).std(0) / len(z) ** 0.5
        assert ((moment(z).mean(0) - expected).abs() <= 5 * error + 2e-3).all()


def test_a_mixture_of_one_is_the_normal_of_the_codes_moments(codes: Tensor) -> None:
    prior = fit_mixture(codes, 1, seed=0)
    moments = codes.double().mean(0).numpy(), np.cov(codes.double().numpy().T, bias=True)
    z = torch.randn(50, 2, generator=_noise(1), dtype=torch.float64)
    expected = multivariate_normal(*moments).logpdf(z.numpy())
    np.testing.assert_allclose(prior.log_prob(z).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["mixture", "flow"])
def test_what_is_fitted_is_nearer_to_codes_than_one_normal_can_be(
    fitted: dict[str, Prior], name: str
) -> None:
    new = CENTRES.repeat(500, 1) + 0.4 * torch.randn(1000, 2, generator=_noise(2))
    best = multivariate_normal(new.mean(0).numpy(), np.cov(new.numpy().T)).logpdf(new.numpy())
    assert fitted[name].log_prob(new).mean() > best.mean() + 0.2


@pytest.mark.parametrize("name", ["mixture", pytest.param("flow", marks=pytest.mark.slow)])
def test_the_seed_decides_what_is_fitted(codes: Tensor, name: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (FITS[name](codes).log_prob(codes[:20]) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(scope="module")
def evaluated(image_folder: Path) -> dict[str, Any]:
    """The evaluation of the released VAE on the sample of MNIST."""
    subject = Subject(
        0, {}, RELEASED / "vae/seed_0", image_folder, clusters={"length": 10, "strata": 2}
    )
    return evaluate_prior(subject, **SETTINGS)


@pytest.mark.slow
def test_the_numbers_are_those_that_a_study_can_ask_for(
    evaluated: dict[str, Any], root: Path
) -> None:
    config = read_config(yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8")))
    asked = set(measurable()["prior"].numbers(config, "vae"))
    of_judge = {f"{name}_rejected" for name in PRIORS}
    assert set(evaluated["numbers"]) == asked - of_judge
    assert set(SETTINGS) == set(PriorEvaluation.model_fields)
    assert all(np.isfinite(list(evaluated["numbers"].values())))


@pytest.mark.slow
def test_priors_of_the_codes_suit_the_trained_vae_better(evaluated: dict[str, Any]) -> None:
    numbers = evaluated["numbers"]
    assert numbers["normal_log_evidence_gain_mean"] == 0
    for name in ("mixture", "flow"):
        assert numbers[f"{name}_codes_nll"] < numbers["normal_codes_nll"]
        assert numbers[f"{name}_total_variation"] < numbers["normal_total_variation"]
        assert numbers[f"{name}_total_variation_floor"] < numbers["normal_total_variation"]
        difference = numbers[f"{name}_log_evidence_mean"] - numbers["normal_log_evidence_mean"]
        gain = numbers[f"{name}_log_evidence_gain_mean"]
        assert gain == pytest.approx(difference, abs=1e-3)


@pytest.mark.slow
def test_dots_are_where_a_prior_exceeds_the_aggregate_posterior(evaluated: dict[str, Any]) -> None:
    arrays = evaluated["arrays"]
    axis = arrays["axis"]
    for name in PRIORS:
        excess = arrays[f"{name}_density"] - arrays["aggregate"]
        columns, rows = (np.abs(axis - z[:, None]).argmin(1) for z in arrays[f"{name}_points"].T)
        least = np.sort(excess.ravel())[-1000]
        assert (excess[rows, columns] >= least).all()
        assert (np.diff(arrays[f"{name}_points"][:, 0]) >= 0).all()
