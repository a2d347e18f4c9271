"""What a tier has computed, to be looked at."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dgmpipe.config.read import tier_changes
from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import load_mnist
from dgmpipe.models.storage import load_model
from dgmpipe.models.vae import VAE
from dgmpipe.tracking.records import Record

__all__ = ["Tier"]


class Tier:
    """The results of a tier; of several seeds the first that its config names.

    What a tier has not come to raises FileNotFoundError.

    Args:
        results: Folder `results/{tier}`.
        images: Folder of the IDX files.
    """

    def __init__(self, results: Path, images: Path) -> None:
        self.name = results.name
        self._results, self._images = results, images
        self._invocation = Record.read(results / "invocation.json")
        self.seeds: list[int] = self._invocation.config["seeds"] if self._invocation else [0]
        self._seed = self.seeds[0]

    def of_seed(self, seed: int) -> "Tier":
        """Return the same results with another seed in the place of the first."""
        other = copy.copy(self)
        other._seed = seed
        return other

    def changes(self, configs: Path) -> list[str]:
        """Return where its last invocation differed from the tier's file in a folder of configs."""
        return tier_changes(self._invocation.config, configs) if self._invocation else []

    def row(self, table: str, **keys: Any) -> dict[str, Any]:
        """Return the row of a table, of the tier's seed, in which columns have these values."""
        rows = pd.read_csv(self._results / "tables" / f"{table}.csv")
        if "seed" in rows:
            keys["seed"] = self._seed
        for column, value in keys.items():
            rows = rows[rows[column] == value]
        if rows.empty:
            raise FileNotFoundError(f"{table} has no row with {keys}")
        return {str(name): value for name, value in rows.iloc[0].items()}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table."""
        return pd.read_csv(self._results / "tables" / f"{table}.csv").to_dict("records")

    def arrays(self, model: str, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an evaluation of a model, such as "latent" of "vae"."""
        path = self._results / f"evaluation/{model}/seed_{self._seed}/{name}.npz"
        return dict(np.load(path))

    def floor(self) -> np.ndarray:
        """Return the energy distances of real images, shape (D,), of `energy_floor.npz`."""
        return np.load(self._results / "evaluation/energy_floor.npz")["energy_distances"]

    def history(self, model: str) -> pd.DataFrame:
        """Return a row an evaluation of a training."""
        return pd.read_csv(self._results / f"models/{model}/seed_{self._seed}/history.csv")

    def load(self, model: str) -> nn.Module:
        """Return a trained model."""
        folder = self._results / f"models/{model}/seed_{self._seed}"
        if not (folder / "summary.json").exists():
            raise FileNotFoundError(f"{folder} has no model yet")
        return load_model(folder)

    def evidence_images(self) -> tuple[VAE, Tensor, Tensor]:
        """Return the VAE, the test images (N, 1, 28, 28) of `evidence.csv`, their log p(x) (N,)."""
        evidence = pd.read_csv(self._results / f"evaluation/vae/seed_{self._seed}/evidence.csv")
        vae = self.load("vae")
        assert isinstance(vae, VAE)
        images, _ = load_mnist(self._images, "t10k")
        index, log_evidence = (
            torch.tensor(evidence[name].tolist()) for name in ("index", "log_evidence")
        )
        return vae, to_float(images[index]), log_evidence

    def training_images(self, count: int) -> Tensor:
        """Return the first training images, (count, 1, 28, 28), as often as there are too few."""
        images, _ = load_mnist(self._images, "train")
        return to_float(images[torch.arange(count) % len(images)])
