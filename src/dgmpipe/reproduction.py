"""The quantitative statements of the paper, ours beside them, and a verdict on each."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from dgmpipe.deviations import DEVIATIONS, Deviation
from dgmpipe.report import TITLES, pm
from dgmpipe.tiers import Tier

__all__ = ["STATEMENTS", "Statement", "write_pages"]

REPRODUCTION = """\
# What the paper says, and what comes out

Made by `{command}`.
A verdict is computed from the numbers in its row, of the tier that the row names. Statements that
rest on a slip of the paper or of its published code are also in [deviations.md](deviations.md).
{changes}
| where | the paper says | here | tier | verdict |
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
YES, NO, OPEN = "reproduced", "not reproduced", "not yet computed"


class Statement(NamedTuple):
    """A statement of the paper.

    Attributes:
        where: Section or figure.
        paper: What it says.
        ours: Computes what is to be said here and whether the statement holds. It raises
            FileNotFoundError if its tier has not come to that.
    """

    where: str
    paper: str
    ours: Callable[[Tier], tuple[str, bool]]


def _parameters(name: str, expected: int) -> Statement:
    def ours(_: Tier) -> tuple[str, bool]:
        import dgmpipe.models

        count = sum(p.numel() for p in getattr(dgmpipe.models, name)().parameters())
        return f"{count:,}", count == expected

    sections = {"Generator": "2.2", "RealNVP": "3.2", "OTFlow": "3.3", "Encoder": "4.2"}
    names = {"RealNVP": "Real NVP", "OTFlow": "OT-Flow"}
    what = names.get(name, f"the {name.lower()}")
    return Statement(sections[name], f"{what} has {expected:,} weights", ours)


def _flow_is_as_good_as_said(model: str, figure: int) -> Statement:
    said = {5: "meaningful samples and density", 6: "meaningful samples, realistic density"}

    def ours(tier: Tier) -> tuple[str, bool]:
        row = tier.row("flows", model=model)
        kl = pm(row["kl"], row["kl_standard_error"])
        nll = pm(row["nll"], row["nll_standard_error"])
        text = f"{nll} nats, entropy {row['entropy']:.4f}; KL divergence from the truth {kl}"
        return text, row["kl"] < 0.1 and abs(row["mass"] - 1) < 0.01

    return Statement(f"Fig. {figure}", said[figure], ours)


def _between_the_moons(tier: Tier) -> tuple[str, bool]:
    shares = {model: _stray(tier, model) for model in ("realnvp", "otflow")}
    text = "mass where the true density is below 1% of its maximum: " + ", ".join(
        f"{title} {shares[model]:.1%}"
        for model, title in (("realnvp", "Real NVP"), ("otflow", "OT-Flow"))
    )
    return text, shares["otflow"] < shares["realnvp"]


def _stray(tier: Tier, model: str) -> float:
    arrays = tier.arrays(f"{model}/seed_0/flow")
    density, truth = np.exp(arrays["log_density"]), arrays["true_log_density"]
    return float(density[truth < truth.max() + np.log(0.01)].sum() / density.sum())


def _straightness(tier: Tier) -> tuple[str, bool]:
    states = tier.arrays("otflow/seed_0/flow")["hidden_states"]
    length = np.linalg.norm(np.diff(states, axis=0), axis=-1).sum(axis=0)
    straight = np.linalg.norm(states[-1] - states[0], axis=-1)
    excess = (length / straight - 1).max()
    return f"six characteristics are at most {excess:.1%} longer than straight lines", excess < 0.1


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
    samples = tier.arrays("vae/seed_0/latent")["samples"].reshape(-1, 2)
    edges = np.linspace(-1.5, 1.5, 16)
    counts, _, _ = np.histogram2d(samples[:, 0], samples[:, 1], bins=[edges, edges])
    shares = np.diff(ndtr(edges))
    ratio = counts / (len(samples) * np.outer(shares, shares))
    low, high = np.quantile(ratio, [0.1, 0.9])
    text = (
        f"in [-1.5, 1.5]², a tenth of the area has less than {low:.2f} times the samples of N(0, I)"
    )
    return f"{text}, a tenth more than {high:.2f} times", low < 0.5


def _recognisable(model: str, least: float, most: float) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        share = 1 - tier.row("generators", model=model)["ambiguous"]
        text = f"the classifier is sure of {share:.0%} of the images"
        return text, least < share <= most

    return ours


def _falls(*models: str) -> Callable[[Tier], tuple[str, bool]]:
    def ours(tier: Tier) -> tuple[str, bool]:
        texts, holds = [], True
        for model in models:
            curve = tier.history(model)["energy_distance"]
            texts.append(f"of {TITLES[model]} {curve.iloc[0]:.2f} → {curve.iloc[-1]:.2f}")
            holds &= curve.iloc[-1] < curve.iloc[0]
        return "energy distance " + ", ".join(texts), holds

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


STATEMENTS = [
    _parameters("Generator", 42_913),
    _parameters("RealNVP", 205_848),
    _flow_is_as_good_as_said("realnvp", 5),
    _parameters("OTFlow", 1_229),
    _flow_is_as_good_as_said("otflow", 6),
    Statement(
        "Fig. 5, 6",
        "Real NVP connects the moons, OT-Flow almost separates them",
        _between_the_moons,
    ),
    Statement("3.3", "the characteristics are almost straight", _straightness),
    Statement("3.3", "the inverse error is nearly at machine precision", _inverse_error),
    _parameters("Encoder", 45_924),
    Statement("4.2", "the lower bound is not very tight", _bound),
    Statement(
        "Fig. 8", "in the centre there are regions with relatively few samples", _latent_points
    ),
    Statement("4.2", "a digit can be recognised in most VAE images", _recognisable("vae", 0.5, 1)),
    Statement("5.1", "many DCGAN images show no digit", _recognisable("dcgan_random", 0, 0.9)),
    Statement("5.2", "many WGAN images show no digit", _recognisable("wgan_random", 0, 0.9)),
    Statement("Fig. 11", "the DCGANs reduce the distance", _falls("dcgan_random", "dcgan_vae")),
    Statement("Fig. 11", "the WGANs reduce the distance", _falls("wgan_random", "wgan_vae")),
    Statement(
        "Fig. 11", "starting from the VAE improves the DCGAN", _less("dcgan_vae", "dcgan_random")
    ),
    Statement(
        "Fig. 11", "starting from the VAE improves the WGAN", _less("wgan_vae", "wgan_random")
    ),
    Statement(
        "Fig. 11",
        "from random weights, the WGAN beats the DCGAN",
        _less("wgan_random", "dcgan_random"),
    ),
    Statement("Fig. 11", "from the VAE, the WGAN beats the DCGAN", _less("wgan_vae", "dcgan_vae")),
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
        f"\nOtherwise than its config file, the tier {tier.name} has {', '.join(lines)}.\n"
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
        # The number of weights does not depend on a tier.
        name = "" if statement.paper.endswith("weights") else tier.name
        verdict = YES if holds else NO
        break
    return f"| {statement.where} | {statement.paper} | {text} | {name} | {verdict} |\n"


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
