"""What a generator makes of random latent points and of a line between two of them."""

import torch
from torch import Tensor

from dgmpipe.models.generator import Generator

__all__ = ["interpolate", "sample_images"]


@torch.no_grad()
def sample_images(generator: Generator, n: int, noise: torch.Generator) -> Tensor:
    """Return `n` images of latent points from N(0, I), shape (n, 28, 28), as in Figure 9.

    `generator` is in evaluation mode; `noise` is a random stream on the CPU.
    """
    device = next(generator.parameters()).device
    z = torch.randn(n, generator.latent_dim, generator=noise).to(device)
    return torch.cat([generator(some) for some in z.split(500)])[:, 0]


@torch.no_grad()
def interpolate(generator: Generator, steps: int) -> Tensor:
    """Return images along the line from −e to e, e = (1, …, 1), shape (steps, 28, 28), Figure 10.

    `generator` is in evaluation mode.
    """
    device = next(generator.parameters()).device
    line = torch.linspace(-1, 1, steps, device=device)
    return generator(line[:, None].expand(-1, generator.latent_dim))[:, 0]
