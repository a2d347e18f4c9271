"""Every derivative by hand, and every log density, in every way that torch differentiates."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd import functional as AF
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vmap,
)

from dgmpipe.data import MoonsDensity
from dgmpipe.models import VAE, Discriminator, Encoder, Generator, OTFlow, RealNVP
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.convolution import FromOneChannel, ToOneChannel
from dgmpipe.models.flow_matching import FlowMatching
from dgmpipe.models.planar import PlanarFlow, RadialFlow
from dgmpipe.models.zuko_flows import IAF, MAF, NICE, NeuralSplineFlow

Function = Callable[[Tensor], Tensor]


def _far_from_zero(model: nn.Module, seed: int = 0) -> nn.Module:
    stream = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
    return model.double()


def _of_layer(layer: nn.Module, *shape: int) -> tuple[Function, Tensor]:
    """A scalar of a layer's output, as a function of a flat input."""
    layer = _far_from_zero(layer)
    point = _points(1, torch.Size(shape).numel())[0]
    return lambda x: torch.sin(layer(x.view(1, *shape))).sum(), point


def _points(n: int, d: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _of_flow(flow: nn.Module) -> tuple[Function, Tensor]:
    flow = _far_from_zero(flow)
    return lambda x: flow.log_prob(x[None])[0], _points(1, 2)[0]


def _of_moons(x: float, y: float, noise: float = 0.3) -> tuple[Function, Tensor]:
    density = MoonsDensity(noise)
    return lambda p: density.log_prob(p[None])[0], torch.tensor([x, y], dtype=torch.float64)


REST = (
    *("nice", "iaf", "nsf", "radial", "flow matching"),
    *("moons below", "moons at the other centre", "moons on the diameter"),
)
# Each is a scalar function, and a point.
MEMBERS: dict[str, tuple[Function, Tensor]] = {
    "otflow": _of_flow(OTFlow(8, num_steps=3)),
    "realnvp": _of_flow(RealNVP(3, 8)),
    "nice": _of_flow(NICE(2, 8)),
    "maf": _of_flow(MAF(2, 8)),
    "iaf": _of_flow(IAF(2, 8)),
    "nsf": _of_flow(NeuralSplineFlow(2, 8, 4)),
    "planar": _of_flow(PlanarFlow(3)),
    "radial": _of_flow(RadialFlow(3)),
    "flow matching": _of_flow(FlowMatching(8, 2)),
    "convolution from one channel": _of_layer(FromOneChannel(3), 1, 4, 6),
    "convolution without a constant": _of_layer(FromOneChannel(3, bias=False), 1, 4, 2),
    "convolution to one channel": _of_layer(ToOneChannel(3), 3, 2, 2),
    "moons above": _of_moons(0.3, 0.9),
    "moons below": _of_moons(0.2, -0.4),
    "moons at a centre": _of_moons(0, 0),
    "moons at the other centre": _of_moons(1, 0.5),
    "moons on the diameter": _of_moons(-0.5, 0),
    "moons at an end": _of_moons(1, 0, 0.05),
}


def _gradient(function: Function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


def _directions(x: Tensor) -> Tensor:
    return torch.eye(len(x), dtype=x.dtype)


def _differences(function: Function, x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a function of `x` (d,), along the last axis."""
    return torch.stack(
        [(function(x + step * e) - function(x - step * e)) / (2 * step) for e in _directions(x)],
        dim=-1,
    )


def _double_backward(function: Function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    gradient = torch.autograd.grad(function(x), x, create_graph=True)[0]
    return torch.stack([torch.autograd.grad(g, x, retain_graph=True)[0] for g in gradient])


SECOND = {
    "backward of backward": _double_backward,
    "autograd.functional.hessian": AF.hessian,
    "the same, vectorized": lambda f, x: AF.hessian(f, x, vectorize=True),
    "the same, outer in forward mode": lambda f, x: AF.hessian(
        f, x, vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    "hvp": lambda f, x: torch.stack([AF.hvp(f, x, e)[1] for e in _directions(x)]),
    "vhp": lambda f, x: torch.stack([AF.vhp(f, x, e)[1] for e in _directions(x)]),
    "func.hessian": lambda f, x: hessian(f)(x),
    "jacrev of jacrev": lambda f, x: jacrev(jacrev(f))(x),
    "jacfwd of jacfwd": lambda f, x: jacfwd(jacfwd(f))(x),
    "jacrev of jacfwd": lambda f, x: jacrev(jacfwd(f))(x),
    "jacfwd of grad": lambda f, x: jacfwd(grad(f))(x),
    "vmap of hessian": lambda f, x: vmap(hessian(f))(torch.stack([x + 1, x]))[1],
}


def _dual(function: Function, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        parts = [
            forward_ad.unpack_dual(function(forward_ad.make_dual(x, e))).tangent
            for e in _directions(x)
        ]
    return torch.stack(parts)


def _batched_backward(function: Function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    weights = torch.arange(1.0, 4.0, dtype=x.dtype)
    rows = torch.autograd.grad(function(x), x, weights, is_grads_batched=True)[0]
    torch.testing.assert_close(rows[2], 3 * rows[0])
    return rows[0]


FIRST = {
    "backward": _gradient,
    "grad": lambda f, x: grad(f)(x),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "jvp": lambda f, x: torch.stack([jvp(f, (x,), (e,))[1] for e in _directions(x)]),
    "vmap of grad": lambda f, x: vmap(grad(f))(torch.stack([x + 1, x]))[1],
    "grad of vmap": lambda f, x: grad(lambda p: vmap(f)(torch.stack([p, p]))[1])(x),
    "forward mode": _dual,
    "backward of a batch": _batched_backward,
    "autograd.functional.jacobian": AF.jacobian,
    "the same, vectorized": lambda f, x: AF.jacobian(f, x, vectorize=True),
    "the same, in forward mode": lambda f, x: AF.jacobian(
        f, x, vectorize=True, strategy="forward-mode"
    ),
}


# For work on one module one of the flows of zuko's transforms is enough, one of Rezende's two, and
# points of the moons' upper half.
every_member = pytest.mark.parametrize(
    "member",
    [pytest.param(name, marks=[pytest.mark.slow] if name in REST else []) for name in MEMBERS],
)


@every_member
def test_first_derivatives_are_those_of_finite_differences(member: str) -> None:
    function, x = MEMBERS[member]
    expected = _differences(function, x)
    assert expected.abs().max() > 1e-2
    for way, derivative in FIRST.items():
        found = derivative(function, x)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, msg=_of(way))


@every_member
def test_second_derivatives_are_those_of_finite_differences(member: str) -> None:
    function, x = MEMBERS[member]
    expected = _differences(lambda p: _gradient(function, p), x)
    assert expected.abs().max() > 1e-2
    for way, derivative in SECOND.items():
        found = derivative(function, x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=_of(way))


def _of(way: str) -> Callable[[str], str]:
    return lambda message: f"{way}: {message}"


@pytest.mark.slow
def test_otflow_has_second_derivatives_by_parameters_and_points() -> None:
    flow, x = _far_from_zero(OTFlow(3, num_steps=2, rank=2)), _points(3, 2)
    names, parameters = zip(*flow.named_parameters(), strict=True)

    def integrals(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        class Path(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.flow = flow

            def forward(self, x: Tensor) -> tuple[Tensor, ...]:
                return tuple(self.flow.integrate(x, reverse=True))

        state = {f"flow.{name}": value for name, value in zip(names, values, strict=True)}
        return functional_call(Path(), state, (x,))

    inputs = [t.detach().clone().requires_grad_() for t in (x, *parameters)]
    assert torch.autograd.gradcheck(integrals, inputs)
    # The penalty's absolute value has a kink, from which these points are far enough.
    assert torch.autograd.gradgradcheck(integrals, inputs)


def test_one_gradient_for_each_point_and_model() -> None:
    x = _points(4, 2)
    models = [_far_from_zero(OTFlow(4, num_steps=2), seed) for seed in range(3)]
    parameters, _ = stack_module_state(models)
    meta = deepcopy(models[0]).to("meta")

    def minus_log_prob(state: dict[str, Tensor], point: Tensor) -> Tensor:
        z, log_det = functional_call(meta, state, (point[None],))
        return (z.square().sum() + log_det.sum()) / 2

    batched = vmap(vmap(grad(minus_log_prob), (None, 0)), (0, None))(parameters, x)
    for i, model in enumerate(models):
        for j, point in enumerate(x):
            z, log_det = model(point[None])
            loss = (z.square().sum() + log_det.sum()) / 2
            expected = torch.autograd.grad(loss, model.parameters(), allow_unused=True)
            for (name, _), value in zip(model.named_parameters(), expected, strict=True):
                if value is not None:  # no velocity depends on the constant of the potential
                    torch.testing.assert_close(batched[name][i, j], value)


IMAGES = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
LATENT = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
STEPS: dict[str, tuple[nn.Module, Function]] = {
    "otflow": (flow := OTFlow(), flow.log_prob),
    "realnvp": (nvp := RealNVP(), nvp.log_prob),
    "vae": (vae := VAE(Encoder(2, 4), Generator(2, 4)), None),
    "discriminator": (judge := Discriminator(4), lambda x: judge(IMAGES)),
    "classifier": (classifier := Classifier(4), lambda x: classifier(IMAGES)[:, 0]),
    "generator into discriminator": (
        nn.ModuleList([generator := Generator(2, 4), critic := Discriminator(4)]),
        lambda x: critic(generator(LATENT)),
    ),
}
STEPS["vae"] = (vae, lambda x: vae.elbo(IMAGES, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("where", ["forward", "forward and backward", "backward"])
@pytest.mark.parametrize("name", STEPS)
def test_autocast_changes_no_more_than_the_precision(name: str, where: str) -> None:
    model, function = STEPS[name]
    model.double().float()

    def step(forward: bool, backward: bool) -> tuple[Tensor, list[Tensor]]:
        with torch.autocast("cpu", torch.bfloat16, enabled=forward):
            value = function(LATENT).float().mean()
        with torch.autocast("cpu", torch.bfloat16, enabled=backward):
            gradients = torch.autograd.grad(value, model.parameters(), allow_unused=True)
        return value, [g for g in gradients if g is not None]

    expected, plain = step(False, False)
    value, gradients = step("forward" in where, "backward" in where)
    torch.testing.assert_close(value, expected, rtol=0.03, atol=0.03)
    scale = max(g.norm() for g in plain)
    for one, other in zip(gradients, plain, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() < 0.2 * scale


def test_otflow_keeps_its_precision_under_autocast() -> None:
    flow = OTFlow()
    with torch.autocast("cpu", torch.bfloat16):
        found = flow.log_prob(LATENT)
    torch.testing.assert_close(found, flow.log_prob(LATENT), rtol=1e-5, atol=1e-5)
