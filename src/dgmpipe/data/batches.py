"""Endless streams of training batches whose position can be saved and restored."""

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from dgmpipe.data.moons import sample_moons

__all__ = [
    "Batches",
    "ImageBatches",
    "LabelledBatches",
    "MoonsBatches",
    "PointBatches",
    "to_bytes",
    "to_float",
]


def to_float(images: Tensor) -> Tensor:
    """Return bytes (N, H, W) or (N, 3, H, W) as floats in [0, 1], (N, 1, H, W) or (N, 3, H, W)."""
    return (images.unsqueeze(1) if images.ndim == 3 else images).float().div_(255)


def to_bytes(images: Tensor) -> Tensor:
    """Return floats in [0, 1], (N, 1, H, W) or (N, 3, H, W), as bytes (N, H, W) or (N, 3, H, W)."""
    images = images[:, 0] if images.shape[1] == 1 else images
    return images.mul(255).round_().byte().contiguous()


class Batches(ABC):
    """An iterator without an end; `next(batches)` is a batch on the training's device."""

    def __iter__(self) -> Self:
        return self

    @abstractmethod
    def __next__(self) -> Any: ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a position that `state_dict` returned."""


class _ShuffledBatches(Batches):
    """Full batches of data, reshuffled every epoch; what does not fill a batch is left out.

    Args:
        data: Shape (N, ...), on the training's device.
        batch_size: Data in a batch, at most N.
        shuffle: Random stream of the permutations, on the CPU.

    Raises:
        ValueError: If there are fewer data than a batch holds.
    """

    def __init__(self, data: Tensor, batch_size: int, shuffle: torch.Generator) -> None:
        if not 1 <= batch_size <= len(data):
            raise ValueError(
                f"batch_size must be between 1 and the {len(data)} data, not {batch_size}"
            )
        self._data = data
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._epoch_state = self._shuffle.get_state()
        order = torch.randperm(len(self._data), generator=self._shuffle)
        self._order = order.to(self._data.device)
        self._position = 0

    def _next_indices(self) -> Tensor:
        if self._position + self._batch_size > len(self._data):
            self._start_epoch()
        chosen = self._order[self._position : self._position + self._batch_size]
        self._position += self._batch_size
        return chosen

    def state_dict(self) -> dict[str, Any]:
        return {"epoch_state": self._epoch_state, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._shuffle.set_state(state["epoch_state"])
        self._start_epoch()
        self._position = state["position"]


class PointBatches(_ShuffledBatches):
    """Batches of points (N, d), each of shape (batch_size, d)."""

    def __next__(self) -> Tensor:
        return self._data[self._next_indices()]


class ImageBatches(_ShuffledBatches):
    """Batches of images, bytes (N, H, W) or (N, 3, H, W), each made floats in [0, 1]."""

    def __next__(self) -> Tensor:
        return to_float(self._data[self._next_indices()])


class LabelledBatches(ImageBatches):
    """The batches of `ImageBatches`, each as a pair with the labels (batch_size,) of its images.

    Args:
        images: Bytes (N, 28, 28) on the training's device.
        labels: Labels (N,) on the training's device.
        batch_size: Images in a batch, at most N.
        shuffle: Random stream of the permutations, on the CPU.

    Raises:
        ValueError: If there are fewer images than a batch holds, or not as many labels.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, batch_size: int, shuffle: torch.Generator
    ) -> None:
        super().__init__(images, batch_size, shuffle)
        if labels.shape != (len(images),):
            raise ValueError(
                f"there must be a label for each of the {len(images)} images, but the labels have"
                f" shape {tuple(labels.shape)}"
            )
        self._labels = labels

    def __next__(self) -> tuple[Tensor, Tensor]:  # type: ignore[override] # pairs here
        chosen = self._next_indices()
        return to_float(self._data[chosen]), self._labels[chosen]


class MoonsBatches(Batches):
    """Fresh points of the moons in every batch, shape (batch_size, 2).

    Args:
        noise: Standard deviation of the noise around the half circles.
        batch_size: Points in a batch.
        stream: Random stream of the points, on the CPU.
        device: Where the batches go.
    """

    def __init__(
        self, noise: float, batch_size: int, stream: torch.Generator, device: torch.device
    ) -> None:
        self._noise = noise
        self._batch_size = batch_size
        self._stream = stream
        self._device = device

    def __next__(self) -> Tensor:
        return sample_moons(self._batch_size, self._noise, self._stream).to(self._device)

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self._stream.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.set_state(state["stream"])
