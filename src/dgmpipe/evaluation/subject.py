"""What an evaluation's job is given."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dgmpipe.data.batches import to_float
from dgmpipe.data.images import load_images
from dgmpipe.errors import UserError
from dgmpipe.models.storage import load_model
from dgmpipe.statistics.clusters import Clusters

__all__ = ["Subject"]

# With fewer nothing is left of a part without a block and the two beside it, and its variance.
_FEWEST_BLOCKS = 4


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
        """Return which of all test images depend on one another.

        Raises:
            UserError: If there are too few blocks for a standard error.
        """
        clusters = Clusters.in_order(num_images, **self.clusters)
        smallest = num_images // self.clusters["strata"]
        longest = max((smallest - 1) // (_FEWEST_BLOCKS - 1), 1)
        if clusters.adjoining and self.clusters["length"] > longest:
            raise UserError(
                f"config: data.images.test_clusters takes runs of {self.clusters['length']} test"
                f" images together, of which there are {num_images} in {self.clusters['strata']}"
                f" parts; a standard error takes {_FEWEST_BLOCKS} runs of each part: set its length"
                f" to {longest} or less, to 1 if the images are independent"
            )
        return clusters

    def intensities(self, split: str) -> Tensor:
        """Return the images of a split as floats in [0, 1], (N, H, W) or (N, 3, H, W)."""
        return to_float(self.load_images(split)[0]).squeeze(1)
