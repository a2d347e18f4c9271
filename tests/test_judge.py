"""Images that show no digit, and what is required of a judge that has to tell them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.made_up import (
    NO_DIGIT,
    Kind,
    blur,
    no_digits,
    partners,
    scrambled,
    smeared,
    vary,
)
from dgmpipe.evaluation.judge import CHECKS, examine, without_a_digit
from dgmpipe.models.classifier import Classifier
from dgmpipe.streams import random_stream

Pair = tuple[Tensor, Tensor]
KINDS = NO_DIGIT | {kind: check.make for kind, check in CHECKS.items()}
NOISY = [kind for kind in NO_DIGIT if not kind.startswith("halves")]


@pytest.fixture(scope="module")
def pair(images: Tensor, labels: Tensor) -> Pair:
    """Images, and as many of other digits."""
    have, chosen = partners(labels[:60], random_stream(3, "partners"))
    x = to_float(images[:60])
    return x[have], x[chosen]


def _noise(seed: int = 0) -> torch.Generator:
    return random_stream(seed, "test")


def _correlations(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of the pixels of each image of two batches, (N,)."""
    x, y = (z.flatten(1) - z.flatten(1).mean(1, keepdim=True) for z in (x, y))
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_makes_as_many_images_from_the_stream_alone(kind: str, pair: Pair) -> None:
    made = KINDS[kind](*pair, _noise())
    assert made.shape == pair[0].shape
    assert made.min() >= 0
    assert made.max() <= 1
    torch.rand(5)  # no other stream
    assert torch.equal(made, KINDS[kind](*pair, _noise()))
    assert KINDS[kind](pair[0][:0], pair[1][:0], _noise()).shape == (0, 1, 28, 28)


@pytest.mark.parametrize("kind", NO_DIGIT)
def test_a_kind_without_a_digit_is_unlike_the_images_it_is_made_of(kind: str, pair: Pair) -> None:
    made = KINDS[kind](*pair, _noise())
    assert (made - pair[0]).flatten(1).norm(dim=1).min() > 0.5
    again = KINDS[kind](*pair, _noise(1))
    assert (not torch.equal(made, again)) == (kind in NOISY)


def test_noise_is_independent_unless_it_is_smooth(pair: Pair) -> None:
    for kind, (low, high) in {
        "uniform noise": (-0.15, 0.15),
        "normal noise": (-0.15, 0.15),
        "smooth noise": (0.5, 1),
    }.items():
        x = NO_DIGIT[kind](*pair, _noise())
        neighbours = _correlations(x[..., 1:], x[..., :-1])
        neighbours = neighbours[x.flatten(1).std(dim=1) > 0.01]
        assert low < neighbours.quantile(0.1), kind
        assert neighbours.quantile(0.9) < high, kind
    # Digits have an empty border and cover about a fifth of an image.
    assert x[..., :2].max() < 0.2
    assert 0.05 < x.mean() < 0.3


@pytest.mark.parametrize("block", [1, 2, 4, 7, 14])
def test_scrambled_blocks_are_all_there_and_none_in_its_place(block: int) -> None:
    images = torch.arange(3 * 784.0).view(3, 1, 28, 28)
    made = scrambled(block)(images, images, _noise())

    def blocks(x: Tensor) -> Tensor:
        return x.unfold(2, block, block).unfold(3, block, block).reshape(3, -1, block**2)

    before, after = blocks(images), blocks(made)
    assert (before != after).all()
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new[new[:, 0].argsort()])


def test_blocks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="must be of 1, 2, 4, 7 or 14 pixels, not 28"):
        scrambled(28)


def test_halves_are_of_the_two_images() -> None:
    ones, twos = torch.full((2, 1, 28, 28), 1.0), torch.full((2, 1, 28, 28), 2.0)
    beside = NO_DIGIT["halves side by side"](ones, twos, _noise())
    stacked = NO_DIGIT["halves stacked"](ones, twos, _noise())
    for halves in (beside, stacked.transpose(2, 3)):
        assert (halves[..., :14] == 1).all()
        assert (halves[..., 14:] == 2).all()
    diagonal = CHECKS["diagonal halves"].make(ones, twos, _noise())[0, 0]
    assert torch.equal(diagonal, ones[0, 0] + torch.ones(28, 28).tril(-1))
    chequered = CHECKS["chequered"].make(ones, twos, _noise())[0, 0]
    assert chequered[::7, ::7].tolist() == [[1, 2, 1, 2], [2, 1, 2, 1]] * 2


def test_overlaid_images_are_the_mean_or_the_maximum(pair: Pair) -> None:
    made = NO_DIGIT["overlaid"](*pair, _noise())
    is_mean = (made == sum(pair) / 2).flatten(1).all(1)
    is_maximum = (made == torch.maximum(*pair)).flatten(1).all(1)
    assert (is_mean ^ is_maximum).all()
    assert 10 < is_mean.sum() < 50


def test_merged_images_are_between_the_two_and_as_sharp_as_strokes(pair: Pair) -> None:
    made = NO_DIGIT["merged"](*pair, _noise())
    apart = _correlations(*pair)
    for image in pair:
        assert (_correlations(made, image) > apart).float().mean() > 0.95
    grey = ((made > 0.1) & (made < 0.9)).flatten(1).float().mean(1)
    assert grey.max() < 0.3
    assert (made.flatten(1).amax(1) > 0.9).all()


def test_combined_images_have_mean_and_covariance_of_the_images() -> None:
    # Four images in two directions, so little apart that nothing is clipped.
    direction = 0.02 * torch.randn(2, 1, 28, 28, generator=_noise())
    images = 0.5 + torch.cat([direction, -direction]).repeat(1000, 1, 1, 1)
    made = NO_DIGIT["combined"](images, images, _noise())
    (inverse,) = torch.linalg.pinv(direction.flatten(1)).split(2, dim=1)
    along = (made - 0.5).flatten(1) @ inverse
    assert made.mean(0).sub(0.5).abs().max() < 0.005
    # A quarter of the images lies on each side along each direction.
    torch.testing.assert_close(along.T.cov(), 0.5 * torch.eye(2), atol=0.05, rtol=0)


def test_a_partner_is_of_another_class_if_there_is_one(labels: Tensor) -> None:
    have, chosen = partners(labels, _noise())
    assert torch.equal(have, torch.arange(len(labels)))
    assert (labels[chosen] != labels).all()
    assert len(chosen.unique()) > len(labels) / 2
    have, chosen = partners(torch.tensor([4, 4, 4]), _noise())
    assert have.shape == chosen.shape == (0,)


@pytest.mark.parametrize("count", [2, 9, 10, 47])
def test_there_is_a_made_up_image_for_each(images: Tensor, labels: Tensor, count: int) -> None:
    x, y = to_float(images[:count]), labels[:count]
    assert len(set(y.tolist())) > 1
    made = no_digits(x, y, _noise())
    assert made.shape == x.shape
    assert torch.equal(made, no_digits(x, y, _noise()))
    assert no_digits(x, torch.zeros_like(y), _noise()).shape == (0, 1, 28, 28)


def test_kinds_are_made_equally_often(
    images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counting(number: int) -> Kind:
        return lambda x, others, noise: torch.full_like(x, number)

    for number, kind in enumerate(NO_DIGIT):
        monkeypatch.setitem(NO_DIGIT, kind, counting(number))
    made = no_digits(to_float(images[:53]), labels[:53], _noise())
    counts = made[:, 0, 0, 0].long().bincount(minlength=len(NO_DIGIT))
    assert sorted(counts.tolist()) == [5] * 7 + [6] * 3


def test_blur_is_that_of_a_gaussian(pair: Pair) -> None:
    x = pair[0][:3]
    blurred = blur(x, torch.tensor([0.0, 0.7, 1.3]))
    assert torch.equal(blurred[0], x[0])
    for image, found, deviation in ((x[1], blurred[1], 0.7), (x[2], blurred[2], 1.3)):
        expected = gaussian_filter(image[0].numpy(), deviation, truncate=9)
        np.testing.assert_allclose(found[0, 6:-6, 6:-6], expected[6:-6, 6:-6], atol=1e-4)
    torch.testing.assert_close(
        blur(torch.full((2, 1, 28, 28), 0.4), 1.3), torch.full((2, 1, 28, 28), 0.4)
    )


def test_images_vary_and_stay_digits(pair: Pair) -> None:
    x = pair[0]
    varied = vary(x, _noise())
    assert torch.equal(varied, vary(x, _noise()))
    assert varied.min() == 0
    assert varied.max() == 1
    assert _correlations(varied, x).median() > 0.7
    ink = varied.flatten(1).sum(1) / x.flatten(1).sum(1)
    assert ink.quantile(0.1) < 0.8
    assert ink.quantile(0.9) > 1.3


def test_smeared_images_are_means_of_similar_ones_of_their_class(
    images: Tensor, labels: Tensor
) -> None:
    x = to_float(images)
    same = torch.zeros(len(x))
    assert torch.equal(smeared(x, labels, same), x)
    means = smeared(x, labels, same + 1e9)
    for digit in labels.unique():
        mean = x[labels == digit].mean(0)
        torch.testing.assert_close(means[labels == digit], mean.expand_as(x[labels == digit]))
    # Between the two: nearer to the image than the mean of its class is.
    little = (smeared(x, labels, same + 20) - x).flatten(1).norm(dim=1)
    assert (little <= (means - x).flatten(1).norm(dim=1)).all()
    assert little.median() > 0.5


def _constant(reject: float) -> Classifier:
    """A classifier with random weights to whose logit of the reject class much is added."""
    torch.manual_seed(0)
    classifier = Classifier(2).eval()
    with torch.no_grad():
        classifier.output.bias[-1] += reject
    return classifier


@pytest.mark.slow
@pytest.mark.parametrize(("reject", "share"), [(1e3, 1), (-1e3, 0)])
def test_a_judge_that_says_the_same_of_all_fails_half_of_the_requirements(
    images: Tensor, labels: Tensor, reject: float, share: float
) -> None:
    x = to_float(images)
    rows = examine(_constant(reject), x, labels, 0)
    assert [row["kind"] for row in rows] == list(CHECKS)
    for row in rows:
        assert row["rejected"] == share
        assert row["trained_on"] == (row["kind"] in NO_DIGIT)
        assert row["reason"]
        # Without the reject class it reads at random, which is not enough either.
        assert row["met"] == (share == 1 and not row["shows_a_digit"])
        assert (row["read_right"] is not None) == row["shows_a_digit"]
    with torch.no_grad():
        right = (_constant(reject)(x).argmax(1) == labels).double().mean().item()
    assert rows[0]["read_right"] == pytest.approx(right)
    assert rows == examine(_constant(reject), x, labels, 0)


def test_a_requirement_is_met_up_to_its_bounds(
    images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def met(**bounds: float) -> bool:
        monkeypatch.setitem(CHECKS, "digits", CHECKS["digits"]._replace(**bounds))
        return examine(judge, x, labels, 0)[0]["met"]

    x = to_float(images)
    torch.manual_seed(0)
    judge = Classifier(2).eval()
    with torch.no_grad():
        logits = judge(x)
        judge.output.bias[-1] += (logits[:, :-1].amax(1) - logits[:, -1]).quantile(0.2)
    row = examine(judge, x, labels, 0)[0]
    rejected, right = row["rejected"], row["read_right"]
    assert 0.1 < rejected < 0.3
    assert right > 0
    assert met(most_rejected=rejected, least_right=right)
    assert not met(most_rejected=rejected - 1e-9, least_right=right)
    assert not met(most_rejected=rejected, least_right=right + 1e-9)


@pytest.mark.parametrize("share", [0, 0.05, 0.3, 0.8, 1])
@pytest.mark.parametrize("found", [0.4, 0.7, 1])
@pytest.mark.parametrize("false", [0, 0.02, 0.05])
def test_a_rejected_share_bounds_that_of_images_without_a_digit(
    share: float, found: float, false: float
) -> None:
    low, high = without_a_digit(found * share + false * (1 - share))
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    # The bounds are reached by the worst judges that are allowed.
    assert without_a_digit(share + 0.05 * (1 - share))[0] == pytest.approx(share)
    assert without_a_digit(0.4 * share)[1] == pytest.approx(share)


def test_of_images_in_the_order_of_their_classes_each_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of made-up images of two the second is of the other class, though it is 500 places away.
    seen: list[Tensor] = []

    def make(first: Tensor, second: Tensor, noise: torch.Generator) -> Tensor:
        seen.append(torch.stack([first.amax((1, 2, 3)), second.amax((1, 2, 3))]))
        return first

    check = CHECKS["digits"]._replace(make=make)
    monkeypatch.setattr("dgmpipe.evaluation.judge.CHECKS", {"digits": check})
    levels = torch.arange(2.0).repeat_interleave(500)
    x, y = levels[:, None, None, None].expand(-1, 1, 28, 28), levels.long()
    examine(_constant(0), x, y, 0)
    first, second = torch.cat(seen, 1).round()  # images are smeared by nothing, and rounded
    assert first.sum() == 500
    assert len(first) == 1000
    assert torch.equal(second, 1 - first)


def test_images_of_one_class_are_refused(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(ValueError, match="more than one class"):
        examine(_constant(0), to_float(images), torch.zeros_like(labels), 0)


def test_letters_and_scribbles_are_as_bold_as_digits(pair: Pair) -> None:
    x = pair[0]
    for kind in ("letters", "scribbles"):
        made = CHECKS[kind].make(x.repeat(5, 1, 1, 1), x, _noise())
        assert 0.5 < made.mean() / x.mean() < 2, kind
        assert (made.flatten(1).amax(1) > 0.95).all(), kind
        # Drawn in the centre, in many ways.
        assert made[..., :2].mean() < 0.01, kind
        assert len({image.numpy().tobytes() for image in made}) > 40, kind
