"""What a model is trained on, also where that depends on the model that it starts from."""

from pathlib import Path

from dgmpipe.config.kinds import KINDS, ModelSettings
from dgmpipe.data.datasets import Dataset
from dgmpipe.training.run import dataset_of

__all__ = ["dataset_from"]


def dataset_from(
    settings: ModelSettings, images: str | Path | None, start: str | Path | None
) -> Dataset:
    """Return what a model is trained on.

    Args:
        settings: Of the model.
        images: Folder of the images' files, if these are needed.
        start: Folder of the trained model that it starts from, if it does.

    Raises:
        UserError: If a file of points is missing or holds something else.
    """
    if KINDS[settings.kind].data != "codes":
        return dataset_of(settings, images)
    from dgmpipe.models.latent_flow import Codes

    assert images is not None
    assert start is not None
    return Codes(images, start)
