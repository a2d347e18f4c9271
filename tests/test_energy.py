"""The energy distance and its permutation test, against other codes, brute force and theory."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgmpipe.evaluation import energy_distance, energy_test
from dgmpipe.statistics.energy import energy_distances, pairwise_distances
from dgmpipe.streams import random_stream


def normal(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=random_stream(seed, "test"), dtype=torch.float64)


def exact_distances(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """All distances from differences in the longest floating-point type."""
    difference = x.numpy().astype(np.longdouble)[:, None] - y.numpy().astype(np.longdouble)
    return np.sqrt((difference**2).sum(-1))


def brute_force(distances: np.ndarray, labelled: np.ndarray) -> tuple[float, float]:
    """T and the unbiased distance of one partition, from pairs one by one."""
    n, m = labelled.sum(), (~labelled).sum()
    within = distances[np.ix_(labelled, labelled)].sum()
    rest = distances[np.ix_(~labelled, ~labelled)].sum()
    across = 2 * distances[np.ix_(labelled, ~labelled)].mean()
    statistic = n * m / (n + m) * (across - within / n**2 - rest / m**2)
    if n == 1:
        return float(statistic), math.nan
    return float(statistic), float(across - within / (n * (n - 1)) - rest / (m * (m - 1)))


def permuted_labels(n: int, m: int, num_permutations: int, seed: int) -> list[np.ndarray]:
    """The partitions that the test draws: the smaller sample's size of each permutation."""
    stream = random_stream(seed, "energy test")
    chosen = [torch.randperm(n + m, generator=stream)[:n] for _ in range(num_permutations)]
    return [np.isin(np.arange(n + m), index.numpy()) for index in chosen]


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e8])
@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-5, 1e-2, 0.03, 0.1, 1.0])
def test_distances_keep_their_digits_near_and_far(offset, gap):
    x = normal(40, 30) + offset
    # Each y has one x at a distance of about `gap`; the rest are as far as the x are apart.
    y = x.flip(0) + gap * normal(40, 30, seed=1) / math.sqrt(30)
    distances = pairwise_distances(x, y)
    assert distances.dtype == torch.float64
    np.testing.assert_allclose(distances, exact_distances(x, y).astype(float), rtol=2e-12)
    if gap == 0:
        assert (distances.flip(1).diagonal() == 0).all()


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_distances_of_a_collapsed_sample_and_of_outliers(scale):
    # Clusters far narrower than their distance, repeated points, and one point far from all.
    x = torch.cat([normal(20, 3) * 1e-7, 50 + normal(20, 3) * 1e-7, torch.full((5, 3), 1e9)])
    x = scale * torch.cat([x, x[:9]])
    distances = pairwise_distances(x, x)
    np.testing.assert_allclose(distances, exact_distances(x, x).astype(float), rtol=2e-12)
    assert (distances.diagonal() == 0).all()


def test_few_near_pairs_are_recomputed_in_parts(monkeypatch):
    monkeypatch.setattr("dgmpipe.statistics.energy._VALUES_AT_ONCE", 90)
    x = normal(50, 30)
    np.testing.assert_allclose(pairwise_distances(x, x), exact_distances(x, x).astype(float))


@pytest.mark.slowest
@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (5, 9, 3), (30, 17, 784)])
def test_agrees_with_dcor(n, m, d):
    import dcor  # whose numba takes seconds, which no other test should wait for

    x, y = normal(n, d), 1.1 * normal(m, d, seed=1) + 0.2
    result = energy_test(x, y, num_permutations=1)
    statistic = dcor.homogeneity.energy_test_statistic(x.numpy(), y.numpy())
    assert result.statistic == pytest.approx(statistic, rel=1e-10)
    unbiased = dcor.energy_distance(
        x.numpy(), y.numpy(), estimation_stat=dcor.EstimationStatistic.U_STATISTIC
    )
    estimate = energy_distance(x, y)
    assert estimate.value == pytest.approx(unbiased, rel=1e-10)
    assert result.energy_distance == pytest.approx(unbiased, rel=1e-10)
    assert result.standard_error == pytest.approx(estimate.standard_error, rel=1e-10)


def test_agrees_with_scipy_in_one_dimension():
    # SciPy's distance is the root of 2 ∫ (F − G)², and that integral is half the energy distance.
    x, y = normal(13), normal(8, seed=1) + 0.5
    expected = 13 * 8 / 21 * scipy.stats.energy_distance(x, y) ** 2
    assert energy_test(x, y, num_permutations=1).statistic == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (2, 3), (4, 4), (7, 3)])
@pytest.mark.parametrize("d", [1, 4])
def test_every_permutation_is_the_one_by_brute_force(n, m, d):
    # Values on a lattice: many partitions tie with the observed one.
    x, y = normal(n, d).round(), normal(m, d, seed=1).round() + 1
    result = energy_test(x, y, num_permutations=60, seed=5)
    first, second = sorted((x, y), key=len)
    pooled = torch.cat([first, second])
    distances = exact_distances(pooled, pooled)
    observed = np.arange(n + m) < min(n, m)
    statistic, unbiased = brute_force(distances, observed)
    null = [brute_force(distances, s) for s in permuted_labels(min(n, m), max(n, m), 60, 5)]
    null_statistics, null_unbiased = np.array(null).T
    assert result.statistic == pytest.approx(statistic, abs=1e-12)
    assert result.energy_distance == pytest.approx(unbiased, abs=1e-12, nan_ok=True)
    np.testing.assert_allclose(result.null_distribution, null_statistics, atol=1e-12)
    np.testing.assert_allclose(result.null_energy_distance, null_unbiased, atol=1e-12)
    assert result.pvalue == (1 + (null_statistics >= statistic - 1e-9).sum()) / 61


@pytest.mark.parametrize(("n", "m", "share"), [(2, 2, 1 / 3), (3, 3, 1 / 10), (2, 4, 1 / 15)])
def test_a_permutation_that_is_the_observed_partition_counts(n, m, share):
    # The samples are far apart: only the observed partition, and for n = m its complement, reach T.
    x, y = normal(n, 50), normal(m, 50, seed=1) + 100
    result = energy_test(x, y, num_permutations=3_000, seed=1)
    labels = permuted_labels(n, m, 3_000, 1)
    same = sum(len({bool(v) for v in s[:n]}) == 1 == len(set(s[n:].tolist())) for s in labels)
    assert result.pvalue == (1 + same) / 3_001
    assert result.pvalue == pytest.approx(share, rel=0.2)


def test_the_mean_over_all_partitions_is_that_of_the_null():
    # The mean of the unbiased distance over all partitions is 0.
    x, y = normal(3, 2), normal(4, 2, seed=1) + 1
    pooled = torch.cat([x, y])
    distances = exact_distances(pooled, pooled)
    partitions = [np.isin(np.arange(7), c) for c in itertools.combinations(range(7), 3)]
    values = np.array([brute_force(distances, s) for s in partitions])
    assert values[:, 1].mean() == pytest.approx(0, abs=1e-12)
    result = energy_test(x, y, num_permutations=4_000)
    for null, exact in zip(
        (result.null_distribution, result.null_energy_distance), values.T, strict=True
    ):
        assert abs(null.mean() - exact.mean()) < 4 * exact.std() / math.sqrt(4_000)
        assert null.std() == pytest.approx(exact.std(), rel=0.1)


@pytest.mark.slow
def test_pvalues_are_uniform_under_equality():
    # With B = 9 they are 0.1, ..., 1, each with probability 0.1 but for ties: a permutation repeats
    # the partition with probability 1/210.
    pvalues = [
        energy_test(
            normal(4, 3, seed=2 * s), normal(6, 3, seed=2 * s + 1), num_permutations=9, seed=s
        ).pvalue
        for s in range(1_000)
    ]
    counts = np.bincount(np.round(10 * np.array(pvalues)).astype(int), minlength=11)
    assert counts[0] == 0
    assert scipy.stats.chisquare(counts[1:]).pvalue > 0.01


@pytest.mark.slow
def test_pvalues_of_tied_data_stay_valid():
    # Coin flips, 4 against 4: the statistic has a few values only, and most partitions tie.
    coins = [(normal(8, seed=s) > 0).double() for s in range(500)]
    pvalues = np.array(
        [energy_test(c[:4], c[4:], num_permutations=19, seed=s).pvalue for s, c in enumerate(coins)]
    )
    for level in (0.05, 0.1, 0.25, 0.5):
        share = (pvalues <= level).mean()
        assert share < level + 3 * math.sqrt(level * (1 - level) / 500)


@pytest.mark.parametrize("change", [lambda y: y + 0.7, lambda y: 2 * y])
def test_finds_a_shift_and_a_scale(change):
    x, y = normal(100, 5), normal(80, 5, seed=1)
    assert energy_test(x, y, num_permutations=199).pvalue > 0.05
    result = energy_test(x, change(y), num_permutations=199)
    assert result.pvalue == 1 / 200
    assert result.energy_distance > result.null_energy_distance.max()


@pytest.mark.parametrize("block_size", [1, 7, 13, 24, 1000])
def test_blocks_change_nothing_but_rounding(block_size, monkeypatch):
    x, y = normal(13, 6), normal(11, 6, seed=1) + 0.3
    whole = energy_test(x, y, num_permutations=50)
    monkeypatch.setattr("dgmpipe.statistics.energy._PARTITIONS_AT_ONCE", 8)
    parts = energy_test(x, y, num_permutations=50, block_size=block_size)
    for name, value in vars(whole).items():
        torch.testing.assert_close(getattr(parts, name), value, rtol=1e-11, atol=1e-13)
    estimate = energy_distance(x, y, block_size=block_size)
    assert estimate.value == pytest.approx(whole.energy_distance, rel=1e-11)
    assert estimate.standard_error == pytest.approx(whole.standard_error, rel=1e-11)


def test_the_seed_alone_decides_the_permutations():
    x, y = normal(20, 2), normal(30, 2, seed=1)
    first, again, other = (energy_test(x, y, seed=seed, num_permutations=20) for seed in (3, 3, 4))
    assert first.null_distribution.equal(again.null_distribution)
    assert not first.null_distribution.equal(other.null_distribution)
    longer = energy_test(x, y, seed=3, num_permutations=40).null_distribution
    torch.testing.assert_close(longer[:20], first.null_distribution)


def test_identical_samples():
    for seed in range(10):  # some of which would round to a negative statistic
        x = normal(12, 4, seed=seed)
        result = energy_test(x, x.flip(0), num_permutations=99)
        assert 0 <= result.statistic < 1e-12
        assert result.pvalue == 1
    one = torch.full((6, 4), 0.1)
    result = energy_test(one, one[:3], num_permutations=99)
    assert (result.statistic, result.pvalue, result.energy_distance) == (0, 1, 0)


def test_one_point_has_a_test_but_no_unbiased_distance():
    result = energy_test(torch.tensor([100.0]), normal(49), num_permutations=499)
    assert result.statistic > 0
    assert result.pvalue == pytest.approx(1 / 50, abs=0.02)
    assert math.isnan(result.energy_distance)
    assert math.isnan(result.standard_error)
    assert result.null_energy_distance.isnan().all()
    with pytest.raises(ValueError, match="2 points"):
        energy_distance(torch.zeros(1, 3), torch.zeros(5, 3))


def test_rounding_is_far_below_the_spread(images):
    # A partition and its complement have one statistic, summed from other numbers.
    x, y = images[:150], images[150:300]
    result = energy_test(x, y, num_permutations=99)
    swapped = energy_test(y, x, num_permutations=99)
    assert abs(result.statistic - swapped.statistic) < 1e-9 * result.null_distribution.std()


def test_bytes_floats_and_arrays_are_one_to_it(images):
    x, y = images[:40], images[40:90]
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    expected = energy_test(x, y, num_permutations=19)
    for pair in ((x.float(), y.double()), (frozen, y.numpy()), (x.flatten(1), y.flatten(1))):
        result = energy_test(*pair, num_permutations=19)
        assert result.statistic == expected.statistic
        assert result.null_distribution.equal(expected.null_distribution)


def test_needs_no_gradient():
    x = normal(5, 2).requires_grad_()
    assert isinstance(energy_distance(x, x.detach() + 1).value, float)


@pytest.mark.slow
def test_standard_error_is_the_spread_of_the_estimate():
    draws = [
        energy_distance(normal(60, 2, seed=2 * s), 1.5 * normal(90, 2, seed=2 * s + 1) + 0.7)
        for s in range(800)
    ]
    values = np.array([d.value for d in draws])
    # The error of a spread from 800 draws is 2.5%; what the first order leaves out is O(1/n).
    mean_error = math.sqrt(np.mean([d.standard_error**2 for d in draws]))
    assert mean_error == pytest.approx(values.std(), rel=0.1)


@pytest.mark.slow
def test_the_distance_is_unbiased():
    # Of N(0, 1) and N(1, 1): E|X − Y| of N(1, 2) against 2/√π of N(0, 2).
    folded = 2 / math.sqrt(math.pi) * math.exp(-1 / 4) + math.erf(1 / 2)
    for shift, expected in ((0.0, 0.0), (1.0, 2 * folded - 4 / math.sqrt(math.pi))):
        values = np.array(
            [
                energy_distance(normal(4, seed=2 * s), normal(7, seed=2 * s + 1) + shift).value
                for s in range(1_500)
            ]
        )
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - expected) < 4 * error
        # The V-statistic is too large by some 0.4, which this would see.
        assert error < 0.04


samples = st.builds(
    lambda n, m, d, seed: (normal(n, d, seed=seed), 2 * normal(m, d, seed=seed + 1) - 0.5),
    st.integers(2, 9),
    st.integers(2, 9),
    st.integers(1, 5),
    st.integers(0, 10_000),
)


def assert_same(first, second, factor=1.0):
    for name in ("statistic", "energy_distance", "standard_error"):
        expected = factor * getattr(second, name)
        assert getattr(first, name) == pytest.approx(expected, rel=1e-8, abs=1e-9 * factor)
    torch.testing.assert_close(
        first.null_distribution, factor * second.null_distribution, rtol=1e-8, atol=1e-9 * factor
    )
    assert first.pvalue == second.pvalue


@settings(max_examples=40, deadline=None)
@given(samples, st.integers(0, 1000), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_isometries_keep_it_and_scaling_scales_it(pair, seed, factor, shift):
    x, y = pair
    result = energy_test(x, y, num_permutations=19)
    assert_same(energy_test(x + shift, y + shift, num_permutations=19), result)
    rotation = torch.linalg.qr(normal(x.shape[1], x.shape[1], seed=seed)).Q
    assert_same(energy_test(x @ rotation, y @ rotation, num_permutations=19), result)
    assert_same(energy_test(factor * x, factor * y, num_permutations=19), result, factor)


@settings(max_examples=40, deadline=None)
@given(samples)
def test_is_symmetric_and_never_negative(pair):
    x, y = pair
    result, swapped = (energy_test(*p, num_permutations=19) for p in ((x, y), (y, x)))
    assert result.statistic > 0
    assert (result.null_distribution >= 0).all()
    for name in ("statistic", "energy_distance", "standard_error"):
        assert getattr(swapped, name) == pytest.approx(getattr(result, name), rel=1e-10, abs=1e-12)
    if len(x) != len(y):
        assert_same(result, swapped)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (torch.tensor([1.0, math.nan]), torch.ones(3), {}, "x must hold finite .* not nan"),
        (torch.ones(3), np.array([1.0, -np.inf]), {}, "y must hold finite .* not inf"),
        (torch.ones(3), [1e200], {}, "y must hold finite .* 1e\\+200"),
        (torch.ones(3, 2), torch.ones(3, 3), {}, "one shape"),
        (torch.ones(3, 4), torch.ones(3, 2, 2), {}, "one shape"),
        (torch.ones(0, 2), torch.ones(3, 2), {}, "x must hold at least one point"),
        (torch.ones(3, 0), torch.ones(3, 0), {}, "x must hold at least one point"),
        (torch.ones(3), torch.tensor(1.0), {}, "y must hold at least one point"),
        (torch.ones(3), 1j * torch.ones(3), {}, "y must be real numbers"),
        (torch.ones(3), torch.ones(3), {"block_size": 0}, "block_size"),
    ],
)
def test_wrong_samples_are_refused(x, y, options, message):
    for function in (energy_test, energy_distance):
        with pytest.raises(ValueError, match=message):
            function(x, y, **options)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="num_permutations must be at least 1, not 0"):
        energy_test(torch.ones(3), torch.ones(3), num_permutations=0)
    for y in (torch.ones(3), torch.ones(3, 4)):
        with pytest.raises(ValueError, match="points"):
            pairwise_distances(torch.ones(3, 2), y)


def test_single_precision_keeps_six_digits_of_images():
    stream = random_stream(4, "test")
    x, y = (torch.rand(n, 28, 28, generator=stream) ** 4 for n in (300, 1300))
    y[:40] = x[:40] + 0.01 * torch.rand(40, 28, 28, generator=stream)  # near enough to cancel
    double, single = (energy_test(x, y, num_permutations=99, single=s) for s in (False, True))
    assert single.energy_distance == pytest.approx(double.energy_distance, abs=1e-8)
    assert single.standard_error == pytest.approx(double.standard_error, rel=1e-6)
    assert single.statistic == pytest.approx(double.statistic, rel=1e-6)
    np.testing.assert_allclose(
        single.null_energy_distance, double.null_energy_distance, atol=1e-6 * double.statistic
    )
    exact = pairwise_distances(x.flatten(1), y.flatten(1))
    found = pairwise_distances(x.flatten(1), y.flatten(1), single=True)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert not torch.equal(found, exact)


def test_many_distances_from_one_sample_are_each_ones():
    y = normal(1100, 3)
    samples = [normal(n, 3, seed=n) + 0.1 for n in (5, 1050)]
    expected = [energy_distance(x, y).value for x in samples]
    np.testing.assert_allclose(energy_distances(samples, y), expected, rtol=1e-10)
