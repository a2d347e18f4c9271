"""The continuous normalizing flow of Section 3.3, regularised by optimal transport."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import whole_number
from dgmpipe.models.flow import DIM, Flow, FlowTask, log_normal
from dgmpipe.models.inputs import require_batch
from dgmpipe.models.otflow_path import log_cosh, rk4_path

__all__ = ["Characteristics", "OTFlow", "OTFlowTask", "Potential", "ot_flow_objective"]


class Characteristics(NamedTuple):
    """Points that move with the velocity, and what was integrated along their paths.

    Attributes:
        y: Where the points are, shape (N, 2).
        log_det: Log-determinant of the Jacobian of `y` by its start, shape (N,), eq. (16).
        transport: ∫ ½‖v‖² dt, shape (N,), the transport cost of eq. (19).
        hjb: ∫ |∂ₜΦ − ½‖∇Φ‖²| dt, shape (N,), the violation of the Hamilton-Jacobi-Bellman equation.
    """

    y: Tensor
    log_det: Tensor
    transport: Tensor
    hjb: Tensor


class OTFlow(Flow):
    """The flow y' = −∇Φ(y, t) of eq. (14) from z at t = 0 to x at t = 1, arXiv:2006.00104.

    Where characteristics are optimal, Φ is their cost to go: Φ(y, t) is the least ∫ₜ¹ ½‖v‖² ds plus
    a cost of the end point, so −∂ₜΦ = min over v of ½‖v‖² + v·∇Φ = −½‖∇Φ‖², attained at v = −∇Φ.
    This is the Hamilton-Jacobi-Bellman equation ∂ₜΦ = ½‖∇Φ‖²; by it v is constant along each path.

    With the paper's `width=32` and `rank=3` it has 1,229 parameters.

    Args:
        width: Neurons in each of the two hidden layers of Φ, at least 1.
        num_steps: Runge-Kutta steps of `forward`, `inverse` and `hidden_states`, at least 1.
        rank: Rank of the quadratic form in Φ, at least 1; the paper's is min(10, dimension + 1).

    Raises:
        ValueError: If `width`, `num_steps` or `rank` is no whole number or less than 1.

    Example:
        >>> flow = OTFlow()
        >>> sum(p.numel() for p in flow.parameters())
        1229
        >>> x, log_det = flow(torch.zeros(3, 2))
        >>> x.shape, log_det.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, width: int = 32, num_steps: int = 8, rank: int = 3) -> None:
        super().__init__()
        self.num_steps = whole_number(num_steps, "num_steps", 1)
        self.potential = Potential(whole_number(width, "width", 1), whole_number(rank, "rank", 1))

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return x = g_θ(z), (N, 2), and log |det ∇g_θ(z)|, (N,), eqs. (14) and (16).

        Both carry the error of the Runge-Kutta scheme.

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        end = self.integrate(z, reverse=False)
        return end.y, end.log_det

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        """Return z = g_θ⁻¹(x), (N, 2), and log |det ∇g_θ⁻¹(x)|, (N,), eqs. (15) and (16).

        Both carry the error of the Runge-Kutta scheme.

        Raises:
            ValueError: If `x` is not of shape (N, 2).
        """
        end = self.integrate(x, reverse=True)
        return end.y, end.log_det

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        """Return the characteristics of eq. (14) after each step, shape (num_steps+1, N, 2).

        Raises:
            ValueError: If `z` is not of shape (N, 2).
        """
        z = require_batch(z, (DIM,), "points", self)
        path = self._path(z, reverse=False, num_steps=self.num_steps, at_once=1)
        return torch.stack([state[:, :DIM] for state in path])

    def integrate(
        self, y: Tensor | ArrayLike, *, reverse: bool, num_steps: int | None = None
    ) -> Characteristics:
        """Follow the characteristics, eq. (14), or in `reverse` eq. (15), with equal RK4 steps.

        Args:
            y: Where they start, shape (N, 2): z, or in reverse x.
            reverse: Whether t runs from 1 to 0.
            num_steps: Number of steps, at least 1; the flow's own if None.

        Returns:
            The end points and the integrals along the whole way, of which the transport cost and
            the HJB penalty are positive in both directions.

        Raises:
            ValueError: If `y` is not of shape (N, 2), or `num_steps` is less than 1.
        """
        y = require_batch(y, (DIM,), "points", self)
        num_steps = whole_number(self.num_steps if num_steps is None else num_steps, "num_steps", 1)
        # With a gradient all steps are kept in memory anyhow.
        at_once = num_steps if torch.is_grad_enabled() else 1
        *_, end = self._path(y, reverse=reverse, num_steps=num_steps, at_once=at_once)
        log_det, transport, hjb = end[:, DIM + 1 :].unbind(dim=1)
        # Backward in time the costs were summed up with negative steps.
        sign = -1 if reverse else 1
        return Characteristics(end[:, :DIM], log_det, sign * transport, sign * hjb)

    def _path(self, y: Tensor, *, reverse: bool, num_steps: int, at_once: int) -> Iterator[Tensor]:
        """Give (y, t) and the three integrals so far, (N, 6), first and whenever steps are done."""
        start, h = (1.0, -1 / num_steps) if reverse else (0.0, 1 / num_steps)
        s, integrals = F.pad(y, (0, 1), value=start), y.new_zeros(len(y), 3)
        yield torch.cat([s, integrals], dim=1)
        phi = self.potential
        parameters = (*phi.opening.parameters(), *phi.residual.parameters(), phi.w, phi.A, phi.b)
        for _ in range(num_steps // at_once):
            s, more = rk4_path(s, h, at_once, *parameters)
            integrals = integrals + more
            yield torch.cat([s, integrals], dim=1)


class Potential(nn.Module):
    """The potential Φ(s) = wᵀN(s) + ½ sᵀAᵀA s + bᵀs + c of s = (y, t), arXiv:2006.00104.

    The residual net is N(s) = u + σ(K₁u + k₁) with u = σ(K₀s + k₀) and σ(p) = log(eᵖ + e⁻ᵖ), whose
    derivatives are tanh and 1 − tanh². No velocity depends on c, so training leaves it alone.

    Args:
        width: Rows of K₀ and K₁.
        rank: Rows of A.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.opening = nn.Linear(DIM + 1, width)
        self.residual = nn.Linear(width, width)
        self.w = nn.Parameter(torch.empty(width).uniform_(-1, 1) * width**-0.5)
        self.A = nn.Parameter(torch.empty(rank, DIM + 1).uniform_(-1, 1) * (DIM + 1) ** -0.5)
        self.b = nn.Parameter(torch.zeros(DIM + 1))
        self.c = nn.Parameter(torch.zeros(()))

    def forward(self, s: Tensor) -> Tensor:
        """Return Φ(s), shape (N,), for `s` (N, 3)."""
        u = log_cosh(self.opening(s))
        net = u + log_cosh(self.residual(u))
        return net @ self.w + 0.5 * (s @ self.A.T).square().sum(dim=1) + s @ self.b + self.c


def ot_flow_objective(
    flow: OTFlow,
    x: Tensor | ArrayLike,
    *,
    alpha_transport: float = 1.0,
    alpha_likelihood: float = 10.0,
    alpha_hjb: float = 5.0,
    num_steps: int,
) -> dict[str, Tensor]:
    """Return the objective of eq. (19) with the HJB penalty of arXiv:2006.00104, and its parts.

    Args:
        flow: The flow.
        x: Batch of data, shape (N, 2).
        alpha_transport: Weight of the transport cost.
        alpha_likelihood: Weight of the negative log-likelihood.
        alpha_hjb: Weight of the violation of the Hamilton-Jacobi-Bellman equation.
        num_steps: Runge-Kutta steps; the paper's experiment trains with 4 and validates with 8.

    Returns:
        The scalars `loss`, the weighted sum, and `transport`, `nll` and `hjb`, unweighted means
        over the batch.

    Raises:
        ValueError: If `x` is not of shape (N, 2), or `num_steps` is less than 1.
    """
    end = flow.integrate(x, reverse=True, num_steps=num_steps)
    transport, hjb = end.transport.mean(), end.hjb.mean()
    nll = -(log_normal(end.y) + end.log_det).mean()
    loss = alpha_transport * transport + alpha_likelihood * nll + alpha_hjb * hjb
    return {"loss": loss, "transport": transport, "nll": nll, "hjb": hjb}


class OTFlowTask(FlowTask):
    """Training of OT-Flow: likelihood, transport cost and HJB penalty, arXiv:2006.00104."""

    flow: OTFlow

    @staticmethod
    def build(config: Mapping[str, Any]) -> OTFlow:
        return OTFlow(width=config["width"], num_steps=config["evaluation_rk4_steps"])

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        return ot_flow_objective(
            self.flow,
            x,
            alpha_transport=self.config["alpha_transport"],
            alpha_likelihood=self.config["alpha_likelihood"],
            alpha_hjb=self.config["alpha_hjb"],
            num_steps=self.config["training_rk4_steps"],
        )
