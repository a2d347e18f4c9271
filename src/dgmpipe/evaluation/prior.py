"""Other priors of a trained VAE: distributions fitted to where its encoder has been.

The generator is asked for images of points of N(0, I), but it was trained on draws of the aggregate
posterior, and where the two differ it draws what it has never been asked for (Section 4.2,
Figure 8). A mixture and a flow are fitted to codes, a draw of e(z|x) for each training image, and
take the place of N(0, I), as in a second stage, arXiv:1903.05789. Nothing else changes: log p(x)
under each is the same quadrature with another density.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from dgmpipe.config.kinds import KINDS
from dgmpipe.data.batches import PointBatches, to_float
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.evaluation.latent import aggregate_posterior
from dgmpipe.evaluation.posterior import log_evidence
from dgmpipe.evaluation.quality import rejected_share
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.flow import Flow, FlowTask, Standardised, log_normal
from dgmpipe.models.latent_flow import codes_of
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import load_model
from dgmpipe.models.vae import VAE
from dgmpipe.statistics.energy import energy_distance
from dgmpipe.streams import random_stream, stream_seed

__all__ = ["Prior", "codes_of", "evaluate_prior", "fit_flow", "fit_mixture", "standard_normal"]

# The square of the map and the grid points along each axis; where the prior exceeds the aggregate
# posterior most are the candidates for what is shown.
_LIMIT, _RESOLUTION, _CANDIDATES, _SHOWN = 4.0, 120, 1000, 36
_BATCH_SIZE = 256


@dataclass(frozen=True)
class Prior:
    """A distribution of the latent plane.

    Attributes:
        log_prob: Log density in nats, shape (N,), at points (N, 2).
        sample: Draws points, shape (n, 2), by their number and a random stream on the CPU.
    """

    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int, torch.Generator], Tensor]


def standard_normal() -> Prior:
    """Return N(0, I), with which the VAE was trained."""
    return Prior(log_normal, lambda n, noise: torch.randn(n, 2, generator=noise))


def fit_mixture(codes: Tensor, components: int, seed: int) -> Prior:
    """Return the mixture of normals that is most likely for codes (N, 2), by the EM algorithm."""
    mixture = GaussianMixture(components, random_state=stream_seed(seed, "mixture") % 2**32)
    mixture.fit(codes.double().numpy())
    weights, means = torch.from_numpy(mixture.weights_), torch.from_numpy(mixture.means_)
    factors = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_))

    def log_prob(z: Tensor) -> Tensor:
        return torch.from_numpy(mixture.score_samples(z.double().numpy())).to(z)

    def sample(n: int, noise: torch.Generator) -> Tensor:
        chosen = torch.multinomial(weights, n, replacement=True, generator=noise)
        epsilon = torch.randn(n, 2, 1, generator=noise, dtype=torch.float64)
        return (means[chosen] + (factors[chosen] @ epsilon)[..., 0]).to(codes)

    return Prior(log_prob, sample)


def fit_flow(codes: Tensor, kind: str, steps: int, learning_rate: float, seed: int) -> Prior:
    """Return a flow trained on codes (N, 2), with its kind's defaults and a rate decayed to 0."""
    block = {"kind": kind, "steps": steps, "learning_rate": learning_rate, "standardised": True}
    config = KINDS[kind].settings.model_validate(block).model_dump()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights of the prior"))
        model = task_class(kind).build(config)
    assert isinstance(model, Flow)
    task = task_class(kind)(Standardised(model, codes.mean(0), codes.std(0)), config)
    assert isinstance(task, FlowTask)
    batches = PointBatches(codes, _BATCH_SIZE, random_stream(seed, "batches of the prior"))
    noise = random_stream(seed, "noise of the prior")
    decays = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for optimizer in task.optimizers.values()
    ]
    for _ in range(steps):
        task.step(batches, noise)
        for decay in decays:
            decay.step()
    flow = task.model.eval()

    @torch.no_grad()
    def log_prob(z: Tensor) -> Tensor:
        return torch.cat([flow.log_prob(some) for some in z.split(10_000)])

    @torch.no_grad()
    def sample(n: int, noise: torch.Generator) -> Tensor:
        return flow(torch.randn(n, 2, generator=noise))[0]

    return Prior(log_prob, sample)


def evaluate_prior(
    subject: Subject,
    *,
    num_codes: int,
    components: int,
    flow: str,
    flow_steps: int,
    flow_learning_rate: float,
    num_images: int,
    limit: float,
    resolution: int,
    num_samples: int,
) -> dict[str, Any]:
    """Return `numbers` of each prior, and the `arrays` of its map.

    Of each prior, `normal`, `mixture` and `flow`, the numbers are `codes_nll`, the mean of −log of
    its density at codes of test images; `log_evidence` and its gain over N(0, I)'s, over test
    images; `total_variation` from the aggregate posterior of the training images that have codes,
    and `total_variation_floor`, about what an ideal prior would have, as these are so many and not
    more: half of that between the aggregate posteriors of two halves of them; `energy_distance` of
    images from all test images; and, where there is a judge, the share `rejected`.
    """
    vae = subject.model()
    assert isinstance(vae, VAE)
    (training, _), (test, _) = subject.load_images("train"), subject.load_images("t10k")
    noise, seed = random_stream(subject.seed, "prior"), subject.seed
    known = training[evenly_spread(num_codes, len(training))]
    codes = codes_of(vae, known, noise)
    new_codes = codes_of(vae, test, noise)
    priors = {
        "normal": standard_normal(),
        "mixture": fit_mixture(codes, components, seed),
        "flow": fit_flow(codes, flow, flow_steps, flow_learning_rate, seed),
    }
    chosen = evenly_spread(num_images, len(test))
    x, clusters = to_float(test[chosen]), subject.test_clusters(len(test))
    real = subject.intensities("t10k")
    judge = None if subject.judge is None else load_model(subject.judge)

    axis = torch.linspace(-_LIMIT, _LIMIT, _RESOLUTION)
    plane = torch.cartesian_prod(axis, axis)
    # Every second image would not do: MNIST's are by writers of two kinds in turn.
    order = torch.randperm(len(known), generator=random_stream(seed, "halves of the codes"))
    halves = [_aggregate_of(vae, known[order[start::2]], plane) for start in (0, 1)]
    aggregate = (halves[0] + halves[1]) / 2
    cell = (2 * _LIMIT / (_RESOLUTION - 1)) ** 2

    numbers: dict[str, float] = {}
    arrays: dict[str, Any] = {"axis": axis, "aggregate": aggregate.view(_RESOLUTION, -1).T}
    before = None
    for name, prior in priors.items():
        evidence, _ = log_evidence(
            vae, x, limit=limit, resolution=resolution, log_prior=prior.log_prob
        )
        before = evidence.value if before is None else before
        density = prior.log_prob(plane).exp()
        images = _images_of(vae, prior.sample(num_samples, noise))
        distance = energy_distance(images, real, y_clusters=clusters)
        errors_of = clusters[torch.as_tensor(chosen)]
        found = {
            "codes_nll": -prior.log_prob(new_codes).double().mean().item(),
            "log_evidence_mean": evidence.value.mean().item(),
            "log_evidence_standard_error": math.sqrt(errors_of.variance_of_mean(evidence.value)),
            "log_evidence_error_largest": evidence.error.max().item(),
            "log_evidence_gain_mean": (evidence.value - before).mean().item(),
            "log_evidence_gain_standard_error": math.sqrt(
                errors_of.variance_of_mean(evidence.value - before)
            ),
            "total_variation": 0.5 * (density - aggregate).abs().sum().item() * cell,
            "total_variation_floor": 0.25 * (halves[0] - halves[1]).abs().sum().item() * cell,
            "energy_distance": distance.value,
            "energy_distance_standard_error": distance.standard_error,
        }
        if judge is not None:
            with torch.no_grad():
                logits = torch.cat([judge(some[:, None]) for some in images.split(500)])
            found["rejected"] = rejected_share(logits)
        numbers |= {f"{name}_{key}": value for key, value in found.items()}
        candidates = (density - aggregate).topk(_CANDIDATES).indices
        points = plane[candidates[torch.randperm(_CANDIDATES, generator=noise)[:_SHOWN]]]
        points = points[points[:, 0].argsort()]
        arrays |= {
            f"{name}_density": density.view(_RESOLUTION, -1).T,
            f"{name}_points": points,
            f"{name}_point_images": _images_of(vae, points),
            f"{name}_samples": images[:_SHOWN],
        }
    as_arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return {"numbers": numbers, "arrays": as_arrays}


@torch.no_grad()
def _aggregate_of(vae: VAE, images: Tensor, z: Tensor) -> Tensor:
    """Return the density of the aggregate posterior of images, bytes, at points `z` (M, 2)."""
    return aggregate_posterior([vae.encoder(to_float(some)) for some in images.split(500)], z)


@torch.no_grad()
def _images_of(vae: VAE, z: Tensor) -> Tensor:
    """Return the images of latent points `z` (N, 2), (N, H, W) or (N, 3, H, W)."""
    return torch.cat([vae.generator(some) for some in z.split(500)]).squeeze(1)
