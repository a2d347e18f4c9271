"""Seconds that a job costs before it does anything: imports, and Snakemake around an empty one."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
REPEATS = 5
STARTS = {
    "Python alone": "pass",
    "import of NumPy and matplotlib (a figure)": "import dgmpipe.figures.figure_02",
    "import of torch": "import torch",
    "import of a training": "import dgmpipe.training.run, dgmpipe.models.vae",
    "import of MLflow": "import mlflow",
}
WORKFLOW = """
rule all:
    input: expand("{n}.txt", n=range(int(config["jobs"])))
rule empty:
    output: "{n}.txt"
    script: "empty.py"
"""


def measure() -> pd.DataFrame:
    """Return a row for each thing that is started, with the median time and its range."""
    print("start-up", flush=True)
    times = {what: _repeat(_python, program) for what, program in STARTS.items()}
    many, one = (_repeat(_workflow, jobs) for jobs in (6, 1))
    times["an empty Snakemake workflow with one job"] = one
    times["each further empty job"] = [(b - a) / 5 for a, b in zip(one, many, strict=True)]
    times["`snakemake --dry-run all` of dgmpipe"] = _repeat(_dry_run)
    return pd.DataFrame(
        {"what": what, "seconds": statistics.median(t), "least": min(t), "most": max(t)}
        for what, t in times.items()
    )


def _repeat(function: Callable[..., None], *arguments: object) -> list[float]:
    """Time a call several times; the first, which fills the file cache, does not count."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - begin)
    return times[1:]


def _run(*arguments: str, folder: Path = ROOT) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "SNAKEMAKE_PROFILE"}
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, check=True, capture_output=True, env=environment
    )


def _python(program: str) -> None:
    _run("-c", program)


def _workflow(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(WORKFLOW, encoding="utf-8")
        (folder / "empty.py").write_text(
            "open(snakemake.output[0], 'w').close()\n", encoding="utf-8"
        )
        _run("-m", "snakemake", "--cores", "1", "--config", f"jobs={jobs}", folder=folder)


def _dry_run() -> None:
    _run("-m", "snakemake", "--dry-run", "all")
