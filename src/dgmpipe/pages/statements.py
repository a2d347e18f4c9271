"""The quantitative statements of the paper, each with its criterion and what it comes to here."""

import math
import statistics
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import ndtr, pdtr

from dgmpipe.evaluation.yardsticks import KDE_POINTS, RK4_STEPS, joined_at
from dgmpipe.pages.tiers import TITLES, Tier
from dgmpipe.plan.summary import pm
from dgmpipe.statistics.replicates import Effect, all_of, ratio

__all__ = ["STATEMENTS", "Earlier", "Statement"]

# Points of the kernel density estimate that a flow is compared with.
YARDSTICK = KDE_POINTS[-1]
# What is below these counts as they do, as the logarithm of a ratio needs positive numbers.
LEAST_SHARE, LEAST_LEVEL, LEAST_DISTANCE = 1e-4, 1e-12, 1e-4


class Earlier(NamedTuple):
    """A criterion that was replaced after its result was known, and so stays beside its successor.

    Attributes:
        held_if: What was taken for the statement.
        replaced: Why that was replaced.
        ours: As that of a statement.
    """

    held_if: str
    replaced: str
    ours: Callable[[Tier], tuple[str, bool]]


class Statement(NamedTuple):
    """A statement of the paper.

    Attributes:
        where: Section or figure.
        paper: What it says.
        holds_if: What is taken for the statement, as `ours` computes it.
        because: Why this is taken for it, and its thresholds for theirs.
        effect: What is compared by how many times it is beyond the border, for the statement; "" of
            a number that is counted.
        ours: Computes of a training what is to be said here and the effect, or of what no training
            changes whether the statement holds. It raises FileNotFoundError if its tier has not
            come to that.
        earlier: Criteria that were replaced, the last one first.
    """

    where: str
    paper: str
    holds_if: str
    because: str
    effect: str
    ours: Callable[[Tier], tuple[str, Effect | bool]]
    earlier: tuple[Earlier, ...] = ()

    @property
    def of_tier(self) -> bool:
        """Whether it depends on a tier, as numbers of weights do not."""
        return bool(self.effect)


def _parameters(name: str, expected: int) -> Statement:
    def ours(_: Tier) -> tuple[str, bool]:
        import dgmpipe.models

        count = sum(p.numel() for p in getattr(dgmpipe.models, name)().parameters())
        return f"{count:,}", count == expected

    sections = {"Generator": "2.2", "RealNVP": "3.2", "OTFlow": "3.3", "Encoder": "4.2"}
    names = {"RealNVP": "Real NVP", "OTFlow": "OT-Flow"}
    what = names.get(name, f"the {name.lower()}")
    return Statement(
        sections[name],
        f"{what} has {expected:,} weights",
        "equal",
        "they are counted",
        "",
        ours,
    )


def _flow_is_as_good_as_said(model: str) -> Statement:
    where, said = {
        "realnvp": ("Fig. 5", "Real NVP transforms normal samples to match the given data"),
        "otflow": ("3.3", "OT-Flow gives meaningful samples and realistic density estimates"),
    }[model]

    def ours(tier: Tier) -> tuple[str, Effect]:
        row = tier.row("flows", model=model)
        nll = pm(row["nll"], row["nll_standard_error"])
        text = f"{nll} nats, entropy {row['entropy']:.4f}; {_divergences(row)}"
        return text, _nearer_than_the_estimate(row)

    def below_a_tenth(tier: Tier) -> tuple[str, bool]:
        kl = tier.row("flows", model=model)["kl"]
        return f"{kl:.4f}", kl < 0.1

    return Statement(
        where,
        said,
        f"KL divergence not above that of a kernel density estimate from {YARDSTICK:,} points",
        "these are as many points of the data as Figure 2 shows: who has them, and the plainest"
        " estimator, comes as near",
        "the estimate's divergence over the flow's",
        ours,
        earlier=(Earlier("KL divergence below 0.1", "0.1 nats had no reason", below_a_tenth),),
    )


def _nearer_than_the_estimate(row: dict[str, float]) -> Effect:
    flow, estimate = "kl", f"kde_{YARDSTICK}_kl"
    values = {name: _at_least_its_error(row, name) for name in (flow, estimate)}
    return ratio(values[estimate], values[flow], _error_of_logs(row, values))


def _at_least_its_error(row: dict[str, float], name: str) -> float:
    """Return an estimate that is to be positive, but may not be within its error."""
    return max(row[name], row[f"{name}_standard_error"])


def _error_of_logs(row: dict[str, float], values: dict[str, float]) -> float:
    """Return the standard error of the log2 of a ratio of numbers, as of independent ones.

    Those of a flow and of an estimate are over the same points, and correlate by less than 0.1.
    """
    parts = [row[f"{name}_standard_error"] / value for name, value in values.items()]
    return math.hypot(*parts) / math.log(2)


def _divergences(row: dict[str, float]) -> str:
    """Write a flow's divergence and those of kernel density estimates."""
    estimates = ", ".join(
        f"{pm(row[f'kde_{n}_kl'], row[f'kde_{n}_kl_standard_error'])} from {n:,} points"
        for n in KDE_POINTS
    )
    kl = pm(row["kl"], row["kl_standard_error"])
    return f"KL divergence from the truth {kl}; of kernel density estimates {estimates}"


def _fewer_weights(_: Tier) -> tuple[str, bool]:
    import dgmpipe.models

    counts = [
        sum(p.numel() for p in model.parameters())
        for model in (dgmpipe.models.RealNVP(), dgmpipe.models.OTFlow())
    ]
    orders = float(np.log10(counts[0] / counts[1]))
    return f"10^{orders:.1f} times", 1.5 < orders < 2.5


def _nearly_normal(tier: Tier) -> tuple[str, Effect]:
    texts, effects = [], []
    for model in ("realnvp", "otflow"):
        row = tier.row("flows", model=model)
        texts.append(f"{TITLES[model]}: p = {row['latent_pvalue']:.3f}, {_divergences(row)}")
        effects += [ratio(0.05, row["latent_pvalue"]), _nearer_than_the_estimate(row)]
    return "; ".join(texts), all_of(effects)


def _near_by_energy(tier: Tier) -> tuple[str, bool]:
    texts, holds = [], True
    for model in ("realnvp", "otflow"):
        row = tier.row("flows", model=model)
        distance, pvalue = row["latent_energy_distance"], row["latent_pvalue"]
        texts.append(f"of {TITLES[model]} {distance:.4f} (p = {pvalue:.3f})")
        holds &= distance < 0.02 and pvalue < 0.05
    return "energy distance from N(0, I) " + ", ".join(texts), holds


def _joins(model: str, connects: bool) -> Callable[[Tier], tuple[str, Effect]]:
    def ours(tier: Tier) -> tuple[str, Effect]:
        learned, truth = _densities(tier, model)
        level, of_truth = joined_at(learned, truth), joined_at(truth, truth)
        text = "from moon to moon a path need not go below"
        text = f"{text} {level:.1%} of the highest density; of the true one {of_truth:.0e}"
        parts = max(level, LEAST_LEVEL), 0.1
        return text, ratio(*(parts if connects else parts[::-1]))

    return ours


def _less_joined(tier: Tier) -> tuple[str, bool]:
    joined = {model: joined_at(*_densities(tier, model)) for model in ("realnvp", "otflow")}
    of_truth = joined_at(*(2 * _densities(tier, "otflow")[1:]))
    text = ", ".join(f"{level:.1%} of {TITLES[model]}'s" for model, level in joined.items())
    return f"{text}, {of_truth:.0e} of the true density", joined["otflow"] < joined["realnvp"]


def _less_astray(tier: Tier) -> tuple[str, bool]:
    """The first criterion: mass where the true density is below a hundredth of its maximum."""

    def astray(log_density: np.ndarray, truth: np.ndarray) -> float:
        density = np.exp(log_density)
        return float(density[truth < truth.max() - np.log(100)].sum() / density.sum())

    shares = {model: astray(*_densities(tier, model)) for model in ("realnvp", "otflow")}
    of_truth = astray(*(2 * _densities(tier, "otflow")[1:]))
    text = ", ".join(f"{share:.1%} of {TITLES[model]}'s" for model, share in shares.items())
    return f"{text}, {of_truth:.1%} of the true density's", shares["otflow"] < shares["realnvp"]


def _densities(tier: Tier, model: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = tier.arrays(model, "flow")
    return arrays["log_density"], arrays["true_log_density"]


def _straightness(tier: Tier) -> tuple[str, Effect]:
    row = tier.row("flows", model="otflow")
    text = (
        f"2,000 paths are {row['path_excess_median']:.1%} longer than their chords in the median,"
        f" 95% of them less than {row['path_excess_95']:.1%}, at most {row['path_excess_max']:.0%};"
        f" the transport cost is {row['transport_cost_ratio']:.3f} times that of the chords"
    )
    return text, ratio(0.05, max(row["path_excess_95"], LEAST_LEVEL))


def _six_are_straight(tier: Tier) -> tuple[str, bool]:
    states = tier.arrays("otflow", "flow")["hidden_states"]
    length = np.linalg.norm(np.diff(states, axis=0), axis=-1).sum(axis=0)
    longest = (length / np.linalg.norm(states[-1] - states[0], axis=-1) - 1).max()
    return f"of six paths at most {longest:.1%}", longest < 0.1


def _inverse_error(tier: Tier) -> tuple[str, Effect]:
    columns = {"single": "inverse_error", "double": "inverse_error_double"}
    rows = {
        n: tier.row("otflow_inverse_error", model="otflow", rk4_steps=n)
        for n in RK4_STEPS
        if n >= 4
    }
    enough, texts = 10 * np.finfo(np.float32).eps, []
    for precision, column in columns.items():
        epsilon = np.finfo(precision).eps
        errors = ", ".join(f"{row[column]:.0e} with {n}" for n, row in rows.items())
        reached = [n for n, row in rows.items() if row[column] <= 10 * epsilon]
        where = f"from {reached[0]} steps" if reached else f"not by {max(rows)} steps"
        texts.append(f"in {precision} precision {errors}: within 10 ε = {10 * epsilon:.0e} {where}")
    own = tier.row("flows", model="otflow")["inverse_error"]
    text = f"relative error {own:.1e} as the flow is evaluated; by Runge-Kutta steps, "
    return text + "; ".join(texts), ratio(float(enough), max(own, LEAST_LEVEL))


def _below_a_millionth(tier: Tier) -> tuple[str, bool]:
    error = tier.row("otflow_inverse_error", model="otflow", rk4_steps=8)["inverse_error"]
    return f"{error:.1e}", error < 1e-6


def _bound(tier: Tier) -> tuple[str, Effect]:
    row = tier.row("vae_evidence", model="vae")
    gap = pm(row["gap_mean"], row["gap_standard_error"])
    text = f"{gap} nats below log p(x) in the mean, {row['gap_median']:.1f} in the median, "
    text += f"at most {row['gap_largest']:.0f}, of {row['images']:,.0f} test images by quadrature"
    if row["ceiling_mean"] < 0:
        text += "; log p(x) is of the pseudo-likelihood (4), the gap a divergence in z"
    mean = max(row["gap_mean"], row["gap_standard_error"])
    return text, ratio(mean, 1, row["gap_standard_error"] / mean / math.log(2))


def _latent_points(tier: Tier) -> tuple[str, Effect]:
    samples = tier.arrays("vae", "latent")["samples"]
    edges = np.linspace(-1.5, 1.5, 16)
    z1, z2 = samples.reshape(-1, 2).T
    counts, _, _ = np.histogram2d(z1, z2, bins=[edges, edges])
    shares = np.outer(*2 * [np.diff(ndtr(edges))])
    relative = counts / (samples.size / 2 * shares)
    low, high = np.quantile(relative, [0.1, 0.9])
    # At the worst all draws of an image fall into one cell, so that it is images that fall there.
    expected = len(samples) * shares
    by_chance = pdtr(np.ceil(expected / 2) - 1, expected).mean()
    text = (
        f"in [-1.5, 1.5]² a tenth of the area has less than {low:.2f} times the samples of N(0, I),"
        f" a tenth more than {high:.2f} times; less than half has {(relative < 0.5).mean():.0%} of"
        f" the area, and by chance at most {by_chance:.1%} would"
    )
    # A cell without any counts as one with one.
    return text, ratio(0.5, max(float(low), 1 / (samples.size / 2 * shares.max())))


def _without_a_digit(tier: Tier, *models: str) -> tuple[str, list[tuple[float, float]]]:
    """Return the least and largest share of each model's images that can be without a digit."""
    from dgmpipe.evaluation.judge import without_a_digit  # and torch, if there are any numbers

    checks = tier.rows("judge")  # first, as results from before there was a judge have none
    shares = {model: tier.row("generators", model=model)["rejected"] for model in models}
    if missed := [check["kind"] for check in checks if not check["met"]]:
        ranges = [(0.0, 1.0)] * len(models)
        end = f"; it misses what is required of it on {', '.join(missed)}"
    else:
        ranges = [without_a_digit(share) for share in shares.values()]
        between = [f"{low:.0%} to {high:.0%}" for low, high in ranges]
        end = f", so that {', '.join(between)} show no digit"
    return f"the judge rejects {_listed(shares)}{end}", ranges


def _listed(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.0%} ({TITLES[model]})" for model, share in shares.items())


def _many_without_a_digit(model: str) -> Callable[[Tier], tuple[str, Effect]]:
    def ours(tier: Tier) -> tuple[str, Effect]:
        text, [(low, high)] = _without_a_digit(tier, model)
        return text, _between(_of_shares(low, 0.1), _of_shares(high, 0.1))

    return ours


def _most_with_a_digit(tier: Tier) -> tuple[str, Effect]:
    text, [(low, high)] = _without_a_digit(tier, "vae")
    return text, _between(_of_shares(0.5, high), _of_shares(0.5, low))


def _more_without_a_digit(tier: Tier) -> tuple[str, Effect]:
    names = ("vae", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae")
    text, [(vae_low, vae_high), *gans] = _without_a_digit(tier, *names)
    least = min(_of_shares(low, vae_high) for low, _ in gans)
    return text, _between(least, min(_of_shares(high, vae_low) for _, high in gans))


def _of_shares(over: float, under: float) -> Effect:
    return ratio(max(over, LEAST_SHARE), max(under, LEAST_SHARE))


def _between(least: Effect, most: Effect) -> Effect:
    return Effect(least.low, most.high)


def _falls(*models: str) -> Callable[[Tier], tuple[str, Effect]]:
    def ours(tier: Tier) -> tuple[str, Effect]:
        texts, effects = [], []
        for model in models:
            curve = tier.history(model)["energy_distance"]
            first, last = curve.iloc[0], curve.iloc[-1]
            texts.append(f"of {TITLES[model]} {first:.2f} → {last:.2f}")
            effects.append(ratio(max(first, LEAST_DISTANCE), max(last, LEAST_DISTANCE)))
        return "energy distance " + ", ".join(texts), all_of(effects)

    return ours


class _Race(NamedTuple):
    """How a GAN from the VAE's generator comes to where one from random weights ends.

    The curves are the decreasing ones nearest to the energy distances in least squares, so that
    neither a single low value nor a last one decides.

    Attributes:
        level: Where the smoothed curve from random weights ends.
        slow: Steps and processor seconds until it is there.
        fast: The same of the curve from the VAE, of all its training if it never is there.
        never: Whether it never is.
        interval: Steps and processor seconds between two points of the curve from the VAE.
        vae: Steps and processor seconds of the VAE's training.
    """

    level: float
    slow: tuple[float, float]
    fast: tuple[float, float]
    never: bool
    interval: tuple[float, float]
    vae: tuple[float, float]


def _race(tier: Tier, kind: str) -> _Race:
    level = _decreasing(tier, f"{kind}_random")[-1]
    milliseconds = _milliseconds_a_step(tier, "vae", f"{kind}_random", f"{kind}_vae")

    def steps_and_seconds(model: str, steps: float) -> tuple[float, float]:
        return steps, steps * milliseconds[model] / 1000

    def reached(model: str) -> tuple[tuple[float, float], bool]:
        steps = tier.history(model)["step"]
        there = steps[_decreasing(tier, model) <= level]
        first = float(there.iloc[0] if len(there) else steps.iloc[-1])
        return steps_and_seconds(model, first), there.empty

    steps = tier.history(f"{kind}_vae")["step"]
    slow, _ = reached(f"{kind}_random")
    fast, never = reached(f"{kind}_vae")
    interval = steps_and_seconds(f"{kind}_vae", float(steps[steps > 0].min()))
    vae = steps_and_seconds("vae", tier.row("training_times", model="vae")["steps"])
    return _Race(level, slow, fast, never, interval, vae)


def _milliseconds_a_step(tier: Tier, *models: str) -> dict[str, float]:
    """Return each model's processor time a step, the mean of its trainings on one device.

    The device is the one with most trainings of those that all of the models have been on: what a
    seed took on a GPU says nothing beside what another model took on a processor.
    """
    trained = [row for row in tier.rows("training_times") if row["model"] in models]
    devices = Counter(row["device"] for row in trained)
    for device, _ in devices.most_common():
        times = {
            model: [
                row["milliseconds_per_step"]
                for row in trained
                if (row["model"], row["device"]) == (model, device)
            ]
            for model in models
        }
        if all(times.values()):
            return {model: statistics.fmean(values) for model, values in times.items()}
    raise FileNotFoundError(f"no device has trained all of {', '.join(models)}")


def _won(share: float, slow: float, fast: float, interval: float, never: bool) -> Effect:
    """Return how many times less than a share of the slow one's the fast one takes.

    What is never reached would have taken more than all its training; what is reached within an
    interval of the curve, of which it says no more, counts as one interval.
    """
    effect = ratio(share * max(slow, interval), max(fast, interval))
    return effect._replace(low=-math.inf) if never else effect


def _decreasing(tier: Tier, model: str) -> np.ndarray:
    return isotonic_regression(tier.history(model)["energy_distance"], increasing=False).x


def _sooner(kind: str, share: float) -> Callable[[Tier], tuple[str, Effect]]:
    def ours(tier: Tier) -> tuple[str, Effect]:
        level, slow, fast, never, interval, _ = _race(tier, kind)
        text = f"{level:.2f}, where the smoothed curve from random weights ends, it reaches in"
        text = f"{text} {slow[0]:,.0f} steps; from the VAE it is reached"
        when = f"not in {fast[0]:,.0f}" if never else f"in {fast[0]:,.0f}"
        return f"{text} {when}", _won(share, slow[0], fast[0], interval[0], never)

    return ours


def _sooner_in_all(kind: str, share: float) -> Callable[[Tier], tuple[str, Effect]]:
    def ours(tier: Tier) -> tuple[str, Effect]:
        _, slow, fast, never, interval, vae = _race(tier, kind)
        steps, seconds = (
            f"{f + v:,.0f} {what}, {v:,.0f} of them the VAE's, instead of {s:,.0f}"
            for f, v, s, what in zip(fast, vae, slow, ("steps", "processor seconds"), strict=True)
        )
        text = f"not reached in {steps}; {seconds}" if never else f"{steps}; {seconds}"
        return text, _won(share, slow[1], fast[1] + vae[1], interval[1], never)

    return ours


def _first_below_the_last(kind: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        slow, fast = tier.history(f"{kind}_random"), tier.history(f"{kind}_vae")
        reached, last = slow["energy_distance"].iloc[-1], slow["step"].iloc[-1]
        steps = fast["step"][fast["energy_distance"] <= reached]
        soon = f"in {steps.iloc[0]:,}" if len(steps) else "never"
        return f"{reached:.2f} after {last:,}, {soon}", bool(
            len(steps) and 2 * steps.iloc[0] <= last
        )

    return ours


def _less(said: str, better: str, worse: str) -> Statement:
    def ours(tier: Tier) -> tuple[str, Effect]:
        rows = [tier.row("generators", model=model) for model in (better, worse)]
        shown = [pm(row["energy_distance"], row["standard_error"]) for row in rows]
        difference, error = _difference(tier, better, worse)
        text = f"energy distance of {TITLES[better]} {shown[0]}, of {TITLES[worse]} {shown[1]};"
        near, far = (max(row["energy_distance"], row["standard_error"]) for row in rows)
        error_near, error_far = (row["standard_error"] for row in rows)
        # Both are compared with the same test images, which the paired error says how much.
        covariance = (error_near**2 + error_far**2 - error**2) / 2
        variance = (error_near / near) ** 2 + (error_far / far) ** 2
        variance -= 2 * covariance / (near * far)
        effect = ratio(far, near, math.sqrt(max(variance, 0)) / math.log(2))
        return f"{text} difference {pm(difference, error)}", effect

    def beyond_its_errors(tier: Tier) -> tuple[str, bool]:
        difference, error = _difference(tier, better, worse)
        return f"difference {pm(difference, error)}", difference > 2 * error

    return Statement(
        "Fig. 11",
        said,
        "its energy distance is less, in a training by more than two standard errors",
        "without a difference it would in one of 44 pairs; an interval over trainings needs no"
        " threshold",
        "the other's energy distance over its own",
        ours,
        earlier=(
            Earlier(
                "the difference exceeds two standard errors",
                "a difference within its errors is open, not a failure",
                beyond_its_errors,
            ),
        ),
    )


def _difference(tier: Tier, better: str, worse: str) -> tuple[float, float]:
    """Return by how much the worse model's energy distance is greater, and its paired error."""
    try:
        row, sign = tier.row("generator_differences", first=better, second=worse), 1
    except FileNotFoundError:  # The table has each pair once.
        row, sign = tier.row("generator_differences", first=worse, second=better), -1
    return sign * row["difference"], row["standard_error"]


_FALLS = "it is lower after the last step than before the first"
_SAYS = "that is all that is said"
_THE_SAME_LEVEL = (
    "both curves are smoothed alike (the nearest that never rise), and each counts to its first"
    " point at one level"
)
_LUCK = "a first value, however lucky, was set against a last one, however noisy"
_COUNTED = "who has no VAE has to train it; steps of a VAE, DCGAN and WGAN cost differently"


def _considerably(where: str, kind: str, said: str, share: float) -> list[Statement]:
    """Return what is said of the start from the VAE, without and with the VAE's own training."""
    words, reason = {
        0.5: ("less than half of the {}", "half is a considerable reduction"),
        1: ("fewer {}", "that is quicker"),
    }[share]
    what = "" if share == 1 else "half the "
    return [
        Statement(
            where,
            said,
            words.format("steps"),
            f"{_THE_SAME_LEVEL}; {reason}",
            f"{what}steps from random weights over those from the VAE",
            _sooner(kind, share),
            earlier=(
                Earlier(
                    "half of all steps or fewer to where the other ends",
                    _LUCK,
                    _first_below_the_last(kind),
                ),
            ),
        ),
        Statement(
            where,
            f"{said}, the VAE's training counted",
            words.format("processor seconds"),
            f"{_COUNTED}; {reason}",
            f"{what}processor seconds from random weights over those from the VAE and of the VAE",
            _sooner_in_all(kind, share),
        ),
    ]


_WHATEVER = "whatever the judge's errors are within what is required of it (the table `judge`)"
STATEMENTS = [
    _parameters("Generator", 42_913),
    _parameters("RealNVP", 205_848),
    _flow_is_as_good_as_said("realnvp"),
    _parameters("OTFlow", 1_229),
    Statement(
        "3.3",
        "OT-Flow has around two orders of magnitude fewer weights than Real NVP",
        "between 10^1.5 and 10^2.5",
        "the order of magnitude, rounded, is two",
        "",
        _fewer_weights,
    ),
    _flow_is_as_good_as_said("otflow"),
    Statement(
        "Fig. 5, 6",
        "the latent points of data are approximately, but not perfectly, normal",
        "p below 0.05, and KL divergence not above that of a kernel density estimate from"
        f" {YARDSTICK:,} points",
        "not perfectly: an exact test at the usual level tells; approximately: the divergence of"
        " the latent points from N(0, I) is that of the data from the flow, so what is near there"
        " is near here",
        "the least of 0.05 over p and the estimate's divergence over the flow's, of both flows",
        _nearly_normal,
        earlier=(
            Earlier(
                "energy distance below 0.02, and p below 0.05",
                "0.02 had no reason",
                _near_by_energy,
            ),
        ),
    ),
    Statement(
        "Fig. 5",
        "Real NVP connects the moons",
        "a path joins them above 10% of the highest density",
        "two peaks count as resolved if the valley between them is at most 10% as high, the rule of"
        " mass spectrometry (IUPAC)",
        "the path's lowest density over 10% of the highest",
        _joins("realnvp", connects=True),
    ),
    Statement(
        "Fig. 6",
        "OT-Flow almost separates the moons",
        "a path joins them at 10% of the highest density or below",
        "the same rule; quite separate they are not even in truth",
        "10% of the highest density over the path's lowest",
        _joins("otflow", connects=False),
        earlier=(
            Earlier(
                "the path's share is lower for OT-Flow than for Real NVP",
                "lower is not almost separate",
                _less_joined,
            ),
            Earlier(
                "less of the mass is where the true density is below 1% of its maximum for OT-Flow"
                " than for Real NVP",
                "mass may be astray anywhere, not between the moons alone",
                _less_astray,
            ),
        ),
    ),
    Statement(
        "3.3",
        "the characteristics are almost straight",
        "95% of 2,000 paths are less than 5% longer than their chords",
        "of rivers, less than 1.05 in length over chord is the class 'almost straight' of the"
        " sinuosity index; 95%, as a path that hardly leads anywhere may wind",
        "5% over the 95% quantile of the excess length",
        _straightness,
        earlier=(
            Earlier(
                "each of six paths less than 10% longer",
                "the longest of six random paths is a lottery",
                _six_are_straight,
            ),
        ),
    ),
    Statement(
        "3.3",
        "the inverse error is nearly at machine precision",
        "as the flow is evaluated, within 10 ε of single precision",
        "nearly: within an order of magnitude; the paper names no steps, so those of the evaluation"
        " (8 in its code) and the precision that PyTorch has by default",
        "10 ε over the relative error",
        _inverse_error,
        earlier=(Earlier("below 1e-6 with 8 steps", "1e-6 had no reason", _below_a_millionth),),
    ),
    _parameters("Encoder", 45_924),
    Statement(
        "4.2",
        "the lower bound is not very tight",
        "more than 1 nat in the mean",
        "the gap is the divergence of the two posteriors; 1 nat is that of two normal densities √2"
        " standard deviations apart, of each of which half is where the other is not",
        "the mean gap over 1 nat",
        _bound,
    ),
    Statement(
        "Fig. 8",
        "in the centre there are regions with relatively few samples",
        "a tenth of the area has less than half",
        "half is seen in the colours of a histogram; a tenth is far more than chance gives, beside",
        "half the samples over those of the emptiest tenth",
        _latent_points,
    ),
    Statement(
        "4.2",
        "a digit can be recognised in most VAE images",
        f"less than half show no digit, {_WHATEVER}",
        "most is more than half",
        "half over the share without a digit",
        _most_with_a_digit,
    ),
    Statement(
        "5.1",
        "many DCGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        "these are six of the 64 that Figure 9 shows",
        "the share without a digit over 10%",
        _many_without_a_digit("dcgan_random"),
    ),
    Statement(
        "5.2",
        "many WGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        "these are six of the 64 that Figure 9 shows",
        "the share without a digit over 10%",
        _many_without_a_digit("wgan_random"),
    ),
    Statement(
        "Fig. 9",
        "more images of the GANs than of the VAE show no digit",
        f"more of each GAN's than of the VAE's show no digit, {_WHATEVER}",
        "what blur alone makes the judge reject says nothing about digits",
        "the least share of a GAN without a digit over the VAE's",
        _more_without_a_digit,
    ),
    Statement(
        "Fig. 11",
        "the DCGANs reduce the distance",
        _FALLS,
        _SAYS,
        "the first distance over the last, the lesser of the two models",
        _falls("dcgan_random", "dcgan_vae"),
    ),
    Statement(
        "Fig. 11",
        "the WGANs reduce the distance",
        _FALLS,
        _SAYS,
        "the first distance over the last, the lesser of the two models",
        _falls("wgan_random", "wgan_vae"),
    ),
    *_considerably(
        "5.1",
        "dcgan",
        "starting from the VAE considerably reduces the steps that the DCGAN needs",
        0.5,
    ),
    *_considerably(
        "5.2", "wgan", "starting from the VAE leads to a quicker reduction by the WGAN", 1
    ),
    _less("starting from the VAE improves the DCGAN", "dcgan_vae", "dcgan_random"),
    _less("starting from the VAE improves the WGAN", "wgan_vae", "wgan_random"),
    _less("from random weights, the WGAN beats the DCGAN", "wgan_random", "dcgan_random"),
    _less("from the VAE, the WGAN beats the DCGAN", "wgan_vae", "dcgan_vae"),
]
