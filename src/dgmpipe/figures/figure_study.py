"""The figure of a study: what was measured against what was swept."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter, StrMethodFormatter

from dgmpipe.figures.style import SERIES_COLOURS, SERIES_MARKERS, new_figure

__all__ = ["figure_study", "from_files"]


def figure_study(
    table: pd.DataFrame,
    *,
    x: str | None,
    measures: Sequence[str],
    titles: Mapping[str, str],
    log_x: bool = False,
    log_y: Sequence[str] = (),
    lines: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw a study: a panel a measure, a line a model, through the mean over its seeds.

    A bar reaches from the least to the greatest of the seeds. What could not be measured of a point
    leaves a gap. Where nothing is swept, each model has a row in place of a line.

    Args:
        table: A row for each point and seed: `model`, the swept keys, `seed` and the measures.
        x: The key along the axis. Values that are no numbers stand side by side. None where
            nothing is swept.
        measures: Columns of the table.
        titles: What each model is called.
        log_x: Whether the axis is logarithmic.
        log_y: Measures whose axis is logarithmic.
        lines: By measure the columns of the table whose means are drawn across its panel.

    Raises:
        ValueError: If the table lacks a column or has no row.
    """
    lines = lines or {}
    drawn = [column for columns in lines.values() for column in columns]
    for name in ("model", "seed", *([x] if x else []), *measures, *drawn):
        if name not in table:
            raise ValueError(f"the table has no column {name}")
    if table.empty:
        raise ValueError("the table has no row")
    if x is None:
        return _figure_of_models(table, measures, titles, log_y, lines)
    with new_figure(max(3.6, 3.1 * len(measures)), 3.1) as figure:
        panels = figure.subplots(1, len(measures), squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            _panel(axes, table, x, measure, titles)
            if log_x:
                axes.set_xscale("log")
                axes.set_xticks(sorted(table[x].unique()))
                axes.xaxis.set_major_formatter(ScalarFormatter())
                axes.xaxis.set_minor_formatter(NullFormatter())
            if measure in log_y:
                axes.set_yscale("log")
                if table[measure].max() < 10 * table[measure].min():
                    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
            axes.set(xlabel=x.replace("_", " "), ylabel=_words(measure))
            _draw_lines(axes.axhline, table, lines.get(measure, ()))
        found: dict[str, Any] = {}  # a line across has its name from its panel
        for axes in panels:
            handles, labels = axes.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
        labels = list(found)
        figure.legend(
            [*found.values()], labels, loc="outside lower center", ncols=min(3, len(labels))
        )
    return figure


def _panel(
    axes: Axes, table: pd.DataFrame, x: str, measure: str, titles: Mapping[str, str]
) -> None:
    numeric = pd.api.types.is_numeric_dtype(table[x])
    values = list(dict.fromkeys(table[x]))
    places = {value: value if numeric else place for place, value in enumerate(values)}
    for place, (model, title) in enumerate(titles.items()):
        rows = table[table["model"] == model]
        groups = rows.groupby(x, sort=numeric)[measure]
        mean, low, high = groups.mean(), groups.min(), groups.max()
        at = [places[value] for value in mean.index]
        axes.errorbar(
            at,
            mean,
            yerr=np.stack([mean - low, high - mean]),
            color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
            marker=SERIES_MARKERS[place % len(SERIES_MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=title,
        )
    if not numeric:
        axes.set_xticks(list(places.values()), [str(value) for value in values])


def _figure_of_models(
    table: pd.DataFrame,
    measures: Sequence[str],
    titles: Mapping[str, str],
    log_y: Sequence[str],
    lines: Mapping[str, Sequence[str]],
) -> Figure:
    """Draw a panel a measure, in which each model has a row, the first above."""
    across = min(4, len(measures))
    down = math.ceil(len(measures) / across)
    with new_figure(1.5 + 1.7 * across, down * (0.8 + 0.22 * len(titles))) as figure:
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, measure in zip(panels.flat, measures, strict=False):
            groups = table.groupby("model")[measure]
            mean, low, high = (
                f.reindex(list(titles)) for f in (groups.mean(), groups.min(), groups.max())
            )
            axes.errorbar(
                mean,
                range(len(titles)),
                xerr=np.stack([mean - low, high - mean]),
                color=SERIES_COLOURS[0],
                marker=SERIES_MARKERS[0],
                markersize=4,
                linewidth=1.2,
                linestyle="none",
                capsize=2,
            )
            axes.set_yticks(range(len(titles)), list(titles.values()))
            axes.set_ylim(len(titles) - 0.5, -0.5)
            axes.grid(axis="y", linewidth=0.4, alpha=0.5)
            if measure in log_y:
                axes.set_xscale("log")
            axes.set_xlabel(_words(measure))
            _draw_lines(axes.axvline, table, lines.get(measure, ()))
            if measure in lines:
                axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize="small")
        for axes in panels.flat[len(measures) :]:
            axes.set_visible(False)
    return figure


def _draw_lines(draw: Callable[..., Any], table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column, style in zip(columns, ("--", ":", "-."), strict=False):
        value = table[column].mean()
        draw(value, color="0.3", linewidth=1, linestyle=style, label=_words(column))


def _words(measure: str) -> str:
    """Return a measure's name in words: "flow.kl" is "kl"."""
    return measure.split(".", 1)[1].replace("_", " ")


def from_files(files: Mapping[str, Sequence[str]], **params: Any) -> Figure:
    """Draw the study whose table is in a file."""
    return figure_study(pd.read_csv(files["table"][0]), **params)
