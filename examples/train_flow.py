"""Train Real NVP on points of your own, (N, 2), from .npy, .csv or .npz with the name `samples`.

    python examples/train_flow.py results/laptop/data/moons.npz --steps 500

keeps every tenth point from the training and prints their negative log-likelihood:
    1,800 points, 500 steps: held-out negative log-likelihood 2.793 -> 0.547 nats
The flow in results/examples/flow is one for examples/likelihood.py and for load_model.
"""

import argparse
import math
import sys
from pathlib import Path

import torch

from dgmpipe.arguments import as_type, to_tensor
from dgmpipe.data import load_array
from dgmpipe.errors import UserError
from dgmpipe.files import write_json
from dgmpipe.models import RealNVP
from dgmpipe.models.flow import negative_log_likelihood
from dgmpipe.models.storage import save_weights


def finite_nll(flow: RealNVP, points: torch.Tensor) -> float:
    nll = negative_log_likelihood(flow, points).item()
    if not math.isfinite(nll):
        raise ValueError(
            f"the negative log-likelihood is {nll} nats; scale the points, of which the largest is"
            f" {points.abs().max():g}, to about 1"
        )
    return nll


def main() -> None:
    parser = argparse.ArgumentParser(description="Train Real NVP on points of your own.")
    parser.add_argument("points", nargs="?", default="results/laptop/data/moons.npz")
    parser.add_argument("--folder", type=Path, default=Path("results/examples/flow"))
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    if args.steps < 1:
        raise ValueError(f"--steps must be at least 1, not {args.steps}")
    points = as_type(to_tensor(load_array(args.points), "points"), "points", torch.float32)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 20:
        raise ValueError(f"there must be 20 points (N, 2) or more, not {tuple(points.shape)}")
    if not points.isfinite().all():
        raise ValueError(f"{args.points} has points that are NaN or infinite; leave them out")
    args.folder.mkdir(parents=True, exist_ok=True)
    held_out = torch.arange(len(points)) % 10 == 9
    torch.manual_seed(0)
    size = {"num_layers": 6, "width": 64}
    flow = RealNVP(**size)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    before = finite_nll(flow, points[held_out])
    for _ in range(args.steps):
        batch = points[~held_out][torch.randint(int((~held_out).sum()), (256,))]
        optimizer.zero_grad()
        negative_log_likelihood(flow, batch).backward()
        optimizer.step()
    after = finite_nll(flow, points[held_out])
    save_weights(flow, args.folder / "model.safetensors")
    write_json({"kind": "realnvp", "hyperparameters": size}, args.folder / "summary.json")
    print(
        f"{(~held_out).sum():,} points, {args.steps} steps:"
        f" held-out negative log-likelihood {before:.3f} -> {after:.3f} nats"
    )


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
