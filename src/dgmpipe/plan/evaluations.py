"""What is evaluated of a trained model, by its family and by what it can do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from dgmpipe.config import Config
from dgmpipe.config.kinds import STEP_EVALUATIONS, Family

__all__ = [
    "EVALUATIONS",
    "IMAGE_FAMILIES",
    "PRIORS",
    "REAL",
    "Evaluation",
    "evaluated_seeds",
    "evaluated_trainings",
    "has_paths",
    "measurable",
    "subjects",
]

# What stands in the place of N(0, I), and this itself.
PRIORS = ("normal", "mixture", "flow")

# Whose models generate images.
IMAGE_FAMILIES: tuple[Family, ...] = ("vae", "gan", "diffusion")

# Stands for real training images in a generator's place: what a perfect generator would get.
REAL = "real"


def _always(config: Config, model: str) -> bool:
    return True


def _on_a_plane(config: Config, model: str) -> bool:
    return config.setting(model, "latent_dim") == 2


def _to_be_split(config: Config, model: str) -> bool:
    has_family = config.setting(model, "posterior") is not None
    return config.evaluation.split is not None and has_family and _on_a_plane(config, model)


def _with_other_priors(config: Config, model: str) -> bool:
    return config.evaluation.prior is not None and _on_a_plane(config, model)


def _with_a_judge(config: Config, model: str) -> bool:
    return bool(config.of_family("judge"))


def _with_a_critic(config: Config, model: str) -> bool:
    """Whether a GAN's critic has an objective that is to be eq. (35)."""
    critic_steps, objective = (config.setting(model, k) for k in ("critic_steps", "objective"))
    return critic_steps is not None and objective in (None, "wasserstein")


def _as_a_study_asks(config: Config, model: str) -> bool:
    """Whether a study measures by solvers, which takes longer than all else of a model."""
    asked = (number for study in config.studies.values() for number in study.numbers)
    return any(number.startswith("solvers.") for number in asked)


def _with_errors(*names: str) -> tuple[str, ...]:
    return tuple(chain.from_iterable((name, f"{name}_standard_error") for name in names))


_COSTS = ("passes", "seconds")
_OF_FLOWS = (
    *_with_errors("nll"),
    *("inverse_error", "mass"),
    *("latent_energy_distance", "latent_energy_distance_null_95", "latent_pvalue"),
)
_OF_THE_MOONS = ("entropy", *_with_errors("kl", "kde_500_kl", "kde_2000_kl"))
_OF_PATHS = (
    *("path_excess_median", "path_excess_95", "path_excess_max", "transport_cost_ratio"),
    *(
        f"inverse_error_rk4_{steps}{precision}"
        for steps in (1, 2, 4, 8, 16, 32, 64)
        for precision in ("", "_double")
    ),
)
_OF_EVIDENCE = (
    *("images", "samples", "effective_samples_median", "border_share_largest", "ceiling_mean"),
    *(
        f"{of}_{what}"
        for of in ("log_evidence", "elbo", "gap")
        for what in ("mean", "standard_error")
    ),
    *("gap_median", "gap_smallest", "gap_largest", "log_evidence_rise_mean"),
    *("log_evidence_error_largest", "elbo_error_largest"),
)
_OF_SPLITS = (
    *("images", "left_mean", "left_largest", "error_mean", "error_largest"),
    *("gap_error_mean", "gap_error_largest", "evidence_error_largest"),
    *("agreeing_share", "own_start_share"),
    *(
        f"{of}_{what}"
        for of in ("gap", "family_gap", "amortisation_gap")
        for what in ("mean", "standard_error", "median")
    ),
)


def _prior_numbers(config: Config, model: str) -> tuple[str, ...]:
    numbers = (
        *("codes_nll", "log_evidence_mean", "log_evidence_standard_error"),
        *("log_evidence_gain_mean", "log_evidence_gain_standard_error"),
        *("log_evidence_error_largest", "total_variation", "total_variation_floor"),
        *("energy_distance", "energy_distance_standard_error"),
        *(("rejected",) if _with_a_judge(config, model) else ()),
    )
    return tuple(f"{prior}_{number}" for prior in PRIORS for number in numbers)


_OF_ENERGY = (
    *("energy_distance", "standard_error", "statistic", "pvalue", "null_95", "on_plateau"),
)
_OF_TRANSPORT = tuple(
    f"{cost}_{what}"
    for cost in ("wasserstein", "sliced", "entropic")
    for what in (
        *("debiased", "debiased_standard_error", "across"),
        *("within_generated", "within_test"),
    )
)
_OF_CRITIC = (
    *(
        "difference_of_means",
        "slope_true",
        "slope_generated",
        "slope_between",
        "slope_between_mean",
    ),
    *("slope_pairs", "slope", "wasserstein", "estimate", "sample_bound", "share"),
)
_OF_QUALITY = (
    "digits_found",
    *_with_errors("rejected", "test_rejected", "digits_total_variation", "precision", "recall"),
    *_with_errors("density", "coverage", "median_distance"),
    "frechet_distance",
    *_with_errors("near_share", "copied_share", "test_copied_share"),
)


def _solver_numbers(config: Config, model: str) -> tuple[str, ...]:
    measures = ("energy_distance", "wasserstein_debiased")
    return tuple(
        f"{measure}_{solver}_{number}"
        for measure in (*measures, *(("rejected",) if _with_a_judge(config, model) else ()))
        for solver, each in STEP_EVALUATIONS.items()
        for number in config.evaluation.solvers.evaluations
        if number % each == 0
    )


def _of_the_moons(config: Config, model: str) -> bool:
    return bool(config.setting(model, "data") == "moons")


_OF_LAB = (
    *chain.from_iterable(
        (name, f"{name}_error")
        for name in ("kl", "reverse_kl", "total_variation", "hellinger", "mass")
    ),
    *("joined_at", "true_joined_at", *_with_errors("w1"), "w1_upper"),
    *("singular_value_largest", "singular_value_smallest"),
    *("condition_median", "condition_95", "condition_largest", "inverse_error", "parameters"),
    *(f"{of}_{what}" for of in ("training", "sampling", "likelihood") for what in _COSTS),
    *_with_errors("mixture_kl", "kernel_kl"),
    "mixture_components",
)


def _flow_numbers(config: Config, model: str) -> tuple[str, ...]:
    of_moons = _OF_THE_MOONS if _of_the_moons(config, model) else ()
    return (*_OF_FLOWS, *of_moons, *(_OF_PATHS if has_paths(config, model) else ()))


def has_paths(config: Config, model: str) -> bool:
    """Return whether the paths of a flow are measured: of an OT-Flow that ends in no other map."""
    return config.models[model].kind == "otflow" and not config.setting(model, "standardised")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of each model of some families.

    Attributes:
        name: Of its rule.
        families: Whose models are evaluated.
        function: Module and function that takes a `Subject` and the settings, and returns a result
            for each output.
        outputs: Names of the function's results and the files they go to, in the model's folder
            below `evaluation/`.
        settings: The block of `evaluation` that has its settings.
        applies: Whether it can be done of a model.
        images: Whether it reads the images that the models are trained on.
        real: Whether it is also done of real training images.
        judged: Whether the classifier takes part.
        without: Keys of the block that it does not need.
        local: Whether it is so short that a cluster's login node may do it.
        numbers: Names of the numbers in its output `numbers`, of a model.
    """

    name: str
    families: tuple[Family, ...]
    function: str
    outputs: dict[str, str]
    settings: str
    applies: Callable[[Config, str], bool] = _always
    images: bool = True
    real: bool = False
    judged: bool = False
    without: frozenset[str] = frozenset()
    local: bool = False
    numbers: Callable[[Config, str], tuple[str, ...]] = lambda config, model: ()

    @property
    def module(self) -> str:
        """Dotted name of the module that has the function."""
        return self.function.split(":")[0]

    def arguments(self, config: Config) -> dict[str, Any]:
        """Return the settings of the config that its function takes."""
        block = getattr(config.evaluation, self.settings)
        return block.model_dump(exclude=set(self.without))


EVALUATIONS = (
    Evaluation(
        "evaluate_flow",
        ("flow",),
        "dgmpipe.evaluation.flow_report:evaluate_flow",
        {"arrays": "flow.npz", "numbers": "flow.json"},
        "flows",
        images=False,
        numbers=_flow_numbers,
    ),
    Evaluation(
        "flow_lab",
        ("flow",),
        "dgmpipe.evaluation.flow_lab:evaluate_lab",
        {"numbers": "lab.json"},
        "lab",
        _of_the_moons,
        images=False,
        numbers=lambda config, model: _OF_LAB,
    ),
    Evaluation(
        "posterior",
        ("vae",),
        "dgmpipe.evaluation.posterior:evaluate_posteriors",
        {"arrays": "posterior.npz"},
        "posterior",
        _on_a_plane,
    ),
    Evaluation(
        "evidence",
        ("vae",),
        "dgmpipe.evaluation.evidence:evaluate_evidence",
        {"table": "evidence.csv", "numbers": "evidence.json"},
        "evidence",
        numbers=lambda config, model: _OF_EVIDENCE,
    ),
    Evaluation(
        "split",
        ("vae",),
        "dgmpipe.evaluation.split:evaluate_split",
        {"table": "split.csv", "numbers": "split.json"},
        "split",
        _to_be_split,
        numbers=lambda config, model: _OF_SPLITS,
    ),
    Evaluation(
        "other_priors",
        ("vae",),
        "dgmpipe.evaluation.prior:evaluate_prior",
        {"arrays": "prior.npz", "numbers": "prior.json"},
        "prior",
        _with_other_priors,
        judged=True,
        numbers=_prior_numbers,
    ),
    Evaluation(
        "latent",
        ("vae",),
        "dgmpipe.evaluation.latent:evaluate_latent",
        {"arrays": "latent.npz"},
        "latent",
        _on_a_plane,
    ),
    Evaluation(
        "generate_images",
        IMAGE_FAMILIES,
        "dgmpipe.evaluation.samples:show_images",
        {"arrays": "samples.npz"},
        "samples",
        images=False,
        local=True,
    ),
    Evaluation(
        "energy_test",
        IMAGE_FAMILIES,
        "dgmpipe.evaluation.energy_report:evaluate_energy",
        {"numbers": "energy.json", "contributions": "energy.npz"},
        "energy",
        real=True,
        without=frozenset({"num_floor_draws"}),
        numbers=lambda config, model: _OF_ENERGY,
    ),
    Evaluation(
        "transport_costs",
        IMAGE_FAMILIES,
        "dgmpipe.evaluation.transport_report:evaluate_transport",
        {"numbers": "transport.json"},
        "transport",
        real=True,
        numbers=lambda config, model: _OF_TRANSPORT,
    ),
    Evaluation(
        "examine_critic",
        ("gan",),
        "dgmpipe.evaluation.critic:evaluate_critic",
        {"numbers": "critic.json"},
        "critic",
        _with_a_critic,
        numbers=lambda config, model: _OF_CRITIC,
    ),
    Evaluation(
        "compare_solvers",
        ("diffusion",),
        "dgmpipe.evaluation.solvers:evaluate_solvers",
        {"table": "solvers.csv", "numbers": "solvers.json"},
        "solvers",
        _as_a_study_asks,
        judged=True,
        numbers=_solver_numbers,
    ),
    Evaluation(
        "examine_judge",
        ("judge",),
        "dgmpipe.evaluation.judge:examine_judge",
        {"table": "judge.csv"},
        "judge",
    ),
    Evaluation(
        "sample_quality",
        IMAGE_FAMILIES,
        "dgmpipe.evaluation.quality_report:evaluate_quality",
        {"numbers": "quality.json", "classes": "classes.csv"},
        "quality",
        _with_a_judge,
        real=True,
        judged=True,
        numbers=lambda config, model: _OF_QUALITY,
    ),
)


def subjects(config: Config, evaluation: Evaluation) -> list[str]:
    """Return the models that an evaluation is done of, with `real` last where it is as well."""
    models = config.of_family(*evaluation.families)
    able = [model for model in models if evaluation.applies(config, model)]
    return [*able, REAL] if able and evaluation.real else able


def evaluated_seeds(config: Config, model: str) -> list[int]:
    """Return the seeds that a model is evaluated for; real images for those of any generator."""
    if model != REAL:
        return config.seeds_of(model)
    return list(dict.fromkeys(chain(*map(config.seeds_of, config.of_family(*IMAGE_FAMILIES)))))


def evaluated_trainings(config: Config, models: Iterable[str]) -> list[tuple[str, int]]:
    """Return model and seed of every evaluation of some models, `real` included."""
    return [(model, seed) for model in models for seed in evaluated_seeds(config, model)]


def measurable() -> dict[str, Evaluation]:
    """Return the evaluations that give numbers, by the first part of a measure such as flow.kl."""
    return {
        Path(evaluation.outputs["numbers"]).stem: evaluation
        for evaluation in EVALUATIONS
        if "numbers" in evaluation.outputs
    }
