"""The figure of a study: what was measured against what was swept."""

from collections.abc import Iterator, Mapping, Sequence
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
    x: str,
    measures: Sequence[str],
    titles: Mapping[str, str],
    keys: Sequence[str] = (),
    log_x: bool = False,
    log_y: Sequence[str] = (),
) -> Figure:
    """Draw a study: a panel a measure, a line a model, through the mean over its seeds.

    A bar reaches from the least to the greatest of the seeds. What could not be measured of a point
    leaves a gap. Of further swept keys each combination of values has a line of its own.

    Args:
        table: A row for each point and seed: `model`, the swept keys, `seed` and the measures.
        x: The key along the axis. Values that are no numbers stand side by side. With `model` the
            models stand one below the other.
        measures: Columns of the table.
        titles: What each model is called.
        keys: Swept keys other than `x`.
        log_x: Whether the axis is logarithmic.
        log_y: Measures whose axis is logarithmic.

    Raises:
        ValueError: If the table lacks a column or has no row.
    """
    for name in ("model", "seed", x, *keys, *measures):
        if name not in table:
            raise ValueError(f"the table has no column {name}")
    if table.empty:
        raise ValueError("the table has no row")
    if x == "model":
        return _side_by_side(table, measures, titles, keys, log_y)
    with new_figure(max(3.6, 3.1 * len(measures)), 3.1) as figure:
        panels = figure.subplots(1, len(measures), squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            _panel(axes, table, x, measure, titles, keys)
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
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _side_by_side(
    table: pd.DataFrame,
    measures: Sequence[str],
    titles: Mapping[str, str],
    keys: Sequence[str],
    logarithmic: Sequence[str],
) -> Figure:
    """Draw a study whose models stand one below the other, a panel a measure."""
    models = list(dict.fromkeys(table["model"]))
    with new_figure(2 + 1.5 * len(measures), 1.2 + 0.22 * len(models)) as figure:
        panels = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
        for axes, measure in zip(panels, measures, strict=True):
            _panel(axes, table, "model", measure, titles, keys)
            axes.set_yticks(range(len(models)), [titles.get(model, model) for model in models])
            axes.set(xlabel=_words(measure))
            axes.grid(axis="y", linewidth=0.4)
            if measure in logarithmic:
                axes.set_xscale("log")
        panels[0].set(ylabel="model")
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        if any(labels):
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    measure: str,
    titles: Mapping[str, str],
    keys: Sequence[str],
) -> None:
    numeric = pd.api.types.is_numeric_dtype(table[x])
    values = list(dict.fromkeys(table[x]))
    places = {value: value if numeric else place for place, value in enumerate(values)}
    for place, (label, rows) in enumerate(_lines(table, x, titles, keys)):
        groups = rows.groupby(x, sort=numeric)[measure]
        mean, low, high = groups.mean(), groups.min(), groups.max()
        at = [places[value] for value in mean.index]
        bars = np.stack([mean - low, high - mean])
        sideways = x == "model"
        axes.errorbar(
            mean if sideways else at,
            at if sideways else mean,
            xerr=bars if sideways else None,
            yerr=None if sideways else bars,
            color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
            marker=SERIES_MARKERS[place % len(SERIES_MARKERS)],
            linestyle="none" if sideways else "-",
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=label,
        )
    if not numeric and x != "model":
        axes.set_xticks(list(places.values()), [str(value) for value in values])


def _lines(
    table: pd.DataFrame, x: str, titles: Mapping[str, str], keys: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield label and rows of each line of a panel."""
    models = {"": table} if x == "model" else {m: table[table["model"] == m] for m in titles}
    for model, of_model in models.items():
        parts = of_model.groupby(list(keys), sort=False) if keys else [((), of_model)]
        for values, rows in parts:
            swept = (
                f"{key.replace('_', ' ')} {value}" for key, value in zip(keys, values, strict=True)
            )
            yield ", ".join(filter(None, [titles.get(model, ""), *swept])), rows


def _words(measure: str) -> str:
    """Return a measure's name in words: "flow.kl" is "kl"."""
    return measure.split(".", 1)[1].replace("_", " ")


def from_files(files: Mapping[str, Sequence[str]], **params: Any) -> Figure:
    """Draw the study whose table is in a file."""
    return figure_study(pd.read_csv(files["table"][0]), **params)
