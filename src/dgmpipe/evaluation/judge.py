"""How well a judge tells images that show a digit from images that show none.

A share of rejected images says something about a generator only if the judge rejects few images
that show a digit, however smooth, faint or grainy they are, and most that show none, also of kinds
that it was not trained against. `CHECKS` says how few and how many, and why. These bounds were
written down before any judge was examined, but that on smeared digits, which came with the first
ones. A tier whose judge misses one of them can decide no statement about images without a digit.

The statements of the paper ask whether a tenth ("many") or half ("most") of a generator's images
show no digit, and whether more do of one generator's than of another's. So false alarms have to be
few beside a tenth, and about as few for smooth images, which a VAE makes, as for sharp ones, which
a GAN makes. `without_a_digit` says what a share of rejected images leaves open.

Of images of trained generators nobody knows the truth but by looking. On 64 random images of each
kind of generator, the judge should agree with a person on at least 80%; docs/judge.md has the
result.
"""

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.made_up import NO_DIGIT, Kind, blur, partners, scrambled, smeared
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.generator import Generator
from dgmpipe.streams import random_stream

__all__ = ["CHECKS", "Check", "examine", "examine_judge", "without_a_digit"]

# No capital of these looks like a digit.
_LETTERS = "AEFHKMNRWX"
_FONTS = ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSerif", "STIXGeneral", "cmr10", "cmss10")


class Check(NamedTuple):
    """A kind of image, and what a judge has to do with it.

    Attributes:
        make: Makes the images.
        reason: Why these bounds.
        most_rejected: Of a kind that shows a digit, the largest share of it that may be rejected.
        least_right: Likewise the smallest share that must be read right.
        least_rejected: Of a kind that shows none, the smallest share that must be rejected.
        smear: Width of `smeared`, which comes before `make`; 0 for none.
    """

    make: Kind
    reason: str
    most_rejected: float = 1
    least_right: float = 0
    least_rejected: float = 0
    smear: float = 0

    @property
    def shows_a_digit(self) -> bool:
        """Whether a digit can be seen in images of this kind."""
        return self.least_rejected == 0


def _plain(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    return images


def _blurred(deviation: float, kind: Kind = _plain) -> Kind:
    return lambda images, others, noise: blur(kind(images, others, noise), deviation)


def _faint(kind: Kind = _plain) -> Kind:
    return lambda images, others, noise: kind(images, others, noise) / 2


def _grainy(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    grain = torch.randn(images.shape, generator=noise).to(images)
    return (images + 0.1 * grain).clamp(0, 1)


def _flat(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Images of one grey each, from black to white."""
    return torch.linspace(0, 1, len(images)).to(images)[:, None, None, None].expand_as(images)


def _black_and_white(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Each pixel white with a probability that the image has of its own."""
    share = torch.rand(len(images), 1, 1, 1, generator=noise)
    return (torch.rand(images.shape, generator=noise) < share).to(images)


def _diagonal_halves(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """What of one image lies above a diagonal, with what of another lies below."""
    at = torch.arange(28)
    return torch.where((at[:, None] <= at).to(images.device), images, others)


def _chequered(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Blocks of 7 × 7 pixels of two images by turns, as on a chessboard."""
    at = torch.arange(28) // 7
    return torch.where(((at[:, None] + at) % 2 == 0).to(images.device), images, others)


def _scribbles(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Three quadratic Bézier curves of random points, drawn as wide as strokes."""
    corners = 4 + 20 * torch.rand(len(images), 3, 3, 2, generator=noise)
    t = torch.linspace(0, 1, 15)[:, None]
    curves = (1 - t) ** 2 * corners[:, :, :1] + 2 * t * (1 - t) * corners[:, :, 1:2]
    points = (curves + t**2 * corners[:, :, 2:]).flatten(1, 2)
    pixels = torch.cartesian_prod(torch.arange(28.0), torch.arange(28.0))
    nearest = torch.cdist(pixels, points).amin(dim=2)
    return torch.sigmoid(3 * (1.5 - nearest)).view_as(images).to(images)


@cache
def _letters_drawn() -> Tensor:
    """Every one of `_LETTERS` in every font, in the centre, (L, 1, 28, 28)."""
    drawn = []
    for font in _FONTS:
        path = Path(matplotlib.get_data_path(), "fonts/ttf", f"{font}.ttf")
        for letter in _LETTERS:
            image = Image.new("L", (28, 28))
            ImageDraw.Draw(image).text(
                (14, 14),
                letter,
                255,
                ImageFont.truetype(str(path), 24),
                anchor="mm",
                stroke_width=0.5,
            )
            drawn.append(np.asarray(image))
    return to_float(torch.from_numpy(np.stack(drawn)))


def _letters(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    drawn = _letters_drawn()
    return drawn[torch.randint(len(drawn), (len(images),), generator=noise)].to(images)


def _untrained(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Images of a generator with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=noise)))
        generator = Generator().eval()
    return generator(torch.randn(len(images), 2, generator=noise)).to(images)


_FEW = "a statement asks for a tenth, beside which false alarms have to be few"
_SMOOTH = "a VAE's images are as smooth, and still read right in 94% without a reject class"
_VARIED = "generators make such images, and half of a tenth may be a false alarm"
_NOISE = "there is no digit in it"
_PARTS = "strokes that are not joined as in a digit; a few can be read as one"
_READABLE = "about half of these can be read as a digit by eye"

CHECKS: dict[str, Check] = {
    "digits": Check(_plain, _FEW, most_rejected=0.02, least_right=0.95),
    "digits blurred by 0.7 pixels": Check(
        _blurred(0.7), _VARIED, most_rejected=0.05, least_right=0.9
    ),
    "digits blurred by 1.3 pixels": Check(
        _blurred(1.3), _SMOOTH, most_rejected=0.05, least_right=0.9
    ),
    "digits at half intensity": Check(_faint(), _VARIED, most_rejected=0.05, least_right=0.9),
    "digits blurred by 1.3 pixels at half intensity": Check(
        _faint(_blurred(1.3)), _VARIED, most_rejected=0.05, least_right=0.9
    ),
    "digits with normal noise of 0.1": Check(_grainy, _VARIED, most_rejected=0.05, least_right=0.9),
    "digits smeared into similar ones": Check(
        _plain, _VARIED, most_rejected=0.05, least_right=0.9, smear=20
    ),
    # Kinds that it is trained against, of test images.
    "uniform noise": Check(NO_DIGIT["uniform noise"], _NOISE, least_rejected=0.99),
    "normal noise": Check(NO_DIGIT["normal noise"], _NOISE, least_rejected=0.99),
    "smooth noise": Check(NO_DIGIT["smooth noise"], _PARTS, least_rejected=0.95),
    "blocks of 4 pixels, scrambled": Check(
        NO_DIGIT["blocks of 4 pixels, scrambled"], _NOISE, least_rejected=0.99
    ),
    "blocks of 14 pixels, scrambled": Check(
        NO_DIGIT["blocks of 14 pixels, scrambled"], _PARTS, least_rejected=0.95
    ),
    "halves side by side": Check(NO_DIGIT["halves side by side"], _READABLE, least_rejected=0.4),
    "halves stacked": Check(NO_DIGIT["halves stacked"], _READABLE, least_rejected=0.4),
    "overlaid": Check(NO_DIGIT["overlaid"], _READABLE, least_rejected=0.4),
    "merged": Check(NO_DIGIT["merged"], _READABLE, least_rejected=0.4),
    "combined": Check(NO_DIGIT["combined"], _NOISE, least_rejected=0.95),
    # Kinds that it is not trained against.
    "one grey": Check(_flat, _NOISE, least_rejected=0.99),
    "black and white noise": Check(_black_and_white, _NOISE, least_rejected=0.99),
    "uniform noise blurred by 1.3 pixels": Check(
        _blurred(1.3, NO_DIGIT["uniform noise"]), _NOISE, least_rejected=0.99
    ),
    "pixels, scrambled": Check(scrambled(1), _NOISE, least_rejected=0.99),
    "blocks of 2 pixels, scrambled": Check(scrambled(2), _NOISE, least_rejected=0.99),
    "blocks of 7 pixels, scrambled": Check(scrambled(7), _PARTS, least_rejected=0.95),
    "blocks of 7 pixels, scrambled and blurred by 1.3 pixels": Check(
        _blurred(1.3, scrambled(7)), _PARTS, least_rejected=0.9
    ),
    "diagonal halves": Check(_diagonal_halves, _READABLE, least_rejected=0.4),
    "chequered": Check(_chequered, _READABLE, least_rejected=0.6),
    "scribbles": Check(
        _scribbles, "three strokes at random; some can be read as a digit", least_rejected=0.7
    ),
    "letters": Check(
        _letters, "as well drawn as a digit; most should be told from one", least_rejected=0.5
    ),
    "images of an untrained generator": Check(_untrained, _NOISE, least_rejected=0.95),
}


def without_a_digit(rejected: float) -> tuple[float, float]:
    """Return the least and the largest share of images without a digit, if that share is rejected.

    A judge that meets all of `CHECKS` rejects a share f of images that show a digit, at most the
    largest that is allowed, and a share s of those that show none, at least the smallest that is
    required. Of a sample of which a share q shows none it rejects s q + f (1 − q).

    Example:
        >>> [round(share, 3) for share in without_a_digit(0.2)]
        [0.158, 0.5]
        >>> without_a_digit(0.0)
        (0.0, 0.0)
    """
    false = max(check.most_rejected for check in CHECKS.values() if check.shows_a_digit)
    found = min(check.least_rejected for check in CHECKS.values() if not check.shows_a_digit)
    return max((rejected - false) / (1 - false), 0.0), min(rejected / found, 1.0)


@torch.no_grad()
def examine(
    classifier: Classifier, images: Tensor, labels: Tensor, seed: int
) -> list[dict[str, Any]]:
    """Return a row for every kind of image in `CHECKS`.

    Args:
        classifier: The judge, in evaluation mode.
        images: Real images (N, 1, 28, 28) that it was not trained on, on its device; of more than
            one class.
        labels: Their classes (N,).
        seed: Of what is random in the kinds.

    Returns:
        Rows with `kind`, `shows_a_digit`, `trained_on`, `rejected` and `read_right` (shares, the
        latter only where there is a digit), `required`, `met` and `reason`.

    Raises:
        ValueError: If all images are of one class.
    """
    if (labels == labels[0]).all():
        raise ValueError("the images must be of more than one class")
    # With strides, as the images may be in the order of their classes.
    runs = math.ceil(len(images) / 500)
    rows = []
    for kind, check in CHECKS.items():
        noise = random_stream(seed, f"judge, {kind}")
        rejected, right, count = 0, 0, 0
        for run in range(runs):
            some, classes = images[run::runs], labels[run::runs]
            have, chosen = partners(classes, noise)
            shown = smeared(some, classes, torch.full(classes.shape, check.smear))
            found = classifier(check.make(shown[have], shown[chosen], noise)).argmax(1)
            rejected += int((found == classifier.reject).sum())
            right += int((found == classes[have]).sum())
            count += len(have)
        rows.append(_row(kind, check, rejected / count, right / count))
    return rows


def _row(kind: str, check: Check, rejected: float, right: float) -> dict[str, Any]:
    low, high, least_right = check.least_rejected, check.most_rejected, check.least_right
    required = f"rejected at least {low:.0%}"
    if check.shows_a_digit:
        required = f"rejected at most {high:.0%}, read right at least {least_right:.0%}"
    return {
        "kind": kind,
        "shows_a_digit": check.shows_a_digit,
        "trained_on": kind in NO_DIGIT,
        "rejected": rejected,
        "read_right": right if check.shows_a_digit else None,
        "required": required,
        "met": low <= rejected <= high and right >= least_right,
        "reason": check.reason,
    }


def examine_judge(subject: Subject, *, num_images: int) -> dict[str, pd.DataFrame]:
    """Return as `table` what `examine` finds with test images, spread evenly.

    Raises:
        UserError: If there are fewer than `num_images` test images.
    """
    classifier = subject.model()
    assert isinstance(classifier, Classifier)
    images, labels = subject.load_images("t10k")
    assert labels is not None
    chosen = evenly_spread(num_images, len(images))
    rows = examine(classifier, to_float(images[chosen]), labels[chosen], subject.seed)
    return {"table": pd.DataFrame(rows)}
