"""Errors of points that depend on one another: by definitions, brute force and simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import calibration
from dgmpipe.errors import UserError
from dgmpipe.evaluation.differences import (
    contributions_as_arrays,
    generator_differences,
    load_contributions,
)
from dgmpipe.evaluation.subject import Subject
from dgmpipe.files import save_arrays
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import (
    Contributions,
    difference_standard_error,
    energy_distance,
    energy_test,
)
from dgmpipe.streams import random_stream


def normal(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=random_stream(seed, "test"), dtype=torch.float64)


def pair_by_pair(values: np.ndarray, dependent: np.ndarray) -> float:
    """Sum of the products of all dependent pairs of deviations from the mean."""
    centred = values - values.mean()
    return float(centred @ (dependent @ centred))


def test_blocks_are_counted_within_strata() -> None:
    clusters = Clusters.in_order(11, 3, strata=2)
    assert clusters.strata.tolist() == [0] * 6 + [1] * 5
    assert clusters.blocks.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert clusters.depend_on(1).tolist() == [True] * 6 + [False] * 5
    assert clusters[torch.tensor([0, 5, 10])].blocks.tolist() == [0, 1, 3]
    assert Clusters.independent(250).sizes.tolist() == [3, 2] * 50
    assert Clusters.independent(5).sizes.tolist() == [1] * 5


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_independent_points_have_the_error_of_the_textbook(n: int) -> None:
    values = normal(n)
    for clusters in (
        Clusters.in_order(n, 1),
        Clusters.of_labels(torch.arange(n).flip(0)),
        Clusters.independent(n, groups=n),
    ):
        expected = values.var().item() / n
        assert clusters.variance_of_mean(values) == pytest.approx(expected, rel=1e-12)
        deleted = clusters.variance_by_deletion(lambda kept: values[kept].mean()[None])
        assert deleted.item() == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=40), st.integers(0, 1000))
def test_known_clusters_count_all_pairs_within_them(labels: list[int], seed: int) -> None:
    values, k = normal(len(labels), seed=seed), len(set(labels))
    clusters = Clusters.of_labels(torch.tensor(labels))
    variance = clusters.variance_of_mean(values)
    if k == 1:
        assert math.isnan(variance)
        return
    same = np.equal.outer(labels, labels)
    expected = pair_by_pair(values.numpy(), same) / len(labels) ** 2 * k / (k - 1)
    assert variance == pytest.approx(expected, rel=1e-9, abs=1e-15)
    # The order of points, and that of whole clusters, makes no difference, nor do names.
    order = torch.randperm(len(labels), generator=random_stream(seed, "order"))
    renamed = Clusters.of_labels((7 - torch.tensor(labels))[order])
    assert renamed.variance_of_mean(values[order]) == pytest.approx(variance, rel=1e-9)


@given(st.integers(9, 60), st.integers(2, 3), st.integers(0, 1000))
def test_blocks_in_order_count_pairs_of_adjoining_blocks_too(
    n: int, length: int, seed: int
) -> None:
    values, k = normal(n, seed=seed).cumsum(0), -(-n // length)
    blocks = np.arange(n) // length  # the last one may be shorter
    apart = np.abs(np.subtract.outer(blocks, blocks))
    squares = pair_by_pair(values.numpy(), apart == 0) * k / (k - 1) / n**2
    both = pair_by_pair(values.numpy(), apart <= 1) * k / (k - 1) * k / (k - 2) / n**2
    found = Clusters.in_order(n, length).variance_of_mean(values)
    assert found == pytest.approx(max(squares, both), rel=1e-9)
    backwards = Clusters.in_order(n, length).variance_of_mean(values.flip(0))
    if n % length == 0:
        assert backwards == pytest.approx(found, rel=1e-9)


def test_the_distance_between_strata_is_no_error() -> None:
    values = normal(60)
    moved = values + torch.arange(60).div(30, rounding_mode="floor") * 100
    clusters = Clusters.in_order(60, 5, strata=2)
    assert clusters.variance_of_mean(moved) == pytest.approx(clusters.variance_of_mean(values))
    assert Clusters.in_order(60, 5).variance_of_mean(moved) > 100
    halves = [Clusters.in_order(30, 5).variance_of_mean(part) for part in values.split(30)]
    assert clusters.variance_of_mean(values) <= sum(halves) / 4 * (1 + 1e-12)


def test_too_few_blocks_have_no_error() -> None:
    values = normal(8)
    for clusters in (
        Clusters.in_order(8, 4),  # adjoining ones depend on one another: all do
        Clusters.in_order(8, 8),
        Clusters.in_order(8, 2, strata=2),
        Clusters.of_labels(torch.zeros(8)),
    ):
        assert math.isnan(clusters.variance_of_mean(values))
        assert clusters.variance_by_deletion(lambda kept: values[:2]).isnan().all()
    assert Clusters.in_order(8, 3).variance_of_mean(values) > 0


@pytest.mark.parametrize(
    ("n", "length", "strata", "longest"),
    [(40, 14, 1, 13), (40, 125, 2, 6), (41, 7, 2, 6), (3, 2, 1, 1), (8, 9, 1, 2)],
)
def test_too_few_blocks_of_test_images_get_a_sentence(
    n: int, length: int, strata: int, longest: int
) -> None:
    subject = Subject(0, {}, clusters={"length": length, "strata": strata})
    remedy = f"set its length to {longest} or less"
    with pytest.raises(UserError, match=f"runs of {length} .* {n} in {strata} parts.* {remedy}"):
        subject.test_clusters(n)
    most = Clusters.in_order(n, longest, strata=strata)
    assert Subject(0, {}, clusters={"length": longest, "strata": strata}).test_clusters(n)
    if n > 3:
        x, y = (torch.randn(size, 3) for size in (20, n))
        assert math.isfinite(energy_distance(x, y, y_clusters=most).standard_error)
        one_more = Clusters.in_order(n, longest + 1, strata=strata)
        assert math.isnan(energy_distance(x, y, y_clusters=one_more).standard_error)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Clusters.in_order(8, 0), "must be at least 1, .* not 8, 0 and 1"),
        (lambda: Clusters.in_order(2, 1, strata=3), "strata at most n, not 2, 1 and 3"),
        (lambda: Clusters.in_order(0, 1), "must be at least 1"),
        (lambda: Clusters.of_labels(torch.zeros(0)), r"shape \(n,\), n >= 1, not \(0,\)"),
        (lambda: Clusters.of_labels(torch.zeros(2, 2)), r"not \(2, 2\)"),
        (lambda: Clusters.independent(3, groups=0), "not 3 and 0"),
        (lambda: Clusters.in_order(4, 1).variance_of_mean(torch.ones(3)), r"\(4,\), one a point"),
        (
            lambda: energy_distance(normal(4, 2), normal(5, 2), y_clusters=Clusters.in_order(4, 1)),
            "must be of the 5 points of y, not of 4",
        ),
        (
            lambda: difference_standard_error(
                *(Contributions(normal(4), normal(m)) for m in (5, 6)), paired_x=True
            ),
            "4 and 4 x, 5 and 6 y",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize("sizes", [(12, 9), (9, 12), (10, 10)])
def test_clusters_of_one_point_change_nothing(sizes: tuple[int, int]) -> None:
    x, y = normal(sizes[0], 3), normal(sizes[1], 3, seed=1) + 0.4
    plain = energy_distance(x, y)
    for clusters in (Clusters.in_order(len(y), 1), Clusters.of_labels(torch.arange(len(y)))):
        found = energy_distance(x, y, y_clusters=clusters)
        assert found.value == pytest.approx(plain.value, rel=1e-12)
        assert found.standard_error == pytest.approx(plain.standard_error, rel=1e-12)
    assert plain.contributions.x.shape == (len(x),)
    assert plain.contributions.y.shape == (len(y),)


@pytest.mark.parametrize("block_size", [5, 1000])
@pytest.mark.parametrize(("n", "m"), [(14, 30), (35, 24)])
@pytest.mark.parametrize("kind", ["order", "strata", "labels"])
def test_the_distance_of_clusters_is_over_independent_pairs(
    n: int, m: int, kind: str, block_size: int
) -> None:
    x, y = normal(n, 3), normal(m, 3, seed=1).cumsum(0) / 3
    clusters = {
        "order": Clusters.in_order(m, 4),
        "strata": Clusters.in_order(m, 3, strata=2),
        "labels": Clusters.of_labels(torch.arange(m) ** 2 % 7),
    }[kind]
    found = energy_distance(x, y, y_clusters=clusters, block_size=block_size)
    across, inside_x, inside_y = (torch.cdist(*pair) for pair in ((x, y), (x, x), (y, y)))
    blocks, strata = clusters.blocks.tolist(), clusters.strata.tolist()
    reach = 0 if kind == "labels" else 1
    means = []
    for i in range(m):
        mean = 0.0
        for s in set(strata):
            members = [j for j in range(m) if strata[j] == s]
            others = [
                inside_y[i, j].item()
                for j in members
                if strata[i] != s or abs(blocks[i] - blocks[j]) > reach
            ]
            mean += len(members) / m * np.mean(others)
        means.append(mean)
    value = 2 * across.mean().item() - inside_x.sum().item() / (n * (n - 1)) - np.mean(means)
    assert found.value == pytest.approx(value, rel=1e-9)
    of_x = 2 * (across.mean(1) - inside_x.sum(1) / (n - 1))
    of_y = 2 * (across.mean(0) - torch.tensor(means))
    torch.testing.assert_close(found.contributions.x, of_x)
    torch.testing.assert_close(found.contributions.y, of_y)
    variance = of_x.var().item() / n + clusters.variance_of_mean(of_y)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-9)
    test = energy_test(x, y, y_clusters=clusters, num_permutations=9)
    assert test.energy_distance == pytest.approx(value, rel=1e-9)
    assert test.standard_error == pytest.approx(found.standard_error, rel=1e-9)


@pytest.mark.slow
def test_the_error_is_about_that_of_the_jackknife() -> None:
    x, y = normal(80, 2), normal(120, 2, seed=1).repeat_interleave(2, 0) + 1
    y = y + 0.1 * normal(240, 2, seed=2)
    clusters = Clusters.of_labels(torch.arange(240) // 6)

    def value(x: torch.Tensor, y: torch.Tensor, clusters: Clusters) -> torch.Tensor:
        return torch.tensor([energy_distance(x, y, y_clusters=clusters).value])

    deleted = clusters.variance_by_deletion(lambda kept: value(x, y[kept], clusters[kept]))
    of_x = Clusters.independent(80).variance_by_deletion(lambda kept: value(x[kept], y, clusters))
    jackknife = (deleted + of_x).sqrt().item()
    found = energy_distance(x, y, y_clusters=clusters).standard_error
    assert found == pytest.approx(jackknife, rel=0.03)
    assert energy_distance(x, y).standard_error < 0.9 * found


def test_differences_are_paired(tmp_path) -> None:
    # Two generators that do almost the same with the same latent points.
    z, y = normal(150, 3), normal(120, 3, seed=1).repeat_interleave(2, 0)
    clusters = Clusters.in_order(240, 4)
    energy = {}
    for name, x in (("near", z + 0.5), ("far", 1.02 * z + 0.6), ("other", normal(90, 3, seed=5))):
        result = energy_test(x, y, num_permutations=1, y_clusters=clusters)
        save_arrays(tmp_path / "energy.npz", contributions_as_arrays(result))
        energy[name] = result.energy_distance, load_contributions(tmp_path / "energy.npz")
        torch.testing.assert_close(
            energy[name][1].y.double(), result.contributions.y, rtol=1e-6, atol=1e-6
        )
        assert energy[name][1].x.dtype == torch.float32
    table = generator_differences(energy, {"near": 2, "far": 2}, clusters)
    assert table[["first", "second"]].to_numpy().tolist() == [
        ["near", "far"],
        ["near", "other"],
        ["far", "other"],
    ]
    rows = table.set_index(["first", "second"])
    assert rows.loc[("near", "far"), "difference"] == energy["far"][0] - energy["near"][0]
    paired = rows.loc[("near", "far"), "standard_error"]
    of_y = energy["near"][1].y - energy["far"][1].y
    of_x = energy["near"][1].x - energy["far"][1].x
    expected = clusters.variance_of_mean(of_y) + of_x.var().item() / 150
    assert paired == pytest.approx(math.sqrt(expected), rel=1e-6)
    apart = generator_differences(energy, {"near": 2, "far": 3}, clusters).standard_error[0]
    assert paired < apart / 2
    # Against real images nothing but the test images is shared.
    of_y = energy["near"][1].y - energy["other"][1].y
    expected = clusters.variance_of_mean(of_y) + sum(
        energy[name][1].x.var().item() / len(energy[name][1].x) for name in ("near", "other")
    )
    error = rows.loc[("near", "other"), "standard_error"]
    assert error == pytest.approx(math.sqrt(expected), rel=1e-5)


CLUSTERED = calibration.Case(correlation=0.25, apart=0.3)
PLAIN = calibration.Case(correlation=0, apart=0)


# The full tables, of more repetitions, are in docs/errors.md. Of 300 repetitions, a share of 95%
# has a standard error of 1.3%.
@pytest.mark.slow
@pytest.mark.parametrize("case", [CLUSTERED, PLAIN], ids=["clustered", "independent"])
def test_intervals_of_means_cover_in_simulation(case: calibration.Case) -> None:
    table = calibration.coverage("means", case, 300)
    for name in ("all", "every 20th", "a share"):
        assert 0.92 <= table.covered[f"{name}, new"] <= 0.98
    if case == CLUSTERED:
        assert table.covered["all, old"] < 0.6


@pytest.mark.slowest
def test_intervals_of_energy_distances_cover_in_simulation() -> None:
    # Of 100 repetitions a share of 95% has a standard error of 2.2%, the spread one of 7%.
    table = calibration.coverage("energy", calibration.Case(correlation=0.5, apart=0), 100)
    assert table.covered["new"] >= 0.9
    assert table.covered["old"] < 0.86
    assert table.error_over_spread["new"] == pytest.approx(1, abs=0.2)
    assert table.error_over_spread["old"] < 0.75


@pytest.mark.slow
def test_the_permutation_test_takes_clusters_for_a_difference() -> None:
    assert calibration.rejected(1, 0.0, 100) < 0.12
    assert calibration.rejected(20, 0.25, 40) > 0.4
