"""The paper's models.

Each is imported when it is first named: the workflow reads the catalogue, and importing torch takes
longer than all else that it does before its first job.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgmpipe.models.gan import Discriminator
    from dgmpipe.models.generator import Generator
    from dgmpipe.models.otflow import OTFlow
    from dgmpipe.models.realnvp import RealNVP
    from dgmpipe.models.storage import load_model
    from dgmpipe.models.vae import VAE, Encoder

__all__ = ["VAE", "Discriminator", "Encoder", "Generator", "OTFlow", "RealNVP", "load_model"]

_MODULES = {
    "VAE": "vae",
    "Discriminator": "gan",
    "Encoder": "vae",
    "Generator": "generator",
    "OTFlow": "otflow",
    "RealNVP": "realnvp",
    "load_model": "storage",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
