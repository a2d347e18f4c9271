"""The data that Figures 2 and 3 show."""

from pathlib import Path
from typing import Any

import torch

from dgmpipe.data.batches import to_float
from dgmpipe.data.images import load_images
from dgmpipe.data.moons import MoonsDensity, sample_moons
from dgmpipe.streams import random_stream

__all__ = ["shown_images", "shown_moons"]


def shown_moons(*, num_points: int, noise: float, seed: int) -> dict[str, Any]:
    """Return points of N(0, I) and of the moons, each (num_points, 2), and the moons' entropy."""
    stream = random_stream(seed, "shown moons")
    return {
        "latent": torch.randn(num_points, 2, generator=stream),
        "samples": sample_moons(num_points, noise, stream),
        "noise": noise,
        "entropy": MoonsDensity(noise).entropy(),
    }


def shown_images(folder: str | Path, *, num_images: int, seed: int) -> dict[str, Any]:
    """Return points of N(0, I), (1000, 2), and `num_images` training images."""
    images, labels = load_images(folder, "train")
    stream = random_stream(seed, "shown images")
    chosen = torch.randperm(len(images), generator=stream)[:num_images]
    shown = {
        "latent": torch.randn(1000, 2, generator=stream),
        "images": to_float(images[chosen]).squeeze(1),
    }
    return shown if labels is None else shown | {"labels": labels[chosen]}
