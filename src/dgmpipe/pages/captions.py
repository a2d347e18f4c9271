"""What the pages say: captions with their numbers, and what a tier's last invocation was."""

import itertools
import math
import platform
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.evaluation.floor import floor_level
from dgmpipe.jobs.provenance import machine
from dgmpipe.pages.tables import COLUMNS
from dgmpipe.pages.tiers import PAPER_MODELS, TITLES, Tier
from dgmpipe.plan.evaluations import REAL
from dgmpipe.plan.exhibits import Exhibit, data_set, exhibits, has_digits
from dgmpipe.plan.summary import pm, spanned
from dgmpipe.plan.trainings import effective_settings
from dgmpipe.tracking.records import Record

__all__ = [
    "NOT_COMPUTED",
    "Caption",
    "dump_config",
    "minute",
    "provenance",
    "write_captions",
]

# Settings of a training that say how it is watched.
OF_EVALUATION = ("evaluate_every", "held_out_size")
NOT_COMPUTED = "The numbers of this caption are not computed yet.\n"


class Caption(NamedTuple):
    """The caption of a figure or table.

    Attributes:
        text: What it says, as reStructuredText.
        alt: Of a figure, what is to be seen on it, for who cannot see it.
        files: Where its numbers come from, below `results/{tier}/`.
    """

    text: str
    alt: str
    files: list[str]


def dump_config(config: Mapping[str, Any]) -> str:
    """Return a config as YAML that says of each of the paper's models that is left out that it is.

    Snakemake lays it over config.yaml, where the model is.
    """
    given = {name: block for name, block in config["models"].items() if block is not None}
    models = dict.fromkeys(PAPER_MODELS) | given
    return yaml.safe_dump({**config, "models": models}, sort_keys=False)


def write_captions(tier: Tier, templates: Path) -> dict[str, Caption]:
    """Write the captions of a tier's figures and tables to its folder `captions`.

    A template takes its numbers from the tables, so that a caption cannot differ from them; one
    whose table is not there yet says so instead. A figure's caption ends in the settings of its
    models that are not the paper's.

    Args:
        tier: Whose figures and tables these are.
        templates: Folder of the templates, workflow/report, with the config files in ../../config.

    Returns:
        The caption of each figure and table there is, by name, in the paper's order.

    Raises:
        jinja2.TemplateError: If a template names what there never is.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pm"] = pm
    numbers = _numbers(tier)
    others = _other_settings(tier.config, templates.resolve().parents[1] / "config/paper.yaml")
    folder = tier.folder / "captions"
    captions = {}
    for exhibit in exhibits(tier.config):
        if (tier.folder / exhibit.shown).exists():
            caption = _caption(environment, exhibit, tier, numbers)
            if exhibit.is_figure and caption.text != NOT_COMPUTED:
                caption = caption._replace(text=caption.text + _deviations(exhibit, others))
            captions[exhibit.name] = caption
            folder.mkdir(exist_ok=True)
            (folder / f"{exhibit.name}.rst").write_text(caption.text, encoding="utf-8")
    return captions


def _caption(
    environment: jinja2.Environment, exhibit: Exhibit, tier: Tier, numbers: Mapping[str, Any]
) -> Caption:
    template = environment.get_template(f"{exhibit.caption or exhibit.name}.rst")
    tier.read.clear()
    try:
        filled = template.make_module({**numbers, "exhibit": exhibit, **exhibit.about})
    except FileNotFoundError:  # of a tier that has not come so far; anything else is a slip
        return Caption(NOT_COMPUTED, exhibit.title, [])
    alt = str(vars(filled)["alt"]) if exhibit.is_figure else ""
    return Caption(str(filled), " ".join(alt.split()).replace("\\|", "|"), list(tier.read))


def _other_settings(config: Config, paper: Path) -> dict[str, list[str]]:
    """Return for each of the paper's models which settings of its training are not the paper's.

    Args:
        config: Config of a tier.
        paper: The config file with the paper's settings; without it nothing is known to differ.
    """
    if not paper.exists():
        return {}
    theirs = read_config(yaml.safe_load(paper.read_text(encoding="utf-8")))
    found: dict[str, list[str]] = {}
    for name in theirs.models.keys() & config.models.keys():
        if config.models[name].kind == theirs.models[name].kind:
            new, old = (effective_settings(c, name) for c in (config, theirs))
            defaults = theirs.models[name].defaults()
            found[name] = [
                f"{key.replace('_', ' ')} {_value(new.get(key, defaults.get(key)))}"
                f" instead of {_value(old.get(key, defaults.get(key)))}"
                for key in {**old, **new}
                if key not in OF_EVALUATION and new.get(key) != old.get(key)
            ]
    return found


def _deviations(exhibit: Exhibit, others: Mapping[str, list[str]]) -> str:
    """Return a paragraph that says which settings of an exhibit's models are not the paper's."""
    paths = itertools.chain(*exhibit.files.values())
    models = [m[1] for path in paths if (m := re.match(r"(?:models|evaluation)/([^/]+)/", path))]
    alike: dict[str, list[str]] = {}
    for model in dict.fromkeys(models):
        if others.get(model):
            alike.setdefault(", ".join(others[model]), []).append(PAPER_MODELS[model])
    if not alike:
        return ""
    said = "; ".join(f"{' and '.join(models)}: {text}" for text, models in alike.items())
    return f"\nNot with the paper's settings. {said}.\n"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return np.format_float_positional(value, trim="-")
    return f"{value:,}" if type(value) is int else str(value).lower()


class _Tables:
    """The rows of a tier's tables by name; a table that is not there raises FileNotFoundError."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return self._tier.rows(name)

    def __contains__(self, name: object) -> bool:
        return (self._tier.folder / f"tables/{name}.csv").exists()


def _numbers(tier: Tier) -> dict[str, Any]:
    """Return what templates can name. What is not computed yet raises FileNotFoundError."""
    config = tier.config

    def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["seed"] == config.shown_seed]

    def named(table: str) -> list[str]:
        """Return the models in a table but for the points of sweeps."""
        models = dict.fromkeys(row["model"] for row in tier.rows(table))
        return [model for model in models if "@" not in model]

    def measured(table: str, model: str, column: str) -> str:
        """Write mean ± deviation over the seeds, or of one seed the number ± its own error.

        The only seed of a model beside others that have several has its number alone.
        """
        rows = [row for row in tier.rows(table) if "@" not in row["model"]]
        found = [row for row in rows if row["model"] == model]
        if not found:
            raise FileNotFoundError(f"{table} has no row of {model}")
        values = [row[column] for row in found]
        if len(values) == 1:
            alone = len({row["seed"] for row in rows}) == 1
            return pm(values[0], found[0][COLUMNS[column].error] if alone else math.nan)
        return pm(float(np.mean(values)), float(np.std(values, ddof=1)))

    def over(*models: str, of: str = "") -> str:
        """Say how many seeds each model has, or a table `of` them; nothing if none has several.

        The table of a tier may have fewer than the config of a study that is laid over it.
        """
        rows = tier.rows(of) if of else []
        seeds = {name: {row["seed"] for row in rows if row["model"] == name} for name in models}
        counts = [
            len(seeds[model] if of else config.seeds_of(model)) for model in models if model != REAL
        ]
        return f"over {spanned(counts)} seeds" if max(counts, default=1) > 1 else ""

    digits = has_digits(config)
    return {
        "config": config,
        "over": over,
        "spanned": spanned,
        "tables": _Tables(tier),
        "titles": {name: config.title(name) for name in config.models} | {REAL: TITLES[REAL]},
        "shown": shown,
        "named": named,
        "measured": measured,
        "flow": lambda model: tier.row("flows", model=model),
        "evidence": lambda model: tier.row("vae_evidence", model=model),
        "answers": lambda study: _answers(config, study, tier.table(f"study_{study}")),
        "gans": [name for name in config.of_family("gan") if "@" not in name],
        "posteriors": lambda model: _posteriors(tier.arrays(model, "posterior")),
        "floor_95": lambda: floor_level(tier.floor()),
        "moons_entropy": lambda: float(tier.data("moons")["entropy"]),
        "intensities": lambda: math.prod(tier.data("images")["images"].shape[1:]),
        "data_set": data_set(config),
        "class_word": "digit" if digits else "class",
        "class_words": "digits" if digits else "classes",
        "some_shown": "a digit" if digits else "something of a class",
        "none_shown": "no digit" if digits else "nothing of any class",
    }


def _answers(config: Config, study: str, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield for each model and measure of a study what was measured at each swept value."""
    measures = config.studies[study].measures
    keys = [name for name in table if name not in ("model", "seed", *config.studies[study].numbers)]
    for model, measure in itertools.product(table["model"].unique(), measures):
        rows = table[table["model"] == model]
        of_points = rows.groupby(keys, sort=False)[measure] if keys else [((), rows[measure])]
        numbers = []
        for values, found in of_points:
            at = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in zip(keys, values, strict=True))
            if found.notna().all():
                numbers.append(pm(found.mean(), found.std()) + (f" at {at}" if at else ""))
        if numbers:
            words = measure.split(".", 1)[1].replace("_", " ")
            yield {"model": config.title(model), "measure": words, "numbers": numbers}


def _posteriors(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return index, label if any, evidence and bound of each image of a VAE's posteriors."""
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
