"""The main numbers of a tier and where its figures are, from its tables alone."""

import csv
import math
import statistics
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dgmpipe.config import Config
from dgmpipe.plan.evaluations import REAL
from dgmpipe.plan.exhibits import Exhibit

__all__ = ["MEASURES", "Measure", "Number", "main_numbers", "pm", "summary"]


@dataclass(frozen=True)
class Measure:
    """A column of a table that says how good a model is.

    Attributes:
        name: What it is called where there is no table beside it.
        table: Name of the table.
        column: The column.
        error: The column of its standard error.
        title: What it is, in words.
        subjects: Whose it is, in words.
    """

    name: str
    table: str
    column: str
    error: str
    title: str
    subjects: str


MEASURES = (
    Measure("kl", "flows", "kl", "kl_standard_error", "nats from the true density", "flows"),
    Measure("nll", "flows", "nll", "nll_standard_error", "negative log-likelihood, nats", "flows"),
    Measure(
        "log_evidence",
        "vae_evidence",
        "log_evidence_mean",
        "log_evidence_standard_error",
        "log p(x) of test images, nats",
        "VAEs",
    ),
    Measure(
        "evidence_gap",
        "vae_evidence",
        "gap_mean",
        "gap_standard_error",
        "the ELBO's distance below it, nats",
        "VAEs",
    ),
    Measure(
        "energy_distance",
        "generators",
        "energy_distance",
        "standard_error",
        "energy distance to test images",
        "generators",
    ),
    Measure(
        "rejected",
        "generators",
        "rejected",
        "rejected_standard_error",
        "share without a digit",
        "generators",
    ),
)


@dataclass(frozen=True)
class Number:
    """What a measure is of a training, with its standard error, NaN if it has none."""

    measure: Measure
    model: str
    seed: int
    value: float
    error: float


def main_numbers(results: Path, names: Iterable[str] | None = None) -> list[Number]:
    """Return the main numbers of a tier, as far as its tables are made.

    Args:
        results: Folder `results/{tier}`.
        names: Of the measures; by default all.
    """
    found = []
    for measure in (m for m in MEASURES if names is None or m.name in names):
        for row in _rows(results / "tables" / f"{measure.table}.csv"):
            if row.get(measure.column):
                value, error = (float(row.get(c) or "nan") for c in (measure.column, measure.error))
                found.append(Number(measure, row["model"], int(row["seed"]), value, error))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def pm(value: float, error: float) -> str:
    """Write a number with its standard error, the error with two digits.

    >>> pm(0.35921, 0.00354), pm(-151.067, 2.215), pm(0.00504, math.nan)
    ('0.3592 ± 0.0035', '-151.1 ± 2.2', '0.00504')
    """
    if not error > 0:
        return f"{value:.3g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def spanned(counts: Collection[int]) -> str:
    """Write a number, or from which to which there are.

    >>> spanned([3, 3]), spanned([10, 3])
    ('3', '3 to 10')
    """
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def summary(config: Config, results: Path, exhibits: Iterable[Exhibit]) -> str:
    """Return what a tier came to, as lines of text: its main numbers and where everything is.

    With one seed a number has its own standard error, with several it is their mean with their
    standard deviation, and beside these a number of one seed stands alone. Points of sweeps are in
    the tables.

    Args:
        config: The config.
        results: Folder `results/{tier}`.
        exhibits: The figures and tables of the config.
    """
    numbers = [n for n in main_numbers(results) if n.model == REAL or n.model in config.models]
    lines: list[str] = []
    for subjects in dict.fromkeys(measure.subjects for measure in MEASURES):
        lines += _table(config, subjects, [n for n in numbers if n.measure.subjects == subjects])
    shown = sorted(results / e.outputs["png"] for e in exhibits if e.is_figure)
    if made := [path for path in shown if path.exists()]:
        lines += ["figures", *(f"  {path}" for path in made), ""]
    tables = len(list(results.glob("tables/*.csv")))
    places = {"tables": f"{results / 'tables'} ({tables})" if tables else ""}
    places["report"] = str(results / "report.html") if (results / "report.html").exists() else ""
    lines += [f"{name}\n  {place}" for name, place in places.items() if place]
    return "\n".join(["", *lines])


def _table(config: Config, subjects: str, numbers: list[Number]) -> Iterator[str]:
    """Yield a heading with the titles of the measures and a row a model."""
    measures = list(dict.fromkeys(number.measure for number in numbers))
    models = dict.fromkeys(number.model for number in numbers if "@" not in number.model)
    if not models:
        return
    counts = [len({n.seed for n in numbers if n.model == model}) for model in models]
    over = f", mean ± deviation of {spanned(counts)} seeds" if max(counts) > 1 else ""
    rows = [[subjects + over, *(measure.title for measure in measures)]]
    for model in models:
        cells = [
            _cell([n for n in numbers if (n.model, n.measure) == (model, m)], alone=not over)
            for m in measures
        ]
        rows.append(["  " + ("real images" if model == REAL else config.title(model)), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "   ".join([row[0].ljust(widths[0]), *cells]).rstrip()
    yield ""


def _cell(numbers: list[Number], *, alone: bool) -> str:
    values = [number.value for number in numbers]
    if not values:
        return ""
    if len(values) == 1:
        return pm(values[0], numbers[0].error if alone else math.nan)
    return pm(statistics.fmean(values), statistics.stdev(values))
