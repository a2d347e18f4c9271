"""Tables put together from the files of evaluations: a row a model and seed."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = [
    "class_histograms",
    "flows",
    "generators",
    "inverse_errors",
    "judge",
    "mean_and_deviation",
    "numbers_of",
    "priors",
    "summarise_seeds",
    "training_times",
]

Files = Mapping[str, Sequence[str]]
# Model and seed of each row.
Trainings = Sequence[tuple[str, int]]

# Columns of the energy test that the table of generators has.
_TESTED = ["energy_distance", "standard_error", "null_95", "pvalue", "statistic"]


def _read(paths: Iterable[str]) -> list[dict[str, Any]]:
    return [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]


def rows_of(trainings: Trainings) -> pd.DataFrame:
    """Return the columns `model` and `seed` of a table with a row for each training."""
    return pd.DataFrame({"model": model, "seed": seed} for model, seed in trainings)


def flows(files: Files) -> pd.DataFrame:
    """Return a row a flow: its parameters and what was measured of it against the truth.

    Args:
        files: `summaries`, summary.json, and `numbers`, flow.json, of the same trainings.
    """
    rows = []
    for summary, numbers in zip(_read(files["summaries"]), _read(files["numbers"]), strict=True):
        # Inverse errors have a table of their own.
        kept = {k: v for k, v in numbers.items() if not k.startswith("inverse_error_rk4_")}
        rows.append({key: summary[key] for key in ("model", "seed", "parameters")} | kept)
    return pd.DataFrame(rows)


def inverse_errors(files: Files, *, trainings: Trainings) -> pd.DataFrame:
    """Return a row for each flow, seed and number of Runge-Kutta steps: its inverse errors."""
    rows = []
    for (model, seed), numbers in zip(trainings, _read(files["numbers"]), strict=True):
        for key in numbers:
            if found := re.fullmatch(r"inverse_error_rk4_(\d+)", key):
                steps, errors = int(found[1]), (numbers[key], numbers[f"{key}_double"])
                rows.append((model, seed, steps, *errors))
    columns = ["model", "seed", "rk4_steps", "inverse_error", "inverse_error_double"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:3])


def priors(files: Files, *, trainings: Trainings, priors: list[str]) -> pd.DataFrame:
    """Return a row a VAE, seed and prior: what was measured under that prior."""
    rows = []
    for (model, seed), numbers in zip(trainings, _read(files["numbers"]), strict=True):
        for prior in priors:
            of_prior = {
                key.removeprefix(f"{prior}_"): value
                for key, value in numbers.items()
                if key.startswith(f"{prior}_")
            }
            rows.append({"model": model, "seed": seed, "prior": prior, **of_prior})
    # By the names that the table of generators has.
    return pd.DataFrame(rows).rename(columns={"energy_distance_standard_error": "standard_error"})


def generators(files: Files, *, trainings: Trainings) -> pd.DataFrame:
    """Return a row a generator and seed: the energy test and, where there is one, the judgement."""
    energy, quality = (pd.DataFrame(_read(files[name])) for name in ("energy", "quality"))
    return pd.concat([rows_of(trainings), energy[_TESTED], quality], axis="columns")


def numbers_of(files: Files, *, trainings: Trainings) -> pd.DataFrame:
    """Return a row a model and seed: the numbers of one evaluation."""
    numbers = pd.DataFrame(_read(files["numbers"]))
    return pd.concat([rows_of(trainings), numbers], axis="columns")


def class_histograms(files: Files, *, trainings: Trainings) -> pd.DataFrame:
    """Return how many generated and test images are taken for each digit, by model and seed."""
    tables = [
        pd.read_csv(path).assign(model=model, seed=seed)
        for (model, seed), path in zip(trainings, files["classes"], strict=True)
    ]
    return pd.concat(tables)[["model", "seed", "digit", "generated", "test"]]


def judge(files: Files) -> pd.DataFrame:
    """Return what the judge made of each kind of image that it was examined with."""
    return pd.read_csv(files["table"][0])


def training_times(files: Files) -> pd.DataFrame:
    """Return a row a training: its processor time first, as wall-clock time counts other jobs too.

    A released training has no memory: its job has copied it. Devices are without their number; one
    that was continued on another has both.

    Args:
        files: `summaries`, `times` and `benchmarks` of the same trainings.
    """
    rows = []
    for summary, time, benchmark in zip(
        _read(files["summaries"]), _read(files["times"]), files["benchmarks"], strict=True
    ):
        memory = pd.read_csv(benchmark, sep="\t")["max_rss"].iloc[-1]
        released = time.pop("released", False)
        steps = summary["hyperparameters"]["steps"]
        row = {
            "model": summary["model"],
            "seed": summary["seed"],
            "device": re.sub(r"cuda:\d+ \((.*?)\)", r"\1", time.pop("device", "cpu")),
            "milliseconds_per_step": 1000 * time["processor_seconds"] / steps,
            "steps": steps,
            "processor_seconds": time["processor_seconds"],
            **time,
        }
        rows.append(row | {"memory_mb": None if released else memory})
    return pd.DataFrame(rows)


def mean_and_deviation(files: Files, *, keys: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Return the summary over seeds, as `summarise_seeds`, of the one table in `files`."""
    return summarise_seeds(pd.read_csv(files["table"][0]), keys)


def summarise_seeds(table: pd.DataFrame, keys: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Return a row a model: the number of seeds, then each column's mean and standard deviation.

    The standard deviation is that of a sample, with n − 1, and missing for a single seed.

    Standard errors within a training are left out: they are not what lies between trainings.

    Args:
        table: Has the columns `seed` and `keys` and numbers in all others.
        keys: Columns that tell apart what is averaged over the seeds.

    Example:
        >>> table = pd.DataFrame({"model": ["a", "a"], "seed": [0, 1], "loss": [1.0, 3.0]})
        >>> table["standard_error"] = 0.1
        >>> summarise_seeds(table).round(3).to_dict("records")
        [{'model': 'a', 'seeds': 2, 'loss_mean': 2.0, 'loss_sd': 1.414}]
    """
    groups = table.groupby(list(keys), sort=False)
    without = (*keys, "seed")
    columns = [c for c in table if c not in without and not str(c).endswith("standard_error")]
    numbers = groups[columns]
    statistics = numbers.agg(["mean", "std"]).rename(columns={"std": "sd"}, level=1)
    statistics.columns = ["_".join(pair) for pair in statistics.columns]
    statistics.insert(0, "seeds", groups.size())
    return statistics.reset_index()
