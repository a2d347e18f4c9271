"""Posterior of one test image on the latent plane of the VAE.

    python examples/posterior.py results/laptop/models/vae/seed_0 --image 33

prints its evidence by quadrature, that of a pseudo-likelihood with eq. (4), and where its posterior
is highest:
    image 33, label 4: log p(x) = -227.59, MAP at (-1.62, -0.52)
"""

import argparse
import sys

from dgmpipe.data import load_mnist
from dgmpipe.data.batches import to_float
from dgmpipe.errors import UserError
from dgmpipe.evaluation import posterior_grid
from dgmpipe.models import VAE, load_model


def main() -> None:
    parser = argparse.ArgumentParser(description="Posterior of one test image.")
    parser.add_argument("model", nargs="?", default="results/laptop/models/vae/seed_0")
    parser.add_argument("--data", default="results/data/mnist", help="folder of the IDX files")
    parser.add_argument("--image", type=int, default=33)
    parser.add_argument("--resolution", type=int, default=300)
    args = parser.parse_args()
    images, labels = load_mnist(args.data, "t10k")
    if not 0 <= args.image < len(images):
        raise ValueError(f"there are images 0 to {len(images) - 1}, not {args.image}")
    image = to_float(images[[args.image]])[0, 0]
    grid = posterior_grid(load_model(args.model, VAE), image, resolution=args.resolution)
    z1, z2 = grid.map.tolist()
    print(
        f"image {args.image}, label {labels[args.image]}:"
        f" log p(x) = {grid.log_evidence:.2f}, MAP at ({z1:.2f}, {z2:.2f})"
    )


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
