"""An invocation that only draws anew: it takes up the record of the last one, without MLflow."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dgmpipe.tracking.records import Record
from dgmpipe.tracking.runs import continue_invocation, end_invocation

CONFIG = yaml.safe_load((Path(__file__).parent.parent / "config/smoke.yaml").read_text())
INVOCATION = Path("results/smoke/invocation.json")


@pytest.fixture
def last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """The record of an invocation that has finished."""
    monkeypatch.chdir(tmp_path)
    assert not continue_invocation("smoke", CONFIG, INVOCATION), "there is none yet"
    _begin()
    record = end_invocation("FINISHED", INVOCATION)
    assert record is not None
    return record


def _begin(config: dict[str, Any] = CONFIG, started: int = 1000) -> None:
    from dgmpipe.tracking.runs import _invocation

    record = _invocation("smoke", config)
    record.started = started
    record.write(INVOCATION)


def test_a_redraw_takes_up_the_record_and_names_the_figures(last: Record) -> None:
    assert continue_invocation("smoke", CONFIG, INVOCATION)
    running = Record.read(INVOCATION)
    assert running is not None
    assert (running.id, running.status, running.started) == (last.id, "RUNNING", 1000)
    figure = INVOCATION.parent / "figures/figure_04.png"
    figure.parent.mkdir()
    figure.touch()
    assert end_invocation("FINISHED", INVOCATION)
    ended = Record.read(INVOCATION)
    assert ended is not None
    assert ended.status == "FINISHED"
    assert ended.files == {"figures": [str(figure)]}
    assert end_invocation("FAILED", INVOCATION) is None, "it has ended"


def test_another_config_is_another_invocation(last: Record) -> None:
    other = copy.deepcopy(CONFIG)
    other["evaluation"]["samples"]["num_images"] = 49
    assert not continue_invocation("smoke", other, INVOCATION)
    assert Record.read(INVOCATION) == last


def test_what_was_killed_is_left_to_mlflow(last: Record) -> None:
    last.status = "KILLED"
    last.write(INVOCATION)
    assert not continue_invocation("smoke", CONFIG, INVOCATION)


def test_neither_a_plan_nor_a_record_imports_mlflow_or_torch() -> None:
    modules = "dgmpipe.tracking.runs, dgmpipe.plan.schedule, dgmpipe.plan.summary, sys"
    heavy = "{'mlflow', 'torch', 'matplotlib', 'pandas'} & sys.modules.keys()"
    run = subprocess.run(
        [sys.executable, "-c", f"import {modules}; print({heavy} or 'light')"],
        capture_output=True,
        encoding="utf-8",
    )
    assert run.stdout == "light\n", run.stderr
