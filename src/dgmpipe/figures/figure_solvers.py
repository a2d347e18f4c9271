"""What images of flows are worth against the evaluations of the velocity that they take."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, ScalarFormatter

from dgmpipe.figures.style import SERIES_COLOURS, SERIES_MARKERS, new_figure

__all__ = ["figure_solvers", "from_files"]

_MEASURES = {
    "energy_distance": "energy distance from test images",
    "wasserstein_debiased": "Wasserstein distance, debiased",
    "rejected": "share without a digit",
}
_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


def figure_solvers(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a panel a measure: a colour a model, a style of line a solver.

    Args:
        tables: By title of a model a row for each `solver` and number of `evaluations`, with the
            measures; one that a table lacks has no panel.

    Raises:
        ValueError: If there is no table.
    """
    if not tables:
        raise ValueError("there must be at least one model's table")
    whole = pd.concat(tables.values())
    measures = [name for name in _MEASURES if name in whole]
    solvers = list(dict.fromkeys(whole["solver"]))
    with new_figure(0.4 + 2.9 * len(measures), 3.4) as figure:
        panels = figure.subplots(1, len(measures), squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            for place, table in enumerate(tables.values()):
                for style, solver in zip(_STYLES, solvers, strict=False):
                    rows = table[table["solver"] == solver].sort_values("evaluations")
                    axes.plot(
                        rows["evaluations"],
                        rows[measure],
                        style,
                        color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
                        marker=SERIES_MARKERS[place % len(SERIES_MARKERS)],
                        markersize=3,
                        linewidth=1.2,
                    )
            axes.set_xscale("log", base=2)
            axes.set_xticks(sorted(whole["evaluations"].unique()))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel="evaluations of the velocity", ylabel=_MEASURES[measure])
            # An unbiased estimate of a small distance may be negative, and has no logarithm then.
            if measure == "energy_distance" and (whole[measure] > 0).all():
                axes.set_yscale("log")
        models = [
            Line2D(
                [],
                [],
                color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
                marker=SERIES_MARKERS[place % len(SERIES_MARKERS)],
                markersize=3,
                label=title,
            )
            for place, title in enumerate(tables)
        ]
        ways = [
            Line2D([], [], color="0.3", linestyle=style, label=solver)
            for style, solver in zip(_STYLES, solvers, strict=False)
        ]
        figure.legend(handles=[*models, *ways], loc="outside upper center", ncols=4)
    return figure


def from_files(files: Mapping[str, Sequence[str]], *, titles: list[str]) -> Figure:
    """Draw the figure of a file for each title."""
    tables = map(pd.read_csv, files["tables"])
    return figure_solvers(dict(zip(titles, tables, strict=True)))
