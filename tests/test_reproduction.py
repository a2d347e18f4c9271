"""The verdicts on what the paper says: each can be either, and says so for made-up results."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from dgmpipe.config import read_config
from dgmpipe.pages import statements
from dgmpipe.pages.claims import OPEN, PUBLISHED, against_the_published, verdict
from dgmpipe.pages.deviations import Deviation
from dgmpipe.pages.reproduction import write_pages
from dgmpipe.pages.statements import STATEMENTS, Statement
from dgmpipe.pages.tiers import Tier
from dgmpipe.statistics.replicates import Decision

ROOT = Path(__file__).parent.parent
# A table's row by its model; arrays by their model and name; the distances of a history.
Results = dict[str, Any]


class _Tier:
    """Results that are made up."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def row(self, table: str, **keys: Any) -> dict[str, Any]:
        if table == "training_times":
            return self._results[f"{keys['model']} time"]
        if "first" in keys:
            pair = f"{keys['first']} {keys['second']}"
            if pair not in self._results:
                raise FileNotFoundError(table)
            return self._results[pair]
        if table == "vae_evidence":
            return self._results[table]
        return self._results[keys.get("rk4_steps", keys["model"])]

    def rows(self, table: str) -> list[dict[str, Any]]:
        if table != "training_times":
            return self._results[table]
        return [
            {"model": key.removesuffix(" time"), "device": "cpu"}
            | {"milliseconds_per_step": 1000 * time["processor_seconds"] / time["steps"]}
            for key, time in self._results.items()
            if key.endswith(" time")
        ]

    def arrays(self, model: str, name: str) -> dict[str, np.ndarray]:
        return self._results[f"{model} {name}"]

    def history(self, model: str) -> pd.DataFrame:
        distances = self._results.get(f"{model} curve", self._results[model])
        return pd.DataFrame({"step": range(len(distances)), "energy_distance": distances})


BLURRED = "digits blurred by 1.3 pixels"
AXIS = np.linspace(-3, 3, 241)
X, Y = np.meshgrid(AXIS, AXIS)


def _two_hills(deviation: float) -> np.ndarray:
    """Log density of two normal distributions around (-1, 0) and (1, 0)."""
    hills = [-((X - centre) ** 2 + Y**2) / (2 * deviation**2) for centre in (-1, 1)]
    return np.logaddexp(*hills)


def _flow(kl: float, pvalue: float = 0.005, energy_distance: float = 0.004) -> dict[str, float]:
    """A row of the table of flows, beside a kernel density estimate that is 0.08 nats off."""
    return {
        "kl": kl,
        "nll": 0.4,
        "entropy": 0.29,
        "kde_500_kl": 0.2,
        "kde_2000_kl": 0.08,
        "latent_energy_distance": energy_distance,
        "latent_pvalue": pvalue,
    } | {f"{name}_standard_error": 0.001 for name in ("kl", "nll", "kde_500_kl", "kde_2000_kl")}


def _flows(**of_otflow: float) -> Results:
    return {"realnvp": _flow(0.05), "otflow": _flow(**({"kl": 0.05} | of_otflow))}


def _paths(of_95: float) -> Results:
    row = {"path_excess_median": 0.01, "path_excess_95": of_95, "path_excess_max": 3}
    return {"otflow": row | {"transport_cost_ratio": 1.1}}


def _bound(gap: float) -> dict[str, float]:
    return {"gap_mean": gap, "gap_standard_error": 0.1, "gap_median": gap, "gap_largest": gap} | {
        "images": 9,
        "ceiling_mean": -45,
    }


def _states(bend: float) -> Results:
    angles = np.linspace(0, bend, 50)
    path = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return {"otflow flow": {"hidden_states": path[:, None]}}


def _samples(spread: str) -> dict[str, np.ndarray]:
    points = np.random.default_rng(0).normal(size=(200_000, 2))
    return {"samples": points if spread == "even" else np.sign(points) * (np.abs(points) + 0.3)}


def _densities(realnvp: float, otflow: float) -> Results:
    truth = {"true_log_density": _two_hills(0.2)}
    return {
        f"{model} flow": truth | {"log_density": _two_hills(deviation)}
        for model, deviation in (("realnvp", realnvp), ("otflow", otflow))
    }


def _errors(own: float) -> Results:
    rows = {n: {"inverse_error": own, "inverse_error_double": n**-4.0} for n in (4, 8, 16, 32, 64)}
    return rows | {"otflow": {"inverse_error": own}}


def _race(kind: str, slow: list[float], fast: list[float], vae_seconds: float = 1) -> Results:
    """Histories, and trainings of which each evaluation took 10 s of the processor."""
    times = {
        f"{name} time": {"steps": len(curve) - 1, "processor_seconds": 10 * (len(curve) - 1)}
        for name, curve in ((f"{kind}_random", slow), (f"{kind}_vae", fast))
    }
    times["vae time"] = {"steps": 7, "processor_seconds": vae_seconds}
    return times | {f"{kind}_random": slow, f"{kind}_vae": fast}


def _judge(*, met: bool = True) -> Results:
    digits = {"kind": "digits", "rejected": 0.01, "met": True}
    return {"judge": [digits, digits | {"kind": BLURRED, "met": met}]}


def _rejected(model: str, share: float) -> Results:
    return _judge() | {model: {"rejected": share}}


def _rejected_of_each(vae: float, last_gan: float) -> Results:
    shares = {"vae": vae, "dcgan_random": 0.5, "dcgan_vae": 0.5, "wgan_random": 0.5}
    shares["wgan_vae"] = last_gan
    return _judge() | {name: {"rejected": share} for name, share in shares.items()}


def _distances(model: str, distance: float, other: str, of_other: float) -> Results:
    rows = {
        name: {"standard_error": 0.05, "energy_distance": value}
        for name, value in ((model, distance), (other, of_other))
    }
    # The table has a pair once, here sometimes the better one first. Its error is far less than the
    # two distances would have as independent ones.
    first, second = sorted(rows, key=lambda name: name[::-1])
    difference = rows[second]["energy_distance"] - rows[first]["energy_distance"]
    return rows | {f"{first} {second}": {"difference": difference, "standard_error": 0.04}}


_DCGAN = "that the DCGAN needs"
_WGAN = "reduction by the WGAN"
_PAIRS = (
    ("VAE improves the DCGAN", "dcgan_vae", "dcgan_random"),
    ("VAE improves the WGAN", "wgan_vae", "wgan_random"),
    ("random weights, the WGAN beats", "wgan_random", "dcgan_random"),
    ("the VAE, the WGAN beats", "wgan_vae", "dcgan_vae"),
)
CASES: list[tuple[str, Results, Results]] = [
    ("to match the given data", {"realnvp": _flow(0.05)}, {"realnvp": _flow(0.09)}),
    ("meaningful samples and realistic", {"otflow": _flow(0.05)}, {"otflow": _flow(0.09)}),
    ("approximately, but not perfectly, normal", _flows(), _flows(pvalue=0.4)),
    ("approximately, but not perfectly, normal", _flows(), _flows(kl=0.09)),
    ("Real NVP connects", _densities(0.6, 0.3), _densities(0.3, 0.6)),
    ("OT-Flow almost separates", _densities(0.6, 0.3), _densities(0.3, 0.6)),
    ("almost straight", _paths(0.04), _paths(0.06)),
    ("machine precision", _errors(1e-6), _errors(1e-5)),
    ("not very tight", {"vae_evidence": _bound(9)}, {"vae_evidence": _bound(0.2)}),
    ("few samples", {"vae latent": _samples("apart")}, {"vae latent": _samples("even")}),
    ("in most VAE images", _rejected("vae", 0.19), _rejected("vae", 0.6)),
    ("many DCGAN images", _rejected("dcgan_random", 0.15), _rejected("dcgan_random", 0.03)),
    ("many WGAN images", _rejected("wgan_random", 0.15), _rejected("wgan_random", 0.03)),
    ("than of the VAE", _rejected_of_each(0.1, 0.4), _rejected_of_each(0.2, 0.05)),
    (
        "the DCGANs reduce",
        {"dcgan_random": [9, 10, 1], "dcgan_vae": [2, 1]},
        {"dcgan_random": [9, 1], "dcgan_vae": [1, 2]},
    ),
    (
        "the WGANs reduce",
        {"wgan_random": [9, 10, 1], "wgan_vae": [2, 1]},
        {"wgan_random": [1, 9], "wgan_vae": [2, 1]},
    ),
    # From random weights the lowest is there after 4 evaluations of 10 s each, so that half are 2.
    *(
        (paper, _race(kind, [9, 5, 4, 2, 1, 1], fast), _race(kind, [9, 5, 4, 2, 1, 1], slow))
        for paper, kind, fast, slow in (
            (_DCGAN, "dcgan", [2, 1, 1, 1], [2, 2, 1, 1]),
            (_WGAN, "wgan", [2, 2, 2, 1], [2, 2, 2, 2, 1]),
            # A first low value that does not last is none.
            (_DCGAN, "dcgan", [2, 1, 1, 1], [2, 1, 2, 2, 2, 1]),
        )
    ),
    *(
        (
            f"{paper}, the VAE's training counted",
            _race(kind, [9, 5, 4, 2, 1], [2, 1, 1], vae_seconds=enough - 1),
            _race(kind, [9, 5, 4, 2, 1], [2, 1, 1], vae_seconds=enough + 1),
        )
        for paper, kind, enough in ((_DCGAN, "dcgan", 10), (_WGAN, "wgan", 30))
    ),
    *(
        (paper, _distances(model, 0.5, other, 0.6), _distances(model, 0.5, other, 0.35))
        for paper, model, other in _PAIRS
    ),
]


EARLIER: list[tuple[str, Results, Results]] = [
    ("to match the given data", {"realnvp": _flow(0.09)}, {"realnvp": _flow(0.2)}),
    ("meaningful samples and realistic", {"otflow": _flow(0.09)}, {"otflow": _flow(0.2)}),
    ("but not perfectly, normal", _flows(), _flows(energy_distance=0.03)),
    ("OT-Flow almost separates", _densities(0.6, 0.5), _densities(0.5, 0.6)),
    ("OT-Flow almost separates", _densities(0.6, 0.5), _densities(0.5, 0.6)),
    ("almost straight", _states(0.5), _states(3)),
    ("machine precision", _errors(9e-7), _errors(2e-6)),
    (_DCGAN, _race("dcgan", [9, 3, 2, 1], [2, 1, 1, 1]), _race("dcgan", [9, 3, 1], [2, 2, 1])),
    (_WGAN, _race("wgan", [9, 3, 2, 1], [2, 1, 1, 1]), _race("wgan", [9, 3, 1], [2, 2, 1])),
    *(
        (paper, _distances(model, 0.5, other, 0.6), _distances(model, 0.5, other, 0.55))
        for paper, model, other in _PAIRS
    ),
]


def _statement(paper: str) -> Statement:
    (statement,) = (s for s in STATEMENTS if s.paper.endswith(paper) or f"{paper} " in s.paper)
    return statement


def test_there_is_a_case_for_every_criterion() -> None:
    tested = [_statement(paper) for paper, *_ in CASES]
    assert {s.paper for s in tested} == {s.paper for s in STATEMENTS if s.of_tier}
    before = sorted(_statement(paper).paper for paper, *_ in EARLIER)
    assert before == sorted(s.paper for s in STATEMENTS for _ in s.earlier)


def test_every_criterion_has_its_reason() -> None:
    for statement in STATEMENTS:
        assert statement.because, statement.paper
        assert all(earlier.replaced for earlier in statement.earlier), statement.paper


@pytest.mark.parametrize(("paper", "holding", "failing"), CASES, ids=[case[0] for case in CASES])
def test_a_statement_holds_or_fails_as_its_numbers_say(
    paper: str, holding: Results, failing: Results
) -> None:
    for results, expected in ((holding, True), (failing, False)):
        text, effect = _statement(paper).ours(_Tier(results))
        assert effect.holds == expected, text


@pytest.mark.parametrize(("paper", "holding", "failing"), EARLIER)
def test_a_criterion_that_was_replaced_still_decides(
    paper: str, holding: Results, failing: Results
) -> None:
    for earlier in _statement(paper).earlier:
        for results, expected in ((holding, True), (failing, False)):
            text, holds = earlier.ours(_Tier(results))
            assert holds == expected, text


def test_what_joins_the_moons_is_shown_beside_the_truths_own_level() -> None:
    text, _ = _statement("OT-Flow almost separates").ours(_Tier(_densities(0.6, 0.3)))
    # Of the truth here, two hills of deviation 0.2: twice the density at the middle, 2e^-12.5.
    assert "below 0.8% of the highest density; of the true one 7e-06" in text


def test_steps_that_are_saved_are_told_with_the_vaes() -> None:
    text, _ = _statement("the DCGAN needs, the VAE's training counted").ours(
        _Tier(_race("dcgan", [9, 5, 4, 2, 1], [2, 1, 1], vae_seconds=3))
    )
    assert text == (
        "8 steps, 7 of them the VAE's, instead of 4;"
        " 13 processor seconds, 3 of them the VAE's, instead of 40"
    )


def test_the_steps_that_reach_machine_precision_are_told_for_each_precision() -> None:
    results = _errors(1e-3)
    for steps, error in ((4, 1e-3), (8, 1e-4), (16, 1e-6), (32, 5e-7), (64, 6e-7)):
        results[steps]["inverse_error"] = error
    text, effect = _statement("machine precision").ours(_Tier(results))
    assert effect.holds is False
    assert "within 10 ε = 1e-06 from 16 steps; in double" in text
    assert text.endswith("within 10 ε = 2e-15 not by 64 steps")


@pytest.mark.parametrize(
    ("decision", "trainings", "tier", "expected"),
    [
        ("for", 0, "", "reproduced"),
        ("against", 0, "", "not reproduced"),
        ("for", 1, "paper", "consistent, one training"),
        ("against", 1, "paper", "contradicted, one training"),
        ("undecided", 1, "paper", "undecided, one training"),
        ("for", 2, "paper", "reproduced, 2 trainings"),
        ("against", 3, "paper", "not reproduced, 3 trainings"),
        ("undecided", 3, "paper", "undecided, 3 trainings"),
        ("for", 1, "laptop", "holds there, one training"),
        ("against", 4, "laptop", "does not hold there, 4 trainings"),
        ("undecided", 2, "laptop", "undecided there, 2 trainings"),
        ("not decidable", 5, "paper", "not decidable"),
    ],
)
def test_a_verdict_says_how_many_trainings_and_whose_settings(
    decision: Decision, trainings: int, tier: str, expected: str
) -> None:
    assert verdict(decision, trainings, tier) == expected


def test_a_difference_within_its_errors_is_open() -> None:
    for paper, model, other in _PAIRS:
        _, effect = _statement(paper).ours(_Tier(_distances(model, 0.5, other, 0.52)))
        assert effect.low > 0
        assert effect.holds is None


def test_what_is_never_reached_would_have_taken_longer_than_its_training() -> None:
    statement = _statement(_WGAN)
    text, effect = statement.ours(_Tier(_race("wgan", [9, 5, 4, 2, 1], [2] * 9)))
    assert (effect.low, effect.high) == (-np.inf, -1)
    assert text.endswith("from the VAE it is reached not in 8")
    # A training that ends too early to tell decides nothing.
    assert statement.ours(_Tier(_race("wgan", [9, 5, 4, 2, 1], [2, 2])))[1].holds is None


def test_what_is_reached_at_once_counts_as_an_interval_of_the_curve() -> None:
    # From random weights this one ends where the VAE's generator begins, whatever the intervals.
    race = _race("wgan", [9, 5, 4, 2, 2], [2, 1, 1])
    text, effect = _statement(_WGAN).ours(_Tier(race))
    assert text.endswith("it reaches in 3 steps; from the VAE it is reached in 0")
    assert effect.low == effect.high == pytest.approx(np.log2(3))


class _Seeds(_Tier):
    """Results of several seeds, of which some are not there yet."""

    config = read_config(yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8")))

    def __init__(self, name: str, results: dict[int, Results]) -> None:
        super().__init__({})
        self.name, self.seeds, self._of_seeds = name, list(results), results

    def of_seed(self, seed: int) -> _Tier:
        return _Absent(self._of_seeds[seed])

    def changes(self, _: Path) -> list[str]:
        return []


class _Absent(_Tier):
    """Results in which whatever has not been made up is not there yet."""

    def row(self, table: str, **keys: Any) -> dict[str, Any]:
        try:
            return super().row(table, **keys)
        except KeyError as error:
            raise FileNotFoundError from error

    def arrays(self, model: str, name: str) -> dict[str, np.ndarray]:
        try:
            return super().arrays(model, name)
        except KeyError as error:
            raise FileNotFoundError from error

    def history(self, model: str) -> pd.DataFrame:
        curve = self._results.get(f"{model} curve", self._results.get(model))
        if not isinstance(curve, list):  # the model may have a row in a table
            raise FileNotFoundError(model)
        return super().history(model)


Rows = list[list[str]]


def _page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *tiers: _Seeds) -> dict[str, Rows]:
    """Return the rows of each table of the page by the heading above it."""
    monkeypatch.setattr("dgmpipe.pages.reproduction.DEVIATIONS", [])
    monkeypatch.setattr("dgmpipe.pages.reproduction.save_figure", lambda figure, path: None)
    monkeypatch.setattr("dgmpipe.pages.reproduction.figure_claims", lambda table: None)
    write_pages(tiers, tmp_path, tmp_path, "a command")
    tables: dict[str, Rows] = {}
    for section in (tmp_path / "reproduction.md").read_text().split("\n## ")[1:]:
        heading, *lines = section.splitlines()
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line[:1] == "|"]
        assert len({len(row) for row in rows}) <= 1
        tables[heading] = [[cell.strip() for cell in row] for row in rows[2:]]
    return tables


def _about(rows: Rows, paper: str, column: int = 0) -> list[str]:
    (row,) = (row for row in rows if row[column].endswith(paper) or f"{paper} " in row[column])
    return row


def test_a_bar_within_a_cell_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slip = Deviation("(20)", "p(x|z)", "p(z|x)", "by Bayes' rule")
    monkeypatch.setattr("dgmpipe.pages.reproduction.DEVIATIONS", [slip])
    write_pages([_Seeds("paper", {0: {}})], tmp_path, tmp_path, "a command")
    last = (tmp_path / "deviations.md").read_text().splitlines()[-1]
    assert last == r"| (20) | p(x\|z) | p(z\|x) | by Bayes' rule |  |"


def test_the_page_takes_every_seed_of_the_first_tier_that_has_come_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bounds(*gaps: float) -> dict[int, Results]:
        # A seed that has not come so far has no gap.
        return {s: {"vae_evidence": _bound(g)} if g else {} for s, g in enumerate(gaps)}

    laptop = _Seeds("laptop", {0: {"vae_evidence": _bound(0.2), "otflow": _flow(0.2)}})
    for paper, expected in (
        (bounds(9), "consistent, one training"),
        (bounds(9, 8, 9), "reproduced, 3 trainings"),
        (bounds(9, 0, 8), "reproduced, 2 trainings"),
        (bounds(9, 0.2, 9), "undecided, 3 trainings"),
        (bounds(0.4, 0.4, 0.5), "not reproduced, 3 trainings"),
    ):
        page = _page(tmp_path, monkeypatch, _Seeds("paper", paper), laptop)
        verdicts, criteria = page["Verdicts"], page["Criteria and numbers"]
        row = _about(verdicts, "not very tight", 1)
        assert row[2:4] == [expected, "paper"]
        gap = paper[0]["vae_evidence"]["gap_mean"]
        assert _about(criteria, "not very tight")[1].startswith(f"{gap:.2f} ± 0.10 nats")
        row = _about(verdicts, "meaningful samples", 1)
        assert row[2:] == [
            "does not hold there, one training", "laptop", "0 of 1", "×0.4", "–", "1.01", "–"
        ]  # fmt: skip
        (place,) = (n for n, row in enumerate(criteria) if "meaningful samples" in row[0])
        before = ["*before:*", "0.2000: holds in 0 of 1", "KL divergence below 0.1"]
        assert criteria[place + 1][:3] == before
        assert _about(verdicts, "the encoder has", 1)[2:4] == ["reproduced", ""]
        row = _about(verdicts, "Real NVP connects the moons", 1)
        assert row[2:] == [OPEN, "", "–", "–", "–", "–", "–"]
        assert "Against the published generators" not in page


def test_effects_stand_with_their_interval_and_both_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Gaps of 4, 8 and 16 nats: 2, 3 and 4 doublings, of which Student's t with 2 degrees of freedom
    # makes 3 ± 4.303/√3.
    paper = {s: {"vae_evidence": _bound(gap)} for s, gap in enumerate((4, 8, 16))}
    page = _page(tmp_path, monkeypatch, _Seeds("paper", paper))
    row = _about(page["Verdicts"], "not very tight", 1)
    assert row[4:] == ["3 of 3", "×8.0", "×1.43 to ×45", "1.02", "2.0"]


def test_models_are_compared_within_the_seeds_that_all_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The DCGANs differ tenfold between seeds, but are always a fifth farther than their WGANs.
    pairs = {
        seed: _distances("wgan_random", scale, "dcgan_random", 1.2 * scale)
        for seed, scale in enumerate((0.5, 5.0, 1.5))
    }
    alone = {3: {"dcgan_random": {"energy_distance": 0.01, "standard_error": 0.001}}}
    page = _page(tmp_path, monkeypatch, _Seeds("paper", pairs | alone))
    row = _about(page["Verdicts"], "from random weights, the WGAN beats the DCGAN", 1)
    assert row[2] == "reproduced, 3 trainings"
    assert row[5:7] == ["×1.20", "×1.20 to ×1.20"]


@pytest.mark.parametrize(
    ("distances", "mean", "interval", "expected"),
    [
        ([0.10], "0.100", "–", "consistent, one training"),
        ([0.30], "0.300", "–", "contradicted, one training"),
        ([0.10, 0.11, 0.12], "0.110", "0.085 to 0.135", "reproduced, 3 trainings"),
        ([0.10, 0.30, 0.20], "0.200", "-0.048 to 0.448", "undecided, 3 trainings"),
        ([0.30, 0.31, 0.32], "0.310", "0.285 to 0.335", "not reproduced, 3 trainings"),
    ],
)
def test_means_stand_beside_the_published_generators(
    distances: list[float],
    mean: str,
    interval: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = {
        seed: {"dcgan_random": {"energy_distance": distance, "standard_error": 0.002}}
        for seed, distance in enumerate(distances)
    }
    # Of ten evaluations the last two are late, of four the last one.
    results[0]["dcgan_random curve"] = [9.0] * 8 + [0.5, 0.3]
    if 1 in results:
        results[1]["dcgan_random curve"] = [9.0, 8.0, 7.0, 0.7]
    late = "0.500 (0.300 to 0.700)" if 1 in results else "0.400 (0.300 to 0.500)"
    page = _page(tmp_path, monkeypatch, _Seeds("laptop", results))
    assert "Against the published generators" not in page
    page = _page(tmp_path, monkeypatch, _Seeds("paper", results))
    (row,) = page["Against the published generators"]
    assert PUBLISHED["dcgan_random"] == (0.174, 0.008)
    published = ["0.1740 ± 0.0080", "0.142 (0.127 to 0.181)"]
    assert row[:5] == ["DCGAN", *published, mean, interval]
    assert row[-2:] == [late, expected]


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ("models.dcgan_random.steps: 5 instead of 50000", ["VAE", "DCGAN from VAE"]),
        ("models.vae.steps: 5 instead of 46850", ["DCGAN"]),
        ("data.images.name: mine instead of mnist", []),
        ("models.realnvp.steps: 5 instead of 20000", ["VAE", "DCGAN", "DCGAN from VAE"]),
    ],
)
def test_generators_of_other_settings_or_starts_are_not_set_beside_the_published(
    changed: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"energy_distance": 0.1, "standard_error": 0.002}
    tier = _Seeds("paper", {0: {"vae": row, "dcgan_random": row, "dcgan_vae": row}})
    monkeypatch.setattr(tier, "changes", lambda _: [changed])
    assert [found[0] for found in against_the_published(tier, tmp_path)] == left


JUDGED = [case for case in CASES if "judge" in case[1]]


@pytest.mark.parametrize("case", JUDGED, ids=[case[0] for case in JUDGED])
def test_a_judge_that_misses_what_is_required_of_it_decides_nothing(
    case: tuple[str, Results, Results],
) -> None:
    paper, *both = case
    (statement,) = (s for s in STATEMENTS if paper in s.paper)
    for results in both:
        text, effect = statement.ours(_Tier(results | _judge(met=False)))
        assert effect.holds is None
        assert text.endswith(f"it misses what is required of it on {BLURRED}")


@pytest.mark.parametrize(
    ("paper", "results"),
    [
        ("in most VAE images", _rejected("vae", 0.3)),
        ("many DCGAN images", _rejected("dcgan_random", 0.1)),
        ("many WGAN images", _rejected("wgan_random", 0.1)),
        # It may find two fifths of the VAE's that show none, and all of the GAN's.
        ("than of the VAE", _rejected_of_each(0.1, 0.25)),
    ],
)
def test_what_the_judges_errors_can_explain_is_not_decided(paper: str, results: Results) -> None:
    (statement,) = (s for s in STATEMENTS if paper in s.paper)
    text, effect = statement.ours(_Tier(results))
    assert effect.holds is None
    assert "show no digit" in text


def test_what_a_tier_has_of_the_judge_is_its_table(tmp_path: Path) -> None:
    # Results from before there was a judge have no table of it, and no share of rejected images.
    (tmp_path / "tables").mkdir()
    pd.DataFrame({"model": ["vae"], "ambiguous": [0.3]}).to_csv(
        tmp_path / "tables/generators.csv", index=False
    )
    (statement,) = (s for s in STATEMENTS if "in most VAE images" in s.paper)
    tier = Tier(tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError):
        statement.ours(tier)
    checks = _judge(met=False)["judge"]
    pd.DataFrame(checks).to_csv(tmp_path / "tables/judge.csv", index=False)
    assert tier.rows("judge") == checks


def test_four_statements_rest_on_the_judge() -> None:
    assert len(JUDGED) == 4


def test_statements_about_weights_count_those_of_the_models() -> None:
    counts = [s for s in STATEMENTS if s.paper.endswith("weights")]
    assert len(counts) == 4
    for statement in counts:
        text, holds = statement.ours(SimpleNamespace())
        assert holds
        assert f"has {text} weights" in statement.paper
    (fewer,) = (s for s in STATEMENTS if "orders of magnitude" in s.paper)
    assert fewer.ours(SimpleNamespace()) == ("10^2.2 times", True)


def _time(model: str, seed: int, device: str, milliseconds: float) -> dict[str, Any]:
    return {
        "model": model, "seed": seed, "device": device, "milliseconds_per_step": milliseconds,
        "steps": 10,
    }  # fmt: skip


def test_times_of_a_processor_are_not_compared_with_those_of_a_gpu(tmp_path: Path) -> None:
    rows = [_time("vae", 0, "cpu", 20), _time("dcgan_random", 0, "cpu", 40)]
    rows += [_time("vae", 1, "NVIDIA H200", 6), _time("dcgan_random", 1, "NVIDIA H200", 11)]
    rows += [_time("dcgan_random", 2, "NVIDIA H200", 13), _time("dcgan_vae", 0, "cpu", 50)]
    rows += [_time("dcgan_vae", 1, "NVIDIA H200, cpu", 30)]
    (tmp_path / "tables").mkdir()

    def of(rows: list[dict[str, Any]]) -> dict[str, float]:
        pd.DataFrame(rows).to_csv(tmp_path / "tables/training_times.csv")
        tier = Tier(tmp_path, seeds=[0])
        return statements._milliseconds_a_step(tier, "vae", "dcgan_random", "dcgan_vae")

    assert of(rows) == {"vae": 20, "dcgan_random": 40, "dcgan_vae": 50}
    rows.append(_time("dcgan_vae", 2, "NVIDIA H200", 9))
    assert of(rows) == {"vae": 6, "dcgan_random": 12, "dcgan_vae": 9}
    with pytest.raises(FileNotFoundError, match="no device has trained all of vae, dcgan_random"):
        of(rows[1:3])
