"""Snakemake as a user runs it, in a copy of what the workflow consists of."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from forks import run_python

__all__ = [
    "NO_MLFLOW",
    "fresh_copy",
    "planned",
    "planned_models",
    "python",
    "snakemake",
    "start_snakemake",
    "wait_for",
]

ROOT = Path(__file__).parent.parent

# For runs of which MLflow is not looked at: a fresh database takes seconds, a refusal takes none.
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def snakemake(
    folder: Path, *arguments: str, alone: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; `alone` in processes of its own, as a user does."""
    command = ["-m", "snakemake", "--cores", "4", *arguments]
    given = _environment() | environment
    if not alone:
        return run_python(command, folder, given, timeout=1400)
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=1400,
        env=given,
    )


def python(
    folder: Path, *arguments: str | Path, input: str = "", **environment: str
) -> subprocess.CompletedProcess:
    """Run Python in a folder with arguments such as `-m`, a module, and more."""
    words, given = list(map(str, arguments)), _environment() | environment
    return run_python(words, folder, given, input=input, timeout=600)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}


def start_snakemake(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Start Snakemake in a session of its own, with its output in `snakemake.log`."""
    command = [sys.executable, "-m", "snakemake", "--cores", "4", *arguments]
    with (folder / "snakemake.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=_environment() | environment,
            start_new_session=True,
        )


def wait_for(process: subprocess.Popen, folder: Path, pattern: str) -> None:
    """Wait until Snakemake has made such a file."""
    while not any(folder.glob(pattern)):
        said = (folder / "snakemake.log").read_text(encoding="utf-8")
        assert process.poll() is None, said[-3000:]
        time.sleep(0.05)


def fresh_copy(folder: Path) -> Path:
    """Copy what the workflow consists of, without any results."""
    for part in ("config", "workflow", "scripts", "tests/data"):
        shutil.copytree(ROOT / part, folder / part)
    return folder


def planned(run: subprocess.CompletedProcess) -> dict[str, int]:
    """Return the jobs of a dry run and how often each is to run, `all` and the total left out."""
    assert run.returncode == 0, run.stderr
    table = (run.stdout + run.stderr).split("Job stats:")[-1].split("\n\n")[0]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    return {name: n for name, n in jobs.items() if name not in ("all", "total")}


def planned_models(run: subprocess.CompletedProcess) -> set[str]:
    """Return the models that a dry run is to train."""
    assert run.returncode == 0, run.stderr
    pattern = r"^rule train\w*:\n.*?^ +wildcards: model=(\w+), seed="
    return set(re.findall(pattern, run.stdout + run.stderr, re.M | re.S))
