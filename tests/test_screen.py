"""The live screen: recorded events of Snakemake's, and one small workflow in a pseudo-terminal."""

import fcntl
import io
import logging
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyte
import pytest
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from dgmpipe.jobs.progress import Progress, note_measures, progress_path, read_progress, reported
from dgmpipe.plan.schedule import DATA, EVALUATIONS, EXHIBITS, TRAININGS, Plan, PlannedJob
from dgmpipe.screen.live import Live
from dgmpipe.screen.state import State
from dgmpipe.screen.watcher import Lines, Watcher, watcher
from snakemake_logger_plugin_dgmpipe import LogHandler

PLAN = Plan(
    "smoke",
    {
        1: PlannedJob(1, "fetch images", DATA, 5, stands=True),
        2: PlannedJob(2, "VAE", TRAININGS, 60, frozenset({1})),
        3: PlannedJob(3, "evidence, VAE", EVALUATIONS, 20, frozenset({2})),
        4: PlannedJob(4, "Figure 7", EXHIBITS, 3, frozenset({3})),
    },
    cores=2,
)
SETTINGS = SimpleNamespace(
    **dict.fromkeys(["verbose", "dryrun", "quiet", "debug_dag", "printshellcmds"], False),
    nocolor=True,
    stdout=False,
    show_failed_logs=True,
)


def record(message: str = "", level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    """A record as it comes out of Snakemake's queue."""
    made = logging.LogRecord("snakemake", level, "workflow.py", 1, message, (), None)
    made.__dict__.update(fields)
    return made


def planned() -> logging.LogRecord:
    return record("1 training", news="plan", plan=PLAN)


def begun(number: int, rule: str, log: Path | None = None) -> logging.LogRecord:
    return record(
        event=LogEvent.JOB_INFO,
        jobid=number,
        rule_name=rule,
        wildcards={"model": "vae"},
        log=[str(log)] if log else [],
    )


def failed(number: int, rule: str, log: Path) -> logging.LogRecord:
    fields = {"jobid": number, "rule_name": rule, "rule_msg": None, "log": [str(log)]}
    return record("Error in rule", logging.ERROR, event=LogEvent.JOB_ERROR, **fields)


class Terminal(io.StringIO):
    """What a terminal of 100 by 30 would show of what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = pyte.HistoryScreen(100, 30, history=1000)
        self._feed = pyte.Stream(self._screen).feed
        self._drawing = threading.Lock()  # the screen draws from a thread of its own

    def write(self, text: str) -> int:
        with self._drawing:
            self._feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        with self._drawing:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """Everything, also what has scrolled by."""
        above = ["".join(row[i].data for i in range(100)) for row in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.lines])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    return Terminal()


@pytest.fixture
def screen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    monkeypatch.setattr("dgmpipe.screen.live._AT_MOST", 0)
    made = Watcher(Live(terminal), seconds=0.02)
    yield made
    made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def line_with(terminal: Terminal, text: str) -> str:
    return next((line for line in terminal.lines if text in line), "")


# --- the live screen -----------------------------------------------------------------------------


def test_a_training_has_its_bar_step_measure_and_time_left(
    screen: Watcher, terminal: Terminal, tmp_path: Path
) -> None:
    log = tmp_path / "vae_seed_0.log"
    screen.take(planned())
    screen.take(begun(2, "train", log))
    with reported(progress_path(log)):
        note_measures({"step": 500, "loss": 170.0, "held_out_negative_elbo": 161.2345})
        Progress("vae, seed 0", 2000).advance({"loss": 165.0}, 1000)
        wait_until(lambda: "1,000 / 2,000" in line_with(terminal, "VAE"))
    row = line_with(terminal, "VAE")
    assert "held out negative elbo 161.2" in row
    assert "0:00 left" in row  # a thousand steps took no time
    assert "━" in row
    assert "0 of 1" in line_with(terminal, "trainings")
    assert "1 of 1" in line_with(terminal, "  data")
    assert line_with(terminal, "smoke").startswith("smoke  36%, 0 of 3 jobs")  # 30 of 83 seconds


def test_what_is_done_is_counted_and_what_follows_is_estimated(
    screen: Watcher, terminal: Terminal
) -> None:
    screen.take(planned())
    screen.take(begun(2, "train"))
    screen.take(record(event=LogEvent.JOB_FINISHED, job_id=2))
    screen.take(begun(3, "evidence"))
    assert "1 of 1" in line_with(terminal, "trainings")
    assert "0 of 1" in line_with(terminal, "evaluations")
    assert "running" in line_with(terminal, "evidence, VAE")
    assert "left" in line_with(terminal, "smoke")
    screen.take(record("telling MLflow", news="doing"))
    assert line_with(terminal, "telling MLflow")


def test_the_end_has_the_summary_and_shows_the_cursor(screen: Watcher, terminal: Terminal) -> None:
    screen.take(planned())
    screen.take(begun(2, "train"))
    assert terminal._screen.cursor.hidden
    screen.take(record("\nflows\n  Real NVP  0.0686 ± 0.0015", news="summary"))
    assert not terminal._screen.cursor.hidden
    assert terminal.text.rstrip().endswith("flows\n  Real NVP  0.0686 ± 0.0015")
    screen.take(record("Complete log(s): a.snakemake.log"))
    screen.take(record("Elapsed time: 0:00:01"))
    assert terminal.text.rstrip().endswith("a.snakemake.log")


def test_a_failure_has_its_log_and_the_end_of_what_that_says(
    screen: Watcher, terminal: Terminal, tmp_path: Path
) -> None:
    log = tmp_path / "vae.log"
    log.write_text("\n".join(f"line {n}" for n in range(100)) + "\nerror: loss is nan\n")
    screen.take(planned())
    screen.take(begun(2, "train", log))
    screen.take(
        record(
            "RuleException: a command of 300 characters",
            logging.ERROR,
            event=LogEvent.ERROR,
            exception="RuleException",
        )
    )
    screen.take(failed(2, "train", log))
    assert "failed: training of VAE" in terminal.text
    assert f"its log is {log}" in terminal.text.replace("\n", "")
    assert "error: loss is nan" in terminal.text
    assert "line 50" not in terminal.text
    assert "1 failed" in line_with(terminal, "smoke")
    screen.take(record("", news="summary"))
    assert "0 of 3 jobs are done; failed:" in terminal.text
    assert "RuleException" not in terminal.text


def test_what_is_tried_again_has_not_failed(
    screen: Watcher, terminal: Terminal, tmp_path: Path
) -> None:
    screen.take(planned())
    screen.take(begun(2, "train", tmp_path / "vae.log"))
    screen.take(failed(2, "train", tmp_path / "vae.log"))
    screen.take(record("Trying to restart job 2."))
    screen.take(begun(2, "train", tmp_path / "vae.log"))
    screen.take(record(event=LogEvent.JOB_FINISHED, job_id=2))
    assert "Trying to restart" in terminal.text
    assert "failed" not in line_with(terminal, "smoke")


def test_an_error_that_no_job_explains_is_not_lost(screen: Watcher, terminal: Terminal) -> None:
    screen.take(planned())
    screen.take(record("RuleException: odd", 40, event=LogEvent.ERROR, exception="RuleException"))
    screen.take(record("WorkflowError: no space", 40, event=LogEvent.ERROR, exception="X"))
    assert "WorkflowError: no space" in terminal.text
    screen.close()
    assert "RuleException: odd" in terminal.text


def test_warnings_scroll_by_and_small_talk_does_not(screen: Watcher, terminal: Terminal) -> None:
    screen.take(planned())
    screen.take(record("Select jobs to execute..."))
    screen.take(record("warning: MLflow does not answer", logging.WARNING, news="notice"))
    assert "warning: MLflow does not answer" in terminal.text
    assert "Select jobs" not in terminal.text


@pytest.mark.slow
def test_more_jobs_than_lines_are_counted(screen: Watcher, terminal: Terminal) -> None:
    jobs = {n: PlannedJob(n, f"point {n}", TRAININGS, 60) for n in range(1, 101)}
    screen.take(record("100 trainings", news="plan", plan=Plan("smoke", jobs, cores=100)))
    for number in jobs:
        screen.take(begun(number, "train"))
    wait_until(lambda: sum("point" in line for line in terminal.lines) == 20)
    wait_until(lambda: "and 80 more" in terminal.text)


# --- before, and without, a screen ---------------------------------------------------------------


def test_before_the_first_job_snakemake_speaks_for_itself(
    screen: Watcher, terminal: Terminal
) -> None:
    building, nothing = record("Building DAG of jobs..."), record("Nothing to be done")
    assert screen.take(record("Workflow has started", event=LogEvent.WORKFLOW_STARTED)) == []
    assert screen.take(building) == []
    assert screen.take(nothing) == []
    assert screen.close() == [building, nothing]
    assert not terminal.text.strip()


def test_an_error_before_the_first_job_comes_with_what_led_to_it(screen: Watcher) -> None:
    building = record("Building DAG of jobs...")
    missing = record("MissingInputException", logging.ERROR, event=LogEvent.ERROR)
    screen.take(building)
    assert screen.take(missing) == [building, missing]
    assert screen.close() == []


@pytest.mark.parametrize("name", ["verbose", "dryrun", "quiet", "debug_dag", "printshellcmds"])
def test_who_asks_for_snakemakes_own_output_gets_it(name: str) -> None:
    settings = SimpleNamespace(**{**vars(SETTINGS), name: True})
    assert watcher(settings, {}) is None
    assert watcher(SETTINGS, {"DGMPIPE_OUTPUT": "snakemake"}) is None


def test_a_terminal_gets_the_screen_and_anything_else_lines(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    def view(**environment: str) -> type:
        made = watcher(SETTINGS, environment)
        assert made is not None
        return type(made._view)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert view(TERM="xterm") is Lines
    assert view(DGMPIPE_OUTPUT="screen") is Live
    monkeypatch.setattr(sys, "stderr", terminal)
    assert view(TERM="xterm") is Live
    assert view(TERM="dumb") is Lines
    assert view(TERM="xterm", DGMPIPE_OUTPUT="lines") is Lines
    with pytest.raises(ValueError, match="'loud', which is none of screen, lines, snakemake"):
        watcher(SETTINGS, {"DGMPIPE_OUTPUT": "loud"})


def test_lines_are_few_and_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = 0.0, io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    state, lines = State(plan=PLAN), Lines(stream)
    state.begin(2, "train", {}, ["vae.log"])
    state.running[2].progress = {"step": 500.0, "total": 2000.0, "seconds_left": 60, "values": {}}
    while clock < 24 * 3600:
        clock += 1
        lines.show(state)
    shown = stream.getvalue().splitlines()
    assert shown[0].startswith("[0:30] 0 of 3 jobs done, about ")
    assert shown[0].endswith("left; running: VAE 25%")
    assert len(shown) < 80


# --- the plugin ----------------------------------------------------------------------------------


class TestPlugin(TestLogHandlerBase):
    """Snakemake's own tests of a plugin."""

    __test__ = True

    def get_log_handler_cls(self) -> type[LogHandlerBase]:
        return LogHandler

    def get_log_handler_settings(self) -> None:
        return None

    def _create_handler(self) -> LogHandlerBase:
        settings = MockOutputSettings()
        settings.printshellcmds = False
        handler = LogHandler(settings, None)
        assert handler._watcher is not None
        return handler


def test_a_screen_that_fails_gives_way_to_snakemakes_own_output(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the screen is broken")

    handler = LogHandler(SETTINGS, None)
    monkeypatch.setattr(Lines, "show", fail)
    handler.emit(planned())
    handler.emit(record("5 of 7 steps done"))
    handler.close()
    said = capsys.readouterr().err
    assert said.count("warning: the screen is broken; Snakemake's own output follows") == 1
    assert "5 of 7 steps done" in said


def test_a_wrong_variable_costs_a_warning(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGMPIPE_OUTPUT", "loud")
    LogHandler(SETTINGS, None).emit(record("going on"))
    said = capsys.readouterr().err
    assert "warning: DGMPIPE_OUTPUT is 'loud', which is none of" in said
    assert "going on" in said


# --- progress files ------------------------------------------------------------------------------


def test_a_job_keeps_its_progress_in_a_file_and_takes_it_away(tmp_path: Path) -> None:
    path = progress_path(tmp_path / "vae@width=0.5_seed_0.log")
    path.write_text("of one that was killed")
    assert read_progress(path) is None
    with reported(path):
        assert not path.exists()
        Progress("vae", 10).advance({"loss": 2.0}, 5)
        found = read_progress(path)
    assert found is not None
    assert (found["step"], found["total"], found["values"]) == (5, 10, {"loss": 2.0})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    with reported(tmp_path / "no such folder/vae.progress"):
        Progress("vae", 10).advance({"loss": 2.0}, 5)


# --- a workflow in a pseudo-terminal -------------------------------------------------------------

SNAKEFILE = """
rule all:
    input: "trained", "broken"
rule train:
    output: "trained"
    log: "train.log"
    script: "train.py"
rule broken:
    output: "broken"
    log: "broken.log"
    shell: "echo 'error: it is broken' > {log}; exit 1"
"""
SCRIPT = """
from dgmpipe.jobs.job import job
with job(snakemake.log[0], 1):
    import pathlib, time
    from dgmpipe.jobs.progress import Progress
    progress = Progress("train", 400)
    for step in range(1, 401):
        time.sleep(0.01)
        progress.advance({"loss": 1.5}, step)
    pathlib.Path("trained").touch()
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Terminal, list[str], int]:
    """A workflow of two jobs, one of which fails: the terminal, what it showed, its exit code."""
    folder = tmp_path_factory.mktemp("workflow")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going", "all"]
    command += ["--logger", "dgmpipe"]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.pop("DGMPIPE_OUTPUT", None)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, command)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    terminal, shown = Terminal(), []
    while True:
        try:
            read = os.read(descriptor, 65536)
        except OSError:  # how Linux says that it has ended
            break
        terminal._feed(read.decode(errors="replace"))
        shown.append(terminal.text)
    return terminal, shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
def test_a_terminal_shows_the_step_of_a_running_training(
    drawn: tuple[Terminal, list[str], int],
) -> None:
    assert any("/ 400" in text and "loss 1.5" in text and "left" in text for text in drawn[1])
    assert "Select jobs" not in drawn[0].text


@pytest.mark.slow
def test_a_failed_workflow_says_what_failed_and_leaves_a_cursor(
    drawn: tuple[Terminal, list[str], int],
) -> None:
    terminal, _, status = drawn
    assert status == 1
    assert "failed: broken" in terminal.text
    assert "its log is broken.log" in terminal.text
    assert "error: it is broken" in terminal.text
    assert "1 of 3 jobs are done; failed:" in terminal.text
    assert "Complete log(s)" in terminal.text
    assert not terminal._screen.cursor.hidden
