"""The report of a tier: one page that opens with the paper's statements and what came of them."""

import argparse
import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import docutils.core
import docutils.utils
import jinja2
import pandas as pd
import PIL.Image
import PIL.WebPImagePlugin  # else Pillow looks for it in every plugin that there is

from dgmpipe.config.sweeps import Point
from dgmpipe.errors import UserError
from dgmpipe.files import write_json
from dgmpipe.pages.captions import Caption, dump_config, provenance, write_captions
from dgmpipe.pages.exhibit import training_row
from dgmpipe.pages.tables import Table, histogram, number, over_seeds, readable, typeset
from dgmpipe.pages.tiers import PAPER_MODELS, TITLES, Tier
from dgmpipe.plan.evaluations import EVALUATIONS, REAL
from dgmpipe.plan.exhibits import CLAIMS, SECTIONS, STUDIES, Exhibit, data_set, exhibits, has_digits
from dgmpipe.plan.summary import main_numbers, spanned
from dgmpipe.plan.trainings import levels, seeds_in_words, trainings
from dgmpipe.tracking.records import Record

if TYPE_CHECKING:
    from dgmpipe.pages.statements import Statement

__all__ = ["make_report", "rule_of"]

THUMBNAIL_PIXELS = 240
# Of a sweep that no study asks about: what tells the points of each family apart.
_HEADLINES = {
    "flows": ("kl", "nll"),
    "vae_evidence": ("log_evidence_mean", "gap_mean"),
    "generators": ("energy_distance", "rejected"),
}
_PACKAGE = Path(__file__).parents[1]
# The folders of a tier that statements take numbers from.
_NUMBERS = ("data", "evaluation", "models", "tables")
# What the first screen of another tier has beside that of the tier `paper`.
_BESIDE = "energy_distance"
# How a verdict is marked: not by its colour alone.
_MARKS: dict[str, tuple[str, str]] = {
    "for": ("✓", "holds"),
    "against": ("✗", "fails"),
    "undecided": ("~", "mixed"),
    "not decidable": ("?", "open"),
}


class _Source(NamedTuple):
    """A file that numbers come from, the rule that makes it, and where the page shows it."""

    file: str
    rule: str
    anchor: str


class _Shown(NamedTuple):
    """A figure or table as the page's template takes it."""

    name: str
    label: str
    title: str
    section: str
    caption: str
    alt: str
    image: str
    thumbnail: str
    size: tuple[int, int]
    table: Table | None
    files: list[str]
    function: str
    seconds: str
    sources: list[_Source]
    made_of: list[_Source]


def make_report(results: Path, templates: Path) -> bool:
    """Write `report.html` of a tier, with its captions and its config beside it.

    The page stands alone: it has all that it shows, and needs no network.

    Args:
        results: Folder `results/{tier}`.
        templates: Folder of the page's and the captions' templates, workflow/report.

    Returns:
        Whether there is anything to be shown.

    Raises:
        FileNotFoundError: If the workflow has never begun on the tier.
        jinja2.TemplateError: If a template names what there never is.
        ValueError: If a caption is no reStructuredText.
    """
    tier = Tier(results)
    captions = write_captions(tier, templates)
    if not captions:
        return False
    (results / "config.yaml").write_text(dump_config(tier.given), encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    page = environment.get_template("page.html").render(
        style=(templates / "page.css").read_text(encoding="utf-8"),
        **_contents(tier, captions, templates.parents[1] / "config"),
    )
    (results / "report.html").write_text(page, encoding="utf-8")
    return True


def _beside(tier: Tier, paper: Path) -> list[tuple[str, str, str]]:
    """Return the energy distances of a tier's first seed with those of the paper's settings.

    Args:
        tier: The tier.
        paper: Folder of the tables of the tier `paper`.

    Returns:
        Title of each generator that both have, and the number here and there.
    """
    here, there = (
        {n.model: number(n.value) for n in main_numbers(folder, [_BESIDE]) if n.seed == seed}
        for folder, seed in ((tier.folder, tier.seeds[0]), (paper, 0))
    )
    both = [model for model in PAPER_MODELS if model in here and model in there]
    return [(PAPER_MODELS[model], here[model], there[model]) for model in both]


def _contents(tier: Tier, captions: Mapping[str, Caption], configs: Path) -> dict[str, Any]:
    config = tier.config
    shown = list(_exhibits(tier, captions))
    statements, published = _statements(tier, shown, configs)
    return {
        "config": config,
        "seeds": seeds_in_words(config),
        "config_text": dump_config(tier.given),
        "data_set": data_set(config),
        "changes": tier.changes(configs) if configs.is_dir() else [],
        "beside": _beside(tier, configs.parent / "docs/paper-tier") if has_digits(config) else [],
        "statements": statements,
        "tally": _tally(statements),
        "claims": [e for e in shown if e.section == CLAIMS],
        "published": _published(published),
        "figures": [e for e in shown if e.image],
        "sections": [
            {"id": _section_id(name), "title": name, "shown": of_section}
            for name in SECTIONS
            if name not in (CLAIMS, STUDIES)
            and (of_section := [e for e in shown if e.section == name])
        ],
        "studies": list(_studies(tier, shown)),
        "sweeps": list(_sweeps(tier)),
        "companion": (tier.folder / "companion.html").exists(),
        "trainings": _trainings(tier),
        "rules": _rules(tier),
        "digests": _digests(tier),
        "provenance": provenance(tier.folder),
    }


def rule_of(tier: Tier, file: str) -> str:
    """Return the rule of the workflow that makes a file of a tier.

    Args:
        tier: Whose config it is.
        file: Its path below `results/{tier}/`.

    Raises:
        ValueError: If no rule makes it.
    """
    *between, name = file.split("/")
    folder = between[0] if between else ""
    if folder in ("figures", "tables"):
        return name.rsplit(".", 1)[0]
    if folder == "data":
        return f"show_{name.removesuffix('.npz')}"
    if folder in ("models", "benchmarks"):
        model = between[1] if folder == "models" else name.rsplit("_seed_", 1)[0]
        (depth,) = (n for n, models in enumerate(levels(tier.config)) if model in models)
        return f"train_from_{depth}" if depth > 1 else ("train", "train_from")[depth]
    if file == "companion.html":
        return "companion"
    if file == "evaluation/energy_floor.npz":
        return "energy_floor"
    for evaluation in EVALUATIONS:
        if folder == "evaluation" and name in evaluation.outputs.values():
            return evaluation.name
    raise ValueError(f"no rule makes {file}")


def _sources(tier: Tier, files: list[str], shown: set[str]) -> list[_Source]:
    rules = {file: rule_of(tier, file) for file in files}
    return [_Source(file, rule, rule if rule in shown else "") for file, rule in rules.items()]


def _exhibits(tier: Tier, captions: Mapping[str, Caption]) -> Iterator[_Shown]:
    """Yield the figures and tables in the order of the page, numbered."""
    config = tier.config
    further, tables = 0, 0
    titles = {name: config.title(name) for name in config.models} | {REAL: TITLES[REAL]}
    words = {} if has_digits(config) else {"digits": "classes", "digit": "class"}
    for exhibit in exhibits(config):
        if exhibit.name not in captions:
            continue
        caption, path = captions[exhibit.name], tier.folder / exhibit.shown
        title, table, image, thumbnail, size = exhibit.title, None, "", "", (0, 0)
        if exhibit.is_figure:
            label, _, rest = title.partition(": ")
            if label.startswith("Figure ") and rest:
                title = rest
            else:
                further += 1
                label = f"Figure S{further}"
            image, thumbnail, size = _picture(path)
        else:
            tables += 1
            label = f"Table {tables}"
            table = _table(exhibit, pd.read_csv(path), titles, words, config.shown_seed)
        yield _Shown(
            name=exhibit.name,
            label=label,
            title=title[0].upper() + title[1:],
            section=exhibit.section,
            caption=_as_html(caption.text),
            alt=caption.alt,
            image=image,
            thumbnail=thumbnail,
            size=size,
            table=table,
            files=list(exhibit.outputs.values()),
            function=exhibit.function,
            seconds=_seconds(tier.folder / f"benchmarks/{exhibit.name}.tsv"),
            sources=_sources(tier, caption.files, set(captions)),
            made_of=_sources(
                tier, [path for paths in exhibit.files.values() for path in paths], set(captions)
            ),
        )


def _table(
    exhibit: Exhibit,
    table: pd.DataFrame,
    titles: Mapping[str, str],
    words: Mapping[str, str],
    seed: int,
) -> Table | None:
    """Return a table as the page shows it; of a summary over one seed there is nothing to show."""
    if exhibit.caption == "summary" and (table["seeds"] == 1).all():
        return None
    if exhibit.name == "class_histograms":
        return histogram(table, seed, titles, words.get("digit", "digit"))
    return readable(table, titles, words)


def _picture(path: Path) -> tuple[str, str, tuple[int, int]]:
    """Return a figure and a thumbnail of it as data URIs, and its size in pixels."""
    with PIL.Image.open(path) as picture:
        size = picture.size
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), PIL.Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    return _uri("png", path.read_bytes()), _uri("webp", data.getvalue()), size


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _as_html(text: str) -> str:
    """Return reStructuredText as HTML that may stand in a page as it is.

    Raises:
        ValueError: If it is not well-formed.
    """
    settings = {"halt_level": 2, "report_level": 5, "raw_enabled": False, "_disable_config": True}
    settings |= {"file_insertion_enabled": False, "smart_quotes": False}
    try:
        parts = docutils.core.publish_parts(
            typeset(text), writer="html5", settings_overrides=settings
        )
    except docutils.utils.SystemMessage as error:
        raise ValueError(f"a caption cannot be shown: {error}") from None
    return parts["body"].strip()


def _seconds(benchmark: Path) -> str:
    if not benchmark.exists():
        return ""
    seconds = pd.read_csv(benchmark, sep="\t")["s"].iloc[-1]
    return f"{seconds:.1f}"


def _section_id(section: str) -> str:
    """Return an anchor: "Section 3: normalizing flows" is "section-3"."""
    return section.split(":")[0].lower().replace(" ", "-")


def _statements(
    tier: Tier, shown: list[_Shown], configs: Path
) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Return the statements of the paper, as `_statement` does, and the table of `_published`.

    They are kept in a file until a number or the code that they depend on changes: to compute them
    takes longer than all the rest of the page, and a figure that is drawn anew changes none.
    """
    path = tier.folder / "captions/statements.json"
    state = _state(tier, [exhibit.name for exhibit in shown])
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["state"] == state:
            statements = [
                {**s, "sources": [_Source(*source) for source in s["sources"]]}
                for s in kept["statements"]
            ]
            return statements, kept["published"]
    except (OSError, ValueError, LookupError, TypeError):
        pass  # there is none, or it was cut off
    from dgmpipe.pages.claims import PUBLISHED_HEAD, against_the_published
    from dgmpipe.pages.statements import STATEMENTS

    # What trainings decide comes first, and what is counted in the code last.
    ordered = sorted(STATEMENTS, key=lambda statement: not statement.of_tier)
    statements = [_statement(statement, tier, shown) for statement in ordered]
    rows = against_the_published(tier, configs)
    published = [PUBLISHED_HEAD, *rows] if rows else []
    write_json({"state": state, "statements": statements, "published": published}, path)
    return statements, published


def _state(tier: Tier, names: list[str]) -> str:
    """Return a digest of all that the statements of a tier depend on."""
    numbers = [f for part in _NUMBERS for f in (tier.folder / part).rglob("*") if f.is_file()]
    code = [f for f in _PACKAGE.rglob("*.py") if f.parent.name != "figures"]
    files = [
        (str(file.relative_to(top)), (status := file.stat()).st_size, status.st_mtime_ns)
        for top, found in ((tier.folder, numbers), (_PACKAGE, code))
        for file in sorted(found)
    ]
    state = json.dumps([names, tier.given, files], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()


def _statement(statement: "Statement", tier: Tier, shown: list[_Shown]) -> dict[str, Any]:
    """Return a statement of the paper with ours, the verdict, and where both come from."""
    from dgmpipe.pages.claims import computed, effect_cells

    tier.read.clear()
    claim = computed(statement, [tier])
    names = {exhibit.name for exhibit in shown}
    # Of several seeds each has its files; those of the first stand for them.
    first = (
        []
        if claim.decision is None
        else [file for file in tier.read if not re.search(rf"seed_(?!{tier.seeds[0]}/)", file)]
    )
    mark, kind = _MARKS[claim.decision] if claim.decision else ("–", "missing")
    holds_in, effect, interval, within, between = effect_cells(claim)
    return {
        "links": list(_places(statement.where, shown)),
        "paper": statement.paper,
        "ours": claim.text,
        "verdict": claim.verdict("here"),
        "effect": effect if claim.effects else "",
        "compared": statement.effect,
        "holds_in": holds_in,
        "interval": interval,
        "errors": [
            f"×/÷ {error} {where}"
            for error, where in ((within, "within a training"), (between, "between trainings"))
            if error != "–"
        ],
        "mark": mark,
        "kind": kind,
        "holds_if": statement.holds_if,
        "because": statement.because,
        "sources": _sources(tier, first, names),
    }


def _published(table: list[list[str]]) -> Table | None:
    """Return how the paper's tier stands against the generators that the authors published."""
    if not table:
        return None
    head, *rows = table
    numeric = [False, *[True] * (len(head) - 2), False]
    return Table([(label, "", "") for label in head], rows, 1, numeric)


def _places(where: str, shown: list[_Shown]) -> Iterator[tuple[str, str]]:
    """Yield where a statement leads: text and anchor of each figure or section that it names."""
    if where.startswith("Fig."):
        for figure in re.findall(r"\d+", where):
            at = [e.name for e in shown if e.label == f"Figure {figure}"]
            yield f"Figure {figure}", at[0] if at else ""
    else:
        section = f"Section {where.split('.')[0]}"
        at = [e.section for e in shown if e.section.startswith(section)]
        yield f"Section {where}", _section_id(at[0]) if at else ""


def _tally(statements: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return how many statements have each kind of verdict, in words."""
    words = {
        "holds": "hold",
        "fails": "do not hold",
        "mixed": "are undecided",
        "open": "cannot be decided",
        "missing": "are not computed yet",
    }
    counts = [(text, sum(s["kind"] == kind for s in statements)) for kind, text in words.items()]
    return [(text, count) for text, count in counts if count]


def _studies(tier: Tier, shown: list[_Shown]) -> Iterator[dict[str, Any]]:
    """Yield for each study that has a table: its question, the answer in numbers, its exhibits."""
    by_name = {exhibit.name: exhibit for exhibit in shown}
    bars = "Means over the seeds; bars reach from the least to the greatest."
    for name, study in tier.config.studies.items():
        table, figure = by_name.get(f"study_{name}"), by_name.get(f"study_{name}_figure")
        if table is None:
            continue
        numbers = tier.table(f"study_{name}")
        keys = [key for key in numbers if key not in ("seed", *study.numbers)]
        yield {
            "id": f"study-{name}",
            "title": f"Study {name.replace('_', ' ')}",
            "question": study.question,
            "seeds": _seeds_of(tier.config.points(name), tier),
            "note": _as_html(study.note),
            "answer": over_seeds(numbers, keys, study.numbers, _titles(tier)),
            # Without what their captions say where they stand alone.
            "table": table._replace(caption="<p>Every point of the sweep, seed by seed.</p>"),
            "figure": figure and figure._replace(caption=f"<p>{bars}</p>"),
        }


def _seeds_of(points: list[Point], tier: Tier) -> str:
    """Return how many seeds the points of a sweep have."""
    return spanned([len(tier.config.seeds_of(point.name)) for point in points])


def _titles(tier: Tier) -> dict[str, str]:
    return {name: tier.config.title(name) for name in tier.config.models}


def _sweeps(tier: Tier) -> Iterator[dict[str, Any]]:
    """Yield the sweeps that no study asks about, with what tells their points apart."""
    config = tier.config
    asked = {study.sweep for study in config.studies.values()}
    for name, points in config.sweeps.items():
        if name in asked:
            continue
        values = {point.name: {"base": point.model, **point.values} for point in points}
        tables, found = [], pd.DataFrame()
        for table, measures in _HEADLINES.items():
            if not (tier.folder / f"tables/{table}.csv").exists():
                continue
            rows = tier.table(table)
            rows = rows[rows["model"].isin(values)]
            if len(rows):
                tables.append(table)
                kept = rows[["model", "seed", *(m for m in measures if m in rows)]]
                found = kept if found.empty else found.merge(kept, "outer", ["model", "seed"])
        if found.empty:
            continue
        found = found.sort_values("model", key=lambda names: names.map(list(values).index))
        of_points = pd.DataFrame([values[model] for model in found["model"]], index=found.index)
        keys = list(of_points.columns)
        numbers = pd.concat([of_points, found.drop(columns=["model", "seed"])], axis="columns")
        numbers = numbers.rename(columns={"base": "model"})
        yield {
            "id": f"sweep-{name}",
            "title": f"Sweep {name.replace('_', ' ')}",
            "points": len(points),
            "seeds": _seeds_of(points, tier),
            "answer": over_seeds(
                numbers,
                ["model", *keys[1:]],
                [m for ms in _HEADLINES.values() for m in ms],
                _titles(tier),
            ),
            "tables": tables,
        }


def _trainings(tier: Tier) -> list[list[str]]:
    """Return a row a training: model, seed, its key, and what there is to know of it."""
    rows = []
    for model, seed in trainings(tier.config):
        row, how_far = training_row(tier.folder, model, seed)
        record = Record.read(tier.folder / f"runs/{model}_seed_{seed}.json")
        key = record.tags.get("dgmpipe.key", "unknown") if record else "unknown"
        empty = [how_far, *["–"] * 7]
        rows.append([tier.config.title(model), str(seed), key, *(row or empty)])
    return rows


def _rules(tier: Tier) -> list[list[str]]:
    """Return a row a rule that has run: its jobs, their time and the most memory of one.

    That of what is drawn or evaluated in a fork of another process is not known.
    """
    drawn = (exhibit.name for exhibit in exhibits(tier.config))
    forked = {"companion", *drawn, *(evaluation.name for evaluation in EVALUATIONS)}
    jobs: dict[str, list[pd.Series]] = {}
    for path in sorted(tier.folder.glob("benchmarks/**/*.tsv")):
        rule = path.stem if path.parent.name == "benchmarks" else path.parent.name
        jobs.setdefault(rule, []).append(pd.read_csv(path, sep="\t").iloc[-1])
    by_time = sorted(jobs.items(), key=lambda item: -sum(job["s"] for job in item[1]))
    rows = []
    for rule, ran in by_time:
        memory = pd.to_numeric(pd.Series([job["max_rss"] for job in ran]), errors="coerce").max()
        known = "–" if rule in forked else number(round(memory, 0))
        rows.append([rule, str(len(ran)), f"{sum(job['s'] for job in ran):,.1f}", known])
    return rows


def _digests(tier: Tier) -> list[tuple[str, str]]:
    """Return names and digests of the data that the trainings were done on."""
    records = (
        Record.read(tier.folder / f"runs/{model}_seed_{seed}.json")
        for model, seed in trainings(tier.config)
    )
    found = dict.fromkeys((name, d) for record in records if record for name, d in record.datasets)
    return sorted((name, digest) for name, digest in found)


def main() -> None:
    """Make the report of a tier from its folder.

    No result depends on it: should it fail, one warning says so.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder results/{tier}")
    parser.add_argument("--templates", type=Path, default=Path("workflow/report"))
    arguments = parser.parse_args()
    try:
        if make_report(**vars(arguments)):
            print(f"{arguments.results / 'report.html'} shows all of it", file=sys.stderr)
    except (OSError, LookupError, ValueError, UserError, jinja2.TemplateError) as error:
        said = error if str(error) else type(error).__name__
        print(f"warning: no report.html was made: {said}", file=sys.stderr)


if __name__ == "__main__":
    main()
