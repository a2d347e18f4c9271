"""The generator that VAEs, GANs and flows of codes share."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe.arguments import whole_number
from dgmpipe.models.convolution import ToChannels, to_image
from dgmpipe.models.inputs import IMAGE_SHAPE, ImageShape, require_batch
from dgmpipe.models.sampling import stream_of

__all__ = ["Generator"]


class Generator(nn.Module):
    """The three-layer convolutional generator g_θ of eq. (5), from latent points to images.

    A linear layer makes `2 width` channels of 7×7 pixels, two transposed convolutions with 4×4
    stencils and stride 2 make `width` channels of 14×14 and one of 28×28. With the paper's
    `latent_dim=2` and `width=32` it has 42,913 parameters. Images of another size, or with three
    channels, have layers of a quarter and a half of theirs.

    Args:
        latent_dim: Dimension q of the latent space.
        width: Channels of the 14×14 layer; the 7×7 layer has twice as many.
        image_shape: Channels, height and width (C, H, W) of the images, the latter two multiples
            of 4.

    Raises:
        ValueError: If `latent_dim` or `width` is no whole number or less than 1.

    Example:
        >>> generator = Generator()
        >>> sum(p.numel() for p in generator.parameters())
        42913
        >>> generator(torch.zeros(3, 2)).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(
        self, latent_dim: int = 2, width: int = 32, image_shape: ImageShape = IMAGE_SHAPE
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim = whole_number(latent_dim, "latent_dim", 1)
        width = whole_number(width, "width", 1)
        self.image_shape = image_shape
        channels, rows, columns = image_shape
        self.layers = nn.Sequential(
            ToChannels(latent_dim, (2 * width, rows // 4, columns // 4)),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            to_image(width, channels),
        )

    def logits(self, z: Tensor | ArrayLike) -> Tensor:
        """Return the images before the sigmoid of eq. (5): `z` (N, q) -> (N, C, H, W).

        Points are a tensor of the model's type, or anything that NumPy reads.

        Raises:
            ValueError: If `z` is not of shape (N, q).
        """
        z = require_batch(z, (self.latent_dim,), "latent points", self)
        return self.layers(z)

    def forward(self, z: Tensor | ArrayLike) -> Tensor:
        """Return images with intensities in (0, 1), eq. (5): `z` (N, q) -> (N, C, H, W)."""
        return torch.sigmoid(self.logits(z))

    @torch.no_grad()
    def sample(  # only for users
        self, n: int, generator: torch.Generator | None = None, *, seed: int | None = None
    ) -> Tensor:
        """Return images of `n` points of N(0, I), shape (n, C, H, W), on the model's device.

        Args:
            n: Number of images.
            generator: Random stream of the latent points; on the CPU, so that every device
                sees the same numbers.
            seed: In its place the seed of a new stream; with neither torch's own is used.

        Raises:
            ValueError: If `n` is no whole number or negative, `generator` no stream on the CPU, the
                seed not possible, or both are given.

        Example:
            >>> Generator().sample(3, seed=0).shape
            torch.Size([3, 1, 28, 28])
        """
        n = whole_number(n, "n", 0)
        generator = stream_of(generator, seed)
        parameter = next(self.parameters())
        z = torch.randn(n, self.latent_dim, generator=generator, dtype=parameter.dtype)
        return torch.cat([self(some) for some in z.to(parameter.device).split(500)])
