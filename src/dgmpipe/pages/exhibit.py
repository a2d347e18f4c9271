"""A tier's figures, tables and origin as a page of Markdown, to be kept with the docs."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from dgmpipe.errors import UserError
from dgmpipe.pages.captions import Caption, dump_config, minute, provenance, write_captions
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.exhibits import SECTIONS, Exhibit, exhibits
from dgmpipe.plan.trainings import trainings
from dgmpipe.tracking.records import Record

__all__ = ["training_row", "write_exhibit"]

PAGE = """\
# The results of the tier `{tier}`

Made by `{command}` from the files of this tier. Captions take their
numbers from the [tables](tables), which have all of them. Weights are not kept here.

{missing}{changes}## Where they come from

| | |
|---|---|
| config | [config.yaml](config.yaml), digest {config_digest} |
| last invocation | commit {commit}, ended {ended} |
| machine | {machine} |
| versions | {versions} |

| training | seed | steps | commit | begun | device | hours | core hours | parts | MB |
|---|---|---:|---|---|---|---:|---:|---:|---:|
{trainings}
`hours` are those of the training with its evaluations, in all the parts that interruptions cut it
into. `core hours` are the time that its threads computed; where the two differ, others had the
processor as well.
"""


def write_exhibit(
    results: Path, folder: Path, templates: Path, configs: Path, command: str
) -> None:
    """Write README.md, config.yaml, `figures/` and `tables/` of a tier.

    The page names also what is not made, and what was made with other settings than the tier's.

    Args:
        results: Folder `results/{tier}`.
        folder: Where they go; figures and tables that are there go.
        templates: Folder of the captions' templates, workflow/report.
        configs: Folder of the config files.
        command: What the page says that it is made by.

    Raises:
        FileNotFoundError: If the workflow has never begun on the tier.
        UserError: If the folder is that of the results, which the page would replace.
    """
    if folder.resolve() == results.resolve():
        raise UserError(f"the page cannot replace the results in {folder}; name another folder")
    tier = Tier(results)
    read, captions = tier.config, write_captions(tier, templates)
    shown = [exhibit for exhibit in exhibits(read) if exhibit.name in captions]
    for kind in ("figures", "tables"):
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
    for exhibit in shown:
        shutil.copy(results / exhibit.shown, folder / exhibit.shown)
    trained, missing = "", ""
    for model, seed in trainings(read):
        row, how_far = training_row(results, model, seed)
        if row:
            trained += f"| {' | '.join([read.title(model), str(seed), *row])} |\n"
        else:
            missing += f"- {read.title(model)}, seed {seed}: {how_far}\n"
    missing += "".join(f"- {e.name}\n" for e in exhibits(read) if e.name not in captions)
    changes = "".join(f"- {line}\n" for line in tier.changes(configs))
    page = PAGE.format(
        tier=read.tier,
        command=command,
        missing=_unless_empty("Not finished", missing),
        changes=_unless_empty("What differs from the tier's config file", changes),
        trainings=trained,
        **provenance(results),
    )
    (folder / "config.yaml").write_text(dump_config(tier.given), encoding="utf-8")
    (folder / "README.md").write_text(page + "".join(_sections(shown, captions)), encoding="utf-8")


def _unless_empty(heading: str, items: str) -> str:
    return f"## {heading}\n\n{items}\n" if items else ""


def training_row(results: Path, model: str, seed: int) -> tuple[list[str], str]:
    """Return what there is to know of a training that is done, or nothing and how far it is.

    The columns are steps, commit, begun, device, hours, core hours, parts and memory in MB, which
    nobody knows of a released training.
    """
    record = Record.read(results / f"runs/{model}_seed_{seed}.json")
    folder = results / f"models/{model}/seed_{seed}"
    if not (folder / "time.json").exists():
        if record is None:
            return [], "not begun"
        done = max((sample["step"] for sample in record.samples), default=0)
        return [], f"{done:,.0f} of {record.params['steps']:,} steps"
    summary, time = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("summary", "time")
    )
    tags, started = (record.tags, record.started) if record else ({}, None)
    released = tags.get("dgmpipe.released")
    columns = [
        f"{summary['hyperparameters']['steps']:,}",
        tags.get("git.commit", "unknown")[:7] + " with changes" * (tags.get("git.dirty") == "true"),
        minute(int(released) if released else started),
        tags.get("device", "unknown"),
        f"{time['seconds'] / 3600:.2f}",
        f"{time['processor_seconds'] / 3600:.2f}",
        str(time["parts"]),
        "–" if released else _memory(results / f"benchmarks/train/{model}_seed_{seed}.tsv"),
    ]
    return columns, ""


def _memory(benchmark: Path) -> str:
    measured = pd.read_csv(benchmark, sep="\t")
    return f"{measured['max_rss'].iloc[-1]:,.0f}"


def _sections(shown: list[Exhibit], captions: Mapping[str, Caption]) -> Iterator[str]:
    """Yield the figures and the tables with their captions, by section of the paper."""
    for section in SECTIONS:
        here = [exhibit for exhibit in shown if exhibit.section == section]
        if here:
            yield f"\n## {section}\n"
        for exhibit in here:
            name = exhibit.name
            caption = captions[name].text.replace("``", "`").strip()
            if exhibit.is_figure:
                yield f"\n![{name}](figures/{name}.png)\n\n{caption}\n"
            else:
                yield f"\n[`{name}.csv`](tables/{name}.csv): {caption}\n"
