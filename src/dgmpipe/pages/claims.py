"""The paper's statements over all trainings of a tier: effects, intervals and verdicts.

The rules of the verdicts are `dgmpipe.statistics.replicates`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from dgmpipe.pages.statements import STATEMENTS, Statement
from dgmpipe.pages.tiers import TITLES, Tier
from dgmpipe.plan.summary import pm
from dgmpipe.statistics.replicates import Decision, Effect, Pooled, decide, pool

__all__ = [
    "OPEN",
    "PUBLISHED",
    "PUBLISHED_HEAD",
    "Claim",
    "against_the_published",
    "claims_table",
    "claims_with_effects",
    "computed",
    "deviation_factor",
    "effect_cells",
    "factor",
    "of_seeds",
    "verdict",
]

_T = TypeVar("_T")
OPEN = "not yet computed"
# Energy distances and standard errors of the generators that the authors published as trained
# (EmoryMLIP/DeepGenerativeModelingIntro, commit 7e2d5c0), by 10,000 images against all test images
# and by the estimator of the table `generators`, which knows that writers wrote several of these.
PUBLISHED = {
    "vae": (0.552, 0.021),
    "dcgan_random": (0.174, 0.008),
    "dcgan_vae": (0.126, 0.005),
    "wgan_random": (0.067, 0.004),
    "wgan_vae": (0.041, 0.004),
}
# Median, least and largest value of the last fifth of their logs. The statistic s logged there, of
# 64 images against 64, is another: (s - 80) / 250 is near an energy distance, and is shown.
PUBLISHED_LATE = {
    "dcgan_random": (0.142, 0.127, 0.181),
    "dcgan_vae": (0.097, 0.089, 0.119),
    "wgan_random": (0.053, 0.051, 0.057),
    "wgan_vae": (0.031, 0.029, 0.035),
}
PUBLISHED_HEAD = [
    "generator",
    "published",
    "late in its training",
    "here, mean",
    "95% interval",
    "error within a training",
    "deviation between trainings",
    "late in training",
    "at most the published",
]
_OF_THE_PAPER: dict[Decision, str] = {"for": "reproduced", "against": "not reproduced"}
_OF_ONE: dict[Decision, str] = {"for": "consistent", "against": "contradicted"}
_ELSEWHERE: dict[Decision, str] = {"for": "holds", "against": "does not hold"}
_COLUMNS = ["where", "statement", "effect", "seed", "low", "high", "error"]


class Claim(NamedTuple):
    """What a tier has come to on a statement.

    Attributes:
        text: What is to be said of the shown seed, or of the first that has come to it; empty if
            no tier has.
        effects: The effect by seed; none of what no training changes.
        counted: Of what no training changes, whether the statement holds.
        tier: Name of the tier; "" if it depends on none.
    """

    text: str
    effects: dict[int, Effect]
    counted: bool | None
    tier: str

    @property
    def pooled(self) -> Pooled | None:
        """The effects together, if there are any."""
        return pool(list(self.effects.values())) if self.effects else None

    @property
    def decision(self) -> Decision | None:
        """What is decided; None if nothing is computed."""
        if self.counted is not None:
            return "for" if self.counted else "against"
        return decide(self.pooled) if self.pooled else None

    def verdict(self, place: str = "there") -> str:
        """Return the verdict in the words of the page, see `verdict`."""
        if self.decision is None:
            return OPEN
        return verdict(self.decision, len(self.effects), self.tier, place)


def verdict(decision: Decision, trainings: int, tier: str, place: str = "there") -> str:
    """Return the verdict on a statement, in the words of the page.

    Args:
        decision: What its effects decide.
        trainings: How many there are.
        tier: Name of their tier; "" of a statement that no training changes.
        place: How the page speaks of a tier that is not the paper's.
    """
    if tier == "":
        return _OF_THE_PAPER[decision]
    if decision == "not decidable":
        return decision
    number = "one training" if trainings == 1 else f"{trainings} trainings"
    if tier != "paper":
        return f"{_ELSEWHERE.get(decision, decision)} {place}, {number}"
    words = _OF_ONE if trainings == 1 else _OF_THE_PAPER
    return f"{words.get(decision, decision)}, {number}"


def computed(statement: Statement, tiers: Sequence[Tier]) -> Claim:
    """Return what the first tier that has come to a statement says of it.

    A statement about several models is over the seeds that all of them have, each model's training
    set beside the others' of the same seed.

    Args:
        statement: The statement.
        tiers: In the order of preference.
    """
    if not statement.of_tier:
        text, holds = statement.ours(tiers[0])
        assert isinstance(holds, bool)
        return Claim(text, {}, holds, "")
    for tier in tiers:
        if found := of_seeds(statement.ours, tier):
            text = next(iter(found.values()))[0]
            effects = {s: e for s, (_, e) in found.items() if isinstance(e, Effect)}
            return Claim(text, effects, None, tier.name)
    return Claim("", {}, None, "")


def of_seeds(ours: Callable[[Tier], _T], tier: Tier) -> dict[int, _T]:
    """Return what is computed of each seed that a tier has come to."""
    found = {}
    for seed in tier.seeds:
        try:
            found[seed] = ours(tier.of_seed(seed))
        except (FileNotFoundError, KeyError):  # no file, or no such column as yet
            continue
    return found


def claims_with_effects(tiers: Sequence[Tier]) -> pd.DataFrame:
    """Return a row for each statement and seed: the effect, log2 of how far beyond the border.

    Columns are where the paper says it, the statement, what is compared, the seed, the least and
    the most that the effect can be, and its standard error within the training.
    """
    rows = [
        (statement.where, statement.paper, statement.effect, seed, *effect)
        for statement in STATEMENTS
        if statement.of_tier
        for seed, effect in computed(statement, tiers).effects.items()
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def claims_table(files: Mapping[str, Sequence[str]], *, seeds: list[int]) -> pd.DataFrame:
    """Return `claims_with_effects` of the tier whose files these are.

    Args:
        files: Its `tables`, the `arrays` of its evaluations and the `histories` of its trainings.
        seeds: The seeds of its trainings.
    """
    return claims_with_effects([Tier(Path(files["tables"][0]).parents[1], seeds=seeds)])


def factor(log2: float) -> str:
    """Write how many times beyond the border an effect is.

    >>> factor(1), factor(-4), factor(0.07), factor(5.2), factor(-math.inf)
    ('×2.0', '×0.062', '×1.05', '×37', '×0')
    """
    times = 2.0**log2
    if times == 0 or math.isinf(times):
        return "×0" if times == 0 else "×∞"
    if times < 0.995:
        return f"×{times:.2g}"
    return f"×{times:.0f}" if times >= 9.95 else f"×{times:.{1 if times >= 1.95 else 2}f}"


def effect_cells(claim: Claim) -> list[str]:
    """Return in how many trainings a statement holds, effect, interval, and the two errors."""
    pooled = claim.pooled
    if pooled is None:
        return ["–"] * 5
    effect, interval = factor(pooled.low), "–"
    if pooled.high > pooled.low:
        effect += f" to {factor(pooled.high)}"
    if pooled.trainings > 1:
        interval = f"{factor(pooled.interval_low)} to {factor(pooled.interval_high)}"
    errors = [deviation_factor(pooled.within), deviation_factor(pooled.between)]
    return [f"{pooled.holds} of {pooled.trainings}", effect, interval, *errors]


def deviation_factor(log2: float) -> str:
    """Write a deviation of effects as the factor by which they differ.

    >>> deviation_factor(0.1), deviation_factor(math.nan)
    ('1.07', '–')
    """
    return "–" if math.isnan(log2) else factor(log2).removeprefix("×")


def against_the_published(tier: Tier, configs: Path) -> list[list[str]]:
    """Return a row a generator that the authors published: theirs, ours and a verdict.

    There is none of a tier that is not the paper's, nor of a model if it, one that it starts from,
    or the data differ from the tier's config.

    The effect is by how much the published energy distance exceeds ours, so that the statement is
    that ours is at most as far from the data.

    Args:
        tier: Whose generators these are.
        configs: Folder of the config files.

    Returns:
        Title, published distance, median and range late in its training, mean of ours over the
        seeds, its interval, errors within a training and between trainings, median and range late
        in these, and the verdict. No row of a model that is not computed.
    """
    if tier.name != "paper":
        return []
    changes, rows = tier.changes(configs), []
    for model, (published, error) in PUBLISHED.items():
        begun = tuple(f"models.{name}." for name in _with_starts(tier, model))
        if any(line.startswith(("data.", *begun)) for line in changes):
            continue

        def row(of_seed: Tier, model: str = model) -> dict[str, Any]:
            return of_seed.row("generators", model=model)

        differences = [
            (published - found["energy_distance"], found["standard_error"])
            for found in of_seeds(row, tier).values()
        ]
        effects = [Effect(value, value, within) for value, within in differences]
        if not effects:
            continue
        pooled = pool(effects)
        ends = [published - end for end in (pooled.interval_high, pooled.interval_low)]
        rows.append(
            [
                TITLES[model],
                pm(published, error),
                _spread(*PUBLISHED_LATE.get(model, ())),
                f"{published - pooled.low:.3f}",
                "–" if len(effects) == 1 else f"{ends[0]:.3f} to {ends[1]:.3f}",
                f"{pooled.within:.4f}",
                "–" if len(effects) == 1 else f"{pooled.between:.4f}",
                _late(tier, model),
                verdict(decide(pooled), len(effects), "paper"),
            ]
        )
    return rows


def _late(tier: Tier, model: str) -> str:
    """Return the median and range of the distances in the last fifth of a model's trainings."""

    def last_fifth(of_seed: Tier) -> pd.Series:
        curve = of_seed.history(model)["energy_distance"]
        return curve.iloc[-max(len(curve) // 5, 1) :]

    curves = of_seeds(last_fifth, tier)
    if not curves:
        return _spread()
    late = pd.concat(curves.values())
    return _spread(late.median(), late.min(), late.max())


def _spread(*of_late: float) -> str:
    """Write a median and range, if there are any."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*of_late) if of_late else "–"


def _with_starts(tier: Tier, model: str) -> Iterator[str]:
    """Yield a model and those that it starts from, one from the other."""
    at: str | None = model
    while at in tier.config.models:
        yield at
        at = tier.config.models[at].start
