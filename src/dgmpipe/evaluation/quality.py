"""How good and how varied generated digits are, and whether they are copies of training images.

The digit classifier rejects images that show no digit; `dgmpipe.evaluation.judge` says how well it
can tell. Mode collapse shows in what it takes the others for, and in how few of the real images
they come near, in the space of the classifier's features; memorising shows in the distance to the
training images. The features hold what tells digits apart and little else, so that they show
missing images better than unclean ones. Each number needs its value for real images in the
generated ones' place beside it, since even those differ from other real images.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dgmpipe.arguments import to_tensor, whole_number
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.models.classifier import Classifier
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import pairwise_distances, scaled_to_one
from dgmpipe.statistics.frechet import frechet_distance

__all__ = [
    "ClassHistogram",
    "FeatureComparison",
    "Memorisation",
    "SampleQuality",
    "class_histogram",
    "compare_features",
    "memorisation",
    "nearest_training_distances",
    "rejected_share",
    "sample_quality",
]

# Rows of a matrix of distances that are held at once; with 10,000 columns they take 20 MB.
_BLOCK_SIZE = 256

# Points at the very radius of a ball are in it, whichever way the two distances were rounded.
_TIE = 1e-9

# Neighbours beyond the k-th that take the place of those in a deleted block; of more it is slower.
_SPARE = 32

# A copy is nearer to its training image than this multiple of the distance to the next one.
_COPY_RATIO = 0.5


@dataclass(frozen=True)
class ClassHistogram:
    """Classes of the generated images that are accepted beside those of the real ones.

    Attributes:
        generated: Number of accepted images of each class, int64 (C,).
        real: Likewise of the real images.
    """

    generated: Tensor
    real: Tensor

    @property
    def num_found(self) -> int:
        """Classes whose share of the generated images is at least a tenth of the real share.

        Shares are of the accepted images: without any, no class is found.
        """
        n, m = int(self.generated.sum()), int(self.real.sum())
        enough = 10 * m * self.generated >= n * self.real
        return int((enough & (self.real > 0)).sum()) if n else 0

    @property
    def total_variation(self) -> float:
        """Half the sum of the shares' absolute differences: 0 if equal, 1 if disjoint.

        It is 1 as well if no image is accepted on one of the two sides.
        """
        if not (self.generated.any() and self.real.any()):
            return 1.0
        shares = (counts.double() / counts.sum() for counts in (self.generated, self.real))
        return torch.sub(*shares).abs().sum().item() / 2


@dataclass(frozen=True)
class FeatureComparison:
    """How two samples of features overlap, judged by balls that reach to the k-th neighbour.

    Attributes:
        precision: Share of generated points within the ball of a real point.
        recall: Share of real points within the ball of a generated point. It says nothing of
            missing modes if the generator's images are a surface of few dimensions, near which
            hardly any real image lies: a VAE's reconstructions of the test images have 0 as well,
            with two latent dimensions (docs/errors.md).
        density: Balls of real points that a generated point is in, on average, divided by k.
        coverage: Share of real points whose ball holds a generated point.
        precision_standard_error: An upper bound of that of the precision, and likewise of the
            others; NaN as for `Clusters.variance_of_mean`.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    precision_standard_error: float
    recall_standard_error: float
    density_standard_error: float
    coverage_standard_error: float


@dataclass(frozen=True)
class Memorisation:
    """How near generated images are to training images, measured against real test images.

    Attributes:
        median_distance: Median distance to the nearest training image over that of the test
            images: 0 for copies, 1 for a perfect generator, and below 1 for blurred images too.
        near_share: Share of images nearer to the training images than all but 5% of the test
            images are: 1 for copies, 0.05 for a perfect generator. A collapse to a plain digit,
            such as 1, raises it too.
        copied_share: Share of images less than half as far from the nearest training image as
            from the second nearest: 1 for copies, `test_copied_share` for a perfect generator.
            Blurred and plain images, which are near to many training images, do not raise it. It
            finds almost exact copies only: of those of MNIST with normal noise of 0.05, 0.1 and
            0.2 in each pixel 92%, 69% and 0%, of those shifted by a pixel none (docs/errors.md).
        test_copied_share: Likewise of the test images.
    """

    median_distance: float
    near_share: float
    copied_share: float
    test_copied_share: float


@dataclass(frozen=True)
class SampleQuality:
    """What `sample_quality` found.

    Attributes:
        numbers: Figures of merit by name.
        classes: How many generated and test images the classifier takes for each digit, of those
            that it does not reject.
    """

    numbers: dict[str, float]
    classes: ClassHistogram


@torch.no_grad()
def sample_quality(
    generated: Tensor | ArrayLike,
    test: Tensor | ArrayLike,
    training: Tensor | ArrayLike,
    classifier: Classifier,
    *,
    num_neighbours: int = 5,
    num_searched: int = 2000,
    test_clusters: Clusters | None = None,
) -> SampleQuality:
    """Compare generated images with test images, and with the training images they may copy.

    All images have intensities in [0, 1], and are tensors or whatever NumPy reads; this goes for
    points and logits in the other functions of this module as well.

    Args:
        generated: Images (N, 28, 28).
        test: Real images (M, 28, 28) that the generator was not trained on.
        training: Those it was trained on, (T, 28, 28), T at least 2.
        classifier: Trained, in evaluation mode; the work is done on its device.
        num_neighbours: k of `compare_features`, less than N and M.
        num_searched: Images, the first of the generated ones and test images spread evenly, whose
            nearest training images are searched for; all of them if there are fewer.
        test_clusters: Which test images depend on one another, such as those of one writer; none
            do if it is None.

    Returns:
        In `numbers`: `digits_found`, `digits_total_variation` (see `ClassHistogram`),
        `rejected`, `test_rejected` (see `rejected_share`), and the fields of
        `FeatureComparison` and `Memorisation`; beside each but the first its `_standard_error`; and
        `frechet_distance`, in the classifier's features.

    Raises:
        ValueError: If images are not floats of shape (N, 28, 28) in [0, 1], or too few; if
            num_neighbours or num_searched is less than 1.
    """
    generated, test, training = (
        to_tensor(images, f"{name} images")
        for name, images in (("generated", generated), ("test", test), ("training", training))
    )
    for name, images in (("generated", generated), ("test", test), ("training", training)):
        if images.ndim != 3 or images.shape[1:] != (28, 28) or not len(images):
            raise ValueError(
                f"{name} images must have shape (N, 28, 28), N at least 1,"
                f" not {tuple(images.shape)}"
            )
        if not images.is_floating_point():
            raise ValueError(f"{name} images must be floats in [0, 1], not {images.dtype}")
        low, high = images.min().item(), images.max().item()
        if not (low >= 0 and high <= 1):  # NaN is not either
            raise ValueError(f"{name} images must lie in [0, 1], not in [{low:g}, {high:g}]")
    num_searched = whole_number(num_searched, "num_searched", 1)

    features, logits = _judge(classifier, generated)
    test_features, test_logits = _judge(classifier, test)
    test_clusters = _clusters(test_clusters, len(test))
    classes = class_histogram(logits, test_logits)

    def judged(logits: Tensor, test_logits: Tensor) -> dict[str, float]:
        return {
            "digits_total_variation": class_histogram(logits, test_logits).total_variation,
            "rejected": rejected_share(logits),
            "test_rejected": rejected_share(test_logits),
        }

    def copied(nearest: Tensor, test_nearest: Tensor) -> dict[str, float]:
        return asdict(_memorisation(nearest, test_nearest))

    searched = evenly_spread(min(num_searched, len(test)), len(test))
    known = training.flatten(1).to(features.device)
    nearest, test_nearest = (
        nearest_training_distances(some.flatten(1).to(known.device), known)
        for some in (generated[:num_searched], test[searched])
    )
    comparison = compare_features(
        features, test_features, num_neighbours=num_neighbours, real_clusters=test_clusters
    )
    numbers = {
        "digits_found": float(classes.num_found),
        **_with_errors(judged, logits, test_logits, test_clusters),
        **asdict(comparison),
        "frechet_distance": frechet_distance(features, test_features),
        **_with_errors(copied, nearest, test_nearest, test_clusters[searched]),
    }
    return SampleQuality(numbers, classes)


def class_histogram(
    generated_logits: Tensor | ArrayLike, real_logits: Tensor | ArrayLike
) -> ClassHistogram:
    """Count the most probable of C classes of images by their logits, (N, C + 1) and (M, C + 1).

    The last column is that of rejected images, which count for no class.

    Raises:
        ValueError: If logits are empty, not finite, or of other shapes.

    Example:
        >>> histogram = class_histogram(torch.eye(4)[[0, 0, 1, 3]], torch.eye(4))
        >>> histogram.generated.tolist(), histogram.num_found
        ([2, 1, 0], 2)
        >>> round(histogram.total_variation, 3)
        0.333
    """
    pair = _require_pair("generated_logits", generated_logits, "real_logits", real_logits)
    generated, real = (
        logits.argmax(1).bincount(minlength=logits.shape[1])[:-1].cpu() for logits in pair
    )
    return ClassHistogram(generated, real)


def rejected_share(logits: Tensor | ArrayLike) -> float:
    """Return the share of images whose most probable class, by `logits` (N, C + 1), is the last.

    Raises:
        ValueError: If logits are empty, not finite or not (N, C + 1).

    Example:
        >>> rejected_share(torch.tensor([[0.0, 0.0, 1.0], [0.0, 5.0, 4.0]]))
        0.5
    """
    logits = _require_rows("logits", logits)
    return (logits.argmax(1) == logits.shape[1] - 1).double().mean().item()


@torch.no_grad()
def compare_features(
    generated: Tensor | ArrayLike,
    real: Tensor | ArrayLike,
    *,
    num_neighbours: int = 5,
    real_clusters: Clusters | None = None,
    block_size: int = _BLOCK_SIZE,
) -> FeatureComparison:
    """Return precision and recall, arXiv:1904.06991, density and coverage, arXiv:2002.09797.

    The ball of a point reaches to its k-th nearest neighbour within its own sample, that one
    included. For equal distributions the density is 1 on average, and the coverage is
    1 − (M−1)⋯(M−k) / ((M+N−1)⋯(M+N−k)): 0.969 for k = 5 and large N = M. Precision and recall
    have no such value and change with the sizes: compare them at equal N and M only.

    The standard errors are of the jackknife that deletes one block of real points after another,
    and a hundredth of the generated ones, which are independent: of the balls, too, some then go
    and others grow. They are upper bounds (Efron and Stein, doi:10.1214/aos/1176345462), in the
    simulation of docs/errors.md 1.3 to 2.9 times the spread. Besides the points, memory is needed
    for a few blocks of distances.

    Args:
        generated: Points (N, F).
        real: Points (M, F).
        num_neighbours: k, at least 1 and less than N and M.
        real_clusters: Which real points depend on one another; none do if it is None.
        block_size: Points of one side whose distances to all others are held at once.

    Raises:
        ValueError: If points are not finite or of other shapes, there are too few, real_clusters
            are not of M points, or num_neighbours or block_size is less than 1.

    Example:
        >>> real = torch.arange(10.0)[:, None]
        >>> found = compare_features(real[:5] + 0.25, real, num_neighbours=1)
        >>> found.precision, found.recall, found.density, found.coverage
        (1.0, 0.6, 2.0, 0.6)
    """
    generated, real = _require_pair("generated", generated, "real", real)
    (generated, real), _ = scaled_to_one(generated, real)
    num_neighbours = whole_number(num_neighbours, "num_neighbours", 1)
    block_size = whole_number(block_size, "block_size", 1)
    for name, points in (("generated", generated), ("real", real)):
        if len(points) <= num_neighbours:
            raise ValueError(
                f"{num_neighbours} neighbours need at least {num_neighbours + 1} {name} points,"
                f" not {len(points)}"
            )
    real_clusters = _clusters(real_clusters, len(real))
    clusters = Clusters.independent(len(generated))
    settings = num_neighbours, block_size
    of_real, real_variances = _hits(real, real_clusters, generated, clusters, *settings)
    of_generated, variances = _hits(generated, clusters, real, real_clusters, *settings)
    precision, density, coverage = zip(
        of_real.tolist(), real_variances.sqrt().tolist(), strict=True
    )
    return FeatureComparison(
        precision[0],
        of_generated[0].item(),
        density[0],
        coverage[0],
        precision[1],
        variances[0].sqrt().item(),
        density[1],
        coverage[1],
    )


@torch.no_grad()
def memorisation(
    generated: Tensor | ArrayLike, test: Tensor | ArrayLike, training: Tensor | ArrayLike
) -> Memorisation:
    """Measure how near generated images are to training images, against real test images.

    Args:
        generated: Images as points (N, d).
        test: Images (M, d) that the generator was not trained on.
        training: Images (T, d) that it was trained on, T at least 2.

    Raises:
        ValueError: If points are not finite or of other shapes, there are too few, or most test
            images are training images.
    """
    return _memorisation(
        nearest_training_distances(generated, training), nearest_training_distances(test, training)
    )


def _memorisation(nearest: Tensor, test_nearest: Tensor) -> Memorisation:
    """Compare distances to the two nearest training images, (N, 2) and (M, 2)."""
    test_median = test_nearest[:, 0].quantile(0.5)
    if test_median == 0:
        raise ValueError("most test images are training images; they must be other images")
    # Both are 0 at a copy of what stands twice in the training images.
    copied, test_copied = (
        (near <= _COPY_RATIO * next_near).double().mean().item()
        for near, next_near in (nearest.unbind(1), test_nearest.unbind(1))
    )
    return Memorisation(
        median_distance=(nearest[:, 0].quantile(0.5) / test_median).item(),
        near_share=(nearest[:, 0] < test_nearest[:, 0].quantile(0.05)).double().mean().item(),
        copied_share=copied,
        test_copied_share=test_copied,
    )


@torch.no_grad()
def nearest_training_distances(
    images: Tensor | ArrayLike, training: Tensor | ArrayLike, *, block_size: int = _BLOCK_SIZE
) -> Tensor:
    """Return the Euclidean distances of images to the nearest and second nearest training image.

    The two are searched for in single precision, where of training images at about the same
    distance, to 1e-5 of the squared norms, the other may be taken; their distances are then
    computed in double precision.

    Args:
        images: Points (N, d).
        training: Points (T, d), T at least 2.
        block_size: Images whose distances to all training images are held at once.

    Returns:
        Distances in float64, shape (N, 2), the smaller first.

    Raises:
        ValueError: If points are not finite or of other shapes, there are too few, or block_size
            is less than 1.

    Example:
        >>> training = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
        >>> nearest_training_distances(torch.tensor([[3.0, 4.0]]), training)
        tensor([[0., 5.]], dtype=torch.float64)
    """
    images, training = _require_pair("images", images, "training", training)
    if len(training) < 2:
        raise ValueError("the second nearest of 1 training image is not defined")
    block_size = whole_number(block_size, "block_size", 1)
    (images, training), unit = scaled_to_one(images, training)
    single = training.float()
    norms = single.square().sum(1)
    distances = []
    for some in images.split(block_size):
        # ‖x − y‖² but for ‖x‖², which is the same for all y.
        squared = torch.addmm(norms, some.float(), single.T, alpha=-2)
        chosen = squared.topk(2, largest=False).indices
        difference = some[:, None].double() - training[chosen].double()
        distances.append(torch.linalg.vector_norm(difference, dim=2).sort(dim=1).values)
    return unit * torch.cat(distances)


def _judge(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features and logits of images (N, 28, 28)."""
    parameter = next(classifier.parameters())
    features = torch.cat(
        [classifier.features(some.to(parameter)) for some in images[:, None].split(_BLOCK_SIZE)]
    )
    return features, classifier.output(features)


def _clusters(clusters: Clusters | None, m: int) -> Clusters:
    """Return the clusters of m real points, which are independent if there are none."""
    if clusters is None:
        return Clusters.independent(m)
    if len(clusters) != m:
        raise ValueError(f"clusters must be of the {m} real points, not of {len(clusters)}")
    return clusters


def _with_errors(
    statistics: Callable[[Tensor, Tensor], Mapping[str, float]],
    generated: Tensor,
    real: Tensor,
    real_clusters: Clusters,
) -> dict[str, float]:
    """Return statistics of two samples, (N, ...) and (M, ...), each with its `_standard_error`.

    Of independent points groups are deleted: one by one they would tell nothing of a quantile.
    """
    if len(real_clusters.sizes) == len(real):
        real_clusters = Clusters.independent(len(real))

    def values(some: Tensor, others: Tensor) -> Tensor:
        return torch.tensor(list(statistics(some, others).values()), dtype=torch.float64)

    variances = Clusters.independent(len(generated)).variance_by_deletion(
        lambda kept: values(generated[kept.to(generated.device)], real)
    ) + real_clusters.variance_by_deletion(
        lambda kept: values(generated, real[kept.to(real.device)])
    )
    numbers = dict(statistics(generated, real))
    errors = zip(numbers, variances.sqrt().tolist(), strict=True)
    return numbers | {f"{name}_standard_error": error for name, error in errors}


class _Balls(NamedTuple):
    """Balls around points, and what they grow to if a block of points is deleted.

    Attributes:
        radii: To the k-th nearest other point, rounded up, (M,).
        without: The blocks of these k neighbours and of the point itself, int64 (M, k + 1).
        grown: The radius without each of these blocks, 0 for the point's own and for a block that
            comes a second time, (M, k + 1).
    """

    radii: Tensor
    without: Tensor
    grown: Tensor


def _balls(points: Tensor, clusters: Clusters, num_neighbours: int, block_size: int) -> _Balls:
    blocks = clusters.blocks.to(points.device)
    needed = num_neighbours + 1  # The smallest distance is that of a point to itself.
    parts = []
    for rows, distances in _distance_blocks(points, points, block_size):
        near = distances.topk(min(needed + _SPARE, len(points)), largest=False)
        without = blocks[near.indices[:, :needed]].sort(dim=1).values
        changes = without != blocks[rows, None]
        changes[:, 1:] &= without.diff(dim=1) != 0
        row, column = changes.nonzero().unbind(1)
        deleted = without[row, column, None]
        rank = (blocks[near.indices[row]] != deleted).cumsum(1)
        last = (rank < needed).sum(1)
        grown = torch.zeros_like(near.values[:, :needed])
        enough = last < rank.shape[1]
        grown[row[enough], column[enough]] = near.values[row[enough], last[enough]]
        for i, j in changes.nonzero()[~enough].tolist():
            left = distances[i, blocks != without[i, j]]
            grown[i, j] = left.topk(needed, largest=False).values[-1] if len(left) >= needed else 0
        parts.append((near.values[:, needed - 1], without, grown))
    radii, blocks_without, grown_radii = (torch.cat(part) for part in zip(*parts, strict=True))
    return _Balls(radii * (1 + _TIE), blocks_without, grown_radii * (1 + _TIE))


def _hits(
    centres: Tensor,
    centre_clusters: Clusters,
    others: Tensor,
    other_clusters: Clusters,
    num_neighbours: int,
    block_size: int,
) -> tuple[Tensor, Tensor]:
    """Compare `others` (N, F) with the balls of `centres` (M, F).

    Returns:
        The share of others within a ball, the balls that each is in divided by k, and the share of
        balls that hold one, (3,); and the variances of these, (3,).
    """
    balls = _balls(centres, centre_clusters, num_neighbours, block_size)
    member, other_member = (
        torch.nn.functional.one_hot(clusters.blocks).float().to(centres.device)
        for clusters in (centre_clusters, other_clusters)
    )
    sizes, other_sizes = member.sum(0), other_member.sum(0)
    n, m = len(others), len(centres)
    number, inside_without, hits_without = (
        torch.zeros(size, dtype=torch.float64, device=centres.device)
        for size in (n, len(sizes), len(sizes))
    )
    nearest = torch.full((m,), math.inf, dtype=torch.float64, device=centres.device)
    held = torch.zeros(len(other_sizes), m, device=centres.device)
    largest = balls.grown.amax(1)
    for rows, distances in _distance_blocks(others, centres, block_size):
        hit = distances <= balls.radii
        number[rows] = hit.sum(1).double()
        left = number[rows, None].float() - hit.float() @ member
        row, point = ((distances <= largest) & ~hit).nonzero().unbind(1)
        gained = (distances[row, point, None] <= balls.grown[point]).float()
        left.index_put_((row[:, None], balls.without[point]), gained, accumulate=True)
        inside_without += (left > 0).sum(0)
        hits_without += left.double().sum(0)
        held += other_member[rows].T @ hit.float()
        nearest = nearest.minimum(distances.amin(0))
    inside, holds = (number > 0).double(), (nearest <= balls.radii).double()
    whole = torch.stack([inside.mean(), number.mean() / num_neighbours, holds.mean()])

    gains = (nearest[:, None] <= balls.grown).double() * (1 - holds[:, None])
    holding = (1 - member.double()).T @ holds
    holding.index_add_(0, balls.without.flatten(), gains.flatten())
    without = torch.stack(
        [inside_without / n, hits_without / (n * num_neighbours), holding / (m - sizes)], 1
    )
    rest = (1 - other_member.double()).T @ torch.stack([inside, number / num_neighbours], 1)
    still_holding = (held.sum(0) > held).double().mean(1, keepdim=True)
    other_without = torch.cat([rest / (n - other_sizes)[:, None], still_holding], 1)
    variances = centre_clusters.variance_of_deletions(whole, without)
    return whole, variances + other_clusters.variance_of_deletions(whole, other_without)


def _distance_blocks(x: Tensor, y: Tensor, block_size: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the distances of `block_size` points of `x` after another to all points of `y`."""
    for first in range(0, len(x), block_size):
        rows = slice(first, first + block_size)
        yield rows, pairwise_distances(x[rows], y)


def _require_rows(name: str, given: Tensor | ArrayLike) -> Tensor:
    values = to_tensor(given, name)
    if values.ndim != 2 or not values.numel():
        raise ValueError(
            f"{name} must be a table with at least one row, not of shape {tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise ValueError(f"{name} must be finite, but row {_bad_row(values)} is not")
    return values if values.is_floating_point() else values.double()


def _bad_row(values: Tensor) -> int:
    return int((~values.isfinite()).any(1).nonzero()[0, 0])


def _require_pair(
    name: str, given: Tensor | ArrayLike, other_name: str, other_given: Tensor | ArrayLike
) -> tuple[Tensor, Tensor]:
    values, others = _require_rows(name, given), _require_rows(other_name, other_given)
    if values.shape[1] != others.shape[1]:
        raise ValueError(
            f"{name} and {other_name} must have rows of one length,"
            f" not {values.shape[1]} and {others.shape[1]}"
        )
    return values, others
