"""The training step of every kind of model against the plain one of benchmarks/textbook.py."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import textbook
from dgmpipe.config import read_config
from dgmpipe.config.kinds import KINDS
from dgmpipe.data.batches import to_float
from dgmpipe.data.moons import sample_moons
from dgmpipe.models.convolution import (
    FromChannels,
    FromOneChannel,
    ToChannels,
    ToOneChannel,
)
from dgmpipe.models.registry import task_class

# Each kind that a textbook would write so, with the paper's settings, and the GANs with each of
# their choices. The others have oracles of their own (test_flow_kinds.py, test_posteriors.py).
CASES: list[tuple[str, dict[str, bool]]] = [
    *((kind, {}) for kind in textbook.MODELS),
    ("dcgan", {"fresh_latent_points": False}),
    ("wgan", {"clip_before_update": False}),
    ("wgan", {"clip_batch_norm": False}),
    ("wgan", {"clip_batch_norm": False, "clip_before_update": False}),
]
BATCH = 16
View = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def configs(root) -> dict[str, Any]:
    """The paper's settings by kind, but for the widths, and of two kinds that it has not."""
    paper = yaml.safe_load((root / "config/paper.yaml").read_text())
    rates = {f"{network}_learning_rate": 1e-4 for network in ("generator", "discriminator")}
    sizes = {"steps": 100, "batch_size": 64}
    for kind in ("wgan_gp", "gan"):
        paper["models"][kind] = {"kind": kind, "held_out_size": 2000, **sizes, **rates}
    config = read_config(paper)
    blocks = [settings.model_dump() for settings in config.models.values()]
    return {block["kind"]: block | {"width": min(block["width"], 8)} for block in blocks}


def _pairs(ours: nn.Module, plain: nn.Module) -> Iterator[tuple[Tensor, Tensor, View]]:
    """Each parameter of the plain model, with ours and the part of it that is the same."""
    if isinstance(plain, textbook.RealNVP):
        for layer, networks in zip(ours.layers, plain.layers, strict=True):
            for which, network in enumerate(networks):
                for paired, linear in zip(
                    (layer.opening, layer.hidden, layer.closing), network[::2], strict=True
                ):
                    yield paired.weight, linear.weight, lambda w, which=which: w[which].T
                    yield paired.bias, linear.bias, lambda b, which=which: b[which, 0]
    elif isinstance(plain, textbook.OTFlow):
        for name, parameter in ours.potential.named_parameters():
            yield parameter, plain.get_parameter(name), lambda p: p
    else:
        for pair in zip(ours.parameters(), plain.parameters(), strict=True):
            yield *pair, lambda p: p


def _batches(data: str, images: Tensor, dtype: torch.dtype, device: str) -> Iterator[Any]:
    stream = torch.Generator().manual_seed(5)
    while True:
        if data == "points":
            yield sample_moons(BATCH, 0.05, stream).to(device, dtype)
        else:
            chosen = torch.randint(len(images), (BATCH,), generator=stream)
            x = to_float(images[chosen]).to(device, dtype)
            yield (x, (chosen % 10).to(device)) if data == "labelled images" else x


# Rounding grows from step to step: Adam and RMSprop divide by gradients that are next to nothing.
@pytest.mark.parametrize(
    ("dtype", "tolerance", "device"),
    [
        (torch.float64, 1e-10, "cpu"),
        pytest.param(torch.float32, 1e-2, "cpu", marks=pytest.mark.slow),
        *([(torch.float64, 1e-10, "cuda")] if torch.cuda.is_available() else []),
    ],
)
# For work on one module the choices that a kind begins with are enough.
@pytest.mark.parametrize(
    ("kind", "choices"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[1] else []) for case in CASES],
)
def test_losses_and_gradients_are_those_of_the_plain_step(
    kind: str,
    choices: dict[str, bool],
    dtype: torch.dtype,
    tolerance: float,
    device: str,
    configs: dict[str, Any],
    images: Tensor,
) -> None:
    config = configs[kind] | choices
    task_type = task_class(kind)
    torch.manual_seed(3)
    task = task_type(task_type.build(config).to(device, dtype), config)
    plain = textbook.build(kind, config).to(device, dtype)
    pairs = list(_pairs(task.model, plain))
    for one, other, view in pairs:
        other.data.copy_(view(one.data))
    ours, theirs = (_batches(KINDS[kind].data, images, dtype, device) for _ in range(2))
    noise, same_noise = (torch.Generator().manual_seed(2) for _ in range(2))
    networks = dict(task.model.named_children())
    discriminator = {id(p) for p in getattr(networks.get("discriminator"), "parameters", list)()}
    first: dict[str, Tensor] = {}
    for _ in range(10 if "critic_steps" in config else 20):
        losses, expected = task.step(ours, noise), plain.step(theirs, same_noise)
        assert losses.keys() == expected.keys()
        for key, loss in losses.items():
            torch.testing.assert_close(loss, expected[key], rtol=tolerance, atol=tolerance)
        first = first or losses
        for one, other, view in pairs:
            # The plain step of a GAN also leaves the generator's loss in its discriminator.
            if dtype.itemsize == 8 and one.grad is not None and id(one) not in discriminator:
                scale = other.grad.abs().max().item()
                torch.testing.assert_close(
                    view(one.grad), other.grad, rtol=tolerance, atol=tolerance * max(1, scale)
                )
    assert any((losses[key] - first[key]).abs() > 1e-4 for key in losses), "nothing was learnt"


def _check_like_torchs(ours: nn.Module, torchs: nn.Module, shape: tuple[int, ...]) -> None:
    """Compare values and gradients, given a state dict that fits both."""
    ours, torchs = ours.double(), torchs.double()
    for one, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        other.data.copy_(one.data)
    x = torch.randn(shape).double().requires_grad_()
    y, expected = ours(x), torchs(x)
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(y)
    for one, other in zip(
        torch.autograd.grad(y, [x, *ours.parameters()], weights),
        torch.autograd.grad(expected, [x, *torchs.parameters()], weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    assert ours(x[:0]).shape == (0, *y.shape[1:])

    def of_all(*inputs: Tensor) -> Tensor:
        names = [name for name, _ in ours.named_parameters()]
        state = dict(zip(names, inputs[1:], strict=True))
        return torch.func.functional_call(ours, state, inputs[:1])

    inputs = tuple(t.detach()[:2].requires_grad_() for t in [x])
    parameters = tuple(p.detach().requires_grad_() for p in ours.parameters())
    assert torch.autograd.gradgradcheck(of_all, (*inputs, *parameters), fast_mode=True)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 8), (2, 2)])
def test_convolutions_of_one_channel_are_those_of_torch(height: int, width: int) -> None:
    torch.manual_seed(0)
    images, layer = (3, 1, height, width), (3, 5, height // 2, width // 2)
    _check_like_torchs(FromOneChannel(5), nn.Conv2d(1, 5, 4, 2, 1), images)
    plain = nn.Conv2d(1, 5, 4, 2, 1, bias=False)
    _check_like_torchs(FromOneChannel(5, bias=False), plain, images)
    _check_like_torchs(ToOneChannel(5), nn.ConvTranspose2d(5, 1, 4, 2, 1), layer)


def test_linear_layers_beside_channels_are_those_of_torch() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(5 * 3 * 4, 6))
    _check_like_torchs(FromChannels((5, 3, 4), 6), plain, (7, 5, 3, 4))
    plain = nn.Sequential(nn.Linear(6, 5 * 3 * 4), nn.Unflatten(1, (5, 3, 4)))
    _check_like_torchs(ToChannels(6, (5, 3, 4)), plain, (7, 6))


@pytest.mark.slow
def test_channels_stay_last_in_memory_forth_and_back() -> None:
    def is_last(h: Tensor) -> bool:
        return h.is_contiguous(memory_format=torch.channels_last)

    h = ToChannels(2, (5, 3, 4))(torch.randn(7, 2))
    assert is_last(h)
    gradients: list[Tensor] = []
    h.register_hook(gradients.append)
    FromChannels((5, 3, 4), 6)(torch.relu(h)).sum().backward()
    assert is_last(gradients[0])
