"""What trainings that differ in their seed say of a method: effects, intervals, decisions.

An effect is a number that is positive if a statement holds and 0 at the border. It may be known up
to a range, such as a share of images that a judge with errors has counted.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

__all__ = ["CONFIDENCE", "Decision", "Effect", "Pooled", "all_of", "decide", "pool", "ratio"]

CONFIDENCE = 0.95
# Within a training an effect has to exceed so many of its standard errors.
_ERRORS = 2

Decision = Literal["for", "against", "undecided", "not decidable"]


class Effect(NamedTuple):
    """The effect of one training.

    Attributes:
        low: The least that it can be.
        high: The most that it can be, the same unless it is known up to a range.
        error: Its standard error within the training, over points or images; NaN if it has none.
    """

    low: float
    high: float
    error: float = math.nan

    @property
    def holds(self) -> bool | None:
        """Whether the statement holds in this training, beyond the error within it.

        None if the range, or two standard errors around it, reach to both sides of 0.
        """
        margin = 0.0 if math.isnan(self.error) else _ERRORS * self.error
        if self.low - margin > 0:
            return True
        return False if self.high + margin <= 0 else None


class Pooled(NamedTuple):
    """Effects of several trainings together.

    Attributes:
        trainings: How many there are.
        holds: In how many the statement holds, as `Effect.holds`.
        fails: In how many it fails; in the others it is open.
        low: Mean of the least that the effects can be.
        high: Mean of the most.
        interval_low: Where the interval of the mean begins; NaN of one training.
        interval_high: Where it ends.
        within: Root mean square of the standard errors within a training; NaN without any.
        between: Standard deviation over the trainings; NaN of one.
    """

    trainings: int
    holds: int
    fails: int
    low: float
    high: float
    interval_low: float
    interval_high: float
    within: float
    between: float


def ratio(over: float, under: float, error: float = math.nan) -> Effect:
    """Return the effect log2(over / under): 1 is twice as much as it takes, -1 half of it.

    Args:
        over: What is greater if the statement holds, at least 0.
        under: What is less then, positive.
        error: Standard error of the logarithm to the base 2.
    """
    value = math.log2(over / under) if over > 0 else -math.inf
    return Effect(value, value, error)


def all_of(effects: Sequence[Effect]) -> Effect:
    """Return the effect of a statement that says several things of one training: the least.

    Its error is that of the effect which decides whether all hold: one that fails, else one that is
    open, else the least.

    Raises:
        ValueError: If there are none.

    Example:
        >>> all_of([Effect(0.1, 0.1, 0.03), Effect(0.12, 0.12, 0.2)])
        Effect(low=0.1, high=0.1, error=0.2)
    """
    if not effects:
        raise ValueError("there must be at least one effect")
    order = (False, None, True)
    deciding = min(effects, key=lambda effect: (order.index(effect.holds), effect.low))
    return Effect(min(e.low for e in effects), min(e.high for e in effects), deciding.error)


def pool(effects: Sequence[Effect]) -> Pooled:
    """Return the mean effect with its interval by Student's t over the trainings.

    An effect that is known up to a range has an interval from that of its low end to that of its
    high end. Equal effects have an interval without width.

    Raises:
        ValueError: If there are none.

    Example:
        >>> pooled = pool([ratio(2, 1), ratio(8, 1)])
        >>> pooled.low, round(pooled.interval_low, 2), round(pooled.between, 3)
        (2.0, -10.71, 1.414)
    """
    if not effects:
        raise ValueError("there must be at least one effect")
    lows, highs = np.array([e.low for e in effects]), np.array([e.high for e in effects])
    errors = np.array([e.error for e in effects if not math.isnan(e.error)])
    low, interval_low, _, between_low = _mean(lows)
    high, _, interval_high, between_high = _mean(highs)
    return Pooled(
        trainings=len(effects),
        holds=sum(e.holds is True for e in effects),
        fails=sum(e.holds is False for e in effects),
        low=low,
        high=high,
        interval_low=interval_low,
        interval_high=interval_high,
        within=float(np.sqrt(np.mean(errors**2))) if len(errors) else math.nan,
        between=float(np.fmax(between_low, between_high)),
    )


def _mean(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return the mean, both ends of its interval and the deviation; infinite if a value is."""
    if not np.isfinite(values).all():
        end = float(values[~np.isfinite(values)][0])
        return end, end, end, math.nan
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return mean, math.nan, math.nan, math.nan
    deviation = float(values.std(ddof=1))
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(count)
    return mean, mean - half, mean + half, deviation


def decide(pooled: Pooled) -> Decision:
    """Return what the trainings decide.

    Of several, the interval excludes the contrary ("for"), or the statement ("against"), or
    neither. Of one, which has no interval, it is what holds in it. "not decidable" is a range that
    reaches to both sides of 0 in the mean: more trainings would not narrow it. An effect that is
    known from above only, as that of a training that ended before it came so far, is no such range.
    """
    if pooled.trainings == 1:
        supports, opposes = pooled.holds == 1, pooled.fails == 1
    else:
        supports, opposes = pooled.interval_low > 0, pooled.interval_high < 0
    if supports or opposes:
        return "for" if supports else "against"
    is_range = -math.inf < pooled.low <= 0 < pooled.high
    return "not decidable" if is_range else "undecided"
