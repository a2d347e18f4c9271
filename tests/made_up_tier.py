"""The folder of a tier with results that nobody computed, for pages made of such a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from snakemake.utils import update_config

from dgmpipe.config import Config, read_config
from dgmpipe.evaluation.tables import summarise_seeds
from dgmpipe.pages.claims import claims_with_effects
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.evaluations import REAL, evaluated_trainings
from dgmpipe.plan.exhibits import exhibits
from dgmpipe.plan.trainings import trainings
from dgmpipe.tracking.records import Record

__all__ = ["LAID_OVER", "write_tier"]

ROOT = Path(__file__).parent.parent
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
# A sweep with a study and one without.
LAID_OVER: dict[str, Any] = {
    "tier": "made-up",
    "seeds": [0, 7],
    "sweeps": {
        "layers": {"models": ["realnvp"], "num_layers": [2, 4]},
        "width": {"models": ["vae", "wgan_vae"], "width": [8, 16]},
    },
    "studies": {
        "layers": {
            "question": "How many layers does Real NVP need (Section 3.2)?",
            "sweep": "layers",
            "x": "num_layers",
            "measures": ["flow.kl", "flow.nll"],
            "note": "Nobody trained these: `kl` is drawn at random.",
        }
    },
}
ERRORS = "_standard_error"
FLOWS = [
    "parameters", "entropy", "inverse_error", "kde_2000_kl", "kde_2000_kl" + ERRORS, "kde_500_kl",
    "kde_500_kl" + ERRORS, "kl", "kl" + ERRORS, "latent_energy_distance",
    "latent_energy_distance_null_95", "latent_pvalue", "mass", "nll", "nll" + ERRORS,
    "path_excess_95", "path_excess_max", "path_excess_median", "transport_cost_ratio",
]  # fmt: skip
EVIDENCE = [
    "border_share_largest", "ceiling_mean", "effective_samples_median", "elbo_error_largest",
    "elbo_mean", "elbo" + ERRORS, "gap_largest", "gap_mean", "gap_median", "gap_smallest",
    "gap" + ERRORS, "images", "log_evidence_error_largest", "log_evidence_mean",
    "log_evidence_rise_mean", "log_evidence" + ERRORS, "samples",
]  # fmt: skip
GENERATORS = [
    "energy_distance", "standard_error", "null_95", "pvalue", "statistic", "digits_found",
    "rejected", "rejected" + ERRORS, "precision", "precision" + ERRORS,
]  # fmt: skip
TRANSPORT = [
    f"{cost}_{what}"
    for cost in ("wasserstein", "sliced", "entropic")
    for what in ("debiased", "debiased" + ERRORS, "across", "within_generated", "within_test")
]
CRITIC = [
    "difference_of_means", "slope_true", "slope_generated", "slope_between", "slope_between_mean",
    "slope_pairs", "slope", "wasserstein", "estimate", "sample_bound", "share",
]  # fmt: skip


def write_tier(results: Path, laid_over: Mapping[str, Any] = LAID_OVER) -> Config:
    """Write what pages read of a tier: tables, arrays, histories, records and figures.

    Args:
        results: Folder `results/{tier}`, to be made.
        laid_over: What differs from the smoke tier.

    Returns:
        The tier's config.
    """
    given = json.loads(json.dumps(SMOKE))
    update_config(given, dict(laid_over))
    config = read_config(given)
    draw = np.random.default_rng(0)
    for folder in ("tables", "figures", "data", "runs", "benchmarks/train"):
        (results / folder).mkdir(parents=True)
    tags = {"git.commit": "0123456789abcdef", "config.digest": "feed", "machine": "an abacus"}
    about = {"note": "", "tier": config.tier, "process": "elsewhere 1 0", "status": "FINISHED"}
    Record(name="pipeline", tags=tags, config=given, **about).write(results / "invocation.json")
    for name, table in _tables(config, draw).items():
        table.to_csv(results / f"tables/{name}.csv", index=False)
    for number, exhibit in enumerate(exhibits(config)):
        benchmark = pd.DataFrame({"s": [1.5], "max_rss": [100.0]})
        benchmark.to_csv(results / f"benchmarks/{exhibit.name}.tsv", sep="\t", index=False)
        if exhibit.is_figure:
            Image.new("RGB", (600, 400), (number, 200, 250)).save(results / exhibit.shown)
            (results / exhibit.outputs["pdf"]).write_bytes(b"%PDF-")
    for model, seed in trainings(config):
        _write_training(results, config, model, seed)
    _write_arrays(results, config, draw)
    if "claims" in {exhibit.name for exhibit in exhibits(config)}:
        claims_with_effects([Tier(results)]).to_csv(results / "tables/claims.csv", index=False)
    return config


def _table(config: Config, models: list[str], columns: list[str], draw: Any) -> pd.DataFrame:
    keys = [{"model": m, "seed": s} for m, s in evaluated_trainings(config, models)]
    numbers = pd.DataFrame(draw.uniform(0.1, 0.9, (len(keys), len(columns))), columns=columns)
    return pd.concat([pd.DataFrame(keys), numbers], axis="columns")


def _tables(config: Config, draw: Any) -> dict[str, pd.DataFrame]:
    sources = [*config.of_family("vae", "gan"), REAL]
    tables = {
        "flows": _table(config, config.of_family("flow"), FLOWS, draw),
        "vae_evidence": _table(config, config.of_family("vae"), EVIDENCE, draw),
        "generators": _table(config, sources, GENERATORS, draw),
        "transport": _table(config, sources, TRANSPORT, draw),
        "critics": _table(
            config,
            [m for m in config.of_family("gan") if config.models[m].kind == "wgan"],
            CRITIC,
            draw,
        ),
        "training_times": _table(
            config,
            list(config.models),
            [
                "steps",
                "parts",
                "processor_seconds",
                "seconds",
                "milliseconds_per_step",
                "memory_mb",
            ],
            draw,
        ),
    }
    tables["training_times"].insert(2, "device", "cpu")
    tables["vae_evidence"]["samples"] = 0
    tables["generator_differences"] = pd.DataFrame(
        {"seed": seed, "first": a, "second": b, "difference": 0.25, "standard_error": 0.0123}
        for place, a in enumerate(sources)
        for b in sources[place + 1 :]
        for _, seed in evaluated_trainings(config, [a])
        if "@" not in a + b and (b, seed) in evaluated_trainings(config, [b])
    )
    tables["class_histograms"] = pd.DataFrame(
        {"model": model, "seed": seed, "digit": digit, "generated": 10 * digit + seed, "test": 99}
        for model, seed in evaluated_trainings(config, sources)
        for digit in range(10)
    )
    kinds = [f"kind {n}" for n in range(29)]
    tables["judge"] = pd.DataFrame(
        {
            "kind": kinds, "shows_a_digit": True, "trained_on": False, "rejected": 0.013,
            "read_right": 0.97, "required": "rejected at most 2%", "met": True, "reason": "so",
        }
    )  # fmt: skip
    tables["otflow_inverse_error"] = pd.DataFrame(
        {
            "model": "otflow", "seed": seed, "rk4_steps": steps,
            "inverse_error": 10.0 ** -steps, "inverse_error_double": 10.0 ** -steps,
        }
        for seed in config.seeds_of("otflow")
        for steps in (1, 2, 4, 8, 16, 32, 64)
    )  # fmt: skip
    keys = {
        "flows": ["model"], "generators": ["model"], "vae_evidence": ["model"],
        "generator_differences": ["first", "second"], "class_histograms": ["model", "digit"],
        "training_times": ["model", "device"], "otflow_inverse_error": ["model", "rk4_steps"],
    }  # fmt: skip
    for name, of_rows in keys.items():
        tables[f"{name}_summary"] = summarise_seeds(tables[name], of_rows)
    flows = tables["flows"].set_index(["model", "seed"])
    for name, study in config.studies.items():
        tables[f"study_{name}"] = pd.DataFrame(
            {"model": point.model, **point.values, "seed": seed}
            | {m: flows.loc[(point.name, seed), m.split(".")[1]] for m in study.measures}
            for point in config.sweeps[study.sweep]
            for seed in config.seeds_of(point.name)
        )
    return tables


def _write_training(results: Path, config: Config, model: str, seed: int) -> None:
    folder = results / f"models/{model}/seed_{seed}"
    folder.mkdir(parents=True)
    steps = config.models[model].steps
    record = Record(
        name=f"{model} seed {seed}",
        note="",
        tier=config.tier,
        tags={"dgmpipe.key": "abc", "device": "cpu"},
        process="elsewhere 1 0",
        status="FINISHED",
        datasets=[("moons", "moons 0.05")],
    )
    record.write(results / f"runs/{model}_seed_{seed}.json")
    summary = {"hyperparameters": {"steps": steps}}
    time = {"seconds": 10.0, "processor_seconds": 9.0, "parts": 1}
    for name, content in (("summary", summary), ("time", time)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    history = pd.DataFrame({"step": [0, steps // 2, steps], "energy_distance": [9.0, 2.0, 1.0]})
    history.to_csv(folder / "history.csv", index=False)
    benchmark = pd.DataFrame({"s": [12.0], "max_rss": [900.0]})
    path = results / f"benchmarks/train/{model}_seed_{seed}.tsv"
    benchmark.to_csv(path, sep="\t", index=False)


def _write_arrays(results: Path, config: Config, draw: Any) -> None:
    np.savez(results / "data/moons.npz", entropy=0.2892)
    np.savez(results / "data/images.npz", images=np.zeros((4, 28, 28)))
    hills = -draw.uniform(0, 3, (20, 20))
    arrays = {
        "flow": {
            "log_density": hills, "true_log_density": hills,
            "hidden_states": draw.normal(size=(9, 6, 2)),
        },
        "posterior": {"index": np.array([3]), "log_evidence": [-150.0], "elbo": [-152.5]},
        "latent": {"samples": draw.normal(size=(500, 10, 2))},
    }  # fmt: skip
    families = {"flow": ("flow",), "posterior": ("vae",), "latent": ("vae",)}
    for name, content in arrays.items():
        for model in config.of_family(*families[name]):
            for seed in config.seeds_of(model):
                folder = results / f"evaluation/{model}/seed_{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                np.savez(folder / f"{name}.npz", **content)
    np.savez(results / "evaluation/energy_floor.npz", energy_distances=np.full(20, 0.005))
