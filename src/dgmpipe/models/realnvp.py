"""The finite normalizing flow of Section 3.2."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dgmpipe.models.flow import DIM, Flow, FlowTask, negative_log_likelihood
from dgmpipe.models.inputs import require_batch

__all__ = ["RealNVP", "RealNVPTask"]


class RealNVP(Flow):
    """The real-valued non-volume preserving flow of eqs. (9)-(13), arXiv:1605.08803.

    Its layers keep the first and the second coordinate in turn. With the paper's `num_layers=6`
    and `width=128` it has 205,848 parameters.

    Args:
        num_layers: Number K of layers, at least 1.
        width: Neurons in each of the two hidden layers of a network, at least 1.

    Raises:
        ValueError: If `num_layers` or `width` is less than 1.

    Example:
        >>> flow = RealNVP()
        >>> sum(p.numel() for p in flow.parameters())
        205848
        >>> x, log_det = flow(torch.zeros(3, 2))
        >>> x.shape, log_det.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, num_layers: int = 6, width: int = 128) -> None:
        super().__init__()
        if num_layers < 1 or width < 1:
            raise ValueError(
                f"num_layers and width must be at least 1, not {num_layers} and {width}"
            )
        # As in eq. (11): an even layer keeps the first coordinate, an odd one the second.
        self.layers = nn.ModuleList(Coupling(j % DIM, width) for j in range(1, num_layers + 1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x = g_θ(z), (N, 2), and log |det ∇g_θ(z)|, (N,), eqs. (9) and (12).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        require_batch(z, (DIM,), "points", self)
        y, log_det = z, z.new_zeros(len(z))
        for layer in self.layers:
            y, layer_log_det = layer(y)
            log_det = log_det + layer_log_det
        return y, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z = g_θ⁻¹(x), (N, 2), and log |det ∇g_θ⁻¹(x)|, (N,), eq. (10).

        Raises:
            ValueError: If `x` is not of shape (N, 2).
        """
        require_batch(x, (DIM,), "points", self)
        y, log_det = x, x.new_zeros(len(x))
        for layer in reversed(self.layers):
            y, layer_log_det = layer.inverse(y)
            log_det = log_det + layer_log_det
        return y, log_det

    def hidden_states(self, z: Tensor) -> Tensor:
        """Return the hidden features y⁽⁰⁾ = z, …, y⁽ᴷ⁾ = x of eq. (10), shape (K+1, N, 2).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        require_batch(z, (DIM,), "points", self)
        states = [z]
        for layer in self.layers:
            states.append(layer(states[-1])[0])
        return torch.stack(states)


class Coupling(nn.Module):
    """The layer f_j of eq. (11), which transforms one coordinate as the other one says.

    The networks s and t map the plane to the plane; what they see and what they return is masked,
    so each is in effect a function of the line. A tanh keeps |s| < 1, so the layer well
    conditioned.

    Args:
        kept: Which coordinate stays as it is, 0 or 1.
        width: Neurons in each of the two hidden layers of a network.
    """

    def __init__(self, kept: int, width: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.eye(DIM)[kept])
        self.scale = coupling_network(width)
        self.shift = coupling_network(width)

    def scale_and_shift(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t, each (N, 2), which vanish in the coordinate that is kept."""
        seen = self.kept * y
        # Masked in this one place, so that the log-determinant counts what is transformed alone.
        transformed = 1 - self.kept
        return transformed * self.scale(seen), transformed * self.shift(seen)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_j(y), shape (N, 2), and its log-determinant, (N,), eqs. (11) and (12)."""
        s, t = self.scale_and_shift(y)
        return y * torch.exp(s) + t, s.sum(dim=1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_j⁻¹(y), shape (N, 2), and its log-determinant, (N,), eq. (13)."""
        s, t = self.scale_and_shift(y)
        return (y - t) * torch.exp(-s), -s.sum(dim=1)


def coupling_network(width: int) -> nn.Sequential:
    """Return s or t of eq. (11): three affine layers, leaky ReLU between and tanh at the end."""
    return nn.Sequential(
        nn.Linear(DIM, width),
        nn.LeakyReLU(0.01),
        nn.Linear(width, width),
        nn.LeakyReLU(0.01),
        nn.Linear(width, DIM),
        nn.Tanh(),
    )


class RealNVPTask(FlowTask):
    """Maximum likelihood training of Real NVP, eq. (8)."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> RealNVP:
        return RealNVP(num_layers=config["num_layers"], width=config["width"])

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": negative_log_likelihood(self.model, x)}
