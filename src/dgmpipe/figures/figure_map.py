"""The map of a study: what was measured over two swept keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from dgmpipe.figures.figure_study import (
    few_ticks,
    in_words,
    parts_of,
    require_columns,
    value_in_words,
)
from dgmpipe.figures.style import new_figure

__all__ = ["figure_map", "from_files"]


def figure_map(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    measures: Sequence[str],
    titles: Mapping[str, str],
    keys: Sequence[str] = (),
    log_y: Sequence[str] = (),
) -> Figure:
    """Draw a study of two swept keys: a row of maps a model, in which a measure has one.

    A cell has the mean over the seeds, and below it the least and the greatest if they differ; what
    could not be measured is left white. The maps of a measure have their colours in common. Of
    further swept keys each combination of values has a row of its own.

    Args:
        table: A row for each point and seed: `model`, the swept keys, `seed` and the measures.
        x: The key from left to right.
        y: The key from below to above.
        measures: Columns of the table.
        titles: What each model is called.
        keys: Swept keys other than these two.
        log_y: Measures whose colours are by their logarithm, where all are positive.

    Raises:
        ValueError: If the table lacks a column or has no row.
    """
    require_columns(table, ["model", "seed", x, y, *keys, *measures])
    parts = list(parts_of(table, titles, keys))
    with new_figure(0.9 + 2.8 * len(measures), 0.6 + 2.3 * len(parts)) as figure:
        panels = figure.subplots(len(parts), len(measures), squeeze=False)
        for column, measure in zip(panels.T, measures, strict=True):
            means = table.groupby(["model", x, y, *keys])[measure].mean()
            low, high = means.min(), means.max()
            logarithmic = measure in log_y and 0 < low < high
            # Of equal numbers all cells have the colour of the least.
            scale = (LogNorm if logarithmic else Normalize)(low, high if low < high else low + 1)
            for axes, (label, rows) in zip(column, parts, strict=True):
                grouped = rows.groupby([y, x])[measure]
                mean, least, most = (
                    f.unstack() for f in (grouped.mean(), grouped.min(), grouped.max())
                )
                shown = axes.imshow(mean, origin="lower", aspect="auto", norm=scale, cmap="cividis")
                for (i, j), value in np.ndenumerate(mean.to_numpy()):
                    if np.isnan(value):
                        continue
                    text = f"{value:.2g}"
                    if least.iat[i, j] < most.iat[i, j]:
                        text += f"\n{least.iat[i, j]:.2g}–{most.iat[i, j]:.2g}"
                    dark = scale(value) < 0.5
                    axes.text(
                        j, i, text, ha="center", va="center", fontsize=8,
                        color="white" if dark else "black",
                    )  # fmt: skip
                axes.set_xticks(range(mean.shape[1]), [value_in_words(v) for v in mean.columns])
                axes.set_yticks(range(mean.shape[0]), [value_in_words(v) for v in mean.index])
                axes.set(xlabel=in_words(x), ylabel=in_words(y), title=label)
            bar = figure.colorbar(shown, ax=column, label=in_words(measure), location="bottom")
            if logarithmic:
                few_ticks(bar.ax.xaxis, means)
            elif low == high:
                bar.set_ticks([low])
    return figure


def from_files(files: Mapping[str, Sequence[str]], **params: Any) -> Figure:
    """Draw the map of the study whose table is in a file."""
    return figure_map(pd.read_csv(files["table"][0]), **params)
