"""The forest plot of the paper's statements: each effect with its interval over trainings."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dgmpipe.figures.style import DATA, LATENT, new_figure
from dgmpipe.statistics.replicates import CONFIDENCE, Decision, Effect, Pooled, decide, pool

__all__ = ["figure_claims", "from_files"]

# Doublings at which the axis ends; what is beyond has an arrow.
_LIMIT = 5.0
_GREY = "0.45"
# Colour, marker and whether it is filled: a decision is not told by its colour alone.
_LOOKS: dict[Decision, tuple[str, str, bool]] = {
    "for": (DATA, "o", True),
    "against": (LATENT, "s", True),
    "undecided": (_GREY, "D", False),
    "not decidable": (_GREY, "P", False),
}
_WORDS: dict[Decision, str] = {
    "for": "holds",
    "against": "does not hold",
    "undecided": "undecided",
    "not decidable": "not decidable",
}


def figure_claims(table: pd.DataFrame) -> Figure:
    """Draw the effects of the statements, in their order from the top.

    0 is the border and an effect to the right supports the statement; the axis says how many times
    beyond the border it is. A mark is the mean over the trainings, the line through it the 95%
    interval of that mean, and a small dot a training. A pale bar is the range within which the
    effect is not known. Of one training there is no interval, but two standard errors within it.

    Args:
        table: A row for each statement and seed, with columns `where`, `statement`, `low`, `high`
            and `error`, in doublings; `low` and `high` may be infinite, `error` missing.

    Raises:
        ValueError: If the table lacks a column.
    """
    for name in ("where", "statement", "low", "high", "error"):
        if name not in table:
            raise ValueError(f"the table has no column {name}")
    groups = list(table.groupby("statement", sort=False))
    with new_figure(7.2, 1.0 + 0.31 * max(len(groups), 2)) as figure:
        axes = figure.subplots()
        if not groups:
            axes.axis("off")
            axes.text(0.5, 0.5, "no statement can be computed of these models", ha="center")
            return figure
        labels, decisions, several = [], [], False
        for row, (statement, rows) in enumerate(groups):
            columns = (rows[name].tolist() for name in ("low", "high", "error"))
            effects = [Effect(*numbers) for numbers in zip(*columns, strict=True)]
            pooled = pool(effects)
            decision = decide(pooled)
            _draw(axes, row, effects, pooled, decision)
            labels.append(f"{textwrap.fill(str(statement), 56)}  [{rows['where'].iloc[0]}]")
            decisions.append(decision)
            several |= pooled.trainings > 1
        _frame(axes, labels)
        handles = [_handle(look) for look in _LOOKS if look in decisions]
        if several:
            handles.append(
                Line2D([], [], color="black", linewidth=1.4, label=f"{CONFIDENCE:.0%} interval")
            )
            handles.append(
                Line2D([], [], color=_GREY, marker=".", markersize=3, linewidth=0, label="training")
            )
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _draw(
    axes: Axes, row: int, effects: Sequence[Effect], pooled: Pooled, decision: Decision
) -> None:
    colour, marker, filled = _LOOKS[decision]
    if pooled.high > pooled.low:
        low, high = np.clip([pooled.low, pooled.high], -_LIMIT, _LIMIT)
        axes.plot([low, high], [row, row], color=colour, alpha=0.25, linewidth=6, zorder=1)
    if pooled.trainings > 1:
        ends = pooled.interval_low, pooled.interval_high
        dots = [_middle(effect.low, effect.high) for effect in effects]
        axes.plot(dots, [row + 0.26] * len(dots), ".", color=_GREY, markersize=3, zorder=2)
    else:
        margin = 0.0 if math.isnan(pooled.within) else 2 * pooled.within
        ends = pooled.low - margin, pooled.high + margin
    low, high = np.clip(ends, -_LIMIT, _LIMIT)
    width = 1.4 if pooled.trainings > 1 else 0.7
    axes.plot([low, high], [row, row], color=colour, linewidth=width, zorder=3)
    for side in sorted({math.copysign(1, end) for end in ends if abs(end) > _LIMIT}):
        at, arrow = side * (_LIMIT + 0.2), ">" if side > 0 else "<"
        axes.plot([at], [row], arrow, color=colour, markersize=4, zorder=4, clip_on=False)
    middle = _middle(pooled.low, pooled.high)
    face = colour if filled else "white"
    axes.plot([middle], [row], marker, color=colour, markerfacecolor=face, markersize=5, zorder=5)
    axes.annotate(
        f"{pooled.holds} of {pooled.trainings}",
        xy=(1.02, row),
        xycoords=("axes fraction", "data"),
        va="center",
        color="black",
    )


def _middle(low: float, high: float) -> float:
    """Return where a mark stands: in the middle of a range, at the end of one without another."""
    if math.isinf(low):
        low = high
    return float(np.clip((low + high) / 2, -_LIMIT, _LIMIT))


def _frame(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0, labelsize=7)
    for row in range(1, len(labels), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="0.96", zorder=0, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8, zorder=2)
    axes.set_xlim(-_LIMIT - 0.25, _LIMIT + 0.25)
    ticks = range(-4, 5, 2)
    names = [f"÷{2**-t}" if t < 0 else f"×{2**t}" if t else "border" for t in ticks]
    axes.set_xticks(list(ticks), names)
    axes.set_xlabel("← against the statement     effect     for the statement →")
    axes.annotate(
        "holds in",
        xy=(1.02, -0.75),
        xycoords=("axes fraction", "data"),
        va="bottom",
        annotation_clip=False,
    )
    axes.spines[["top", "right", "left"]].set_visible(False)


def _handle(decision: Decision) -> Line2D:
    colour, marker, filled = _LOOKS[decision]
    face = colour if filled else "white"
    return Line2D(
        [], [], color=colour, marker=marker, markerfacecolor=face, linewidth=0,
        label=_WORDS[decision],
    )  # fmt: skip


def from_files(files: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the statements whose table is in a file."""
    return figure_claims(pd.read_csv(files["table"][0]))
