"""What an invocation is going to do, job by job, and how long that takes."""

import csv
import functools
import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dgmpipe.config import Config
from dgmpipe.plan.evaluations import REAL
from dgmpipe.plan.exhibits import exhibits
from dgmpipe.plan.trainings import training_seconds

__all__ = ["STAGES", "Plan", "PlannedJob", "Schedule", "time_left"]

DATA, TRAININGS, EVALUATIONS, EXHIBITS = STAGES = (
    "data",
    "trainings",
    "evaluations",
    "figures and tables",
)
# Processor seconds of a job before any of its rule has been measured.
_GUESSES = {DATA: 5.0, EVALUATIONS: 15.0, EXHIBITS: 3.0}
_COPYING = 1.0  # of a released training


@dataclass(frozen=True)
class PlannedJob:
    """A job of the workflow.

    Attributes:
        number: Snakemake's number of the job.
        label: What it is called, such as "VAE" of a training.
        stage: One of `STAGES`.
        seconds: About how many processor seconds it takes.
        after: Numbers of the jobs whose files it needs.
        stands: Whether its files are there and up to date.
        copied: Whether it is a training that is copied from a released one.
    """

    number: int
    label: str
    stage: str
    seconds: float
    after: frozenset[int] = frozenset()
    stands: bool = False
    copied: bool = False


@dataclass(frozen=True)
class Plan:
    """All jobs of an invocation.

    Attributes:
        tier: Of the config.
        jobs: The jobs by their numbers.
        cores: How many jobs run at once.
        gpus: How many trainings run at once, if that is limited.
    """

    tier: str
    jobs: dict[int, PlannedJob] = field(default_factory=dict)
    cores: int = 1
    gpus: int | None = None

    @property
    def only_draws(self) -> bool:
        """Whether nothing is trained or measured, only drawn and tabled."""
        return all(job.stands or job.stage in (DATA, EXHIBITS) for job in self.jobs.values())

    def sentence(self) -> str:
        """Return how many jobs and trainings there are to do and about how long these take."""
        jobs = [job for job in self.jobs.values() if not job.stands]
        trainings = [job.seconds for job in jobs if job.stage == TRAININGS and not job.copied]
        hours = sum(trainings) / 3600
        plural = "job" if len(jobs) == 1 else "jobs"
        several = "training" if len(trainings) == 1 else "trainings"
        if not trainings:
            return f"{len(jobs)} {plural}, none of them a training"
        return (
            f"{len(trainings)} {several}, about {hours:.1f} core hours without evaluations;"
            f" {len(jobs)} {plural} in all"
        )


class Schedule:
    """Names the jobs of a config and says about how long each takes.

    Args:
        config: The config.
        results: Folder of the tiers' results, where earlier runs left their times.
        released: Model and seed of each training that is copied from a released one.
    """

    def __init__(
        self, config: Config, results: Path, released: Collection[tuple[str, int]] = ()
    ) -> None:
        self._config = config
        self._benchmarks = results / config.tier / "benchmarks"
        self._exhibits = {exhibit.name: exhibit.title for exhibit in exhibits(config)}
        self._seconds = training_seconds(config, results)
        self._released = released
        # A rule has a job for each of thousands of trainings.
        self._measured = functools.cache(self._mean_seconds)

    def job(
        self,
        number: int,
        rule: str,
        wildcards: Mapping[str, str],
        *,
        after: frozenset[int] = frozenset(),
        stands: bool = False,
    ) -> PlannedJob | None:
        """Return a job by its rule and wildcards, or nothing for a rule that only names files."""
        stage = self._stage(rule)
        if stage is None:
            return None
        # Of what is done in a fork the processor time is not known to Snakemake.
        seconds = self._measured(rule) or _GUESSES.get(stage, 0.0)
        copied = False
        if stage == TRAININGS:
            copied = (wildcards["model"], int(wildcards["seed"])) in self._released
            seconds = _COPYING if copied else self._seconds[wildcards["model"]]
        label = self._label(rule, wildcards)
        return PlannedJob(number, label, stage, seconds, after, stands, copied)

    def _stage(self, rule: str) -> str | None:
        if rule in ("all", "trainings", "study"):
            return None
        if rule.startswith("train"):
            # One of the tables is called `training_times`.
            return EXHIBITS if rule in self._exhibits else TRAININGS
        if rule in self._exhibits or rule in ("figure_of_model", "companion"):
            return EXHIBITS
        return DATA if rule.startswith(("fetch_", "show_")) else EVALUATIONS

    def _label(self, rule: str, wildcards: Mapping[str, str]) -> str:
        label = self._exhibits.get(rule, "" if rule.startswith("train") else rule.replace("_", " "))
        if model := wildcards.get("model"):
            title = "real images" if model == REAL else self._config.title(model)
            label = f"{label}, {title}" if label else title
        if "seed" in wildcards and self._config.several:
            label += f", seed {wildcards['seed']}"
        return label

    def _mean_seconds(self, rule: str) -> float | None:
        """Return how long a rule's jobs took in the mean, if any was done."""
        paths = [self._benchmarks / f"{rule}.tsv", *self._benchmarks.glob(f"{rule}/*.tsv")]
        found = []
        for path in paths:
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    found += [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
            except (OSError, KeyError, ValueError):
                continue
        return sum(found) / len(found) if found else None


def time_left(
    running: Mapping[int, float],
    waiting: Mapping[int, float],
    after: Mapping[int, Collection[int]],
    slots: int,
    limited: Collection[int] = (),
    limit: int | None = None,
) -> float:
    """Return the seconds until all jobs are done, each begun as soon as it can be, long ones first.

    Args:
        running: Seconds that each job still takes.
        waiting: Seconds that each job takes that has not begun.
        after: Jobs that each job waits for; those neither running nor waiting are done.
        slots: How many jobs run at once, at least 1.
        limited: Jobs of which only `limit` run at once, as there are no more GPUs.
        limit: How many that is.

    Example:
        >>> time_left({1: 10}, {2: 5, 3: 20}, {2: {1}, 3: set()}, slots=2)
        20.0
        >>> time_left({1: 10}, {2: 5, 3: 20}, {2: {1}, 3: set()}, slots=1)
        35.0
    """
    open_jobs = running.keys() | waiting.keys()
    blockers = {job: set(after.get(job, ())) & open_jobs for job in waiting}
    followers: dict[int, list[int]] = {}
    for job, others in blockers.items():
        for other in others:
            followers.setdefault(other, []).append(job)
    ready: dict[bool, list[tuple[float, int]]] = {True: [], False: []}

    def add(job: int) -> None:
        is_limited = limit is not None and job in limited
        heapq.heappush(ready[is_limited], (-waiting[job], job))

    for job, others in blockers.items():
        if not others:
            add(job)
    ends = [(float(left), job) for job, left in running.items()]
    heapq.heapify(ends)
    on_gpus, clock = sum(job in limited for job in running), 0.0
    while True:
        for is_limited, jobs in ready.items():
            while jobs and len(ends) < slots and not (is_limited and on_gpus >= (limit or 0)):
                seconds, job = heapq.heappop(jobs)
                heapq.heappush(ends, (clock - seconds, job))
                on_gpus += is_limited
        if not ends:
            return clock
        clock, done = heapq.heappop(ends)
        on_gpus -= limit is not None and done in limited
        for job in followers.get(done, ()):
            blockers[job].discard(done)
            if not blockers[job]:
                add(job)
