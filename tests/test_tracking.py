"""MLflow as a copy to look at: complete while its store is there, harmless when it is not."""

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import mlflow
import pytest
import sqlalchemy
import torch
import yaml
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Run

import dgmpipe
from daemons import free_port
from dgmpipe.commands.app import main
from dgmpipe.config import read_config
from dgmpipe.errors import Interrupted
from dgmpipe.jobs.provenance import git_state
from dgmpipe.plan.digests import config_digest
from dgmpipe.plan.trainings import data_digest
from dgmpipe.tracking import mlflow_copy, records
from dgmpipe.tracking import runs as tracking
from dgmpipe.tracking.mlflow_copy import Copy, experiment_name, tracking_uri
from dgmpipe.tracking.records import Record, is_gone, process_name
from dgmpipe.tracking.runs import (
    CONTESTS,
    RunLogger,
    catch_up,
    finish_invocation,
    start_invocation,
)
from forks import CONTEXT

UNREACHABLE = "http://127.0.0.1:9"
SMOKE = yaml.safe_load((Path(__file__).parents[1] / "config/smoke.yaml").read_text())
WHOLE_CONFIG = SMOKE | {"models": {name: SMOKE["models"][name] for name in ("vae", "realnvp")}}
CONFIG = read_config(WHOLE_CONFIG)
SETTINGS = CONFIG.models["vae"].model_dump()
MNIST = ("mnist-sample", data_digest(CONFIG, "vae"))
ROWS = [
    {"step": 0, "held_out": 9.5},
    {"step": 20, "loss": 4.25, "held_out": 3.0},
    {"step": 40, "loss": 2.5, "held_out": 1.5},
]
HISTORY = "step,held_out,loss\n0,9.5,\n20,3.0,4.25\n40,1.5,2.5\n"
INVOCATION = Path("invocation.json")
RECORD = Path("runs/vae_seed_3.json")
HERE = Path()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database that an invocation made, in seconds, where there was none."""
    folder = tmp_path_factory.mktemp("store")
    # In another process, for in one MLflow keeps to the database that the name meant first.
    started = CONTEXT.Process(target=_start, args=(str(folder), os.getpid()))
    started.start()
    started.join()
    assert started.exitcode == 0
    return f"sqlite:///{folder / 'results/mlflow.db'}"


def _start(folder: str, pid: int) -> None:
    os.chdir(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    start_invocation("laptop", WHOLE_CONFIG, INVOCATION, pid=pid)


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
        "config": dataclasses.replace(CONFIG, tier=tier),
        "model": "vae",
        "seed": 3,
        "data": MNIST[1],
        "key": "abcdef",
        "device": "cpu",
        "invocation": INVOCATION,
    }
    return RunLogger(**arguments | changes)


def _train(logger: RunLogger, rows: list[dict[str, float]] = ROWS) -> None:
    """Do what a training's job does."""
    with logger:
        for row in rows:
            logger.log_row(row)
        Path("history.csv").write_text(HISTORY)
        Path("model.safetensors").write_bytes(b"weights")
        logger.log_files(["model.safetensors", "history.csv"])


def _runs(tier: str) -> list[Run]:
    """The experiment's runs, oldest first."""
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name(experiment_name(tier))
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def _statuses(tier: str) -> list[str]:
    return [run.info.status for run in _runs(tier)]


def _points(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric but the machine's, also one that is there twice."""
    client = MlflowClient(tracking_uri())
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: [(m.step, m.value) for m in history] for name, history in histories.items()}


def _artifacts(run: Run) -> dict[str, int]:
    """Names and sizes."""
    listed = MlflowClient(tracking_uri()).list_artifacts(run.info.run_id)
    return {artifact.path: artifact.file_size for artifact in listed}


def _assert_complete(run: Run) -> None:
    """The run is what `_train` makes of it when nothing goes wrong."""
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in SETTINGS.items()}
    assert _points(run) == {
        name: [(row["step"], row[name]) for row in ROWS if name in row]
        for name in ("loss", "held_out")
    }
    assert _artifacts(run) == {"model.safetensors": 7, "history.csv": len(HISTORY)}
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == MNIST


def _dump(uri: str) -> list[str]:
    """Everything that is in a database."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return list(database.iterdump())


def _kill(path: Path) -> None:
    """Make a record look as if its process had been killed."""
    record = json.loads(path.read_text())
    record["process"] = f"{process_name().split()[0]} 4000000 0"
    path.write_text(json.dumps(record))
    client = MlflowClient(tracking_uri())
    for run in _runs(record["tier"]):
        if run.data.tags["dgmpipe.id"] == record["id"]:
            client.set_tag(run.info.run_id, "dgmpipe.process", record["process"])


def _warnings(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on stderr, which are all that a user sees."""
    return capfd.readouterr().err.splitlines()


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Call what the workflow calls, without its imports, which take seconds."""
    monkeypatch.setattr(sys, "argv", ["tracking", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(WHOLE_CONFIG)))
    tracking.main()


def test_an_invocation_makes_database_experiment_and_parent(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (parent,) = _runs("laptop")
    assert parent.info.status == "RUNNING"
    assert parent.info.run_name == "laptop"
    assert parent.data.tags.items() >= {"tier": "laptop", "dgmpipe.key": "pipeline"}.items()
    assert parent.data.tags.keys() >= git_state().keys()
    results = Path(store.removeprefix("sqlite:///")).parent
    (kept,) = (results / "mlartifacts/dgmpipe-laptop").rglob("config.json")
    assert json.loads(kept.read_text()) == WHOLE_CONFIG
    assert {i.dataset.name for i in parent.inputs.dataset_inputs} == {"mnist-sample", "moons"}
    assert {path.name for path in results.iterdir()} == {
        "mlartifacts",
        "mlflow.db",
        "mlflow.db.lock",
    }
    assert {path.name for path in results.parent.iterdir()} == {"invocation.json", "results"}


def _in_folder(folder: Path, *actions: Callable[[], None]) -> str:
    """Do something in a folder with its own database, and return what that says on stderr.

    MLflow would use the database again that its name meant before; this needs a process.
    """
    process = CONTEXT.Process(target=_act, args=(str(folder), actions))
    process.start()
    process.join()
    said = (folder / "stderr").read_text(encoding="utf-8")
    assert process.exitcode == 0, said
    return said


def _act(folder: str, actions: tuple[Callable[[], None], ...]) -> None:
    os.chdir(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with open("stderr", "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    for action in actions:
        action()


def _train_on_laptop() -> None:
    _train(_logger("laptop", invocation="results/laptop/invocation.json"))


def _start_on_laptop() -> None:
    start_invocation("laptop", WHOLE_CONFIG, Path("results/laptop/invocation.json"))


def _catch_up_on_laptop() -> None:
    catch_up(Path("results/laptop"))


def _register_on_laptop() -> None:
    """Register a model; what there is to load of it is MLflow's, not ours."""
    record = Record.read(Path("results/laptop/runs/vae_seed_3.json"))
    copy = Copy(record)
    copy.add_model(torch.export.export(torch.nn.Tanh(), (torch.ones(2, 2),)), torch.ones(2, 2))
    copy.register("dgmpipe-laptop-vae", "purpose", "reason")


def _read_back() -> None:
    """Read all that MLflow has of a training, as a user of the folder would."""
    client = MlflowClient(tracking_uri())
    for run in _runs("laptop"):
        files = [artifact.path for artifact in client.list_artifacts(run.info.run_id)]
        assert files, f"{run.info.run_name} has no files at {run.info.artifact_uri}"
        for file in files:
            assert Path(client.download_artifacts(run.info.run_id, file)).read_bytes()
    mlflow.set_tracking_uri(tracking_uri())
    model = mlflow.pytorch.load_model("models:/dgmpipe-laptop-vae@best")
    assert torch.equal(model(torch.ones(2, 2)), torch.ones(2, 2).tanh())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an invocation, a training and a registered model in its own database."""
    folder = tmp_path_factory.mktemp("history")
    said = _in_folder(folder, _start_on_laptop, _train_on_laptop, _register_on_laptop, _read_back)
    assert "warning" not in said
    return folder


@pytest.mark.parametrize(
    ("how", "command"),
    [
        ("moved", _start_on_laptop),
        ("copied", _catch_up_on_laptop),
        pytest.param("moved", _catch_up_on_laptop, marks=pytest.mark.slowest),
        pytest.param("copied", _start_on_laptop, marks=pytest.mark.slowest),
    ],
)
def test_a_moved_or_copied_folder_takes_its_history_along(
    history: Path, tmp_path: Path, how: str, command: Callable[[], None]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(history, first)
    _in_folder(first, command)  # which is of a copy already
    if how == "moved":
        first.rename(second)
    else:
        shutil.copytree(first, second)
    left = sorted(first.rglob("*"))
    said = _in_folder(second, command, _read_back, _train_on_laptop, _read_back)
    assert "MLflow's database follows its folder here" in said
    assert "warning" not in said
    assert sorted(first.rglob("*")) == left
    assert "follows" not in _in_folder(second, command), "once is enough"
    with contextlib.closing(sqlite3.connect(second / "results/mlflow.db")) as database:
        places = [line for line in database.iterdump() if str(history) in line]
    assert all("'Default'" in line for line in places), "MLflow's own experiment, which is empty"


@pytest.mark.parametrize(
    "name",
    [
        "a b ü+'x'&\"y\"=[$(a)`b`\\c];100%25 ?d#e",
        *(
            pytest.param(name, marks=pytest.mark.slowest)
            for name in ("a b#c", "100%25?d;e", "a%20b+c&d=e[f]", "ü 'x' \"y\" $(a)`b`\\c")
        ),
    ],
)
def test_a_path_may_have_any_character(history: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(history, folder)
    said = _in_folder(folder, _catch_up_on_laptop, _read_back, _train_on_laptop, _read_back)
    assert "warning" not in said


def test_files_that_were_left_behind_are_found_there(history: Path, tmp_path: Path) -> None:
    shutil.copytree(
        history, tmp_path / "copy", ignore=shutil.ignore_patterns("mlartifacts", "laptop")
    )
    left = sorted(history.rglob("*"))
    said = _in_folder(tmp_path / "copy", _start_on_laptop, _train_on_laptop, _read_back)
    assert "warning" not in said
    assert sorted(history.rglob("*")) == left, "nothing new goes there"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (
            "file:///elsewhere/dgmpipe-laptop",
            "where this folder once was: `make track` lets it follow the folder",
        ),
        ("mlflow-artifacts:/1", "was made through a server: start it (make server) and set"),
    ],
)
def test_files_go_nowhere_but_below_this_folder(
    location: str, reason: str, store: str, tmp_path: Path
) -> None:
    before = Path(store.removeprefix("sqlite:///")).parent
    (tmp_path / "results").mkdir()
    shutil.copy(before / "mlflow.db", tmp_path / "results")
    with contextlib.closing(sqlite3.connect(tmp_path / "results/mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", [location])
        database.commit()
    warning = _in_folder(tmp_path, _train_on_laptop)
    assert reason in warning
    assert "); the work goes on" in warning


def test_a_training_is_a_nested_run_with_all_that_tells_it_apart(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    with _logger(tier):
        assert _statuses(tier) == ["RUNNING", "RUNNING"]
    _train(_logger(tier))
    parent, _, child = _runs(tier)
    _assert_complete(child)
    assert child.info.run_name == "vae 3"
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "tier": tier,
        "model": "vae",
        "seed": "3",
        "config.digest": config_digest(SETTINGS),
        "dgmpipe.key": "abcdef",
        "dgmpipe.folder": os.getcwd(),
        **git_state(),
    }
    assert child.data.tags.items() >= expected.items()
    assert "an upper bound of -log p(x)" in child.data.tags["mlflow.note.content"]


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


def test_an_error_is_not_taken_for_the_stores(
    tier: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object) -> None:
        raise ConnectionError("gone\nwith a second line")

    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    with pytest.raises(ValueError, match="its own"), _logger(tier):
        raise ValueError("its own")
    (warning,) = _warnings(capfd)
    assert "failed (gone); the work goes on" in warning


@pytest.mark.parametrize("end", ["an interruption", "a kill", "an error"])
def test_a_training_that_is_continued_continues_its_run(tier: str, end: str) -> None:
    logger = _logger(tier)
    logger.__enter__()
    for row in ROWS[:2]:
        logger.log_row(row)
    if end == "a kill":
        _kill(RECORD)
    else:
        logger.__exit__(Interrupted if end == "an interruption" else ValueError)
        assert _statuses(tier) == ["KILLED" if end == "an interruption" else "FAILED"]
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    _train(_logger(tier))
    first, parent = _runs(tier)
    _assert_complete(first)
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_training_that_is_continued_on_another_device_has_both(tier: str) -> None:
    for device in ("cpu", "cpu", "mps", "cpu"):
        logger = _logger(tier, device=device)
        logger.__enter__()
        logger.__exit__(Interrupted)
    assert logger.device == "cpu, mps"
    _train(_logger(tier))
    (run,) = _runs(tier)
    assert run.data.tags["device"] == "cpu, mps"


def test_only_an_interrupted_training_of_the_same_key_is_continued(tier: str) -> None:
    _train(_logger(tier))
    _train(_logger(tier))  # made anew
    _logger(tier, key="another").__enter__()
    _kill(RECORD)
    _logger(tier).__enter__()
    assert _statuses(tier) == ["FINISHED", "FINISHED", "RUNNING", "RUNNING"]


def test_a_training_that_still_runs_is_left_to_its_process(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = subprocess.Popen(["sleep", "100"])
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "process_name", lambda: process_name(other.pid))
        _logger(tier).__enter__()
    catch_up(HERE)
    _train(_logger(tier))
    assert _statuses(tier) == ["RUNNING", "FINISHED"]
    other.kill()
    other.wait()
    catch_up(HERE)
    assert _statuses(tier) == ["KILLED", "FINISHED"]


def test_what_a_kill_left_open_is_closed_by_the_next_invocation_of_the_folder(
    tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    for seed in (3, 4):
        _logger(tier, seed=seed).__enter__()
    elsewhere = tmp_path / "of another user of the store"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    _logger(tier).__enter__()
    _kill(RECORD)
    monkeypatch.chdir(tmp_path)
    for path in (INVOCATION, RECORD):
        _kill(path)
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    assert _statuses(tier) == ["KILLED", "KILLED", "RUNNING", "RUNNING", "RUNNING"]


def test_a_new_invocation_ends_the_one_before_of_its_folder_and_tier(tier: str) -> None:
    """There is never more than one: the workflow holds a lock before it says that it starts."""
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    catch_up(HERE)
    assert _statuses(tier) == ["RUNNING"]
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    assert _statuses(tier) == ["KILLED", "RUNNING"]


ELSEWHERE = {
    "another node": "node7/0123abcd 17 1700000000",
    "the container before, with the same host name": f"{socket.gethostname()}/0 17 1700000000",
    "this machine under the name that it had": "old-name/0123abcd 17 1700000000",
    "a record from before machines had more than a host name": "laptop 17 1700000000",
}


@pytest.mark.parametrize("minutes", [1, 20])
@pytest.mark.parametrize("process", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_runs_elsewhere_is_closed_when_it_gives_no_sign_of_life(
    tier: str, monkeypatch: pytest.MonkeyPatch, process: str, minutes: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "process_name", lambda _=None: process)
        start_invocation(tier, WHOLE_CONFIG, INVOCATION)
        _logger(tier).__enter__()
    last = time.time() - 60 * minutes
    for path in (INVOCATION, RECORD):
        os.utime(path, (last, last))
    catch_up(HERE)
    assert _statuses(tier) == ["RUNNING" if minutes < 15 else "KILLED"] * 2
    if minutes > 15:
        assert {run.info.end_time for run in _runs(tier)} == {int(last * 1000)}


def test_a_run_that_goes_on_gives_signs_of_life(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_BEAT", 0.01)
    with _logger(tier):
        os.utime(RECORD, (0, 0))
        deadline = time.monotonic() + 30
        while RECORD.stat().st_mtime < time.time() - 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    time.sleep(0.1)
    os.utime(RECORD, (0, 0))
    time.sleep(0.2)
    assert RECORD.stat().st_mtime == 0, "it has ended"


def test_a_run_that_was_closed_too_early_has_its_true_end(tier: str) -> None:
    logger = _logger(tier)
    logger.__enter__()
    (run,) = _runs(tier)
    MlflowClient(tracking_uri()).set_terminated(run.info.run_id, "KILLED")
    logger.__exit__(None)
    assert _statuses(tier) == ["FINISHED"]


def test_the_end_copies_figures_and_tables_and_closes_what_is_open(tier: str) -> None:
    start_invocation(tier, WHOLE_CONFIG, INVOCATION)
    _logger(tier).__enter__()
    files = [Path("figures/figure_02_moons.png"), Path("tables/flows.csv")]
    for file in files:
        file.parent.mkdir()
        file.write_text("content")
    finish_invocation("FINISHED", INVOCATION)
    assert _statuses(tier) == ["FINISHED", "KILLED"]
    client, run_id = MlflowClient(tracking_uri()), _runs(tier)[0].info.run_id
    for file in files:
        (artifact,) = client.list_artifacts(run_id, file.parent.name)
        assert artifact.path == str(file)
    finish_invocation("FAILED", INVOCATION)  # there is nothing left to close
    assert _statuses(tier) == ["FINISHED", "KILLED"]


@pytest.mark.parametrize("content", ["", "[]", '{"run_id": "0123"}'])
def test_a_damaged_record_is_none(tier: str, content: str) -> None:
    INVOCATION.write_text(content)
    RECORD.parent.mkdir()
    RECORD.write_text(content)
    _train(_logger(tier))
    (run,) = _runs(tier)
    _assert_complete(run)
    assert "mlflow.parentRunId" not in run.data.tags
    finish_invocation("FINISHED", INVOCATION)
    assert INVOCATION.read_text() == content


def test_a_process_that_is_no_more_is_gone() -> None:
    process = subprocess.Popen(["true"])
    name = process_name(process.pid)
    process.wait()
    assert is_gone(name)
    assert not is_gone(process_name())
    host, pid, born = process_name().split()
    assert is_gone(f"{host} {pid} {int(born) - 100}"), "another process had the number before"
    assert not is_gone(f"elsewhere {pid} {int(born) - 100}"), "nobody knows"


def test_all_that_mlflow_missed_is_logged_later_and_only_once(
    tier: str, store: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNREACHABLE.replace("//", "//me:secret@"))
    INVOCATION.parent.mkdir(exist_ok=True)
    begin = time.monotonic()
    _command(monkeypatch, "start", "--results", ".")
    _train(_logger("smoke"))
    with pytest.raises(ValueError, match="its own"), _logger("smoke", model="realnvp"):
        raise ValueError("its own")
    Path("tables").mkdir()
    Path("tables/flows.csv").write_text("content")
    _command(monkeypatch, "finished", "--results", ".")
    assert time.monotonic() - begin < 60, "MLflow's own retries alone take longer"
    (warning,) = _warnings(capfd)
    assert warning == (
        f"warning: MLflow at {UNREACHABLE} failed (Connection refused); the work goes on"
        " without it, and `make track` logs later what is missing"
    ), "one for the whole invocation"
    run = CliRunner().invoke(main, ["track", "."])
    assert run.exit_code == 2
    assert run.output == f"error: MLflow at {UNREACHABLE} failed (Connection refused)\n"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert CliRunner().invoke(main, ["track", "."]).output == ".: MLflow has all of 3 runs\n"
    parent, training, failed = _runs("smoke")
    _assert_complete(training)
    assert failed.info.status == "FAILED"
    for run in (training, failed):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert parent.info.start_time <= run.info.start_time <= run.info.end_time
    assert parent.info.status == "FINISHED"
    assert set(_artifacts(parent)) == {"config.json", "tables"}
    before = _dump(store)
    assert catch_up(HERE) == 3
    assert _dump(store) == before


def test_what_a_training_uses_is_in_its_record_and_later_in_mlflow(
    tier: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNREACHABLE)
    logger = _logger(tier)
    logger.__enter__()
    for row in ROWS[:2]:
        logger.log_row(row)
    before = json.loads(RECORD.read_text())["samples"]
    record = json.loads(RECORD.read_text())
    RECORD.write_text(json.dumps(record | {"process": f"{process_name().split()[0]} 4000000 0"}))
    half_written = RECORD.with_name(f".{RECORD.name}.abc.json")
    shutil.copy(RECORD, half_written)
    _train(_logger(tier))  # continues and repeats the rows
    samples = json.loads(RECORD.read_text())["samples"]
    assert samples[:2] == before
    assert [sample["step"] for sample in samples] == [row["step"] for row in ROWS]
    assert all(10 < sample["system/memory_mb"] < 100_000 for sample in samples)
    assert all(sample["system/cpu_percent"] >= 0 for sample in samples)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    catch_up(HERE)
    (run,) = _runs(tier)
    _assert_complete(run)
    for name in ("system/memory_mb", "system/cpu_percent"):
        points = MlflowClient(store).get_metric_history(run.info.run_id, name)
        expected = [(sample["step"], sample["time"], sample[name]) for sample in samples]
        assert [(p.step, p.timestamp, p.value) for p in points] == expected


def test_what_was_cut_off_or_deleted_in_mlflow(tier: str, store: str) -> None:
    _train(_logger(tier))
    (run,) = _runs(tier)
    client = MlflowClient(store)
    kept = Path(client.download_artifacts(run.info.run_id, "model.safetensors"))
    kept.write_bytes(b"wei")
    catch_up(HERE)
    _assert_complete(_runs(tier)[0])
    client.delete_run(run.info.run_id)
    assert catch_up(HERE) == 0
    assert not _runs(tier)


def test_a_run_that_was_deleted_and_is_continued_stays_deleted_without_a_warning(
    tier: str, store: str, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = _logger(tier)
    logger.__enter__()
    logger.log_row(ROWS[0])
    logger.__exit__(Interrupted)
    MlflowClient(store).delete_run(_runs(tier)[0].info.run_id)
    capfd.readouterr()
    _train(_logger(tier))
    assert not _runs(tier)
    assert "warning" not in capfd.readouterr().err


def test_make_track_has_nothing_to_log_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/data").mkdir(parents=True)
    run = CliRunner().invoke(main, ["track"])
    assert run.exit_code == 0
    assert "nothing to log" in run.output
    assert not Path("results/mlflow.db").exists()


def test_a_server_that_is_killed_in_the_middle_costs_one_warning(
    tier: str, server: "Server", monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    server.start()
    logger = _logger(tier)
    with logger:
        logger.log_row(ROWS[0])
        assert _points(_runs(tier)[0]) == {"held_out": [(0, 9.5)]}
        server.kill()
        begin = time.monotonic()
        for row in ROWS[1:]:
            logger.log_row(row)
        Path("history.csv").write_text(HISTORY)
        Path("model.safetensors").write_bytes(b"weights")
        logger.log_files(["model.safetensors", "history.csv"])
    assert time.monotonic() - begin < 60, "MLflow's own retries alone take longer"
    (warning,) = _warnings(capfd)
    assert warning.startswith(f"warning: MLflow at {server.uri} failed (Connection refused); ")
    server.start()
    assert _statuses(tier) == ["RUNNING"]
    for _ in range(2):
        catch_up(HERE)
        _assert_complete(_runs(tier)[0])
    assert not list(HERE.glob("ml*")), "the files are the server's"


class Server:
    """MLflow's own server on the loopback, with the tests' database."""

    def __init__(self, store: str, folder: Path) -> None:
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._arguments = (store, str(folder), self._port)
        self._process: BaseProcess | None = None

    def start(self) -> None:
        self._process = CONTEXT.Process(target=_serve, args=self._arguments)
        self._process.start()
        while self._process.is_alive():
            try:
                return socket.create_connection(("127.0.0.1", self._port)).close()
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the server has ended")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.fixture
def server(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(store, tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


def _serve(store: str, artifacts: str, port: int) -> None:
    from mlflow import server

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.environ[server.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[server.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[server.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[server.SERVE_ARTIFACTS_ENV_VAR] = "true"
    server.app.run("127.0.0.1", port, threaded=True)


@pytest.mark.parametrize(
    ("scheme", "answer", "reason"),
    [
        ("http", "refusal", "Connection refused"),
        ("http", "silence", "timed out"),
        ("postgresql", "refusal", "Connection refused"),
        ("postgresql", "silence", "timeout expired"),
    ],
)
def test_a_server_that_does_not_answer_is_given_up(
    scheme: str,
    answer: str,
    reason: str,
    tier: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Refused or silent, an invocation waits once, and its trainings not at all."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    monkeypatch.setattr(mlflow_copy, "_ANSWER", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1] if answer == "silence" else 9
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://127.0.0.1:{port}")
        begin = time.monotonic()
        _command(monkeypatch, "start", "--results", ".")
        assert time.monotonic() - begin < 30, "MLflow by itself waits for minutes"
        begin = time.monotonic()
        for seed in range(5):
            _train(_logger("smoke", seed=seed))
        assert time.monotonic() - begin < 5
    (warning,) = _warnings(capfd)
    assert re.search(rf"{reason}\); the work goes on", warning)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for a lock for half a second, not for the 10 or 20 that it is on a busy machine."""

    def shorten(*arguments: Any) -> tuple[str, Any]:
        _, _, statement, parameters, *_ = arguments
        return statement.replace("busy_timeout = 20000", "busy_timeout = 500"), parameters

    monkeypatch.setattr(mlflow_copy, "_LOCK_PATIENCE", 0.5)
    hook = (sqlalchemy.Engine, "before_cursor_execute", shorten)
    sqlalchemy.event.listen(*hook, retval=True)
    yield
    sqlalchemy.event.remove(*hook)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("locked_at", [0, 1])
def test_a_locked_database_costs_one_warning(
    tier: str, store: str, locked_at: int, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = sqlite3.connect(store.removeprefix("sqlite:///"), isolation_level=None)
    begin = time.monotonic()
    logger = _logger(tier)
    if locked_at == 0:
        lock.execute("BEGIN EXCLUSIVE")
    with logger:
        for n, row in enumerate(ROWS):
            if locked_at == n > 0:
                lock.execute("BEGIN EXCLUSIVE")
            logger.log_row(row)
        Path("history.csv").write_text(HISTORY)
        Path("model.safetensors").write_bytes(b"weights")
        logger.log_files(["model.safetensors", "history.csv"])
    assert time.monotonic() - begin < 30, "only the first call waits"
    lock.execute("ROLLBACK")
    (warning,) = _warnings(capfd)
    assert f"MLflow at {store} failed (database is locked); " in warning
    catch_up(HERE)
    _assert_complete(_runs(tier)[0])


def test_a_database_that_cannot_be_written_costs_one_warning(
    tier: str, store: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Modes of files do not hold root back; the rest of what is in the way does."""
    path = store.removeprefix("sqlite:///")
    Path("file").touch()
    Path("folder.db").mkdir()
    begin = time.monotonic()
    for uri, reason in (
        (f"sqlite:///file:{path}?mode=ro&uri=true", "attempt to write a readonly database"),
        ("sqlite:///folder.db", "unable to open database file"),
        ("sqlite:///file/mlflow.db", "File exists: file"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        _train(_logger(tier))
        (warning,) = _warnings(capfd)
        assert warning.startswith(f"warning: MLflow at {uri.split('?')[0]} failed ({reason}); ")
        _command(monkeypatch, "start", "--results", "results/smoke")
        _command(monkeypatch, "failed", "--results", "results/smoke")
        assert len(_warnings(capfd)) == 1
    assert time.monotonic() - begin < 60, "nobody waits for what does not change"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    catch_up(HERE)
    _assert_complete(_runs(tier)[0])


def test_files_that_cannot_be_copied_cost_one_warning(
    tier: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("results").mkdir()
    Path("results/mlartifacts").touch()  # in the way of the folder
    _train(_logger(tier))
    (warning,) = _warnings(capfd)
    assert "mlartifacts" in warning
    Path("results/mlartifacts").unlink()
    catch_up(HERE)
    _assert_complete(_runs(tier)[0])


def _train_alone(folder: str, uri: str | None, start: Barrier, seed: int) -> None:
    os.chdir(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if uri:
        os.environ["MLFLOW_TRACKING_URI"] = uri
    weights = Path(f"{seed}.safetensors")
    weights.write_bytes(bytes(seed + 1))
    start.wait()
    with _logger("laptop", seed=seed, key=str(seed)) as logger:
        for step in range(5):
            logger.log_row({"step": step, **{f"loss {k}": seed + step + k for k in range(10)}})
        logger.log_files([weights])
    sys.exit(logger.failed)


@pytest.mark.parametrize(
    ("count", "shared"),
    [
        (4, False),
        pytest.param(16, False, marks=pytest.mark.slowest),
        pytest.param(16, True, marks=pytest.mark.slowest),
    ],
    ids=["4 on SQLite", "16 on SQLite", "16 on PostgreSQL"],
)
def test_jobs_at_once_on_a_fresh_database_lose_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    count: int,
    shared: bool,
) -> None:
    uri = request.getfixturevalue("shared_server") if shared else None
    start = CONTEXT.Barrier(count)
    arguments = (str(tmp_path), uri, start)
    jobs = [CONTEXT.Process(target=_train_alone, args=(*arguments, n)) for n in range(count)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * count
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri or f"sqlite:///{tmp_path}/results/mlflow.db")
    runs = {int(run.data.tags["seed"]): run for run in _runs("laptop")}
    assert sorted(runs) == list(range(count))
    for seed, run in runs.items():
        assert run.info.status == "FINISHED"
        assert _points(run) == {
            f"loss {k}": [(step, seed + step + k) for step in range(5)] for k in range(10)
        }
        assert _artifacts(run) == {f"{seed}.safetensors": seed + 1}


def test_mlflow_reports_nothing_to_its_makers() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_one_module_alone_imports_mlflow(root: Path) -> None:
    importing = set()
    for path in [*Path(dgmpipe.__file__).parent.rglob("*.py"), *root.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importing.add(path.name)
    assert importing == {"mlflow_copy.py"}


@pytest.mark.parametrize(
    ("family", "model", "params", "competes"),
    [
        ("flow", "realnvp", {"data": "moons"}, True),
        ("flow", "mine", {"data": "points.csv"}, False),
        ("flow", "realnvp@noise=0.01", {"data": "moons"}, False),
        ("vae", "vae", {"likelihood": "bernoulli"}, True),
        ("vae", "dense", {"likelihood": "continuous_bernoulli"}, False),
        ("gan", "wgan_vae", {}, True),
        ("gan", "wgan_vae@latent_dim=16", {}, False),
    ],
)
def test_only_what_can_be_compared_competes(
    family: str, model: str, params: dict[str, Any], competes: bool
) -> None:
    (contest,) = (contest for contest in CONTESTS if contest.name == family)
    record = Record(model, "", "laptop", {"model": model}, "a process", params=params)
    assert contest.compete(record) == competes
