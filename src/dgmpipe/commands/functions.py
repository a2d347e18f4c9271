"""What is done with trained models, as functions of `dgmpipe` that the command line calls."""

import contextlib
import hashlib
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dgmpipe import evaluation
from dgmpipe.arguments import as_type, to_tensor, whole_number
from dgmpipe.commands.files import require_writable
from dgmpipe.config.kinds import KINDS, FlowSettings
from dgmpipe.config.read import settings_of, unknown_key
from dgmpipe.data.datasets import Points
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.errors import UserError
from dgmpipe.evaluation.posterior import PosteriorGrid
from dgmpipe.models.flow import DIM, Flow
from dgmpipe.models.gan import GAN
from dgmpipe.models.generator import Generator
from dgmpipe.models.image_flow import ImageFlow
from dgmpipe.models.storage import load_model as load_folder
from dgmpipe.models.trained import find_model
from dgmpipe.models.vae import VAE
from dgmpipe.streams import random_stream
from dgmpipe.training.run import train_model

__all__ = ["held_out_losses", "interpolate", "likelihood", "posterior", "sample", "train"]

# Beyond this the square of a number, or a sum of many, is beyond a float.
_LARGEST = 1e15
_FEWEST = 20  # points, of which a fifth is held out


def sample(model: nn.Module | str | Path, n: int, *, seed: int | None = None) -> Tensor:
    """Return `n` samples of a model: images (n, C, H, W) or, of a flow, points (n, 2).

    Args:
        model: A trained model, its folder, or the name of a released one.
        n: Number of samples.
        seed: Seed of the latent points; by default torch's own random stream is used.

    Raises:
        UserError: If there is no such model, or one that generates nothing.
        ValueError: If `n` or `seed` is not possible.
    """
    generator = _loaded(model, Flow, VAE, GAN, Generator, ImageFlow)
    assert isinstance(generator, Flow | VAE | GAN | Generator | ImageFlow)
    return generator.sample(n, seed=seed)


def interpolate(model: nn.Module | str | Path, n: int) -> Tensor:
    """Return images (n, C, H, W) along the line from −e to e, e = (1, …, 1), as in Figure 10.

    Args:
        model: A trained VAE or GAN, its folder, or the name of a released one.
        n: Number of images, at least 1.

    Raises:
        UserError: If there is no such model, or one that makes no images.
        ValueError: If `n` is not possible.
    """
    found = _loaded(model, VAE, GAN, Generator)
    generator = found if isinstance(found, Generator) else found.get_submodule("generator")
    assert isinstance(generator, Generator)
    return evaluation.interpolate(generator, n).view(-1, *generator.image_shape)


def likelihood(model: nn.Module | str | Path, points: Tensor | ArrayLike) -> Tensor:
    """Return log p(x) in nats, eq. (6), shape (N,), of points (N, 2) under a flow.

    It carries no derivatives; those of `flow.log_prob` do.

    Args:
        model: A trained flow, its folder, or the name of a released one.
        points: A tensor, or whatever NumPy reads.

    Raises:
        UserError: If there is no such model, or one that is no flow.
        ValueError: If the points are not as said, or a coordinate is NaN.
    """
    flow = _loaded(model, Flow)
    assert isinstance(flow, Flow)
    like = next(flow.parameters())
    x = as_type(to_tensor(points, "points"), "points", like.dtype).to(like.device)
    if x.isnan().any():
        raise ValueError("points must be numbers, but some are NaN; leave them out")
    with torch.no_grad():
        return flow.log_prob(x)


def posterior(
    image: Tensor | ArrayLike, model: nn.Module | str | Path = "vae", *, resolution: int = 300
) -> PosteriorGrid:
    """Return the posterior of one image on the latent plane of a VAE, eq. (20), with log p(x).

    Args:
        image: Intensities in [0, 1], (H, W) or (3, H, W).
        model: A trained VAE with two latent dimensions, its folder, or the name of a released one.
        resolution: Grid points along each axis of [−5, 5]², from 4 to 5000.

    Raises:
        UserError: If there is no such model, or one that is no VAE.
        ValueError: If the image is not as said, or the model has not two latent dimensions.
    """
    vae = _loaded(model, VAE)
    assert isinstance(vae, VAE)
    like = next(vae.parameters())
    x = as_type(to_tensor(image, "image"), "image", like.dtype).to(like.device)
    return evaluation.posterior_grid(vae, x, resolution=resolution)


def train(
    kind: str,
    points: Tensor | ArrayLike,
    folder: str | Path,
    /,
    *,
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
    **settings: Any,
) -> Flow:
    """Train a flow on points (N, 2), of which a fifth is held out, and return it.

    It ends in an affine layer with the points' mean and scale. The folder gets its files, from
    which `load_model` brings it back. A training that was stopped is continued by the same call.

    Args:
        kind: "realnvp" or "otflow", or another flow of the registry.
        points: At least 20, as a tensor or whatever NumPy reads.
        folder: Where the files go; those of another training in there are replaced.
        steps: Training steps.
        batch_size: Points in a batch, or all that are not held out where these are fewer.
        learning_rate: Of Adam, positive and finite.
        seed: Of initial weights and batches.
        settings: Others of the kind, by their names in a config, such as `bins`, and
            `learning_rate_decay`, `average` and `precision` of any.

    Raises:
        UserError: If a setting is unknown or not possible, the folder cannot be written to, or a
            loss is not finite.
        Interrupted: After SIGTERM, once a checkpoint is written.
        ValueError: If an argument is not as said.
    """
    flows = [name for name, of in KINDS.items() if of.family == "flow"]
    if kind not in flows:
        raise ValueError(f"'{kind}' is not a kind of flow; choose one of {', '.join(flows)}")
    x = as_type(to_tensor(points, "points"), "points", torch.float32)
    _require_points(x)
    steps = whole_number(steps, "steps", 1)
    if not 0 < float(learning_rate) < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, not {learning_rate}")
    _require_known(kind, settings)
    folder = Path(folder)
    checked = settings_of(
        kind,
        {
            **settings,
            "kind": kind,
            "steps": steps,
            "batch_size": min(whole_number(batch_size, "batch_size", 1), len(x) - len(x) // 5),
            "learning_rate": learning_rate,
            "evaluate_every": max(1, steps // 10),
            "checkpoint_every": max(1, steps // 10),
            "standardised": True,
            "data": "points",
        },
        kind,
    )
    seed = whole_number(seed, "seed", 0)
    _make_folder(folder)
    same = f"{checked.model_dump_json()} {seed}".encode() + x.numpy().tobytes()
    # Of many held-out points a training looks at the first: of all, whatever their order.
    held_out = evenly_spread(max(1, len(x) // 5), len(x))
    order = torch.randperm(len(held_out), generator=random_stream(seed, "order of points"))
    x = x.index_copy(0, held_out, x[held_out[order]])
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(sys.stderr):
        file = Path(temporary, "points.npy")
        np.save(file, x.numpy())
        train_model(
            kind,
            checked,
            Points(file),
            seed=seed,
            device=torch.device("cpu"),
            folder=folder,
            checkpoints=folder / f"checkpoints_{hashlib.sha256(same).hexdigest()[:16]}",
        )
    for of_others in folder.glob("checkpoints_*"):
        shutil.rmtree(of_others)
    flow = load_folder(folder, Flow)
    assert isinstance(flow, Flow)
    return flow


def held_out_losses(folder: str | Path) -> tuple[float, float]:
    """Return a flow's held-out negative log-likelihood before and after its training, in nats."""
    losses = pd.read_csv(Path(folder, "history.csv"))["held_out_nll"]
    return float(losses.iloc[0]), float(losses.iloc[-1])


def _require_known(kind: str, settings: dict[str, Any]) -> None:
    """Refuse settings that a kind has not, or that a training on points of one's own decides."""
    of_kind = KINDS[kind].settings.model_fields
    own = [key for key in of_kind if key not in FlowSettings.model_fields]
    known = [*own, "learning_rate_decay", "average", "precision"]
    for key in settings:
        if key not in known:
            raise UserError(unknown_key(key, kind, known))


def _make_folder(folder: Path) -> None:
    """Make a folder, before any work is done for what is to go into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder} is a file; name a folder") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from None
    require_writable(folder)


def _require_points(x: Tensor) -> None:
    if x.ndim != 2 or x.shape[1] != DIM:
        raise ValueError(
            f"points must have shape (N, {DIM}), not {tuple(x.shape)}: the flows are of the plane"
        )
    if len(x) < _FEWEST:
        raise ValueError(f"there must be {_FEWEST} points or more, not {len(x)}")
    if not x.isfinite().all():
        raise ValueError("points must be finite, but some are NaN or infinite; leave them out")
    if x.abs().max() > _LARGEST:
        raise ValueError(
            f"points must be at most {_LARGEST:g} in magnitude, not {x.abs().max():g}; scale them"
        )
    if (x == x[0]).all(dim=0).any():
        raise ValueError("points must vary along each axis; they all have one value along one")


def _loaded(model: nn.Module | str | Path, *kinds: type[nn.Module]) -> nn.Module:
    if not isinstance(model, nn.Module):
        return load_folder(find_model(model), *kinds)
    if not isinstance(model, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"model must be a {wanted}, not a {type(model).__name__}")
    return model
