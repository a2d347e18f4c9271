"""The paper's models."""

from dgmpipe.models.generator import Generator
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.realnvp import RealNVP
from dgmpipe.models.storage import load_model
from dgmpipe.models.vae import VAE, Encoder

__all__ = ["VAE", "Encoder", "Generator", "OTFlow", "RealNVP", "load_model"]
