"""The quantitative statements of the paper, ours beside them, and a verdict on each."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from dgmpipe.deviations import DEVIATIONS, Deviation
from dgmpipe.report import TITLES, pm
from dgmpipe.tiers import Tier

__all__ = ["STATEMENTS", "Statement", "joined_at", "write_pages"]

REPRODUCTION = """\
# What the paper says, and what comes out

Made by `{command}`.
A verdict is computed from the results of the tier that its row names, of one training of each
model. On another tier than `paper` the settings are not the paper's: a statement holds there or
does not, which neither reproduces nor refutes it. Behind ± is the standard error over points or
images, not over trainings; those of two generators are taken as independent. Energy distances over
a training (→) are by fewer images than those at its end (±). Statements that rest on a slip of the
paper or of its published code are also in [deviations.md](deviations.md).
{changes}
| where | the paper says | here | holds if | tier | verdict |
|---|---|---|---|---|---|
"""
DEVIATED = """\
# Where the paper and its published code go wrong

Made by `{command}`.
"Code" is what the authors published with the paper. Numbers without a tier follow from the text.
{changes}
| where | there | here | in numbers | tier |
|---|---|---|---|---|
"""
VERDICTS = {True: "reproduced", False: "not reproduced", None: "not decidable"}
ELSEWHERE = {True: "holds there", False: "does not hold there", None: "not decidable"}
OPEN = "not yet computed"


class Statement(NamedTuple):
    """A statement of the paper.

    Attributes:
        where: Section or figure.
        paper: What it says.
        holds_if: What is taken for the statement, as `ours` computes it.
        ours: Computes what is to be said here and whether the statement holds, None if that cannot
            be decided. It raises FileNotFoundError if its tier has not come to that.
        of_tier: Whether it depends on a tier, as numbers of weights do not.
    """

    where: str
    paper: str
    holds_if: str
    ours: Callable[[Tier], tuple[str, bool | None]]
    of_tier: bool = True


def _parameters(name: str, expected: int) -> Statement:
    def ours(_: Tier) -> tuple[str, bool]:
        import dgmpipe.models

        count = sum(p.numel() for p in getattr(dgmpipe.models, name)().parameters())
        return f"{count:,}", count == expected

    sections = {"Generator": "2.2", "RealNVP": "3.2", "OTFlow": "3.3", "Encoder": "4.2"}
    names = {"RealNVP": "Real NVP", "OTFlow": "OT-Flow"}
    what = names.get(name, f"the {name.lower()}")
    return Statement(
        sections[name], f"{what} has {expected:,} weights", "equal", ours, of_tier=False
    )


def _flow_is_as_good_as_said(model: str) -> Statement:
    where, said = {
        "realnvp": ("Fig. 5", "Real NVP transforms normal samples to match the given data"),
        "otflow": ("3.3", "OT-Flow gives meaningful samples and realistic density estimates"),
    }[model]

    def ours(tier: Tier) -> tuple[str, bool]:
        row = tier.row("flows", model=model)
        kl = pm(row["kl"], row["kl_standard_error"])
        nll = pm(row["nll"], row["nll_standard_error"])
        text = f"{nll} nats, entropy {row['entropy']:.4f}; KL divergence from the truth {kl}"
        return text, row["kl"] < 0.1

    return Statement(where, said, "KL divergence below 0.1", ours)


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
        distance, pvalue = row["latent_energy_distance"], row["latent_pvalue"]
        texts.append(f"of {TITLES[model]} {distance:.4f} (p = {pvalue:.3f})")
        holds &= distance < 0.02 and pvalue < 0.05
    return "energy distance from N(0, I) " + ", ".join(texts), holds


def _between_the_moons(tier: Tier) -> tuple[str, bool]:
    names = ("realnvp", "otflow")
    joined = {model: joined_at(*_densities(tier, model)) for model in names}
    text = ", ".join(f"{joined[model]:.1%} of {TITLES[model]}'s" for model in names)
    text = f"from moon to moon a path need not go below this share of the highest density: {text}"
    return text, joined["otflow"] < joined["realnvp"]


def _densities(tier: Tier, model: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = tier.arrays(model, "flow")
    return arrays["log_density"], arrays["true_log_density"]


def joined_at(log_density: np.ndarray, true_log_density: np.ndarray) -> float:
    """Return how low a path between the moons must go, as a share of the density's maximum.

    Args:
        log_density: A learned log density on a grid, shape (R, R).
        true_log_density: The true one on the same grid; it has the moons where it is above a
            hundredth of its maximum.

    Returns:
        The highest level at which the points of greater density join the learned density's
        highest points on either moon.
    """
    moons, _ = ndimage.label(true_log_density > true_log_density.max() - np.log(100))
    highest = [int(np.where(moons == moon, log_density, -np.inf).argmax()) for moon in (1, 2)]
    low, high = log_density.min(), log_density.flat[highest].min()
    while high - low > 1e-3:
        level = (low + high) / 2
        regions = ndimage.label(log_density >= level)[0].flat[highest]
        low, high = (level, high) if regions[0] == regions[1] else (low, level)
    return float(np.exp(low - log_density.max()))


def _straightness(tier: Tier) -> tuple[str, bool]:
    states = tier.arrays("otflow", "flow")["hidden_states"]
    length = np.linalg.norm(np.diff(states, axis=0), axis=-1).sum(axis=0)
    straight = np.linalg.norm(states[-1] - states[0], axis=-1)
    excess = length / straight - 1
    median = np.median(excess)
    text = f"six characteristics are {median:.1%} longer than straight lines in the median"
    return f"{text}, at most {excess.max():.1%}", excess.max() < 0.1


def _inverse_error(tier: Tier) -> tuple[str, bool]:
    errors = {n: tier.row("otflow_inverse_error", rk4_steps=n)["inverse_error"] for n in (4, 8, 64)}
    text = "relative " + ", ".join(f"{e:.1e} with {n} steps" for n, e in errors.items())
    return text, errors[8] < 1e-6


def _bound(tier: Tier) -> tuple[str, bool]:
    row = tier.row("vae_evidence")
    gap = pm(row["gap_mean"], row["gap_standard_error"])
    text = f"{gap} nats below log p(x) in the mean, {row['gap_median']:.1f} in the median, "
    text += f"at most {row['gap_largest']:.0f}, of {row['images']:,.0f} test images by quadrature"
    return text, row["gap_mean"] > 1


def _latent_points(tier: Tier) -> tuple[str, bool]:
    samples = tier.arrays("vae", "latent")["samples"].reshape(-1, 2)
    edges = np.linspace(-1.5, 1.5, 16)
    counts, _, _ = np.histogram2d(samples[:, 0], samples[:, 1], bins=[edges, edges])
    shares = np.diff(ndtr(edges))
    ratio = counts / (len(samples) * np.outer(shares, shares))
    low, high = np.quantile(ratio, [0.1, 0.9])
    text = (
        f"in [-1.5, 1.5]², a tenth of the area has less than {low:.2f} times the samples of N(0, I)"
    )
    return f"{text}, a tenth more than {high:.2f} times", low < 0.5


def _without_a_digit(tier: Tier, *models: str) -> tuple[str, list[tuple[float, float]]]:
    """Return the least and largest share of each model's images that can be without a digit."""
    from dgmpipe.evaluation.judge import without_a_digit

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


def _sooner(kind: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        slow, fast = tier.history(f"{kind}_random"), tier.history(f"{kind}_vae")
        reached, last = slow["energy_distance"].iloc[-1], slow["step"].iloc[-1]
        steps = fast["step"][fast["energy_distance"] <= reached]
        soon = f"in {steps.iloc[0]:,}" if len(steps) else "never"
        text = f"{reached:.2f}, where it ends from random weights after {last:,} steps, is reached"
        return f"{text} {soon}", bool(len(steps) and 2 * steps.iloc[0] <= last)

    return ours


def _less(better: str, worse: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        rows = [tier.row("generators", model=model) for model in (better, worse)]
        values = [pm(row["energy_distance"], row["standard_error"]) for row in rows]
        error = np.hypot(*(row["standard_error"] for row in rows))
        difference = rows[1]["energy_distance"] - rows[0]["energy_distance"]
        text = f"energy distance of {TITLES[better]} {values[0]}, of {TITLES[worse]} {values[1]}"
        return text, difference > 2 * error

    return ours


_FARTHER = "the difference exceeds two standard errors"
_FALLS = "it is lower after the last step than before the first"
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
        _fewer_weights,
        of_tier=False,
    ),
    _flow_is_as_good_as_said("otflow"),
    Statement(
        "Fig. 5, 6",
        "the latent points of data are approximately, but not perfectly, normal",
        "below 0.02, and p below 0.05",
        _nearly_normal,
    ),
    Statement(
        "Fig. 5, 6",
        "Real NVP connects the moons, OT-Flow almost separates them",
        "the share is lower for OT-Flow",
        _between_the_moons,
    ),
    Statement("3.3", "the characteristics are almost straight", "all less than 10%", _straightness),
    Statement(
        "3.3",
        "the inverse error is nearly at machine precision",
        "below 1e-6 with 8 steps",
        _inverse_error,
    ),
    _parameters("Encoder", 45_924),
    Statement("4.2", "the lower bound is not very tight", "more than 1 nat in the mean", _bound),
    Statement(
        "Fig. 8",
        "in the centre there are regions with relatively few samples",
        "a tenth of the area has less than half",
        _latent_points,
    ),
    Statement(
        "4.2",
        "a digit can be recognised in most VAE images",
        f"less than half show no digit, {_WHATEVER}",
        _most_with_a_digit,
    ),
    Statement(
        "5.1",
        "many DCGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        _many_without_a_digit("dcgan_random"),
    ),
    Statement(
        "5.2",
        "many WGAN images show no digit",
        f"more than 10% show no digit, {_WHATEVER}",
        _many_without_a_digit("wgan_random"),
    ),
    Statement(
        "Fig. 9",
        "more images of the GANs than of the VAE show no digit",
        f"more of each GAN's than of the VAE's show no digit, {_WHATEVER}",
        _more_without_a_digit,
    ),
    Statement(
        "Fig. 11",
        "the DCGANs reduce the distance",
        _FALLS,
        _falls("dcgan_random", "dcgan_vae"),
    ),
    Statement(
        "Fig. 11", "the WGANs reduce the distance", _FALLS, _falls("wgan_random", "wgan_vae")
    ),
    Statement(
        "5.1",
        "starting from the VAE considerably reduces the steps that the DCGAN needs",
        "half of them or fewer",
        _sooner("dcgan"),
    ),
    Statement(
        "5.2",
        "starting from the VAE leads to a quicker reduction by the WGAN",
        "half of the steps or fewer",
        _sooner("wgan"),
    ),
    Statement(
        "Fig. 11",
        "starting from the VAE improves the DCGAN",
        _FARTHER,
        _less("dcgan_vae", "dcgan_random"),
    ),
    Statement(
        "Fig. 11",
        "starting from the VAE improves the WGAN",
        _FARTHER,
        _less("wgan_vae", "wgan_random"),
    ),
    Statement(
        "Fig. 11",
        "from random weights, the WGAN beats the DCGAN",
        _FARTHER,
        _less("wgan_random", "dcgan_random"),
    ),
    Statement(
        "Fig. 11",
        "from the VAE, the WGAN beats the DCGAN",
        _FARTHER,
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
        page = head.format(command=command, changes=changes) + "".join(rows)
        (docs / f"{name}.md").write_text(page)


def _statement(statement: Statement, tiers: list[Tier]) -> str:
    text, verdict, name = "", OPEN, ""
    for tier in tiers:
        try:
            text, holds = statement.ours(tier)
        except FileNotFoundError:
            continue
        name = tier.name if statement.of_tier else ""
        verdict = (VERDICTS if name in ("", "paper") else ELSEWHERE)[holds]
        break
    where, paper, holds_if, *_ = statement
    return f"| {where} | {paper} | {text} | {holds_if} | {name} | {verdict} |\n"


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
    return f"| {deviation.where} | {deviation.slip} | {deviation.correct} | {numbers} | {name} |\n"


def main() -> None:
    """Write docs/reproduction.md and docs/deviations.md from results/{tier} of the tiers named.

    Each row is from the first of them that has come so far.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders results/{tier}")
    parser.add_argument("--images", type=Path, default=Path("results/data/mnist"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--configs", type=Path, default=Path("config"))
    arguments = parser.parse_args()
    missing = [folder for folder in arguments.results if not (folder / "tables").is_dir()]
    if missing:
        sys.exit(f"error: {missing[0]} has no tables; run the workflow for that tier first")
    command = "python -m dgmpipe.reproduction " + " ".join(map(str, arguments.results))
    tiers = [Tier(folder, arguments.images) for folder in arguments.results]
    write_pages(tiers, arguments.docs, arguments.configs, command)


if __name__ == "__main__":
    main()
