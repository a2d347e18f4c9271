"""The characteristics of OT-Flow and their derivative, by hand and by torch.

Of an integration by autograd most time goes into recording some thousand small operations. By hand
the stages of the Runge-Kutta scheme, which wait for each other, do only what the next one needs;
all else is done for all stages at once. This serves a training. For second derivatives, and where
torch differentiates in other ways than backward, there is the same in operations of torch.

The notation is that of arXiv:2006.00104 for Φ(s) = wᵀN(s) + ½ sᵀAᵀA s + bᵀs + c with
N(s) = u + σ(K₁u + k₁), u = σ(K₀s + k₀) and σ' = tanh. A bar on a name, as in `start_bar`, is the
derivative of the loss by it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.models.derivatives import by_hand, without_autocast
from dgmpipe.models.flow import DIM

__all__ = ["log_cosh", "rk4_path"]

# The classical scheme of order 4: where in a step its stages are, and what they count, in sixths.
_NODES = (0.0, 0.5, 0.5, 1.0)
_SIXTHS = (1.0, 2.0, 2.0, 1.0)
_STAGES = len(_NODES)


def rk4_path(s: Tensor, h: float, num_steps: int, *parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Take Runge-Kutta steps along the characteristics of eq. (14), and integrate along the way.

    It can be differentiated as often as needed, and by every transform of `torch.func`. Under
    autocast it computes in the type of the parameters.

    Args:
        s: Where they start, s = (y, t), shape (N, 3).
        h: Length of a step, negative in reverse.
        num_steps: Number of steps.
        parameters: K₀, k₀, K₁, k₁, w, A and b.

    Returns:
        Where they end, (N, 3), and the integrals of the log-determinant, the transport cost and the
        HJB penalty, (N, 3).
    """
    if by_hand(s):
        return _ByHand.apply(s, h, num_steps, *parameters)
    with without_autocast(s.device):
        return _by_torch(s.to(parameters[0]), h, num_steps, *parameters)


def log_cosh(p: Tensor) -> Tensor:
    """Return log(eᵖ + e⁻ᵖ) = log cosh p + log 2, without overflow."""
    # Above its threshold softplus is the identity, there to the rounding of a double.
    return F.softplus(2 * p, threshold=40) - p


def _by_torch(s: Tensor, h: float, num_steps: int, *parameters: Tensor) -> tuple[Tensor, Tensor]:
    K0, k0, K1, k1, w, A, b = parameters
    motion = _motion(s, h)
    integrals = torch.zeros_like(s)
    for _ in range(num_steps):
        # The first stage is at the start of the step, so whatever moves it there counts nothing.
        gradient, mean, rate = torch.zeros_like(s), torch.zeros_like(s), torch.zeros_like(s)
        for node, sixths in zip(_NODES, _SIXTHS, strict=True):
            point = s + _later(s, node * h) + node * motion * gradient
            first = torch.tanh(F.linear(point, K0, k0))
            second = torch.tanh(F.linear(log_cosh(F.linear(point, K0, k0)), K1, k1))
            by_u = w + (second * w) @ K1
            gradient = (first * by_u) @ K0 + point @ A.T @ A + b
            by_x = (first @ _chain(K0, K1)).unflatten(1, (DIM, len(w)))
            laplacian = (by_u * _slope(first)) @ _squares(K0) + A[:, :DIM].square().sum()
            laplacian = laplacian + (by_x.square().sum(dim=1) * _slope(second)) @ w
            kinetic = 0.5 * gradient[:, :DIM].square().sum(dim=1)
            rates = [-laplacian, kinetic, (gradient[:, DIM] - kinetic).abs()]
            mean = mean + sixths / 6 * gradient
            rate = rate + sixths / 6 * torch.stack(rates, dim=1)
        s = s + _later(s, h) + motion * mean
        integrals = integrals + h * rate
    return s, integrals


class _ByHand(torch.autograd.Function):
    """`rk4_path`, which records nothing but itself."""

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, h: float, num_steps: int, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        K0, k0, K1, k1, w, A, b = parameters
        width, stages = len(w), num_steps * _STAGES
        # K₀s + k₀ and AᵀA s + b are one product, and so is K₁ᵀ diag(w) tanh.
        affine, constant = torch.cat([K0, A.T @ A]), torch.cat([k0, b])
        weighted = w.unsqueeze(1) * K1
        affine_T, K1_T, motion, halfway = affine.T, K1.T, _motion(s, h), _later(s, h / 2)
        points, gradients = (s.new_empty(stages, len(s), DIM + 1) for _ in range(2))
        layers = [s.new_empty(stages, len(s), width) for _ in range(4)]
        views = (points, gradients, *layers)

        start = before = s
        for i, (point, gradient, minus_u, first, second, by_u) in enumerate(
            zip(*(view.unbind() for view in views), strict=True)
        ):
            node = _NODES[i % _STAGES]
            if node == 0:
                point.copy_(start)
                middle, end = start + halfway, start + 2 * halfway
            else:
                origin = end if node == 1 else middle
                torch.addcmul(origin, before, motion, value=node, out=point)
            p, quadratic = torch.addmm(constant, point, affine_T).split((width, DIM + 1), dim=1)
            torch.tanh(p, out=first)
            # −σ(p) = p − log(1 + e²ᵖ); above its threshold softplus is the identity.
            torch.sub(p, F.softplus(p, beta=2, threshold=40), alpha=2, out=minus_u)
            torch.tanh(torch.addmm(k1, minus_u, K1_T, alpha=-1), out=second)
            torch.addmm(w, second, weighted, out=by_u)
            torch.addmm(quadratic, first * by_u, K0, out=gradient)
            before = gradient
            if node == 1:
                mean = torch.tensordot(_sixths(s), gradients[i + 1 - _STAGES : i + 1], dims=1)
                start = torch.addcmul(end, mean, motion, value=1 / 6)

        # What is integrated does not act back on the path: all stages at once from here on.
        points, gradients, minus_u, first, second, by_u = (view.flatten(0, 1) for view in views)
        slope_1, slope_2 = _slope(first), _slope(second)
        by_p = by_u * slope_1
        chain = _chain(K0, K1)
        jacobian = first @ chain
        by_x1, by_x2 = jacobian.split(width, dim=1)
        of_size = (by_x1 * by_x1).addcmul_(by_x2, by_x2).mul_(slope_2)
        laplacian = by_p @ _squares(K0) + of_size @ w + A[:, :DIM].square().sum()
        kinetic = 0.5 * gradients[:, :DIM].square().sum(dim=1)
        violation = gradients[:, DIM] - kinetic
        rates = torch.stack([-laplacian, kinetic, violation.abs()], dim=1)
        counts = _sixths(s).repeat(num_steps) * (h / 6)
        ctx.h, ctx.num_steps = h, num_steps
        ctx.save_for_backward(
            *(s, *parameters),
            *(affine, weighted, chain, counts, points, gradients, violation),
            *(minus_u, first, second, by_u, by_p, slope_1, slope_2, jacobian, of_size),
        )
        return start, torch.tensordot(counts, rates.view(stages, len(s), 3), dims=1)

    @staticmethod
    def backward(ctx: Any, end_bar: Tensor, integrals_bar: Tensor) -> tuple[Tensor | None, ...]:
        inputs, saved = ctx.saved_tensors[:8], ctx.saved_tensors[8:]
        # With a graph of its own, for second derivatives.
        if torch.is_grad_enabled() or not by_hand(end_bar, integrals_bar):
            return _backward_by_torch(inputs, ctx.h, ctx.num_steps, end_bar, integrals_bar)
        _, K0, _, K1, _, w, A, _ = inputs
        affine, weighted, chain, counts, points, gradients, violation = saved[:7]
        minus_u, first, second, by_u, by_p, slope_1, slope_2, jacobian, of_size = saved[7:]
        width, stages = len(w), len(counts)
        squares = _squares(K0)

        # Through the integrands, for all stages at once.
        rates_bar = (counts.view(-1, 1, 1) * integrals_bar).flatten(0, 1)
        divergence_bar, kinetic_bar, violation_bar = rates_bar.split(1, dim=1)
        violation_bar = violation_bar * violation.sign().unsqueeze(1)
        laplacian_bar = -divergence_bar
        by_p_part, of_size_part = laplacian_bar * by_p, laplacian_bar * of_size
        by_u_bar = (laplacian_bar * slope_1).mul_(squares)
        q_bar = (of_size_part * (-2 * w)).mul_(second)
        factor = (laplacian_bar * slope_2).mul_(2 * w)
        jacobian_bar = (factor.unsqueeze(1) * jacobian.unflatten(1, (DIM, width))).flatten(1)
        # By K₀s + k₀ and by the gradient, side by side as in `affine`.
        opened_bar = torch.cat(
            [
                (jacobian_bar @ chain.T)
                .mul_(slope_1)
                .addcmul_(by_p_part * squares, first, value=-2),
                (kinetic_bar - violation_bar) * gradients[:, :DIM],
                violation_bar,
            ],
            dim=1,
        )
        p_bar, gradients_bar = opened_bar.split((width, DIM + 1), dim=1)

        # Through the gradients, stage by stage from the last.
        K0_T, weighted_T, motion = K0.T, weighted.T, _motion(end_bar, ctx.h)
        views = (opened_bar, p_bar, gradients_bar, q_bar, by_u_bar, first, slope_2, by_p)
        size = stages, len(end_bar)
        by_stage = zip(*(view.unflatten(0, size).unbind() for view in views), strict=True)
        start_bar = point_bar = end_bar
        for i, (o_bar, p_bar_i, g_bar, q_bar_i, u_bar, tanh, slope, by_hidden) in reversed(
            list(enumerate(by_stage))
        ):
            stage = i % _STAGES
            if stage == _STAGES - 1:
                end_bar = start_bar
            g_bar.addcmul_(end_bar, motion, value=_SIXTHS[stage] / 6)
            if stage < _STAGES - 1:
                g_bar.addcmul_(point_bar, motion, value=_NODES[stage + 1])
            hidden_bar = g_bar @ K0_T
            u_bar.addcmul_(hidden_bar, tanh)
            q_bar_i.addcmul_(u_bar @ weighted_T, slope)
            p_bar_i.addcmul_(hidden_bar, by_hidden).addcmul_(q_bar_i @ K1, tanh)
            point_bar = o_bar @ affine
            start_bar = start_bar + point_bar

        # Sums over stages and points, as products.
        affine_bar, constant_bar = opened_bar.T @ points, opened_bar.sum(dim=0)
        weighted_bar = second.T @ by_u_bar
        chain_bar = (first.T @ jacobian_bar).unflatten(1, (DIM, width))
        K0_bar = affine_bar[:width] + (first * by_u).T @ gradients_bar
        K0_bar[:, :DIM] += (chain_bar * K1.T.unsqueeze(1)).sum(dim=2)
        K0_bar[:, :DIM] += 2 * by_p_part.sum(dim=0).unsqueeze(1) * K0[:, :DIM]
        K1_bar = w.unsqueeze(1) * weighted_bar - q_bar.T @ minus_u
        K1_bar += (chain_bar * K0[:, :DIM].unsqueeze(2)).sum(dim=1).T
        w_bar = by_u_bar.sum(dim=0) + (weighted_bar * K1).sum(dim=1) + of_size_part.sum(dim=0)
        A_bar = A @ (affine_bar[width:] + affine_bar[width:].T)
        A_bar[:, :DIM] += 2 * laplacian_bar.sum() * A[:, :DIM]
        k0_bar, b_bar = constant_bar.split((width, DIM + 1))
        return start_bar, None, None, K0_bar, k0_bar, K1_bar, q_bar.sum(dim=0), w_bar, A_bar, b_bar


def _backward_by_torch(
    inputs: tuple[Tensor, ...], h: float, num_steps: int, *bars: Tensor
) -> tuple[Tensor | None, ...]:
    def path(s: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return _by_torch(s, h, num_steps, *parameters)

    with without_autocast(inputs[0].device):
        start_bar, *parameter_bars = torch.func.vjp(path, *inputs)[1](bars)
    return start_bar, None, None, *parameter_bars


def _motion(like: Tensor, h: float) -> Tensor:
    """How (y, t) moves in a time `h` by each part of ∇Φ: the velocity is −∇_yΦ."""
    return like.new_tensor([-h, -h, 0])


def _later(like: Tensor, h: float) -> Tensor:
    return like.new_tensor([0, 0, h])


def _sixths(like: Tensor) -> Tensor:
    return like.new_tensor(_SIXTHS)


def _slope(tanh: Tensor) -> Tensor:
    """Return 1 − tanh²."""
    return torch.addcmul(tanh.new_ones(()), tanh, tanh, value=-1)


def _squares(K0: Tensor) -> Tensor:
    return K0[:, :DIM].square().sum(dim=1)


def _chain(K0: Tensor, K1: Tensor) -> Tensor:
    """Return what makes derivatives of K₁u + k₁ by y of tanh(K₀s + k₀), shape (width, 2 width)."""
    return (K1.T.unsqueeze(1) * K0[:, :DIM].unsqueeze(2)).flatten(1)
