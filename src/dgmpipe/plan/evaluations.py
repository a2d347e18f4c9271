"""What is evaluated of a trained model, by its family and by what it can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dgmpipe.config import Config
from dgmpipe.config.kinds import Family

__all__ = ["EVALUATIONS", "REAL", "Evaluation", "subjects"]

# Stands for real training images in a generator's place: what a perfect generator would get.
REAL = "real"


def _always(config: Config, model: str) -> bool:
    return True


def _on_a_plane(config: Config, model: str) -> bool:
    return config.setting(model, "latent_dim") == 2


def _with_a_judge(config: Config, model: str) -> bool:
    return bool(config.of_family("judge"))


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
        ("vae", "gan"),
        "dgmpipe.evaluation.samples:show_images",
        {"arrays": "samples.npz"},
        "samples",
        images=False,
        local=True,
    ),
    Evaluation(
        "energy_test",
        ("vae", "gan"),
        "dgmpipe.evaluation.energy_report:evaluate_energy",
        {"numbers": "energy.json", "contributions": "energy.npz"},
        "energy",
        real=True,
        without=frozenset({"num_floor_draws"}),
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
        ("vae", "gan"),
        "dgmpipe.evaluation.quality_report:evaluate_quality",
        {"numbers": "quality.json", "classes": "classes.csv"},
        "quality",
        _with_a_judge,
        real=True,
        judged=True,
    ),
)


def subjects(config: Config, evaluation: Evaluation) -> list[str]:
    """Return the models that an evaluation is done of, with `real` last where it is as well."""
    models = config.of_family(*evaluation.families)
    able = [model for model in models if evaluation.applies(config, model)]
    return [*able, REAL] if able and evaluation.real else able
