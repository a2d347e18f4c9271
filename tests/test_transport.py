"""The cost of optimal transport against what is known of it, and against other solvers."""

import math
from functools import partial

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import Tensor

from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import pairwise_distances
from dgmpipe.statistics.transport import (
    Cost,
    debiased,
    entropic_transport,
    exact_transport,
    sliced_transport,
)

COSTS: dict[str, Cost] = {
    "exact": exact_transport,
    "sliced": partial(sliced_transport, num_projections=30),
    "entropic": partial(entropic_transport, epsilon=0.3),
}


def _points(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["exact", "sliced"])
@pytest.mark.parametrize("sizes", [(40, 40), (30, 50)])
def test_on_a_line_it_is_that_of_the_distribution_functions(
    name: str, sizes: tuple[int, int]
) -> None:
    x, y = _points(sizes[0], 1, 0), 2 * _points(sizes[1], 1, 1) + 1
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert COSTS[name](x, y).cost == pytest.approx(expected, rel=1e-6)


def test_between_as_many_points_it_is_the_best_assignment() -> None:
    x, y = _points(60, 5, 0), _points(60, 5, 1) + 0.5
    distances = pairwise_distances(x, y).numpy()
    expected = distances[linear_sum_assignment(distances)].mean()
    assert exact_transport(x, y).cost == pytest.approx(expected, rel=1e-9)


def test_the_potentials_are_feasible_so_that_no_cost_is_lower() -> None:
    x, y = _points(30, 3, 0), _points(50, 3, 1)
    found = exact_transport(x, y)
    assert (found.x[:, None] + found.y <= pairwise_distances(x, y) + 1e-9).all()


def test_lines_agree_with_another_implementation() -> None:
    x, y = _points(50, 4, 0), _points(50, 4, 1) * 2
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), n_projections=5000, p=1)
    found = sliced_transport(x, y, num_projections=5000).cost
    assert found == pytest.approx(float(expected), rel=0.03)


def test_the_regularised_cost_is_that_of_its_plan_with_the_entropy() -> None:
    x, y, epsilon = _points(20, 2, 0), _points(30, 2, 1) + 1, 0.3
    distances = pairwise_distances(x, y).numpy()
    weights = np.full(20, 1 / 20), np.full(30, 1 / 30)
    plan = ot.sinkhorn(*weights, distances, epsilon, method="sinkhorn_log", stopThr=1e-12)
    entropy = (plan * np.log(plan / np.outer(*weights))).sum()
    expected = (plan * distances).sum() + epsilon * entropy
    assert entropic_transport(x, y, epsilon=epsilon).cost == pytest.approx(expected, rel=1e-5)


def test_regularised_less_it_comes_to_the_exact_cost() -> None:
    x, y = _points(40, 2, 0), _points(40, 2, 1) + 1
    exact = exact_transport(x, y).cost
    gaps = [entropic_transport(x, y, epsilon=e).cost - exact for e in (1.0, 0.3, 0.1)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.4 * gaps[0]


@pytest.mark.parametrize("name", COSTS)
def test_the_order_of_the_points_does_not_count(name: str) -> None:
    x, y = _points(40, 3, 0), _points(40, 3, 1) + 1
    other = COSTS[name](x.flip(0), y[torch.randperm(40)])
    found = COSTS[name](x, y)
    assert other.cost == pytest.approx(found.cost, rel=1e-6)


@pytest.mark.parametrize("name", COSTS)
def test_of_equal_samples_nothing_is_left(name: str) -> None:
    x = _points(40, 3, 0)
    assert debiased(COSTS[name], (x, x), (x, x)).value == pytest.approx(0, abs=1e-9)
    if name != "entropic":
        assert COSTS[name](x, x).cost == pytest.approx(0, abs=1e-9)


def test_a_translated_normal_distribution_is_as_far_as_its_shift() -> None:
    """W between N(0, I) and N(a, I) is |a|; two samples of 400 in 8 dimensions are further."""
    shift = torch.full((8,), 3 / math.sqrt(8))
    x = _points(400, 8, 0), _points(400, 8, 1)
    y = _points(400, 8, 2) + shift, _points(400, 8, 3) + shift
    found = debiased(exact_transport, x, y)
    assert found.across > 3.15
    same = debiased(exact_transport, x, (y[0] - shift, y[1] - shift))
    assert abs(same.value) < 0.05
    assert same.across > 1.5
    # Between the distributions it is at most the first, and at least what is left of it.
    assert found.across - found.within_x - found.within_y < 3 < found.across
    # The sliced one is |a| times the mean of |cos| in 8 dimensions.
    sliced = partial(sliced_transport, num_projections=500)
    mean_cosine = math.gamma(4) / (math.sqrt(math.pi) * math.gamma(4.5))
    assert debiased(sliced, x, y).across == pytest.approx(3 * mean_cosine, rel=0.06)


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("length", [1, 10])
def test_the_standard_error_is_the_spread_over_draws(name: str, length: int) -> None:
    """Also where the points of y come in clusters of 10 that have a place of their own."""
    cost: Cost = COSTS[name]
    if name == "sliced":
        cost = partial(sliced_transport, num_projections=10)
    clusters = Clusters.of_labels(torch.arange(60) // length)
    values, errors = [], []
    for draw in range(60):
        stream = torch.Generator().manual_seed(draw)
        x = tuple(torch.randn(60, 2, generator=stream) for _ in range(2))
        y = tuple(
            torch.randn(60 // length, 2, generator=stream).repeat_interleave(length, 0)
            + torch.randn(60, 2, generator=stream)
            + torch.tensor([3.0, 0.0])
            for _ in range(2)
        )
        found = debiased(cost, x, y, y_clusters=(clusters, clusters))
        values.append(found.value)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.3)


def test_bad_input_gets_a_sentence() -> None:
    x = _points(5, 2, 0)
    with pytest.raises(ValueError, match="points must be finite"):
        exact_transport(x, torch.full((5, 2), torch.nan))
    with pytest.raises(ValueError, match="x and y must be points"):
        exact_transport(x, _points(5, 3, 0))
    with pytest.raises(ValueError, match=r"epsilon must be at least .*, a 600th of the largest"):
        entropic_transport(x, 1000 * x, epsilon=1e-3)
    with pytest.raises(ValueError, match="num_projections must be at least 1, not 0"):
        sliced_transport(x, x, num_projections=0)
