"""The page docs/benchmarks.md and its figures, from the measured tables."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dgmpipe.config.kinds import KINDS
from dgmpipe.figures.style import new_figure
from energy import PERMUTATIONS
from steps import ROUNDS, SECONDS, paper_config

__all__ = ["markdown", "write"]

CORES = os.cpu_count() or 1
# Of the textbook step, at the same number of threads.
TARGETS = {"realnvp": 2.5, "otflow": 4, "vae": 2.5, "dcgan": 2, "wgan": 2.2}
TITLES = {name: kind.title for name, kind in KINDS.items()}

STEPS = f"""\
## A training step

With the paper's settings. *Textbook* is eager PyTorch with standard layers, the optimiser's default
form and a data loader that fetches image by image
([benchmarks/textbook.py](../benchmarks/textbook.py)). It, our step and a product of two matrices of
2048 rows and columns are measured in turn, {ROUNDS} rounds of {SECONDS} s each, so that what else
the machine does slows all of them. The table has medians. The last column: the steps that {CORES}
trainings of one thread do together, by those that one does alone.

"""
PAPER = """\
## The paper tier

Hours of one core that the trainings of `config/paper.yaml` take at these speeds, evaluations left
out. With {cores} cores, side by side, {wall:.1f} hours.

"""
GPU = f"""\
## A training step on a GPU

The same steps on a {{gpu}}, {ROUNDS} rounds of half a second each, in turn.

"""
PROFILES = """\
## Where the milliseconds of a step go

Textbook → ours, one thread, by PyTorch's profiler, which itself slows small operations down.

"""
ENERGY = f"""\
## The energy test

Points of 784 coordinates, {PERMUTATIONS} permutations, {CORES} threads; the memory is what the test
adds to the process. [dcor](https://dcor.readthedocs.io) keeps the distances of all pairs.

"""
WORKFLOW = """\
## The whole workflow, tier laptop

{jobs} jobs with together {sum:.1f} minutes took {span:.1f} minutes from the first to the last, with
`--cores 4`. The critical path, which more cores would not shorten, has {critical:.1f} minutes:
{path}. Rules with at least 1% of the time:

"""


def write(measured: Path, docs: Path) -> None:
    """Write the page from the tables in `measured`, beside each a text file with its machine."""
    sections = {
        "steps": _steps,
        "gpu": _gpu,
        "profiles": _profiles,
        "energy": _energy,
        "startup": _startup,
        "workflow": _workflow,
    }
    text = "# Benchmarks\n\nMade by `make bench`. [speed.md](speed.md) says what is behind them.\n"
    for name, section in sections.items():
        if (table := measured / f"{name}.csv").exists():
            text += "\n" + section(pd.read_csv(table), docs / "figures")
            text += f"\nMeasured on {table.with_suffix('.txt').read_text(encoding='utf-8')}.\n"
    (docs / "benchmarks.md").write_text(text, encoding="utf-8")


def _steps(table: pd.DataFrame, figures: Path) -> str:
    rows = [
        {
            "model": TITLES[row.model],
            "threads": row.threads,
            "textbook, ms": f"{row.textbook_ms:.1f}",
            "ours, ms": f"{row.ours_ms:.1f}",
            "ratio": f"**{row.ratio:.2f}**",
            "least to most": f"{row.lowest_ratio:.2f} to {row.highest_ratio:.2f}",
            "target": _target(row.model, row.ratio),
            "GFLOP": f"{row.gflop:.2f}",
            "GFLOP/s": f"{row.gflops:.0f}",
            "of a product's": f"{row.share_of_product:.0%} of {row.product_gflops:.0f}",
            f"{CORES} together": f"{row.side_by_side:.2f}" if row.side_by_side > 0 else "",
        }
        for row in table.itertuples()
    ]
    with new_figure(6.4, 3.2) as figure:
        axes = figure.subplots()
        for position, (threads, group) in enumerate(table.groupby("threads")):
            at = [i + 0.38 * position for i in range(len(group))]
            lengths = group.ratio - group.lowest_ratio, group.highest_ratio - group.ratio
            label = f"{threads} thread" + "s" * (threads > 1)
            axes.bar(at, group.ratio, 0.36, yerr=lengths, capsize=2, label=label)
        models = list(group.model)
        for i, model in enumerate(models):
            if model in TARGETS:
                axes.hlines(TARGETS[model], i - 0.2, i + 0.58, color="black", linestyle=":")
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.set_xticks([i + 0.19 for i in range(len(models))], [TITLES[m] for m in models])
        axes.set_ylabel("time of the textbook's step / of ours")
        axes.legend(title="dotted: target")
        picture = _save(figure, figures, "bench_steps")
    return STEPS + markdown(rows) + picture + "\n" + _paper_tier(table)


def _gpu(table: pd.DataFrame, _: Path) -> str:
    rows = [
        {
            "model": TITLES[row.model],
            "textbook, ms": f"{row.textbook_ms:.2f}",
            "ours, ms": f"{row.ours_ms:.2f}",
            "ratio": f"**{row.ratio:.2f}**",
        }
        for row in table.itertuples()
    ]
    return GPU.format(gpu=table.gpu[0]) + markdown(rows)


def _paper_tier(table: pd.DataFrame) -> str:
    config = paper_config()
    measured = table[table.threads == 1].set_index("model")
    rows, total, wall = [], 0.0, 0.0
    for name, settings in config.models.items():
        if settings.kind in measured.index:
            hours = settings.steps * measured.ours_ms[settings.kind] / 3.6e6
            total += hours
            gain = measured.side_by_side[settings.kind]
            wall += hours / (gain if gain > 0 else 1)
            row = {"model": config.title(name), "steps": f"{settings.steps:,}"}
            rows.append(row | {"hours": f"{hours:.2f}"})
    rows.append({"model": "together", "steps": "", "hours": f"{total:.2f}"})
    return PAPER.format(cores=CORES, wall=wall) + markdown(rows)


def _target(model: str, ratio: float) -> str:
    if model not in TARGETS:
        return ""
    return f"{TARGETS[model]}, {'met' if ratio >= TARGETS[model] else 'missed'}"


def _profiles(table: pd.DataFrame, _: Path) -> str:
    wide = table.pivot_table("milliseconds", "operations", ["model", "step"], sort=False)
    rows = [
        {"milliseconds": operations}
        | {
            TITLES[model]: f"{row[model, 'textbook']:.1f} → {row[model, 'ours']:.1f}"
            for model in table.model.unique()
        }
        for operations, row in [*wide.iterrows(), ("together", wide.sum())]
    ]
    return PROFILES + markdown(rows)


def _energy(table: pd.DataFrame, figures: Path) -> str:
    rows = [
        {
            "implementation": row.implementation,
            "points": f"{row.n:,} against {row.m:,}",
            "seconds": f"{row.seconds:.2f}",
            "MB": f"{row.added_mb:,.0f}",
        }
        for row in table.itertuples()
    ]
    with new_figure(6.4, 2.8) as figure:
        panels = figure.subplots(1, 2)
        for panel, column in zip(panels, ("seconds", "added_mb"), strict=True):
            for name, group in table.assign(points=table.n + table.m).groupby("implementation"):
                panel.loglog(group.points, group[column], "o-", label=name)
            panel.set(xlabel="points of both samples", ylabel=column.replace("added_mb", "MB"))
        points = (table.n + table.m).agg(["min", "max"])
        squares = table.seconds.max() * (points / points.max()) ** 2
        panels[0].loglog(points, squares, ":", color="grey", label="square of the points")
        panels[0].legend()
        picture = _save(figure, figures, "bench_energy")
    return ENERGY + markdown(rows) + picture


def _startup(table: pd.DataFrame, _: Path) -> str:
    rows = [
        {
            "what": row.what,
            "seconds": f"{row.seconds:.2f}",
            "least to most": f"{row.least:.2f} to {row.most:.2f}",
        }
        for row in table.itertuples()
    ]
    return "## Start-up\n\n" + markdown(rows)


def _workflow(table: pd.DataFrame, figures: Path) -> str:
    span, critical = table.end.max(), table[table.critical]
    text = WORKFLOW.format(
        jobs=len(table),
        sum=table.seconds.sum() / 60,
        span=span / 60,
        critical=critical.seconds.sum() / 60,
        path=" → ".join(f"`{job}`" for job in critical.job),
    )
    rules = table.groupby("rule")
    rows = [
        {
            "rule": rule,
            "jobs": len(group),
            "seconds": f"{group.seconds.sum():.0f}",
            "on the critical path": f"{group.seconds[group.critical].sum():.0f}",
        }
        for rule, group in sorted(rules, key=lambda item: -item[1].seconds.sum())
        if group.seconds.sum() >= span / 100
    ]
    with new_figure(6.4, 7.2) as figure:
        axes = figure.subplots()
        colours = table.critical.map({True: "C1", False: "C0"})
        axes.barh(table.job, table.seconds / 60, left=table.start / 60, color=colours)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.tick_params(axis="y", labelsize=5)
        axes.set(xlabel="minutes since the first job began", title="blue: critical path")
        picture = _save(figure, figures, "bench_workflow")
    return text + markdown(rows) + picture


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a table in Markdown, with the keys of its first row as header."""
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in cells)


def _save(figure: Figure, folder: Path, name: str) -> str:
    figure.savefig(folder / f"{name}.png", dpi=120)
    return f"\n![{name}](figures/{name}.png)\n"
