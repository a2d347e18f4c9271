"""The figure of a study: what was measured against what was swept."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
    StrMethodFormatter,
)

from dgmpipe.figures.style import SERIES_COLOURS, SERIES_MARKERS, new_figure

__all__ = [
    "few_ticks",
    "figure_study",
    "from_files",
    "in_words",
    "parts_of",
    "require_columns",
    "value_in_words",
]


def figure_study(
    table: pd.DataFrame,
    *,
    x: str,
    measures: Sequence[str],
    titles: Mapping[str, str],
    keys: Sequence[str] = (),
    log_x: bool = False,
    log_y: Sequence[str] = (),
    lines: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw a study: a panel a measure, a line a model, through the mean over its seeds.

    A bar reaches from the least to the greatest of the seeds. What could not be measured of a point
    leaves a gap. Of further swept keys each combination of values has a line of its own. Models, or
    values that are no numbers, have a row each, the first above.

    Args:
        table: A row for each point and seed: `model`, the swept keys, `seed` and the measures.
        x: The key along the axis, or `model`.
        measures: Columns of the table.
        titles: What each model is called.
        keys: Swept keys other than `x`.
        log_x: Whether the axis is logarithmic.
        log_y: Measures whose axis is logarithmic.
        lines: By measure the columns of the table whose means are drawn across its panel.

    Raises:
        ValueError: If the table lacks a column or has no row.
    """
    lines = lines or {}
    drawn = [column for columns in lines.values() for column in columns]
    require_columns(table, ["model", "seed", x, *keys, *measures, *drawn])
    if x == "model":
        parts = list(_by_values(table, keys))
        return _figure_of_rows(x, titles, parts, table, measures, log_y, lines)
    parts = list(parts_of(table, titles, keys))
    types = pd.api.types
    if types.is_bool_dtype(table[x]) or not types.is_numeric_dtype(table[x]):
        names = {value: value_in_words(value) for value in dict.fromkeys(table[x])}
        return _figure_of_rows(x, names, parts, table, measures, log_y, lines)
    down, across = _arranged(len(measures), 3)
    with new_figure(max(3.6, 3.1 * across), 0.4 + 2.7 * down) as figure:
        panels = figure.subplots(down, across, squeeze=False)
        for axes, measure in zip(panels.flat, measures, strict=False):
            for place, (label, rows) in enumerate(parts):
                mean, reach = _mean_and_reach(rows.groupby(x)[measure])
                axes.errorbar(mean.index, mean, yerr=reach, label=label, **_style(place))
            if log_x:
                axes.set_xscale("log")
                axes.set_xticks(sorted(table[x].unique()))
                axes.xaxis.set_major_formatter(ScalarFormatter())
                axes.xaxis.set_minor_formatter(NullFormatter())
            if measure in log_y:
                axes.set_yscale("log")
                few_ticks(axes.yaxis, table[measure])
            axes.set(xlabel=in_words(x), ylabel=in_words(measure))
            _draw_lines(axes.axhline, table, lines.get(measure, ()))
        _hide(panels.flat[len(measures) :])
        found: dict[str, Any] = {}  # a line across has its name from its panel
        for axes in panels.flat:
            handles, labels = axes.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
        labels = list(found)
        figure.legend(
            [*found.values()], labels, loc="outside lower center", ncols=min(3, len(labels))
        )
    return figure


def require_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise a ValueError if a table lacks a column or has no row."""
    for name in names:
        if name not in table:
            raise ValueError(f"the table has no column {name}")
    if table.empty:
        raise ValueError("the table has no row")


def parts_of(
    table: pd.DataFrame, titles: Mapping[str, str], keys: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield for each model and combination of swept values what it is called and its rows."""
    for model, title in titles.items():
        for swept, rows in _by_values(table[table["model"] == model], keys):
            yield ", ".join(filter(None, (title, swept))), rows


def _arranged(panels: int, most: int) -> tuple[int, int]:
    """Return rows and columns of panels, at most so many across, as many in each row as can be."""
    down = math.ceil(panels / most)
    return down, math.ceil(panels / down)


def _mean_and_reach(groups: Any) -> tuple[pd.Series, np.ndarray]:
    """Return the means of groups, and how far the least and the greatest are from them, (2, N)."""
    mean, low, high = groups.mean(), groups.min(), groups.max()
    return mean, np.stack([mean - low, high - mean])


def _style(place: int) -> dict[str, Any]:
    return {
        "color": SERIES_COLOURS[place % len(SERIES_COLOURS)],
        "marker": SERIES_MARKERS[place % len(SERIES_MARKERS)],
        "markersize": 4,
        "linewidth": 1.2,
        "capsize": 2,
    }


def _hide(panels: Iterable[Axes]) -> None:
    for axes in panels:
        axes.set_visible(False)


def _by_values(table: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield for each combination of swept values what it is called and its rows."""
    for values, rows in table.groupby(list(keys), sort=False) if keys else [((), table)]:
        named = zip(keys, values, strict=True)
        yield ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in named), rows


def _figure_of_rows(
    key: str,
    names: Mapping[Any, str],
    parts: Sequence[tuple[str, pd.DataFrame]],
    table: pd.DataFrame,
    measures: Sequence[str],
    log_y: Sequence[str],
    lines: Mapping[str, Sequence[str]],
) -> Figure:
    """Draw a panel a measure, in which each value of a key has a row, and each part a colour."""
    down, across = _arranged(len(measures), 4)
    with new_figure(1.5 + 1.7 * across, down * (0.8 + 0.22 * len(names))) as figure:
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, measure in zip(panels.flat, measures, strict=False):
            for place, (label, rows) in enumerate(parts):
                mean, reach = _mean_and_reach(rows.groupby(key)[measure])
                at = pd.Index(list(names)).get_indexer(mean.index)
                axes.errorbar(
                    mean,
                    at + 0.2 * (place - (len(parts) - 1) / 2),
                    xerr=reach,
                    linestyle="none",
                    label=label,
                    **_style(place),
                )
            axes.set_yticks(range(len(names)), list(names.values()))
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(axis="y", linewidth=0.4, alpha=0.5)
            if measure in log_y:
                axes.set_xscale("log")
                few_ticks(axes.xaxis, table[measure])
            axes.set_xlabel(in_words(measure))
            across_it = _draw_lines(axes.axvline, table, lines.get(measure, ()))
            if across_it:
                axes.legend(
                    handles=across_it,
                    loc="lower center",
                    bbox_to_anchor=(0.5, 1.0),
                    fontsize="small",
                )
        _hide(panels.flat[len(measures) :])
        if len(parts) > 1:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            found = dict(zip(labels, handles, strict=True))
            shown = [label for label, _ in parts]
            figure.legend(
                [found[label] for label in shown], shown, loc="outside lower center", ncols=4
            )
    return figure


def few_ticks(axis: Axis, values: pd.Series) -> None:
    """Label a logarithmic axis of few powers of ten by round numbers that keep apart."""
    reach = values.max() / values.min()
    if reach < 100:
        subs = (1, 2, 5) if reach < 20 else (1, 3)
        axis.set_major_locator(MaxNLocator(4) if reach < 5 else LogLocator(subs=subs))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def _draw_lines(
    draw: Callable[..., Line2D], table: pd.DataFrame, columns: Sequence[str]
) -> list[Line2D]:
    styles = zip(columns, ("--", ":", "-."), strict=False)
    return [
        draw(
            table[column].mean(), color="0.3", linewidth=1, linestyle=style, label=in_words(column)
        )
        for column, style in styles
    ]


def in_words(name: str) -> str:
    """Return the name of a measure or key in words: "flow.true_kl" is "true kl"."""
    return name.split(".")[-1].replace("_", " ")


def value_in_words(value: object) -> str:
    """Return a swept value in words: 0.0002, "batch norm" of batch_norm, or "true"."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, Real) else str(value).replace("_", " ")


def from_files(files: Mapping[str, Sequence[str]], **params: Any) -> Figure:
    """Draw the study whose table is in a file."""
    return figure_study(pd.read_csv(files["table"][0]), **params)
