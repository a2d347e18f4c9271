"""Images that show no digit, made of noise or of images of two digits, to train a judge against.

A kind is a function of images (N, 1, 28, 28) with intensities in [0, 1], of as many images of
other classes, and of a random stream on the CPU, so that every device sees the same numbers. It
returns N images. Some that it makes can be read as a digit all the same: the upper half of a 4
over the lower half of a 9 is one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "NO_DIGIT",
    "Kind",
    "blur",
    "no_digits",
    "partners",
    "scrambled",
    "smeared",
    "vary",
    "with_no_digits",
]

Kind = Callable[[Tensor, Tensor, torch.Generator], Tensor]

# What a judge is made indifferent to: turns, in radians, slants, as a tangent, blur, in pixels, and
# noise, in intensities.
_MOST_TURN, _MOST_SLANT, _MOST_BLUR, _MOST_NOISE = math.radians(15), 0.3, 1.5, 0.15
# And the width of `smeared`: squared distances within a class are mostly 50 to 100.
_MOST_SMEARED = 60


def blur(images: Tensor, deviation: Tensor | float) -> Tensor:
    """Return images (N, 1, 28, 28) blurred by a Gaussian, whose weights within the image add to 1.

    Args:
        images: To be blurred.
        deviation: Standard deviation of the Gaussian in pixels, one or one an image, (N,).
    """
    size = images.shape[-1]
    at = torch.arange(size, device=images.device, dtype=images.dtype)
    deviations = torch.as_tensor(deviation, device=images.device, dtype=images.dtype)
    scale = deviations.expand(len(images)).clamp(min=1e-3)[:, None, None, None]
    # A small deviation makes these the identity: exp(-0.5e6) is 0.
    weights = torch.exp(-0.5 * ((at[:, None] - at) / scale).square())
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ images @ weights.transpose(-1, -2)


def with_no_digits(
    images: Tensor, labels: Tensor, reject: int, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return what a judge is trained on: digits and images that show none, with their classes.

    Half of the digits are smeared into similar ones. To them comes a quarter as many made-up
    images, and all are varied by the same law, so that nothing of it tells digits from the rest.

    Args:
        images: Intensities in [0, 1], (N, 1, 28, 28).
        labels: Classes (N,).
        reject: Class of an image that shows none.
        noise: Random stream on the CPU.
    """
    made_up = no_digits(images[::4], labels[::4], noise)
    widths = _MOST_SMEARED * (2 * _uniform(len(images), noise=noise) - 1)
    shown = torch.cat([smeared(images, labels, widths), made_up])
    return vary(shown, noise), torch.cat([labels, labels.new_full((len(made_up),), reject)])


def vary(images: Tensor, noise: torch.Generator) -> Tensor:
    """Return images with other slants, strokes, blur, brightness and noise, each to its own degree.

    None of these is a sign of a digit, so a judge is trained on images so varied: turned by up to
    15° and slanted by up to 0.3; blurred by 0 to 1.5 pixels; three of ten sharpened again, which
    makes strokes thicker or thinner; times 0.4 to 1.6; with normal noise of standard deviation 0 to
    0.15; clipped to [0, 1].
    """
    draws = _uniform(7, len(images), noise=noise).to(images)
    angles, slants, blurs, sharpens, levels, contrasts, noises = draws
    varied = blur(_slanted(images, 2 * angles - 1, 2 * slants - 1), _MOST_BLUR * blurs)
    sharpened = (4 * (varied - _each(0.2 + 0.3 * levels)) + 0.5).clamp(0, 1)
    varied = torch.where(_each(sharpens) < 0.3, sharpened, varied) * _each(0.4 + 1.2 * contrasts)
    grain = torch.randn(images.shape, generator=noise).to(images)
    return (varied + _MOST_NOISE * _each(noises) * grain).clamp(0, 1)


def _slanted(images: Tensor, angles: Tensor, slants: Tensor) -> Tensor:
    """Images turned and slanted by shares in [-1, 1], (N,), of the most that they are."""
    cos, sin = torch.cos(_MOST_TURN * angles), torch.sin(_MOST_TURN * angles)
    rows = [[cos, _MOST_SLANT * slants - sin, 0 * cos], [sin, cos, 0 * cos]]
    maps = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def smeared(images: Tensor, labels: Tensor, widths: Tensor) -> Tensor:
    """Return means of similar images of a class, such as a VAE draws where it is not sure.

    Args:
        images: Intensities (N, 1, 28, 28).
        labels: Classes (N,).
        widths: One an image, (N,), on any device: another image of its class counts exp(−d²/width)
            times as much as itself, at a Euclidean distance d. None is less than 1e-3, which
            leaves an image as it is.
    """
    pixels = images.flatten(1)
    scores = -torch.cdist(pixels, pixels).square() / widths.to(images)[:, None].clamp(min=1e-3)
    scores = scores.masked_fill(labels[:, None] != labels, -torch.inf)
    # In single precision an image has a small distance from itself.
    scores = scores.masked_fill(torch.eye(len(images), device=images.device, dtype=torch.bool), 0)
    return (scores.softmax(dim=1) @ pixels).view_as(images)


def partners(labels: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose an image of another class for each.

    Returns:
        Positions of the images that have one, and of those that are chosen, both (M,). All have
        one unless all labels (N,) are the same.
    """
    scores = _uniform(len(labels), len(labels), noise=noise).to(labels.device)
    scores = torch.where(labels[:, None] == labels, -1.0, scores)
    best, chosen = scores.max(dim=1)
    (have,) = (best >= 0).nonzero(as_tuple=True)
    return have, chosen[have]


def no_digits(images: Tensor, labels: Tensor, noise: torch.Generator) -> Tensor:
    """Return made-up images (M, 1, 28, 28), of each of K kinds of `NO_DIGIT` one of every K.

    M is N, or 0 if all N labels are the same.

    Args:
        images: Intensities in [0, 1], (N, 1, 28, 28).
        labels: Classes (N,).
        noise: Random stream on the CPU.
    """
    have, chosen = partners(labels, noise)
    images, others = images[have], images[chosen]
    kinds = list(NO_DIGIT.values())
    made = [
        make(images[first :: len(kinds)], others[first :: len(kinds)], noise)
        for first, make in enumerate(kinds)
    ]
    return torch.cat(made)


def uniform_noise(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Independent uniform pixels between two levels of the image, which may be nearly the same."""
    high = _uniform(len(images), noise=noise)
    low = high * _uniform(len(images), noise=noise)
    pixels = _uniform(*images.shape, noise=noise)
    return torch.lerp(_each(low), _each(high), pixels).to(images)


def normal_noise(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Independent normal pixels, clipped, around a level of the image, often on black."""
    level = 0.8 * _uniform(len(images), noise=noise) - 0.3
    spread = 0.1 + 0.5 * _uniform(len(images), noise=noise)
    grain = torch.randn(images.shape, generator=noise)
    return (_each(level) + _each(spread) * grain).clamp(0, 1).to(images)


def smooth_noise(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Lines and patches as wide as strokes: where smooth noise is near 0 or high, in the centre."""
    deviation = 1.5 + 2 * _uniform(len(images), noise=noise)
    field = blur(torch.randn(images.shape, generator=noise), deviation)
    field = field / field.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    lines, patches = torch.exp(-4 * field.square()), torch.sigmoid(6 * (field - 0.8))
    chosen = _uniform(len(images), noise=noise) < 0.5
    return (torch.where(_each(chosen), lines, patches) * _spot(10)).to(images)


def scrambled(block: int) -> Kind:
    """Return the kind that moves every block of `block` × `block` pixels to another one's place.

    Raises:
        ValueError: If 28 pixels are not two or more whole blocks.
    """
    if block not in (1, 2, 4, 7, 14):
        raise ValueError(f"blocks must be of 1, 2, 4, 7 or 14 pixels, not {block}")

    def kind(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
        columns = F.unfold(images, block, stride=block)
        order = _uniform(len(images), columns.shape[2], noise=noise).argsort(dim=1)
        # Along a random order every block moves one place, so that none stays.
        source = torch.empty_like(order).scatter_(1, order, order.roll(1, dims=1))
        source = source.to(images.device)[:, None].expand_as(columns)
        return F.fold(columns.gather(2, source), images.shape[-2:], block, stride=block)

    return kind


def halves_side_by_side(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """The left half of one image beside the right half of the other."""
    return torch.cat([images[..., :14], others[..., 14:]], dim=3)


def halves_stacked(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """The upper half of one image over the lower half of the other."""
    return torch.cat([images[..., :14, :], others[..., 14:, :]], dim=2)


def overlaid(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Both images at once, pixel by pixel: their mean or their maximum."""
    chosen = _each(_uniform(len(images), noise=noise) < 0.5).to(images.device)
    return torch.where(chosen, (images + others) / 2, torch.maximum(images, others))


def merged(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """A shape between both: the outline of the blurred mean, as sharp as a stroke."""
    share = _each(0.35 + 0.3 * _uniform(len(images), noise=noise)).to(images)
    mean = blur(share * images + (1 - share) * others, 1.5)
    high = mean.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    return torch.sigmoid(12 * (mean / high - 0.5))


def combined(images: Tensor, others: Tensor, noise: torch.Generator) -> Tensor:
    """Draws from the normal distribution with the images' mean and covariance, clipped."""
    pixels = torch.cat([images, others])
    mean = pixels.mean(dim=0, keepdim=True)
    weights = torch.randn(len(images), len(pixels), generator=noise).to(images)
    deviation = (weights @ (pixels - mean).flatten(1)).view_as(images) / len(pixels) ** 0.5
    return (mean + deviation).clamp(0, 1)


NO_DIGIT: dict[str, Kind] = {
    "uniform noise": uniform_noise,
    "normal noise": normal_noise,
    "smooth noise": smooth_noise,
    "blocks of 4 pixels, scrambled": scrambled(4),
    "blocks of 14 pixels, scrambled": scrambled(14),
    "halves side by side": halves_side_by_side,
    "halves stacked": halves_stacked,
    "overlaid": overlaid,
    "merged": merged,
    "combined": combined,
}


def _spot(radius: float) -> Tensor:
    """Return a disc of that many pixels around an image's centre, (28, 28), with a soft edge."""
    at = torch.arange(28) - 13.5
    return torch.sigmoid(radius - (at[:, None].square() + at.square()).sqrt())


def _uniform(*shape: int, noise: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=noise)


def _each(values: Tensor) -> Tensor:
    """A value an image (N,) as a factor of its pixels (N, 1, 1, 1)."""
    return values[:, None, None, None]
