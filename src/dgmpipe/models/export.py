"""Trained generators as programs of torch alone, which run where this package is not installed."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from dgmpipe.models.flow import DIM, Flow
from dgmpipe.models.generator import Generator
from dgmpipe.models.image_flow import ImageFlow
from dgmpipe.models.storage import load_model, untrained_model

__all__ = ["export_generator"]

_NUM_EXAMPLES = 4  # of a single one export would conclude that all batches have one
# To follow a generator's operations takes up to seconds, as for OT-Flow's 32 evaluations of ∇Φ.
_PROGRAMS: dict[str, tuple[ExportedProgram, Tensor]] = {}


class _Points(nn.Module):
    """The points x = g_θ(z) that a flow makes, without the log-determinant."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, z: Tensor) -> Tensor:
        return self.flow(z)[0]


def export_generator(folder: str | Path) -> tuple[ExportedProgram, Tensor] | None:
    """Return the generator x = g_θ(z) of a trained model, and latent points to try it on.

    The program is the list of the operations that the generator does, with its weights, for any
    number of latent points `z` (N, q). The next call for a model with the same layers may put other
    weights into the same program.

    Args:
        folder: Folder of the trained model.

    Returns:
        The program and points (4, q), or nothing for a model that generates nothing.

    Raises:
        UserError: If a file is missing or damaged.
    """
    generator = _generator(load_model(folder))
    if generator is None:
        return None
    summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
    hyperparameters = json.dumps(summary["hyperparameters"])
    # Generators of VAEs and GANs have one program, as only their weights tell them apart.
    key = str(generator) if type(generator) is Generator else summary["kind"] + hyperparameters
    if key not in _PROGRAMS:
        _PROGRAMS[key] = _program(summary["kind"], hyperparameters)
    program, z = _PROGRAMS[key]
    for name, tensor in generator.state_dict().items():
        program.state_dict[name].copy_(tensor)
    return program, z


def _generator(network: nn.Module) -> nn.Module | None:
    if isinstance(network, ImageFlow):
        return network
    return _Points(network) if isinstance(network, Flow) else getattr(network, "generator", None)


def _program(kind: str, hyperparameters: str) -> tuple[ExportedProgram, Tensor]:
    """Return the program of an untrained generator, and latent points (4, q)."""
    network = untrained_model(kind, json.loads(hyperparameters))
    # In the layout that `load_model` gives to a trained one, for the same rounding.
    network = network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    generator = _generator(network)
    assert generator is not None
    size = getattr(generator, "latent_dim", DIM)
    z = torch.randn(_NUM_EXAMPLES, size, generator=torch.Generator().manual_seed(0))
    # Strict, so that len(z) in a model's code does not fix the number of points.
    return export(generator, (z,), dynamic_shapes=({0: Dim.AUTO},), strict=True), z
