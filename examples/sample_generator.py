"""Draw images from a trained generator, of the VAE or of a GAN.

    python examples/sample_generator.py results/laptop/models/wgan_vae/seed_0

writes the picture samples.png and prints what is on it:
    25 images of 28x28, mean intensity 0.135
"""

import argparse
import sys
from pathlib import Path

import matplotlib.image
import torch
from matplotlib.backend_bases import FigureCanvasBase

from dgmpipe.errors import UserError
from dgmpipe.evaluation.samples import sample_images
from dgmpipe.models import VAE, load_model
from dgmpipe.models.gan import GAN


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw images from a trained generator.")
    parser.add_argument("model", nargs="?", default="results/laptop/models/wgan_vae/seed_0")
    parser.add_argument("--picture", default="samples.png")
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 1 <= args.rows <= 100:
        raise ValueError(f"--rows must be between 1 and 100, not {args.rows}")
    if not 0 <= args.seed < 2**63:
        raise ValueError(f"--seed must be between 0 and 2**63 - 1, not {args.seed}")
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if Path(args.picture).suffix[1:].lower() not in kinds:
        raise ValueError(f"--picture {args.picture} must end with one of .{', .'.join(kinds)}")
    model, noise = load_model(args.model, VAE, GAN), torch.Generator().manual_seed(args.seed)
    images = sample_images(model.generator, args.rows**2, noise)
    n, height, width = images.shape
    tiles = images.view(args.rows, args.rows, height, width).transpose(1, 2)
    picture = tiles.reshape(args.rows * height, args.rows * width)
    matplotlib.image.imsave(args.picture, picture.numpy(), cmap="gray_r", vmin=0, vmax=1)
    print(f"{n} images of {height}x{width}, mean intensity {images.mean():.3f}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
