"""Measure everything, and write docs/benchmarks.md with its figures: `make bench`.

    python benchmarks/bench.py [steps] [gpu] [profiles] [energy] [startup] [workflow]

measures what is named, or all (`gpu` where there is one), into results/benchmarks/, and writes the
page from what is there.
"""

import argparse
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import energy
import page
import profiles
import startup
import steps
import workflow
from dgmpipe.jobs import provenance
from dgmpipe.jobs.gpus import count_gpus

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "results/benchmarks"
CORES = os.cpu_count() or 1
# The first needs results, and says so before the others take their minutes.
SECTIONS: dict[str, Callable[[], pd.DataFrame]] = {
    "workflow": workflow.measure,
    "steps": lambda: pd.concat(steps.measure(n, side_by_side=CORES) for n in sorted({1, CORES})),
    **({"gpu": steps.measure_gpu} if count_gpus() else {}),
    "profiles": profiles.measure,
    "energy": lambda: energy.measure(CORES),
    "startup": startup.measure,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    named = parser.parse_args().sections
    if unknown := set(named) - set(SECTIONS):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    MEASURED.mkdir(parents=True, exist_ok=True)
    for section in named or SECTIONS:
        SECTIONS[section]().to_csv(MEASURED / f"{section}.csv", index=False)
        (MEASURED / f"{section}.txt").write_text(machine(), encoding="utf-8")
    page.write(MEASURED, ROOT / "docs")


def machine() -> str:
    """Describe the machine, its software and the commit."""
    return (
        f"{provenance.machine()}; {platform.system()}, "
        f"Python {platform.python_version()}, PyTorch {version('torch')}, "
        f"Snakemake {version('snakemake')}, MLflow {version('mlflow')}; "
        f"commit {provenance.git_state()['git.commit'][:7]}"
    )


if __name__ == "__main__":
    main()
