"""A flow of points of one's own: read from a file, trained, measured without a truth, drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dgmpipe.config.kinds import KINDS
from dgmpipe.data.datasets import Points
from dgmpipe.data.points import load_points
from dgmpipe.errors import UserError
from dgmpipe.evaluation.flow_report import evaluate_flow, points_report
from dgmpipe.evaluation.subject import Subject
from dgmpipe.figures.figure_flow import figure_flow
from dgmpipe.models.realnvp import RealNVP
from trainings import make_up, train_here

POINTS = np.random.default_rng(0).normal([50, -3], [10, 0.2], (500, 2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    np.savetxt(path, POINTS, delimiter=",", header="a,b", comments="")
    return path


@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_a_csv_file_may_have_names(header: str, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(header + "1,2\n3,4.5\n", encoding="utf-8")
    assert load_points(path).tolist() == [[1, 2], [3, 4.5]]


WRONG: dict[str, tuple[str, str | np.ndarray, str]] = {
    "another kind of file": ("a.txt", "1,2\n", "must be a .npy, .npz or .csv file"),
    "three columns": ("a.csv", "1,2,3\n4,5,6\n", "must hold points of the plane"),
    "one point": ("a.csv", "1,2\n", "must hold points of the plane"),
    "words": ("a.csv", "1,2\n3,x\n", "is not a whole .csv file of numbers"),
    "a gap": ("a.csv", "1,2\n3,\n", "is not a whole .csv file of numbers"),
    "infinity": ("a.npy", np.array([[1, np.inf], [2, 3]]), "must hold finite numbers only"),
    "complex numbers": ("a.npy", np.ones((3, 2), complex), "must hold finite numbers only"),
    "nothing": ("a.csv", "", "is not a whole .csv file of numbers"),
}


@pytest.mark.parametrize(("name", "content", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_no_file_of_points_gets_a_sentence(
    name: str, content: str | np.ndarray, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        np.save(path, content)
    with pytest.raises(UserError, match=reason):
        load_points(path)


def test_held_out_points_are_in_no_batch(file: Path) -> None:
    dataset, cpu = Points(file), torch.device("cpu")
    held_out = dataset.held_out(1000, 0, cpu)
    assert len(held_out) == 100
    batches = dataset.batches(400, 0, cpu)
    trained = {tuple(point) for point in next(batches).tolist()}
    assert len(trained) == 400
    assert not trained & {tuple(point) for point in held_out.tolist()}
    with pytest.raises(UserError, match=r"batches of 401 points, but .* has 400 for the training"):
        dataset.batches(401, 0, cpu)


def test_the_order_of_points_in_a_file_means_nothing() -> None:
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    flow = RealNVP(num_layers=2, width=4).eval()
    with torch.no_grad():  # the identity
        for parameter in flow.parameters():
            parameter.zero_()
    in_order = x[x[:, 0].argsort()]
    arrays, numbers = points_report(flow, in_order, seed=0, resolution=20, num_latent=500)
    assert numbers["latent_pvalue"] > 0.05
    assert abs(arrays["batch"][:, 0].mean()) < 0.2
    assert abs(arrays["latent"][:40, 0].mean()) < 0.6


def test_of_many_held_out_points_some_of_the_whole_file_are_taken(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(5000, 2))
    np.save(tmp_path / "points.npy", points[points[:, 0].argsort()])
    make_up(tmp_path / "model", "realnvp", num_layers=2, width=4)
    subject = Subject(0, {"data": str(tmp_path / "points.npy")}, tmp_path / "model")
    arrays = evaluate_flow(subject, num_held_out=200, resolution=20, num_latent=50)["arrays"]
    assert len(arrays["latent"]) == 200
    assert abs(arrays["batch"][:, 0].mean()) < 0.2


@pytest.mark.parametrize("kind", ["realnvp", "otflow"])
def test_a_flow_of_points_of_ones_own_is_measured_and_drawn(
    kind: str, file: Path, tmp_path: Path
) -> None:
    block: dict[str, Any] = {"kind": kind, "data": str(file), "standardised": True, "width": 8}
    block |= {"steps": 60, "learning_rate": 0.01, "batch_size": 100, "held_out_size": 50}
    settings = KINDS[kind].settings.model_validate(block)
    train_here("mine", settings, tmp_path / "model")
    subject = Subject(0, settings.model_dump(), tmp_path / "model")
    results = evaluate_flow(subject, num_held_out=100, resolution=60, num_latent=50)
    numbers, arrays = results["numbers"], results["arrays"]
    # The best that a normal density can do with these scales, and near it after 60 steps.
    entropy = np.log(2 * np.pi * np.e * 10 * 0.2)
    assert entropy - 0.3 < numbers["nll"] < entropy + 0.6
    assert not {"kl", "entropy"} & numbers.keys()
    assert numbers["mass"] == pytest.approx(1, abs=0.1)
    figure = figure_flow({name: array.numpy() for name, array in arrays.items()}, title="mine")
    assert "entropy" not in figure.get_supxlabel()
