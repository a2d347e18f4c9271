"""Every training step as a textbook would write it, from the paper's formulas alone.

Eager PyTorch with standard layers, the default form of each optimiser, and a data loader that
fetches image by image. The package's own steps are measured against it, for their speed in
`make bench` and for their numbers in the tests; so nothing here comes from the package but the
images without a digit that the classifier is trained against.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from dgmpipe.data.made_up import with_no_digits

__all__ = ["build", "digits", "images", "moons"]


class Images(Dataset):
    """Images (N, 28, 28) of bytes, one by one, each a tensor (1, 28, 28) of floats in [0, 1]."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index].unsqueeze(0).float() / 255, self.labels[index]


def digits(x: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give shuffled batches of images and labels, epoch by epoch."""
    loader = DataLoader(Images(x, labels), batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def images(x: Tensor, labels: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Give shuffled batches of images, epoch by epoch."""
    return (batch for batch, _ in digits(x, labels, batch_size))


def moons(batch_size: int, noise: float = 0.05) -> Iterator[Tensor]:
    """Give fresh batches (N, 2) of the moons."""
    while True:
        yield torch.from_numpy(make_moons(batch_size, noise=noise)[0]).float()


def generator(latent_dim: int = 2, width: int = 32) -> nn.Sequential:
    """Eq. (5), before its sigmoid."""
    return nn.Sequential(
        nn.Linear(latent_dim, 2 * width * 7 * 7),
        nn.Unflatten(1, (2 * width, 7, 7)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
    )


def discriminator(width: int = 32) -> nn.Sequential:
    """Eq. (33), before its sigmoid, of images scaled to [−1, 1]."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * 7 * 7, 1),
    )


def encoder(width: int = 32) -> nn.Sequential:
    """Eqs. (27) and (28), before the two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )


class VAE(nn.Module):
    """Eqs. (22)-(28) with Adam."""

    def __init__(
        self, latent_dim: int, width: int, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        self.features = encoder(width)
        self.mean = nn.Linear(2 * width * 7 * 7, latent_dim)
        self.log_variance = nn.Linear(2 * width * 7 * 7, latent_dim)
        self.generator = generator(latent_dim, width)
        self.adam = torch.optim.Adam(self.parameters(), lr=learning_rate, weight_decay=weight_decay)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        x = next(batches)
        features = self.features(x)
        mean, log_variance = self.mean(features), self.log_variance(features)
        epsilon = torch.randn(mean.shape, generator=noise).to(x)
        generated = torch.sigmoid(self.generator(mean + torch.exp(log_variance / 2) * epsilon))
        misfit = F.binary_cross_entropy(generated, x, reduction="sum")
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        loss = (misfit + divergence) / len(x)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.detach()}


class DCGAN(nn.Module):
    """Eqs. (31) and (32) with Adam."""

    def __init__(
        self,
        latent_dim: int,
        width: int,
        discriminator_learning_rate: float,
        generator_learning_rate: float,
        beta_1: float,
        beta_2: float,
        fresh_latent_points: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim, self.fresh_latent_points = latent_dim, fresh_latent_points
        self.generator = generator(latent_dim, width)
        self.discriminator = discriminator(width)
        self.adam_d, self.adam_g = (
            torch.optim.Adam(network.parameters(), lr=rate, betas=(beta_1, beta_2))
            for network, rate in (
                (self.discriminator, discriminator_learning_rate),
                (self.generator, generator_learning_rate),
            )
        )

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        x = next(batches)
        generated = generate(self, x, noise)
        of_true = torch.sigmoid(self.discriminator(2 * x - 1))
        of_generated = torch.sigmoid(self.discriminator(2 * generated.detach() - 1))
        discriminator_loss = -(of_true.log().mean() + (1 - of_generated).log().mean())
        self.adam_d.zero_grad()
        discriminator_loss.backward()
        self.adam_d.step()

        if self.fresh_latent_points:
            generated = generate(self, x, noise)
        of_generated = torch.sigmoid(self.discriminator(2 * generated - 1))
        generator_loss = (1 - of_generated).log().mean()
        self.adam_g.zero_grad()
        generator_loss.backward()
        self.adam_g.step()
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
        }


class WGAN(nn.Module):
    """Eq. (35) with RMSprop."""

    def __init__(
        self,
        latent_dim: int,
        width: int,
        discriminator_learning_rate: float,
        generator_learning_rate: float,
        critic_steps: int,
        clip: float,
        clip_batch_norm: bool,
        clip_before_update: bool,
    ) -> None:
        super().__init__()
        self.latent_dim, self.critic_steps, self.clip = latent_dim, critic_steps, clip
        self.clip_batch_norm, self.clip_before_update = clip_batch_norm, clip_before_update
        self.generator = generator(latent_dim, width)
        self.critic = discriminator(width)
        self.rms_c = torch.optim.RMSprop(self.critic.parameters(), lr=discriminator_learning_rate)
        self.rms_g = torch.optim.RMSprop(self.generator.parameters(), lr=generator_learning_rate)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        for _ in range(self.critic_steps):
            x = next(batches)
            if self.clip_before_update:
                self.clip_critic()
            generated = generate(self, x, noise).detach()
            distance = self.critic(2 * generated - 1).mean() - self.critic(2 * x - 1).mean()
            self.rms_c.zero_grad()
            (-distance).backward()
            self.rms_c.step()
            if not self.clip_before_update:
                self.clip_critic()

        loss = self.critic(2 * generate(self, x, noise) - 1).mean()
        self.rms_g.zero_grad()
        loss.backward()
        self.rms_g.step()
        return {"critic_distance": distance.detach(), "generator_loss": loss.detach()}

    def clip_critic(self) -> None:
        for layer in self.critic:
            if self.clip_batch_norm or not isinstance(layer, nn.BatchNorm2d):
                for parameter in layer.parameters():
                    parameter.data.clamp_(-self.clip, self.clip)


class WGANGP(nn.Module):
    """The critic's loss of arXiv:1704.00028 (3), without batch norms in it, with Adam."""

    def __init__(
        self,
        latent_dim: int,
        width: int,
        discriminator_learning_rate: float,
        generator_learning_rate: float,
        critic_steps: int,
        penalty: float,
        beta_1: float,
        beta_2: float,
    ) -> None:
        super().__init__()
        self.latent_dim, self.critic_steps, self.penalty = latent_dim, critic_steps, penalty
        self.generator = generator(latent_dim, width)
        layers = discriminator(width)
        self.critic = nn.Sequential(*(m for m in layers if not isinstance(m, nn.BatchNorm2d)))
        betas = beta_1, beta_2
        self.adam_c = torch.optim.Adam(self.critic.parameters(), discriminator_learning_rate, betas)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), generator_learning_rate, betas)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        for _ in range(self.critic_steps):
            x = next(batches)
            generated = generate(self, x, noise).detach()
            distance = self.critic(2 * generated - 1).mean() - self.critic(2 * x - 1).mean()
            t = torch.rand(len(x), 1, 1, 1, generator=noise).to(x)
            between = ((1 - t) * generated + t * x).requires_grad_()
            values = self.critic(2 * between - 1)
            (slope,) = torch.autograd.grad(values.sum(), between, create_graph=True)
            norms = (slope**2).sum(dim=(1, 2, 3)).sqrt()
            loss = -distance + self.penalty * ((norms - 1) ** 2).mean()
            self.adam_c.zero_grad()
            loss.backward()
            self.adam_c.step()

        loss = self.critic(2 * generate(self, x, noise) - 1).mean()
        self.adam_g.zero_grad()
        loss.backward()
        self.adam_g.step()
        return {"critic_distance": distance.detach(), "generator_loss": loss.detach()}


def generate(gan: DCGAN | WGAN | WGANGP, x: Tensor, noise: torch.Generator) -> Tensor:
    """As many images of new latent points as there are in x."""
    z = torch.randn(len(x), gan.latent_dim, generator=noise).to(x)
    return torch.sigmoid(gan.generator(z))


class Classifier(nn.Module):
    """Two convolutions and two linear layers with Adam, whose rate the loop of a training lowers.

    The images that it is trained on beside the digits are made by the functions that ours are.
    """

    def __init__(self, width: int, learning_rate: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 7 * 7, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 11),
        )
        self.adam = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def step(
        self, batches: Iterator[tuple[Tensor, Tensor]], noise: torch.Generator
    ) -> dict[str, Tensor]:
        x, classes = with_no_digits(*next(batches), 10, noise)
        loss = F.cross_entropy(self.layers(x), classes)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.detach()}


def coupling_network(width: int) -> nn.Sequential:
    """One of the networks s and t of eq. (11)."""
    return nn.Sequential(
        nn.Linear(2, width),
        nn.LeakyReLU(0.01),
        nn.Linear(width, width),
        nn.LeakyReLU(0.01),
        nn.Linear(width, 2),
        nn.Tanh(),
    )


class RealNVP(nn.Module):
    """Eqs. (8)-(13) with Adam."""

    def __init__(self, num_layers: int, width: int, learning_rate: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([coupling_network(width), coupling_network(width)])
            for _ in range(num_layers)
        )
        self.adam = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        x = next(batches)
        y, log_det = x, 0
        masks = [torch.tensor([0.0, 1.0]).to(x), torch.tensor([1.0, 0.0]).to(x)]
        for j, (scale, shift) in reversed(list(enumerate(self.layers))):
            kept = masks[j % 2]
            s = (1 - kept) * scale(kept * y)
            t = (1 - kept) * shift(kept * y)
            y = kept * y + (1 - kept) * (y - t) * torch.exp(-s)
            log_det = log_det - s.sum(dim=1)
        log_normal = -0.5 * (y**2).sum(dim=1) - math.log(2 * math.pi)
        loss = -(log_normal + log_det).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.detach()}


class OTFlow(nn.Module):
    """Eqs. (14)-(19) and the penalty of arXiv:2006.00104, from x at t = 1 back to z, with Adam."""

    def __init__(
        self,
        width: int,
        training_rk4_steps: int,
        alpha_transport: float,
        alpha_likelihood: float,
        alpha_hjb: float,
        learning_rate: float,
    ) -> None:
        super().__init__()
        self.num_steps = training_rk4_steps
        self.alphas = alpha_transport, alpha_likelihood, alpha_hjb
        self.opening = nn.Linear(3, width)
        self.residual = nn.Linear(width, width)
        self.w = nn.Parameter(torch.ones(width))
        self.A = nn.Parameter(torch.ones(3, 3))
        self.b = nn.Parameter(torch.zeros(3))
        self.c = nn.Parameter(torch.zeros(()))
        self.adam = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def gradient_and_laplacian(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """∇Φ, (N, 3), and the Laplacian of Φ in space, (N,), at points and times (N, 3)."""
        K0, K1 = self.opening.weight, self.residual.weight
        p = self.opening(s)
        tanh_p = torch.tanh(p)
        tanh_q = torch.tanh(self.residual(p.abs() + torch.log1p(torch.exp(-2 * p.abs()))))
        by_u = self.w + (tanh_q * self.w) @ K1
        gradient = (tanh_p * by_u) @ K0 + s @ self.A.T @ self.A + self.b
        jacobian = K1 @ (tanh_p.unsqueeze(2) * K0[:, :2])
        laplacian = ((1 - tanh_p**2) * by_u) @ (K0[:, :2] ** 2).sum(dim=1)
        laplacian = laplacian + ((1 - tanh_q**2) * self.w * (jacobian**2).sum(dim=2)).sum(dim=1)
        return gradient, laplacian + (self.A[:, :2] ** 2).sum()

    def rate(self, state: Tensor, t: float) -> Tensor:
        """The rate of position, log-determinant, transport cost and penalty, (N, 5)."""
        y = state[:, :2]
        gradient, laplacian = self.gradient_and_laplacian(F.pad(y, (0, 1), value=t))
        by_y, by_t = gradient[:, :2], gradient[:, 2]
        kinetic = 0.5 * (by_y**2).sum(dim=1)
        return torch.cat(
            [-by_y, torch.stack([-laplacian, kinetic, (by_t - kinetic).abs()], dim=1)], dim=1
        )

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        x = next(batches)
        state, t, h = F.pad(x, (0, 3)), 1.0, -1 / self.num_steps
        for _ in range(self.num_steps):
            k1 = self.rate(state, t)
            k2 = self.rate(state + h / 2 * k1, t + h / 2)
            k3 = self.rate(state + h / 2 * k2, t + h / 2)
            k4 = self.rate(state + h * k3, t + h)
            state, t = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
        log_normal = -0.5 * (state[:, :2] ** 2).sum(dim=1) - math.log(2 * math.pi)
        nll = -(log_normal + state[:, 2]).mean()
        transport, hjb = -state[:, 3].mean(), -state[:, 4].mean()
        of_transport, of_likelihood, of_hjb = self.alphas
        loss = of_transport * transport + of_likelihood * nll + of_hjb * hjb
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {
            "loss": loss.detach(),
            "transport": transport.detach(),
            "nll": nll.detach(),
            "hjb": hjb.detach(),
        }


MODELS = {
    "realnvp": RealNVP,
    "otflow": OTFlow,
    "vae": VAE,
    "dcgan": DCGAN,
    "wgan": WGAN,
    "wgan_gp": WGANGP,
    "gan": DCGAN,  # by default
    "classifier": Classifier,
}


def build(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a model of that kind with its optimisers; its `step(batches, noise)` trains it."""
    model = MODELS[kind]
    names = inspect.signature(model).parameters.keys() & config.keys()
    return model(**{name: config[name] for name in names})
