"""Runs in MLflow: a copy to look at of what stands under results/.

Everything here may fail without harm: a tracking server that cannot be reached costs one
warning and no result. Each run is first written to a record under results/; `catch_up` adds to
MLflow whatever it lacks of the records and of the files that they name.
"""

import argparse
import contextlib
import csv
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from dgmpipe.config import Config, read_config
from dgmpipe.config.kinds import KINDS, Family
from dgmpipe.errors import Interrupted, UserError
from dgmpipe.jobs.progress import note_measures
from dgmpipe.jobs.provenance import git_state, machine
from dgmpipe.jobs.redaction import redacted
from dgmpipe.jobs.usage import Usage
from dgmpipe.plan.digests import config_digest
from dgmpipe.plan.summary import Number, main_numbers, pm
from dgmpipe.plan.trainings import data_digest, seeds_in_words, trainings
from dgmpipe.tracking.records import Record, now, process_name, start_heartbeat
from dgmpipe.tracking.view import colour

if TYPE_CHECKING:
    from dgmpipe.tracking.mlflow_copy import Copy

__all__ = [
    "CONTESTS",
    "RunLogger",
    "catch_up",
    "catch_up_all",
    "continue_invocation",
    "end_invocation",
    "finish_invocation",
    "start_invocation",
]


def _mlflow() -> ModuleType:
    """Return the module that imports MLflow, which takes seconds."""
    from dgmpipe.tracking import mlflow_copy

    return mlflow_copy


# What of an invocation's results its run in MLflow has, pages at the top.
_SHOWN = ("figures/*.png", "tables/*", "*.html")

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
    "diffusion": (
        "How near are its images to real ones? Look at `energy_distance` to held-out images;"
        " `held_out_loss` is the error of its velocity, which no model brings to 0."
    ),
    "judge": (
        "How well does it read digits, and reject what shows none? Look at `held_out_accuracy` and"
        " `made_up_rejected`."
    ),
}


class _Contest(NamedTuple):
    """Models that compete for a registered model.

    Attributes:
        name: Of the contest.
        measure: Name of the measure of the tables that they are ranked by.
        best: "lowest" or "highest".
        metric: What ranks them while no table has any, after the last step, the lower the better.
        meaning: What the measure is, in words.
        usual: Settings that a training has to have, as with others it has another measure.
    """

    name: str
    measure: str
    best: str
    metric: str
    meaning: str
    usual: Mapping[str, str] = MappingProxyType({})

    def compete(self, record: Record) -> bool:
        """Return whether a training competes: no point of a sweep does, nor by another measure."""
        has_usual = (record.params.get(key, value) == value for key, value in self.usual.items())
        return "@" not in record.tags["model"] and all(has_usual)


CONTESTS = (
    _Contest(
        "flow",
        "nll",
        "lowest",
        "held_out_nll",
        "negative log-likelihood, eq. (8), in nats",
        {"data": "moons"},
    ),
    _Contest(
        "vae",
        "log_evidence",
        "highest",
        "held_out_negative_elbo",
        "log p(x) of test images, nats",
        {"likelihood": "bernoulli"},
    ),
    _Contest(
        "gan", "energy_distance", "lowest", "energy_distance", "energy distance to test images"
    ),
)


def _warn(error: BaseException, outer: BaseException | None = None) -> None:
    advice = "the work goes on without it, and `make track` logs later what is missing"
    print(f"warning: {_mlflow().failure(error, outer)}; {advice}", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(redacted(line), file=sys.stderr, flush=True)


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
        at_once: Whether MLflow follows the training; else it gets all of it from `catch_up`.
        origin: Tags of a training that is taken from elsewhere, such as its commit and its machine.

    Attributes:
        failed: Whether MLflow has failed, is not to follow, or someone has deleted the run there;
            then only the record goes on.
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
        at_once: bool = True,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        self.failed, self._at_once = False, at_once
        self._copy: Copy | None = None
        self._usage = Usage(device)
        self._invocation = Path(invocation)
        self._path = self._invocation.parent / "runs" / f"{model}_seed_{seed}.json"
        settings, kind = config.models[model], config.kind(model)
        about = (kind.settings.__doc__ or "").splitlines()[0]
        self._record = Record(
            name=f"{model} {seed}",
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
                "mlflow.runColor": colour(config.of_family(kind.family), model),
                "dgmpipe.key": key,
                "config.digest": config_digest(settings.model_dump()),
                **git_state(),
                **(origin or {}),
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
        warned = bool(parent and parent.warned and parent.status == "RUNNING")
        self.failed = warned or not self._at_once
        if before and before.may_be_continued_by(record):
            record.id, record.started, record.samples = before.id, before.started, before.samples
            devices = [*before.tags["device"].split(", "), self.device]
            record.tags["device"] = ", ".join(dict.fromkeys(devices))
        self._write()
        self._ended = start_heartbeat(self._path)
        self._tell(lambda copy: None)
        return self

    @property
    def device(self) -> str:
        """Where the training takes place; of one that was continued elsewhere all, in turn."""
        return self._record.tags["device"]

    def _tell(self, action: Callable[["Copy"], None]) -> None:
        """Do something to the run in MLflow; the first failure is a warning, then nothing is done.

        A run that someone deleted there stays deleted.
        """
        if self.failed:
            return
        outer = sys.exception()
        try:
            self._copy = self._copy or _mlflow().Copy(self._record)
            self.failed = self._copy.deleted
            if not self.failed:
                action(self._copy)
        except Exception as error:  # whatever the tracking store may raise
            self.failed = True
            _warn(error, outer)

    def log_row(self, row: Mapping[str, float]) -> None:
        """Log a row of a training's history: every value as a metric at the row's step.

        Beside it goes what the training uses of its machine. Values that the run has from before
        an interruption are not logged again.
        """
        note_measures(row)
        with contextlib.suppress(OSError, psutil.Error):
            self._sample(int(row["step"]))
        self._tell(lambda copy: copy.add_rows([row], now()))

    def _sample(self, step: int) -> None:
        samples = self._record.samples
        if all(sample["step"] != step for sample in samples):
            samples.append({"step": step, "time": now(), **self._usage.sample()})
            self._record.write(self._path)

    def log_files(self, paths: Iterable[str | Path]) -> None:
        """Copy a training's results to the run's artifacts."""
        self._record.files = {"": [str(path) for path in paths]}
        self._tell(lambda copy: copy.add_files())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._record.end("FINISHED")
        elif issubclass(kind, (Interrupted, KeyboardInterrupt)):
            self._record.end("KILLED")
        else:
            self._record.end("FAILED")
        self._ended.set()
        self._write()
        self._tell(lambda copy: copy.close())

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
    record = _invocation(tier, config, pid)
    record.write(invocation)
    _follow_folder()
    _mlflow().Copy(record).add_files()
    if before:
        _complete(before)
    _close_abandoned(tier, invocation.parent)


def continue_invocation(tier: str, config: Mapping[str, Any], invocation: Path) -> bool:
    """Take up the record of the last invocation, for one that only draws figures anew.

    MLflow is not told: the run of the last invocation gets the new figures from `catch_up`, or when
    the next invocation starts.

    Args:
        tier: Tier of the config.
        config: The whole config.
        invocation: The file of the record.

    Returns:
        Whether there is a record that has ended, of the same config; else nothing is written.
    """
    before, record = Record.read(invocation), _invocation(tier, config)
    if before is None or before.status not in ("FINISHED", "FAILED"):
        return False
    if before.tags.get("config.digest") != record.tags["config.digest"]:
        return False
    record.id, record.started = before.id, before.started
    record.write(invocation)
    return True


def _invocation(tier: str, config: Mapping[str, Any], pid: int | None = None) -> Record:
    read = read_config(config)
    return Record(
        name=tier,
        note=(
            f"One invocation of the pipeline on the tier `{tier}`: how well do the models make"
            " the paper's figures again? Its metrics are the main numbers of the tables, with their"
            " standard errors; figures, tables and pages are its artifacts, the trainings the runs"
            " below it. docs/mlflow.md has the link that shows the four GANs in one chart."
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
        params={
            "seeds": seeds_in_words(read),
            "trainings": len(trainings(read)),
            "images": read.data.images.name,
            "moons_noise": read.data.moons.noise,
            "device": read.device,
        },
        datasets=sorted(
            {(_data_name(read, model), data_digest(read, model)) for model in read.models}
        ),
    )


def end_invocation(status: str, invocation: Path) -> Record | None:
    """Note that an invocation has ended and what its figures, tables and pages are.

    Args:
        status: FINISHED or FAILED.
        invocation: File that `start_invocation` wrote.

    Returns:
        Its record, unless there is none or it had ended before.
    """
    record, results = Record.read(invocation), invocation.parent
    if record is None or record.status != "RUNNING":
        return None
    for path in sorted(chain.from_iterable(results.glob(shown) for shown in _SHOWN)):
        folder = "" if path.parent == results else path.parent.name
        record.files.setdefault(folder, []).append(str(path))
    record.end(status)
    record.write(invocation)
    return record


def finish_invocation(status: str, invocation: Path) -> None:
    """Note that an invocation has ended, and copy to MLflow what it lacks of its results.

    Args:
        status: FINISHED or FAILED; trainings that are open even now were killed.
        invocation: File that `start_invocation` wrote.
    """
    if record := end_invocation(status, invocation):
        catch_up(invocation.parent, ended=record.id)


def _follow_folder() -> None:
    if changed := _mlflow().follow_folder():
        _say(f"MLflow's database follows its folder here ({changed} places of files)")


def _records(results: Path) -> list[Record]:
    # A name that begins with a dot is of a file that a kill left half-written.
    paths = [results / "invocation.json", *sorted(results.glob("runs/[!.]*.json"))]
    return [record for path in paths if (record := Record.read(path))]


def _close_abandoned(tier: str, results: Path, ended: str | None = None) -> None:
    """Mark KILLED in MLflow what does not run any more, as the trainings of what has ended."""

    def living() -> set[str]:
        running = [record for record in _records(results) if record.status == "RUNNING"]
        return {record.id for record in running if ended is None or record.parent != ended}

    _mlflow().close_abandoned(tier, living)


def catch_up(results: Path, *, ended: str | None = None) -> int:
    """Copy to MLflow what it lacks of a tier's last invocation and of its trainings.

    Whole runs, metrics, files, generators, how a run ended; what is there stays as it is, so that
    a second call changes nothing. The best generator of each kind becomes a version of a registered
    model. What runs is left to its process; what a kill left open is marked KILLED.

    Args:
        results: Folder `results/{tier}`.
        ended: `id` of an invocation that has ended, and with it its trainings on any machine.

    Returns:
        Number of the runs that are complete in MLflow now.
    """
    _follow_folder()
    records, numbers = _records(results), main_numbers(results)
    measures = {record.id: _measures(record, results, numbers) for record in records}
    completed = [
        (record, copy) for record in records if (copy := _complete(record, measures[record.id]))
    ]
    for contest in CONTESTS:
        _register_best(contest, completed, measures)
    for tier in {record.tier for record in records}:
        _close_abandoned(tier, results, ended)
    return len(completed)


def _measures(record: Record, results: Path, numbers: Iterable[Number]) -> dict[str, float]:
    """Return what the tables have of a run, with standard errors, by the names of metrics.

    Of a training they are those of its model and seed, if the table is not older than the training;
    of an invocation the means over the seeds of every model but the points of sweeps.
    """
    if "model" not in record.tags:
        found: dict[str, list[tuple[float, float]]] = {}
        for n in numbers:
            if "@" not in n.model:
                found.setdefault(f"{n.measure.name}/{n.model}", []).append((n.value, n.error))
        return {
            name: value for key, pairs in found.items() for name, value in _mean(key, pairs).items()
        }
    summary = record.file("summary.json")
    measured: dict[str, float] = {}
    for n in numbers:
        table = results / f"tables/{n.measure.table}.csv"
        if (n.model, str(n.seed)) != (record.tags["model"], record.tags["seed"]) or summary is None:
            continue
        if table.stat().st_mtime >= summary.stat().st_mtime:
            measured[f"final/{n.measure.name}"] = n.value
            measured[f"final/{n.measure.name}_error"] = n.error
    return measured


def _mean(key: str, pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Return the mean over seeds and its error: of one seed its own, of several the deviation."""
    values = [value for value, _ in pairs]
    error = statistics.stdev(values) if len(values) > 1 else pairs[0][1]
    measure, model = key.split("/")
    return {key: statistics.fmean(values), f"{measure}_error/{model}": error}


def _complete(record: Record, measures: Mapping[str, float] | None = None) -> "Copy | None":
    """Copy a run that has ended and return the copy, unless someone deleted it."""
    if record.ended is None:
        return None
    copy: Copy = _mlflow().Copy(record)
    if copy.deleted:
        return None
    copy.add_rows(_history(record), record.ended)
    copy.set_measures(measures or {}, int(record.params.get("steps", 0)), record.ended)
    copy.close()
    copy.add_files()
    if record.status == "FINISHED" and not copy.has_model:
        _add_model(record, copy)
    return copy


def _add_model(record: Record, copy: "Copy") -> None:
    """Log the generator of a training; one that torch cannot export costs a warning."""
    summary = record.file("summary.json")
    # A judge generates nothing, and the code of a kind may have been removed.
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


def _register_best(
    contest: _Contest,
    completed: Iterable[tuple[Record, "Copy"]],
    measures: Mapping[str, Mapping[str, float]],
) -> None:
    """Register the generator of the best training, by the tables or, before them, histories."""
    of_family = [
        (record, copy)
        for record, copy in completed
        if copy.has_model and record.tags["family"] == contest.name and contest.compete(record)
    ]
    measure = f"final/{contest.measure}"
    measured = [
        (value, record, copy)
        for record, copy in of_family
        if math.isfinite(value := measures[record.id].get(measure, math.nan))
    ]
    trained = measured or [
        (value, record, copy)
        for record, copy in of_family
        if math.isfinite(value := _final(record, contest.metric))
    ]
    if not trained:
        return
    highest = measured and contest.best == "highest"
    value, best, copy = (max if highest else min)(trained, key=lambda entry: entry[0])
    if measured:
        number = pm(value, measures[best.id].get(f"{measure}_error", math.nan))
        reason = f"`{measure}` {number}, the {contest.best} of {len(trained)} trainings."
    else:
        reason = (
            f"`{contest.metric}` {value:.6g} after the last step, the lowest of"
            f" {len(trained)} trainings."
        )
    copy.register(
        f"dgmpipe-{best.tier}-{contest.name}",
        f"The generator z -> x with the {contest.best} {contest.meaning} (`{measure}`), of the"
        f" trainings on the tier `{best.tier}`; it has the alias `best`.",
        f"{best.name}: {reason}",
    )


def _final(record: Record, metric: str) -> float:
    """Return a metric after the last step of a training, or NaN if it has none."""
    rows = _history(record)
    return rows[-1].get(metric, math.nan) if rows else math.nan


def _history(record: Record) -> list[dict[str, float]]:
    path = record.file("history.csv")
    if path is None:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def main() -> None:
    """Tell MLflow of the workflow's invocations.

    The workflow calls `start` before its first job and `finished` or `failed` after its last; a
    failure is one warning, for no result depends on MLflow.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("event", choices=("start", "finished", "failed"))
    parser.add_argument("--results", type=Path, required=True, help="results/{tier}")
    parser.add_argument("--pid", type=int, default=os.getppid(), help="the workflow's process")
    arguments = parser.parse_args()
    invocation = arguments.results / "invocation.json"
    try:
        if arguments.event == "start":
            config = json.load(sys.stdin)
            start_invocation(config["tier"], config, invocation, pid=arguments.pid)
        else:
            finish_invocation(arguments.event.upper(), invocation)
    except Exception as error:
        record = Record.read(invocation)
        if record is None or not record.warned:
            _warn(error)
        if record:
            record.warned = True
            with contextlib.suppress(OSError):
                record.write(invocation)


def catch_up_all(folders: Iterable[Path]) -> None:
    """Catch up with folders `results/{tier}`, and print of each what MLflow has of it.

    Raises:
        UserError: If MLflow fails.
    """
    total = 0
    try:
        for folder in folders:
            if completed := catch_up(folder):
                print(f"{folder}: MLflow has all of {completed} runs")
            total += completed
    except Exception as error:
        raise UserError(_mlflow().failure(error)) from error
    if not total:
        print("there is no record of a run that has ended; there is nothing to log")


if __name__ == "__main__":
    main()
