"""Trained models as files: weights as safetensors, what they belong to as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from dgmpipe.errors import UserError
from dgmpipe.files import replacing
from dgmpipe.models.registry import build_model

__all__ = ["load_model", "save_weights", "untrained_model"]


WEIGHTS_FILE = "model.safetensors"


def untrained_model(kind: str, hyperparameters: Mapping[str, Any]) -> nn.Module:
    """Return an untrained model of that kind; the global random state stays as it is.

    Raises:
        ValueError: If there is no such kind, or a hyperparameter is not possible.
    """
    with torch.random.fork_rng(devices=[]):
        return build_model(kind, hyperparameters)


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write a model's parameters and buffers as safetensors, on the CPU's layout."""
    state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(state))  # save_file hides the reason when a disk is full


def load_model(folder: str | Path, *kinds: type[nn.Module]) -> nn.Module:
    """Return the trained model in `results/{tier}/models/{model}/seed_{seed}/`, in eval mode.

    Args:
        folder: Where its weights and its summary are, or the file of its weights in there.
        kinds: Classes of which it has to be one, such as `Flow`; by default any.

    Raises:
        UserError: If a file is missing or damaged, the weights do not fit the model or are not
            finite, or the model is of another kind.
    """
    folder = Path(folder)
    if folder.name == WEIGHTS_FILE and not folder.is_dir():
        folder = folder.parent
    summary_path, weights_path = folder / "summary.json", folder / WEIGHTS_FILE
    if folder.is_file():
        raise UserError(f"{folder} is a file; name the folder of a trained model")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        model = untrained_model(summary["kind"], summary["hyperparameters"])
    except FileNotFoundError as error:
        raise UserError(f"{summary_path} is missing; train the model first") from error
    except KeyError as error:
        raise UserError(f"{summary_path} does not describe a model: it has no {error}") from error
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]  # torch adds the frames of C++
        raise UserError(f"{summary_path} does not describe a model: {reason}") from error
    try:
        state = load_file(weights_path)
    except FileNotFoundError as error:
        raise UserError(f"{weights_path} is missing; train the model first") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights_path} is not a whole safetensors file: {error}") from error
    if kinds and not isinstance(model, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{folder} holds a {type(model).__name__}; name the folder of a {wanted}")
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{weights_path} does not fit the model of {summary_path}: tensor {name} should"
                f" have shape {expected.get(name, 'none')} and has {found.get(name, 'none')}"
            )
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() != state[name].is_floating_point():
            raise UserError(
                f"{weights_path} does not fit the model of {summary_path}: tensor {name} should"
                f" be of {tensor.dtype} and is of {state[name].dtype}"
            )
    model.load_state_dict(state)
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise UserError(
                f"{weights_path} has weights that are not finite, in tensor {name}; train the model"
                " again"
            )
    # As in training: convolutions on the CPU take about half the time.
    return model.to(memory_format=torch.channels_last).eval()
