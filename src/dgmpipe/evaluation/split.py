"""Where the gap between log p(x) and its bound comes from: the family, or the encoder.

The gap is KL(e(z|x) ‖ p(z|x)) of the encoder's member of a family. The best member for the image
has a gap of its own, which the family cannot close; what the encoder's has beyond it is what
amortisation loses, arXiv:1801.03558. The best is searched for by gradient steps from several starts
and is then evaluated as the encoder's is, so its gap is exact for what was found and from above for
what there is.

With two latent dimensions, each of the three is a quadrature of its own: the gap by the evidence
and the bound, what amortisation loses by two bounds, and the family's gap as an integral over the
latent plane. What is left between them is the error of the split, beside the stated one.
"""

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.posterior import PosteriorGrid, elbo_of, posterior_grids
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.flexible_vae import FlexibleVAE
from dgmpipe.models.posteriors import Family, push
from dgmpipe.statistics.clusters import Clusters

__all__ = ["evaluate_split", "split_gap", "summarise_split"]

# Nodes of the noise along each axis while the best member is searched for, up to four deviations.
_SEARCH_NODES, _SEARCH_LIMIT = 11, 4.0
_SEARCH_RATE = 0.03
# Further starts are members of so many images, with means so far from those already taken.
_POOL, _APART = 500, 0.3
# Two searches that end within so many nats of one another have found the same.
_AGREE = 0.02


def split_gap(
    vae: FlexibleVAE,
    images: Tensor,
    labels: Tensor | None,
    *,
    num_images: int,
    limit: float,
    resolution: int,
    num_starts: int,
    num_steps: int,
) -> pd.DataFrame:
    """Return the gap of some images and its parts.

    Args:
        vae: Trained, in evaluation mode, with a two-dimensional latent space.
        images: Bytes (N, H, W) or (N, 3, H, W).
        labels: Classes (N,), if they are known.
        num_images: How many of the images, spread evenly over them, are evaluated.
        limit: Half the side of the square of integration in the latent space.
        resolution: Grid points along each of its axes.
        num_starts: Searches for the best member: from the encoder's own, and from those of up to
            500 of the images that suit this one best.
        num_steps: Steps of Adam of each.

    Returns:
        A row an image: `gap`, `family_gap` and `amortisation_gap` in nats; `left` is the gap minus
        the two, and `error` the sum of the stated errors of the quadratures that do not cancel in
        it; `gap_error` is that of the gap, of log p(x) and of the bound, and `evidence_error` that
        of log p(x) alone. `spread` is by how much the second best of the
        searches falls short of the best, and `start` which start that had, 0 the encoder's own.

    Raises:
        UserError: If there are fewer than `num_images` images.
        ValueError: If the latent space has another dimension, or a number is not possible.
    """
    num_starts = whole_number(num_starts, "num_starts", 1)
    num_steps = whole_number(num_steps, "num_steps", 1)
    chosen = evenly_spread(num_images, len(images))
    x = to_float(images[chosen])
    family = vae.encoder.family
    with torch.no_grad():
        code = torch.cat([vae.encoder.final_code(some) for some in x.split(100)])
    grids = posterior_grids(vae, x, limit, resolution)
    tables = torch.stack([grid.log_posterior for grid in grids]).float()
    search = _Search(family, tables, limit)
    pool = to_float(images[evenly_spread(min(_POOL, len(images)), len(images))])
    with torch.no_grad():
        others = torch.cat([vae.encoder.code(some) for some in pool.split(100)])
    starts = search.starts(code, others, num_starts)
    found = [search.climb(start, num_steps) for start in starts.unbind(1)]
    values = torch.stack([search.bound(each).detach() for each in found], dim=1)
    best = torch.stack(found, 1)[torch.arange(len(x)), values.argmax(1)]

    own, other = (elbo_of(vae, family(each), x) for each in (code, best))
    # The search is over an interpolated posterior: what it found may still be the worse one.
    worse = other.value < own.value
    best = torch.where(worse[:, None], code, best)
    bound, bound_error = (
        torch.where(worse, ours, theirs)
        for ours, theirs in ((own.value, other.value), (own.error, other.error))
    )
    family_gap, family_error = _divergence(family, best, grids)
    evidence, evidence_error = (
        torch.tensor([getattr(grid, name) for grid in grids], dtype=torch.float64)
        for name in ("log_evidence", "log_evidence_error")
    )
    gap, amortisation = evidence - own.value, bound - own.value
    best_two = values.sort(1, descending=True).values[:, :2]
    return pd.DataFrame(
        {
            "index": chosen,
            **({} if labels is None else {"label": labels[chosen]}),
            "gap": gap,
            "family_gap": family_gap,
            "amortisation_gap": amortisation,
            "left": gap - family_gap - amortisation,
            "error": bound_error + family_error,
            "gap_error": evidence_error + own.error,
            "evidence_error": evidence_error,
            "spread": best_two[:, 0] - best_two[:, -1],
            "start": torch.where(worse, 0, values.argmax(1)),
        }
    )


class _Search:
    """The search for the member nearest to each of N posteriors, which are tables on a square."""

    def __init__(self, family: Family, tables: Tensor, limit: float) -> None:
        self._family, self._limit = family, limit
        axis = torch.linspace(-limit, limit, tables.shape[1])
        # The prior is known beyond the square; the likelihood goes on as it is at the border.
        log_prior = -0.5 * (axis.square()[:, None] + axis.square())
        self._tables = tables - log_prior
        line = torch.linspace(-_SEARCH_LIMIT, _SEARCH_LIMIT, _SEARCH_NODES)
        self._nodes = torch.cartesian_prod(line, line)
        self._mass = torch.exp(-0.5 * self._nodes.square().sum(1))
        self._mass /= self._mass.sum()

    def bound(self, code: Tensor) -> Tensor:
        """Return about −KL of the member of each code (N, P) from its posterior, shape (N,)."""
        z, log_density, log_weight = push(self._family(code), self._nodes)
        summands = (self._log_posterior(z.flatten(1, 2)).view(log_density.shape) - log_density) * (
            log_weight.exp()[..., None] * self._mass
        )
        return summands.sum((1, 2))

    def climb(self, code: Tensor, steps: int) -> Tensor:
        """Return the codes (N, P) that gradient steps lead to."""
        code = code.clone().requires_grad_()
        adam = torch.optim.Adam([code], lr=_SEARCH_RATE)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        best, value = code.detach().clone(), torch.full((len(code),), -math.inf)
        for _ in range(steps):
            bound = self.bound(code)
            better = bound.detach() > value
            value = torch.where(better, bound.detach(), value)
            best[better] = code.detach()[better]
            # Some member may be so far off that its bound has no finite derivative.
            (gradient,) = torch.autograd.grad(-bound.sum(), code)
            code.grad = gradient.nan_to_num(0, 0, 0)
            adam.step()
            decay.step()
        return best

    @torch.no_grad()
    def starts(self, code: Tensor, others: Tensor, number: int) -> Tensor:
        """Return codes (N, K, P) to start from: each image's own, and the best of the others."""
        z, log_density, log_weight = push(self._family(others), self._nodes)
        weight = log_weight.exp()[..., None] * self._mass
        entropy = -(weight * log_density).sum((1, 2))
        means = (weight[..., None] * z).sum((1, 2))
        own = self._family(code).mean
        points = z.flatten(0, 2)[None]
        chosen = []
        for k in range(len(code)):
            log_posterior = self._log_posterior(points, slice(k, k + 1)).view(weight.shape)
            values = (weight * log_posterior).sum((1, 2)) + entropy
            starts, taken = [code[k]], [own[k]]
            for other in values.argsort(descending=True).tolist():
                if len(starts) == number:
                    break
                if all((means[other] - mean).norm() >= _APART for mean in taken):
                    starts.append(others[other])
                    taken.append(means[other])
            # Where all others are near: the own one again.
            chosen.append(torch.stack(starts + [code[k]] * (number - len(starts))))
        return torch.stack(chosen)

    def _log_posterior(self, z: Tensor, which: slice = slice(None)) -> Tensor:
        """Return the interpolated log posteriors at points (N, M, q), shape (N, M)."""
        values = F.grid_sample(
            self._tables[which, None],
            (z / self._limit)[:, None],
            mode="bicubic",
            padding_mode="border",
            align_corners=True,
        )
        return values[:, 0, 0] - 0.5 * z.square().sum(2)


@torch.no_grad()
def _divergence(family: Family, code: Tensor, grids: list[PosteriorGrid]) -> tuple[Tensor, Tensor]:
    """Return KL(e ‖ p) of the members of codes (N, P) and the posteriors, and its error.

    It is an integral over the part of the latent plane that holds all of a member that counts. It
    stands for densities of mass 1, and the error counts what the sum of the member lacks to that.
    """
    nodes = torch.cartesian_prod(*[torch.linspace(-6, 6, 13)] * 2)
    values, errors = [], []
    for k, grid in enumerate(grids):
        member = family(code[k : k + 1])
        z = push(member, nodes.to(code))[0].flatten(0, 2)
        axis, spacing = grid.axis, (grid.axis[1] - grid.axis[0]).item()
        columns, rows = (
            ((axis >= low - spacing) & (axis <= high + spacing)).nonzero()[:, 0]
            for low, high in zip(z.amin(0), z.amax(0), strict=True)
        )
        plane = torch.stack(torch.meshgrid(axis[columns], axis[rows], indexing="xy"), dim=2)
        log_density = member.log_prob(plane[None])[0].double()
        log_posterior = grid.log_posterior[rows[:, None], columns]
        density = log_density.exp() * spacing**2
        terms = density * (log_density - log_posterior)
        coarse = torch.stack([4 * terms[i::2, j::2].sum() for i in (0, 1) for j in (0, 1)])
        value = terms.sum()
        lack = (1 - density.sum()).abs() * (1 + value.abs())
        values.append(value)
        errors.append((coarse - value).abs().max() + lack)
    return torch.stack(values), torch.stack(errors)


def summarise_split(table: pd.DataFrame, clusters: Clusters | None = None) -> dict[str, float]:
    """Return means over the images with standard errors, and what is left.

    Args:
        table: What `split_gap` returned.
        clusters: Which of all test images depend on one another; none do if it is None.
    """
    index = torch.tensor(table["index"].to_numpy())
    errors_of = Clusters.of_labels(index) if clusters is None else clusters[index]
    row: dict[str, float] = {"images": len(table)}
    for name in ("gap", "family_gap", "amortisation_gap"):
        values = torch.tensor(table[name].to_numpy())
        row[f"{name}_mean"] = table[name].mean()
        row[f"{name}_standard_error"] = math.sqrt(errors_of.variance_of_mean(values))
        row[f"{name}_median"] = table[name].median()
    row["left_mean"] = table["left"].mean()
    row["left_largest"] = table["left"].abs().max()
    row["error_mean"] = table["error"].mean()
    row["error_largest"] = table["error"].max()
    row["gap_error_mean"] = table["gap_error"].mean()
    row["gap_error_largest"] = table["gap_error"].max()
    row["evidence_error_largest"] = table["evidence_error"].max()
    row["agreeing_share"] = (table["spread"] < _AGREE).mean()
    row["own_start_share"] = (table["start"] == 0).mean()
    return {name: float(value) for name, value in row.items()}


def evaluate_split(subject: Subject, **settings: Any) -> dict[str, Any]:
    """Return the `table` that `split_gap` makes of test images, and its `numbers`."""
    vae = subject.model()
    assert isinstance(vae, FlexibleVAE)
    images, labels = subject.load_images("t10k")
    table = split_gap(vae, images, labels, **settings)
    return {"table": table, "numbers": summarise_split(table, subject.test_clusters(len(images)))}
