"""Posteriors and evidence of the VAE by quadrature, in one or two latent dimensions.

p(x|z) is the likelihood that the VAE was trained with. The Bernoulli's, eq. (4), is a
pseudo-likelihood of grey values (see `VAE`), and so are then log p(x), its bound, and what a
posterior is made of; their difference is still the divergence of two densities of z.

Every integral is a sum over an equidistant grid of spacing h, which for smooth integrands that
vanish at the border converges faster than any power of h. The grid is the union of four grids
of spacing 2h (on a line, of two), shifted against each other; the largest distance of their
estimates from the whole grid's is the stated quadrature error. It is an estimate rather than a
bound, and usually too large: it shows the error of the coarse grids, of which the whole one is the
mean.

Of many images most of the square is far from any posterior. So log p(x, z) is first looked at on
few of the grid's points, and then summed only over those tiles of the grid where it comes, for an
image, within 50 nats of its maximum. What is left out is below 1e-10 of the integral.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.arguments import positive_number, whole_number
from dgmpipe.data.batches import to_float
from dgmpipe.errors import UserError
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.approximation import ApproximatePosterior, DiagonalGaussian
from dgmpipe.models.flexible_vae import FlexibleVAE
from dgmpipe.models.inputs import require_batch, to_model
from dgmpipe.models.posteriors import Pushed
from dgmpipe.models.vae import LIKELIHOODS, VAE

__all__ = [
    "Estimate",
    "PosteriorGrid",
    "compare_posteriors",
    "elbo",
    "elbo_of",
    "evaluate_posteriors",
    "log_evidence",
    "posterior_grid",
    "posterior_grids",
    "require_intensities",
]

# Few enough that the activations stay in the cache and in memory that the allocator keeps.
_POINTS_AT_ONCE = 512

# Points of a tile along each axis, an even number, and how far apart points may lie at which tiles
# are first looked at: near to a peak as narrow as 0.012 one of them is within 17 nats of it.
_TILE = {1: 400, 2: 20}
_LOOK = 0.1
# Tiles where the log joint is never this near to its maximum, in nats, do not count.
_FAR = 50

# A grid of more points along each axis takes more than 200 MB an image, and hours.
_LARGEST_RESOLUTION = 5000
# Spacing of the bound's grid by latent dimension, for about 300 points.
_SPACING = {1: 10 / 288, 2: 0.625}


@dataclass(frozen=True)
class Estimate:
    """A quantity of each image, with the error of its quadrature or sampling, both shape (N,)."""

    value: Tensor
    error: Tensor


@dataclass(frozen=True)
class PosteriorGrid:
    """The log joint of one image on the latent grid, and what follows from it.

    Attributes:
        axis: Grid coordinates of both latent axes, shape (R,).
        log_joint: log p(x, z), shape (R, R); row i, column j is at z = (axis[j], axis[i]).
        map: Grid point of the highest posterior, shape (2,).
        log_evidence: log p(x).
        log_evidence_error: Error of its quadrature.
    """

    axis: Tensor
    log_joint: Tensor
    map: Tensor
    log_evidence: float
    log_evidence_error: float

    @property
    def log_posterior(self) -> Tensor:
        """log p(z|x) = log p(x, z) − log p(x) in nats, shape (R, R), eq. (20)."""
        return self.log_joint - self.log_evidence


@torch.no_grad()
def posterior_grid(
    vae: VAE, image: Tensor | ArrayLike, *, limit: float = 5, resolution: int = 500
) -> PosteriorGrid:
    """Evaluate the posterior of one image on [−limit, limit]², as in Figure 7.

    Args:
        vae: Trained, in evaluation mode, with a two-dimensional latent space.
        image: Intensities in [0, 1], shape (H, W) or (3, H, W), a tensor or whatever NumPy reads.
        limit: Half the side of the square.
        resolution: Grid points R along each axis, from 4 to 5000.

    Raises:
        ValueError: If the latent space is not two-dimensional, the image is not as said, or limit
            or resolution is not possible.
    """
    image = to_model(image, "the image", vae)
    shape = vae.generator.image_shape
    expected = shape[1:] if shape[0] == 1 else shape
    if image.shape != expected:
        raise ValueError(f"the image must have shape {expected}, not {tuple(image.shape)}")
    return posterior_grids(vae, image.view(1, *shape), limit, resolution)[0]


@torch.no_grad()
def compare_posteriors(
    vae: VAE,
    images: Tensor,
    labels: Tensor | None,
    chosen: Sequence[int],
    *,
    limit: float,
    resolution: int,
) -> dict[str, Tensor]:
    """Return what Figure 7 shows of some images: true and approximate posterior, and bounds.

    Args:
        vae: Trained, in evaluation mode, with a two-dimensional latent space.
        images: Bytes (N, H, W) or (N, 3, H, W).
        labels: Classes (N,), if they are known.
        chosen: Which I of the images, by their position.
        limit: Half the side of the square on which densities are evaluated.
        resolution: Grid points R along each of its axes.

    Returns:
        `index`, `label` (I,); `image`, and of the MAP and of the approximate posterior's mean
        `map_reconstruction` and `mean_reconstruction` (I, H, W) or (I, 3, H, W), which are the
        parameter λ of the likelihood; `axis` (R,); `log_posterior` and `log_approximate`
        (I, R, R), in nats, row z₂ and column z₁; `map` and `mean` (I, 2); `log_evidence`,
        `log_evidence_error`, `elbo` and `elbo_error` (I,).

    Raises:
        UserError: If a position is not among the images.
        ValueError: As `posterior_grid` does.
    """
    outside = [position for position in chosen if not 0 <= position < len(images)]
    if outside:
        raise UserError(
            f"the config asks for test image {outside[0]:,}, but they go from 0 to"
            f" {len(images) - 1:,}; choose one of these"
        )
    x = to_float(images[list(chosen)]).to(next(vae.parameters()))
    grids = posterior_grids(vae, x, limit, resolution)
    approximate = vae.encoder(x)
    axis = grids[0].axis
    modes = torch.stack([grid.map for grid in grids])
    bound = elbo(vae, x)
    arrays = {
        "index": torch.tensor(chosen),
        "image": x.squeeze(1),
        "axis": axis,
        "log_posterior": torch.stack([grid.log_posterior for grid in grids]).float(),
        "log_approximate": approximate.log_prob(_plane(axis)[None]),
        "map": modes,
        "map_reconstruction": vae.generator(modes).squeeze(1),
        "mean": approximate.mean,
        "mean_reconstruction": vae.generator(approximate.mean).squeeze(1),
        "log_evidence": torch.tensor([grid.log_evidence for grid in grids]),
        "log_evidence_error": torch.tensor([grid.log_evidence_error for grid in grids]),
        "elbo": bound.value,
        "elbo_error": bound.error,
    }
    if labels is not None:
        arrays["label"] = labels[list(chosen)]
    return {name: values.cpu() for name, values in arrays.items()}


@torch.no_grad()
def log_evidence(
    vae: VAE,
    images: Tensor | ArrayLike,
    *,
    limit: float = 5,
    resolution: int = 500,
    log_prior: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Estimate, Tensor]:
    """Return log p(x) of many images, eq. (2), and what their posteriors leave near the border.

    The generator is evaluated at most once a grid point, for all images. The posterior of a model
    with one latent dimension is narrow, and its line has as many points as the square of two would
    have.

    Args:
        vae: Trained, in evaluation mode, with one or two latent dimensions.
        images: Intensities in [0, 1], shape (N, C, H, W).
        limit: Half the side of the square of integration, or half the length of the line.
        resolution: Grid points along each axis of the square, from 4 to 5000; the square root of
            the points of the line.
        log_prior: Log density, shape (M,), at latent points (M, q), in the place of N(0, I)'s.

    Returns:
        log p(x) with its quadrature error; and the share of each posterior within the outer
        tenth of the square or line, shape (N,), which is tiny if nothing was cut off.

    Raises:
        ValueError: If the latent space has more dimensions, the images are not as said, or limit
            or resolution is not possible.
    """
    q = _require_dimension(vae, 1, 2)
    axis = _axis(vae, limit, resolution)
    images = require_intensities(vae, images)
    pixels = images.flatten(1).T
    spacing = 2 * limit / (len(axis) - 1)

    def joint(z: Tensor, pixels: Tensor) -> Tensor:
        values = _log_joint(vae, z, pixels)
        if log_prior is None:
            return values
        return values + (log_prior(z) - _log_normal(z)).to(values)[:, None]

    # Sums over the 2^q grids of every other coordinate.
    coarse = torch.full((2**q, len(images)), -math.inf, dtype=torch.float64).to(images.device)
    border = coarse.clone()
    for tile, near in _near_tiles(joint, axis, pixels, spacing, q):
        log_joint = joint(axis[tile], pixels[:, near])
        grid = (tile % 2 * torch.tensor([2, 1][-q:])).sum(1)
        is_outer = (axis[tile].abs().amax(1) > 0.9 * limit).cpu()
        for sums, counts in ((coarse, torch.ones_like(is_outer)), (border, is_outer)):
            for g in grid[counts].unique().tolist():
                part = _log_sum(log_joint[counts & (grid == g)])
                sums[g, near] = torch.logaddexp(sums[g, near], part)
    value, error = _combine(coarse, q * math.log(spacing))
    return Estimate(value, error), (border.logsumexp(0) - coarse.logsumexp(0)).exp()


def _near_tiles(
    joint: Callable[[Tensor, Tensor], Tensor], axis: Tensor, pixels: Tensor, spacing: float, q: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the tiles of the grid that count by a log joint density of points and `pixels`.

    A tile is its points, as places on the axis (M, q), int64.

    With each comes for which of the images `pixels` (C H W, N) it counts, int64 (K,), K at least 1.
    """
    size = _TILE[q]
    per_axis = -(-len(axis) // size)
    stride = max(1, min(int(_LOOK / spacing), size // 2, len(axis)))
    looked_at = _product([torch.arange(stride // 2, len(axis), stride)] * q)
    peaks = torch.full((per_axis**q, pixels.shape[1]), -math.inf).to(pixels)
    places = torch.tensor([per_axis, 1][-q:])
    for some in looked_at.split(_POINTS_AT_ONCE):
        log_joint = joint(axis[some], pixels)
        tiles = (some // size * places).sum(1).to(pixels.device)
        peaks.scatter_reduce_(0, tiles[:, None].expand_as(log_joint), log_joint, "amax")
    counts = (peaks >= peaks.amax(0) - _FAR).T.float().view(-1, 1, *[per_axis] * q)
    # The tiles beside it as well, as a peak may lie between two points that were looked at.
    grow = F.max_pool2d if q == 2 else F.max_pool1d
    counts = grow(counts, 3, stride=1, padding=1).flatten(1).bool()
    for tile in counts.any(0).nonzero()[:, 0].tolist():
        starts = [size * (tile // place % per_axis) for place in places.tolist()]
        ranges = [torch.arange(start, min(start + size, len(axis))) for start in starts]
        yield _product(ranges), counts[:, tile].nonzero()[:, 0]


def _product(coordinates: list[Tensor]) -> Tensor:
    """Return all points whose coordinates are among those of each of q axes, (M, q)."""
    return torch.cartesian_prod(*coordinates).view(-1, len(coordinates))


def _log_sum(values: Tensor) -> Tensor:
    """Return the log of the sum of exp(values) over the rows, float64; exponentials are not."""
    largest = values.amax(0)
    return largest.double() + (values - largest).exp().sum(0).double().log()


@torch.no_grad()
def elbo(
    vae: VAE, images: Tensor | ArrayLike, *, limit: float = 5, spacing: float | None = None
) -> Estimate:
    """Return the evidence lower bound of each image, eq. (22), without Monte Carlo.

    The expectation is a sum over a grid in the coordinates in which the approximate posterior, or a
    component of it, is a standard normal.

    Args:
        vae: Trained, in evaluation mode, with one or two latent dimensions and an encoder that
            returns a `DiagonalGaussian` or a `Pushed`.
        images: Intensities in [0, 1], shape (N, C, H, W).
        limit: Half the side of the grid, in standard deviations.
        spacing: Spacing of the grid, in standard deviations; by default about 300 points.

    Returns:
        The bound with its quadrature error.

    Raises:
        ValueError: If the latent space has more dimensions, the approximate posterior is of another
            family, or the images are not as said.
    """
    _require_dimension(vae, 1, 2)
    images = require_intensities(vae, images)
    parts = [
        elbo_of(vae, vae.encoder(x), x, limit=limit, spacing=spacing) for x in images.split(100)
    ]
    return Estimate(
        torch.cat([part.value for part in parts]), torch.cat([part.error for part in parts])
    )


@torch.no_grad()
def elbo_of(
    vae: VAE,
    posterior: ApproximatePosterior,
    images: Tensor,
    *,
    limit: float = 5,
    spacing: float | None = None,
) -> Estimate:
    """Return what `elbo` does, of images (N, C, H, W) and their approximate posteriors."""
    q = _require_dimension(vae, 1, 2)
    spacing = _SPACING[q] if spacing is None else spacing
    limit, spacing = positive_number(limit, "limit"), positive_number(spacing, "spacing")
    line = torch.arange(-limit, limit + spacing / 2, spacing, dtype=torch.float64)
    coarse = _coarse_grids(line, q)
    nodes = torch.cat(coarse).to(images.device)
    mass = torch.exp(-0.5 * nodes.square().sum(1))
    sizes = [len(grid) for grid in coarse]

    if isinstance(posterior, DiagonalGaussian):
        z = posterior.mean[:, None] + posterior.std[:, None] * nodes.to(posterior.mean)
        summands = _of_each(vae.log_likelihood, z, images)
        rest = -posterior.kl_to_standard_normal().double()
    elif isinstance(posterior, Pushed):
        z, log_density = posterior.push(nodes.to(posterior.log_weight))
        log_joint = _of_each(vae.log_joint, z.flatten(1, 2), images).view(log_density.shape)
        weight = posterior.log_weight.exp()[..., None]
        summands = (weight * (log_joint - log_density)).sum(1)
        rest = torch.zeros(len(images), dtype=torch.float64).to(images.device)
    else:
        raise ValueError("the bound is a quadrature for a diagonal Gaussian or a `Pushed` only")
    weighted = (summands * mass).split(sizes, dim=1)
    sums = torch.stack([part.sum(1) for part in weighted])
    masses = torch.stack([part.sum() for part in mass.split(sizes)])
    expectation = sums.sum(0) / masses.sum()
    return Estimate(expectation + rest, (sums / masses[:, None] - expectation).abs().amax(0))


def _of_each(function: Callable[[Tensor, Tensor], Tensor], z: Tensor, images: Tensor) -> Tensor:
    """Return a function of latent points `z` (N, M, q) and each one's image, float64 (N, M)."""
    at_once = max(1, _POINTS_AT_ONCE // z.shape[1])
    parts = [
        function(some.flatten(0, 1), x.repeat_interleave(z.shape[1], dim=0)).view(len(x), -1)
        for some, x in zip(z.split(at_once), images.split(at_once), strict=True)
    ]
    return torch.cat(parts).double()


def posterior_grids(vae: VAE, images: Tensor, limit: float, resolution: int) -> list[PosteriorGrid]:
    """Return the grid of each of some images (N, C, H, W), for one pass of the generator."""
    _require_dimension(vae, 2)
    axis = _axis(vae, limit, resolution)
    images = require_intensities(vae, images)
    points = _plane(axis).flatten(0, 1)
    pixels = images.flatten(1).T
    joints = torch.cat([_log_joint(vae, z, pixels) for z in points.split(_POINTS_AT_ONCE)])
    log_cell = 2 * math.log(2 * limit / (resolution - 1))
    grids = []
    for joint in joints.unbind(1):
        square = joint.double().view(resolution, resolution)
        coarse = [square[i::2, j::2].flatten().logsumexp(0) for i in (0, 1) for j in (0, 1)]
        value, error = _combine(torch.stack(coarse), log_cell)
        mode = points[joint.argmax()]
        grids.append(PosteriorGrid(axis, square, mode, value.item(), error.item()))
    return grids


def _log_joint(vae: VAE, z: Tensor, pixels: Tensor) -> Tensor:
    """Return log p(x, z), shape (M, N), of all pairs of `z` (M, q) and images `pixels` (C H W, N).

    log p(x|z) is x·l − Σ A(l) for the logits l at z, so one matrix product serves all pairs. With
    the Gaussian it is ‖x‖² and ‖g‖² apart from x·g for the images g at z, all over the variance.
    """
    logits = vae.generator.logits(z).flatten(1)
    log_prior = _log_normal(z)
    if isinstance(vae, FlexibleVAE) and vae.likelihood == "gaussian":
        precision, means = torch.exp(-2 * vae.log_deviation), torch.sigmoid(logits)
        squares = 0.5 * precision * pixels.square().sum(0)
        of_points = log_prior - 0.5 * precision * means.square().sum(1)
        return (precision * means) @ pixels + of_points[:, None] + (vae.ceiling(pixels.T) - squares)
    log_partition = LIKELIHOODS[vae.likelihood](logits).sum(1)
    return logits @ pixels + (log_prior - log_partition)[:, None]


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def _combine(coarse: Tensor, log_cell: float) -> tuple[Tensor, Tensor]:
    """Return the log integral over the union of coarse grids, and the error that they show.

    `coarse` (G, ...) holds the log of each grid's plain sum, `log_cell` the log size of a cell of
    the union.
    """
    value = coarse.logsumexp(0) + log_cell
    error = (coarse + log_cell + math.log(len(coarse)) - value).abs().amax(0)
    return value, error


def _coarse_grids(axis: Tensor, q: int) -> list[Tensor]:
    """Return the 2^q grids, each (M, q), of every other coordinate of the axis."""
    return [
        torch.cartesian_prod(*(axis[first::2] for first in firsts)).view(-1, q)
        for firsts in product((0, 1), repeat=q)
    ]


def _plane(axis: Tensor) -> Tensor:
    """Return the points of a square, shape (R, R, 2); row i, column j is (axis[j], axis[i])."""
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=2)


def _axis(vae: VAE, limit: float, resolution: int) -> Tensor:
    """Return the coordinates of a square's grid along each axis, or of all points of a line."""
    limit, resolution = positive_number(limit, "limit"), whole_number(resolution, "resolution", 4)
    if resolution > _LARGEST_RESOLUTION:
        raise ValueError(f"resolution must be at most {_LARGEST_RESOLUTION}, not {resolution}")
    points = resolution ** (2 // vae.generator.latent_dim)
    like = next(vae.parameters())
    return torch.linspace(-limit, limit, points, dtype=like.dtype).to(like.device)


def _require_dimension(vae: VAE, *possible: int) -> int:
    q = vae.generator.latent_dim
    if q not in possible:
        needed = "two-dimensional latent space"
        if 1 in possible:
            needed = "one- or " + needed
        raise ValueError(f"quadrature needs a {needed}, and this model's has dimension {q}")
    return q


def require_intensities(vae: VAE, values: Tensor | ArrayLike) -> Tensor:
    """Return images (N, C, H, W) as a tensor of the model's type.

    Raises:
        ValueError: If they have another shape or are not in [0, 1].
    """
    images = require_batch(values, vae.generator.image_shape, "images", vae)
    if not ((images >= 0) & (images <= 1)).all():  # NaN is not either
        raise ValueError("images must hold intensities in [0, 1]; divide bytes by 255")
    return images


def evaluate_posteriors(
    subject: Subject, *, images: list[int], limit: float, resolution: int
) -> dict[str, dict[str, Tensor]]:
    """Return the `arrays` that `compare_posteriors` makes of some test images of a VAE."""
    vae = subject.model()
    assert isinstance(vae, VAE)
    pixels, labels = subject.load_images("t10k")
    arrays = compare_posteriors(vae, pixels, labels, images, limit=limit, resolution=resolution)
    return {"arrays": arrays}
