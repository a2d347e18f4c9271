"""What the companion of a tier is made of."""

from typing import Any

from dgmpipe.config import Config
from dgmpipe.config.kinds import Family
from dgmpipe.plan.exhibits import Files, evaluated, exhibits, named
from dgmpipe.plan.trainings import trainings

__all__ = ["companion_files", "companion_params"]

# The first get a place on the page first. The GANs are many; a judge only reads their images. The
# page has no U-Net.
_ORDER: tuple[Family, ...] = ("vae", "flow", "gan", "judge")


def _models(config: Config) -> list[str]:
    """Return the models that the config names, the most important to the page first."""
    models = named(config, config.of_family(*_ORDER))
    return sorted(models, key=lambda model: _ORDER.index(config.kind(model).family))


def _trainings(config: Config) -> list[tuple[str, int]]:
    models = _models(config)
    return [(model, seed) for model, seed in trainings(config) if model in models]


def companion_files(config: Config) -> Files:
    """Return the files that the page is made of, by what they are; paths below `<results>/`.

    The images that models are trained on, which lie elsewhere, come to these.
    """
    seed = config.shown_seed
    weights = [f"models/{model}/seed_{seed}" for model in _models(config)]
    tables = {exhibit.name for exhibit in exhibits(config)}
    return {
        "weights": [f"{folder}/model.safetensors" for folder in weights],
        "summaries": [f"{folder}/summary.json" for folder in weights],
        "histories": [f"models/{m}/seed_{s}/history.csv" for m, s in _trainings(config)],
        "snapshots": [
            f"models/{model}/seed_{seed}/snapshots.npz"
            for model in _models(config)
            if config.kind(model).family != "judge"
        ],
        "evidence": [
            f"evaluation/{model}/seed_{seed}/evidence.csv"
            for model in named(config, evaluated(config, "evidence"))
        ],
        "generators": ["tables/generators.csv"] if "generators" in tables else [],
        "inverse_errors": (
            ["tables/otflow_inverse_error.csv"] if "otflow_inverse_error" in tables else []
        ),
        "floor": ["evaluation/energy_floor.npz"] if config.of_family("gan") else [],
    }


def companion_params(config: Config) -> dict[str, Any]:
    """Return the further arguments of `dgmpipe.pages.companion.build.companion_page`."""

    def about(model: str) -> dict[str, Any]:
        family = config.kind(model).family
        found: dict[str, Any] = {
            "name": model,
            "title": config.title(model),
            "family": family,
            "start": config.models[model].start,
        }
        if family == "flow" and config.setting(model, "data") == "moons":
            found["noise"] = config.setting(model, "noise")
        return found

    return {
        "tier": config.tier,
        "models": [about(model) for model in _models(config)],
        "trainings": _trainings(config),
        "posterior_images": config.evaluation.posterior.images,
    }
