"""The moons: their sampler and their density describe the same distribution, exactly."""

import math

import numpy as np
import pytest
import torch
from scipy.special import ive, logsumexp
from scipy.stats import ks_2samp
from sklearn.datasets import make_moons

from dgmpipe.data.moons import MoonsDensity, sample_moons

NOISES = [0.02, 0.05, 0.1, 0.3]


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def brute_force_log_prob(x, noise):
    """The same density by 8-point Gauss-Legendre on 4,000 pieces of each half circle."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    width = math.pi / 4000
    angle = (width * (np.arange(4000)[:, None] + (1 + nodes) / 2)).ravel()
    weights = np.tile(weights / 2 / 4000, 4000)
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    centres = np.concatenate([outer, [1, 0.5] - outer])
    squares = ((x[:, None] - centres) ** 2).sum(axis=2)
    log_p = logsumexp(-squares / (2 * noise**2), axis=1, b=np.tile(weights / 2, 2))
    return log_p - math.log(2 * math.pi * noise**2)


@pytest.mark.parametrize("noise", NOISES)
def test_density_is_that_of_brute_force(noise):
    corners = [
        [0, 0],
        [1, 0.5],
        [1, 0],
        [-1, 0],
        [0, 0.5],
        [2, 0.5],
        [0, -1],
        [1, 1.5],
        [0.5, 0.25],
    ]
    x = np.concatenate([corners, np.random.default_rng(0).normal(0.5, 1, (40, 2))])
    log_p = MoonsDensity(noise).log_prob(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(log_p, brute_force_log_prob(x, noise), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("height", [10.0, 100.0, 1e4])
def test_density_far_above_is_that_of_a_whole_circle(noise, height):
    # The lower half and the other moon add less than a factor 1 + exp(-50).
    kappa = height / noise**2
    expected = math.log(ive(0, kappa)) - (height - 1) ** 2 / (2 * noise**2)
    expected -= math.log(2 * math.pi * noise**2)
    x = torch.tensor([[0, height]], dtype=torch.float64)
    # Both moons have probability 1/2, and half a circle is twice as dense.
    assert MoonsDensity(noise).log_prob(x).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_density_integrates_to_one(noise):
    step = noise / 2
    grid = torch.cartesian_prod(
        torch.arange(-1 - 7 * noise, 2 + 7 * noise, step, dtype=torch.float64),
        torch.arange(-0.5 - 7 * noise, 1 + 7 * noise, step, dtype=torch.float64),
    )
    mass = MoonsDensity(noise).log_prob(grid).exp().sum().item() * step**2
    assert mass == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("noise", "entropy", "tolerance"),
    [(0.02, -0.644, 5e-4), (0.05, 0.28923, 1e-5), (0.1, 1.008, 5e-4), (0.2, 1.677, 5e-4)],
)
def test_entropy_has_its_reference_value(noise, entropy, tolerance):
    assert MoonsDensity(noise).entropy() == pytest.approx(entropy, abs=tolerance)


@pytest.mark.parametrize("noise", NOISES)
def test_entropy_is_the_mean_of_minus_log_prob(noise):
    density = MoonsDensity(noise)
    surprise = -density.log_prob(sample_moons(20_000, noise, stream()))
    error = surprise.std().item() / math.sqrt(len(surprise))
    assert abs(surprise.mean().item() - density.entropy()) < 4 * error


def test_log_prob_keeps_the_dtype_and_stays_finite():
    density = MoonsDensity(0.02)
    points = sample_moons(50, 0.02, stream())
    exact = density.log_prob(points.double())
    assert exact.dtype == torch.float64
    single = density.log_prob(points)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, exact.float())
    far = torch.tensor([[1e9, -1e9], [-1e12, 0.0], [0.0, -1e15], [0.0, 0.0]], dtype=torch.float64)
    assert density.log_prob(far).isfinite().all()
    assert density.log_prob(points[:0]).shape == (0,)


def test_samples_are_distributed_as_those_of_scikit_learn():
    ours = sample_moons(20_000, 0.1, stream(1)).numpy()
    theirs = make_moons(20_000, noise=0.1, random_state=1)[0]
    for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
        assert ks_2samp(ours @ direction, theirs @ direction).pvalue > 1e-3


def test_both_moons_are_as_likely():
    # The two are each other's mirror images in the point (1/2, 1/4).
    points = sample_moons(200_000, 0.05, stream())
    error = points.std(dim=0) / math.sqrt(len(points))
    assert ((points.mean(dim=0) - torch.tensor([0.5, 0.25])).abs() < 4 * error).all()


def test_samples_are_independent_not_on_a_grid():
    points = sample_moons(1000, 1e-6, stream()).double()
    outer = (points.norm(dim=1) - 1).abs() < 1e-4
    assert outer.sum().item() != 500
    angles = torch.atan2(points[outer, 1], points[outer, 0]).sort().values
    # On make_moons's grid neighbours are π/499 apart.
    assert angles.diff().min() < math.pi / 499 / 10


def test_samples_depend_on_the_generator_alone():
    first = sample_moons(7, 0.05, stream(3))
    assert first.shape == (7, 2)
    assert first.dtype == torch.float32
    torch.manual_seed(1)
    assert torch.equal(sample_moons(7, 0.05, stream(3)), first)
    assert not torch.equal(sample_moons(7, 0.05, stream(4)), first)


@pytest.mark.parametrize("noise", [0, -0.1, math.nan, math.inf])
def test_noise_must_be_positive_and_finite(noise):
    with pytest.raises(ValueError, match="noise must be positive"):
        MoonsDensity(noise)
    with pytest.raises(ValueError, match="noise must be positive"):
        sample_moons(3, noise, stream())


def test_at_least_one_point_is_sampled():
    with pytest.raises(ValueError, match="n must be at least 1, not 0"):
        sample_moons(0, 0.05, stream())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(3), "have shape"),
        (torch.zeros(3, 3), "have shape"),
        (torch.tensor([[0.0, math.nan]]), "be numbers"),
        (torch.tensor([[math.inf, math.nan]]), "be numbers"),
    ],
)
def test_other_points_are_refused(points, message):
    with pytest.raises(ValueError, match=f"points must {message}"):
        MoonsDensity(0.05).log_prob(points)
