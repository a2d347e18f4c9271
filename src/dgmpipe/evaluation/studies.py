"""The table of a study: what was measured of each point of its sweep, seed by seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["study_table"]


def study_table(
    files: Mapping[str, Sequence[str]],
    *,
    points: list[dict[str, Any]],
    models: dict[str, list[str]],
    measures: list[str],
) -> pd.DataFrame:
    """Return a row for each point and seed: the model, the swept values, and the measures.

    A swept value that is null is the word "none".

    Args:
        files: The files of each evaluation, by its name, of the models that it is done of.
        points: Name, model, values and seeds of each point.
        models: The names of the points that each evaluation is done of.
        measures: Such as "flow.kl": evaluation and number.
    """
    seeds = {point["name"]: point["seeds"] for point in points}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for source, paths in files.items():
        keys = [(model, seed) for model in models[source] for seed in seeds[model]]
        numbers = (json.loads(Path(path).read_text(encoding="utf-8")) for path in paths)
        for key, values in zip(keys, numbers, strict=True):
            named = {f"{source}.{name}": value for name, value in values.items()}
            found.setdefault(key, {}).update(named)
    rows = [
        {
            "model": point["model"],
            **{key: "none" if v is None else v for key, v in point["values"].items()},
            "seed": seed,
            **{name: found.get((point["name"], seed), {}).get(name) for name in measures},
        }
        for point in points
        for seed in point["seeds"]
    ]
    return pd.DataFrame(rows)
