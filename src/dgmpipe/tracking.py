"""Runs in MLflow: a copy to look at of what stands under results/.

Everything here may fail without harm: a tracking server that cannot be reached costs one
warning and no result.
"""

import argparse
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
)
from mlflow.utils.time import get_current_time_millis

from dgmpipe.files import write_json
from dgmpipe.provenance import config_digest, git_state

__all__ = ["RunLogger", "datasets", "finish_invocation", "start_invocation", "tracking_uri"]

_DATABASE = Path("results/mlflow.db")
_ARTIFACTS = Path("results/mlartifacts")
_BATCH = 1000  # metrics that the server takes at once

# A server that does not answer is given up within seconds rather than MLflow's several minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or by default the SQLite database under results/."""
    # Jobs side by side wait for each other's writes to the database rather than fail.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_DATABASE}?timeout=60"


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Turn the first failure of a `RunLogger` into a warning and the rest into nothing."""

    @functools.wraps(method)
    def guarded(self: "RunLogger", *args: Any) -> None:
        if self.failed:
            return
        try:
            method(self, *args)
        except Exception as error:  # whatever the tracking store may raise
            self.failed = True
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(
                f"warning: MLflow at {tracking_uri()} failed ({first_line[:200]}); this run goes on"
                " without it, and its results are under results/",
                file=sys.stderr,
                flush=True,
            )

    return guarded


class RunLogger:
    """One run in MLflow for one training, under the parent run of the pipeline's invocation.

    As a context manager it opens the run and marks it FINISHED, FAILED or, after SIGTERM, KILLED.

    Args:
        tier: Tier of the config; runs are gathered in the experiment `dgmpipe-{tier}`.
        model: Name of the model.
        seed: Seed of the training.
        config: The model's block of the config, logged as parameters.
        data: Name of the dataset and its digest.
        key: Names config, seed and code of the training; a run of the same key that a kill left
            open is marked KILLED.
        invocation: File that `start_invocation` wrote.
    """

    def __init__(
        self,
        *,
        tier: str,
        model: str,
        seed: int,
        config: Mapping[str, Any],
        data: tuple[str, str],
        key: str,
        invocation: str | Path,
    ) -> None:
        self.failed = False
        self._experiment = experiment_name(tier)
        self._name = f"{model} seed {seed}"
        self._config = config
        self._data = data
        self._invocation = Path(invocation)
        self._tags = {
            "tier": tier,
            "model": model,
            "seed": str(seed),
            "config.digest": config_digest(config),
            "dgmpipe.key": key,
            MLFLOW_SOURCE_NAME: "dgmpipe",
            **git_state(),
        }

    @_harmless
    def _open(self) -> None:
        self._client = MlflowClient(tracking_uri())
        experiment = _experiment_id(self._client, self._experiment)
        tags = dict(self._tags)
        parent = _parent_run(self._invocation)
        if parent:
            tags[MLFLOW_PARENT_RUN_ID] = parent
        same = f"tags.`dgmpipe.key` = '{tags['dgmpipe.key']}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([experiment], same):
            self._client.set_terminated(run.info.run_id, "KILLED")
        run = self._client.create_run(experiment, run_name=self._name, tags=tags)
        self._run_id = run.info.run_id
        params = [Param(key, str(value)) for key, value in self._config.items()]
        self._client.log_batch(self._run_id, params=params)
        self._client.log_inputs(self._run_id, [_dataset_input(*self._data)])

    @_harmless
    def log_row(self, row: Mapping[str, float]) -> None:
        """Log a row of a training's history: every value as a metric at the row's step."""
        now, step = get_current_time_millis(), int(row["step"])
        metrics = [
            Metric(name, value, now, step)
            for name, value in row.items()
            if name != "step" and math.isfinite(value)
        ]
        self._client.log_batch(self._run_id, metrics=metrics[:_BATCH])

    @_harmless
    def log_files(self, paths: Iterable[str | Path]) -> None:
        """Copy files to the run's artifacts."""
        for path in paths:
            self._client.log_artifact(self._run_id, str(path))

    @_harmless
    def _close(self, status: str) -> None:
        self._client.set_terminated(self._run_id, status)

    def __enter__(self) -> "RunLogger":
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._close("FINISHED")
        else:
            self._close("KILLED" if kind.__name__ == "Interrupted" else "FAILED")


def experiment_name(tier: str) -> str:
    """Return the name of the experiment that gathers a tier's runs."""
    return f"dgmpipe-{tier}"


def datasets(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return name and digest of the images and of the moons that a config trains on."""
    images, moons = config["data"]["images"], config["data"]["moons"]
    return {
        "images": (images["name"], config_digest(images["md5"])),
        "moons": ("moons", config_digest(moons["noise"])),
    }


def start_invocation(tier: str, config: Mapping[str, Any], invocation: Path) -> None:
    """Make the database if there is none, open the parent run, and write its id to a file.

    One process does this before any job starts: several that open a fresh SQLite database at
    once get into each other's way.
    """
    invocation.unlink(missing_ok=True)
    client = MlflowClient(tracking_uri())
    experiment = _experiment_id(client, experiment_name(tier))
    tags = {"tier": tier, "config.digest": config_digest(config), **git_state()}
    tags[MLFLOW_RUN_NOTE] = f"One invocation of the pipeline on the tier `{tier}`."
    tags[MLFLOW_SOURCE_NAME] = "dgmpipe"
    run = client.create_run(experiment, run_name=f"pipeline {tier}", tags=tags)
    # Two runs that are the first to name a dataset at the same moment get into each other's way.
    inputs = [_dataset_input(*data) for data in datasets(config).values()]
    client.log_inputs(run.info.run_id, inputs)
    client.log_dict(run.info.run_id, config, "config.json")
    write_json({"run_id": run.info.run_id, "uri": tracking_uri()}, invocation)


def finish_invocation(status: str, files: Iterable[Path], invocation: Path) -> None:
    """Copy figures and tables to the parent run and close it as FINISHED or FAILED."""
    run_id = _parent_run(invocation)
    if run_id is None:
        return
    client = MlflowClient(tracking_uri())
    for path in sorted(files):
        client.log_artifact(run_id, str(path), path.parent.name)
    client.set_terminated(run_id, status)
    invocation.unlink()


def _dataset_input(name: str, digest: str) -> DatasetInput:
    dataset = Dataset(name, digest, source_type="local", source=name)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _experiment_id(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    local = tracking_uri().startswith("sqlite:")
    return client.create_experiment(
        name, artifact_location=(_ARTIFACTS / name).absolute().as_uri() if local else None
    )


def _parent_run(invocation: Path) -> str | None:
    """Return the parent's run id if there is one in the store that is in use now."""
    try:
        parent = json.loads(invocation.read_text())
    except (OSError, ValueError):
        return None
    return parent["run_id"] if parent["uri"] == tracking_uri() else None


def main() -> None:
    """Open or close the parent run; called by the workflow before its first and after its last job.

    A failure is one warning: no result depends on MLflow.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("event", choices=("start", "finished", "failed"))
    parser.add_argument("--results", type=Path, required=True, help="results/{tier}")
    arguments = parser.parse_args()
    invocation = arguments.results / "invocation.json"
    try:
        if arguments.event == "start":
            config = json.load(sys.stdin)
            start_invocation(config["tier"], config, invocation)
        else:
            files = [*arguments.results.glob("figures/*.png"), *arguments.results.glob("tables/*")]
            finish_invocation(arguments.event.upper(), files, invocation)
    except Exception as error:
        print(f"warning: MLflow at {tracking_uri()} failed: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
