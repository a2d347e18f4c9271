"""What every model asks of the tensors that it is given."""

from torch import Tensor, nn

__all__ = ["IMAGE_SHAPE", "require_batch"]

IMAGE_SHAPE = (1, 28, 28)


def require_batch(batch: Tensor, shape: tuple[int, ...], name: str, model: nn.Module) -> None:
    """Check that a batch has the shape, and the model's kind of numbers and device.

    Args:
        batch: What the model is given.
        shape: Expected of each of its rows.
        name: What to call it, in the plural, such as "images".
        model: Its first parameter, if it has one, tells type and device.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If its shape, its numbers' type or its device is another.
    """
    if not isinstance(batch, Tensor):
        raise TypeError(f"{name} must be a tensor, not of type {type(batch).__name__}")
    if batch.ndim != len(shape) + 1 or batch.shape[1:] != shape:
        expected = ", ".join(map(str, ("N", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), not {tuple(batch.shape)}")
    parameter = next(model.parameters(), batch)
    if (batch.dtype, batch.device) != (parameter.dtype, parameter.device):
        raise ValueError(
            f"{name} are {batch.dtype} on {batch.device}, but the model's parameters are"
            f" {parameter.dtype} on {parameter.device}; convert one to the other"
        )
