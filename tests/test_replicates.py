"""The rules by which trainings decide a statement."""

import math

import numpy as np
import pytest
from scipy import stats

from dgmpipe.statistics.replicates import Decision, Effect, all_of, decide, pool, ratio


def _effects(*values: float) -> list[Effect]:
    return [Effect(value, value) for value in values]


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        (_effects(0.5), "for"),
        (_effects(-0.5), "against"),
        ([Effect(0.5, 0.5, error=0.3)], "undecided"),  # within two of its errors
        ([Effect(0.5, 0.5, error=0.2)], "for"),
        ([Effect(-0.5, -0.5, error=0.3)], "undecided"),
        ([Effect(-0.1, 0.5)], "not decidable"),
        (_effects(1, 1.2, 0.8), "for"),
        (_effects(-1, -1.2, -0.8), "against"),
        (_effects(0.1, 2, 0.3), "undecided"),  # all agree, but not on how much
        (_effects(1, 1.1), "for"),
        (_effects(1, 2), "undecided"),  # Student's t of one degree of freedom is wide
        (_effects(1, 1, 1), "for"),
        ([Effect(0.4, 2), Effect(0.5, 2), Effect(0.6, 2)], "for"),
        ([Effect(-0.4, 2), Effect(-0.5, 2), Effect(-0.6, 2)], "not decidable"),
        ([Effect(-4, -0.5), Effect(-3, -0.6), Effect(-2, -0.4)], "against"),
        # One that is known from above only can refute, not support.
        ([Effect(-math.inf, -1), Effect(-1.1, -1.1), Effect(-0.9, -0.9)], "against"),
        ([Effect(-math.inf, 1), Effect(2, 2), Effect(2, 2)], "undecided"),
        ([Effect(-math.inf, 2)], "undecided"),
    ],
)
def test_trainings_decide(effects: list[Effect], expected: Decision) -> None:
    assert decide(pool(effects)) == expected


@pytest.mark.parametrize(
    ("effects", "holds"),
    [
        ([Effect(0.10, 0.10, 0.03), Effect(0.12, 0.12, 0.03)], True),
        ([Effect(0.10, 0.10, 0.03), Effect(0.12, 0.12, 0.2)], None),  # the second is open
        ([Effect(-0.05, -0.05, 0.1), Effect(-0.04, -0.04)], False),  # the second fails for certain
        ([Effect(-0.05, -0.05, 0.1), Effect(0.3, 0.3)], None),
        ([Effect(-1, 2), Effect(-0.5, -0.5)], False),
        ([Effect(-1, 2), Effect(0.5, 0.5)], None),
    ],
)
def test_several_things_hold_if_each_does(effects: list[Effect], holds: bool | None) -> None:
    together = all_of(effects)
    assert together.holds is all_of(effects[::-1]).holds is holds
    assert together.low == min(effect.low for effect in effects)
    assert together.high == min(effect.high for effect in effects)


def test_of_nothing_nothing_holds() -> None:
    with pytest.raises(ValueError, match="at least one effect"):
        all_of([])


def test_the_interval_is_that_of_a_t_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 10)
    pooled = pool(_effects(*values))
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (pooled.interval_low, pooled.interval_high) == pytest.approx(tuple(interval))
    assert pooled.between == pytest.approx(values.std(ddof=1))
    assert pooled.holds + pooled.fails == pooled.trainings == 10


def test_the_interval_has_the_mean_of_95_in_100_draws() -> None:
    draws = np.random.default_rng(1).normal(0.3, 1, (2000, 4))
    found = [pool(_effects(*draw)) for draw in draws]
    covered = np.mean([p.interval_low < 0.3 < p.interval_high for p in found])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_errors_within_and_between_trainings_stand_apart() -> None:
    pooled = pool([Effect(1, 1, 0.3), Effect(3, 3, 0.4), Effect(2, 2)])
    assert pooled.within == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 2))
    assert pooled.between == pytest.approx(1)
    alone = pool([Effect(1, 2, 0.3)])
    assert (alone.low, alone.high, alone.within) == (1, 2, 0.3)
    assert math.isnan(alone.interval_low)
    assert math.isnan(alone.between)


def test_a_ratio_is_in_doublings() -> None:
    assert ratio(6, 1.5) == (2, 2, pytest.approx(math.nan, nan_ok=True))
    assert ratio(0, 1).low == -math.inf


def test_without_trainings_there_is_nothing_to_pool() -> None:
    with pytest.raises(ValueError, match="at least one effect"):
        pool([])
