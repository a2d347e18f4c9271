"""Every figure and number of "An Introduction to Deep Generative Modeling", regenerated."""

from typing import TYPE_CHECKING, Any

from dgmpipe.lazy import lazily

if TYPE_CHECKING:
    from dgmpipe import data, evaluation, models
    from dgmpipe.commands.functions import interpolate, likelihood, posterior, sample, train
    from dgmpipe.commands.show import show
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.data.moons import MoonsDensity, sample_moons
    from dgmpipe.models.trained import load_model
    from dgmpipe.statistics.energy import energy_distance, energy_test

    __version__: str

__all__ = [
    "MoonsDensity",
    "data",
    "energy_distance",
    "energy_test",
    "evaluation",
    "interpolate",
    "likelihood",
    "load_mnist",
    "load_model",
    "models",
    "posterior",
    "sample",
    "sample_moons",
    "show",
    "train",
]

_content, __dir__ = lazily(
    __name__,
    {
        "MoonsDensity": "dgmpipe.data.moons",
        "data": "",
        "energy_distance": "dgmpipe.statistics.energy",
        "energy_test": "dgmpipe.statistics.energy",
        "evaluation": "",
        "interpolate": "dgmpipe.commands.functions",
        "likelihood": "dgmpipe.commands.functions",
        "load_mnist": "dgmpipe.data.mnist",
        "load_model": "dgmpipe.models.trained",
        "models": "",
        "posterior": "dgmpipe.commands.functions",
        "sample": "dgmpipe.commands.functions",
        "sample_moons": "dgmpipe.data.moons",
        "show": "dgmpipe.commands.show",
        "train": "dgmpipe.commands.functions",
    },
)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _content(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dgmpipe")
    except PackageNotFoundError:  # a folder on the path that is not installed
        return "unknown"
