"""Trained models by their name or their folder: those of a tier's results and those released."""

from pathlib import Path
from typing import TYPE_CHECKING

from dgmpipe.errors import UserError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["RELEASED", "find_model", "known_models", "load_model"]

# Ships with the package: {model}/seed_{seed}/ with what a training leaves, and where it is from.
RELEASED = Path(__file__).parents[1] / "released"


def load_model(
    model: str | Path, *kinds: "type[nn.Module]", results: str | Path | None = None
) -> "nn.Module":
    """Return a trained model, in evaluation mode.

    Args:
        model: A folder such as `results/laptop/models/vae/seed_0`, the file of weights in one, or
            the name of a released model, such as "vae"; of several seeds the first.
        kinds: Classes of which it has to be one, such as `Flow`; by default any.
        results: Folder `results/{tier}` in which a name is looked for before the released models.

    Raises:
        UserError: If there is no such model, or its files are missing, damaged or of another kind.
    """
    from dgmpipe.models import storage

    return storage.load_model(find_model(model, results), *kinds)


def find_model(model: str | Path, results: str | Path | None = None) -> Path:
    """Return the folder of a trained model; see `load_model`.

    Raises:
        UserError: If there is none of that name.
    """
    given = Path(model)
    if found := _of_first_seed(given):
        return found
    for models in [] if isinstance(model, Path) else _homes(results):
        if found := _of_first_seed(models / model):
            return found
    if isinstance(model, Path) or given.exists() or len(given.parts) > 1:
        return given  # a folder, of which the one who opens it says what it lacks
    known = known_models(results)
    instead = f"one of {', '.join(known)}, or " if known else ""
    nowhere = (
        f"{Path(results, 'models')} has no model '{model}', and none" if results else "no model"
    )
    raise UserError(
        f"{nowhere} is released under the name '{model}'; name {instead}the folder of a trained"
        f" model, such as {Path(results or 'results/laptop', 'models', model, 'seed_0')}"
    )


def known_models(results: str | Path | None = None) -> list[str]:
    """Return the names of the models in a folder `results/{tier}` and of the released ones."""
    folders = [folder for models in _homes(results) for folder in sorted(models.glob("*/"))]
    return list(dict.fromkeys(folder.name for folder in folders if _of_first_seed(folder)))


def _homes(results: str | Path | None) -> list[Path]:
    return [*([Path(results, "models")] if results else []), RELEASED]


def _of_first_seed(folder: Path) -> Path | None:
    """Return the folder if it has a model, or its `seed_{seed}` of the lowest seed that has one."""
    if (folder / "summary.json").is_file():
        return folder
    found = [path.parent for path in folder.glob("seed_*/summary.json")]
    return min(found, key=lambda path: (len(path.name), path.name), default=None)
