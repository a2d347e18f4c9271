"""Released trainings: finished ones that ship with the project, so that nobody repeats them."""

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.errors import UserError
from dgmpipe.files import replacing, write_json
from dgmpipe.models.trained import RELEASED
from dgmpipe.plan.trainings import (
    data_digest,
    effective_settings,
    training_code,
    training_key,
    trainings,
)

__all__ = [
    "FILES",
    "find_released",
    "provenance_of",
    "release",
    "require_released",
    "take_released",
    "why_not_released",
]

ABOUT = "released.json"
FILES = ("model.safetensors", "history.csv", "snapshots.npz", "summary.json", "time.json")
# What a run in MLflow says of where a training comes from.
_ORIGIN = ("git.commit", "git.dirty", "machine", "device")


def find_released(key: str, folder: Path = RELEASED) -> Path | None:
    """Return the folder of the released training with a `training_key`, if there is one."""
    return next((path.parent for path, about in _all(folder) if about["key"] == key), None)


def why_not_released(config: Config, model: str, seed: int, folder: Path = RELEASED) -> str:
    """Return a sentence that says in what a model differs from the released one of its name."""
    what = f"{model}, seed {seed}"
    try:
        about = json.loads((folder / model / f"seed_{seed}" / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{what} is not among the released trainings"
    ours, theirs = effective_settings(config, model), about["settings"]
    changed = [
        f"{key} is {ours.get(key)}, not {theirs.get(key)}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    if data_digest(config, model) != about["data"]:
        changed.append("its data are others")
    if training_code(config, model) != about["code"]:
        changed.append("its code is another")
    reason = "; ".join(changed) or f"{config.models[model].start}, from which it starts, differs"
    return f"{what} differs from the released training: {reason}"


def require_released(config: Config, results: Path, folder: Path = RELEASED) -> None:
    """Make sure that a tier needs no training: each is among the released ones, or done already.

    Args:
        config: Of the tier.
        results: Folder `results/{tier}`.
        folder: Where the released trainings are.

    Raises:
        UserError: If there is something to train.
    """
    code = {model: training_code(config, model) for model in config.models}
    wanted = trainings(config)
    missing = [
        (model, seed)
        for model, seed in wanted
        if not (config.released and find_released(training_key(config, model, seed, code), folder))
        and not (results / f"models/{model}/seed_{seed}/{FILES[0]}").exists()
    ]
    if missing:
        first = why_not_released(config, *missing[0], folder)
        raise UserError(
            f"of the {len(wanted)} trainings of the tier {config.tier} {len(missing)} are neither"
            f" released nor done ({first}), and take hours: to train them, run"
            f" snakemake --cores 4 all --configfile config/{config.tier}.yaml"
        )


def take_released(source: Path, folder: str | Path) -> list[dict[str, float]]:
    """Copy the files of a released training to a folder, and return the rows of its history.

    `time.json` says there that the training is released, as its job measured no training.

    Raises:
        UserError: If its weights are not those that were released.
    """
    about = json.loads((source / ABOUT).read_text(encoding="utf-8"))
    if _digest(source / FILES[0]) != about["sha256"]:
        raise UserError(f"{source / FILES[0]} is damaged: fetch it again, or set released to false")
    for name in FILES:
        with replacing(Path(folder, name)) as temporary:
            shutil.copyfile(source / name, temporary)
    time = json.loads((source / "time.json").read_text(encoding="utf-8"))
    write_json(time | {"released": True}, Path(folder, "time.json"))
    with (source / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def provenance_of(source: Path) -> dict[str, str]:
    """Return the tags of a released training that say where it comes from."""
    about = json.loads((source / ABOUT).read_text(encoding="utf-8"))
    return {
        **{name: about[name] for name in _ORIGIN},
        "dgmpipe.released": str(about["started"]),
    }


def release(results: Path, models: list[str], folder: Path = RELEASED) -> list[Path]:
    """Copy finished trainings of a tier, with their provenance, to the released ones.

    Snapshots are kept of the seed that figures show, as the companion shows those of no other.

    Args:
        results: Folder `results/{tier}`.
        models: Names of the models of which all seeds that are finished are released.
        folder: Where the released trainings are.

    Returns:
        The folders that were written; what is released already is left alone.

    Raises:
        UserError: If the tier has no such model, or a training was not made by this code from the
            tier's last config.
    """
    invocation = json.loads((results / "invocation.json").read_text(encoding="utf-8"))
    config = read_config(invocation["config"])
    for model in models:
        if model not in config.models:
            known = ", ".join(config.models)
            raise UserError(f"{results} has no model '{model}'; name one of {known}")
    code = {model: training_code(config, model) for model in config.models}
    written = []
    for model, seed in trainings(config):
        record_file = results / "runs" / f"{model}_seed_{seed}.json"
        if model not in models or not record_file.exists():
            continue
        record = json.loads(record_file.read_text(encoding="utf-8"))
        key = training_key(config, model, seed, code)
        if record["status"] != "FINISHED" or find_released(key, folder):
            continue
        if record["tags"]["dgmpipe.key"] != key:
            raise UserError(
                f"{model}, seed {seed} was trained by other code or with other settings than now;"
                " train it again before it is released"
            )
        source, target = (
            results / "models" / model / f"seed_{seed}",
            folder / model / f"seed_{seed}",
        )
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(source / name, target / name)
        time = json.loads((source / "time.json").read_text(encoding="utf-8"))
        write_json(time | {"device": record["tags"]["device"]}, target / "time.json")
        if seed != config.shown_seed:
            _write_no_snapshots(target / "snapshots.npz")
        start = config.models[model].start
        write_json(
            {
                "key": key,
                "settings": effective_settings(config, model),
                "data": data_digest(config, model),
                "code": code[model],
                "start": start and training_key(config, start, seed, code),
                "sha256": _digest(target / FILES[0]),
                "license": "MIT",
                "started": record["started"],
                **{name: record["tags"][name] for name in _ORIGIN},
            },
            target / ABOUT,
        )
        written.append(target)
    return written


def _write_no_snapshots(path: Path) -> None:
    import numpy as np

    np.savez_compressed(path, steps=np.empty(0, int), samples=np.empty(0))


def _all(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob(f"*/seed_*/{ABOUT}")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Exit with one sentence if the tier of a config file, the argument, needs a training."""
    try:
        config = read_config(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")))
        require_released(config, Path("results", config.tier))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
