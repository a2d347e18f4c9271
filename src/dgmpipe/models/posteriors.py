"""Approximate posteriors e(z|x) other than the paper's Gaussian, each a member of a family.

The encoder returns P numbers of each image, its code; a `Family` makes a distribution of each code.
So what the family can express, with the best code of an image, and what the encoder's code misses
of that can be told apart.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.nn import functional as F

from dgmpipe.arguments import require_stream, whole_number
from dgmpipe.models.approximation import ApproximatePosterior, DiagonalGaussian

__all__ = [
    "FAMILIES",
    "Family",
    "FullCovarianceGaussian",
    "GaussianMixture",
    "PlanarFlow",
    "Pushed",
    "Transported",
    "ZukoFlow",
    "family_of",
    "push",
]

# Values of an image that a flow of zuko's is conditioned on, and neurons of its hidden layers.
_CONTEXT, _WIDTH = 16, 32
# Halvings of an interval in the inverse of a planar layer; one step of Newton's follows.
_HALVINGS = 30


class Pushed(ApproximatePosterior):
    """A distribution that standard normal noise is pushed to, in one or more components.

    Attributes:
        log_weight: Log probabilities of the C components, shape (N, C).
    """

    log_weight: Tensor

    @abstractmethod
    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each component makes of noise, and log e(z|x) there.

        Args:
            noise: Shape (S, q), or (N, S, q) with noise of its own for each image.

        Returns:
            Latent points, shape (N, C, S, q), and the log density of the whole distribution in
            nats, shape (N, C, S).
        """

    def rsample(self, noise: torch.Generator, samples: int | None = None) -> Tensor:
        """Draw latent points, shape (N, q) or (N, S, q), where there is one component."""
        require_stream(noise, "noise")
        count = 1 if samples is None else whole_number(samples, "samples", 1)
        n, q = self._size()
        z = self.push(torch.randn(n, count, q, generator=noise).to(self.log_weight))[0][:, 0]
        return z[:, 0] if samples is None else z

    @abstractmethod
    def _size(self) -> tuple[int, int]:
        """Return N and q."""

    def _points(self, z: Tensor) -> Tensor:
        """Return latent points `z` (N, ..., q) as (N, M, q), or (1, M, q) if there is one row."""
        n, q = self._size()
        if z.ndim < 2 or z.shape[-1] != q or len(z) not in (1, n):
            raise ValueError(
                f"latent points must have shape ({n}, ..., {q}) or (1, ..., {q}), not"
                f" {tuple(z.shape)}"
            )
        return z.reshape(len(z), -1, q)


class FullCovarianceGaussian(Pushed):
    """Normal distributions with any covariance L Lᵀ.

    Args:
        mean: Their means, shape (N, q).
        scale: L, lower triangular with a positive diagonal, shape (N, q, q).
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale
        self.log_weight = mean.new_zeros(len(mean), 1)

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        z = self.mean[:, None] + noise @ self.scale.mT
        value = _log_normal(noise) - self._log_diagonal()[:, None]
        return z[:, None], value[:, None]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log e(z|x) in nats, shape (N, ...), at latent points `z` (N, ..., q)."""
        away = (self._points(z) - self.mean[:, None]).mT
        noise = torch.linalg.solve_triangular(self.scale, away, upper=False).mT
        value = _log_normal(noise) - self._log_diagonal()[:, None]
        return value.view(-1, *z.shape[1:-1])

    def kl_to_standard_normal(self) -> Tensor:
        """Return KL(e(z|x) ‖ N(0, I)) in nats, shape (N,)."""
        squares = self.mean.square().sum(1) + self.scale.square().sum((1, 2))
        return 0.5 * (squares - self.mean.shape[1]) - self._log_diagonal()

    def _log_diagonal(self) -> Tensor:
        return self.scale.diagonal(dim1=1, dim2=2).log().sum(1)

    def _size(self) -> tuple[int, int]:
        return len(self.mean), self.mean.shape[1]


class GaussianMixture(Pushed):
    """Mixtures of C normals with diagonal covariances.

    Args:
        logits: Log weights up to a constant, shape (N, C).
        means: Of the components, shape (N, C, q).
        log_variances: Of the components, shape (N, C, q).
    """

    def __init__(self, logits: Tensor, means: Tensor, log_variances: Tensor) -> None:
        self.log_weight = logits.log_softmax(1)
        self.means, self.log_variances = means, log_variances
        self.mean = (self.log_weight.exp()[..., None] * means).sum(1)

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        noise = noise if noise.ndim == 2 else noise[:, None]
        z = self.means[:, :, None] + torch.exp(self.log_variances / 2)[:, :, None] * noise
        return z, self.log_prob(z)

    def rsample(self, noise: torch.Generator, samples: int | None = None) -> Tensor:
        """Draw latent points, shape (N, q) or (N, S, q), with the derivatives of arXiv:1805.08498.

        With these the quantile of each coordinate, given those before it, stays as it is.
        """
        require_stream(noise, "noise")
        count = 1 if samples is None else whole_number(samples, "samples", 1)
        n, q = self._size()
        shares = self.log_weight.detach().exp().cumsum(1)[:, None]
        uniform = torch.rand(n, count, 1, generator=noise).to(shares)
        chosen = (uniform > shares[..., :-1]).sum(2)[..., None].expand(-1, -1, q)
        means, log_variances = (
            values.detach().gather(1, chosen) for values in (self.means, self.log_variances)
        )
        epsilon = torch.randn(n, count, q, generator=noise).to(means)
        z = means + torch.exp(log_variances / 2) * epsilon
        if torch.is_grad_enabled():
            z = self._attached(z)
        return z[:, 0] if samples is None else z

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log e(z|x) in nats, shape (N, ...), at latent points `z` (N, ..., q)."""
        parts = self._along_axes(self._points(z)).sum(3) + self.log_weight[..., None]
        return parts.logsumexp(1).view(-1, *z.shape[1:-1])

    def _along_axes(self, points: Tensor) -> Tensor:
        """Return each component's log density along each axis at points (N, M, q): (N, C, M, q)."""
        log_variances = self.log_variances[:, :, None]
        squares = (points[:, None] - self.means[:, :, None]).square() * torch.exp(-log_variances)
        return -0.5 * (squares + log_variances + math.log(2 * math.pi))

    def _quantiles(self, z: Tensor) -> Tensor:
        """Return the conditional quantile of each coordinate of `z` (N, S, q), of its shape."""
        along = self._along_axes(z)
        before = self.log_weight[..., None, None] + along.cumsum(3) - along
        away = z[:, None] - self.means[:, :, None]
        below = torch.special.ndtr(away * torch.exp(-self.log_variances / 2)[:, :, None])
        return (before.softmax(1) * below).sum(1)

    def _attached(self, z: Tensor) -> Tensor:
        """Return draws (N, S, q) that move by −(∂F/∂z)⁻¹ ∂F as the parameters move F at z by ∂F."""
        parameters = (self.log_weight, self.means, self.log_variances)
        fixed = GaussianMixture(*(values.detach() for values in parameters))
        where = z.clone().requires_grad_()
        rows = [
            torch.autograd.grad(quantile.sum(), where, retain_graph=True)[0]
            for quantile in fixed._quantiles(where).unbind(2)
        ]
        quantiles = self._quantiles(z)
        moved = (quantiles - quantiles.detach())[..., None]
        slopes = torch.stack(rows, 2)
        return z - torch.linalg.solve_triangular(slopes, moved, upper=False)[..., 0]

    def _size(self) -> tuple[int, int]:
        return len(self.means), self.means.shape[2]


class Transported(Pushed):
    """Distributions of z = μ + σ T(ε) for standard normal ε and an invertible map T.

    Args:
        location: μ, shape (N, q).
        log_scale: Logs of σ, shape (N, q).
    """

    def __init__(self, location: Tensor, log_scale: Tensor) -> None:
        self.location, self.log_scale = location, log_scale
        self._mean: Tensor | None = None
        self.log_weight = location.new_zeros(len(location), 1)

    @abstractmethod
    def transport(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return T(ε), and log |det ∇T(ε)|, shape (N, S), for `noise` (N, S, q)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return T⁻¹(y), and log |det ∇T⁻¹(y)|, shape (N, S), for `y` (N, S, q)."""

    @property
    def mean(self) -> Tensor:
        """Means of the N distributions, shape (N, q), over 512 fixed draws and their mirrors."""
        if self._mean is None:
            half = torch.randn(512, self._size()[1], generator=torch.Generator().manual_seed(0))
            self._mean = self.push(torch.cat([half, -half]).to(self.location))[0].mean((1, 2))
        return self._mean

    @mean.setter
    def mean(self, mean: Tensor) -> None:
        self._mean = mean

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        noise = noise.expand(len(self.location), -1, -1)
        y, log_det = self.transport(noise)
        z = self.location[:, None] + self.log_scale.exp()[:, None] * y
        value = _log_normal(noise) - log_det - self.log_scale.sum(1)[:, None]
        return z[:, None], value[:, None]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log e(z|x) in nats, shape (N, ...), at latent points `z` (N, ..., q)."""
        away = self._points(z) - self.location[:, None]
        noise, log_det = self.inverse(away * torch.exp(-self.log_scale)[:, None])
        value = _log_normal(noise) + log_det - self.log_scale.sum(1)[:, None]
        return value.view(-1, *z.shape[1:-1])

    def _size(self) -> tuple[int, int]:
        return len(self.location), self.location.shape[1]


class PlanarFlow(Transported):
    """T of planar layers y + û tanh(wᵀy + b), arXiv:1505.05770, with their own u, w, b an image.

    Args:
        location: μ, shape (N, q).
        log_scale: Logs of σ, shape (N, q).
        layers: u, w and b of the K layers, shape (N, K, 2q + 1).
    """

    def __init__(self, location: Tensor, log_scale: Tensor, layers: Tensor) -> None:
        super().__init__(location, log_scale)
        q = location.shape[1]
        u, w, b = layers.split([q, q, 1], dim=2)
        # As in that paper's appendix: wᵀû > −1, by which a layer is invertible.
        product = (w * u).sum(2, keepdim=True)
        size = w.square().sum(2, keepdim=True).clamp_min(1e-6)
        self._u = u + (F.softplus(product) - 0.99 - product) * w / size
        self._w, self._b = w, b

    def transport(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        log_det = noise.new_zeros(noise.shape[:2])
        for u, w, b in self._layers():
            bent = torch.tanh((noise * w).sum(2, keepdim=True) + b)
            slope = (u * w).sum(2, keepdim=True) * (1 - bent.square())
            noise, log_det = noise + u * bent, log_det + torch.log1p(slope[..., 0])
        return noise, log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y = y.expand(len(self.location), -1, -1)
        log_det = y.new_zeros(y.shape[:2])
        for u, w, b in reversed(self._layers()):
            product, target = (u * w).sum(2, keepdim=True), (y * w).sum(2, keepdim=True)
            # a + wᵀu tanh(a + b) = wᵀy rises with a, and the tanh is between −1 and 1.
            with torch.no_grad():
                low, high = target - product.abs(), target + product.abs()
                for _ in range(_HALVINGS):
                    middle = (low + high) / 2
                    above = middle + product * torch.tanh(middle + b) > target
                    low, high = torch.where(above, low, middle), torch.where(above, middle, high)
                root = (low + high) / 2
                slope = 1 + product * (1 - torch.tanh(root + b).square())
            # A step of Newton's: to full precision, and with the derivatives of the root.
            root = root - (root + product * torch.tanh(root + b) - target) / slope
            bent = torch.tanh(root + b)
            y = y - u * bent
            log_det = log_det - torch.log1p((product * (1 - bent.square()))[..., 0])
        return y, log_det

    def _layers(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return û, w and b of each layer, (N, 1, q) and (N, 1, 1)."""
        return [
            (self._u[:, [k]], self._w[:, [k]], self._b[:, [k]]) for k in range(self._u.shape[1])
        ]


class ZukoFlow(Transported):
    """T that a flow of the library zuko makes of an image's context.

    Args:
        location: μ, shape (N, q).
        log_scale: Logs of σ, shape (N, q).
        transform: T, a transform of zuko's, which takes noise (N, S, q).
    """

    def __init__(self, location: Tensor, log_scale: Tensor, transform: Any) -> None:
        super().__init__(location, log_scale)
        self._transform = transform

    def transport(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self._transform.call_and_ladj(noise)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._transform.inv.call_and_ladj(y)


class Family(nn.Module, ABC):
    """A family of approximate posteriors: what each code of P numbers stands for.

    Attributes:
        size: P.
    """

    size: int

    @abstractmethod
    def forward(self, code: Tensor) -> ApproximatePosterior:
        """Return the members that codes (N, P) stand for."""


class _Diagonal(Family):
    """The paper's: means and log variances."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__()
        self.size = 2 * latent_dim

    def forward(self, code: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(*code.chunk(2, dim=1))


class _FullCovariance(Family):
    """Means, logs of the diagonal of L, and what is below it."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.size = 2 * latent_dim + latent_dim * (latent_dim - 1) // 2

    def forward(self, code: Tensor) -> FullCovarianceGaussian:
        q = self.latent_dim
        mean, log_diagonal, below = code.split([q, q, self.size - 2 * q], dim=1)
        scale = torch.diag_embed(log_diagonal.exp())
        row, column = torch.tril_indices(q, q, offset=-1, device=code.device)
        scale = scale.index_put((torch.arange(len(code))[:, None], row, column), below)
        return FullCovarianceGaussian(mean, scale)


class _Mixture(Family):
    """Logits, means and log variances of the components."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__()
        self.components = components
        self.size = components * (2 * latent_dim + 1)

    def forward(self, code: Tensor) -> GaussianMixture:
        logits, rest = code.split([self.components, self.size - self.components], dim=1)
        return GaussianMixture(logits, *rest.view(len(code), self.components, -1).chunk(2, dim=2))


class _Planar(Family):
    """μ, log σ, and u, w and b of the layers."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__()
        self.latent_dim, self.layers = latent_dim, layers
        self.size = 2 * latent_dim + layers * (2 * latent_dim + 1)

    def forward(self, code: Tensor) -> PlanarFlow:
        q = self.latent_dim
        location, log_scale, rest = code.split([q, q, self.size - 2 * q], dim=1)
        return PlanarFlow(location, log_scale, rest.view(len(code), self.layers, -1))


class _Conditional(Family):
    """μ, log σ, and the context of a flow whose weights all images share."""

    def __init__(
        self, flow: Callable[..., zuko.flows.Flow], latent_dim: int, components: int, layers: int
    ) -> None:
        super().__init__()
        if latent_dim < 2:
            raise ValueError("a conditional flow needs at least two latent dimensions")
        self.latent_dim = latent_dim
        self.size = 2 * latent_dim + _CONTEXT
        self.transform = flow(
            latent_dim, _CONTEXT, layers, hidden_features=(_WIDTH, _WIDTH), activation=nn.SiLU
        ).transform

    def forward(self, code: Tensor) -> ZukoFlow:
        q = self.latent_dim
        location, log_scale, context = code.split([q, q, _CONTEXT], dim=1)
        return ZukoFlow(location, log_scale, self.transform(context[:, None]))


class _IAF(_Conditional):
    """Inverse autoregressive flow, arXiv:1606.04934: T is autoregressive in the noise."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__(zuko.flows.MAF, latent_dim, components, layers)


class _RealNVP(_Conditional):
    """The third neural network of the paper's Section 4.2: a Real NVP conditioned on the image."""

    def __init__(self, latent_dim: int, components: int, layers: int) -> None:
        super().__init__(zuko.flows.RealNVP, latent_dim, components, layers)


FAMILIES: dict[str, Callable[[int, int, int], Family]] = {
    "diagonal": _Diagonal,
    "full_covariance": _FullCovariance,
    "mixture": _Mixture,
    "planar": _Planar,
    "iaf": _IAF,
    "realnvp": _RealNVP,
}


def family_of(name: str, latent_dim: int, *, components: int = 4, layers: int = 4) -> Family:
    """Return an untrained family.

    Args:
        name: A key of `FAMILIES`.
        latent_dim: Dimension q of the latent space.
        components: Normals of a mixture.
        layers: Layers of a flow.

    Raises:
        ValueError: If there is no such family, or it needs more dimensions.
    """
    if name not in FAMILIES:
        raise ValueError(f"posterior must be one of {', '.join(FAMILIES)}, not '{name}'")
    return FAMILIES[name](latent_dim, components, layers)


def push(posterior: ApproximatePosterior, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what noise is pushed to, the log density there, and the components' log weights.

    Args:
        posterior: Of N images, a `DiagonalGaussian` or a `Pushed`.
        noise: Standard normal, shape (S, q) or (N, S, q).

    Returns:
        Latent points (N, C, S, q), log e(z|x) there (N, C, S) and log weights (N, C).

    Raises:
        ValueError: If it is another distribution.
    """
    if isinstance(posterior, DiagonalGaussian):
        z = posterior.mean[:, None] + posterior.std[:, None] * noise
        log_weight = z.new_zeros(len(z), 1)
        return z[:, None], posterior.log_prob(z)[:, None], log_weight
    if not isinstance(posterior, Pushed):
        raise ValueError("noise can be pushed to a diagonal Gaussian or a `Pushed` only")
    return *posterior.push(noise), posterior.log_weight


def _log_normal(noise: Tensor) -> Tensor:
    """Return the log density of N(0, I) at `noise` (..., q), shape (...)."""
    return -0.5 * noise.square().sum(-1) - 0.5 * noise.shape[-1] * math.log(2 * math.pi)
