"""MLflow as a copy to look at: complete while its store is there, harmless when it is not."""

import ast
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import dgmpipe
from dgmpipe.errors import Interrupted
from dgmpipe.provenance import config_digest, git_state
from dgmpipe.tracking import (
    RunLogger,
    datasets,
    experiment_name,
    finish_invocation,
    start_invocation,
    tracking_uri,
)

UNREACHABLE = "http://127.0.0.1:9"
CONFIG = {"width": 32, "learning_rate": 0.002}
WHOLE_CONFIG = {"data": {"images": {"name": "mnist", "md5": {}}, "moons": {"noise": 0.05}}}
MNIST = datasets(WHOLE_CONFIG)["images"]
ROWS = [
    {"step": 0, "held_out": 9.5},
    {"step": 20, "loss": 4.25, "held_out": 3.0},
    {"step": 40, "loss": 2.5, "held_out": 1.5},
]
INVOCATION = Path("invocation.json")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with its tables, which take seconds to make."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    MlflowClient(uri).search_experiments()
    return uri


@pytest.fixture
def tier(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """A tier of the test's own in the shared database, and a folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return request.node.name


def _logger(tier: str, **changes: Any) -> RunLogger:
    arguments = {
        "tier": tier,
        "model": "vae",
        "seed": 3,
        "config": CONFIG,
        "data": MNIST,
        "key": "abcdef",
        "invocation": INVOCATION,
    }
    return RunLogger(**arguments | changes)


def _runs(tier: str) -> list[Run]:
    """The experiment's runs, oldest first."""
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name(experiment_name(tier))
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def _statuses(tier: str) -> list[str]:
    return [run.info.status for run in _runs(tier)]


def _warnings(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on stderr, which are all that a user sees."""
    return capfd.readouterr().err.splitlines()


def test_an_invocation_makes_database_experiment_and_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    start_invocation("laptop", WHOLE_CONFIG, INVOCATION)
    assert Path("results/mlflow.db").is_file()
    (parent,) = _runs("laptop")
    assert parent.info.status == "RUNNING"
    assert parent.info.run_name == "pipeline laptop"
    assert parent.data.tags.items() >= {"tier": "laptop", **git_state()}.items()
    assert json.loads(INVOCATION.read_text())["run_id"] == parent.info.run_id
    (kept,) = Path("results/mlartifacts/dgmpipe-laptop").rglob("config.json")
    assert json.loads(kept.read_text()) == WHOLE_CONFIG
    assert {i.dataset.name for i in parent.inputs.dataset_inputs} == {"mnist", "moons"}
    assert not _warnings(capfd)


def test_a_training_is_a_nested_run_with_all_that_tells_it_apart(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    Path("summary.json").write_text("{}")
    with _logger(tier) as logger:
        assert _statuses(tier) == ["RUNNING", "RUNNING"]
        for row in ROWS:
            logger.log_row(row)
        logger.log_files(["summary.json"])
    parent, child = _runs(tier)
    assert child.info.status == "FINISHED"
    assert child.info.run_name == "vae seed 3"
    assert child.data.params == {"width": "32", "learning_rate": "0.002"}
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "tier": tier,
        "model": "vae",
        "seed": "3",
        "config.digest": config_digest(CONFIG),
        "dgmpipe.key": "abcdef",
        "dgmpipe.folder": os.getcwd(),
        **git_state(),
    }
    assert child.data.tags.items() >= expected.items()
    assert "vae" in child.data.tags["mlflow.note.content"]
    (dataset,) = child.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == MNIST
    client = MlflowClient(tracking_uri())
    for name in ("loss", "held_out"):
        history = client.get_metric_history(child.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [
            (row["step"], row[name]) for row in ROWS if name in row
        ]
    assert [a.path for a in client.list_artifacts(child.info.run_id)] == ["summary.json"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "FAILED"), (Interrupted, "KILLED"), (KeyboardInterrupt, "KILLED")],
)
def test_a_block_that_raises_ends_its_run(
    tier: str, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), _logger(tier):
        raise error
    assert _statuses(tier) == [status]


def test_a_run_that_a_kill_left_open_is_closed_when_its_training_starts_again(
    tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("abcdef", "another"):
        _logger(tier, key=key).__enter__()
    elsewhere = tmp_path / "of another user of the store"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    _logger(tier).__enter__()
    monkeypatch.chdir(tmp_path)
    with _logger(tier):
        pass
    assert _statuses(tier) == ["KILLED", "RUNNING", "RUNNING", "FINISHED"]


def test_the_end_copies_figures_and_tables_and_closes_what_is_open(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    _logger(tier).__enter__()
    files = [Path("figures/figure_02_moons.png"), Path("tables/flows.csv")]
    for file in files:
        file.parent.mkdir()
        file.write_text("content")
    finish_invocation("FINISHED", files, INVOCATION)
    assert _statuses(tier) == ["FINISHED", "KILLED"]
    client, run_id = MlflowClient(tracking_uri()), _runs(tier)[0].info.run_id
    for file in files:
        (artifact,) = client.list_artifacts(run_id, file.parent.name)
        assert artifact.path == str(file)
    assert not INVOCATION.exists()
    finish_invocation("FINISHED", files, INVOCATION)  # there is nothing left to close


def test_a_parent_that_a_kill_left_open_is_closed_by_the_next(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    assert _statuses(tier) == ["KILLED", "RUNNING"]


@pytest.mark.parametrize("content", ["", '{"run_id": "0123", "store": "of another time"}'])
def test_no_parent_is_taken_from_another_store_or_a_damaged_file(tier: str, content: str) -> None:
    INVOCATION.write_text(content)
    with _logger(tier):
        pass
    (run,) = _runs(tier)
    assert run.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in run.data.tags
    finish_invocation("FINISHED", [], INVOCATION)
    assert INVOCATION.read_text() == content


def test_an_unreachable_server_costs_one_warning(
    tier: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNREACHABLE.replace("//", "//me:secret@"))
    start = time.monotonic()
    done = []
    with _logger(tier) as logger:
        for row in ROWS:
            logger.log_row(row)
            done.append(row)
        logger.log_files(["missing"])
    assert done == ROWS
    assert time.monotonic() - start < 15
    (warning,) = _warnings(capfd)
    assert warning.startswith(f"warning: MLflow at {UNREACHABLE} failed (")
    assert "secret" not in warning


def test_a_store_that_goes_away_in_the_middle_costs_one_warning(
    tier: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("the server has gone away\nwith a second line")

    with _logger(tier) as logger:
        logger.log_row(ROWS[0])
        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        for row in ROWS[1:]:
            logger.log_row(row)
    (warning,) = _warnings(capfd)
    assert "(the server has gone away);" in warning
    assert _runs(tier)[0].data.metrics == {"held_out": 9.5}


def test_the_workflow_goes_on_without_a_server(tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": UNREACHABLE}
    run = subprocess.run(
        [sys.executable, "-m", "dgmpipe.tracking", "start", "--results", "results/smoke"],
        cwd=tmp_path,
        env=environment,
        input='{"tier": "smoke"}',
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    (warning,) = run.stderr.splitlines()
    assert warning.startswith(f"warning: MLflow at {UNREACHABLE} failed (")


def _train(tier: str, seed: int) -> None:
    with _logger(tier, seed=seed, key=str(seed)) as logger:
        for step in range(40):
            logger.log_row({"step": step, "loss": seed + step})


def test_jobs_side_by_side_lose_nothing(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dgmpipe.tracking"])  # four imports of MLflow take long
    jobs = [context.Process(target=_train, args=(tier, seed)) for seed in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    _, *children = _runs(tier)
    assert sorted(run.data.tags["seed"] for run in children) == ["0", "1", "2", "3"]
    for run in children:
        assert run.info.status == "FINISHED"
        history = MlflowClient(tracking_uri()).get_metric_history(run.info.run_id, "loss")
        seed = int(run.data.tags["seed"])
        assert [(m.step, m.value) for m in history] == [(k, seed + k) for k in range(40)]


def test_one_module_alone_imports_mlflow(root: Path) -> None:
    importing = set()
    for path in [*Path(dgmpipe.__file__).parent.rglob("*.py"), *root.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importing.add(path.name)
    assert importing == {"tracking.py"}
