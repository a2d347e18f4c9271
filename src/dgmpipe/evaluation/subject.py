"""What an evaluation's job is given."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dgmpipe.data.batches import to_float
from dgmpipe.data.images import load_images
from dgmpipe.models.storage import load_model
from dgmpipe.statistics.clusters import Clusters

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A trained model, or real images in a generator's place, with what it is evaluated on.

    Attributes:
        seed: Of the training; random numbers of the evaluation are from streams of their own.
        settings: The model's settings by key; none for real images.
        folder: Of the trained model, or nothing for real training images.
        images: Folder of the images' files.
        judge: Folder of the trained classifier, where there is one.
        clusters: Arguments of `Clusters.in_order`, by which test images depend on one another.
    """

    seed: int
    settings: dict[str, Any]
    folder: Path | None = None
    images: Path | None = None
    judge: Path | None = None
    clusters: dict[str, int] = field(default_factory=lambda: {"length": 1, "strata": 1})

    def model(self) -> nn.Module:
        """Return the trained model, in evaluation mode."""
        assert self.folder is not None
        return load_model(self.folder)

    def load_images(self, split: str) -> tuple[Tensor, Tensor | None]:
        """Return images, as bytes, and labels of a split, as `load_images` does."""
        assert self.images is not None
        return load_images(self.images, split)

    def test_clusters(self, num_images: int) -> Clusters:
        """Return which of all test images depend on one another."""
        return Clusters.in_order(num_images, **self.clusters)

    def intensities(self, split: str) -> Tensor:
        """Return the images of a split as floats in [0, 1], (N, H, W) or (N, 3, H, W)."""
        return to_float(self.load_images(split)[0]).squeeze(1)
