"""Flow matching on images: paths and solvers against closed forms, and trainings of both kinds."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor, nn

import dgmpipe
from dgmpipe.config import read_config
from dgmpipe.errors import UserError
from dgmpipe.evaluation.samples import evaluated_images, show_images
from dgmpipe.evaluation.solvers import evaluate_solvers
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.image_flow import ImageFlow
from dgmpipe.models.latent_flow import Codes, LatentFlow
from dgmpipe.models.matching import PATHS, SOLVERS, integrate, matching_loss, spread_times
from dgmpipe.models.pixel_flow import PixelFlow, PixelFlowTask
from dgmpipe.models.unet import UNet
from dgmpipe.plan.released import RELEASED
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.energy import energy_distance
from dgmpipe.streams import random_stream
from dgmpipe.training.data import dataset_from
from dgmpipe.training.run import train_model
from trainings import settings_of, train_here

ROOT = Path(__file__).parent.parent


def _noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_from_a_latent_point_to_its_datum(path: str) -> None:
    x, z = torch.randn(2, 5, 3, generator=_noise(), dtype=torch.float64)
    for t, end in ((0.0, z), (1.0, x)):
        torch.testing.assert_close(PATHS[path](torch.tensor(t).double()).point(x, z), end)


@pytest.mark.parametrize("path", PATHS)
def test_the_velocity_of_a_path_is_its_derivative(path: str) -> None:
    x, z = torch.randn(2, 3, generator=_noise(), dtype=torch.float64)
    for t in torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64):
        derivative = torch.autograd.functional.jacobian(lambda s: PATHS[path](s).point(x, z), t)
        torch.testing.assert_close(PATHS[path](t).velocity(x, z), derivative)


def test_the_points_of_a_path_have_the_moments_that_its_name_says() -> None:
    x, z = torch.randn(2, 200_000, generator=_noise(), dtype=torch.float64)
    t = torch.tensor(0.4, dtype=torch.float64)
    preserving, straight = (PATHS[path](t) for path in ("variance_preserving", "straight"))
    assert preserving.point(x, z).var().item() == pytest.approx(1, abs=0.02)
    assert straight.point(x, z).var().item() == pytest.approx(0.4**2 + 0.6**2, abs=0.01)
    # Of data at m with deviation s, the mean is α m and the variance α² s² + σ².
    found = straight.point(3 + 0.5 * x, z)
    assert found.mean().item() == pytest.approx(1.2, abs=0.01)
    assert found.var().item() == pytest.approx(0.4**2 * 0.25 + 0.6**2, abs=0.01)


MEAN, DEVIATION = 2.0, 0.5


def _best(path: str, y: Tensor, t: Tensor) -> Tensor:
    """The velocity E[dx_t/dt | x_t = y] of N(0, 1) to N(m, s²): that of their joint Gaussian."""
    at = PATHS[path](t.view(-1, 1))
    variance = (at.alpha * DEVIATION) ** 2 + at.sigma**2
    covariance = at.alpha * at.alpha_slope * DEVIATION**2 + at.sigma * at.sigma_slope
    return at.alpha_slope * MEAN + covariance / variance * (y - at.alpha * MEAN)


@pytest.mark.parametrize("path", PATHS)
def test_the_best_velocity_for_normal_data_leads_to_them(path: str) -> None:
    """The flow of N(0, 1) to N(m, s²) that keeps the order of points is z ↦ m + s z."""
    z = torch.randn(50, 1, generator=_noise(), dtype=torch.float64)
    x = integrate(lambda y, t: _best(path, y, t), z, "rk4", 256)
    torch.testing.assert_close(x, MEAN + DEVIATION * z, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_no_velocity_has_a_smaller_loss_than_the_best(path: str) -> None:
    z, x = torch.randn(2, 20_000, 1, generator=_noise(), dtype=torch.float64)
    x, t = MEAN + DEVIATION * x, spread_times(len(x), _noise(1)).double()[torch.randperm(len(x))]

    def loss(change: float) -> float:
        def velocity(y: Tensor, t: Tensor) -> Tensor:
            return _best(path, y, t) + change * y.sin()

        return matching_loss(velocity, path, x, z, t).item()

    assert loss(0) < min(loss(0.2), loss(-0.2))
    # What is left is the variance of dx_t/dt given x_t: s² (α'σ − ασ')² over that of x_t, by t.
    at = PATHS[path]((torch.arange(1000).double() + 0.5) / 1000)
    turn = (at.alpha_slope * at.sigma - at.alpha * at.sigma_slope) * DEVIATION
    least = (turn**2 / ((at.alpha * DEVIATION) ** 2 + at.sigma**2)).mean().item()
    assert loss(0) == pytest.approx(least, rel=0.05)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_has_its_order_and_takes_exactly_so_many_evaluations(solver: str) -> None:
    calls = 0

    def velocity(y: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return t[:, None] * y  # whose solution is z exp(t²/2)

    def error(evaluations: int) -> float:
        nonlocal calls
        calls = 0
        end = integrate(velocity, torch.ones(1, 1).double(), solver, evaluations).item()
        assert calls == evaluations
        return abs(end - math.exp(0.5))

    order = SOLVERS[solver].evaluations
    assert error(32) / error(64) == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize(("solver", "evaluations"), [("heun", 3), ("rk4", 2), ("euler", 0)])
def test_a_part_of_a_step_is_refused(solver: str, evaluations: int) -> None:
    with pytest.raises(ValueError, match=f"{solver} takes a multiple of"):
        integrate(lambda y, t: y, torch.ones(1, 1), solver, evaluations)
    with pytest.raises(ValidationError, match="evaluations"):
        _settings(solver=solver, evaluations=evaluations)


def test_times_are_uniform_and_spread_evenly() -> None:
    t = spread_times(64, _noise())
    assert t.min() >= 0
    assert t.max() < 1
    assert sorted((64 * t).long().tolist()) == list(range(64))
    firsts = torch.stack([spread_times(4, noise)[0] for noise in [_noise()] for _ in range(4000)])
    assert firsts.histc(4, 0, 1).div(4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)


def _settings(kind: str = "pixel_flow", **changes: Any) -> Any:
    block = {
        "kind": kind, "steps": 30, "batch_size": 32, "learning_rate": 0.002, "evaluations": 4,
        "evaluate_every": 15, "held_out_size": 40, "snapshots": 1, "average": 0.5,
    }  # fmt: skip
    return settings_of(block | ({"width": 8} if kind == "pixel_flow" else {}) | changes)


def test_the_u_net_has_the_weights_that_it_says_and_no_more_than_300_000() -> None:
    def block(c: int) -> int:
        return 2 * (9 * c * c + c) + 4 * c + 65 * c

    weights = (
        33 * 64 + 65 * 64  # the time
        + 17 * 32 + 2 * block(32) + 2 * block(64)
        + (9 * 32 + 1) * 64 + 64 * 16 * 32 + 32  # to a quarter and back
        + 2 * 32 + 32 * 16 + 1 + 65  # to the image
    )  # fmt: skip
    assert sum(p.numel() for p in UNet().parameters()) == weights == 256_706 <= 300_000


def test_each_pixel_and_the_time_have_a_say_in_the_velocity() -> None:
    torch.manual_seed(0)
    network = UNet(8).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    y = torch.randn(1, 1, 28, 28, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(y, torch.full((1,), 0.3).double())[0, 0, 14, 14], y)
    assert (slope != 0).float().mean() > 0.9
    early, late = (network(y, torch.full((1,), t).double()) for t in (0.3, 0.4))
    assert (early - late).abs().max() > 1e-3


def test_an_untrained_flow_of_pixels_stands_still() -> None:
    z = torch.randn(5, 784, generator=_noise())
    expected = ((z + 1) / 2).clamp(0, 1).view(-1, 1, 28, 28)
    torch.testing.assert_close(PixelFlow(8)(z), expected)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """The folder of a flow of pixels after a short training."""
    folder = tmp_path_factory.mktemp("pixels") / "model"
    train_here("pixels", _settings(), folder, images=image_folder)
    return folder


def _history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


def test_a_training_on_pixels_learns_and_comes_back_from_its_files(pixels: Path) -> None:
    history = _history(pixels)
    assert history["held_out_loss"].iloc[-1] < 0.9 * history["held_out_loss"].iloc[0]
    flow = dgmpipe.load_model(pixels)
    assert isinstance(flow, PixelFlow)
    assert (flow.solver, flow.evaluations) == ("heun", 4)
    images = dgmpipe.sample(pixels, 6, seed=1)
    assert images.shape == (6, 1, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, flow.sample(6, seed=1))
    assert not torch.equal(images, flow.sample(6, seed=2))


def test_a_flow_of_pixels_is_evaluated_as_other_generators_are(
    pixels: Path, image_folder: Path
) -> None:
    subject = Subject(0, {}, pixels, image_folder)
    assert evaluated_images(subject, 7).shape == (7, 28, 28)
    shown = show_images(subject, num_images=4, interpolation_steps=3)["arrays"]
    assert {name: array.shape for name, array in shown.items()} == {"samples": (4, 28, 28)}


def test_each_solver_is_measured_at_its_numbers_of_evaluations(
    pixels: Path, image_folder: Path
) -> None:
    writers = {"length": 5, "strata": 2}
    subject = Subject(0, {}, pixels, image_folder, RELEASED / "classifier/seed_0", writers)
    found = evaluate_solvers(subject, num_images=60, num_transported=30, evaluations=[2, 3, 4])
    table, numbers = found["table"].reset_index(), found["numbers"]
    ways = list(zip(table["solver"], table["evaluations"], strict=True))
    assert ways == [
        *(("euler", 2), ("euler", 3), ("euler", 4)),
        *(("heun", 2), ("heun", 4), ("rk4", 4)),
    ]
    for row in table.to_dict("records"):
        for measure in ("energy_distance", "wasserstein_debiased", "rejected"):
            assert numbers[f"{measure}_{row['solver']}_{row['evaluations']}"] == row[measure]
    # The same latent points for all: the distance of one way is that of its own images.
    flow = dgmpipe.load_model(pixels)
    z = torch.randn(60, flow.latent_dim, generator=random_stream(0, "solvers"))
    with torch.no_grad():
        images = flow(z, "heun", 4).squeeze(1)
    test = subject.intensities("t10k")
    expected = energy_distance(images, test, y_clusters=Clusters.in_order(len(test), **writers))
    assert numbers["energy_distance_heun_4"] == pytest.approx(expected.value, rel=1e-5)
    judge = dgmpipe.load_model(RELEASED / "classifier/seed_0")
    with torch.no_grad():
        rejected = judge(images[:, None]).argmax(1) == 10
    assert numbers["rejected_heun_4"] == pytest.approx(rejected.double().mean().item())


@pytest.mark.parametrize("path", PATHS)
def test_a_step_in_bfloat16_is_nearly_that_in_single_precision(path: str, images: Tensor) -> None:
    losses = []
    for enabled in (False, True):
        settings = _settings(path=path).model_dump()
        torch.manual_seed(0)
        task = PixelFlowTask(PixelFlowTask.build(settings), settings)
        batch = images[:32].unsqueeze(1) / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for _ in range(3):
                loss = task.step(iter([batch]), _noise(3))["loss"]
        losses.append(loss)
    assert losses[0].dtype == losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0)


def test_images_of_another_size_and_in_colour_can_be_learned() -> None:
    settings = _settings().model_dump() | {"image_shape": [3, 16, 20]}
    task = PixelFlowTask(PixelFlowTask.build(settings), settings)
    x = torch.rand(8, 3, 16, 20, generator=_noise())
    assert task.step(iter([x]), _noise())["loss"].isfinite()
    assert isinstance(task.model, ImageFlow)
    assert task.model.eval().sample(2, seed=0).shape == (2, 3, 16, 20)


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> tuple[Path, Path]:
    """The folders of a VAE with three dimensions and of a flow of its codes."""
    folder = tmp_path_factory.mktemp("codes")
    size = {"latent_dim": 3, "width": 4}
    vae = settings_of({"kind": "vae", "steps": 40, "held_out_size": 40, "snapshots": 0} | size)
    train_here("vae", vae, folder / "vae", images=image_folder)
    changes = {"start": "vae", "velocity_width": 16, "steps": 60, "evaluate_every": 60} | size
    settings = _settings("latent_flow", learning_rate=0.02, **changes)
    train_model(
        "codes",
        settings,
        dataset_from(settings, image_folder, folder / "vae"),
        seed=0,
        device=torch.device("cpu"),
        folder=folder / "flow",
        checkpoints=folder / "checkpoints",
        start=folder / "vae",
    )
    return folder / "vae", folder / "flow"


def test_codes_are_draws_of_the_encoder_for_the_images_of_their_split(
    latent: tuple[Path, Path], image_folder: Path, images: Tensor
) -> None:
    vae = dgmpipe.load_model(latent[0])
    codes, shown = Codes(image_folder, latent[0]).held_out(len(images), 0, torch.device("cpu"))
    torch.testing.assert_close(shown[:, 0], images / 255)
    posterior = vae.encoder(shown)
    score = (codes - posterior.mean) / (posterior.log_variance / 2).exp()
    assert score.mean().item() == pytest.approx(0, abs=0.2)
    assert score.std().item() == pytest.approx(1, abs=0.1)


def test_a_flow_of_codes_learns_and_keeps_the_generator_of_its_vae(
    latent: tuple[Path, Path],
) -> None:
    history = _history(latent[1])
    assert history["held_out_loss"].iloc[-1] < 0.9 * history["held_out_loss"].iloc[0]
    vae, flow = (dgmpipe.load_model(folder) for folder in latent)
    assert isinstance(flow, LatentFlow)
    for name, tensor in vae.generator.state_dict().items():
        torch.testing.assert_close(flow.generator.state_dict()[name], tensor, msg=name)
    z = torch.randn(4, 3, generator=_noise())
    ends = integrate(flow.velocity_at, z, "heun", 4)
    torch.testing.assert_close(flow(z), vae.generator(ends))
    assert flow.sample(2, seed=0).shape == (2, 1, 28, 28)


def test_a_flow_of_codes_starts_from_a_vae() -> None:
    blocks = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))

    def refused(**block: Any) -> str:
        given = {"kind": "latent_flow", "steps": 1, "batch_size": 8} | block
        config = blocks | {"models": blocks["models"] | {"codes": given}}
        with pytest.raises(UserError) as error:
            read_config(config)
        return str(error.value)

    assert "key 'start' is missing at models.codes" in refused()
    assert "starts from dcgan_random, which has no encoder; name a VAE" in refused(
        start="dcgan_random"
    )
    assert "models.codes.latent_dim must be 2, as models.vae.latent_dim is" in refused(
        start="vae", latent_dim=3
    )
    pixels = refused(kind="pixel_flow", start="vae", width=8)
    assert "cannot start from vae: only a VAE or a GAN can" in pixels
