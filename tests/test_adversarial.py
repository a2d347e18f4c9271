"""The GAN whose choices are settings: formulas, optima, and agreement with the paper's kinds."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.data.batches import to_float
from dgmpipe.files import write_json
from dgmpipe.models.adversarial import (
    CONSTRAINTS,
    OBJECTIVES,
    AdversarialTask,
    extragradient_step,
)
from dgmpipe.models.dcgan import DCGANTask
from dgmpipe.models.gan import GAN, GANTask
from dgmpipe.models.storage import load_model, save_weights
from dgmpipe.models.wgan import WGANGPTask, WGANTask
from dgmpipe.training.options import Average
from trainings import settings_of

RATES = {"discriminator_learning_rate": 2e-4, "generator_learning_rate": 3e-4}
WGAN = {
    **{"critic_steps": 5, "clip": 0.01, "clip_batch_norm": True, "clip_before_update": True},
    **RATES,
}


def _settings(**choices: Any) -> dict[str, Any]:
    block = {"kind": "gan", "steps": 9, "latent_dim": 3, "width": 4, **RATES, **choices}
    return settings_of(block).model_dump()


def _batches(images: Tensor, size: int = 8) -> Iterator[Tensor]:
    while True:
        for batch in images.split(size):
            if len(batch) == size:
                yield to_float(batch).double()


def _task(**choices: Any) -> AdversarialTask:
    settings = _settings(**choices)
    torch.manual_seed(1)
    return AdversarialTask(AdversarialTask.build(settings).double(), settings)


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(2)


SIGMOID: dict[str, Any] = {
    "saturating": (
        lambda d, e: -(d.log().mean() + (1 - e).log().mean()),
        lambda e: (1 - e).log().mean(),
    ),
    "non_saturating": (
        lambda d, e: -(d.log().mean() + (1 - e).log().mean()),
        lambda e: -e.log().mean(),
    ),
}
PLAIN: dict[str, Any] = {
    "least_squares": (
        lambda t, g: 0.5 * ((t - 1) ** 2).mean() + 0.5 * (g**2).mean(),
        lambda g: 0.5 * ((g - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda t, g: (
            torch.stack([(1 - v).clamp(min=0) for v in t]).mean()
            + torch.stack([(1 + v).clamp(min=0) for v in g]).mean()
        ),
        lambda g: -g.mean(),
    ),
    "wasserstein": (lambda t, g: t.mean() - g.mean(), lambda g: g.mean()),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_is_its_formula(name: str) -> None:
    true, generated = torch.randn(2, 20, generator=_noise()).double()
    if name in SIGMOID:
        critic, generator = SIGMOID[name]
        expected = critic(true.sigmoid(), generated.sigmoid()), generator(generated.sigmoid())
    else:
        critic, generator = PLAIN[name]
        expected = critic(true, generated), generator(generated)
    objective = OBJECTIVES[name]
    torch.testing.assert_close(objective.critic(true, generated, 0.0), expected[0])
    torch.testing.assert_close(objective.generator(generated), expected[1])


# Of two places, at which the data have 2 of 10 images and 8, and the generator 6 and 4.
TRUE, GENERATED = [0] * 2 + [1] * 8, [0] * 6 + [1] * 4


def _best_critic(name: str, smoothing: float) -> tuple[Tensor, float]:
    values = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = OBJECTIVES[name].critic(values[TRUE], values[GENERATED], smoothing)
        found.backward()
        return found

    optimizer.step(loss)
    return values.detach(), loss().item()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_best_critic_is_the_ratio_of_the_densities(smoothing: float) -> None:
    p, q = torch.tensor([0.2, 0.8]).double(), torch.tensor([0.6, 0.4]).double()
    expected = (1 - smoothing) * p / (p + q)
    for name in ("saturating", "non_saturating"):
        values, loss = _best_critic(name, smoothing)
        torch.testing.assert_close(values.sigmoid(), expected, rtol=0, atol=1e-4)
        if not smoothing:
            divergence = ((p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log()) / 2).sum()
            assert loss == pytest.approx(2 * math.log(2) - 2 * divergence.item())
    values, _ = _best_critic("least_squares", smoothing)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-4)


def test_the_best_hinge_is_what_the_distributions_share() -> None:
    """It is at ±1, where there is more of the one or of the other."""
    critic = OBJECTIVES["hinge"].critic
    best = torch.tensor([-1.0, 1.0]).double()
    least = critic(best[TRUE], best[GENERATED], 0.0).item()
    assert least == pytest.approx(2 * (0.2 + 0.4))
    for other in best + torch.randn(100, 2, generator=_noise()).double():
        assert critic(other[TRUE], other[GENERATED], 0.0).item() > least


def _duel(step: Any, points: int = 300) -> float:
    """Distance from the equilibrium of min over x, max over y of x y, from (1, 1)."""
    x, y = (nn.Parameter(torch.ones(())) for _ in range(2))
    step([torch.optim.SGD([x], lr=0.3), torch.optim.SGD([y], lr=0.3)], x, y, points)
    return math.hypot(x.item(), y.item())


def test_the_extragradient_finds_the_equilibrium_that_gradients_circle() -> None:
    def ahead(optimizers: Any, x: Tensor, y: Tensor, steps: int) -> None:
        def set_gradients() -> None:
            x.grad, y.grad = y.detach().clone(), -x.detach().clone()

        for _ in range(steps):
            extragradient_step(optimizers, set_gradients)

    def alternating(optimizers: Any, x: Tensor, y: Tensor, steps: int) -> None:
        for _ in range(steps):
            x.grad = y.detach().clone()
            optimizers[0].step()
            y.grad = -x.detach().clone()
            optimizers[1].step()

    assert _duel(ahead) < 1e-3
    assert _duel(alternating) > 0.7


def test_a_training_with_the_extragradient_moves_both_networks(images: Tensor) -> None:
    task = _task(optimizer="extragradient")
    before = copy.deepcopy(task.model)
    losses = task.step(_batches(images), _noise())
    assert losses.keys() == {"discriminator_loss", "generator_loss"}
    for name in ("generator.layers.0.weight", "discriminator.layers.0.weight"):
        change = (task.model.get_parameter(name) - before.get_parameter(name)).abs().max()
        # Adam's first two steps are at most two learning rates long, from where it was before.
        assert 0 < change < 1e-3
    assert {o.state[next(iter(o.state))]["step"].item() for o in task.optimizers.values()} == {2}


PAPERS: list[tuple[type[GANTask], dict[str, Any], dict[str, Any]]] = [
    (DCGANTask, {"fresh_latent_points": True, "beta_1": 0.5, "beta_2": 0.999} | RATES, {}),
    (
        DCGANTask,
        {"fresh_latent_points": False, "beta_1": 0.5, "beta_2": 0.999} | RATES,
        {"fresh_latent_points": False},
    ),
    (
        WGANTask,
        WGAN,
        {"objective": "wasserstein", "constraint": "clipping", "optimizer": "rmsprop"} | WGAN,
    ),
    (
        WGANTask,
        WGAN | {"clip_batch_norm": False, "clip_before_update": False},
        {"objective": "wasserstein", "constraint": "clipping", "optimizer": "rmsprop"}
        | WGAN
        | {"clip_batch_norm": False, "clip_before_update": False},
    ),
    (
        WGANGPTask,
        {"critic_steps": 5, "penalty": 10, "beta_1": 0.0, "beta_2": 0.9} | RATES,
        {
            "objective": "wasserstein", "constraint": "gradient_penalty", "critic_steps": 5,
            "critic_batch_norm": False, "penalty": 10, "beta_1": 0, "beta_2": 0.9,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_step_in_bfloat16_is_nearly_that_in_single_precision(
    constraint: str, images: Tensor
) -> None:
    settings = _settings(
        objective="wasserstein", constraint=constraint, critic_steps=2, critic_batch_norm=False
    )
    batches, losses = [to_float(images[:8]), to_float(images[8:16])], []
    for enabled in (False, True):
        torch.manual_seed(1)
        task = AdversarialTask(AdversarialTask.build(settings), settings)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(task.step(iter(batches), _noise())["discriminator_loss"])
    torch.testing.assert_close(losses[1].float(), losses[0].float(), rtol=0.05, atol=0.01)


@pytest.mark.parametrize(("kind", "theirs", "ours"), PAPERS)
def test_with_the_papers_choices_it_is_the_papers_training(
    kind: type[GANTask], theirs: dict[str, Any], ours: dict[str, Any], images: Tensor
) -> None:
    size = {"latent_dim": 3, "width": 4}
    torch.manual_seed(1)
    paper = kind(kind.build(size).double(), theirs)
    task = _task(**ours)
    for one, other in zip(
        paper.model.state_dict().values(), task.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    streams = _batches(images), _batches(images)
    noise, same = _noise(), _noise()
    for _ in range(5):
        expected, losses = paper.step(streams[0], noise), task.step(streams[1], same)
        torch.testing.assert_close(
            losses["generator_loss"], expected["generator_loss"], atol=1e-6, rtol=0
        )
        if kind is DCGANTask:
            torch.testing.assert_close(
                losses["discriminator_loss"], expected["discriminator_loss"], atol=1e-6, rtol=0
            )
        elif kind is WGANTask:
            torch.testing.assert_close(
                -losses["discriminator_loss"], expected["critic_distance"], atol=1e-6, rtol=0
            )
    for one, other in zip(paper.model.parameters(), task.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def _largest_slope(critic: nn.Module, images: Tensor) -> float:
    x = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    return slope.flatten(1).norm(dim=1).max().item()


def test_spectral_normalisation_bounds_the_slope(images: Tensor) -> None:
    """By 2 for the scaling of the images, and 2 for each of the convolutions.

    A pixel is in four patches of a convolution, whose matrix of stencils has norm 1.
    """
    task = _task(constraint="spectral_normalisation", critic_batch_norm=False)
    free = _task(critic_batch_norm=False)
    for critic in (task.model.discriminator, free.model.discriminator):
        with torch.no_grad():
            for name, parameter in critic.named_parameters():
                if "weight" in name:
                    parameter.mul_(30)
    x = to_float(images[:50]).double()
    assert _largest_slope(free.model.discriminator.eval(), x) > 100
    assert 0 < _largest_slope(task.model.discriminator.eval(), x) < 2 * 2 * 2


def test_a_normalised_critic_is_the_same_once_it_is_loaded(tmp_path: Path, images: Tensor) -> None:
    settings = _settings(constraint="spectral_normalisation")
    task = AdversarialTask(AdversarialTask.build(settings), settings)
    task.step((batch.float() for batch in _batches(images)), _noise())
    save_weights(task.model, tmp_path / "model.safetensors")
    write_json({"kind": "gan", "hyperparameters": settings}, tmp_path / "summary.json")
    loaded, x = load_model(tmp_path, GAN), to_float(images[:5])
    torch.testing.assert_close(loaded.discriminator(x), task.model.eval().discriminator(x))


@pytest.mark.parametrize("decay", [0, 0.9])
def test_a_normalised_critic_has_layers_of_norm_1(decay: float, images: Tensor) -> None:
    """In training nearly, in evaluation exactly, of averaged weights too."""
    choices = {"constraint": "spectral_normalisation", "critic_batch_norm": False}
    task = _task(**choices, discriminator_learning_rate=0.005)
    critic, averaged = task.model.discriminator, Average(task.model, decay)
    batches = _batches(images)
    for step in range(1, 31):
        task.step(batches, _noise())
        averaged.update(step)

    def norms() -> list[float]:
        layers = [layer for layer in critic.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
        assert len(layers) == 3
        return [torch.linalg.svdvals(layer.weight.flatten(1))[0].item() for layer in layers]

    critic.train()
    assert norms() == pytest.approx([1, 1, 1], abs=0.1)
    critic.eval()
    with averaged.in_place():
        assert norms() == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_choices_go_together_in_any_way(objective: str, constraint: str, images: Tensor) -> None:
    for optimizer in ("rmsprop", "extragradient"):
        task = _task(
            objective=objective, constraint=constraint, optimizer=optimizer, critic_batch_norm=False
        )
        losses = task.step(_batches(images), _noise())
        assert all(loss.isfinite() for loss in losses.values())
        if constraint == "clipping":
            largest = max(p.abs().max().item() for p in task.model.discriminator.parameters())
            # Clipped before each update, which moves by up to ten learning rates.
            assert largest < 0.01 + 3e-3


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"objective": "hinge", "label_smoothing": 0.1}, "hinge, has no labels; set it to 0"),
        ({"optimizer": "extragradient", "critic_steps": 5}, "set critic_steps to 1, not 5"),
        ({"constraint": "gradient_penalty"}, "set critic_batch_norm to false"),
        ({"kind": "wgan_gp", "precision": "bfloat16"}, "not computed; use kind: gan with"),
    ],
)
def test_what_does_not_go_together_gets_a_sentence(choices: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _settings(**choices)


def test_smoothing_lowers_the_label_of_true_images_alone() -> None:
    true, generated = torch.zeros(4), torch.ones(4)
    found = OBJECTIVES["saturating"].critic(true, generated, 0.25)
    log = F.binary_cross_entropy_with_logits
    expected = log(true, torch.full((4,), 0.75)) + log(generated, torch.zeros(4))
    torch.testing.assert_close(found, expected)
