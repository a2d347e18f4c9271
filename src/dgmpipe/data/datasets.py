"""What models are trained on, behind one interface."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dgmpipe.data.batches import (
    Batches,
    ImageBatches,
    LabelledBatches,
    MoonsBatches,
    PointBatches,
    to_float,
)
from dgmpipe.data.images import image_shape, load_images
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.data.moons import moons_moments, sample_moons
from dgmpipe.data.points import load_points
from dgmpipe.errors import UserError
from dgmpipe.streams import random_stream

__all__ = ["Dataset", "Images", "LabelledImages", "Moons", "PlanePoints", "Points"]


class Dataset(ABC):
    """Data to train on and data to evaluate with."""

    @abstractmethod
    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        """Return an endless stream of batches of `size`, which the seed determines.

        Raises:
            UserError: If there are not as many data as a batch holds, or files are missing.
        """

    @abstractmethod
    def held_out(self, size: int, seed: int, device: torch.device) -> Any:
        """Return `size` data that are in no batch, in the form that a task's `evaluate` expects.

        Raises:
            UserError: If there are not as many, or files are missing.
        """

    def hyperparameters(self) -> dict[str, Any]:
        """Return what a model needs to know of the data beside its settings."""
        return {}


class PlanePoints(Dataset):
    """Points of the plane, (N, 2)."""

    @abstractmethod
    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation along each axis, each (2,)."""


class Moons(PlanePoints):
    """Two moons, drawn anew in every batch, as points (N, 2).

    Args:
        noise: Standard deviation of the noise around the half circles.
    """

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        return MoonsBatches(self._noise, size, random_stream(seed, "batches"), device)

    def held_out(self, size: int, seed: int, device: torch.device) -> Tensor:
        return sample_moons(size, self._noise, random_stream(seed, "held out")).to(device)

    def moments(self) -> tuple[Tensor, Tensor]:
        return moons_moments(self._noise)


class Points(PlanePoints):
    """Points of a file, (N, 2); a fifth of them, spread evenly, are held out.

    Args:
        path: A file, as `load_points` reads it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        points = load_points(path)
        held_out = torch.zeros(len(points), dtype=torch.bool)
        held_out[evenly_spread(max(1, len(points) // 5), len(points))] = True
        self._training, self._held_out = points[~held_out], points[held_out]

    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        if size > len(self._training):
            raise UserError(
                f"the config asks for batches of {size:,} points, but {self._path} has"
                f" {len(self._training):,} for the training; lower batch_size"
            )
        return PointBatches(self._training.to(device), size, random_stream(seed, "batches"))

    def held_out(self, size: int, seed: int, device: torch.device) -> Tensor:
        return self._held_out[:size].to(device)

    def moments(self) -> tuple[Tensor, Tensor]:
        return self._training.mean(0), self._training.std(0)


class Images(Dataset):
    """Images as `load_images` reads them; the test images are held out, spread evenly over them.

    Args:
        folder: Of the files.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = folder

    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        images, _ = self._training(size, device)
        return ImageBatches(images, size, random_stream(seed, "batches"))

    def held_out(self, size: int, seed: int, device: torch.device) -> Any:
        return self._test(size, device)[0]

    def hyperparameters(self) -> dict[str, Any]:
        """Return the shape of images that are not of MNIST's."""
        shape = image_shape(self._folder)
        return {} if shape == (1, 28, 28) else {"image_shape": list(shape)}

    def _training(self, size: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        images, labels = load_images(self._folder, "train")
        if size > len(images):
            raise UserError(
                f"the config asks for batches of {size:,} images, but there are {len(images):,}"
                " training images; lower batch_size"
            )
        return images.to(device), labels if labels is None else labels.to(device)

    def _test(self, size: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        images, labels = load_images(self._folder, "t10k")
        chosen = evenly_spread(size, len(images))
        shown = to_float(images[chosen].to(device))
        return shown, labels if labels is None else labels[chosen].to(device)


class LabelledImages(Images):
    """The same images, each batch and the held-out ones as a pair with their labels.

    Raises:
        UserError: If the images are not of 28×28 grey pixels, or have no labels: what the
            classifier is trained against is made of such.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        if image_shape(folder) != (1, 28, 28) or load_images(folder, "t10k")[1] is None:
            raise UserError(
                "a classifier needs images of 28x28 grey pixels with labels, which these are not;"
                " leave it out of the config: `classifier: null` below `models`"
            )

    def batches(self, size: int, seed: int, device: torch.device) -> Batches:
        images, labels = self._training(size, device)
        assert labels is not None
        return LabelledBatches(images, labels, size, random_stream(seed, "batches"))

    def held_out(self, size: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
        images, labels = self._test(size, device)
        assert labels is not None
        return images, labels
