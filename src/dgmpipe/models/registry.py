"""From a kind of model to the class that trains it, without importing the other kinds."""

import importlib

from dgmpipe.config.kinds import KINDS
from dgmpipe.training.task import Task

__all__ = ["task_class"]


def task_class(kind: str) -> type[Task]:
    """Return the task class of a kind of model.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}'; the kinds are {', '.join(KINDS)}")
    module, name = KINDS[kind].task.split(":")
    return getattr(importlib.import_module(module), name)
