"""What a training's result depends on: its settings, data, code, seed and what it starts from."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from dgmpipe.config import Config
from dgmpipe.errors import UserError
from dgmpipe.plan.digests import config_digest, content_digest, source_digest

# Digest of the MD5s of MNIST's four files.
_MNIST = "974cd3860c28"

__all__ = [
    "data_digest",
    "effective_settings",
    "image_digest",
    "image_folder",
    "levels",
    "seeds_in_words",
    "training_code",
    "training_key",
    "training_seconds",
    "trainings",
]


def effective_settings(config: Config, model: str) -> dict[str, Any]:
    """Return those settings of a model that can change its training."""
    settings = config.models[model]
    given = settings.model_dump(exclude=set(settings.without_effect))
    unused = {key for key in settings.options if given[key] == settings.defaults()[key]}
    return {key: value for key, value in given.items() if key not in unused}


def data_digest(config: Config, model: str) -> str:
    """Return a name of what a model is trained on, wherever its files come from.

    Raises:
        UserError: If a file of points, or of images, is not there.
    """
    if config.kind(model).data != "points":
        return image_digest(config)
    data = config.setting(model, "data")
    if data == "moons":
        return f"moons {config.setting(model, 'noise')}"
    try:
        return hashlib.sha256(Path(data).read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise UserError(
            f"config: models.{model}.data is {data!r}, which is neither `moons` nor a file that can"
            f" be read ({error.strerror}); see config/README.md"
        ) from None


def image_digest(config: Config) -> str:
    """Return a name of the images of a config, wherever they are.

    Raises:
        UserError: If an archive or a folder is not there.
    """
    images = config.data.images
    if images.md5 is not None:
        return config_digest(images.md5.model_dump())
    source = images.archive or images.pictures
    assert source is not None
    try:
        return content_digest(source)
    except OSError as error:
        key = "archive" if images.archive else "pictures"
        raise UserError(
            f"config: data.images.{key} is {source!r}, which cannot be read ({error.strerror}); see"
            " docs/adding-a-dataset.md"
        ) from None


def image_folder(config: Config) -> str:
    """Return the folder below `results/data/` that holds the images of a config and no others.

    MNIST's has its name alone; every other set of files has a part of its digest behind it, so that
    two tiers that give one name to different images never share a folder.
    """
    name, digest = config.data.images.name, image_digest(config)
    return name if digest == _MNIST else f"{name}-{digest[:8]}"


def levels(config: Config) -> list[list[str]]:
    """Return the models that start from none, those that start from these, and so on."""

    def depth(model: str) -> int:
        start = config.models[model].start
        return 0 if start is None else 1 + depth(start)

    depths = {model: depth(model) for model in config.models}
    return [
        [model for model in depths if depths[model] == level]
        for level in range(max(depths.values()) + 1)
    ]


def trainings(config: Config) -> list[tuple[str, int]]:
    """Return model and seed of every training; a judge is trained once, for all seeds."""
    return [(model, seed) for model in config.models for seed in config.seeds_of(model)]


def seeds_in_words(config: Config) -> str:
    """Return which seeds there are, such as "0, 1" or "0, 1, 2 (Real NVP, OT-Flow), 0 (others)"."""
    models: dict[tuple[int, ...], list[str]] = {}
    for name in config.models:
        if config.kind(name).family != "judge" and "@" not in name:
            models.setdefault(tuple(config.seeds_of(name)), []).append(config.title(name))
    models = models or {tuple(config.seeds): []}
    listed = [(", ".join(map(str, seeds)), titles) for seeds, titles in models.items()]
    if len(listed) == 1:
        return listed[0][0]
    return "; ".join(f"{seeds} ({', '.join(titles)})" for seeds, titles in listed)


@functools.cache
def _code(module: str) -> str:
    return source_digest("dgmpipe.training.run", module, training=True)


def training_code(config: Config, model: str) -> str:
    """Return a name of the code that trains a model: of its task, and of all that it imports."""
    kind = config.kind(model)
    return f"{kind.task} {_code(kind.module)}"


def training_key(config: Config, model: str, seed: int, code: dict[str, str]) -> str:
    """Return a name of the folder of checkpoints that a training may continue from.

    The key of a model that starts from another's generator depends on the other's key.

    Args:
        config: The config.
        model: Name of the model.
        seed: Of the training.
        code: Digest of the training's code by model.
    """
    start = config.models[model].start
    return config_digest(
        [
            effective_settings(config, model),
            data_digest(config, model),
            code[model],
            seed,
            start and training_key(config, start, seed, code),
        ]
    )


def training_seconds(config: Config, results: Path) -> dict[str, float]:
    """Return about how many processor seconds a training of each model takes.

    Args:
        config: The config.
        results: Folder of the tiers' results, where earlier trainings may have left their times.
    """
    measured = _milliseconds_a_step(results)
    return {
        model: settings.steps * measured.get(settings.kind, config.kind(model).step_ms) / 1000
        for model, settings in config.models.items()
    }


def _milliseconds_a_step(results: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in sorted(results.glob("*/models/*/seed_*/time.json")):
        try:
            time = json.loads(path.read_text(encoding="utf-8"))
            summary = json.loads((path.parent / "summary.json").read_text(encoding="utf-8"))
            steps = summary["hyperparameters"]["steps"]
            if time.get("device", "cpu") == "cpu":
                found[summary["kind"]] = 1000 * time["processor_seconds"] / steps
        except (OSError, ValueError, KeyError):
            continue
    return found
