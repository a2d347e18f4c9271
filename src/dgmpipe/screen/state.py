"""What stands, runs and has failed of an invocation, by the events that Snakemake logs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgmpipe.jobs.progress import progress_path, read_progress
from dgmpipe.plan.schedule import STAGES, TRAININGS, Plan, PlannedJob, time_left

__all__ = ["Failure", "Running", "State"]

# Seconds from one estimate of the time left to the next.
_ESTIMATE_EVERY = 5.0
# The share of its expected time that a job without a progress of its own seems to be at, at most.
_NEARLY = 0.95


@dataclass
class Running:
    """A job that runs, or waits in a cluster's queue.

    Attributes:
        label: What it is called.
        stage: Its stage.
        begun: When, by a clock that does not jump.
        log: Its log, if it has one.
        progress: What `read_progress` returned last.
    """

    label: str
    stage: str
    begun: float
    log: Path | None = None
    progress: dict[str, Any] | None = None

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1, if it says so."""
        return self.progress["step"] / max(self.progress["total"], 1) if self.progress else None


@dataclass(frozen=True)
class Failure:
    """A job that failed: what it is called and its logs."""

    label: str
    logs: tuple[str, ...]


@dataclass
class _Spent:
    """Seconds that jobs took and those that were expected of them."""

    taken: float = 0.0
    expected: float = 0.0


@dataclass
class State:
    """The jobs of an invocation.

    Attributes:
        plan: What there is to do; without one, jobs are known when they begin.
        running: The jobs that run, by number.
        failures: What has failed and was not begun again, by number.
        doing: What is done before the first job or after the last.
        total: How many jobs there are to do.
    """

    plan: Plan = field(default_factory=lambda: Plan(""))
    running: dict[int, Running] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    doing: str = ""
    total: int = 0
    _done: set[int] = field(default_factory=set)
    _begun: float = field(default_factory=lambda: time.monotonic())  # looked up at each call
    _spent: dict[str, _Spent] = field(default_factory=dict)
    _left: tuple[float, float | None] = (-_ESTIMATE_EVERY, None)

    def begin(self, number: int, rule: str, wildcards: dict[str, str], logs: Sequence[str]) -> None:
        """Note that a job has begun, perhaps anew after it failed."""
        self.failures.pop(number, None)
        if self._is_no_work(number):
            return
        named = " ".join([rule.replace("_", " "), *wildcards.values()])
        job = self.plan.jobs.get(number) or PlannedJob(number, named, "", 0.0)
        log = Path(logs[0]) if logs else None
        self.running[number] = Running(job.label, job.stage, time.monotonic(), log)

    def finish(self, number: int) -> None:
        """Note that a job is done."""
        if self._is_no_work(number):
            return
        self._done.add(number)
        ended, job = self.running.pop(number, None), self.plan.jobs.get(number)
        if ended and job:
            spent = self._spent.setdefault(job.stage, _Spent())
            spent.taken += time.monotonic() - ended.begun
            spent.expected += job.seconds

    def fail(self, number: int, rule: str, logs: Sequence[str]) -> Failure:
        """Note that a job has failed."""
        ended = self.running.pop(number, None)
        job = self.plan.jobs.get(number)
        stage = {TRAININGS: "training of "}.get(job.stage, "") if job else ""
        label = stage + (ended.label if ended else job.label if job else rule)
        self.failures[number] = Failure(label, tuple(logs))
        return self.failures[number]

    def _is_no_work(self, number: int) -> bool:
        """Return whether it is the job of a rule that only names files."""
        return bool(self.plan.jobs) and number not in self.plan.jobs

    def look(self) -> None:
        """Read how far the running jobs are."""
        for job in self.running.values():
            if job.log is not None:
                job.progress = read_progress(progress_path(job.log)) or job.progress

    @property
    def elapsed(self) -> float:
        """Seconds since the invocation began."""
        return time.monotonic() - self._begun

    def finished(self) -> int:
        """Return how many jobs are done of those that there were to do."""
        return len(self._done)

    def to_do(self) -> int:
        """Return how many jobs there were to do."""
        planned = sum(not job.stands for job in self.plan.jobs.values())
        return planned or max(self.total, len(self._done) + len(self.running))

    def stages(self) -> list[tuple[str, float, int, int]]:
        """Return of each stage its name, the share done, the jobs that stand and all its jobs.

        The share counts what running jobs have done.
        """
        found = []
        for stage in STAGES:
            jobs = [job for job in self.plan.jobs.values() if job.stage == stage]
            if not jobs:
                continue
            stand = sum(job.stands or job.number in self._done for job in jobs)
            parts = sum(
                self.running[job.number].share or 0.0 for job in jobs if job.number in self.running
            )
            found.append((stage, (stand + parts) / len(jobs), stand, len(jobs)))
        return found

    def share(self) -> float:
        """Return how much of the time that all jobs to do take has passed, from 0 to 1."""
        jobs = [job for job in self.plan.jobs.values() if not job.stands]
        total = sum(job.seconds for job in jobs)
        if not total:
            return self.finished() / max(self.to_do(), 1)
        done = sum(job.seconds * self._done_of(job) for job in jobs)
        return done / total

    def _done_of(self, job: PlannedJob) -> float:
        if job.number in self._done:
            return 1.0
        running = self.running.get(job.number)
        if running is None:
            return 0.0
        if running.share is not None:
            return running.share
        expected = job.seconds * self._pace(job.stage)
        return min((time.monotonic() - running.begun) / max(expected, 1e-9), _NEARLY)

    def _pace(self, stage: str) -> float:
        """Return the seconds that a processor second of a stage takes here, 1 until one is done."""
        spent = dict(self._spent)
        now = time.monotonic()
        for number, job in self.running.items():
            planned = self.plan.jobs.get(number)
            if planned and job.share:
                before = spent.get(job.stage, _Spent())
                spent[job.stage] = _Spent(
                    before.taken + now - job.begun, before.expected + planned.seconds * job.share
                )
        own, every = spent.get(stage, _Spent()), list(spent.values())
        if own.expected:
            return own.taken / own.expected
        expected = sum(other.expected for other in every)
        return sum(other.taken for other in every) / expected if expected else 1.0

    def left(self) -> float | None:
        """Return about how many seconds are left, if there is a plan."""
        now = time.monotonic()
        when, left = self._left
        if now - when < _ESTIMATE_EVERY:
            return left and max(left - (now - when), 0.0)
        jobs = {n: job for n, job in self.plan.jobs.items() if not job.stands}
        jobs = {n: j for n, j in jobs.items() if n not in self._done and n not in self.failures}
        pace = {stage: self._pace(stage) for stage in STAGES}
        expected = {n: job.seconds * pace[job.stage] for n, job in jobs.items()}
        running = {}
        for number, job in self.running.items():
            if job.progress:
                running[number] = job.progress["seconds_left"]
            elif number in expected:
                passed = now - job.begun
                running[number] = max(expected[number] - passed, (1 - _NEARLY) * passed)
        left = None
        if self.plan.jobs:
            left = time_left(
                running,
                {n: seconds for n, seconds in expected.items() if n not in self.running},
                {n: job.after for n, job in jobs.items()},
                max(self.plan.cores, len(running), 1),
                {n for n, job in jobs.items() if job.stage == TRAININGS},
                self.plan.gpus,
            )
        self._left = now, left
        return left
