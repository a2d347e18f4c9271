"""Flows whose layers are zuko's: NICE, MAF, IAF and the neural spline flow."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.distributions import AffineTransform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.lazy import LazyTransform, UnconditionalTransform
from zuko.transforms import AdditiveTransform, CouplingTransform, MonotonicRQSTransform

from dgmpipe.arguments import whole_number
from dgmpipe.models.flow import DIM, Flow, Standardised
from dgmpipe.models.flow_tasks import LikelihoodTask, NoisyTask
from dgmpipe.models.inputs import require_batch

__all__ = [
    "IAF",
    "MAF",
    "NICE",
    "IAFTask",
    "MAFTask",
    "NICETask",
    "NeuralSplineFlow",
    "NeuralSplineTask",
    "ZukoFlow",
]


class ZukoFlow(Flow):
    """A flow of layers that zuko has.

    Args:
        layers: In the order in which they lead from z to x; each maps towards z.
    """

    def __init__(self, layers: Iterable[LazyTransform]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        y = require_batch(z, (DIM,), "points", self)
        log_dets = []
        for layer in self.layers:
            transform = layer()
            before, y = y, transform.inv(y)
            log_dets.append(-transform.log_abs_det_jacobian(y, before))
        return y, torch.stack(log_dets).sum(dim=0)

    def inverse(self, x: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
        y = require_batch(x, (DIM,), "points", self)
        log_dets = []
        for layer in reversed(self.layers):
            y, log_det = layer().call_and_ladj(y)
            log_dets.append(log_det)
        return y, torch.stack(log_dets).sum(dim=0)

    def hidden_states(self, z: Tensor | ArrayLike) -> Tensor:
        states = [require_batch(z, (DIM,), "points", self)]
        for layer in self.layers:
            states.append(layer().inv(states[-1]))
        return torch.stack(states)


def _network(width: int) -> dict[str, Any]:
    """Return zuko's arguments of a network with two hidden layers."""
    return {"hidden_features": (whole_number(width, "width", 1),) * 2}


def _autoregressive(
    num_layers: int, width: int, **univariate: Any
) -> list[MaskedAutoregressiveTransform]:
    """Return layers that transform one coordinate alone and the other by it, in turn."""
    num_layers, network = whole_number(num_layers, "num_layers", 1), _network(width)
    return [
        MaskedAutoregressiveTransform(
            DIM, order=torch.arange(DIM).roll(layer % DIM), **univariate, **network
        )
        for layer in range(num_layers)
    ]


def _thinner(deviation: float) -> list[LazyTransform]:
    """Return a layer that multiplies the second coordinate of z, or none if it would do nothing."""
    if not deviation > 0:
        raise ValueError(f"base_deviation must be positive, not {deviation}")
    if deviation == 1:
        return []
    towards_z = torch.tensor([1, 1 / deviation])
    return [
        UnconditionalTransform(
            AffineTransform, torch.zeros(DIM), towards_z, event_dim=1, buffer=True
        )
    ]


class _CouplingTransform(CouplingTransform):
    """zuko's without operations that write into a tensor, which torch does not differentiate twice
    in forward mode over several directions."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.idx_a), x.index_select(-1, self.idx_b)

    def merge(self, x_a: Tensor, x_b: Tensor, shape: torch.Size) -> Tensor:
        places = torch.cat([self.idx_a, self.idx_b]).argsort()
        return torch.cat([x_a, x_b], dim=-1).index_select(-1, places)


class _AdditiveCoupling(GeneralCouplingTransform):
    def forward(self, c: Tensor | None = None) -> _CouplingTransform:
        return _CouplingTransform(partial(self.meta, c), self.mask)


class NICE(ZukoFlow):
    """Additive coupling layers and one scaling of the axes at the end, arXiv:1410.8516.

    The layers keep volumes: the log-determinant is that of the scaling, the same at every point.

    Args:
        num_layers: Number of coupling layers, at least 1.
        width: Neurons in each of the two hidden layers of a network, at least 1.

    Raises:
        ValueError: If an argument is no whole number or less than 1.
    """

    def __init__(self, num_layers: int = 6, width: int = 128) -> None:
        num_layers, network = whole_number(num_layers, "num_layers", 1), _network(width)
        scaling = ElementWiseTransform(DIM)
        for parameter in scaling.parameters():
            nn.init.zeros_(parameter)
        couplings = [
            _AdditiveCoupling(
                DIM,
                mask=torch.arange(DIM) == layer % DIM,
                univariate=AdditiveTransform,
                shapes=((),),
                **network,
            )
            for layer in range(num_layers)
        ]
        super().__init__([*couplings, scaling])


class MAF(ZukoFlow):
    """A masked autoregressive flow, arXiv:1705.07057: affine layers, in one pass from x to z.

    Args:
        num_layers: Number of layers, at least 1.
        width: Neurons in each of the two hidden layers of a network, at least 1.

    Raises:
        ValueError: If an argument is no whole number or less than 1.
    """

    def __init__(self, num_layers: int = 6, width: int = 128) -> None:
        super().__init__(_autoregressive(num_layers, width, shapes=((), ())))


class IAF(ZukoFlow):
    """An inverse autoregressive flow, arXiv:1606.04934: affine layers, in one pass from z to x.

    Args:
        num_layers: Number of layers, at least 1.
        width: Neurons in each of the two hidden layers of a network, at least 1.

    Raises:
        ValueError: If an argument is no whole number or less than 1.
    """

    def __init__(self, num_layers: int = 6, width: int = 128) -> None:
        layers = _autoregressive(num_layers, width, shapes=((), ()))
        super().__init__(layer.inv for layer in layers)


class NeuralSplineFlow(ZukoFlow):
    """Autoregressive layers of monotonic rational-quadratic splines, arXiv:1906.04032.

    The splines act within [-5, 5]; beyond, a layer is the identity. Points that reach further are
    for a flow that is `Standardised`.

    Args:
        num_layers: Number of layers, at least 1.
        width: Neurons in each of the two hidden layers of a network, at least 1.
        bins: Pieces of a spline, at least 2.
        base_deviation: What the second latent coordinate is multiplied by before the first layer,
            positive: with a small one the layers begin with a line that is as thin.

    Raises:
        ValueError: If an argument is no whole number or less than said, or `base_deviation` is not
            positive.
    """

    def __init__(
        self, num_layers: int = 4, width: int = 64, bins: int = 16, base_deviation: float = 1
    ) -> None:
        bins = whole_number(bins, "bins", 2)
        univariate = partial(MonotonicRQSTransform, slope=1e-3)
        shapes = ((bins,), (bins,), (bins - 1,))
        layers = _autoregressive(num_layers, width, univariate=univariate, shapes=shapes)
        super().__init__([*_thinner(base_deviation), *layers])


class NICETask(LikelihoodTask):
    """Maximum likelihood training of NICE, eq. (8)."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> NICE:
        return NICE(num_layers=config["num_layers"], width=config["width"])


class MAFTask(LikelihoodTask):
    """Maximum likelihood training of a masked autoregressive flow, eq. (8)."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> MAF:
        return MAF(num_layers=config["num_layers"], width=config["width"])


class IAFTask(LikelihoodTask):
    """Maximum likelihood training of an inverse autoregressive flow, eq. (8)."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> IAF:
        return IAF(num_layers=config["num_layers"], width=config["width"])


class NeuralSplineTask(LikelihoodTask, NoisyTask):
    """Maximum likelihood training of a neural spline flow, eq. (8), on points or noisy ones."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> NeuralSplineFlow:
        base_deviation = config.get("base_deviation", 1)  # which older models had not
        return NeuralSplineFlow(
            config["num_layers"], config["width"], config["bins"], base_deviation
        )

    def objective(self, x: Tensor) -> dict[str, Tensor]:
        if deviation := self.config["dequantisation"]:
            scale = self.model.deviation if isinstance(self.model, Standardised) else 1
            x = x + deviation / scale * self.latent_points(x)
        return super().objective(x)
