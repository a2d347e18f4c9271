"""The Fréchet distance, the birthday test, and planted collapses, where the answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

import collapse
from dgmpipe.data.batches import to_float
from dgmpipe.models.classifier import Classifier
from dgmpipe.statistics.collisions import birthday_test
from dgmpipe.statistics.frechet import frechet_distance


def _points(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def test_the_frechet_distance_is_that_of_the_matrix_square_root() -> None:
    mix = _points(4, 4, 2)
    x, y = _points(50, 4, 0), _points(60, 4, 1) @ mix + 1
    s, t = np.cov(x.T), np.cov(y.T)
    apart = ((x.mean(0) - y.mean(0)) ** 2).sum().item()
    expected = apart + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    # Fewer points than dimensions.
    assert math.isfinite(frechet_distance(x[:3], y[:3]))
    with pytest.raises(ValueError, match="at least 2 points"):
        frechet_distance(x[:1], y)


@pytest.mark.parametrize("known", [20, 200])
def test_the_birthday_test_finds_how_many_images_a_generator_has(known: int) -> None:
    reference, stream = _points(400, 20, 0), torch.Generator().manual_seed(1)
    images = _points(known, 20, 1)
    found = birthday_test(images[torch.randint(known, (400,), generator=stream)], reference)
    assert found.support == pytest.approx(known, rel=0.15)
    assert found.pvalue < 1e-6


def test_the_birthday_test_counts_all_pairs_also_between_blocks() -> None:
    reference = 10 * _points(2100, 3, 0)
    sample = 1000 * _points(2100, 3, 1)
    sample[2050] = sample[3]
    sample[1500] = sample[3]
    assert birthday_test(sample, reference).pairs == 3


def test_of_equal_distributions_the_birthday_test_finds_hardly_any_pair() -> None:
    found = [birthday_test(_points(100, 5, 2 * s), _points(100, 5, 2 * s + 1)) for s in range(200)]
    # The nearest pair is of the sample in half of all cases.
    assert np.mean([one.pairs > 0 for one in found]) == pytest.approx(0.5, abs=0.12)
    assert np.mean([one.pvalue <= 0.05 for one in found]) < 0.12
    with pytest.raises(ValueError, match="as many points, at least 2, not 3 and 4"):
        birthday_test(_points(3, 2, 0), _points(4, 2, 0))


def test_a_planted_collapse_is_seen_and_a_perfect_generator_is_not(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "KNOWN", (3,))
    monkeypatch.setattr(collapse, "PERFECT", 4)
    real = to_float(images).squeeze(1)
    torch.manual_seed(0)
    judge = Classifier(4).eval()
    parts = real[:100], real[100:200]
    training = real[200:]
    found = list(collapse.rows(training, parts, judge, (60,), {"more": lambda n: parts[1][:n]}))
    perfect, planted, more = found
    assert (perfect["generator"], planted["generator"], more["generator"]) == (
        "perfect",
        "3",
        "more",
    )
    seen = planted["seen by"].split(", ")
    assert {"energy distance", "Wasserstein distance", "coverage", "copies", "equal pairs"} <= {
        *seen
    }
    assert planted["support"] == pytest.approx(3, rel=0.2)
    assert len(more["seen by"].split(", ")) <= 3
    assert planted["copies"] == 1
