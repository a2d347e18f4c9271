"""Jobs as forks of one process: they end as other jobs do, and with whoever asked for them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dgmpipe.jobs import forks

pytestmark = pytest.mark.slow

# What Snakemake starts for a job.
ASK = """
import sys
from dgmpipe.jobs.forks import run
run("tier", sys.argv[1], {}, imports=[sys.argv[1].split(":")[0]], log=sys.argv[2], threads=1)
"""
WORK = """
import os, sys, time
from pathlib import Path
from dgmpipe.errors import UserError
with open("imported", "a") as file:
    print(os.getpid(), file=file)
def say():
    print(os.getppid())
def refuse():
    raise UserError("too few points")
def fail():
    raise KeyError("nothing")
def main():
    print(tuple(sys.argv[1:]), sys.stdin.read(), file=sys.stderr)
    print("and more")
def wait():
    Path("waits").write_text(str(os.getpid()))
    time.sleep(100)
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    (tmp_path / ".snakemake").mkdir()
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen]:
    """A process that has started what is forked, as Snakemake does, and waits for its end."""
    program = "import sys; from dgmpipe.jobs.forks import start; start('tier'); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        _until(lambda: list(folder.glob(".snakemake/*.socket")))
        yield process


def _until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ask(function: str) -> tuple[int, str]:
    """Return how a job ended, and its log."""
    status = _asking(function).wait(60)
    return status, Path(f"{function}.log").read_text()


def _asking(function: str) -> subprocess.Popen:
    command = [sys.executable, "-c", ASK, f"work:{function}", f"{function}.log"]
    return subprocess.Popen(command)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("server")
def test_jobs_share_imports() -> None:
    (status, parent), second = _ask("say"), _ask("say")
    assert (status, parent) == second
    assert status == 0
    assert Path("imported").read_text() == parent, "who forks has imported it, once"


@pytest.mark.usefixtures("server")
def test_what_a_job_raises_ends_it_and_no_other() -> None:
    status, log = _ask("refuse")
    assert (status, log) == (1, "error: too few points\n")
    status, log = _ask("fail")
    assert status == 1
    assert "KeyError: 'nothing'" in log
    assert _ask("say")[0] == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("left", [False, True], ids=["never started", "killed"])
def test_without_the_process_a_job_does_its_work_itself(
    left: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if left:
        Path(forks._address("tier")).touch()
    assert _ask("say") == (0, f"{os.getpid()}\n")
    assert _ask("refuse") == (1, "error: too few points\n")
    assert _ask_module() == "('a', 'b') text\n"
    assert capfd.readouterr().out == "and more\n"


@pytest.mark.usefixtures("server")
def test_a_module_runs_as_a_program_in_a_fork(capfd: pytest.CaptureFixture[str]) -> None:
    assert _ask_module() == "('a', 'b') text\n"
    assert capfd.readouterr().out == "and more\n"
    assert Path("imported").read_text() != f"{os.getpid()}\n"


def _ask_module() -> str:
    return forks.run_module("tier", "work", ["a", "b"], imports=["work"], given="text")


@pytest.mark.parametrize("whose", ["the job's", "the workflow's"])
def test_a_fork_ends_with_whoever_asked_for_it(server: subprocess.Popen, whose: str) -> None:
    job = _asking("wait")
    _until(lambda: Path("waits").is_file() and Path("waits").read_text())
    fork = int(Path("waits").read_text())
    assert _is_there(fork)
    (job if whose == "the job's" else server).send_signal(signal.SIGKILL)
    _until(lambda: not _is_there(fork))
    assert job.wait(30) != 0
