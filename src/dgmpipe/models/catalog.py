"""The models that the config can name, known without importing torch."""

from typing import Literal, NamedTuple

__all__ = ["MODELS", "Entry"]


class Entry(NamedTuple):
    """Where a model's training task is, what it is trained on, and its name in figures."""

    module: str
    task: str
    dataset: Literal["images", "moons"]
    title: str


MODELS = {
    "realnvp": Entry("dgmpipe.models.realnvp", "RealNVPTask", "moons", "Real NVP"),
    "otflow": Entry("dgmpipe.models.otflow", "OTFlowTask", "moons", "OT-Flow"),
    "vae": Entry("dgmpipe.models.vae", "VAETask", "images", "VAE"),
}
