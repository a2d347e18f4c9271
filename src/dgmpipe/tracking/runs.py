"""Runs in MLflow: a copy to look at of what stands under results/.

Everything here may fail without harm: a tracking server that cannot be reached costs one
warning and no result. Each run is first written to a record under results/; `catch_up` adds to
MLflow whatever it lacks of the records and of the files that they name.
"""

import argparse
import contextlib
import csv
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from dgmpipe.config import Config, read_config
from dgmpipe.config.kinds import KINDS, Family
from dgmpipe.errors import Interrupted
from dgmpipe.jobs.provenance import git_state, machine
from dgmpipe.jobs.redaction import redacted
from dgmpipe.jobs.usage import Usage
from dgmpipe.plan.digests import config_digest
from dgmpipe.plan.trainings import data_digest
from dgmpipe.tracking.mlflow_copy import Copy, close_abandoned, failure, follow_folder
from dgmpipe.tracking.records import Record, now, process_name, start_heartbeat

__all__ = ["RunLogger", "catch_up", "finish_invocation", "start_invocation"]


# What a run of a family answers, and where to look.
_QUESTIONS: dict[Family, str] = {
    "flow": (
        "How near does it come to the data? `held_out_nll`, eq. (8), in nats, cannot come below"
        " the entropy of the data, and falls to it."
    ),
    "vae": (
        "How well does it explain images that it has not seen? `held_out_negative_elbo`, eq. (22),"
        " is an upper bound of -log p(x); with the likelihood of eq. (4) that is one of a"
        " pseudo-likelihood."
    ),
    "gan": (
        "How near are its images to real ones? Look at `energy_distance` to held-out images,"
        " beside that of the other GANs."
    ),
    "judge": (
        "How well does it read digits, and reject what shows none? Look at `held_out_accuracy` and"
        " `made_up_rejected`."
    ),
}


class _Contest(NamedTuple):
    """Models that compete for a registered model: by a metric that all of them log, the lower."""

    name: str
    metric: str
    meaning: str


_CONTESTS = (
    _Contest("flow", "held_out_nll", "negative log-likelihood of held-out moons, eq. (8), in nats"),
    _Contest("vae", "held_out_negative_elbo", "bound of -log p(x) of test images, eq. (22)"),
    _Contest("gan", "energy_distance", "energy distance to test images"),
)


def _warn(error: BaseException, outer: BaseException | None = None) -> None:
    advice = "the work goes on without it, and `make track` logs later what is missing"
    print(f"warning: {failure(error, outer)}; {advice}", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(redacted(line), file=sys.stderr, flush=True)


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Turn the first failure of a `RunLogger` into a warning and the rest into nothing."""

    @functools.wraps(method)
    def guarded(self: "RunLogger", *args: Any) -> None:
        if self.failed:
            return
        outer = sys.exception()
        try:
            method(self, *args)
        except Exception as error:  # whatever the tracking store may raise
            self.failed = True
            _warn(error, outer)

    return guarded


class RunLogger:
    """One run in MLflow for one training, under the parent run of the pipeline's invocation.

    As a context manager it opens the run and marks it FINISHED, FAILED or, when the block was
    interrupted, KILLED. A training that is continued continues its run.

    Args:
        config: The config; runs are gathered in the experiment `dgmpipe-{tier}`.
        model: Name of the model, whose settings are logged as parameters.
        seed: Seed of the training.
        data: Digest of the data that it is trained on.
        key: Names config, data, seed and code of the training, and so what may continue it.
        device: Where it takes place.
        invocation: File that `start_invocation` wrote; the record of the training goes into the
            folder `runs` beside it.

    Attributes:
        failed: Whether MLflow has failed, or someone has deleted the run there; then only the
            record goes on.
    """

    def __init__(
        self,
        config: Config,
        model: str,
        *,
        seed: int,
        data: str,
        key: str,
        device: str,
        invocation: str | Path,
    ) -> None:
        self.failed = False
        self._usage = Usage(device)
        self._invocation = Path(invocation)
        self._path = self._invocation.parent / "runs" / f"{model}_seed_{seed}.json"
        settings, kind = config.models[model], config.kind(model)
        about = (kind.settings.__doc__ or "").splitlines()[0]
        self._record = Record(
            name=f"{model} seed {seed}",
            note=f"Training of `{model}` with seed {seed} on the tier `{config.tier}`. {about} "
            + _QUESTIONS[kind.family],
            tier=config.tier,
            tags={
                "model": model,
                "kind": settings.kind,
                "family": kind.family,
                "seed": str(seed),
                "device": self._usage.device_name(),
                "machine": machine(),
                "dgmpipe.key": key,
                "config.digest": config_digest(settings.model_dump()),
                **git_state(),
            },
            process=process_name(),
            params=settings.model_dump(),
            datasets=[(_data_name(config, model), data)],
        )

    def __enter__(self) -> "RunLogger":
        record, before = self._record, Record.read(self._path)
        parent = Record.read(self._invocation)
        record.parent = parent.id if parent else None
        # Whoever started the workflow knows that MLflow fails; its end tries once more.
        self.failed = bool(parent and parent.warned and parent.status == "RUNNING")
        if before and before.may_be_continued_by(record):
            record.id, record.started, record.samples = before.id, before.started, before.samples
        self._write()
        self._ended = start_heartbeat(self._path)
        self._open()
        return self

    @_harmless
    def _open(self) -> None:
        self._copy = Copy(self._record)
        self.failed = self._copy.deleted  # and stays deleted

    def log_row(self, row: Mapping[str, float]) -> None:
        """Log a row of a training's history: every value as a metric at the row's step.

        Beside it goes what the training uses of its machine. Values that the run has from before
        an interruption are not logged again.
        """
        with contextlib.suppress(OSError, psutil.Error):
            self._sample(int(row["step"]))
        self._log_row(row)

    def _sample(self, step: int) -> None:
        samples = self._record.samples
        if all(sample["step"] != step for sample in samples):
            samples.append({"step": step, "time": now(), **self._usage.sample()})
            self._record.write(self._path)

    @_harmless
    def _log_row(self, row: Mapping[str, float]) -> None:
        self._copy.add_rows([row], now())

    def log_files(self, paths: Iterable[str | Path]) -> None:
        """Copy a training's results to the run's artifacts."""
        self._record.files = {"": [str(path) for path in paths]}
        self._copy_files()

    @_harmless
    def _copy_files(self) -> None:
        self._copy.add_files()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._record.end("FINISHED")
        elif issubclass(kind, (Interrupted, KeyboardInterrupt)):
            self._record.end("KILLED")
        else:
            self._record.end("FAILED")
        self._ended.set()
        self._write()
        self._close()

    @_harmless
    def _close(self) -> None:
        self._copy.close()

    def _write(self) -> None:
        """Keep the record, whether MLflow has failed or not."""
        try:
            self._record.write(self._path)
        except OSError as error:
            _say(f"warning: there is no record of this run for MLflow: {error}")


def _data_name(config: Config, model: str) -> str:
    """Return what a model is trained on, in a word."""
    if config.kind(model).data != "points":
        return config.data.images.name
    return str(config.setting(model, "data"))


def start_invocation(
    tier: str, config: Mapping[str, Any], invocation: Path, *, pid: int | None = None
) -> None:
    """Write the record of an invocation to a file, and open its run, the parent of its trainings.

    Runs that processes of this folder left open are marked KILLED. If the folder was moved or
    copied, MLflow's database follows.

    Args:
        tier: Tier of the config.
        config: The whole config, kept as an artifact.
        invocation: The file to write.
        pid: The workflow's process; this one by default.
    """
    before = Record.read(invocation)
    record = Record(
        name=f"pipeline {tier}",
        note=(
            f"One invocation of the pipeline on the tier `{tier}`: how well do the models make"
            " the paper's figures again? Figures, tables and the companion, a page in which one"
            " plays with the models, are its artifacts, the trainings the runs below it. To compare"
            " the four GANs, select their runs and look at the chart of `energy_distance`."
        ),
        tier=tier,
        tags={
            "dgmpipe.key": "pipeline",
            "config.digest": config_digest(config),
            "machine": machine(),
            **git_state(),
        },
        process=process_name(pid),
        config=dict(config),
        datasets=sorted(set(_datasets(config))),
    )
    record.write(invocation)
    _follow_folder()
    Copy(record).add_files()
    if before:
        _complete(before)
    close_abandoned(tier, lambda: _living(invocation.parent))


def _datasets(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the data of all trainings of a config."""
    read = read_config(config)
    for model in read.models:
        yield _data_name(read, model), data_digest(read, model)


def finish_invocation(status: str, files: Iterable[Path], invocation: Path) -> None:
    """Note that an invocation has ended, and copy to MLflow what it lacks of its results.

    Args:
        status: FINISHED or FAILED; trainings that are open even now were killed.
        files: Its figures, tables and pages, each for a folder of artifacts with the name of its
            own; what lies beside `invocation` is for none.
        invocation: File that `start_invocation` wrote.
    """
    record = Record.read(invocation)
    if record is None or record.status != "RUNNING":
        return
    for path in sorted(files):
        folder = "" if path.parent == invocation.parent else path.parent.name
        record.files.setdefault(folder, []).append(str(path))
    record.end(status)
    record.write(invocation)
    catch_up(invocation.parent)
    # Its trainings ended with it, on whatever machine.
    close_abandoned(record.tier, lambda: _living(invocation.parent, but_of=record.id))


def _follow_folder() -> None:
    if changed := follow_folder():
        _say(f"MLflow's database follows its folder here ({changed} places of files)")


def _records(results: Path) -> list[Record]:
    # A name that begins with a dot is of a file that a kill left half-written.
    paths = [results / "invocation.json", *sorted(results.glob("runs/[!.]*.json"))]
    return [record for path in paths if (record := Record.read(path))]


def _living(results: Path, but_of: str | None = None) -> set[str]:
    """Return the `id` of what still runs, but for the trainings of an invocation."""
    return {
        record.id
        for record in _records(results)
        if record.status == "RUNNING" and (but_of is None or record.parent != but_of)
    }


def catch_up(results: Path) -> int:
    """Copy to MLflow what it lacks of a tier's last invocation and of its trainings.

    Whole runs, metrics, files, generators, how a run ended; what is there stays as it is, so that
    a second call changes nothing. The best generator of each kind becomes a version of a registered
    model. What runs is left to its process; what a kill left open is marked KILLED.

    Args:
        results: Folder `results/{tier}`.

    Returns:
        Number of the runs that are complete in MLflow now.
    """
    _follow_folder()
    records = _records(results)
    completed = [(record, copy) for record in records if (copy := _complete(record))]
    for contest in _CONTESTS:
        _register_best(contest, completed)
    for tier in {record.tier for record in records}:
        close_abandoned(tier, lambda: _living(results))
    return len(completed)


def _complete(record: Record) -> Copy | None:
    """Copy a run that has ended and return the copy, unless someone deleted it."""
    if record.ended is None:
        return None
    copy = Copy(record)
    if copy.deleted:
        return None
    if history := record.file("history.csv"):
        copy.add_rows(_history(history), record.ended)
    copy.close()
    copy.add_files()
    if record.status == "FINISHED" and not copy.has_model:
        _add_model(record, copy)
    return copy


def _add_model(record: Record, copy: Copy) -> None:
    """Log the generator of a training; one that torch cannot export costs a warning."""
    summary = record.file("summary.json")
    # A judge makes nothing, and of a kind that there is no more there is no code.
    if summary is None or record.tags.get("kind") not in KINDS or record.tags["family"] == "judge":
        return
    from dgmpipe.models.export import export_generator

    try:
        exported = export_generator(summary.parent)
    except Exception as error:  # whatever a model of one's own may do that torch cannot follow
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _say(f"warning: MLflow gets no model of {record.name}: {reason}")
        return
    if exported:
        copy.add_model(*exported)


def _register_best(contest: _Contest, completed: Iterable[tuple[Record, Copy]]) -> None:
    """Register the generator of the training that ended with the lowest value."""
    trained = [
        (value, record, copy)
        for record, copy in completed
        if copy.has_model and math.isfinite(value := _final(record, contest.metric))
    ]
    if not trained:
        return
    value, best, copy = min(trained, key=lambda entry: entry[0])
    copy.register(
        f"dgmpipe-{best.tier}-{contest.name}",
        f"The generator z -> x with the lowest {contest.meaning} (`{contest.metric}`), of the"
        f" trainings on the tier `{best.tier}`; it has the alias `best`.",
        f"{best.name}: `{contest.metric}` {value:.6g} after the last step, the lowest of"
        f" {len(trained)} trainings.",
    )


def _final(record: Record, metric: str) -> float:
    """Return a metric after the last step of a training, or NaN if it has none."""
    history = record.file("history.csv")
    rows = list(_history(history)) if history else []
    return rows[-1].get(metric, math.nan) if rows else math.nan


def _history(path: Path) -> Iterator[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if value}


def main() -> int:
    """Tell MLflow of the workflow's invocations, or later of what it missed.

    The workflow calls `start` before its first job and `finished` or `failed` after its last;
    there a failure is one warning, for no result depends on MLflow. `make track` calls `catch-up`.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("event", choices=("start", "finished", "failed", "catch-up"))
    parser.add_argument("--results", type=Path, help="results/{tier}; for catch-up all if left out")
    arguments = parser.parse_args()
    event, results = arguments.event, arguments.results
    if event == "catch-up":
        return _catch_up_all([results] if results else sorted(Path("results").glob("*/")))
    if results is None:
        parser.error(f"{event} needs --results")
    _tell(event, results)
    return 0


def _tell(event: str, results: Path) -> None:
    """Tell MLflow of the start or end of an invocation; if it cannot be told, say so once."""
    invocation = results / "invocation.json"
    try:
        if event == "start":
            config = json.load(sys.stdin)
            start_invocation(config["tier"], config, invocation, pid=os.getppid())
        else:
            files = [
                *results.glob("figures/*.png"),
                *results.glob("tables/*"),
                *results.glob("companion.html"),
            ]
            finish_invocation(event.upper(), files, invocation)
    except Exception as error:
        record = Record.read(invocation)
        if record is None or not record.warned:
            _warn(error)
        if record:
            record.warned = True
            with contextlib.suppress(OSError):
                record.write(invocation)


def _catch_up_all(folders: Iterable[Path]) -> int:
    """Catch up with folders `results/{tier}` and return the command's exit status."""
    total = 0
    try:
        for folder in folders:
            if completed := catch_up(folder):
                print(f"{folder}: MLflow has all of {completed} runs")
            total += completed
    except Exception as error:
        print(f"error: {failure(error)}", file=sys.stderr)
        return 1
    if not total:
        print("results/ has no record of a run that has ended; there is nothing to log")
    return 0


if __name__ == "__main__":
    sys.exit(main())
