"""From a kind of model to the class that trains it, without importing the other kinds."""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from dgmpipe.config.kinds import KINDS
from dgmpipe.models.task import Task

__all__ = ["build_model", "task_class"]


def task_class(kind: str) -> type[Task]:
    """Return the task class of a kind of model.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}'; the kinds are {', '.join(KINDS)}")
    module, name = KINDS[kind].task.split(":")
    return getattr(importlib.import_module(module), name)


def build_model(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """Return an untrained model of a kind; a flow that is to be standardised has no moments yet.

    Raises:
        ValueError: If there is no such kind, or a setting is not possible.
    """
    model = task_class(kind).build(settings)
    if settings.get("standardised"):
        from dgmpipe.models.flow import Flow, Standardised

        assert isinstance(model, Flow)
        return Standardised(model)
    return model
