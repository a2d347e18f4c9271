"""What every model asks of the points and images that it is given."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import as_type, to_tensor
from dgmpipe.models.derivatives import autocast_type

__all__ = ["IMAGE_SHAPE", "ImageShape", "image_shape_of", "require_batch", "to_model"]

ImageShape = tuple[int, int, int]
IMAGE_SHAPE: ImageShape = (1, 28, 28)


def image_shape_of(hyperparameters: Mapping[str, Any]) -> ImageShape:
    """Return the shape (C, H, W) of the images of a model; (1, 28, 28) where none is said.

    Raises:
        ValueError: If there are not one or three channels, or a side is no multiple of 4.
    """
    shape = tuple(hyperparameters.get("image_shape", IMAGE_SHAPE))
    if (
        len(shape) != 3
        or any(not isinstance(size, int) or size < 1 for size in shape)
        or shape[0] not in (1, 3)
        or any(side % 4 for side in shape[1:])
    ):
        raise ValueError(
            "image_shape must be (C, H, W) with one or three channels and sides that are"
            f" multiples of 4, not {shape}"
        )
    return shape[0], shape[1], shape[2]


def to_model(values: Tensor | ArrayLike, name: str, model: nn.Module) -> Tensor:
    """Return values as a tensor; what is not one gets the model's type and device.

    Raises:
        ValueError: As `to_tensor` does, or if a value is beyond the model's type.
    """
    tensor = to_tensor(values, name)
    return tensor if isinstance(values, Tensor) else _as_parameters(tensor, name, model)


def _as_parameters(tensor: Tensor, name: str, model: nn.Module) -> Tensor:
    parameter = next(model.parameters(), None)
    if parameter is None:
        return tensor
    return as_type(tensor, name, parameter.dtype).to(parameter.device)


def require_batch(
    values: Tensor | ArrayLike, shape: tuple[int, ...], name: str, model: nn.Module
) -> Tensor:
    """Return a batch as a tensor of the model's type, on its device.

    What is not a tensor is converted. A tensor has to be of the model's type and on its device, or
    under autocast of the type that this converts to.

    Args:
        values: What the model is given.
        shape: Expected of each row.
        name: What to call the rows, in the plural, such as "images".
        model: Its first parameter, if it has one, tells type and device.

    Raises:
        ValueError: If shape, type or device is another, there are no real numbers, or images of
            bytes.
    """
    batch = to_tensor(values, name)
    if not isinstance(values, Tensor):
        if len(shape) == len(IMAGE_SHAPE) and not batch.is_floating_point():
            raise ValueError(f"{name} must be floats, not {batch.dtype}; divide bytes by 255")
        batch = _as_parameters(batch, name, model)
    if batch.ndim != len(shape) + 1 or batch.shape[1:] != shape:
        expected = ", ".join(map(str, ("N", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), not {tuple(batch.shape)}")
    parameter = next(model.parameters(), batch)
    possible = (parameter.dtype, autocast_type(parameter.device))
    if batch.device != parameter.device or batch.dtype not in possible:
        raise ValueError(
            f"{name} are {batch.dtype} on {batch.device}, but the model's parameters are"
            f" {parameter.dtype} on {parameter.device}; convert one to the other"
        )
    return batch
