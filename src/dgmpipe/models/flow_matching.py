"""A continuous flow that learns its velocity from known paths, without integrating any."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dgmpipe.arguments import whole_number
from dgmpipe.models.derivatives import without_autocast
from dgmpipe.models.flow import DIM, Flow
from dgmpipe.models.flow_tasks import NoisyTask
from dgmpipe.models.inputs import require_batch
from dgmpipe.models.matching import PATHS

__all__ = ["FlowMatching", "FlowMatchingTask", "Velocity", "optimal_pairs"]


class Velocity(nn.Module):
    """The velocity v(y, t) of points of the plane: three hidden layers with SiLU between.

    Args:
        width: Neurons in each of them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (DIM + 1, width, width, width, DIM)
        self.layers = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))

    def forward(self, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return v(y, t), (N, 2), and its divergence, (N,), for `y` (N, 2) and `t` (N, 1).

        The divergence is exact: derivatives along both axes go through the layers beside y.
        """
        features, tangents = torch.cat([y, t], dim=1), torch.eye(DIM + 1).to(y)[:DIM]
        tangents = tangents.unsqueeze(1)
        *hidden, last = self.layers
        for layer in hidden:
            assert isinstance(layer, nn.Linear)
            features, gate = layer(features), tangents @ layer.weight.T
            share = torch.sigmoid(features)
            tangents = gate * share * (1 + features * (1 - share))
            features = features * share
        assert isinstance(last, nn.Linear)
        slopes = tangents @ last.weight.T
        return last(features), slopes[0, :, 0] + slopes[1, :, 1]


class FlowMatching(Flow):
    """The flow y' = v(y, t) from z at t = 0 to x at t = 1, by Runge-Kutta, arXiv:2210.02747.

    The likelihood is that of eq. (16), with the exact divergence; it carries the error of the
    Runge-Kutta scheme.

    Args:
        width: Neurons in each hidden layer of the velocity, at least 1.
        num_steps: Runge-Kutta steps in either direction, at least 1.

    Raises:
        ValueError: If an argument is no whole number or less than 1.
    """

    def __init__(self, width: int = 128, num_steps: int = 16) -> None:
        super().__init__()
        self.velocity = Velocity(whole_number(width, "width", 1))
        self.num_steps = whole_number(num_steps, "num_steps", 1)

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        states, log_det = self._path(require_batch(z, (DIM,), "points", self), 0.0, 1.0)
        return states[-1], log_det

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        states, log_det = self._path(require_batch(x, (DIM,), "points", self), 1.0, 0.0)
        return states[-1], log_det

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        states, _ = self._path(require_batch(z, (DIM,), "points", self), 0.0, 1.0)
        return torch.stack(states)

    def _path(self, y: Tensor, start: float, end: float) -> tuple[list[Tensor], Tensor]:
        """Return where the points are after each step, from the start, and the log-determinant."""
        h = (end - start) / self.num_steps
        with without_autocast(y.device):
            y = y.to(next(self.parameters()).dtype)
            states, log_det = [y], torch.zeros_like(y[:, 0])
            for step in range(self.num_steps):
                t = start + step * h
                v_1, d_1 = self._at(y, t)
                v_2, d_2 = self._at(y + h / 2 * v_1, t + h / 2)
                v_3, d_3 = self._at(y + h / 2 * v_2, t + h / 2)
                v_4, d_4 = self._at(y + h * v_3, t + h)
                y = y + h / 6 * (v_1 + 2 * v_2 + 2 * v_3 + v_4)
                log_det = log_det + h / 6 * (d_1 + 2 * d_2 + 2 * d_3 + d_4)
                states.append(y)
        return states, log_det

    def _at(self, y: Tensor, t: float) -> tuple[Tensor, Tensor]:
        return self.velocity(y, torch.full_like(y[:, :1], t))


class FlowMatchingTask(NoisyTask):
    """Regression of the velocity on that of paths from latent points to data.

    They are straight, arXiv:2210.02747, or those of a diffusion that keeps the variance, whose
    probability-flow equation the flow then is, arXiv:2011.13456.
    """

    flow: FlowMatching

    @staticmethod
    def build(config: Mapping[str, Any]) -> FlowMatching:
        return FlowMatching(width=config["width"], num_steps=config["evaluation_rk4_steps"])

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        z = self.latent_points(x)
        if self.config["coupling"] == "optimal":
            z = z[optimal_pairs(x, z)]
        t = torch.rand(len(x), 1, generator=self.noise, dtype=x.dtype).to(x.device)
        path = PATHS[self.config["path"]](t)
        velocity, _ = self.flow.velocity(path.point(x, z), t)
        return {"loss": (velocity - path.velocity(x, z)).square().sum(dim=1).mean()}


def optimal_pairs(x: Tensor, z: Tensor) -> Tensor:
    """Return which of `z` (N, 2) goes with each of `x` (N, 2), (N,), at least squared distance.

    With pairs of a batch instead of independent ones paths cross less, arXiv:2302.00482.
    """
    cost = torch.cdist(x.double(), z.double()).square()
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(x.device)
