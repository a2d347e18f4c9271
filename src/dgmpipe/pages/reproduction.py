"""The quantitative statements of the paper, ours beside them, and a verdict on each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import poisson
from sklearn.isotonic import isotonic_regression

from dgmpipe.evaluation.flow_report import KDE_POINTS, RK4_STEPS
from dgmpipe.evaluation.flows import joined_at
from dgmpipe.evaluation.judge import without_a_digit
from dgmpipe.pages.deviations import DEVIATIONS, Deviation
from dgmpipe.pages.tiers import TITLES, Tier
from dgmpipe.plan.summary import pm

__all__ = ["OPEN", "STATEMENTS", "Earlier", "Statement", "computed", "verdict", "write_pages"]

REPRODUCTION = """\
# What the paper says, and what comes out

Made by `{command}`.
Each statement has a criterion and the reason for it. A criterion that took the place of another one
has that in the row below, with what comes out by it and why it was replaced.

A verdict is computed from the results of the tier that its row names.

- **reproduced**, **not reproduced**: of a number of weights, which no training changes; of all else
  only if the statement holds, or fails, in each of at least {least} trainings that differ in their
  seed. If a coin decided each, three would agree in one of four cases, two in one of two, and one
  always does.
- **mixed**: as many trainings, which do not agree.
- **consistent**, **contradicted**: it holds, or fails, in the trainings there are, which are fewer.
- **holds there**, **does not hold there**: of another tier than `paper`, whose settings are not the
  paper's, so that it neither reproduces nor refutes the statement.
- **not decidable**: nothing that is measured here can tell.

Numbers are those of the first seed. Behind ± is the standard error over points or images, not over
trainings; it takes clusters of test images into account ([errors.md](errors.md)), and that of a
difference is paired. Energy distances over a training (→) are by fewer images than those at its
end (±). Statements that rest on a slip of the paper or of its published code are also in
[deviations.md](deviations.md).
{changes}
| where | the paper says | here | holds if | because | tier | verdict |
|---|---|---|---|---|---|---|
"""
DEVIATED = """\
# Where the paper and its published code go wrong

Made by `{command}`.
"Code" is what the authors published with the paper. Numbers without a tier follow from the text.
{changes}
| where | there | here | in numbers | tier |
|---|---|---|---|---|
"""
OPEN = "not yet computed"
# Of the paper's settings, for a verdict on a method; the head of the page has the reason.
LEAST_TRAININGS = 3
# Points of the kernel density estimate that a flow is compared with.
YARDSTICK = KDE_POINTS[-1]


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
        ours: Computes what is to be said here and whether the statement holds, None if that cannot
            be decided. It raises FileNotFoundError if its tier has not come to that.
        of_tier: Whether it depends on a tier, as numbers of weights do not.
        earlier: Criteria that were replaced, the last one first.
    """

    where: str
    paper: str
    holds_if: str
    because: str
    ours: Callable[[Tier], tuple[str, bool | None]]
    of_tier: bool = True
    earlier: tuple[Earlier, ...] = ()


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
        ours,
        of_tier=False,
    )


def _flow_is_as_good_as_said(model: str) -> Statement:
    where, said = {
        "realnvp": ("Fig. 5", "Real NVP transforms normal samples to match the given data"),
        "otflow": ("3.3", "OT-Flow gives meaningful samples and realistic density estimates"),
    }[model]

    def ours(tier: Tier) -> tuple[str, bool]:
        row = tier.row("flows", model=model)
        nll = pm(row["nll"], row["nll_standard_error"])
        text = f"{nll} nats, entropy {row['entropy']:.4f}; {_divergences(row)}"
        return text, row["kl"] <= row[f"kde_{YARDSTICK}_kl"]

    def below_a_tenth(tier: Tier) -> tuple[str, bool]:
        kl = tier.row("flows", model=model)["kl"]
        return f"{kl:.4f}", kl < 0.1

    return Statement(
        where,
        said,
        f"KL divergence not above that of a kernel density estimate from {YARDSTICK:,} points",
        "these are as many points of the data as Figure 2 shows: who has them, and the plainest"
        " estimator, comes as near",
        ours,
        earlier=(Earlier("KL divergence below 0.1", "0.1 nats had no reason", below_a_tenth),),
    )


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


def _nearly_normal(tier: Tier) -> tuple[str, bool]:
    texts, holds = [], True
    for model in ("realnvp", "otflow"):
        row = tier.row("flows", model=model)
        texts.append(f"{TITLES[model]}: p = {row['latent_pvalue']:.3f}, {_divergences(row)}")
        holds &= row["latent_pvalue"] < 0.05 and row["kl"] <= row[f"kde_{YARDSTICK}_kl"]
    return "; ".join(texts), holds


def _near_by_energy(tier: Tier) -> tuple[str, bool]:
    texts, holds = [], True
    for model in ("realnvp", "otflow"):
        row = tier.row("flows", model=model)
        distance, pvalue = row["latent_energy_distance"], row["latent_pvalue"]
        texts.append(f"of {TITLES[model]} {distance:.4f} (p = {pvalue:.3f})")
        holds &= distance < 0.02 and pvalue < 0.05
    return "energy distance from N(0, I) " + ", ".join(texts), holds


def _joins(model: str, connects: bool) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        learned, truth = _densities(tier, model)
        level, of_truth = joined_at(learned, truth), joined_at(truth, truth)
        text = "from moon to moon a path need not go below"
        text = f"{text} {level:.1%} of the highest density; of the true one {of_truth:.0e}"
        return text, (level > 0.1) == connects

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


def _straightness(tier: Tier) -> tuple[str, bool]:
    row = tier.row("flows", model="otflow")
    text = (
        f"2,000 paths are {row['path_excess_median']:.1%} longer than their chords in the median,"
        f" 95% of them less than {row['path_excess_95']:.1%}, at most {row['path_excess_max']:.0%};"
        f" the transport cost is {row['transport_cost_ratio']:.3f} times that of the chords"
    )
    return text, row["path_excess_95"] < 0.05


def _six_are_straight(tier: Tier) -> tuple[str, bool]:
    states = tier.arrays("otflow", "flow")["hidden_states"]
    length = np.linalg.norm(np.diff(states, axis=0), axis=-1).sum(axis=0)
    longest = (length / np.linalg.norm(states[-1] - states[0], axis=-1) - 1).max()
    return f"of six paths at most {longest:.1%}", longest < 0.1


def _inverse_error(tier: Tier) -> tuple[str, bool]:
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
    return text + "; ".join(texts), own <= enough


def _below_a_millionth(tier: Tier) -> tuple[str, bool]:
    error = tier.row("otflow_inverse_error", model="otflow", rk4_steps=8)["inverse_error"]
    return f"{error:.1e}", error < 1e-6


def _bound(tier: Tier) -> tuple[str, bool]:
    row = tier.row("vae_evidence", model="vae")
    gap = pm(row["gap_mean"], row["gap_standard_error"])
    text = f"{gap} nats below log p(x) in the mean, {row['gap_median']:.1f} in the median, "
    text += f"at most {row['gap_largest']:.0f}, of {row['images']:,.0f} test images by quadrature"
    if row["ceiling_mean"] < 0:
        text += "; log p(x) is of the pseudo-likelihood (4), the gap a divergence in z"
    return text, row["gap_mean"] > 1


def _latent_points(tier: Tier) -> tuple[str, bool]:
    samples = tier.arrays("vae", "latent")["samples"]
    edges = np.linspace(-1.5, 1.5, 16)
    z1, z2 = samples.reshape(-1, 2).T
    counts, _, _ = np.histogram2d(z1, z2, bins=[edges, edges])
    shares = np.outer(*2 * [np.diff(ndtr(edges))])
    ratio = counts / (samples.size / 2 * shares)
    low, high = np.quantile(ratio, [0.1, 0.9])
    # At the worst all draws of an image fall into one cell, so that it is images that fall there.
    expected = len(samples) * shares
    by_chance = poisson.cdf(np.ceil(expected / 2) - 1, expected).mean()
    text = (
        f"in [-1.5, 1.5]² a tenth of the area has less than {low:.2f} times the samples of N(0, I),"
        f" a tenth more than {high:.2f} times; less than half has {(ratio < 0.5).mean():.0%} of the"
        f" area, and by chance at most {by_chance:.1%} would"
    )
    return text, low < 0.5


def _without_a_digit(tier: Tier, *models: str) -> tuple[str, list[tuple[float, float]]]:
    """Return the least and largest share of each model's images that can be without a digit."""
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


def _many_without_a_digit(model: str) -> Callable[[Tier], tuple[str, bool | None]]:
    def ours(tier: Tier) -> tuple[str, bool | None]:
        text, [(low, high)] = _without_a_digit(tier, model)
        return text, _if_decided(low > 0.1, high <= 0.1)

    return ours


def _most_with_a_digit(tier: Tier) -> tuple[str, bool | None]:
    text, [(low, high)] = _without_a_digit(tier, "vae")
    return text, _if_decided(high < 0.5, low >= 0.5)


def _more_without_a_digit(tier: Tier) -> tuple[str, bool | None]:
    names = ("vae", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae")
    text, [(vae_low, vae_high), *gans] = _without_a_digit(tier, *names)
    holds = all(low > vae_high for low, _ in gans)
    return text, _if_decided(holds, any(high <= vae_low for _, high in gans))


def _if_decided(holds: bool, fails: bool) -> bool | None:
    return holds if holds or fails else None


def _falls(*models: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        texts, holds = [], True
        for model in models:
            curve = tier.history(model)["energy_distance"]
            texts.append(f"of {TITLES[model]} {curve.iloc[0]:.2f} → {curve.iloc[-1]:.2f}")
            holds &= curve.iloc[-1] < curve.iloc[0]
        return "energy distance " + ", ".join(texts), holds

    return ours


class _Race(NamedTuple):
    """How a GAN from the VAE's generator comes to where one from random weights ends.

    The curves are the decreasing ones nearest to the energy distances in least squares, so that
    neither a single low value nor a last one decides.

    Attributes:
        level: Where the smoothed curve from random weights ends.
        slow: Steps and processor seconds until it is there.
        fast: The same of the curve from the VAE; infinite if it never is.
        vae: Steps and processor seconds of the VAE's training.
    """

    level: float
    slow: tuple[float, float]
    fast: tuple[float, float]
    vae: tuple[float, float]


def _race(tier: Tier, kind: str) -> _Race:
    level = _decreasing(tier, f"{kind}_random")[-1]

    def reached(model: str) -> tuple[float, float]:
        steps, times = tier.history(model)["step"], tier.row("training_times", model=model)
        there = steps[_decreasing(tier, model) <= level]
        first = float(there.iloc[0]) if len(there) else np.inf
        return first, first * times["processor_seconds"] / times["steps"]

    vae = tier.row("training_times", model="vae")
    of_vae = (vae["steps"], vae["processor_seconds"])
    return _Race(level, reached(f"{kind}_random"), reached(f"{kind}_vae"), of_vae)


def _decreasing(tier: Tier, model: str) -> np.ndarray:
    return isotonic_regression(tier.history(model)["energy_distance"], increasing=False)


def _sooner(kind: str, share: float) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        level, slow, fast, _ = _race(tier, kind)
        text = f"{level:.2f}, where the smoothed curve from random weights ends, it reaches in"
        text = f"{text} {slow[0]:,.0f} steps; from the VAE it is reached"
        if fast[0] == np.inf:
            return f"{text} never", False
        return f"{text} in {fast[0]:,.0f}", fast[0] < share * slow[0]

    return ours


def _sooner_in_all(kind: str, share: float) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        _, slow, fast, vae = _race(tier, kind)
        if fast[0] == np.inf:
            return "never reached", False
        steps, seconds = (
            f"{f + v:,.0f} {what}, {v:,.0f} of them the VAE's, instead of {s:,.0f}"
            for f, v, s, what in zip(fast, vae, slow, ("steps", "processor seconds"), strict=True)
        )
        return f"{steps}; {seconds}", fast[1] + vae[1] < share * slow[1]

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


def _less(better: str, worse: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        rows = [tier.row("generators", model=model) for model in (better, worse)]
        values = [pm(row["energy_distance"], row["standard_error"]) for row in rows]
        difference, error = _difference(tier, better, worse)
        text = f"energy distance of {TITLES[better]} {values[0]}, of {TITLES[worse]} {values[1]};"
        return f"{text} difference {pm(difference, error)}", difference > 2 * error

    return ours


def _difference(tier: Tier, better: str, worse: str) -> tuple[float, float]:
    """Return by how much the worse model's energy distance is greater, and its paired error."""
    try:
        row, sign = tier.row("generator_differences", first=better, second=worse), 1
    except FileNotFoundError:  # The table has each pair once.
        row, sign = tier.row("generator_differences", first=worse, second=better), -1
    return sign * row["difference"], row["standard_error"]


_FARTHER = "the difference exceeds two standard errors"
_BY_CHANCE = "without a difference it would in one of 44 pairs"
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
    return [
        Statement(
            where,
            said,
            words.format("steps"),
            f"{_THE_SAME_LEVEL}; {reason}",
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
        _fewer_weights,
        of_tier=False,
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
        _joins("realnvp", connects=True),
    ),
    Statement(
        "Fig. 6",
        "OT-Flow almost separates the moons",
        "a path joins them at 10% of the highest density or below",
        "the same rule; quite separate they are not even in truth",
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
        _bound,
    ),
    Statement(
        "Fig. 8",
        "in the centre there are regions with relatively few samples",
        "a tenth of the area has less than half",
        "half is seen in the colours of a histogram; a tenth is far more than chance gives, beside",
        _latent_points,
    ),
    Statement(
        "4.2",
        "a digit can be recognised in most VAE images",
        f"less than half show no digit, {_WHATEVER}",
        "most is more than half",
        _most_with_a_digit,
    ),
    Statement(
        "5.1",
        "many DCGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        "these are six of the 64 that Figure 9 shows",
        _many_without_a_digit("dcgan_random"),
    ),
    Statement(
        "5.2",
        "many WGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        "these are six of the 64 that Figure 9 shows",
        _many_without_a_digit("wgan_random"),
    ),
    Statement(
        "Fig. 9",
        "more images of the GANs than of the VAE show no digit",
        f"more of each GAN's than of the VAE's show no digit, {_WHATEVER}",
        "what blur alone makes the judge reject says nothing about digits",
        _more_without_a_digit,
    ),
    Statement(
        "Fig. 11",
        "the DCGANs reduce the distance",
        _FALLS,
        _SAYS,
        _falls("dcgan_random", "dcgan_vae"),
    ),
    Statement(
        "Fig. 11",
        "the WGANs reduce the distance",
        _FALLS,
        _SAYS,
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
    Statement(
        "Fig. 11",
        "starting from the VAE improves the DCGAN",
        _FARTHER,
        _BY_CHANCE,
        _less("dcgan_vae", "dcgan_random"),
    ),
    Statement(
        "Fig. 11",
        "starting from the VAE improves the WGAN",
        _FARTHER,
        _BY_CHANCE,
        _less("wgan_vae", "wgan_random"),
    ),
    Statement(
        "Fig. 11",
        "from random weights, the WGAN beats the DCGAN",
        _FARTHER,
        _BY_CHANCE,
        _less("wgan_random", "dcgan_random"),
    ),
    Statement(
        "Fig. 11",
        "from the VAE, the WGAN beats the DCGAN",
        _FARTHER,
        _BY_CHANCE,
        _less("wgan_vae", "dcgan_vae"),
    ),
]


def write_pages(tiers: list[Tier], docs: Path, configs: Path, command: str) -> None:
    """Write reproduction.md and deviations.md, each row from the first tier that has what it takes.

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
    for name, head, rows in (
        ("reproduction", REPRODUCTION, [_statement(s, tiers) for s in STATEMENTS]),
        ("deviations", DEVIATED, [_deviation(d, tiers) for d in DEVIATIONS]),
    ):
        page = head.format(command=command, changes=changes, least=LEAST_TRAININGS) + "".join(rows)
        (docs / f"{name}.md").write_text(page, encoding="utf-8")


def verdict(holds: Sequence[bool | None], tier: str, place: str = "there") -> str:
    """Return the verdict on a statement, in the words of the page.

    Args:
        holds: Whether it holds, of each training; of one that no training changes, once.
        tier: Name of the trainings' tier; "" of a statement that no training changes.
        place: How the page speaks of a tier that is not the paper's.
    """
    count, agreed = len(holds), len(set(holds)) == 1
    if None in holds:
        return "not decidable"
    if tier == "":
        return "reproduced" if holds[0] else "not reproduced"
    number = "one training" if count == 1 else f"{count} trainings"
    if not agreed:
        word = "mixed" if tier == "paper" else f"mixed {place}"
        return f"{word}: holds in {sum(map(bool, holds))} of {number}"
    if tier != "paper":
        return f"{'holds' if holds[0] else 'does not hold'} {place}, {number}"
    if count < LEAST_TRAININGS:
        return f"{'consistent' if holds[0] else 'contradicted'}, {number}"
    return f"{'reproduced' if holds[0] else 'not reproduced'}, {number}"


def _statement(statement: Statement, tiers: list[Tier]) -> str:
    where, paper, holds_if, because, ours, of_tier, earlier = statement
    rows = [(where, paper, holds_if, because, ours)]
    rows += [("", "*before:*", held_if, f"replaced: {why}", old) for held_if, why, old in earlier]
    page = ""
    for section, said, criterion, reason, compute in rows:
        text, holds, name = computed(compute, of_tier, tiers)
        word = verdict(holds, name) if holds else OPEN
        page += _row(section, said, text, criterion, reason, name, word)
    return page


def computed(
    ours: Callable[[Tier], tuple[str, bool | None]], of_tier: bool, tiers: list[Tier]
) -> tuple[str, list[bool | None], str]:
    """Return what is said here by the first tier that has come to it, and whether it holds.

    Args:
        ours: As that of a statement; likewise `of_tier`.
        of_tier: Whether it depends on a tier.
        tiers: In the order of preference.

    Returns:
        The text, by the first seed; whether it holds, by each seed; the tier's name, "" where it
        depends on none. No seed and an empty text if no tier has come to it.
    """
    for tier in tiers:
        found = []
        for seed in tier.seeds if of_tier else tier.seeds[:1]:
            try:
                found.append(ours(tier.of_seed(seed)))
            except (FileNotFoundError, KeyError):  # no file, or no such column as yet
                continue
        if found:
            name = tier.name if of_tier else ""
            return found[0][0], [holds for _, holds in found], name
    return "", [], ""


def _deviation(deviation: Deviation, tiers: list[Tier]) -> str:
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


def _row(*cells: str) -> str:
    """Write the row of a table; a bar within a cell, as in p(x|z), would end it."""
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |\n"
