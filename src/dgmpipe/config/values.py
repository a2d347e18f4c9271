"""The values that a config holds, as types that say what is allowed."""

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Block",
    "Count",
    "FolderName",
    "Fraction",
    "Positive",
    "Seed",
    "Seeds",
    "SquareNumber",
    "Switch",
    "Weight",
    "documented",
    "matching",
    "unique",
]


class Block(BaseModel):
    """A block of the config: every key is known, and none changes once it is read."""

    # Defaults as well, so that one written 0 is the number 0.0 that a key set to 0 would be.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _number(value: Any) -> Any:
    """Return the number that a text stands for: Snakemake's command line gives such texts."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _whole(value: Any) -> Any:
    """Return a whole number that is written as another, such as 1.0e+3 or "1000"."""
    value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _exact(value: int) -> int:
    # From here on text such as "9007199254740993", which is read as a float, is another number.
    if abs(value) >= 2**53:
        raise ValueError("must be less than 2**53")
    return value


Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole), AfterValidator(_exact)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_number)]


def _switch(value: Any) -> Any:
    """Return what the text "true" or "false" stands for."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Switch = Annotated[bool, Field(strict=True), BeforeValidator(_switch)]

Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0)]


def unique(values: list[Any]) -> list[Any]:
    """Return the values if each stands once."""
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"lists {value} twice")
    return values


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(unique)]
Positive = Annotated[Real, Field(gt=0)]
Weight = Annotated[Real, Field(ge=0)]
Fraction = Annotated[Real, Field(ge=0, lt=1)]


def _square(value: int) -> int:
    if math.isqrt(value) ** 2 != value:
        raise ValueError(f"must be a square number, as a square shows them, not {value}")
    return value


SquareNumber = Annotated[Whole, Field(ge=4, le=100), AfterValidator(_square)]


def _text(value: Any) -> Any:
    """Return a number as the text that it was written as: 2024 names a folder as well."""
    return str(value) if type(value) is int else value


def matching(pattern: str, expected: str) -> Any:
    """Return a check that text matches a pattern, which its message puts into words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"is {value!r} and should be {expected}")
        return value

    return AfterValidator(check)


FolderName = Annotated[
    str,
    BeforeValidator(_text),
    matching("[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, - and _, as it names a folder"),
]


def documented(text: str, default: Any = ...) -> Any:
    """Return a field with its explanation, and its default if it need not be given."""
    return Field(default, description=text)
