"""The kinds of flow that are not the paper's: their trainings, on points of one's own as well."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import dgmpipe
import paths
from dgmpipe.commands.functions import held_out_losses, train
from dgmpipe.config.kinds import KINDS
from dgmpipe.data.moons import MoonsDensity
from dgmpipe.models.flow import Flow, Standardised, negative_log_likelihood
from dgmpipe.models.flow_matching import FlowMatching, FlowMatchingTask, optimal_pairs
from dgmpipe.models.planar import PlanarFlow, RadialFlow, RadialTask
from dgmpipe.models.storage import save_weights
from dgmpipe.models.zuko_flows import NeuralSplineFlow, NeuralSplineTask
from trainings import make_up, train_here

# On a parabola, far from the origin and on two scales.
POINTS = np.random.default_rng(0).normal(size=(1000, 2)) * [1, 0.1]
POINTS[:, 1] += POINTS[:, 0] ** 2
POINTS = [50, -3] + POINTS * [10, 0.2]
OTHERS = [
    kind for kind, of in KINDS.items() if of.family == "flow" and kind not in ("realnvp", "otflow")
]


# For work on one module one of zuko's stands for all.
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind == "maf" else [pytest.mark.slow]) for kind in OTHERS],
)
def test_a_flow_learns_points_of_ones_own(kind: str, tmp_path: Path) -> None:
    flow = train(kind, POINTS, tmp_path / kind, steps=60, batch_size=100, learning_rate=0.003)
    before, after = held_out_losses(tmp_path / kind)
    assert after < before - 0.02
    again = dgmpipe.load_model(tmp_path / kind)
    x = again.sample(50, seed=0)
    assert torch.equal(x, flow.sample(50, seed=0))
    # About the data's centre, which is nowhere near that of N(0, I).
    across, up = x.median(dim=0).values.tolist()
    assert 20 < across < 80
    assert -4 < up < -1
    assert torch.equal(dgmpipe.likelihood(again, x), flow.log_prob(x))


@pytest.mark.parametrize("objective", ["likelihood", "reverse_kl"])
def test_a_radial_flow_comes_nearer_to_the_moons_by_either_divergence(
    objective: str, tmp_path: Path
) -> None:
    block = {"kind": "radial", "objective": objective, "noise": 0.5, "num_layers": 4, "steps": 80}
    block |= {"learning_rate": 0.02, "held_out_size": 500, "standardised": True, "snapshots": 0}
    settings = KINDS["radial"].settings.model_validate(block)
    train_here("radial", settings, tmp_path / "model")
    before, after = held_out_losses(tmp_path / "model")
    assert after < before - 0.01


def test_the_reverse_divergence_is_that_of_a_flow_whose_density_is_known() -> None:
    # A flow that is almost the identity, so that the divergence is that of N(0, I) from the moons.
    flow = RadialFlow(1).double()
    nn.init.constant_(flow.layers[0].b, 0)
    settings = {"learning_rate": 0.0, "objective": "reverse_kl", "noise": 0.7}
    x = torch.zeros(4000, 2, dtype=torch.float64)
    loss = RadialTask(flow, settings).step(iter([x]), torch.Generator().manual_seed(0))["loss"]
    axis = torch.arange(-7, 7, 0.1, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_normal = -z.square().sum(dim=1) / 2 - np.log(2 * np.pi)
    terms = log_normal.exp() * (log_normal - MoonsDensity(0.7).log_prob(z))
    assert loss.item() == pytest.approx(terms.sum().item() * 0.01, abs=0.1)


def test_the_reverse_divergence_needs_a_known_density() -> None:
    block = {"kind": "planar", "objective": "reverse_kl", "data": "points.csv"}
    with pytest.raises(ValidationError, match="must have data: moons with objective: reverse_kl"):
        KINDS["planar"].settings.model_validate(block | {"steps": 1, "learning_rate": 0.1})


@pytest.mark.parametrize("strength", [3.0, 10.0])
def test_a_planar_flow_far_from_the_identity_is_inverted_to_rounding(strength: float) -> None:
    torch.manual_seed(0)
    flow = PlanarFlow(6).double()
    with torch.no_grad():
        for layer in flow.layers:
            layer.u.mul_(strength)
    z = torch.randn(1000, 2, dtype=torch.float64)
    x, log_det = flow(z)
    back, log_det_back = flow.inverse(x)
    assert log_det.abs().max() > 1
    torch.testing.assert_close(back, z, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-8)


def test_pairs_are_those_of_least_cost() -> None:
    stream = torch.Generator().manual_seed(0)
    x, z = (torch.randn(5, 2, generator=stream) for _ in range(2))

    def cost(order: tuple[int, ...]) -> float:
        return (x - z[list(order)]).square().sum().item()

    best = min(itertools.permutations(range(5)), key=cost)
    assert optimal_pairs(x, z).tolist() == list(best)


def test_a_thinner_base_is_the_same_flow_of_points_nearer_to_a_line() -> None:
    flow = NeuralSplineFlow(2, 8, 4, base_deviation=0.1).double()
    plain = NeuralSplineFlow(2, 8, 4).double()
    plain.layers.load_state_dict(flow.layers[1:].state_dict())
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, log_det = flow(z)
    expected, plain_log_det = plain(z * torch.tensor([1, 0.1]))
    torch.testing.assert_close(x, expected)
    torch.testing.assert_close(log_det, plain_log_det + np.log(0.1))
    torch.testing.assert_close(flow.inverse(x), (z, -log_det))
    assert flow.hidden_states(z).shape == (4, 20, 2)
    with pytest.raises(ValueError, match="base_deviation must be positive, not 0"):
        NeuralSplineFlow(base_deviation=0)


@pytest.mark.parametrize("scale", [None, [10.0, 0.2]])
def test_noise_of_the_training_is_on_the_scale_of_the_data(scale: list[float] | None) -> None:
    flow: Flow = NeuralSplineFlow(2, 8, 4)
    if scale:
        flow = Standardised(flow, deviation=torch.tensor(scale))
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    expected = negative_log_likelihood(flow, x + 0.3 * noise)
    if scale:
        expected = expected - torch.tensor(scale).log().sum()  # the training's is of what it maps
    task = NeuralSplineTask(flow, {"learning_rate": 0, "dequantisation": 0.3})
    loss = task.step(iter([x]), torch.Generator().manual_seed(0))["loss"]
    torch.testing.assert_close(loss, expected.detach())


def test_without_noise_in_the_training_none_is_drawn() -> None:
    task = NeuralSplineTask(NeuralSplineFlow(2, 8, 4), {"learning_rate": 0, "dequantisation": 0})
    stream, untouched = (torch.Generator().manual_seed(0) for _ in range(2))
    task.step(iter([torch.zeros(5, 2)]), stream)
    assert torch.equal(stream.get_state(), untouched.get_state())


@pytest.mark.parametrize("path", ["straight", "variance_preserving"])
@pytest.mark.parametrize("coupling", ["independent", "optimal"])
def test_the_velocity_is_compared_with_that_of_the_paths(coupling: str, path: str) -> None:
    flow = FlowMatching(4).double()
    for parameter in flow.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 3
    task = FlowMatchingTask(flow, {"learning_rate": 0.1, "coupling": coupling, "path": path})
    loss = task.step(iter([x]), torch.Generator().manual_seed(0))["loss"]
    noise = torch.Generator().manual_seed(0)
    z = torch.randn(50, 2, generator=noise, dtype=torch.float64)
    z = z[optimal_pairs(x, z)] if coupling == "optimal" else z
    angle = torch.rand(50, 1, generator=noise, dtype=torch.float64) * np.pi / 2
    turned = (angle.cos() * x - angle.sin() * z) * np.pi / 2
    velocity = x - z if path == "straight" else turned
    torch.testing.assert_close(loss, velocity.square().sum(dim=1).mean())


@pytest.mark.slow
def test_the_likelihood_of_a_diffusion_of_the_moons_is_a_density(tmp_path: Path) -> None:
    """It integrates to 1 whatever was learned, and comes nearer to the moons' by training."""
    block = {"kind": "flow_matching", "path": "variance_preserving", "noise": 0.3, "steps": 400}
    block |= {"learning_rate": 0.005, "learning_rate_decay": "cosine", "standardised": True}
    settings = KINDS["flow_matching"].settings.model_validate(
        block | {"width": 32, "held_out_size": 500, "snapshots": 0}
    )
    train_here("diffusion", settings, tmp_path / "model")
    flow = dgmpipe.load_model(tmp_path / "model").double()
    step = 0.05
    axes = (torch.arange(a, b, step, dtype=torch.float64) for a, b in ((-3.5, 4.5), (-3, 3.5)))
    x = torch.cartesian_prod(*axes)
    with torch.no_grad():
        log_prob = flow.log_prob(x)
        z, log_det = flow.inverse(x[::500])
        back, log_det_back = flow(z)
    assert log_prob.exp().sum().item() * step**2 == pytest.approx(1, abs=0.002)
    torch.testing.assert_close(back, x[::500], rtol=0, atol=1e-3)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-3)
    truth = MoonsDensity(0.3).log_prob(x)
    divergence = (truth.exp() * (truth - log_prob)).sum().item() * step**2
    assert 0 < divergence < 0.06
    # Of the same sum by draws of the moons, as the evaluation has it.
    entropy = -(truth.exp() * truth).sum().item() * step**2
    assert held_out_losses(tmp_path / "model")[1] - entropy == pytest.approx(divergence, abs=0.12)


def test_flow_matching_with_the_best_velocity_makes_a_normal_density() -> None:
    # Of N(0, I) to N(m, I): E[x − z | (1 − t) z + t x = y] is linear in y, and here m alone moves.
    flow = FlowMatching(4, num_steps=1).double()
    for parameter in flow.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        flow.velocity.layers[-1].bias.copy_(torch.tensor([2.0, -1.0]))
    x, log_det = flow(torch.zeros(1, 2, dtype=torch.float64))
    assert x.tolist() == [[2, -1]]
    assert log_det.tolist() == [0]


@pytest.mark.slow
def test_paths_of_constant_velocity_cost_no_more_than_they_must(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "flow", "flow_matching", width=4, evaluation_rk4_steps=2)
    flow = dgmpipe.load_model(folder)
    for parameter in flow.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        flow.velocity.layers[-1].bias.copy_(torch.tensor([2.0, -1.0]))
    save_weights(flow, folder / "model.safetensors")
    row = paths.row_of(str(folder))
    assert [row[name] for name in ("cost", "straight", "ratio", "least")] == pytest.approx(
        [5, 5, 1, 5], rel=1e-4
    )
    realnvp = make_up(tmp_path / "realnvp", "realnvp", num_layers=1, width=4)
    with pytest.raises(ValueError, match="is no continuous flow"):
        paths.row_of(str(realnvp))
