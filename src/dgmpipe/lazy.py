"""Packages whose contents are imported when they are first named."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazily"]


def lazily(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: Its name.
        modules: The module that has each thing which the package shows; "" for a module itself.
    """

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = modules[name]
        return (
            getattr(import_module(module), name) if module else import_module(f"{package}.{name}")
        )

    return __getattr__, lambda: sorted(modules)
