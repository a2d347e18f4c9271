"""Energy test of two arrays: are these samples from one distribution?

    python examples/energy_test.py results/laptop/evaluation/{vae,wgan_vae}/seed_0/samples.npz

prints, here for 64 images of each generator,
    energy distance 0.8658 ± 0.1011, p-value 0.001
Arrays (N, ...) of your own come as .npy, as .npz under the name `samples`, or as columns in .csv.
"""

import argparse
import sys

from dgmpipe.data import load_array
from dgmpipe.errors import UserError
from dgmpipe.evaluation import energy_test

FOLDER = "results/laptop/evaluation"


def main() -> None:
    parser = argparse.ArgumentParser(description="Energy test of two arrays.")
    parser.add_argument("x", nargs="?", default=f"{FOLDER}/vae/seed_0/samples.npz")
    parser.add_argument("y", nargs="?", default=f"{FOLDER}/wgan_vae/seed_0/samples.npz")
    parser.add_argument("--permutations", type=int, default=999)
    args = parser.parse_args()
    x, y = load_array(args.x), load_array(args.y)
    test = energy_test(x, y, num_permutations=args.permutations)
    distance = f"{test.energy_distance:.4f} ± {test.standard_error:.4f}"
    print(f"energy distance {distance}, p-value {test.pvalue:.3g}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
