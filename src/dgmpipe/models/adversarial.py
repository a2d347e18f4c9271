"""A GAN whose choices are settings: objective, constraint of the critic, optimiser.

The choices of Section 5 and those that came after are small parts that go together in any way; with
the paper's, a training is that of `dgmpipe.models.dcgan` or `dgmpipe.models.wgan`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from dgmpipe.models.gan import GAN, Discriminator, GANTask, for_both, frozen, update
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import image_shape_of

__all__ = [
    "CONSTRAINTS",
    "OBJECTIVES",
    "AdversarialTask",
    "Clipping",
    "Constraint",
    "GradientPenalty",
    "Objective",
    "SpectralNormalisation",
    "extragradient_step",
]


class Objective(NamedTuple):
    """What the two networks minimise, of the critic's values of a batch, (N,).

    Attributes:
        critic: Takes the values of true and of generated images, and how much the label 1 of true
            images is lowered.
        generator: Takes the values of generated images.
    """

    critic: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]


def _entropy(true: Tensor, generated: Tensor, smoothing: float) -> Tensor:
    """Return minus eq. (31), where the label of true images is 1 − smoothing, arXiv:1606.03498."""
    of_true = (1 - smoothing) * F.logsigmoid(true) + smoothing * F.logsigmoid(-true)
    return -(of_true.mean() + F.logsigmoid(-generated).mean())


def _squares(true: Tensor, generated: Tensor, smoothing: float) -> Tensor:
    return ((true - (1 - smoothing)).square().mean() + generated.square().mean()) / 2


def _hinge(true: Tensor, generated: Tensor, smoothing: float) -> Tensor:
    return F.relu(1 - true).mean() + F.relu(1 + generated).mean()


def _distance(true: Tensor, generated: Tensor, smoothing: float) -> Tensor:
    """Return minus eq. (35), in which the critic is larger at generated images."""
    return true.mean() - generated.mean()


OBJECTIVES = {
    "saturating": Objective(_entropy, lambda values: F.logsigmoid(-values).mean()),  # eq. (32)
    "non_saturating": Objective(_entropy, lambda values: -F.logsigmoid(values).mean()),
    "least_squares": Objective(  # arXiv:1611.04076
        _squares, lambda values: (values - 1).square().mean() / 2
    ),
    "hinge": Objective(_hinge, lambda values: -values.mean()),  # arXiv:1705.02894
    "wasserstein": Objective(_distance, lambda values: values.mean()),
}


class Constraint:
    """How a critic is held to small slopes; this one does nothing.

    Args:
        critic: The critic.
        config: Settings of the model.
    """

    def __init__(self, critic: Discriminator, config: Mapping[str, Any]) -> None:
        self.critic = critic

    def before_update(self) -> None:
        """Do something to the critic before each of its steps."""

    def after_update(self) -> None:
        """Do something to the critic after each of its steps."""

    def penalty(self, true: Tensor, generated: Tensor, noise: torch.Generator) -> Tensor | float:
        """Return what is added to the critic's loss on a batch, a scalar."""
        return 0.0


class Clipping(Constraint):
    """Parameters are clipped to ±`clip`, arXiv:1701.07875; which, and when, as for a WGAN."""

    def __init__(self, critic: Discriminator, config: Mapping[str, Any]) -> None:
        super().__init__(critic, config)
        self.clip, self.before = config["clip"], config["clip_before_update"]
        self.clipped = [
            parameter
            for layer in critic.layers
            if config["clip_batch_norm"] or not isinstance(layer, nn.BatchNorm2d)
            for parameter in layer.parameters()
        ]

    def before_update(self) -> None:
        if self.before:
            self._clip()

    def after_update(self) -> None:
        if not self.before:
            self._clip()

    @torch.no_grad()
    def _clip(self) -> None:
        for parameter in self.clipped:
            parameter.clamp_(-self.clip, self.clip)


class GradientPenalty(Constraint):
    """λ E(‖∇f(x)‖ − 1)², at points x between true and generated images, arXiv:1704.00028."""

    def __init__(self, critic: Discriminator, config: Mapping[str, Any]) -> None:
        super().__init__(critic, config)
        self.weight = config["penalty"]

    def penalty(self, true: Tensor, generated: Tensor, noise: torch.Generator) -> Tensor:
        share = torch.rand(len(true), 1, 1, 1, generator=noise).to(true)
        between = torch.lerp(generated.to(true), true, share).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return self.weight * (slope.flatten(1).norm(dim=1) - 1).square().mean()


CONSTRAINTS: dict[str, type[Constraint]] = {
    "none": Constraint,
    "clipping": Clipping,
    "gradient_penalty": GradientPenalty,
    "spectral_normalisation": Constraint,  # a part of the critic itself
}
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
    "extragradient": partial(torch.optim.Adam, fused=True),
}


class SpectralNormalisation(nn.Module):
    """Divides a weight, as a matrix, by its largest singular value, arXiv:1802.05957.

    In training that is estimated from a vector which one power iteration a step brings nearer to
    the singular one. In evaluation it is exact: an average of such vectors over a training, which
    an average of the weights comes with, is far from any singular vector.

    Args:
        weight: What is to be divided, (outputs, ...).
    """

    left: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("left", torch.linalg.svd(weight.detach().flatten(1))[0][:, 0])

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        if not self.training:
            return weight / torch.linalg.matrix_norm(matrix, 2)
        with torch.no_grad():
            right = F.normalize(matrix.T @ self.left, dim=0)
            left = F.normalize(matrix @ right, dim=0)
            self.left.copy_(left)
        return weight / (left @ matrix @ right)


def extragradient_step(
    optimizers: Iterable[torch.optim.Optimizer], set_gradients: Callable[[], None]
) -> None:
    """Step from here with the gradients of where a step would have led, arXiv:1802.10551.

    Args:
        optimizers: Of all players.
        set_gradients: Sets the gradients of all parameters where these are.
    """
    optimizers = list(optimizers)
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    parameters = [parameter for group in groups for parameter in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    set_gradients()
    for optimizer in optimizers:
        optimizer.step()
    set_gradients()
    with torch.no_grad():
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
    for optimizer in optimizers:
        optimizer.step()


class AdversarialTask(GANTask):
    """Training of a GAN by the choices of its settings.

    Several steps of the critic and one of the generator; with `extragradient` one of both at once.
    """

    @staticmethod
    def build(config: Mapping[str, Any]) -> GAN:
        shape = image_shape_of(config)
        generator = Generator(config["latent_dim"], config["width"], shape)
        critic = Discriminator(config["width"], shape, batch_norm=config["critic_batch_norm"])
        if config["constraint"] == "spectral_normalisation":  # arXiv:1802.05957
            for layer in critic.layers:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    normalisation = SpectralNormalisation(layer.weight)
                    register_parametrization(layer, "weight", normalisation)
        return GAN(generator, critic)

    def __init__(self, model: GAN, config: Mapping[str, Any]) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.objective = OBJECTIVES[config["objective"]]
        self.constraint = CONSTRAINTS[config["constraint"]](model.discriminator, config)
        self.smoothing = config["label_smoothing"]
        self.critic_steps = config["critic_steps"]
        self.fresh_latent_points = config["fresh_latent_points"]
        self.looks_ahead = config["optimizer"] == "extragradient"
        options = {}
        if config["optimizer"] != "rmsprop":
            options["betas"] = config["beta_1"], config["beta_2"]
        self.optimizers = for_both(model, config, _OPTIMIZERS[config["optimizer"]], **options)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}

        def of_critic() -> Tensor:
            true = next(batches)
            z = self.latent_points(true, noise)
            losses["discriminator_loss"] = self.critic_loss(true, z, noise)
            return z

        def of_generator(z: Tensor) -> None:
            z = self.latent_points(z, noise) if self.fresh_latent_points else z
            losses["generator_loss"] = self.generator_loss(z)

        def set_gradients() -> None:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            z = of_critic()
            losses["discriminator_loss"].backward()
            of_generator(z)

        if self.looks_ahead:
            self.constraint.before_update()
            extragradient_step(self.optimizers.values(), set_gradients)
            self.constraint.after_update()
        else:
            for _ in range(self.critic_steps):
                self.constraint.before_update()
                z = of_critic()
                update(self.optimizers["discriminator"], losses["discriminator_loss"])
                self.constraint.after_update()
            self.optimizers["generator"].zero_grad()
            of_generator(z)
            self.optimizers["generator"].step()
        return {name: loss.detach() for name, loss in losses.items()}

    def critic_loss(self, true: Tensor, z: Tensor, noise: torch.Generator) -> Tensor:
        """Return what the critic minimises on true images and those of latent points, a scalar."""
        critic = self.model.discriminator
        with torch.no_grad():
            generated = self.model.generator(z)
        loss = self.objective.critic(critic(true), critic(generated), self.smoothing)
        return loss + self.constraint.penalty(true, generated, noise)

    def generator_loss(self, z: Tensor) -> Tensor:
        """Return what the generator minimises at latent points; its parameters have gradients."""
        critic = self.model.discriminator
        with frozen(critic):
            loss = self.objective.generator(critic(self.model.generator(z)))
            loss.backward()
        return loss
