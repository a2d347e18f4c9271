"""The finite normalizing flow of Section 3.2."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
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
        ValueError: If `num_layers` or `width` is no whole number or less than 1.

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
        num_layers = whole_number(num_layers, "num_layers", 1)
        width = whole_number(width, "width", 1)
        # As in eq. (11): an even layer keeps the first coordinate, an odd one the second.
        self.layers = nn.ModuleList(Coupling(j % DIM, width) for j in range(1, num_layers + 1))

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return x = g_θ(z), (N, 2), and log |det ∇g_θ(z)|, (N,), eqs. (9) and (12).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        z = require_batch(z, (DIM,), "points", self)
        y, exponents = z, []
        for layer in self.layers:
            y, s = layer(y)
            exponents.append(s)
        return y, torch.stack(exponents).sum(dim=(0, 2))

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return z = g_θ⁻¹(x), (N, 2), and log |det ∇g_θ⁻¹(x)|, (N,), eq. (10).

        Raises:
            ValueError: If `x` is not of shape (N, 2).
        """
        x = require_batch(x, (DIM,), "points", self)
        y, exponents = x, []
        for layer in reversed(self.layers):
            assert isinstance(layer, Coupling)
            y, s = layer.inverse(y)
            exponents.append(s)
        return y, -torch.stack(exponents).sum(dim=(0, 2))

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        """Return the hidden features y⁽⁰⁾ = z, …, y⁽ᴷ⁾ = x of eq. (10), shape (K+1, N, 2).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        z = require_batch(z, (DIM,), "points", self)
        states = [z]
        for layer in self.layers:
            states.append(layer(states[-1])[0])
        return torch.stack(states)


class Coupling(nn.Module):
    """The layer f_j of eq. (11), which transforms one coordinate as the other one says.

    The networks s and t map the plane to the plane, by three affine layers with leaky ReLU between
    and tanh at the end. What they see and what they return is masked, so each is in effect a
    function of the line. The tanh keeps |s| < 1, so the layer well conditioned.

    Args:
        kept: Which coordinate stays as it is, 0 or 1.
        width: Neurons in each of the two hidden layers of a network.
    """

    kept: Tensor
    transformed: Tensor

    def __init__(self, kept: int, width: int) -> None:
        super().__init__()
        axes = torch.eye(DIM)
        self.register_buffer("kept", axes[kept], persistent=False)
        self.register_buffer("transformed", axes[1 - kept], persistent=False)
        self.opening = PairedLinear(DIM, width)
        self.hidden = PairedLinear(width, width)
        self.closing = PairedLinear(width, DIM)

    def scale_and_shift(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t, each (N, 2), which vanish in the coordinate that is kept."""
        features = (self.kept * y).expand(2, -1, -1)
        for layer in (self.opening, self.hidden):
            features = F.leaky_relu(layer(features), 0.01, inplace=True)
        # Masked in this one place, so that the log-determinant counts what is transformed alone.
        s, t = self.transformed * torch.tanh(self.closing(features))
        return s, t

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_j(y), eq. (11), and s, which adds up to log |det|, eq. (12), each (N, 2)."""
        s, t = self.scale_and_shift(y)
        return torch.addcmul(t, y, torch.exp(s)), s

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_j⁻¹(y), eq. (13), and the s of f_j, each (N, 2)."""
        s, t = self.scale_and_shift(y)
        return (y - t) * torch.exp(-s), s


class PairedLinear(nn.Module):
    """A layer `nn.Linear` of s and one of t, side by side in one product: (2, N, a) -> (2, N, b).

    Args:
        in_features: Number a of inputs of each.
        out_features: Number b of outputs of each.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5  # as in nn.Linear
        self.weight = nn.Parameter(
            torch.empty(2, in_features, out_features).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(2, 1, out_features).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class RealNVPTask(FlowTask):
    """Maximum likelihood training of Real NVP, eq. (8)."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> RealNVP:
        return RealNVP(num_layers=config["num_layers"], width=config["width"])

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": negative_log_likelihood(self.flow, x)}
