"""What is measured of a flow beside the moons' density, and the study of all flows, in small."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from snakemake.utils import update_config
from torch import Tensor
from torch.autograd.functional import jacobian

from dgmpipe.config import Config, read_config
from dgmpipe.data.moons import MoonsDensity, sample_moons
from dgmpipe.evaluation.flow_lab import (
    density_axes,
    divergences,
    evaluate_lab,
    mixture_kl,
    passes,
    singular_values,
    wasserstein_1,
)
from dgmpipe.evaluation.flows import held_out_nll
from dgmpipe.evaluation.studies import study_table
from dgmpipe.evaluation.subject import Subject
from dgmpipe.figures.figure_study import from_files
from dgmpipe.files import write_json
from dgmpipe.models import Flow, RealNVP, load_model
from dgmpipe.models.flow import Standardised
from dgmpipe.models.flow_matching import FlowMatching
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.planar import PlanarFlow
from dgmpipe.models.zuko_flows import IAF, MAF, NICE
from dgmpipe.plan.evaluations import measurable
from dgmpipe.plan.exhibits import study_exhibits
from trainings import train_here

ROOT = Path(__file__).parent.parent
LAID_OVER = yaml.safe_load((ROOT / "config/studies/flows.yaml").read_text(encoding="utf-8"))
MODELS = LAID_OVER["studies"]["flows"]["models"]
# A grid of few points, and samples as small.
SMALL = {"num_transported": 20, "num_draws": 2, "num_latent": 20, "num_timed": 50, "num_known": 100}
NOISE = 0.3


def _normal(x: Tensor, mean: float, deviation: float) -> Tensor:
    standard = (x - mean) / deviation
    return (-standard.square() / 2 - math.log(deviation)).sum(dim=-1) - math.log(2 * math.pi)


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
def test_the_grid_holds_moons_of_any_width(noise: float) -> None:
    x_axis, y_axis = density_axes(noise)
    log_p = MoonsDensity(noise).log_prob(torch.cartesian_prod(x_axis, y_axis))
    cell = (x_axis[1] - x_axis[0]) * (y_axis[1] - y_axis[0])
    assert log_p.exp().sum() * cell == pytest.approx(1, abs=1e-9)


@pytest.fixture(scope="module")
def grid() -> tuple[Tensor, float]:
    axis = torch.arange(-9, 9, 0.1, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1), 0.01


def test_divergences_of_normal_densities_are_the_known_ones(grid: tuple[Tensor, float]) -> None:
    points, cell = grid
    found = divergences(_normal(points, 0, 1), _normal(points, 0.5, 1.2), cell)
    s, m = 1.2, 0.5
    assert found["kl"] == pytest.approx(2 * (math.log(s) + (1 + m**2) / (2 * s**2) - 0.5), abs=1e-6)
    back = 2 * (-math.log(s) + (s**2 + m**2) / 2 - 0.5)
    assert found["reverse_kl"] == pytest.approx(back, abs=1e-6)
    affinity = 2 * s / (1 + s**2) * math.exp(-(m**2) / (2 * (1 + s**2)))
    assert found["hellinger"] == pytest.approx(math.sqrt(1 - affinity), abs=1e-6)
    assert found["mass"] == pytest.approx(1, abs=1e-6)
    smooth = ("kl", "reverse_kl", "hellinger", "mass")
    assert all(found[f"{name}_error"] < 1e-6 for name in smooth)
    # Of two that differ in their mean alone, along the diagonal.
    found = divergences(_normal(points, 0, 1), _normal(points, 1, 1), cell)
    known = math.erf(math.sqrt(2) / 2 / math.sqrt(2))
    assert found["total_variation"] == pytest.approx(known, abs=2e-4)
    assert abs(found["total_variation"] - known) < found["total_variation_error"] < 1e-2


def test_where_a_density_vanishes_it_counts_nothing(grid: tuple[Tensor, float]) -> None:
    points, cell = grid
    inside = points.abs().amax(dim=-1) < 1
    log_q = torch.where(inside, -math.log(inside.sum().item() * cell), -math.inf)
    found = divergences(_normal(points, 0, 0.01 * cell), log_q, cell)
    assert all(math.isfinite(value) for name, value in found.items() if name != "kl")
    assert divergences(log_q, log_q, cell)["kl"] == 0


def test_the_distance_of_a_translation_is_its_length() -> None:
    stream = torch.Generator().manual_seed(0)

    def moons(n: int, shift: float = 0) -> Tensor:
        return sample_moons(n, 0.1, stream).double() + torch.tensor([0, shift])

    far = wasserstein_1(lambda n: moons(n, 1.5), moons, num_points=200, num_draws=6)
    assert 1.3 < far["w1"] < 1.5 + 4 * far["w1_standard_error"]
    assert 1.5 - 4 * far["w1_standard_error"] < far["w1_upper"] < 1.7
    same = wasserstein_1(moons, moons, num_points=200, num_draws=6)
    assert abs(same["w1"]) < 4 * same["w1_standard_error"] < 0.2


def test_singular_values_are_those_of_the_jacobian() -> None:
    torch.manual_seed(0)
    deviation = torch.tensor([3.0, 0.5])
    flow = Standardised(RealNVP(3, 8), torch.zeros(2), deviation)
    z = torch.randn(5, 2)
    found = singular_values(flow, z)
    for point, values in zip(z.double(), found, strict=True):
        matrix = jacobian(lambda p: flow.double()(p[None])[0][0], point)
        torch.testing.assert_close(values, torch.linalg.svdvals(matrix), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.log().sum(dim=1), flow(z.double())[1])


PASSES: dict[str, tuple[Flow, int, int]] = {
    "Real NVP": (RealNVP(5, 4), 5, 5),
    "OT-Flow": (OTFlow(4, num_steps=3), 12, 12),
    "NICE": (NICE(4, 4), 4, 4),
    "MAF": (MAF(4, 4), 8, 4),
    # Of its inverse the log-determinant is evaluated where it has come to.
    "IAF": (IAF(4, 4), 4, 12),
    "planar": (PlanarFlow(7), 7, 7),
    "flow matching": (Standardised(FlowMatching(4, 3)), 12, 12),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes_through_networks_are_counted(name: str) -> None:
    flow, sampling, likelihood = PASSES[name]
    assert passes(flow) == {"sampling": sampling, "likelihood": likelihood}
    assert not any(module._forward_hooks for module in flow.modules())


def test_a_mixture_finds_one() -> None:
    stream = torch.Generator().manual_seed(0)

    def draw(n: int) -> Tensor:
        centres = torch.where(torch.rand(n, 1, generator=stream) < 0.5, -3.0, 3.0)
        return centres + torch.randn(n, 2, generator=stream)

    def log_prob(x: Tensor) -> Tensor:
        parts = torch.stack([_normal(x, -3, 1), _normal(x, 3, 1)])
        return parts.logsumexp(dim=0) - math.log(2)

    found = mixture_kl(draw(2000), draw(5000), log_prob, seed=0)
    assert found["components"] == 2
    assert abs(found["kl"]) < 0.02
    assert 0 < found["kl_standard_error"] < 0.01


@pytest.fixture(scope="module")
def study() -> Config:
    """The study of the flows over the smallest tier, each model trained for a moment."""
    config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    update_config(config, LAID_OVER)
    for block in config["models"].values():
        if "noise" in block:
            block |= {"noise": NOISE, "steps": 4, "batch_size": 32, "snapshots": 0}
    return read_config(config | {"seeds": [0]})


Measure = Callable[[str], Path]


@pytest.fixture(scope="module")
def measure(study: Config, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Trains and measures a model of the study, once, and gives the folder of all of them."""
    folder = tmp_path_factory.mktemp("flows")

    def measure(model: str) -> Path:
        settings, trained = study.models[model], folder / f"models/{model}/seed_0"
        if not trained.exists():
            train_here(model, settings, trained)
            numbers = evaluate_lab(Subject(0, settings.model_dump(), trained), **SMALL)["numbers"]
            write_json(numbers, folder / f"evaluation/{model}/seed_0/lab.json")
        return folder

    return measure


# For work on one module one flow stands for all that the study trains.
@pytest.mark.parametrize(
    "model", ["nsf", *(pytest.param(m, marks=pytest.mark.slow) for m in MODELS if m != "nsf")]
)
def test_the_lab_gives_the_numbers_that_studies_may_measure(
    model: str, study: Config, measure: Measure
) -> None:
    path = measure(model) / f"evaluation/{model}/seed_0/lab.json"
    numbers = json.loads(path.read_text(encoding="utf-8"))
    assert set(numbers) == set(measurable()["lab"].numbers(study, model))
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["mass"] == pytest.approx(1, abs=0.2)
    assert numbers["kl"] > 0
    assert 1 <= numbers["condition_median"] <= numbers["condition_largest"]


def test_the_divergence_by_quadrature_is_that_of_held_out_points(measure: Measure) -> None:
    results, truth = measure("nsf"), MoonsDensity(NOISE)
    folder = results / "models/nsf/seed_0"
    x = sample_moons(20_000, NOISE, torch.Generator().manual_seed(0))
    flow = load_model(folder)
    assert isinstance(flow, Flow)
    sampled = held_out_nll(flow, x, truth.log_prob, batch_size=10_000)
    path = results / "evaluation/nsf/seed_0/lab.json"
    exact = json.loads(path.read_text(encoding="utf-8"))
    error = 4 * sampled["kl_standard_error"] + exact["kl_error"]
    assert exact["kl"] == pytest.approx(sampled["kl"], abs=error)


def test_a_swept_value_that_is_null_has_a_word(tmp_path: Path) -> None:
    for place in (0, 1):
        (tmp_path / str(place)).write_text(json.dumps({"kl": place}))
    values: list[dict[str, Any]] = [{"start": None}, {"start": "vae"}]
    table = study_table(
        {"flow": [str(tmp_path / "0"), str(tmp_path / "1")]},
        points=[
            {"name": f"a@{place}", "model": "a", "values": value, "seeds": [0]}
            for place, value in enumerate(values)
        ],
        models={"flow": ["a@0", "a@1"]},
        measures=["flow.kl"],
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    assert pd.read_csv(tmp_path / "table.csv")["start"].tolist() == ["none", "vae"]
    params: dict[str, Any] = {"x": "start", "measures": ["flow.kl"], "titles": {"a": "A"}}
    drawn = from_files({"table": [str(tmp_path / "table.csv")]}, **params)
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["none", "vae"]


@pytest.mark.slow
def test_the_study_of_the_flows_ends_in_a_table_and_a_figure(
    study: Config, measure: Measure
) -> None:
    (results,) = {measure(model) for model in MODELS}
    figure, table = study_exhibits(study)
    files = {name: [results / path for path in paths] for name, paths in table.files.items()}
    params: dict[str, Any] = table.params
    found = study_table(files, **params)
    assert found["model"].tolist() == study.studies["flows"].models
    assert found.columns.tolist() == ["model", "seed", *study.studies["flows"].numbers]
    assert not found.isna().any(axis=None)
    (results / "tables").mkdir()
    found.to_csv(results / "tables/study_flows.csv", index=False)
    drawn = from_files({"table": [str(results / figure.files["table"][0])]}, **figure.params)
    panels = [axes for axes in drawn.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in panels][:2] == ["kl", "reverse kl"]
    rows = [label.get_text() for label in panels[0].get_yticklabels()]
    assert rows == [study.title(model) for model in study.studies["flows"].models]
    assert pd.read_csv(results / "tables/study_flows.csv")["lab.parameters"].max() > 200_000
    assert np.isfinite(panels[0].get_xlim()).all()
