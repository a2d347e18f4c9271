"""What a generator makes of random latent points and of a line between two of them."""

import torch
from torch import Tensor

from dgmpipe.arguments import require_stream, whole_number
from dgmpipe.data.batches import to_float
from dgmpipe.errors import UserError
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.generator import Generator
from dgmpipe.models.image_flow import ImageFlow
from dgmpipe.streams import random_stream

__all__ = ["evaluated_images", "generator_of", "interpolate", "sample_images", "show_images"]


def evaluated_images(subject: Subject, n: int) -> Tensor:
    """Return `n` images, (n, H, W) or (n, 3, H, W), that are compared with the test images.

    Latent points, or the choice of the training images where there is no model, depend on the
    seed.

    Raises:
        UserError: If a file is missing or damaged, or has fewer than `n` training images.
    """
    stream = random_stream(subject.seed, "evaluated images")
    if subject.folder is not None:
        return sample_images(generator_of(subject), n, stream)
    training, _ = subject.load_images("train")
    if n > len(training):
        raise UserError(
            f"the config asks for {n:,} training images, but there are {len(training):,};"
            " lower the number"
        )
    return to_float(training[torch.randperm(len(training), generator=stream)[:n]]).squeeze(1)


def show_images(
    subject: Subject, *, num_images: int, interpolation_steps: int
) -> dict[str, dict[str, Tensor]]:
    """Return as `arrays` the images of a generator that Figures 9 and 10 show.

    A flow from noise to images has no line to show: its latent space is as large as an image.
    """
    generator = generator_of(subject)
    noise = random_stream(subject.seed, "shown samples")
    arrays = {"samples": sample_images(generator, num_images, noise)}
    if isinstance(generator, Generator):
        arrays["interpolation"] = interpolate(generator, interpolation_steps)
    return {"arrays": arrays}


def generator_of(subject: Subject) -> Generator | ImageFlow:
    """Return the generator of a trained model of images, in evaluation mode."""
    model = subject.model()
    generator = model if isinstance(model, ImageFlow) else model.get_submodule("generator")
    assert isinstance(generator, Generator | ImageFlow)
    return generator


@torch.no_grad()
def sample_images(generator: Generator | ImageFlow, n: int, noise: torch.Generator) -> Tensor:
    """Return images of `n` points of N(0, I), (n, H, W) or (n, 3, H, W), as in Figure 9.

    `generator` is in evaluation mode; `noise` is a random stream on the CPU.

    Raises:
        ValueError: If `n` is no whole number or less than 1, or `noise` no stream on the CPU.
    """
    n = whole_number(n, "n", 1)
    require_stream(noise, "noise")
    device = next(generator.parameters()).device
    z = torch.randn(n, generator.latent_dim, generator=noise).to(device)
    return torch.cat([generator(some) for some in z.split(500)]).squeeze(1)


@torch.no_grad()
def interpolate(generator: Generator, steps: int) -> Tensor:
    """Return images along the line from −e to e, e = (1, …, 1), (steps, H, W) or (steps, 3, H, W).

    `generator` is in evaluation mode.

    Raises:
        ValueError: If `steps` is no whole number or less than 1.
    """
    steps = whole_number(steps, "steps", 1)
    device = next(generator.parameters()).device
    line = torch.linspace(-1, 1, steps, device=device)
    return generator(line[:, None].expand(-1, generator.latent_dim)).squeeze(1)
