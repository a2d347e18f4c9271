"""Every flow: a bijection with the stated log-determinant whose density integrates to 1."""

import copy
import math
from pathlib import Path

import pytest
import torch
import zuko
from safetensors.torch import load_file, save_file
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import AffineTransform
from torchdiffeq import odeint

from dgmpipe.config.kinds import KINDS
from dgmpipe.data.moons import MoonsDensity, moons_moments, sample_moons
from dgmpipe.models import load_model
from dgmpipe.models.flow import Standardised, negative_log_likelihood
from dgmpipe.models.flow_matching import FlowMatching
from dgmpipe.models.otflow import OTFlow, ot_flow_objective
from dgmpipe.models.planar import PlanarFlow, RadialFlow
from dgmpipe.models.realnvp import RealNVP, RealNVPTask
from dgmpipe.models.zuko_flows import IAF, MAF, NICE, NeuralSplineFlow
from trainings import train_here

# With 64 Runge-Kutta steps a continuous flow is exact to about 1e-8, far below the tolerances here.
FLOWS = {
    "realnvp": RealNVP,
    "otflow": lambda: OTFlow(num_steps=64),
    "nice": NICE,
    "maf": lambda: MAF(2, 32),
    "iaf": lambda: IAF(3, 64),
    "nsf": NeuralSplineFlow,
    "planar": PlanarFlow,
    "radial": RadialFlow,
    "flow_matching": lambda: FlowMatching(32, num_steps=64),
}
CONTINUOUS = ("otflow", "flow_matching")
TOLERANCE = dict.fromkeys(FLOWS, 1e-12) | dict.fromkeys(CONTINUOUS, 1e-7)
STATES = dict.fromkeys(FLOWS, 7) | dict.fromkeys(CONTINUOUS, 65)
STATES |= {"nice": 8, "maf": 3, "iaf": 4, "nsf": 5, "planar": 33, "radial": 33}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


# For work on one module MAF and the spline stand for the flows of zuko's transforms, the planar
# flow for Rezende's two, and OT-Flow for the continuous ones.
REST = ("nice", "iaf", "radial", "flow_matching")


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in REST else []) for name in FLOWS]
)
def name(request):
    return request.param


def make_flow(name: str, seed: int = 0):
    """Return a flow in double precision that is far from the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow = FLOWS[name]().double()
    with torch.no_grad():
        stream = torch.Generator().manual_seed(seed)
        for parameter in flow.parameters():
            parameter.mul_(1.5)
            if name != "otflow" and not parameter.any():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    return flow


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slogdet(function, points):
    # A row of the output depends on its own row of the input alone.
    rows = jacobian(lambda p: function(p)[0].sum(dim=0), points)
    return torch.linalg.slogdet(rows.transpose(0, 1)).logabsdet


def train(flow, steps: int, learning_rate: float, loss) -> None:
    stream = torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(flow.parameters(), learning_rate, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(flow, sample_moons(256, 0.05, stream)).backward()
        optimizer.step()


def test_parameter_counts_are_the_papers():
    counts = [sum(p.numel() for p in flow.parameters()) for flow in (RealNVP(), OTFlow())]
    assert counts == [205_848, 1_229]


def test_inverse_undoes_forward(name):
    flow, points = make_flow(name), normal(50, 2)
    x, log_det = flow(points)
    z, inverse_log_det = flow.inverse(x)
    assert (x - points).abs().max() > 0.2
    torch.testing.assert_close(z, points, rtol=0, atol=TOLERANCE[name])
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=TOLERANCE[name])
    there_and_back, _ = flow(flow.inverse(points)[0])
    torch.testing.assert_close(there_and_back, points, rtol=0, atol=TOLERANCE[name])


def test_log_det_is_that_of_the_jacobian(name):
    flow, points = make_flow(name), normal(20, 2)
    for direction in (flow, flow.inverse):
        log_det = direction(points)[1]
        assert log_det.abs().max() > 0.05
        torch.testing.assert_close(
            log_det, slogdet(direction, points), rtol=0, atol=TOLERANCE[name]
        )


def test_hidden_states_lead_from_z_to_x(name):
    flow, z = make_flow(name), normal(6, 2)
    states = flow.hidden_states(z)
    assert states.shape == (STATES[name], 6, 2)
    assert torch.equal(states[0], z)
    assert torch.equal(states[-1], flow(z)[0])


# On a fine grid, which takes a second for each flow.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "realnvp" else [pytest.mark.slow]) for n in FLOWS],
)
def test_density_integrates_to_one(name):
    flow = make_flow(name)
    if name in CONTINUOUS:
        flow.num_steps = 8
    step, limit = (0.1, 14) if name == "realnvp" else (0.05, 8)
    if name in CONTINUOUS:
        step = 0.1
    axis = torch.arange(-limit, limit, step, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert density.sum().item() * step**2 == pytest.approx(1, abs=1e-3)


def test_samples_are_generated_from_the_latent_distribution(name):
    flow = make_flow(name)
    x = flow.sample(20, torch.Generator().manual_seed(3))
    assert not x.requires_grad
    assert torch.equal(x, flow(normal(20, 2, seed=3))[0])


def test_same_generator_same_samples(name):
    flow = make_flow(name)
    first, second = (flow.sample(5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2, 1)])
def test_wrong_shapes_are_refused(name, shape):
    flow, points = FLOWS[name](), torch.zeros(shape)
    for method in (flow, flow.inverse, flow.log_prob, flow.hidden_states):
        with pytest.raises(ValueError, match=r"points must have shape \(N, 2\)"):
            method(points)


def test_impossible_sizes_are_refused():
    for make in (
        lambda: RealNVP(num_layers=0),
        lambda: RealNVP(width=0),
        lambda: OTFlow(width=0),
        lambda: OTFlow(rank=0),
        lambda: OTFlow(num_steps=0),
        lambda: OTFlow().integrate(torch.zeros(1, 2), reverse=True, num_steps=0),
    ):
        with pytest.raises(ValueError, match="at least 1"):
            make()


def test_gradients_reach_every_parameter(name):
    flow, points = make_flow(name), normal(20, 2)
    negative_log_likelihood(flow, points).backward()
    without = {n for n, p in flow.named_parameters() if p.grad is None or not p.grad.any()}
    # No velocity depends on the constant of the potential.
    assert without == ({"potential.c"} if name == "otflow" else set())


def test_gradients_of_the_likelihood_are_right(name):
    flow, points = make_flow(name), normal(3, 2).requires_grad_()
    if name in CONTINUOUS:
        flow.num_steps = 2
    assert torch.autograd.gradcheck(flow.log_prob, points)


def test_save_and_load(name, tmp_path):
    flow, points = make_flow(name), normal(9, 2)
    save_file(flow.state_dict(), tmp_path / "model.safetensors")
    other = make_flow(name, seed=5)
    assert not torch.equal(other.log_prob(points), flow.log_prob(points))
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other.log_prob(points), flow.log_prob(points))


@pytest.mark.parametrize("device", DEVICES)
def test_precisions_and_devices_agree(name, device):
    flow, points = make_flow(name), normal(50, 2)
    expected = flow.log_prob(points)
    single = flow.float().to(device)
    actual = single.log_prob(points.float().to(device))
    assert actual.dtype == torch.float32
    assert actual.device.type == single.sample(2).device.type == device
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["realnvp", "otflow"])
def test_no_likelihood_beats_the_entropy(name):
    with torch.random.fork_rng():
        torch.manual_seed(6)
        flow = RealNVP() if name == "realnvp" else OTFlow()
    if name == "realnvp":
        train(flow, 150, 1e-3, negative_log_likelihood)
    else:
        train(flow, 150, 1e-2, lambda f, x: ot_flow_objective(f, x, num_steps=4)["loss"])
    x = sample_moons(5_000, 0.05, torch.Generator().manual_seed(7))
    with torch.no_grad():
        log_prob = flow.log_prob(x)
    error = (log_prob.std() / math.sqrt(len(x))).item()
    nll = -log_prob.mean().item()
    assert MoonsDensity(0.05).entropy() - 3 * error < nll < 1.6


def test_realnvp_layers_keep_a_coordinate_in_turn():
    states = make_flow("realnvp").hidden_states(normal(10, 2))
    for j in range(1, 7):
        kept = j % 2  # as in eq. (11): the first coordinate if j is even
        assert torch.equal(states[j][:, kept], states[j - 1][:, kept])
        assert not torch.equal(states[j][:, 1 - kept], states[j - 1][:, 1 - kept])


def test_realnvp_has_the_likelihood_that_zuko_computes():
    flow, x = make_flow("realnvp"), normal(30, 2)

    def inverse_layer(layer: nn.Module, kept: int) -> zuko.transforms.CouplingTransform:
        def affine(kept_value: torch.Tensor) -> AffineTransform:
            seen = torch.zeros(len(kept_value), 2, dtype=x.dtype)
            seen[:, kept] = kept_value[:, 0]
            s, t = (both[:, [1 - kept]] for both in layer.scale_and_shift(seen))
            return AffineTransform(-t * torch.exp(-s), torch.exp(-s), event_dim=1)

        return zuko.transforms.CouplingTransform(affine, torch.arange(2) == kept)

    # zuko's transforms go from x to z, so through the layers backwards.
    layers = [inverse_layer(flow.layers[j - 1], j % 2) for j in range(6, 0, -1)]
    base = zuko.distributions.DiagNormal(torch.zeros(2).double(), torch.ones(2).double())
    second_opinion = zuko.distributions.NormalizingFlow(
        zuko.transforms.ComposedTransform(*layers), base
    )
    torch.testing.assert_close(flow.log_prob(x), second_opinion.log_prob(x))


def test_characteristics_stay_finite_far_out():
    end = OTFlow().integrate(torch.tensor([[1e4, -1e4]]), reverse=True)
    assert all(value.isfinite().all() for value in end)


def test_otflow_follows_the_ode_that_torchdiffeq_solves():
    flow, x = make_flow("otflow"), normal(10, 2)

    def velocity(t, y):
        s = torch.cat([y, t.expand(len(y), 1)], dim=1)
        return -jacobian(lambda p: flow.potential(p).sum(), s, create_graph=True)[:, :2]

    def dynamics(t, state):
        y = state[0]
        rows = jacobian(lambda p: velocity(t, p).sum(dim=0), y).transpose(0, 1)
        return velocity(t, y).detach(), rows.diagonal(dim1=1, dim2=2).sum(dim=1)

    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    z, log_det = odeint(dynamics, (x, x.new_zeros(10)), times, rtol=1e-9, atol=1e-9)
    actual_z, actual_log_det = flow.inverse(x)
    torch.testing.assert_close(actual_z, z[-1], rtol=0, atol=1e-6)
    torch.testing.assert_close(actual_log_det, log_det[-1], rtol=0, atol=1e-6)


def test_otflow_errors_fall_with_order_four():
    flow, z = make_flow("otflow"), normal(50, 2)
    exact = flow.integrate(z, reverse=False, num_steps=256)
    errors = []
    for num_steps in (16, 32):
        end = flow.integrate(z, reverse=False, num_steps=num_steps)
        flow.num_steps = num_steps
        discrete = slogdet(flow, z)
        back = flow.integrate(end.y, reverse=True, num_steps=num_steps).y
        of_end = [(a - b).norm().item() for a, b in zip(end, exact, strict=True)]
        of_trace, of_return = (end.log_det - discrete).norm().item(), (back - z).norm().item()
        errors.append([*of_end[:3], of_trace, of_return])
    *orders, round_trip = (math.log2(a / b) for a, b in zip(*errors, strict=True))
    assert all(3.5 < order < 4.6 for order in orders)
    # Forward and backward steps have opposite leading errors, which gains an order.
    assert 4.4 < round_trip < 5.6


# |∂ₜΦ − ½‖∇Φ‖²| with ½‖∇Φ‖² = 12.5, which vanishes where the characteristics are optimal.
@pytest.mark.parametrize(("by_time", "penalty"), [(0.5, 12.0), (12.5, 0.0)])
@pytest.mark.parametrize("reverse", [False, True])
def test_hjb_penalty_and_transport_of_a_translation(by_time, penalty, reverse):
    flow = OTFlow().double()
    b = torch.tensor([3.0, -4.0, by_time]).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.zero_()
        flow.potential.b.copy_(b)
    end = flow.integrate(normal(5, 2), reverse=reverse)
    torch.testing.assert_close(end.y, normal(5, 2) + (b[:2] if reverse else -b[:2]))
    torch.testing.assert_close(end.transport, torch.full((5,), 12.5).double())
    torch.testing.assert_close(end.hjb, torch.full((5,), penalty).double())


def test_ot_flow_objective_weights_its_parts():
    flow, x = make_flow("otflow"), normal(20, 2)
    parts = ot_flow_objective(flow, x, num_steps=64)
    torch.testing.assert_close(parts["nll"], negative_log_likelihood(flow, x))
    assert parts["loss"] == parts["transport"] + 10 * parts["nll"] + 5 * parts["hjb"]
    only_hjb = ot_flow_objective(
        flow, x, alpha_transport=0, alpha_likelihood=0, alpha_hjb=1, num_steps=64
    )
    assert only_hjb["loss"] == parts["hjb"]


@pytest.fixture
def standardised() -> Standardised:
    torch.manual_seed(0)
    mean, deviation = torch.tensor([0.5, -2.0]), torch.tensor([3.0, 0.1])
    return Standardised(RealNVP(3, 16).double(), mean, deviation)


def test_a_standardised_flow_is_the_flow_with_the_datas_mean_and_scale(
    standardised: Standardised,
) -> None:
    z = torch.randn(50, 2, dtype=torch.float64)
    x, log_det = standardised(z)
    y, inner = standardised.flow(z)
    torch.testing.assert_close((x - standardised.mean) / standardised.deviation, y)
    torch.testing.assert_close(log_det, inner + math.log(3 * 0.1))
    back, log_det_back = standardised.inverse(x)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(log_det_back, -log_det)
    states = standardised.hidden_states(z)
    torch.testing.assert_close(states[0], z)
    torch.testing.assert_close(states[-1], x)


def test_a_standardised_flow_is_trained_as_the_flow_of_standardised_points(
    standardised: Standardised,
) -> None:
    config = {"learning_rate": 1e-3}
    alone = copy.deepcopy(standardised.flow)
    x = torch.randn(64, 2, dtype=torch.float64) * 2
    RealNVPTask(standardised, config).step(iter([x]), torch.Generator())
    RealNVPTask(alone, config).step(iter([standardised.standardise(x)]), torch.Generator())
    for trained, expected in zip(standardised.flow.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(trained, expected)


def test_data_that_do_not_vary_cannot_be_standardised() -> None:
    with pytest.raises(ValueError, match="must vary along each axis"):
        Standardised(RealNVP(2, 4), torch.zeros(2), torch.tensor([1.0, 0.0]))


def test_a_standardised_flow_comes_back_from_its_files(tmp_path: Path) -> None:
    settings = KINDS["realnvp"].settings.model_validate(
        {
            "kind": "realnvp",
            "standardised": True,
            "width": 8,
            "steps": 3,
            "learning_rate": 0.001,
            "held_out_size": 10,
        }
    )
    train_here("mine", settings, tmp_path / "model")
    flow = load_model(tmp_path / "model")
    assert isinstance(flow, Standardised)
    mean, deviation = moons_moments(0.05)
    torch.testing.assert_close(flow.mean, mean.float())
    torch.testing.assert_close(flow.deviation, deviation.float())


def test_the_moments_of_the_moons_are_those_of_many_points() -> None:
    x = sample_moons(400_000, 0.3, torch.Generator().manual_seed(0)).double()
    mean, deviation = moons_moments(0.3)
    torch.testing.assert_close(x.mean(0), mean, atol=0.006, rtol=0)
    torch.testing.assert_close(x.std(0), deviation, atol=0.005, rtol=0)
