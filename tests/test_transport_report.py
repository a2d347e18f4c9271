"""The evaluation of a generator by the cost of transport, on real images and on noise."""

from pathlib import Path

import pytest
import torch
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.config.blocks import TransportEvaluation
from dgmpipe.errors import UserError
from dgmpipe.evaluation import transport_report
from dgmpipe.evaluation.subject import Subject
from dgmpipe.evaluation.transport_report import evaluate_transport, independent_halves
from dgmpipe.plan.evaluations import EVALUATIONS
from dgmpipe.statistics.clusters import Clusters

SETTINGS = {"num_images": 60, "num_larger": 90, "num_projections": 20, "epsilon": 0.5}


def _config() -> Config:
    path = Path(__file__).parent.parent / "config/config.yaml"
    return read_config(yaml.safe_load(path.read_text(encoding="utf-8")))


def _subject(images: Path) -> Subject:
    return Subject(0, {}, images=images, clusters={"length": 10, "strata": 2})


def test_real_images_are_near_and_noise_is_far(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = evaluate_transport(_subject(image_folder), **SETTINGS)["numbers"]
    monkeypatch.setattr(
        transport_report, "evaluated_images", lambda subject, n: torch.rand(n, 28, 28)
    )
    noise = evaluate_transport(_subject(image_folder), **SETTINGS)["numbers"]
    (evaluation,) = (entry for entry in EVALUATIONS if entry.name == "transport_costs")
    assert tuple(real) == evaluation.numbers(_config(), "real")
    assert set(SETTINGS) == set(TransportEvaluation.model_fields)
    for name in ("wasserstein", "sliced", "entropic"):
        error = real[f"{name}_debiased_standard_error"]
        assert 0 < error < noise[f"{name}_debiased"] / 10
        assert abs(real[f"{name}_debiased"]) < 5 * error
        for numbers in (real, noise):
            within = numbers[f"{name}_within_generated"] + numbers[f"{name}_within_test"]
            assert numbers[f"{name}_debiased"] == pytest.approx(
                2 * numbers[f"{name}_across"] - within
            )
        assert real[f"{name}_within_test"] == noise[f"{name}_within_test"]


def test_the_halves_of_the_test_images_share_no_block() -> None:
    clusters = Clusters.in_order(10_000, 125, strata=2)
    first, second = independent_halves(clusters, 1000)
    assert len(first) == len(second) == 1000
    assert not set(clusters.blocks[first].tolist()) & set(clusters.blocks[second].tolist())
    for half in (first, second):
        assert clusters.strata[half].double().mean() == 0.5


def test_the_halves_of_independent_images_are_alike_in_any_order() -> None:
    classes = torch.arange(1000) // 100  # sorted, as from a folder for each class
    halves = independent_halves(Clusters.in_order(1000, 1), 200)
    assert not set(halves[0].tolist()) & set(halves[1].tolist())
    for half in halves:
        assert classes[half].bincount().tolist() == [20] * 10


def test_more_images_than_there_are_get_a_sentence(image_folder: Path) -> None:
    with pytest.raises(UserError, match="asks for 680 test images, but there are"):
        evaluate_transport(_subject(image_folder), **SETTINGS | {"num_images": 340})
