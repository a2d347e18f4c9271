"""What a sample of an image flow is worth by how many evaluations of its velocity it takes."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dgmpipe.evaluation.quality import rejected_share
from dgmpipe.evaluation.samples import generator_of
from dgmpipe.evaluation.subject import Subject
from dgmpipe.evaluation.transport_report import independent_halves
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.image_flow import ImageFlow
from dgmpipe.models.matching import SOLVERS
from dgmpipe.models.storage import load_model
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import energy_distance, energy_distances
from dgmpipe.statistics.transport import debiased, exact_transport
from dgmpipe.streams import random_stream

__all__ = ["evaluate_solvers"]


def evaluate_solvers(
    subject: Subject, *, num_images: int, num_transported: int, evaluations: list[int]
) -> dict[str, Any]:
    """Return what images of the same latent points are worth by each solver and its evaluations.

    Args:
        subject: The model.
        num_images: Images, whose energy distance from all test images is measured, as in the energy
            test by distances of independent ones.
        num_transported: Of these, images in each of two samples of the debiased cost of transport.
        evaluations: Their numbers; a solver takes those that make whole steps of it.

    Returns:
        `table` with a row for each solver and number, and the same as `numbers` such as
        `energy_distance_heun_16`. `rejected` is there if there is a judge.

    Raises:
        UserError: If there are fewer test images than two samples need.
    """
    flow, test = generator_of(subject), subject.intensities("t10k")
    assert isinstance(flow, ImageFlow)
    z = torch.randn(
        num_images, flow.latent_dim, generator=random_stream(subject.seed, "solvers")
    ).to(next(flow.parameters()).device)
    wasserstein, rejected = _wasserstein(subject, test, num_transported), _rejected(subject)
    rows = []
    for (name, solver), n in product(SOLVERS.items(), evaluations):
        if n % solver.evaluations:
            continue
        with torch.no_grad():
            parts = [flow(some, name, n).squeeze(1).cpu() for some in z.split(500)]
        rows.append((name, n, images := torch.cat(parts), wasserstein(images), rejected(images)))
    # One after the other, as the distances within the test images are computed once.
    distances = energy_distances((images for _, _, images, *_ in rows), test, single=True)
    distances -= _of_one_writer(rows[0][2][:2], test, subject.test_clusters(len(test)))
    found = [
        {
            "solver": name,
            "evaluations": n,
            "energy_distance": distance,
            "wasserstein_debiased": cost,
            **({} if share is None else {"rejected": share}),
        }
        for (name, n, _, cost, share), distance in zip(rows, distances.tolist(), strict=True)
    ]
    measures = list(found[0])[2:]
    numbers = {
        f"{measure}_{row['solver']}_{row['evaluations']}": row[measure]
        for measure in measures
        for row in found
    }
    return {"table": pd.DataFrame(found).set_index("solver"), "numbers": numbers}


def _of_one_writer(some: Tensor, test: Tensor, clusters: Clusters) -> float:
    """Return by how much distances of test images of one writer raise any energy distance.

    The energy test leaves them out. They lie within the test images, so that any sample tells it.
    """
    independent = energy_distance(some, test, y_clusters=clusters).value
    return energy_distances([some], test).item() - independent


def _wasserstein(subject: Subject, test: Tensor, n: int) -> Callable[[Tensor], float]:
    clusters = subject.test_clusters(len(test))
    halves = independent_halves(clusters, n)
    real = tuple(test[half].flatten(1) for half in halves)

    def cost(images: Tensor) -> float:
        made = images.flatten(1)
        return debiased(exact_transport, (made[:n], made[n : 2 * n]), (real[0], real[1])).value

    return cost


def _rejected(subject: Subject) -> Callable[[Tensor], float | None]:
    if subject.judge is None:
        return lambda images: None
    judge = load_model(subject.judge, Classifier)

    @torch.no_grad()
    def share(images: Tensor) -> float:
        return rejected_share(torch.cat([judge(some[:, None]) for some in images.split(500)]))

    return share
