"""Log-likelihood of a point under a trained flow, beside the true density of the moons.

    python examples/likelihood.py results/laptop/models/realnvp/seed_0 --point 0 1

prints both in nats:
    log p(0, 1): flow 0.2001, truth 0.2392
"""

import argparse
import sys

import torch

from dgmpipe.data import MoonsDensity
from dgmpipe.errors import UserError
from dgmpipe.models import load_model
from dgmpipe.models.flow import Flow


def main() -> None:
    parser = argparse.ArgumentParser(description="Log-likelihood of a point under a flow.")
    parser.add_argument("model", nargs="?", default="results/laptop/models/realnvp/seed_0")
    parser.add_argument("--point", nargs=2, type=float, default=(0, 1), metavar=("X", "Y"))
    parser.add_argument("--noise", type=float, default=0.05, help="of the moons")
    args = parser.parse_args()
    x = torch.tensor([args.point], dtype=torch.float32)
    with torch.no_grad():
        learned = load_model(args.model, Flow).log_prob(x).item()
    truth = MoonsDensity(args.noise).log_prob(x).item()
    print(f"log p({args.point[0]:g}, {args.point[1]:g}): flow {learned:.4f}, truth {truth:.4f}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
