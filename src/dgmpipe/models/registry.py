"""From a model's name to the class that trains it, without importing the other models."""

import importlib

from dgmpipe.models.catalog import MODELS
from dgmpipe.training.task import Task

__all__ = ["task_class"]


def task_class(model: str) -> type[Task]:
    """Return the task class of a model by its name in the config.

    Raises:
        ValueError: If there is no such model.
    """
    if model not in MODELS:
        raise ValueError(f"unknown model '{model}'; the models are {', '.join(MODELS)}")
    entry = MODELS[model]
    return getattr(importlib.import_module(entry.module), entry.task)
