"""Where the time of a finished workflow went, from what Snakemake noted of each job."""

import base64
import json
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent


def measure(tier: str = "laptop", root: Path = ROOT) -> pd.DataFrame:
    """Return a row for each job of the tier, in the order of their start.

    Columns: `rule`, `job` (its log file's name), `start` and `end` in seconds after the first job,
    `seconds`, and `critical`: whether the job is on the longest chain of jobs that wait for each
    other, which no number of cores makes shorter.

    Raises:
        SystemExit: If the tier has no results.
    """
    records = {
        base64.b64decode(file.name).decode(): json.loads(file.read_text(encoding="utf-8"))
        for file in (root / ".snakemake/metadata").glob("*")
    }
    records = {path: r for path, r in records.items() if path.startswith(f"results/{tier}/")}
    if not records:
        raise SystemExit(f"error: no job of tier {tier} has run in {root}; run: make all")
    job_of = {path: record["log"][0] for path, record in records.items()}
    jobs = {record["log"][0]: record for record in records.values()}
    needs = {
        log: {job_of[path] for path in record["input"] if path in job_of}
        for log, record in jobs.items()
    }
    first = min(record["starttime"] for record in jobs.values())
    critical = _longest_chain(needs, {k: r["endtime"] - r["starttime"] for k, r in jobs.items()})
    rows = [
        {
            "rule": record["rule"],
            "job": log.removeprefix(f"results/{tier}/logs/").removesuffix(".log"),
            "start": record["starttime"] - first,
            "end": record["endtime"] - first,
            "seconds": record["endtime"] - record["starttime"],
            "critical": log in critical,
        }
        for log, record in jobs.items()
    ]
    return pd.DataFrame(rows).sort_values("start", ignore_index=True)


def _longest_chain(needs: dict[str, set[str]], seconds: dict[str, float]) -> set[str]:
    ends: dict[str, float] = {}

    def end(job: str) -> float:
        if job not in ends:
            ends[job] = seconds[job] + max(map(end, needs[job]), default=0)
        return ends[job]

    job: str | None = max(needs, key=end)
    chain = set()
    while job:
        chain.add(job)
        job = max(needs[job], key=end, default=None)
    return chain
