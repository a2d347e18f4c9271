"""The report of a finished tier: captions with their numbers, and Snakemake's page of it all."""

import argparse
import base64
import html
import itertools
import json
import math
import platform
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.figures.figure_11 import FLOOR_QUANTILE
from dgmpipe.jobs.provenance import machine
from dgmpipe.plan.evaluations import REAL
from dgmpipe.plan.exhibits import SECTIONS, Exhibit, exhibits
from dgmpipe.tracking.records import Record

__all__ = [
    "PAPER_MODELS",
    "TITLES",
    "dump_config",
    "make_report",
    "minute",
    "pm",
    "provenance",
    "write_captions",
]

# A table with more is shown with its columns as rows.
_MANY_COLUMNS = 8
# The models of config.yaml, with what the paper's statements and pages call them.
PAPER_MODELS = {
    "realnvp": "Real NVP",
    "otflow": "OT-Flow",
    "vae": "VAE",
    "dcgan_random": "DCGAN",
    "dcgan_vae": "DCGAN from VAE",
    "wgan_random": "WGAN",
    "wgan_vae": "WGAN from VAE",
    "classifier": "classifier",
}
TITLES = PAPER_MODELS | {REAL: "real training images"}


def make_report(
    config: Mapping[str, Any],
    results: Path,
    templates: Path,
    snakefile: Path,
) -> bool:
    """Write `report.html` of a tier, with its captions and its config beside it.

    Args:
        config: The config of the invocation.
        results: Folder `results/{tier}`.
        templates: Folder of the captions' templates, workflow/report.
        snakefile: The workflow.

    Returns:
        Whether there is anything to be shown.

    Raises:
        subprocess.CalledProcessError: If Snakemake cannot make it; its output says why.
    """
    made = write_captions(config, results, templates)
    if not made:
        return False
    config_file = results / "config.yaml"
    config_file.write_text(dump_config(config), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--nolock"]
    command += ["--report", str(results / "report.html"), "--configfile", str(config_file)]
    command += ["--report-stylesheet", str(templates / "style.css")]
    subprocess.run(
        [*command, "--", *map(str, made)], check=True, capture_output=True, encoding="utf-8"
    )
    return True


def dump_config(config: Mapping[str, Any]) -> str:
    """Return a config as YAML that says of each of the paper's models that is left out that it is.

    Snakemake lays it over config.yaml, where the model is.
    """
    given = {name: block for name, block in config["models"].items() if block is not None}
    models = dict.fromkeys(PAPER_MODELS) | given
    return yaml.safe_dump({**config, "models": models}, sort_keys=False)


def write_captions(config: Mapping[str, Any], results: Path, templates: Path) -> list[Path]:
    """Write a caption for each figure and table there is, and the page that shows all of them.

    A template takes its numbers from the tables, so that a caption cannot differ from them; one
    whose table is not there yet says so instead.

    Args:
        config: The config of the invocation, whose exhibits these are.
        results: Folder `results/{tier}`.
        templates: Folder of the templates: of each figure and table, and of the page,
            `workflow.rst`.

    Returns:
        The figures and tables.
    """
    read = read_config(config)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pm"] = pm
    numbers = _numbers(read, results)
    made, texts, shows = [], {}, {}
    for exhibit in exhibits(read):
        path = results / next(iter(exhibit.outputs.values()))
        if path.exists():
            made.append(path)
            texts[exhibit.name] = _caption(environment, exhibit, numbers)
            shows[exhibit.name] = _raw_html(_picture(path, texts[exhibit.name]))
    page = environment.get_template("workflow.rst")
    sections = {
        section: [exhibit.name for exhibit in exhibits(read) if exhibit.section == section]
        for section in SECTIONS
    }
    shown = {name: names for name, names in sections.items() if set(names) & set(shows)}
    texts["workflow"] = page.render(numbers, captions=dict(texts), shows=shows, sections=shown)
    (results / "captions").mkdir(exist_ok=True)
    for name, text in texts.items():
        (results / "captions" / f"{name}.rst").write_text(text, encoding="utf-8")
    return made


def _caption(environment: jinja2.Environment, exhibit: Exhibit, numbers: Mapping[str, Any]) -> str:
    """Return the caption of a figure or table, which a tier that is not finished may not have."""
    template = environment.get_template(f"{exhibit.caption or exhibit.name}.rst")
    try:
        return template.render(numbers, exhibit=exhibit, **exhibit.about)
    except (jinja2.UndefinedError, LookupError):
        return "The numbers of this caption are not computed yet.\n"


def _picture(path: Path, caption: str) -> str:
    """Return a figure or a table as HTML."""
    if path.suffix == ".png":
        # In lines, for docutils refuses long ones.
        data = base64.encodebytes(path.read_bytes()).decode()
        alternative = html.escape(" ".join(caption.split())[:150], quote=True)
        return f'<img src="data:image/png;base64,{data}" alt="{alternative}"/>'
    table = pd.read_csv(path)
    index = len(table.columns) > _MANY_COLUMNS
    if index:
        keys = [name for name in ("model", "seed") if name in table and table[name].nunique() > 1]
        table = table.set_index(keys or list(table.columns[:1])).T
    shown = table.to_html(float_format=_number, na_rep="", border=0, index=index)
    return f'<div class="numbers">{shown}</div>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _raw_html(text: str) -> str:
    """Return HTML as reStructuredText."""
    return ".. raw:: html\n\n" + textwrap.indent(text, "   ")


def pm(value: float, error: float) -> str:
    """Write a number with its standard error, the error with two digits.

    >>> pm(0.35921, 0.00354), pm(-151.067, 2.215), pm(0.00504, math.nan)
    ('0.3592 ± 0.0035', '-151.1 ± 2.2', '0.00504')
    """
    if not error > 0:
        return f"{value:.3g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _numbers(config: Config, results: Path) -> dict[str, Any]:
    """Return what templates can name."""
    tables = {
        path.stem: pd.read_csv(path).to_dict("records") for path in results.glob("tables/*.csv")
    }

    def rows(table: str, model: str) -> list[dict[str, Any]]:
        return [row for row in tables[table] if row["model"] == model]

    def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["seed"] == config.seeds[0]]

    def named(table: str) -> list[str]:
        """Return the models in a table but for the points of sweeps."""
        models = dict.fromkeys(row["model"] for row in tables[table])
        return [model for model in models if "@" not in model]

    def measured(table: str, model: str, column: str, error: str = "") -> str:
        """Write mean ± deviation over the seeds, or of one seed the number ± its own error."""
        found = rows(table, model)
        values = [row[column] for row in found]
        if len(values) == 1:
            return pm(values[0], found[0][error or f"{column}_standard_error"])
        return pm(float(np.mean(values)), float(np.std(values, ddof=1)))

    titles = {name: config.title(name) for name in config.models} | {REAL: "real training images"}
    numbers: dict[str, Any] = {
        "config": config,
        "several": len(config.seeds) > 1,
        "companion": (results / "companion.html").exists(),
        "tables": tables,
        "titles": titles,
        "shown": shown,
        "named": named,
        "measured": measured,
        "flow": lambda model: shown(rows("flows", model))[0],
        "evidence": lambda model: shown(rows("vae_evidence", model))[0],
        "answers": lambda study: _answers(config, study, pd.DataFrame(tables[f"study_{study}"])),
        "gans": [name for name in config.of_family("gan") if "@" not in name],
    }
    numbers["posteriors"] = {
        path.parents[1].name: _posteriors(path)
        for path in results.glob(f"evaluation/*/seed_{config.seeds[0]}/posterior.npz")
    }
    if (floor := results / "evaluation/energy_floor.npz").exists():
        numbers["floor_95"] = np.quantile(np.load(floor)["energy_distances"], FLOOR_QUANTILE)
    if (moons := results / "data/moons.npz").exists():
        numbers["moons_entropy"] = float(np.load(moons)["entropy"])
    return numbers | provenance(results)


def _answers(config: Config, study: str, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield for each model and measure of a study what was measured at each swept value."""
    measures = config.studies[study].measures
    keys = [name for name in table if name not in ("model", "seed", *measures)]
    for model, measure in itertools.product(table["model"].unique(), measures):
        of_points = table[table["model"] == model].groupby(keys, sort=False)[measure]
        numbers = []
        for values, found in of_points:
            at = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in zip(keys, values, strict=True))
            if found.notna().all():
                numbers.append(f"{pm(found.mean(), found.std())} at {at}")
        if numbers:
            words = measure.split(".", 1)[1].replace("_", " ")
            yield {"model": config.title(model), "measure": words, "numbers": numbers}


def _posteriors(path: Path) -> list[dict[str, Any]]:
    """Return index, label if any, evidence and bound of each image of a VAE's posteriors."""
    arrays = np.load(path)
    names = [name for name in ("index", "label", "log_evidence", "elbo") if name in arrays]
    columns = zip(*(arrays[name].tolist() for name in names), strict=True)
    return [dict(zip(names, values, strict=True)) for values in columns]


def provenance(results: Path) -> dict[str, str]:
    """Return what a tier's last invocation was made of, when and where, and versions here."""
    record = Record.read(results / "invocation.json")
    tags = record.tags if record else {}
    changed = " with changes" if tags.get("git.dirty") == "true" else ""
    begun, ended = (record.started, record.ended) if record else (None, None)
    packages = ("torch", "torchvision", "scikit-learn", "numpy", "snakemake", "mlflow")
    return {
        "commit": tags.get("git.commit", "unknown") + changed,
        "config_digest": tags.get("config.digest", "unknown"),
        "started": minute(begun),
        "ended": minute(ended),
        "machine": tags.get("machine") or machine(),
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
        ),
    }


def minute(milliseconds: int | None) -> str:
    """Write a time in milliseconds since 1970 to the minute."""
    if milliseconds is None:
        return "unknown"
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def main() -> None:
    """Make the report of a tier whose config comes on stdin as JSON.

    No result depends on it: should it fail, one warning says so.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name in ("results", "templates", "snakefile"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        if make_report(json.load(sys.stdin), **vars(arguments)):
            print(f"{arguments.results / 'report.html'} shows all of it", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "it said nothing").splitlines()[-1]
        print(f"warning: no report.html was made: {last}", file=sys.stderr)
    except (OSError, KeyError, ValueError, jinja2.TemplateError) as error:
        print(f"warning: no report.html was made: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
