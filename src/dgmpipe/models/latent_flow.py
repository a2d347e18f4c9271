"""Flow matching in the latent space of a trained VAE, whose generator makes images of its ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgmpipe.data.batches import Batches, PointBatches, to_float
from dgmpipe.data.datasets import Images
from dgmpipe.data.images import load_images
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.models.generator import Generator
from dgmpipe.models.image_flow import ImageFlow, ImageFlowTask
from dgmpipe.models.inputs import image_shape_of
from dgmpipe.models.storage import load_model
from dgmpipe.models.unet import TimeFeatures
from dgmpipe.models.vae import VAE
from dgmpipe.statistics.energy import energy_distance
from dgmpipe.streams import random_stream

__all__ = ["Codes", "LatentFlow", "LatentFlowTask", "codes_of"]


@torch.no_grad()
def codes_of(vae: VAE, images: Tensor, noise: torch.Generator) -> Tensor:
    """Return a draw of the approximate posterior of each image, bytes (N, H, W), shape (N, q)."""
    parts = [vae.encoder(to_float(some)).rsample(noise) for some in images.split(500)]
    return torch.cat(parts)


class Codes(Images):
    """Codes of images: a draw of e(z|x) of each, by the encoder of a trained VAE.

    Args:
        folder: Of the images' files.
        vae: Of the trained VAE.
    """

    def __init__(self, folder: str | Path, vae: str | Path) -> None:
        super().__init__(folder)
        self._vae = vae

    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        """Return batches of codes (size, q) of training images."""
        images, _ = self._training(size, torch.device("cpu"))
        codes = self._encoded(images, seed, "codes").to(device)
        return PointBatches(codes, size, random_stream(seed, "batches"))

    def held_out(self, size: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return codes (size, q) of test images, and these images."""
        images, _ = load_images(self._folder, "t10k")
        chosen = images[evenly_spread(size, len(images))]
        codes = self._encoded(chosen, seed, "codes of test images")
        return codes.to(device), to_float(chosen).to(device)

    def _encoded(self, images: Tensor, seed: int, purpose: str) -> Tensor:
        vae = load_model(self._vae, VAE)
        assert isinstance(vae, VAE)
        return codes_of(vae, images, random_stream(seed, purpose))


class _Velocity(nn.Module):
    """The velocity of codes: three hidden layers with SiLU between, the first of which sees t."""

    def __init__(self, latent_dim: int, width: int) -> None:
        super().__init__()
        self.time = TimeFeatures(width)
        self.enter = nn.Linear(latent_dim, width)
        self.layers = nn.Sequential(
            *(nn.SiLU(), nn.Linear(width, width)),
            *(nn.SiLU(), nn.Linear(width, width)),
            *(nn.SiLU(), nn.Linear(width, latent_dim)),
        )

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        return self.layers(self.enter(y) + self.time(t))


class LatentFlow(ImageFlow):
    """The flow from N(0, I) to where a VAE's encoder has been, and the VAE's generator after it.

    Args:
        generator: Of the VAE; it is not trained further.
        width: Neurons in each hidden layer of the velocity.
        solver: As of an `ImageFlow`.
        evaluations: As of an `ImageFlow`.
    """

    def __init__(
        self,
        generator: Generator,
        width: int = 256,
        solver: str = "heun",
        evaluations: int = 32,
    ) -> None:
        super().__init__(generator.latent_dim, generator.image_shape, solver, evaluations)
        self.velocity = _Velocity(generator.latent_dim, width)
        self.generator = generator

    def train(self, mode: bool = True) -> "LatentFlow":
        """Let the velocity be trained, and the generator's batch norms as they are."""
        super().train(mode)
        self.generator.eval()
        return self

    def from_end(self, y: Tensor) -> Tensor:
        return self.generator(y)

    def velocity_at(self, y: Tensor, t: Tensor) -> Tensor:
        return self.velocity(y, t)


class LatentFlowTask(ImageFlowTask):
    """Training of a flow of codes, on codes."""

    model: LatentFlow

    @staticmethod
    def build(config: Mapping[str, Any]) -> LatentFlow:
        generator = Generator(config["latent_dim"], config["width"], image_shape_of(config))
        return LatentFlow(
            generator, config["velocity_width"], config["solver"], config["evaluations"]
        )

    def ends(self, batch: Tensor) -> Tensor:
        return batch

    def evaluate(self, held_out: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, float]:
        codes, images = held_out
        return {
            "held_out_loss": self.loss(codes, noise).item(),
            "energy_distance": energy_distance(self.model.sample(len(images), noise), images).value,
        }
