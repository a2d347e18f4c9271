"""The pages docs/reproduction.md and docs/deviations.md, made of the results of tiers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dgmpipe.figures.figure_claims import figure_claims
from dgmpipe.figures.style import save_figure
from dgmpipe.pages.claims import (
    OPEN,
    PUBLISHED_HEAD,
    Claim,
    against_the_published,
    claims_with_effects,
    computed,
    effect_cells,
    of_seeds,
)
from dgmpipe.pages.deviations import DEVIATIONS, Deviation
from dgmpipe.pages.statements import STATEMENTS, Statement
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.summary import spanned

__all__ = ["write_pages"]

FIGURE = "figures/claims.png"
REPRODUCTION = """\
# What the paper says, and what comes out

Made by `{command}`.
{changes}
{figure}
## How a verdict is reached

The rules are code ([replicates.py](../src/dgmpipe/statistics/replicates.py)) and were written
before any replicate at the paper's settings was evaluated.

- An **effect** is how many times a measured number is beyond the border that the criterion sets,
  ×1: with ×2 it is twice what it takes, with ×0.5 half of it. Effects are averaged as logarithms.
  The figure has all of them on this one scale.
- **Replicates** are trainings that differ in their seed. A statement about several models is over
  the seeds that all of them have, each set beside the others of its seed: a GAN beside the VAE
  that it starts from.
- The **interval** is that of the mean effect over the trainings, 95% by Student's t: with few
  trainings it is wide, as it should be. Of 20 statements without any effect, one would be decided
  by chance.
- **reproduced**: the interval excludes the contrary. **not reproduced**: it excludes the
  statement. **undecided**: it excludes neither, and more trainings may.
- **not decidable**: what is measured is known up to a range that reaches to both sides of the
  border, however many trainings there are.
- A **race** counts steps to a level. Less than an interval between two evaluations counts as one,
  as a curve says nothing within it. Who never gets there has an effect that is known from above
  only: with such a training the statement is not reproduced or undecided.
- Where a statement says several things of one training, its effect is the **least** of theirs.
- **consistent**, **contradicted**: of one training, beyond two standard errors within it; it has
  no interval, and says nothing of another training.
- **holds there**, **does not hold there**: the same of another tier than `paper`, whose settings
  are not the paper's, so that it neither reproduces nor refutes the statement.
- A number of weights, which no training changes, is reproduced or not.

Two errors stand apart. That **within** a training is over points or images, takes clusters of
test images into account ([errors.md](errors.md)), and would shrink with more images. The
deviation **between** trainings is what another seed changes. Both are factors: ×/÷ 1.1 is a tenth
up or down.

These rules took the place of one that called a statement reproduced if it held in each of at
least three trainings: it did not look at how far, and three trainings agree by chance in one of
four cases.

## Verdicts

"""
_HEAD = [
    *("where", "the paper says", "verdict", "tier", "holds in", "effect", "95% interval"),
    *("within ×/÷", "between ×/÷"),
]
AGAINST = """
## Against the published generators

The authors published the generators that they had trained. Their energy distance from the test
images, by 10,000 images, beside those of the tier `paper`: the verdict is by the same rules on
the statement that ours is at most as far from the data. The published number is of one training,
by the same estimator; its error over images is behind ±. Late in training: median and range over
the evaluations in the last fifth of all trainings, by the fewer images of these. It says how far
the last step, whose generator counts, is a matter of luck, of which [gans.md](gans.md) has more.
For the published training it is by its log, whose statistic is another one: its range may be
compared with its median, but the medians not with ours.

"""
CRITERIA = """
## Criteria and numbers

Each criterion stands with its reason. One that took the place of another has that in the row
below, with what comes out by it and why it was replaced. Numbers are those of the seed that
figures show. Behind ± is the standard error within the training; that of a difference is paired.
Energy distances over a training (→) are by fewer images than those at its end (±). Statements
that rest on a slip of the paper or of its published code are also in
[deviations.md](deviations.md).

| the paper says | here | holds if | because | effect |
|---|---|---|---|---|
"""
DEVIATED = """\
# Where the paper and its published code go wrong

Made by `{command}`.
"Code" is what the authors published with the paper. Numbers without a tier follow from the text.
{changes}
| where | there | here | in numbers | tier |
|---|---|---|---|---|
"""


def write_pages(tiers: Sequence[Tier], docs: Path, configs: Path, command: str) -> None:
    """Write reproduction.md with its figure, and deviations.md.

    Each row is from the first tier that has what it takes.

    Args:
        tiers: In the order of preference.
        docs: Folder of the pages.
        configs: Folder of the config files; the pages say where a tier was computed otherwise.
        command: What the pages say that they are made by.
    """
    changes = "".join(
        f"\nWhat differs in the tier {tier.name} from its config file: {', '.join(lines)}.\n"
        for tier in tiers
        if (lines := tier.changes(configs))
    )
    claims = [(statement, computed(statement, tiers)) for statement in STATEMENTS]
    page = REPRODUCTION.format(
        command=command, changes=changes, figure=_figure(tiers, claims, docs)
    )
    page += (
        _row(*_HEAD)
        + _line(_HEAD)
        + "".join(_verdict(statement, claim) for statement, claim in claims)
    )
    page += _published(tiers, configs)
    page += CRITERIA + "".join(row for s, claim in claims for row in _criteria(s, claim, tiers))
    (docs / "reproduction.md").write_text(page, encoding="utf-8")
    rows = "".join(_deviation(deviation, tiers) for deviation in DEVIATIONS)
    page = DEVIATED.format(command=command, changes=changes) + rows
    (docs / "deviations.md").write_text(page, encoding="utf-8")


def _figure(tiers: Sequence[Tier], claims: Sequence[tuple[Statement, Claim]], docs: Path) -> str:
    """Draw the effects and return how the page shows them; nothing if there are none."""
    names = list(dict.fromkeys(claim.tier for _, claim in claims if claim.effects))
    if not names:
        return ""
    path = docs / FIGURE
    path.parent.mkdir(exist_ok=True)
    save_figure(figure_claims(claims_with_effects(tiers)), path)
    counts = [len(claim.effects) for _, claim in claims if claim.effects]
    several = f"a dot a training, of {spanned(counts)}; " if max(counts) > 1 else ""
    return (
        f"![Every statement with its effect]({FIGURE})\n\n"
        f"Every statement that trainings decide, with its effect: {several}how many times beyond"
        f" the border of its criterion, to the right in its favour. Tier {' and '.join(names)}.\n"
    )


def _verdict(statement: Statement, claim: Claim) -> str:
    return _row(statement.where, statement.paper, claim.verdict(), claim.tier, *effect_cells(claim))


def _published(tiers: Sequence[Tier], configs: Path) -> str:
    rows = [row for tier in tiers for row in against_the_published(tier, configs)]
    if not rows:
        return ""
    head = _row(*PUBLISHED_HEAD) + _line(PUBLISHED_HEAD)
    return AGAINST + head + "".join(_row(*row) for row in rows)


def _criteria(statement: Statement, claim: Claim, tiers: Sequence[Tier]) -> Iterator[str]:
    """Yield the row of a statement's criterion, and of each that it replaced."""
    said, effect = statement.paper, statement.effect or "–"
    yield _row(said, claim.text or OPEN, statement.holds_if, statement.because, effect)
    for earlier in statement.earlier:
        found = next((f for tier in tiers if (f := of_seeds(earlier.ours, tier))), {})
        outcomes = [holds for _, holds in found.values()]
        text = OPEN
        if found:
            text = f"{next(iter(found.values()))[0]}: holds in {sum(outcomes)} of {len(outcomes)}"
        yield _row("*before:*", text, earlier.held_if, f"replaced: {earlier.replaced}", "")


def _deviation(deviation: Deviation, tiers: Sequence[Tier]) -> str:
    numbers, name = deviation.numbers, ""
    if not isinstance(numbers, str):
        compute, numbers = numbers, OPEN
        for tier in tiers:
            try:
                numbers, name = compute(tier), tier.name
            except FileNotFoundError:
                continue
            break
    return _row(deviation.where, deviation.slip, deviation.correct, numbers, name)


def _line(head: Sequence[str]) -> str:
    return f"|{'---|' * len(head)}\n"


def _row(*cells: str) -> str:
    """Write the row of a table; a bar within a cell, as in p(x|z), would end it."""
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"
