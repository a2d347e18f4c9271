"""What is measured of generated digits: against definitions, closed forms and known cases."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import copies
from dgmpipe.data.batches import to_float
from dgmpipe.evaluation.quality import (
    ClassHistogram,
    FeatureComparison,
    class_histogram,
    compare_features,
    memorisation,
    nearest_training_distances,
    rejected_share,
    sample_quality,
)
from dgmpipe.models.classifier import Classifier
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.frechet import frechet_distance
from dgmpipe.streams import random_stream


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=random_stream(seed, "test"), dtype=torch.float64)


SHARES = ("precision", "recall", "density", "coverage")


def shares(found: FeatureComparison) -> dict[str, float]:
    """The shares without their errors."""
    return {name: getattr(found, name) for name in SHARES}


def definitions(generated: Tensor, real: Tensor, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage from their definitions, pair by pair."""

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(points: np.ndarray, i: int) -> float:
        return sorted(distance(points[i], p) for j, p in enumerate(points) if j != i)[k - 1]

    x, y = generated.numpy(), real.numpy()
    x_radius = [radius(x, i) for i in range(len(x))]
    y_radius = [radius(y, j) for j in range(len(y))]
    in_real = [[distance(a, b) <= y_radius[j] for j, b in enumerate(y)] for a in x]
    in_generated = [[distance(a, b) <= x_radius[i] for i, a in enumerate(x)] for b in y]
    return {
        "precision": float(np.mean([any(row) for row in in_real])),
        "recall": float(np.mean([any(row) for row in in_generated])),
        "density": sum(map(sum, in_real)) / (k * len(x)),
        "coverage": float(np.mean([any(column) for column in zip(*in_real, strict=True)])),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m", "d"), [(6, 6, 1), (20, 41, 3), (37, 19, 8)])
def test_features_are_compared_by_the_definitions(n: int, m: int, d: int, k: int) -> None:
    generated, real = normal(n, d) + 0.5, normal(m, d, seed=1)
    found = compare_features(generated, real, num_neighbours=k)
    assert shares(found) == pytest.approx(definitions(generated, real, k), rel=1e-12)
    assert 0 < found.precision < 1 or n == 6


def test_points_at_the_radius_are_within_the_ball() -> None:
    # On a lattice nearly all distances tie, as they do for copies of real points.
    steps = torch.arange(4, dtype=torch.float64)
    real = 0.1 * torch.cartesian_prod(steps, steps)
    generated = torch.cat([real[:7], real[3:9], real[:1] + 0.05])
    for k in (1, 2, 5):
        found = compare_features(generated, real, num_neighbours=k)
        # A shift that floats do not represent rounds the distances in another way.
        shifted = compare_features(generated + 1 / 3, real + 1 / 3, num_neighbours=k)
        exact = definitions((20 * generated).round(), (20 * real).round(), k)
        assert shares(found) == pytest.approx(exact, rel=1e-12)
        assert shares(shifted) == shares(found)


@pytest.mark.parametrize("block_size", [1, 7, 30, 1000])
def test_blocks_change_nothing(block_size: int) -> None:
    generated, real = normal(40, 5) + 0.5, normal(55, 5, seed=1)
    assert vars(compare_features(generated, real, block_size=block_size)) == pytest.approx(
        vars(compare_features(generated, real)), rel=1e-12
    )
    distances = nearest_training_distances(generated, real, block_size=block_size)
    torch.testing.assert_close(
        distances, nearest_training_distances(generated, real), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(("n", "m", "k"), [(1000, 1000, 5), (300, 1200, 5), (1200, 300, 2)])
def test_of_equal_distributions_density_is_1_and_coverage_is_known(n: int, m: int, k: int) -> None:
    # A real point is not covered if its k nearest of the M − 1 + N others are all real.
    uncovered = np.prod([(m - i) / (m + n - i) for i in range(1, k + 1)])
    found = [
        compare_features(normal(n, 6, seed=2 * s), normal(m, 6, seed=2 * s + 1), num_neighbours=k)
        for s in range(5)
    ]
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - uncovered, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "d", "k"), [(40, 60, 2, 3), (30, 90, 3, 5), (140, 70, 1, 2)])
@pytest.mark.parametrize("kind", ["order", "strata", "labels"])
def test_errors_are_those_of_the_jackknife(n: int, m: int, d: int, k: int, kind: str) -> None:
    # Sorted, so that a point's neighbours are in its own block and the next.
    generated, real = 1.2 * normal(n, d) + 0.3, normal(m, d, seed=1).sort(0).values
    clusters = {
        "order": Clusters.in_order(m, 7),
        "strata": Clusters.in_order(m, 5, strata=2),
        "labels": Clusters.of_labels(torch.arange(m) ** 2 % 11),
    }[kind]

    def values(some: Tensor, others: Tensor) -> Tensor:
        found = compare_features(some, others, num_neighbours=k)
        return torch.tensor(list(shares(found).values()), dtype=torch.float64)

    variances = clusters.variance_by_deletion(lambda kept: values(generated, real[kept]))
    groups = Clusters.independent(n)
    variances += groups.variance_by_deletion(lambda kept: values(generated[kept], real))
    found = compare_features(generated, real, num_neighbours=k, real_clusters=clusters)
    errors = [getattr(found, f"{name}_standard_error") for name in SHARES]
    assert errors == pytest.approx(variances.sqrt().tolist(), rel=1e-6)
    assert max(errors) > 0


def test_equal_points_and_a_block_of_all_neighbours() -> None:
    # Without its block a point's ball reaches beyond all that were set aside for such a case.
    real = torch.cat([normal(60, 1) * 1e-3, 5 + normal(60, 1, seed=1)])
    clusters = Clusters.of_labels(torch.arange(120) // 58)
    generated = normal(30, 1, seed=2) + 2

    def values(kept: Tensor) -> Tensor:
        return torch.tensor(list(shares(compare_features(generated, real[kept])).values()))

    found = compare_features(generated, real, real_clusters=clusters)
    groups = Clusters.independent(30)
    (of_real,) = clusters.variance_by_deletion(lambda kept: values(kept)[:1]).tolist()
    (of_generated,) = groups.variance_by_deletion(
        lambda kept: torch.tensor([compare_features(generated[kept], real).precision])
    ).tolist()
    assert found.precision_standard_error == pytest.approx(math.sqrt(of_real + of_generated))


def test_disjoint_samples_have_nothing_in_common() -> None:
    found = compare_features(normal(30, 4), normal(40, 4, seed=1) + 100)
    assert vars(found) == dict.fromkeys(vars(found), 0)


def test_a_collapsed_generator_is_precise_and_covers_little() -> None:
    real = normal(500, 3)
    collapsed = compare_features(0.02 * normal(500, 3, seed=1), real)
    assert collapsed.precision == 1
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.15
    # The other way round: everywhere, so seldom where the data are.
    scattered = compare_features(real, 0.02 * normal(500, 3, seed=1))
    assert scattered.precision < 0.05
    assert scattered.recall == 1


def test_equal_generated_points_are_one_point() -> None:
    real = normal(50, 3)
    found = compare_features(real[:1].expand(20, 3), real)
    assert found.precision == 1
    assert found.recall == 1 / 50
    assert found.coverage == found.density * 5 / 50


def test_accepted_images_are_counted_by_their_most_probable_class() -> None:
    def logits(counts: list[int]) -> Tensor:
        classes = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
        return 3 * torch.eye(5)[classes] - 5

    histogram = class_histogram(logits([50, 40, 1, 9, 0]), logits([100, 40, 20, 40, 30]))
    assert histogram.generated.tolist() == [50, 40, 1, 9]
    assert histogram.real.tolist() == [100, 40, 20, 40]
    assert histogram.total_variation == pytest.approx((0 + 0.2 + 0.09 + 0.11) / 2)
    # A tenth of class 2's share of 10% is just reached, however many images are rejected.
    assert histogram.num_found == 4
    rejecting = class_histogram(logits([50, 40, 1, 9, 900]), logits([100, 40, 20, 40, 30]))
    assert (rejecting.num_found, rejecting.total_variation) == (4, histogram.total_variation)
    assert class_histogram(logits([49, 51, 0, 0, 0]), logits([1, 1, 1, 1, 0])).num_found == 2


def test_where_no_image_is_accepted_no_class_is_found() -> None:
    none, some = torch.tensor([0, 0, 0]), torch.tensor([5, 0, 3])
    for generated, real in ((none, some), (some, none), (none, none)):
        histogram = ClassHistogram(generated, real)
        assert (histogram.num_found, histogram.total_variation) == (0, 1)


def test_a_class_is_found_from_a_tenth_of_its_share() -> None:
    real = torch.tensor([500, 500, 0])
    for count, found in ((0, 1), (49, 1), (50, 2)):
        assert ClassHistogram(torch.tensor([1000 - count, count, 0]), real).num_found == found
    # Of a class that the data do not have, nothing can be found.
    assert ClassHistogram(torch.tensor([5, 5, 5]), real).num_found == 2
    assert ClassHistogram(torch.tensor([0, 0, 5]), real).total_variation == 1


def test_rejected_images_are_those_whose_last_class_is_the_most_probable() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0], [3.0, 1.0, 2.0], [-9.0, -9.0, -8.0]])
    assert rejected_share(logits) == 0.5
    assert rejected_share(logits[:1]) == 1
    assert rejected_share(logits.flip(1)) == 0.25


def test_distances_to_training_images_are_exact(images: Tensor) -> None:
    points = to_float(images).flatten(1)
    some, training = points[:30], points[30:]
    differences = some.double().numpy()[:, None] - training.double().numpy()
    expected = np.sort(np.sqrt((differences**2).sum(2)), axis=1)[:, :2]
    found = nearest_training_distances(some, training)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_tiny_distances_keep_their_digits() -> None:
    # In single precision ‖x‖² + ‖y‖² − 2xy of such points is about 1e-4, or negative.
    training = 0.5 + 0.1 * normal(60, 784)
    copies = training + 1e-9 * normal(60, 784, seed=1)
    found = nearest_training_distances(copies, training)
    expected = torch.linalg.vector_norm(copies - training, dim=1)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-12, atol=0)
    # In single precision the copies are the training points, and either may come first.
    both = nearest_training_distances(training, torch.cat([copies, training]))
    torch.testing.assert_close(
        both, torch.stack([torch.zeros(60), expected], 1), rtol=1e-12, atol=0, check_dtype=False
    )


def test_copies_are_told_from_fresh_points() -> None:
    training, test, fresh = normal(2000, 10), normal(500, 10, 1), normal(500, 10, 2)
    copies = memorisation(training[:300], test, training)
    assert (copies.median_distance, copies.near_share, copies.copied_share) == (0, 1, 1)
    noisy = memorisation(training[:300] + 0.05 * normal(300, 10, 3), test, training)
    assert noisy.median_distance < 0.2
    assert noisy.near_share > 0.99
    assert noisy.copied_share > 0.99
    perfect = memorisation(fresh, test, training)
    assert perfect.median_distance == pytest.approx(1, abs=0.05)
    assert perfect.near_share == pytest.approx(0.05, abs=0.03)
    assert perfect.copied_share == pytest.approx(perfect.test_copied_share, abs=0.02)
    assert perfect.test_copied_share == copies.test_copied_share


def test_copies_of_what_stands_twice_are_copies() -> None:
    training, test = normal(500, 10), normal(200, 10, 1)
    twice = torch.cat([training, training])
    assert memorisation(training[:100], test, twice).copied_share == 1
    assert memorisation(test[:100] + 1, test, twice).copied_share == 0


def test_the_test_images_themselves_give_the_reference_values(images: Tensor) -> None:
    points = to_float(images).flatten(1)
    found = memorisation(points[:100], points[:100], points[100:])
    assert found.median_distance == 1
    assert found.near_share == 0.05
    assert found.copied_share == found.test_copied_share < 0.1


def test_plain_images_are_near_but_no_copies() -> None:
    # The centre is nearer to everything than the points of a high dimension are to each other.
    training, test = normal(2000, 40), normal(200, 40, 1)
    found = memorisation(0.1 * normal(200, 40, 2), test, training)
    assert found.median_distance < 0.9
    assert found.near_share > 0.9
    assert found.copied_share == 0


@pytest.fixture
def judged(images: Tensor) -> dict[str, Any]:
    torch.manual_seed(1)
    x = to_float(images)[:, 0]
    classifier = Classifier(3).eval()
    with torch.no_grad():
        others = classifier(x[:40, None])[:, :-1].amax(1) - classifier(x[:40, None])[:, -1]
        classifier.output.bias[-1] += others.median()
    return {
        "generated": x[:40],
        "test": x[40:100],
        "training": x[100:],
        "classifier": classifier,
    }


def test_all_numbers_of_a_generator(judged: dict[str, Any]) -> None:
    x, y = judged["generated"].unsqueeze(1), judged["test"].unsqueeze(1)
    with torch.no_grad():
        logits, test_logits = (judged["classifier"](images) for images in (x, y))
        features, test_features = (judged["classifier"].features(images) for images in (x, y))
    found = sample_quality(**judged, num_neighbours=3, num_searched=25)
    histogram = class_histogram(logits, test_logits)
    compared = compare_features(features, test_features, num_neighbours=3)
    assert torch.equal(found.classes.generated, histogram.generated)
    assert torch.equal(found.classes.real, histogram.real)
    # The test images that are searched for are spread over all of them: their writers differ.
    spread = y[torch.arange(25) * 60 // 25]
    memorised = memorisation(x[:25].flatten(1), spread.flatten(1), judged["training"].flatten(1))
    expected = {
        "digits_found": histogram.num_found,
        "digits_total_variation": histogram.total_variation,
        "rejected": rejected_share(logits),
        "test_rejected": rejected_share(test_logits),
        **vars(compared),
        **vars(memorised),
        "frechet_distance": frechet_distance(features, test_features),
    }
    numbers = {k: v for k, v in found.numbers.items() if not k.endswith("_standard_error")}
    assert {**numbers, **vars(compared)} == pytest.approx(expected, rel=1e-12)
    without = {"digits_found", "frechet_distance"}
    errors = {f"{name}_standard_error" for name in numbers.keys() - without}
    assert errors == found.numbers.keys() - numbers.keys()
    # Of a share of independent points; each of the 40 generated and 60 test images is deleted once.
    for name, count in (("rejected", 40), ("test_rejected", 60)):
        error = math.sqrt(numbers[name] * (1 - numbers[name]) / (count - 1))
        assert found.numbers[f"{name}_standard_error"] == pytest.approx(error)
    assert all(type(value) is float for value in found.numbers.values())
    # The untrained classifier is shifted so that it rejects some of the images, not all.
    assert 0 < found.numbers["rejected"] < 1
    assert found.numbers["rejected"] != found.numbers["test_rejected"]


def test_training_images_in_the_generators_place_are_found_out(judged: dict[str, Any]) -> None:
    numbers = sample_quality(**judged | {"generated": judged["training"][:40]}).numbers
    assert numbers["median_distance"] == 0
    assert numbers["near_share"] == numbers["copied_share"] == 1
    assert numbers["test_copied_share"] < 0.2


@pytest.mark.parametrize("name", ["generated", "test", "training"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(5, 1, 28, 28), r"must have shape \(N, 28, 28\).* not \(5, 1, 28, 28\)"),
        (torch.zeros(0, 28, 28), r"N at least 1, not \(0, 28, 28\)"),
        (torch.zeros(9, 28, 28, dtype=torch.uint8), r"floats in \[0, 1\], not torch.uint8"),
        (torch.full((9, 28, 28), 1.5), r"must lie in \[0, 1\], not in \[1.5, 1.5\]"),
        (torch.full((9, 28, 28), -0.5), r"must lie in \[0, 1\], not in \[-0.5, -0.5\]"),
        (torch.full((9, 28, 28), torch.nan), r"must lie in \[0, 1\], not in \[nan, nan\]"),
    ],
)
def test_wrong_images_are_refused(
    judged: dict[str, Any], name: str, wrong: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name} images .*{message}"):
        sample_quality(**judged | {name: wrong})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_neighbours": 40}, "40 neighbours need at least 41 generated points, not 40"),
        ({"num_neighbours": 0}, "num_neighbours must be at least 1, not 0"),
        ({"num_searched": 0}, "num_searched must be at least 1, not 0"),
    ],
)
def test_wrong_settings_are_refused(
    judged: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sample_quality(**judged, **changes)


def test_wrong_points_are_refused() -> None:
    x = normal(10, 3)
    bad = x.clone()
    bad[4, 1] = torch.nan
    with pytest.raises(ValueError, match="generated must be finite, but row 4 is not"):
        compare_features(bad, x)
    with pytest.raises(ValueError, match="rows of one length, not 3 and 2"):
        compare_features(x, x[:, :2])
    with pytest.raises(ValueError, match=r"real must be a table .* not of shape \(0, 3\)"):
        compare_features(x, x[:0])
    with pytest.raises(ValueError, match="5 neighbours need at least 6 real points, not 5"):
        compare_features(x, x[:5])
    with pytest.raises(ValueError, match="clusters must be of the 10 real points, not of 4"):
        compare_features(x, x, real_clusters=Clusters.in_order(4, 1))
    with pytest.raises(ValueError, match="block_size must be at least 1, not 0"):
        compare_features(x, x, block_size=0)
    with pytest.raises(ValueError, match=r"logits must be a table .* not of shape \(3,\)"):
        rejected_share(torch.zeros(3))
    with pytest.raises(ValueError, match="real_logits must be finite, but row 4 is not"):
        class_histogram(x, bad)
    with pytest.raises(ValueError, match="second nearest of 1 training image"):
        nearest_training_distances(x, x[:1])
    with pytest.raises(ValueError, match="block_size must be at least 1, not 0"):
        nearest_training_distances(x, x, block_size=0)
    with pytest.raises(ValueError, match="most test images are training images"):
        memorisation(x, x, x)


def test_copies_are_found_if_they_are_almost_exact(images: Tensor) -> None:
    # docs/errors.md has the table of all changes, against the 60,000 training images.
    x = to_float(images)[:, 0]
    found = dict(copies.shares(x[:240], x[240:], 100))
    assert found["none"] == 1
    assert found["normal noise of 0.05"] > 0.9
    assert found["shifted by a pixel"] < 0.1
    assert found["blurred by 1.0 pixels"] < 0.6
    assert found["test images"] < 0.1
