"""The paper's models."""

from dgmpipe.models.gan import Discriminator
from dgmpipe.models.generator import Generator
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.realnvp import RealNVP
from dgmpipe.models.storage import load_model
from dgmpipe.models.vae import VAE, Encoder

__all__ = ["VAE", "Discriminator", "Encoder", "Generator", "OTFlow", "RealNVP", "load_model"]
