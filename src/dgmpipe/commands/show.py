"""A tier's main numbers, its figures and its report, to be read in a terminal."""

import csv
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dgmpipe.errors import UserError

__all__ = ["show"]

Row = dict[str, str]


def show(results: str | Path = "results/laptop") -> None:
    """Print the main numbers of a tier, and where its figures and its report are.

    Args:
        results: Folder `results/{tier}`.

    Raises:
        UserError: If the workflow has made no table there.
    """
    folder = Path(results)
    console = Console(highlight=False, soft_wrap=True)
    shown = 0
    for name, (title, columns) in _TABLES.items():
        path = folder / f"tables/{name}.csv"
        if path.is_file():
            _print_whole(console, _table(title, columns, _read(path)))
            shown += 1
    if not shown:
        raise UserError(
            f"{folder} has no tables; run the workflow for that tier first, or name another folder"
        )
    figures = sorted(folder.glob("figures/*.png"))
    if figures:
        console.print(f"\n{len(figures)} figures, each as PNG and PDF:")
        for path in figures:
            console.print(f"  {path}", markup=False)
    report = folder / "report.html"
    there = report if report.is_file() else "not made yet; it is when a whole run ends"
    console.print(f"\nReport: {there}", markup=False)


def _print_whole(console: Console, table: Table) -> None:
    """Print a table in as many columns as it takes: a narrow terminal breaks its lines."""
    options = console.options.update(max_width=10_000)
    needed = console.measure(table, options=options).maximum
    Console(highlight=False, soft_wrap=True, width=max(console.width, needed)).print(table)


def _read(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table: {error}") from error


def _with_error(value: str, error: str, digits: int) -> Callable[[Row], str]:
    return lambda row: f"{float(row[value]):.{digits}f} ± {float(row[error]):.{digits}f}"


def _percent(name: str) -> Callable[[Row], str]:
    return lambda row: f"{float(row[name]):.0%}"


# Of each table its title and, of each column that is shown, what it says of a row.
_TABLES: dict[str, tuple[str, dict[str, Callable[[Row], str]]]] = {
    "flows": (
        "Flows on the moons, in nats",
        {
            "negative log-likelihood": _with_error("nll", "nll_standard_error", 4),
            "from the truth (KL)": _with_error("kl", "kl_standard_error", 4),
        },
    ),
    "vae_evidence": (
        "Evidence of test images",
        {
            "log p(x)": _with_error("log_evidence_mean", "log_evidence_standard_error", 1),
            "ELBO": _with_error("elbo_mean", "elbo_standard_error", 1),
            "gap": _with_error("gap_mean", "gap_standard_error", 2),
        },
    ),
    "generators": (
        "Images against the test images",
        {
            "energy distance": _with_error("energy_distance", "standard_error", 4),
            "rejected": _percent("rejected"),
            "digits found": lambda row: f"{float(row['digits_found']):.0f}",
            "copies": _percent("copied_share"),
        },
    ),
}


def _table(title: str, columns: dict[str, Callable[[Row], str]], rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("seed", justify="right")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [_cell(row, column) for column in columns.values()]
        table.add_row(row.get("model"), row.get("seed"), *cells)
    return table


def _cell(row: Row, column: Callable[[Row], str]) -> str:
    """Return what a column says of a row, or nothing where the table has no such number."""
    try:
        return column(row)
    except (KeyError, TypeError, ValueError):
        return ""
