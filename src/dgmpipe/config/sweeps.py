"""Sweeps: models expanded over lists of values, a point for each, all else being equal."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dgmpipe.errors import UserError

__all__ = ["Point", "expand", "point_name"]


@dataclass(frozen=True)
class Point:
    """A model of a sweep.

    Attributes:
        name: `<model>@<key>=<value>`, with a comma between several keys.
        model: The model that it varies.
        values: What it sets.
        block: Its block, like one of the config's `models`.
    """

    name: str
    model: str
    values: dict[str, Any]
    block: dict[str, Any]


def point_name(model: str, values: Mapping[str, Any]) -> str:
    """Return the name of a point, which also names its folder.

    >>> point_name("vae", {"latent_dim": 8, "width": 16})
    'vae@latent_dim=8,width=16'
    >>> point_name("realnvp", {"data": "mine/points.csv"})
    'realnvp@data=mine_points.csv'
    """
    return f"{model}@" + ",".join(f"{key}={_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    return re.sub(r"[^\w.+-]", "_", shown)


def expand(name: str, sweep: Any, models: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """Return the points of a sweep of the config.

    A point whose model starts from another of the same sweep starts from that model's point with
    the same values, where that model has these keys.

    Args:
        name: Of the sweep, for messages.
        sweep: Its block: `models`, a list of names; `combine`, `product` (the default) for all
            combinations of the keys' values or `zip` for the first of each, the second of each and
            so on; and lists of values by key.
        models: The config's models by name, as blocks.

    Raises:
        UserError: If the block is no sweep, with a sentence that says where and why.
    """
    at = f"sweeps.{name}"
    if not isinstance(sweep, Mapping):
        raise UserError(f"{at} must be a block with `models` and lists of values, not {sweep!r}")
    lists = dict(sweep)
    bases = lists.pop("models", None)
    combine = lists.pop("combine", "product")
    if not isinstance(bases, list) or not bases:
        raise UserError(f"{at}.models must be a list of at least one model, not {bases!r}")
    if combine not in ("product", "zip"):
        raise UserError(f"{at}.combine must be product or zip, not {combine!r}")
    for base in bases:
        if not isinstance(base, str) or base not in models:
            raise UserError(f"{at}.models names {base}, which models does not have")
    if len(set(bases)) < len(bases):
        raise UserError(f"{at}.models lists a model twice: {', '.join(bases)}")
    if not lists:
        raise UserError(f"{at} has no key with a list of values, such as batch_size: [32, 64]")
    if "seeds" in lists:
        raise UserError(
            f"{at}.seeds: seeds are not swept; give them to the models, whose points have the same,"
            " or at the top"
        )
    for key, values in lists.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{at}.{key} must be a list of at least one value, not {values!r}")
        # Zipped, a value may come back beside another one.
        if combine == "product" and len({_shown(value) for value in values}) < len(values):
            raise UserError(f"{at}.{key} lists two values that have one name: {values}")
    if combine == "zip" and len({len(values) for values in lists.values()}) > 1:
        sizes = ", ".join(f"{key} has {len(values)}" for key, values in lists.items())
        raise UserError(f"{at} zips lists of different lengths: {sizes}")
    rows = (
        zip(*lists.values(), strict=True)
        if combine == "zip"
        else itertools.product(*lists.values())
    )
    combinations = [dict(zip(lists, row, strict=True)) for row in rows]
    return [point for base in bases for point in _points(base, combinations, bases, models)]


def _points(
    base: str,
    combinations: list[dict[str, Any]],
    bases: list[str],
    models: Mapping[str, Mapping[str, Any]],
) -> Iterator[Point]:
    for values in combinations:
        block = {**models[base], **values}
        start = block.get("start")
        if start in bases and "start" not in values:
            block["start"] = point_name(start, values)
        yield Point(point_name(base, values), base, values, block)
