"""Tables for a page: columns by what they mean, numbers with their errors, to the digits they have.

A table is a heading for each column and rows of text; the page's template makes HTML of it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from dgmpipe.plan.summary import pm

__all__ = ["COLUMNS", "Column", "Table", "histogram", "number", "over_seeds", "readable", "typeset"]

# A table with more columns is shown with its columns as rows, if it has few rows.
_MANY_COLUMNS, _FEW_ROWS = 7, 8
_SUPERSCRIPTS = str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹")


class Column(NamedTuple):
    """What a column of a table means.

    Attributes:
        label: Its name in words.
        unit: Of its numbers; "%" of shares, which are shown as such.
        error: The column that has its standard error.
    """

    label: str
    unit: str = ""
    error: str = ""


def _with_error(name: str, label: str, unit: str = "") -> dict[str, Column]:
    return {name: Column(label, unit, f"{name}_standard_error")}


def _transport(name: str, label: str) -> dict[str, Column]:
    return {
        **_with_error(f"{name}_debiased", f"{label}, debiased"),
        f"{name}_across": Column(f"{label}, to test images"),
        f"{name}_within_generated": Column(f"{label}, within generated images"),
        f"{name}_within_test": Column(f"{label}, within test images"),
    }


# In the order in which a page shows them.
COLUMNS: dict[str, Column] = {
    "model": Column("model"),
    "first": Column("generator"),
    "second": Column("compared with"),
    "kind": Column("kind of image"),
    "seed": Column("seed"),
    "seeds": Column("seeds"),
    # Statements
    "where": Column("where"),
    "statement": Column("the paper says"),
    "effect": Column("effect"),
    "low": Column("effect at least", "doublings", "error"),
    "high": Column("effect at most", "doublings"),
    "digit": Column("digit"),
    # Flows
    "parameters": Column("weights"),
    **_with_error("nll", "negative log-likelihood on held-out points", "nats"),
    "entropy": Column("entropy of the data, its lower bound", "nats"),
    **_with_error("kl", "KL divergence from the truth", "nats"),
    **_with_error(
        "kde_500_kl", "KL divergence of a kernel density estimate from 500 points", "nats"
    ),
    **_with_error(
        "kde_2000_kl", "KL divergence of a kernel density estimate from 2,000 points", "nats"
    ),
    "latent_energy_distance": Column("energy distance of latent points from N(0, I)"),
    "latent_energy_distance_null_95": Column("energy distance that 95% of true draws stay below"),
    "latent_pvalue": Column("p-value of the latent points' distance"),
    "mass": Column("integral of the learned density"),
    "rk4_steps": Column("Runge-Kutta steps"),
    "inverse_error": Column("relative inverse error"),
    "inverse_error_double": Column("relative inverse error in double precision"),
    "path_excess_median": Column("paths longer than straight lines: median", "%"),
    "path_excess_95": Column("paths longer than straight lines: 95% quantile", "%"),
    "path_excess_max": Column("paths longer than straight lines: maximum", "%"),
    "transport_cost_ratio": Column("transport cost over that of straight lines"),
    # Evidence
    "images": Column("test images"),
    "samples": Column("draws an image; 0 by quadrature"),
    "log_evidence_mean": Column("log p(x), mean", "nats", "log_evidence_standard_error"),
    "elbo_mean": Column("lower bound of log p(x) (ELBO), mean", "nats", "elbo_standard_error"),
    "gap_mean": Column("gap of log p(x) to its bound, mean", "nats", "gap_standard_error"),
    "gap_median": Column("gap, median", "nats"),
    "gap_smallest": Column("gap, smallest", "nats"),
    "gap_largest": Column("gap, largest", "nats"),
    "ceiling_mean": Column("ceiling of log p(x) under eq. (4), mean", "nats"),
    "log_evidence_error_largest": Column("numerical error of log p(x), largest", "nats"),
    "log_evidence_rise_mean": Column("log p(x) above that of half the draws, mean", "nats"),
    "elbo_error_largest": Column("numerical error of the bound, largest", "nats"),
    "effective_samples_median": Column("draws that count, median"),
    "border_share_largest": Column("share of p(x) at the border of the grid, largest"),
    "family_gap_mean": Column(
        "gap of the family's best member, mean", "nats", "family_gap_standard_error"
    ),
    "amortisation_gap_mean": Column(
        "gap of the encoder beyond it, mean", "nats", "amortisation_gap_standard_error"
    ),
    # Priors
    "prior": Column("prior"),
    "codes_nll": Column("−log density of test images' codes, mean", "nats"),
    "log_evidence_gain_mean": Column(
        "log p(x) above that under N(0, I), mean", "nats", "log_evidence_gain_standard_error"
    ),
    "total_variation": Column("total variation from the aggregate posterior"),
    # Generators
    "energy_distance": Column("energy distance from the test images", "", "standard_error"),
    "difference": Column("nearer to the data by (− farther)", "", "standard_error"),
    "null_95": Column("energy distance that 95% of permutations stay below"),
    "pvalue": Column("p-value of the permutation test"),
    "statistic": Column("statistic of the permutation test"),
    **_with_error("rejected", "rejected by the judge", "%"),
    "digits_found": Column("digits found"),
    **_with_error("digits_total_variation", "total variation of the digits from the data's"),
    **_with_error("precision", "precision"),
    **_with_error("recall", "recall"),
    **_with_error("density", "density"),
    **_with_error("coverage", "coverage"),
    "frechet_distance": Column("Fréchet distance in the judge's features"),
    **_with_error("median_distance", "distance to the nearest training image, 1 for test images"),
    **_with_error("near_share", "nearer to training images than 95% of test images are", "%"),
    **_with_error("copied_share", "copies of training images", "%"),
    **_with_error("test_rejected", "test images rejected by the judge", "%"),
    **_with_error("test_copied_share", "test images that count as copies", "%"),
    # Transport
    **_transport("wasserstein", "Wasserstein distance"),
    **_transport("sliced", "sliced distance"),
    **_transport("entropic", "regularised distance"),
    # Critics
    "wasserstein": Column("Wasserstein distance of the samples"),
    "estimate": Column("the critic's difference over its largest slope"),
    "share": Column("of the distance", "%"),
    "sample_bound": Column("the difference over the largest slope between images"),
    "difference_of_means": Column("difference of the critic's means"),
    "slope": Column("largest slope"),
    "slope_true": Column("largest slope at test images"),
    "slope_generated": Column("largest slope at generated images"),
    "slope_between": Column("largest slope between them"),
    "slope_between_mean": Column("mean slope between them"),
    "slope_pairs": Column("largest slope from image to image"),
    "generated": Column("generated"),
    "test": Column("test images"),
    # The judge
    "shows_a_digit": Column("shows a digit"),
    "trained_on": Column("met in training"),
    "read_right": Column("read right", "%"),
    "required": Column("required"),
    "met": Column("met"),
    "reason": Column("because"),
    # Trainings
    "device": Column("device"),
    "steps": Column("steps"),
    "parts": Column("parts"),
    "processor_seconds": Column("processor time", "s"),
    "seconds": Column("time", "s"),
    "milliseconds_per_step": Column("processor time a step", "ms"),
    "memory_mb": Column("memory", "MB"),
}
_ERRORS = {column.error for column in COLUMNS.values() if column.error}
_ORDER = {name: place for place, name in enumerate(COLUMNS)}


class Table(NamedTuple):
    """A table that can be read.

    Attributes:
        head: For each column its label, its unit and its name in the file, "" where it has none.
        rows: The cells, the first `keys` of which name the row.
        keys: How many.
        numeric: Which columns hold numbers.
        names: Of each row its name in the file, where the columns of the file are rows here.
    """

    head: list[tuple[str, str, str]]
    rows: list[list[str]]
    keys: int
    numeric: list[bool]
    names: Sequence[str] = ()


def number(value: Any, unit: str = "") -> str:
    """Write a value to three digits, or as a word.

    >>> number(205848), number(0.28923), number(2.4946e-05), number(0.0125, "%"), number(True)
    ('205,848', '0.289', '2.5·10⁻⁵', '1.2%', 'yes')
    """
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "yes" if value else "no"
    if unit == "%":
        return f"{100 * value:.3g}%".replace("-", "−") if abs(value) >= 1 else f"{value:.1%}"
    if float(value).is_integer():
        return f"{value:,.0f}".replace("-", "−")
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·10{_raised(str(int(exponent)))}".replace("-", "−")
    short = f"{value:.3g}"  # of what is no longer, such as a p-value of 0.001
    text = short if float(short) == value else f"{value:#.3g}".rstrip(".")
    text = f"{value:,.0f}" if abs(value) >= 1000 else text
    return text.replace("-", "−")


def typeset(text: str) -> str:
    """Return a text with its numbers as `number` writes them: signs, and powers of ten.

    >>> typeset("from -2.5 to 8e-06, below 10^2.5; arXiv:2103.05180, t10k-1")
    'from −2.5 to 8·10⁻⁶, below 10²·⁵; arXiv:2103.05180, t10k-1'
    """
    text = re.sub(r"(?<=\d)e([+-]\d+)", lambda m: f"·10{_raised(str(int(m[1])))}", text)
    text = re.sub(r"\b10\^(-?\d+(\.\d+)?)", lambda m: f"10{_raised(m[1])}", text)
    return re.sub(r"(?<![\w.`-])-(?=\d)", "−", text)


def _raised(digits: str) -> str:
    return digits.translate(_SUPERSCRIPTS)


def _with_its_error(value: Any, error: Any, unit: str) -> str:
    if isinstance(value, str) or value is None or math.isnan(value) or not error > 0:
        return number(value, unit)
    if unit == "%":
        return pm(100 * value, 100 * error).replace("-", "−") + "%"
    return pm(value, error).replace("-", "−")


def _column(name: str, words: Mapping[str, str]) -> Column:
    """Return what a column means: of a study's measure what is behind the dot, of a key itself."""
    found = COLUMNS.get(name.split(".", 1)[-1], Column(name.replace("_", " ")))
    label = found.label
    for word, other in words.items():
        label = label.replace(word, other)
    return found._replace(label=label)


def readable(
    table: pd.DataFrame, titles: Mapping[str, str], words: Mapping[str, str] | None = None
) -> Table:
    """Return a table of the files as a page shows it.

    Columns are in the order of `COLUMNS`, those it does not name in their own behind the model;
    means stand with their deviations, numbers with their standard errors; a seed that is the only
    one and columns without any number are left out. A table of few rows and many columns has these
    as rows.

    Args:
        table: As it is in its file.
        titles: What models are called.
        words: Words of labels to be replaced, such as "digit".
    """
    words = words or {}
    columns = {str(name): table[name] for name in table if not table[name].isna().all()}
    if "seed" in columns and columns["seed"].nunique() == 1:
        del columns["seed"]
    errors = dict.fromkeys(columns, "")
    for name in list(columns):
        base = name.removesuffix("_mean")
        if name.endswith("_mean") and (f"{base}_sd" in table or "seeds" in table):
            errors[name] = f"{base}_sd"
        elif (error := _column(name, {}).error) in table:
            errors[name] = error
    hidden = set(errors.values()) | {n for n in columns if n.endswith("_sd")}
    hidden |= {n for n in columns if n.removesuffix("_mean") in _ERRORS}
    summary = "seeds" in table

    def meaning(name: str) -> Column:
        return _column(name.removesuffix("_mean") if summary else name, words)

    def place(name: str) -> float:
        known = name.removesuffix("_mean") if summary else name
        return _ORDER.get(known.split(".", 1)[-1], _ORDER["second"] + 0.5)

    names = sorted((n for n in columns if n not in hidden), key=place)
    cells = {}
    for name in names:
        unit, error = meaning(name).unit, errors[name]
        if name in ("model", "first", "second"):
            cells[name] = [titles.get(value, value) for value in table[name]]
        elif error in table:
            pairs = zip(table[name], table[error], strict=True)
            cells[name] = [_with_its_error(value, e, unit) for value, e in pairs]
        else:
            cells[name] = [number(value, unit) for value in table[name]]
    keys = [n for n in names if n in ("model", "first", "second", "kind", "seed", "digit")]
    head = [(meaning(n).label, _shown_unit(meaning(n).unit), n) for n in names]
    numeric = [_is_numeric(table[n]) for n in names]
    rows = [list(row) for row in zip(*cells.values(), strict=True)]
    if len(names) > _MANY_COLUMNS and len(rows) <= _FEW_ROWS:
        return _turned(head, rows, len(keys))
    return Table(head, rows, max(1, len(keys)), numeric)


def _is_numeric(values: pd.Series) -> bool:
    types = pd.api.types
    return bool(types.is_numeric_dtype(values) and not types.is_bool_dtype(values))


def _shown_unit(unit: str) -> str:
    return "" if unit == "%" else unit


def _turned(head: list[tuple[str, str, str]], rows: list[list[str]], keys: int) -> Table:
    """Return a table with its columns as rows, and what named its rows over them."""
    over = [(", seed ".join(row[:keys]), "", "") for row in rows]
    turned = [
        [f"{label}, {unit}" if unit else label, *(row[place] for row in rows)]
        for place, (label, unit, _) in enumerate(head)
        if place >= keys
    ]
    names = [name for _, _, name in head[keys:]]
    return Table([("", "", ""), *over], turned, 1, [False, *[True] * len(rows)], names)


def histogram(table: pd.DataFrame, seed: int, titles: Mapping[str, str], word: str) -> Table:
    """Return the table `class_histograms` of one seed: a row a class, a column a model.

    Args:
        table: As it is in its file.
        seed: Whose counts are shown.
        titles: What models are called.
        word: What a class is called.
    """
    shown = table[table["seed"] == seed]
    counts = shown.pivot(index="digit", columns="model", values="generated")
    counts = counts[list(dict.fromkeys(shown["model"]))]
    counts.insert(0, "test", shown.groupby("digit")["test"].first())
    labels = ["test images", *(titles.get(name, name) for name in counts.columns[1:])]
    rows = [
        [number(v) for v in (digit, *row)]
        for digit, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    return Table(
        [(word, "", ""), *((label, "", "") for label in labels)],
        rows,
        1,
        [True] * (1 + len(labels)),
    )


def over_seeds(
    table: pd.DataFrame,
    keys: Sequence[str],
    measures: Iterable[str],
    titles: Mapping[str, str],
    words: Mapping[str, str] | None = None,
) -> Table:
    """Return a row for each combination of keys: each measure's mean ± deviation over the seeds.

    Args:
        table: A row for each combination and seed.
        keys: Columns that tell the rows apart, `model` among them.
        measures: Columns of numbers; those without any number are left out.
        titles: What models are called.
        words: As of `readable`.
    """
    given = [m for m in measures if m in table and not table[m].isna().all()]
    groups = table.groupby(list(keys), sort=False, dropna=False)
    rows = []
    for values, found in groups:
        named = [
            titles.get(v, v) if k == "model" else number(v)
            for k, v in zip(keys, values, strict=True)
        ]
        units = {m: _column(m, {}).unit for m in given}
        rows.append(
            named + [_with_its_error(found[m].mean(), found[m].std(), units[m]) for m in given]
        )
    meanings = [_column(name, words or {}) for name in (*keys, *given)]
    head = [(m.label, _shown_unit(m.unit), "") for m in meanings]
    numeric = [_is_numeric(table[n]) for n in (*keys, *given)]
    return Table(head, rows, len(keys), numeric)
