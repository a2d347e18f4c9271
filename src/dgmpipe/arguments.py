"""Arguments of the library's functions, read in one way and refused by one sentence each."""

import math
import numbers
import operator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = [
    "as_type",
    "in_transform",
    "positive_number",
    "require_stream",
    "to_tensor",
    "whole_number",
]

# What to do about values that are no real numbers, by the kind of their NumPy type.
_ADVICE = {
    "c": "take real and imaginary parts as two values",
    "S": "convert the text to numbers",
    "U": "convert the text to numbers",
    "V": "make one array of its fields, as numpy.lib.recfunctions.structured_to_unstructured does",
}


def to_tensor(values: Tensor | ArrayLike, name: str) -> Tensor:
    """Return points or images as a tensor of real numbers, without a change of any value.

    Args:
        values: A tensor, which is returned as it is, or dense if it is sparse; or anything that
            NumPy reads: an array of any type, byte order and strides, a list, a pandas frame or
            series, a SciPy sparse matrix. Whole numbers and bytes stay such.
        name: What an error calls the values.

    Raises:
        ValueError: If they are complex, text, records, dates, or partly masked or missing, do not
            form an array, or include a number beyond a double.
    """
    if isinstance(values, Tensor):
        if values.is_complex() or values.is_nested or values.is_quantized:
            kind = "nested" if values.is_nested else values.dtype
            raise ValueError(f"{name} must be real numbers in a plain tensor, not {kind}")
        return values if values.layout == torch.strided else values.to_dense()
    if isinstance(values, list | tuple) and _are_tensors_of_one_shape(values):
        return to_tensor(torch.stack(tuple(values)), name)
    return torch.from_numpy(_real_array(values, name))


def as_type(values: Tensor, name: str, dtype: torch.dtype) -> Tensor:
    """Return real numbers as floats of a type.

    Raises:
        ValueError: If one of them is finite and beyond that type.
    """
    converted = values.to(dtype)
    beyond = converted.isinf() & ~values.double().isinf()
    if beyond.any():
        raise ValueError(
            f"{name} must not include {values[beyond][0].item():g}, which {dtype} cannot hold;"
            " scale them"
        )
    return converted


def _real_array(values: Any, name: str) -> np.ndarray:
    """Return a new array of bool, integers or floats that torch knows, in C order."""
    if hasattr(values, "toarray"):  # a sparse matrix of SciPy
        values = values.toarray()
    if _is_masked(values):
        raise ValueError(f"{name} must have no masked values; fill them or leave them out")
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's, which says where rows differ
        raise ValueError(f"{name} must form an array of real numbers: {error}") from None
    except (TypeError, RuntimeError):
        kind = type(values).__name__
        raise ValueError(
            f"{name} must form an array of real numbers, which NumPy cannot read from this {kind}"
        ) from None
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind not in "biuf":
        advice = _ADVICE.get(array.dtype.kind, "convert them to numbers")
        raise ValueError(f"{name} must be real numbers, not {array.dtype}; {advice}")
    known = np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):
        native = np.array(array, dtype=known, order="C")
    if known is np.float64 and (np.isfinite(array) & ~np.isfinite(native)).any():
        raise ValueError(f"{name} must not include numbers that float64 cannot hold; scale them")
    return native


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    for value in array.flat:
        if not isinstance(value, numbers.Real | np.bool_):
            shown = repr(value) if len(repr(value)) < 40 else f"a {type(value).__name__}"
            raise ValueError(
                f"{name} must be real numbers, but {shown} is among them;"
                " convert it or leave it out"
            )
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(
            f"{name} must not include numbers that float64 cannot hold; scale them"
        ) from None


def _are_tensors_of_one_shape(values: list[Any] | tuple[Any, ...]) -> bool:
    if not values or not all(isinstance(value, Tensor) for value in values):
        return False
    return len({(value.shape, value.device, value.layout) for value in values}) == 1


def _is_masked(values: Any) -> bool:
    if isinstance(values, list | tuple):
        return any(map(_is_masked, values))
    return bool(np.ma.is_masked(values))


def whole_number(value: Any, name: str, least: int | None = None) -> int:
    """Return an integer of Python, of NumPy or of torch as Python's.

    Raises:
        ValueError: If it is of another type, a bool among them, or less than `least`.

    Example:
        >>> whole_number(np.int32(3), "n", 1)
        3
    """
    try:
        if "bool" in f"{type(value).__name__} {getattr(value, 'dtype', '')}":
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def positive_number(value: Any, name: str) -> float:
    """Return a number that is positive and finite.

    Raises:
        ValueError: If it is not, or no number.
    """
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        value = value.item()
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = float(value) if real else math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")
    return number


def require_stream(stream: Any, name: str, *, on_cpu: bool = True) -> None:
    """Check that an argument is a random stream, and where it draws.

    Raises:
        ValueError: If it is not a `torch.Generator`, or not one on the CPU if that is needed.
    """
    if not isinstance(stream, torch.Generator):
        raise ValueError(
            f"{name} must be a torch.Generator, such as torch.Generator().manual_seed(0),"
            f" not of type {type(stream).__name__}"
        )
    if on_cpu and stream.device.type != "cpu":
        raise ValueError(f"{name} must be a torch.Generator on the CPU, not on {stream.device}")


def in_transform() -> bool:
    """Return whether a transform of `torch.func` is at work, which hides the values of tensors."""
    return torch._C._are_functorch_transforms_active()
