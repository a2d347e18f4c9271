"""Evaluation of flows and their figures, against flows whose every number is known."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from dgmpipe.data.moons import MoonsDensity
from dgmpipe.evaluation.flow_report import flow_report
from dgmpipe.evaluation.flows import (
    density_grid,
    energy_distance_to_normal,
    held_out_nll,
    inverse_error,
    kernel_density_kl,
    latent_gaussianity,
    path_straightness,
)
from dgmpipe.evaluation.yardsticks import joined_at
from dgmpipe.figures.figure_04 import figure_04
from dgmpipe.figures.figure_flow import figure_flow
from dgmpipe.models.flow import Flow, log_normal
from dgmpipe.models.otflow import OTFlow
from dgmpipe.models.realnvp import RealNVP

ENTROPY_OF_NORMAL = 1 + math.log(2 * math.pi)


class Affine(Flow):
    """x = scale · z + shift, a normal density."""

    def __init__(self, scale: float, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, z):
        return self.scale * z + self.shift, 2 * self.scale.log().expand(len(z))

    def inverse(self, x):
        return (x - self.shift) / self.scale, -2 * self.scale.log().expand(len(x))

    def hidden_states(self, z):
        return torch.stack([z, self(z)[0]])


AXIS = np.linspace(-3, 3, 241)
X, Y = np.meshgrid(AXIS, AXIS)


def _two_hills(deviation: float) -> np.ndarray:
    """Log density of two normal distributions around (-1, 0) and (1, 0)."""
    hills = [-((X - centre) ** 2 + Y**2) / (2 * deviation**2) for centre in (-1, 1)]
    return np.logaddexp(*hills)


def normal(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def test_held_out_nll_finds_the_divergence_of_two_normals():
    # KL(N(0, I) ‖ N(m, 4 I)) in two dimensions.
    expected = 2 * math.log(2) + (2 + 0.5**2) / 8 - 1
    result = held_out_nll(Affine(2.0, (0.5, 0.0)), normal(40_000), log_normal, batch_size=999)
    assert abs(result["kl"] - expected) < 4 * result["kl_standard_error"]
    cross_entropy = ENTROPY_OF_NORMAL + expected
    assert abs(result["nll"] - cross_entropy) < 4 * result["nll_standard_error"]
    assert 0 < result["nll_standard_error"] < 0.005
    assert 0 < result["kl_standard_error"] < 0.005


def test_the_truth_has_no_divergence_from_itself():
    result = held_out_nll(Affine(1.0), normal(1000), log_normal, batch_size=1000)
    assert result["kl"] == pytest.approx(0, abs=1e-6)
    assert result["kl_standard_error"] < 1e-6


def test_held_out_nll_does_not_depend_on_the_batch_size():
    flow, x = Affine(2.0), normal(100)
    whole, parts = (held_out_nll(flow, x, log_normal, batch_size=n)["nll"] for n in (100, 7))
    assert whole == pytest.approx(parts, rel=1e-6)


def test_density_grid_has_a_row_for_each_y():
    x_axis, y_axis = torch.linspace(-1, 2, 4), torch.linspace(-3, 3, 5)
    grid = density_grid(Affine(1.0, (2.0, 3.0)), x_axis, y_axis)
    assert grid.shape == (5, 4)
    for i, y in enumerate(y_axis):
        for j, x in enumerate(x_axis):
            expected = -0.5 * ((x - 2) ** 2 + (y - 3) ** 2) - math.log(2 * math.pi)
            torch.testing.assert_close(grid[i, j], expected)


def test_inverse_error_is_relative_and_falls_with_the_steps():
    class Off(Affine):
        def inverse(self, x):
            z, log_det = super().inverse(x)
            return 1.25 * z, log_det

    assert inverse_error(Off(2.0), normal(10)) == pytest.approx(0.25)
    assert inverse_error(RealNVP(), normal(100)) < 1e-6
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = OTFlow().double()
    coarse, fine = (inverse_error(flow, normal(100), num_steps=n) for n in (1, 4))
    assert coarse > 10 * fine > 0
    assert inverse_error(flow, normal(100)) == inverse_error(flow, normal(100), num_steps=8)


def test_energy_distance_is_the_one_by_brute_force():
    # E‖z − G‖ by a midpoint rule in polar coordinates, and all pairs one by one.
    z = 0.8 * normal(12).double() + torch.tensor([1.0, -2.0])
    radius = (torch.arange(2_000, dtype=torch.float64) + 0.5) / 200
    angle = (torch.arange(400, dtype=torch.float64) + 0.5) * 2 * math.pi / 400
    g = radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    weight = radius * torch.exp(-(radius**2) / 2) / 200 / 400
    to_normal = [((p - g).norm(dim=2) * weight[:, None]).sum().item() for p in z]
    pairs = [(z[i] - z[j]).norm().item() for i in range(12) for j in range(12) if i != j]
    expected = 2 * np.mean(to_normal) - np.mean(pairs) - math.sqrt(math.pi)
    assert energy_distance_to_normal(z) == pytest.approx(expected, abs=1e-5)


def test_energy_distance_to_normal_is_unbiased():
    values = np.array([energy_distance_to_normal(normal(10, seed)) for seed in range(2_000)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))


def test_latent_gaussianity_tells_a_perfect_flow_from_a_wrong_one():
    x = 2 * normal(500, seed=1)
    perfect, wrong = (
        latent_gaussianity(Affine(scale), x, torch.Generator().manual_seed(2), num_null=99)
        for scale in (2.0, 1.6)
    )
    assert perfect.pvalue > 0.05
    assert perfect.energy_distance < perfect.null_quantile
    assert wrong.pvalue == 0.01
    assert wrong.energy_distance > 3 * wrong.null_quantile
    assert wrong.null_quantile == perfect.null_quantile


@pytest.mark.slow
def test_a_kernel_density_estimate_comes_nearer_with_more_points():
    points, x = normal(1000, seed=1), normal(20_000, seed=2)
    few, many = (kernel_density_kl(points[:n], x, log_normal, noise=0.2) for n in (100, 1000))
    assert few["kl"] > 2 * many["kl"] > 4 * many["kl_standard_error"] > 0
    # With a bandwidth of 1 it is N(0, 2 I), nearly.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgmpipe.evaluation.flows.np.geomspace", lambda *_: np.array([5.0]))
        wide = kernel_density_kl(points, x, log_normal, noise=0.2)["kl"]
    assert wide == pytest.approx(math.log(2) - 1 / 2, abs=0.02)
    assert few == kernel_density_kl(points[:100], x, log_normal, noise=0.2)


class Turning(OTFlow):
    """The plane turns by an angle with constant speed: arcs instead of straight lines."""

    def __init__(self, angle: float, stretch: float = 0.0) -> None:
        super().__init__()
        self.angle, self.stretch = angle, stretch

    def hidden_states(self, z):
        t = torch.linspace(0, 1, self.num_steps + 1)[:, None]
        cos, sin = (self.angle * t).cos(), (self.angle * t).sin()
        x, y = z.T
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=2)
        return turned * (1 + self.stretch * t[..., None])

    def integrate(self, y, *, reverse, num_steps=None):
        speed = y.norm(dim=1) * (self.angle if self.angle else self.stretch)
        return super().integrate(y, reverse=reverse)._replace(transport=speed.square() / 2)


def test_straightness_of_arcs_and_of_straight_lines():
    z = normal(500)
    arcs = path_straightness(Turning(2.0), z, num_steps=64)
    # Arc over chord: a/2 / sin(a/2), of each path; at constant speed the cost is its square.
    excess = 1 / math.sin(1) - 1
    for name in ("path_excess_median", "path_excess_95", "path_excess_max"):
        assert arcs[name] == pytest.approx(excess, rel=1e-3)
    assert arcs["transport_cost_ratio"] == pytest.approx((1 + excess) ** 2, rel=1e-5)
    lines = path_straightness(Turning(0.0, stretch=3.0), z, num_steps=64)
    assert lines["path_excess_max"] == pytest.approx(0, abs=1e-5)
    assert lines["transport_cost_ratio"] == pytest.approx(1, abs=1e-5)


def test_the_cost_of_a_flows_own_paths_is_at_least_that_of_their_chords():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = OTFlow(num_steps=2)
    straightness = path_straightness(flow, normal(200), num_steps=32)
    assert straightness["transport_cost_ratio"] > 1
    low, high = straightness["path_excess_median"], straightness["path_excess_max"]
    assert 0 < low < straightness["path_excess_95"] < high
    assert flow.num_steps == 2


@pytest.mark.parametrize("deviation", [0.3, 0.5, 0.8])
def test_two_hills_are_joined_at_their_saddle(deviation: float) -> None:
    # Of equal hills the saddle is half way between; each is as high as it is with the other's tail.
    saddle = 2 * math.exp(-1 / (2 * deviation**2))
    top = np.exp(_two_hills(deviation)).max()
    joined = joined_at(_two_hills(deviation), _two_hills(0.2))
    assert joined == pytest.approx(saddle / top, rel=2e-3)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2, 0.3])
def test_moons_of_any_width_are_joined_where_their_half_circles_are(noise: float) -> None:
    axis = torch.arange(-2, 3, 0.02, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis).flip(1)
    values = MoonsDensity(noise).log_prob(points).view(len(axis), -1).numpy()
    joined = joined_at(values, values)
    # The middles of the half circles, (0, 1) and (1, -1/2).
    middles = (150, 100), (75, 150)
    for share, expected in ((0.99, True), (1.01, False)):
        regions, _ = ndimage.label(values >= values.max() + math.log(share * joined))
        one, other = (regions[row, column] for row, column in middles)
        assert (one == other != 0) == expected


@pytest.mark.filterwarnings("error")
def test_where_a_density_underflows_there_is_no_path() -> None:
    learned = _two_hills(0.5)
    expected = joined_at(learned, _two_hills(0.2))
    learned[np.abs(Y) > 2.5] = -np.inf
    assert joined_at(learned, _two_hills(0.2)) == pytest.approx(expected, rel=2e-3)
    learned[:, 120] = -np.inf
    assert joined_at(learned, _two_hills(0.2)) < 1e-5
    learned[:, 120:] = -np.inf
    assert joined_at(learned, _two_hills(0.2)) == 0


def test_what_is_one_hill_is_joined_at_its_top() -> None:
    hill = _two_hills(2.0)
    assert joined_at(_two_hills(0.2), hill) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: held_out_nll(Affine(1.0), normal(1), log_normal, batch_size=5), "N at least 2"),
        (lambda: held_out_nll(Affine(1.0), normal(5), log_normal, batch_size=0), "at least 1"),
        (lambda: density_grid(Affine(1.0), normal(3), torch.zeros(3)), "one-dimensional"),
        (lambda: inverse_error(Affine(1.0), normal(3), num_steps=4), "not for a Affine"),
        (lambda: energy_distance_to_normal(torch.zeros(1, 2)), "at least 2"),
        (lambda: energy_distance_to_normal(torch.zeros(9, 3)), r"shape \(N, 2\)"),
        (
            lambda: latent_gaussianity(Affine(1.0), normal(9), torch.Generator(), num_null=0),
            "num_null",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_figure_04_marks_the_least_value():
    (axes,) = figure_04(-4.0).axes
    curve, *_, mark = axes.lines
    theta, objective = mark.get_xydata()[0]
    assert theta == 0.25
    assert objective == pytest.approx(curve.get_ydata().min(), abs=1e-4)
    with pytest.raises(ValueError, match="no minimiser"):
        figure_04(0)


def test_figure_flow_draws_its_arrays():
    rng = np.random.default_rng(0)
    arrays = {
        "batch": rng.normal(size=(20, 2)),
        "samples": rng.normal(size=(30, 2)),
        "x_axis": np.linspace(-1, 2, 9),
        "y_axis": np.linspace(-1, 1, 7),
        "log_density": rng.normal(size=(7, 9)),
        "true_log_density": rng.normal(size=(7, 9)),
        "hidden_states": rng.normal(size=(5, 6, 2)),
        "latent": np.vstack([rng.uniform(-1, 1, size=(99, 2)), [[9.0, 0.0]]]),
        "nll": 0.5,
        "nll_standard_error": 0.01,
        "entropy": 0.28923,
    }
    figure = figure_flow(arrays, title="a flow")
    assert "100 data points in the latent space\n(1 outside)" in figure.axes[3].get_title()
    assert "0.5000 ± 0.0100" in figure.get_supxlabel()
    with pytest.raises(ValueError, match="hidden_states"):
        figure_flow({**arrays, "hidden_states": np.zeros((5, 2))}, title="a flow")


@pytest.mark.slow
def test_a_flow_in_another_precision_gets_the_same_report():
    torch.manual_seed(0)
    flow = RealNVP(width=8)
    settings = {"noise": 0.05, "seed": 0, "num_held_out": 300, "resolution": 30, "num_latent": 100}
    arrays, numbers = flow_report(flow, **settings)
    precise_arrays, precise = flow_report(flow.double(), **settings)
    assert precise.pop("inverse_error") < 1e-14 < numbers.pop("inverse_error")
    assert numbers == pytest.approx(precise, rel=1e-3, abs=1e-3)
    for name, values in arrays.items():
        precise_values = precise_arrays[name].double()
        torch.testing.assert_close(values.double(), precise_values, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_report_of_ot_flow_has_its_errors_in_both_precisions_and_its_paths():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = OTFlow(width=8)
    settings = {"noise": 0.2, "seed": 0, "num_held_out": 300, "resolution": 20, "num_latent": 100}
    _, numbers = flow_report(flow, **settings)
    assert numbers["inverse_error_rk4_8"] == numbers["inverse_error"]
    assert numbers["inverse_error_rk4_64_double"] < 1e-9 < numbers["inverse_error_rk4_64"] < 1e-5
    assert numbers["transport_cost_ratio"] > 1
    assert numbers["path_excess_median"] > 0
    # The yardstick is of the data alone.
    _, others = flow_report(RealNVP(width=8), **settings)
    assert "path_excess_median" not in others
    yardstick = {name: value for name, value in numbers.items() if name.startswith("kde_")}
    assert yardstick.items() <= others.items()
    assert 0 < yardstick["kde_2000_kl"] < yardstick["kde_500_kl"]
