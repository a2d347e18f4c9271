"""The paper's models, and how a trained one is loaded."""

from typing import TYPE_CHECKING

from dgmpipe.lazy import lazily

if TYPE_CHECKING:
    from dgmpipe.models.classifier import Classifier
    from dgmpipe.models.flexible_vae import FlexibleVAE
    from dgmpipe.models.flow import Flow, Standardised, negative_log_likelihood
    from dgmpipe.models.gan import GAN, Discriminator
    from dgmpipe.models.generator import Generator
    from dgmpipe.models.otflow import OTFlow, ot_flow_objective
    from dgmpipe.models.realnvp import RealNVP
    from dgmpipe.models.trained import find_model, known_models, load_model
    from dgmpipe.models.vae import VAE, Encoder

__all__ = [
    "GAN",
    "VAE",
    "Classifier",
    "Discriminator",
    "Encoder",
    "FlexibleVAE",
    "Flow",
    "Generator",
    "OTFlow",
    "RealNVP",
    "Standardised",
    "find_model",
    "known_models",
    "load_model",
    "negative_log_likelihood",
    "ot_flow_objective",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "GAN": "dgmpipe.models.gan",
        "VAE": "dgmpipe.models.vae",
        "Classifier": "dgmpipe.models.classifier",
        "Discriminator": "dgmpipe.models.gan",
        "Encoder": "dgmpipe.models.vae",
        "FlexibleVAE": "dgmpipe.models.flexible_vae",
        "Flow": "dgmpipe.models.flow",
        "Generator": "dgmpipe.models.generator",
        "OTFlow": "dgmpipe.models.otflow",
        "RealNVP": "dgmpipe.models.realnvp",
        "Standardised": "dgmpipe.models.flow",
        "find_model": "dgmpipe.models.trained",
        "known_models": "dgmpipe.models.trained",
        "load_model": "dgmpipe.models.trained",
        "negative_log_likelihood": "dgmpipe.models.flow",
        "ot_flow_objective": "dgmpipe.models.otflow",
    },
)
