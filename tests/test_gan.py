"""The GANs: the discriminator's shape, and what a training does and does not change."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread, load_mnist
from dgmpipe.evaluation.samples import interpolate, sample_images
from dgmpipe.models import Discriminator, Generator, load_model
from dgmpipe.models.dcgan import DCGANTask
from dgmpipe.models.gan import GAN, GANTask
from dgmpipe.models.wgan import WGANGPTask, WGANTask
from dgmpipe.statistics.energy import energy_distance, energy_test
from dgmpipe.streams import random_stream
from trainings import settings_of, train_here

CONFIGS: dict[type[GANTask], dict[str, Any]] = {
    DCGANTask: {
        "discriminator_learning_rate": 2e-4,
        "generator_learning_rate": 3e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
        "fresh_latent_points": True,
    },
    WGANTask: {
        "discriminator_learning_rate": 5e-4,
        "generator_learning_rate": 4e-4,
        "critic_steps": 5,
        "clip": 0.01,
        "clip_batch_norm": True,
        "clip_before_update": True,
    },
}
SIZE = {"latent_dim": 2, "width": 4}


def _batches(images: Tensor, size: int = 8) -> Iterator[Tensor]:
    """True images in double precision, batch by batch and again from the start."""
    while True:
        for batch in images.split(size):
            if len(batch) == size:
                yield to_float(batch).double()


def _gan() -> GAN:
    torch.manual_seed(1)
    return GANTask.build(SIZE).double()


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_the_discriminator_has_the_layers_of_equation_33() -> None:
    discriminator = Discriminator()
    assert sum(p.numel() for p in discriminator.parameters()) == 36_705
    assert discriminator(torch.rand(5, 1, 28, 28)).shape == (5,)


def test_the_discriminator_sees_images_scaled_to_plus_minus_one() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(3).eval()
    first: nn.Conv2d = discriminator.layers[0]
    seen = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator(torch.linspace(0, 1, 784).view(1, 1, 28, 28))
    assert (seen[0].min(), seen[0].max()) == (-1, 1)


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (2, 3, 28, 28), (2, 1, 28, 27)])
def test_the_discriminator_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must have shape \(N, 1, 28, 28\)"):
        Discriminator()(torch.zeros(shape))


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        Discriminator(0)


def _largest(layers: nn.Sequential, *, of_batch_norms: bool) -> float:
    """The largest absolute value among the parameters of a critic's batch norms, or the others."""
    chosen = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d) == of_batch_norms]
    return max(p.abs().max().item() for layer in chosen for p in layer.parameters())


@pytest.mark.parametrize("before_update", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_critic_is_clipped_as_the_config_says(
    batch_norm: bool, before_update: bool, images: Tensor
) -> None:
    choices = {"clip_batch_norm": batch_norm, "clip_before_update": before_update}
    task = WGANTask(_gan(), CONFIGS[WGANTask] | choices)
    # RMSprop, whose α is 0.99, moves a parameter by at most 10 times its learning rate.
    clip, update = 0.01, 10 * CONFIGS[WGANTask]["discriminator_learning_rate"]
    seen: list[dict[bool, float]] = []  # what the critic has each time that it is evaluated
    task.model.discriminator.register_forward_pre_hook(
        lambda critic, _: seen.append(
            {kind: _largest(critic.layers, of_batch_norms=kind) for kind in (False, True)}
        )
    )
    batches, noise = _batches(images), _noise()
    task.step(batches, noise)
    task.step(batches, noise)
    of_a_step = 2 * task.critic_steps + 1  # generated and true images, then the generator's step
    assert len(seen) == 2 * of_a_step
    for *in_critic_steps, in_generator_step in (seen[:of_a_step], seen[of_a_step:]):
        just_clipped = in_critic_steps if before_update else [in_generator_step]
        for values in just_clipped:
            assert values[False] <= clip
            assert (values[True] <= clip) if batch_norm else (values[True] > 0.5)
        assert in_generator_step[False] <= clip + update
        assert (in_generator_step[False] > clip) == before_update


@pytest.mark.parametrize("fresh", [True, False])
def test_the_generators_latent_points_are_new_if_the_config_says_so(
    fresh: bool, images: Tensor
) -> None:
    task = DCGANTask(_gan(), CONFIGS[DCGANTask] | {"fresh_latent_points": fresh})
    seen: list[Tensor] = []
    task.model.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    noise, same = _noise(), _noise()
    task.step(_batches(images), noise)
    drawn = [torch.randn(8, 2, generator=same).double() for _ in range(1 + fresh)]
    assert torch.equal(torch.stack(seen), torch.stack(drawn))
    assert torch.equal(noise.get_state(), same.get_state())


@pytest.mark.parametrize("q", [1, 2, 5])
@pytest.mark.parametrize("task_type", CONFIGS)
def test_a_gan_of_any_latent_dimension_is_trained_and_evaluated(
    task_type: type[GANTask], q: int, images: Tensor
) -> None:
    torch.manual_seed(1)
    gan = GANTask.build(SIZE | {"latent_dim": q}).double()
    task, before = task_type(gan, CONFIGS[task_type]), copy.deepcopy(gan)
    task.step(_batches(images), _noise())
    for name in ("generator.layers.0.weight", "discriminator.layers.0.weight"):
        assert not torch.equal(before.get_parameter(name), gan.get_parameter(name))
    generator = gan.float().eval().generator
    z = torch.randn(20, q, generator=_noise())
    samples, line = sample_images(generator, 20, _noise()), interpolate(generator, 5)
    with torch.no_grad():
        torch.testing.assert_close(samples, generator(z)[:, 0])
        ends = torch.tensor([[-1.0], [1.0]]).expand(2, q)
        torch.testing.assert_close(line[[0, -1]], generator(ends)[:, 0])
    test = energy_test(samples.flatten(1), to_float(images[:20]).flatten(1), num_permutations=9)
    assert test.pvalue == 0.1  # noise is told from digits by every permutation


def test_a_discriminator_that_is_sure_gives_finite_losses(images: Tensor) -> None:
    task = DCGANTask(_gan(), CONFIGS[DCGANTask])
    with torch.no_grad():
        task.model.discriminator.layers[-1].bias += 1e6
    losses = task.step(_batches(images), _noise())
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("kind", [DCGANTask, WGANTask])
def test_a_step_moves_every_parameter_of_both_networks(kind: type[GANTask], images: Tensor) -> None:
    task = kind(_gan(), CONFIGS[kind])
    before = copy.deepcopy(task.model)
    task.step(_batches(images), _noise())
    for (name, parameter), old in zip(
        task.model.named_parameters(), before.parameters(), strict=True
    ):
        assert not torch.equal(parameter, old), name
        assert parameter.requires_grad, name


def test_the_evaluation_is_the_energy_distance_of_generated_from_held_out_images(
    images: Tensor,
) -> None:
    task = DCGANTask(GANTask.build(SIZE), CONFIGS[DCGANTask])
    task.model.eval()
    held_out = to_float(images[:100])
    with torch.no_grad():
        merit = task.evaluate(held_out, _noise())
        generated = task.model.generator(torch.randn(100, 2, generator=_noise()))
    assert merit == {"energy_distance": pytest.approx(energy_distance(generated, held_out).value)}


def test_a_gan_starts_from_the_trained_generator_it_is_given(
    image_folder: Path, tmp_path: Path
) -> None:
    common = {
        "steps": 2, "batch_size": 16, "evaluate_every": 1, "checkpoint_every": 10,
        "held_out_size": 50, **SIZE,
    }  # fmt: skip
    dcgan = common | CONFIGS[DCGANTask] | {"kind": "dcgan"}
    blocks = {
        "vae": common | {"kind": "vae"},
        "dcgan_vae": dcgan | {"start": "vae"},
        "dcgan_random": dcgan,
    }
    for name, block in blocks.items():
        settings = settings_of(block)
        start = settings.start and tmp_path / settings.start
        train_here(name, settings, tmp_path / name, images=image_folder, start=start)
    starts = {
        name: pd.read_csv(tmp_path / name / "history.csv")["energy_distance"][0]
        for name in ("dcgan_vae", "dcgan_random")
    }
    vae = load_model(tmp_path / "vae")
    fresh = GAN(vae.generator, Discriminator(4))
    task = DCGANTask(fresh.eval(), CONFIGS[DCGANTask])
    test, _ = load_mnist(image_folder, "t10k")
    held_out = to_float(test[evenly_spread(50, len(test))])
    with torch.no_grad():
        expected = task.evaluate(held_out, random_stream(0, "evaluation"))["energy_distance"]
    assert starts["dcgan_vae"] == pytest.approx(expected)
    assert starts["dcgan_random"] != pytest.approx(expected)
    trained = load_model(tmp_path / "dcgan_vae")
    assert isinstance(trained.generator, Generator)
    assert not trained.training


def test_the_gradient_penalty_is_that_of_a_critic_whose_slopes_are_known(
    images: Tensor,
) -> None:
    """Of f(x) = s Σ x the slope is s √784 everywhere, so that the penalty is λ (28 s − 1)²."""
    task = WGANGPTask(_gan(), CONFIGS[WGANTask] | {"penalty": 3, "beta_1": 0.0, "beta_2": 0.9})

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x.sum(dim=(1, 2, 3))

    task.model.discriminator = Sum()
    true = to_float(images[:4]).double()
    loss = task.critic_loss(torch.tensor(0.5).double(), true, true.flip(0), _noise())
    assert loss.item() == pytest.approx(-0.5 + 3 * (28 * 0.2 - 1) ** 2)
    (slope,) = torch.autograd.grad(loss, task.model.discriminator.scale)
    assert slope.item() == pytest.approx(2 * 3 * (28 * 0.2 - 1) * 28)


def test_a_gradient_penalty_brings_the_critics_slopes_to_one(images: Tensor) -> None:
    torch.manual_seed(1)
    model = WGANGPTask.build(SIZE)
    settings = {"penalty": 10, "beta_1": 0.0, "beta_2": 0.9, "critic_steps": 5}
    task = WGANGPTask(model, CONFIGS[WGANTask] | settings)
    noise = _noise()

    def slope() -> float:
        x = to_float(images[:50]).requires_grad_()
        (gradient,) = torch.autograd.grad(model.discriminator(x).sum(), x)
        return gradient.flatten(1).norm(dim=1).mean().item()

    before = slope()
    batches = (batch.float() for batch in _batches(images, 16))
    for _ in range(20):
        task.step(batches, noise)
    assert before < 0.5
    assert 0.7 < slope() < 1.5
