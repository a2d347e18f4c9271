"""Trained models as files: weights as safetensors, what they belong to as JSON."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from dgmpipe.errors import UserError
from dgmpipe.files import replacing
from dgmpipe.models.registry import task_class

__all__ = ["load_model", "save_weights"]


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write a model's parameters and buffers as safetensors, on the CPU's layout."""
    state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(state))  # save_file hides the reason when a disk is full


def load_model(folder: str | Path, *kinds: type[nn.Module]) -> nn.Module:
    """Return the trained model in `results/{tier}/models/{model}/seed_{seed}/`, in eval mode.

    Args:
        folder: Where its weights and its summary are.
        kinds: Classes of which it has to be one, such as `Flow`; by default any.

    Raises:
        UserError: If a file is missing or damaged, the weights do not fit the model, or the model
            is of another kind.
    """
    summary_path, weights_path = Path(folder, "summary.json"), Path(folder, "model.safetensors")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        model = task_class(summary["model"]).build(summary["hyperparameters"])
    except FileNotFoundError as error:
        raise UserError(f"{summary_path} is missing; train the model first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{summary_path} does not describe a model: {error}") from error
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
    model.load_state_dict(state)
    # As in training: convolutions on the CPU take about half the time.
    return model.to(memory_format=torch.channels_last).eval()
