"""The models that the config can name, known without importing torch."""

from typing import Literal, NamedTuple

__all__ = ["MODELS", "Entry", "is_gan"]


class Entry(NamedTuple):
    """Where a model's training task is, what it is trained on, and its name in figures.

    `digits` are the images with their labels. A model with `generator_from` starts from the
    generator of that model, trained with the same seed; every other starts from random weights.
    """

    module: str
    task: str
    dataset: Literal["moons", "images", "digits"]
    title: str
    generator_from: str | None = None


MODELS = {
    "realnvp": Entry("dgmpipe.models.realnvp", "RealNVPTask", "moons", "Real NVP"),
    "otflow": Entry("dgmpipe.models.otflow", "OTFlowTask", "moons", "OT-Flow"),
    "vae": Entry("dgmpipe.models.vae", "VAETask", "images", "VAE"),
    "dcgan_random": Entry("dgmpipe.models.gan", "DCGANTask", "images", "DCGAN"),
    "dcgan_vae": Entry("dgmpipe.models.gan", "DCGANTask", "images", "DCGAN from VAE", "vae"),
    "wgan_random": Entry("dgmpipe.models.gan", "WGANTask", "images", "WGAN"),
    "wgan_vae": Entry("dgmpipe.models.gan", "WGANTask", "images", "WGAN from VAE", "vae"),
    "classifier": Entry("dgmpipe.models.classifier", "ClassifierTask", "digits", "classifier"),
}


def is_gan(model: str) -> bool:
    """Return whether a model, by its name, is a GAN, whose history has its energy distance."""
    return MODELS[model].dataset == "images" and "gan" in model
