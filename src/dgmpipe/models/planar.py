"""Planar and radial flows: layers that push the plane along a line, or to and from a point."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.data.moons import MoonsDensity
from dgmpipe.models.flow import DIM, Flow, log_normal, negative_log_likelihood
from dgmpipe.models.flow_tasks import NoisyTask
from dgmpipe.models.inputs import require_batch

__all__ = ["PlanarFlow", "PlanarTask", "RadialFlow", "RadialTask"]

# After so many halvings of the range of a root two steps of Newton's method come to its last digit.
_BISECTIONS = 30
_SOFTPLUS_1 = math.log(math.e - 1)  # of which softplus is 1


class _Layer(nn.Module):
    """An invertible map of the plane, with the log-determinant of its Jacobian."""

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the layer takes `z` (N, 2), and log |det|, (N,)."""

    @abstractmethod
    def inverse(self, x: Tensor) -> Tensor:
        """Return what the layer takes to `x` (N, 2)."""


class _Layered(Flow):
    """A flow of such layers."""

    def __init__(self, layer: Callable[[], _Layer], num_layers: int) -> None:
        super().__init__()
        num_layers = whole_number(num_layers, "num_layers", 1)
        self.layers = nn.ModuleList(layer() for _ in range(num_layers))

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        y = require_batch(z, (DIM,), "points", self)
        log_dets = []
        for layer in self.layers:
            y, log_det = layer(y)
            log_dets.append(log_det)
        return y, torch.stack(log_dets).sum(dim=0)

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        y = require_batch(x, (DIM,), "points", self)
        log_dets = []
        for layer in reversed(self.layers):
            assert isinstance(layer, _Layer)
            y = layer.inverse(y)
            log_dets.append(-layer(y)[1])
        return y, torch.stack(log_dets).sum(dim=0)

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        states = [require_batch(z, (DIM,), "points", self)]
        for layer in self.layers:
            states.append(layer(states[-1])[0])
        return torch.stack(states)


class PlanarFlow(_Layered):
    """The planar flow of arXiv:1505.05770, z ↦ z + u tanh(wᵀz + b) in each layer.

    Its inverse has no closed form. But wᵀz + b solves an equation of one unknown that rises, which
    bisection and Newton's method do to rounding; derivatives up to the third are right.

    Args:
        num_layers: Number of layers, at least 1.

    Raises:
        ValueError: If `num_layers` is no whole number or less than 1.
    """

    def __init__(self, num_layers: int = 32) -> None:
        super().__init__(_Planar, num_layers)


class _Planar(_Layer):
    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Parameter(0.1 * torch.randn(DIM))
        self.w = nn.Parameter(torch.randn(DIM))
        self.b = nn.Parameter(torch.randn(()))

    def direction(self) -> Tensor:
        """Return the u of which wᵀu > −1, without which the layer has no inverse, (2,).

        It is 0 where the parameter is.
        """
        along = self.w @ self.u
        allowed = F.softplus(along + _SOFTPLUS_1) - 1
        return self.u + (allowed - along) * self.w / self.w.square().sum()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        u = self.direction()
        h = torch.tanh(z @ self.w + self.b)
        return z + h.unsqueeze(1) * u, torch.log1p((1 - h.square()) * (self.w @ u))

    def inverse(self, x: Tensor) -> Tensor:
        u = self.direction()
        along, target = self.w @ u, x @ self.w + self.b
        # The root of a + wᵀu tanh(a) = target. Where it is searched needs no derivative.
        factor, goal = along.detach(), target.detach()
        low, high = goal - factor.abs(), goal + factor.abs()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = middle + factor * torch.tanh(middle) < goal
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        root = (low + high) / 2
        for _ in range(2):  # each doubles the order up to which derivatives are right
            h = torch.tanh(root)
            root = root - (root + along * h - target) / (1 + along * (1 - h.square()))
        return x - torch.tanh(root).unsqueeze(1) * u


class RadialFlow(_Layered):
    """The radial flow of arXiv:1505.05770, z ↦ z + β (z − z₀) / (α + ‖z − z₀‖) in each layer.

    Its inverse is that of a quadratic equation for ‖z − z₀‖.

    Args:
        num_layers: Number of layers, at least 1.

    Raises:
        ValueError: If `num_layers` is no whole number or less than 1.
    """

    def __init__(self, num_layers: int = 32) -> None:
        super().__init__(_Radial, num_layers)


class _Radial(_Layer):
    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.randn(DIM))
        self.a = nn.Parameter(0.1 * torch.randn(()))
        self.b = nn.Parameter(0.1 * torch.randn(()))

    def strength(self) -> tuple[Tensor, Tensor]:
        """Return α > 0 and β > −α, without which the layer has no inverse."""
        alpha = F.softplus(self.a)
        return alpha, F.softplus(self.a + self.b) - alpha

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.strength()
        offset = z - self.centre
        h = 1 / (alpha + torch.linalg.vector_norm(offset, dim=1))
        # Across the radius and along it.
        log_det = torch.log1p(beta * h) + torch.log1p(beta * alpha * h.square())
        return z + beta * h.unsqueeze(1) * offset, log_det

    def inverse(self, x: Tensor) -> Tensor:
        alpha, beta = self.strength()
        offset = x - self.centre
        radius = torch.linalg.vector_norm(offset, dim=1)
        half = (alpha + beta - radius) / 2
        root = torch.sqrt(half.square() + alpha * radius)
        # Of the two forms of the solution the one that subtracts nothing.
        positive = half > 0
        sum_ = torch.where(positive, half + root, root - half)
        before = torch.where(positive, alpha * radius / sum_, sum_)
        return self.centre + offset / (1 + beta / (alpha + before)).unsqueeze(1)


class _LayeredTask(NoisyTask):
    """Training by maximum likelihood, eq. (8), or by the reverse divergence from the moons."""

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        if self.config["objective"] == "likelihood":
            return {"loss": negative_log_likelihood(self.flow, x)}
        # The whole model, up to the affine layer of a standardised one: it is compared with p(x).
        z = self.latent_points(x)
        x, log_det = self.model(z)
        learned = log_normal(z) - log_det
        return {"loss": (learned - MoonsDensity(self.config["noise"]).log_prob(x)).mean()}


class PlanarTask(_LayeredTask):
    """Training of a planar flow."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> PlanarFlow:
        return PlanarFlow(num_layers=config["num_layers"])


class RadialTask(_LayeredTask):
    """Training of a radial flow."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> RadialFlow:
        return RadialFlow(num_layers=config["num_layers"])
