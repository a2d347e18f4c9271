"""How straight are the paths of continuous flows of the plane? A table of docs/diffusion.md.

    python benchmarks/paths.py MODEL ...

Of each trained continuous flow, with 64 Runge-Kutta steps from 1,000 latent points: the transport
cost E∫‖v‖² dt of eq. (19), doubled; that of straight lines to the same ends; their ratio; and the
least cost of any pairing of the same points, by optimal transport. A flow that ends in a map to the
data's mean and scale is taken before that map.
"""

import argparse

import pandas as pd
import torch

from dgmpipe.models.flow import Flow, Standardised
from dgmpipe.models.flow_matching import optimal_pairs
from dgmpipe.models.trained import load_model

POINTS, STEPS = 1000, 64


@torch.no_grad()
def row_of(model: str) -> dict[str, float | str]:
    """Return what the paths of a trained model cost.

    Raises:
        ValueError: If it has no Runge-Kutta steps.
    """
    found = load_model(model, Flow)
    flow = found.flow if isinstance(found, Standardised) else found
    if not hasattr(flow, "num_steps"):
        raise ValueError(f"{model} is no continuous flow")
    flow.num_steps = STEPS
    z = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(0))
    states = flow.hidden_states(z)
    cost = STEPS * (states[1:] - states[:-1]).square().sum(dim=(0, 2)).mean().item()
    x = states[-1]
    straight = (x - z).square().sum(dim=1).mean().item()
    least = (x - z[optimal_pairs(x, z)]).square().sum(dim=1).mean().item()
    return {
        "model": model,
        "cost": cost,
        "straight": straight,
        "ratio": cost / straight,
        "least": least,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="folders of trained continuous flows")
    rows = [row_of(model) for model in parser.parse_args().models]
    print(pd.DataFrame(rows).round(3).to_string(index=False))
