"""What a tier has computed, to be looked at."""

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgmpipe.config import Config, read_config
from dgmpipe.config.read import tier_changes
from dgmpipe.plan.evaluations import REAL
from dgmpipe.tracking.records import Record

if TYPE_CHECKING:  # none of these is needed to read tables
    from torch import Tensor, nn

    from dgmpipe.models.vae import VAE

__all__ = ["PAPER_MODELS", "TITLES", "Tier"]

# The models of config.yaml, with what the paper's statements and pages call them.
PAPER_MODELS = {
    "realnvp": "Real NVP",
    "otflow": "OT-Flow",
    "vae": "VAE",
    "dcgan_random": "DCGAN",
    "dcgan_vae": "DCGAN from VAE",
    "wgan_random": "WGAN",
    "wgan_vae": "WGAN from VAE",
    "classifier": "classifier",
}
TITLES = PAPER_MODELS | {REAL: "real training images"}


class Tier:
    """The results of a tier; of several seeds the one that figures show.

    What a tier has not computed yet raises FileNotFoundError.

    Args:
        results: Folder `results/{tier}`.
        images: Folder of the IDX files.
        seeds: Of its trainings, the shown one first; by default those of its last invocation.

    Attributes:
        name: Of the tier.
        folder: `results/{tier}`.
        seeds: Of its trainings, the shown one first.
        read: The files below the folder that numbers were taken from, in that order.
    """

    def __init__(
        self,
        results: Path,
        images: Path = Path("results/data/mnist"),
        seeds: list[int] | None = None,
    ) -> None:
        self.name, self.folder = results.name, results
        self.read: dict[str, None] = {}
        self._images = images
        self._tables: dict[str, pd.DataFrame] = {}
        self._invocation = Record.read(results / "invocation.json")
        self.seeds = seeds or self._trained_seeds()
        self._seed = self.seeds[0]

    def _trained_seeds(self) -> list[int]:
        if self._invocation is None:
            return [0]
        shown = self.config.shown_seed
        return [shown, *(seed for seed in self.config.all_seeds if seed != shown)]

    def of_seed(self, seed: int) -> "Tier":
        """Return the same results with another seed in the place of the first."""
        other = copy.copy(self)
        other._seed = seed
        return other

    @functools.cached_property
    def given(self) -> dict[str, Any]:
        """The config of its last invocation as it was given, the paper's models in its order.

        Raises:
            FileNotFoundError: If there was none.
        """
        if self._invocation is None:
            raise FileNotFoundError(f"{self.folder} has no invocation.json")
        blocks = self._invocation.config["models"]  # sorted, as all that is in a record
        models = {name: blocks[name] for name in PAPER_MODELS if name in blocks} | blocks
        return {**self._invocation.config, "models": models}

    @functools.cached_property
    def config(self) -> Config:
        """The same, checked and complete."""
        return read_config(self.given)

    def _file(self, path: str) -> Path:
        self.read[path] = None
        return self.folder / path

    def table(self, name: str) -> pd.DataFrame:
        """Return a table."""
        path = self._file(f"tables/{name}.csv")
        if name not in self._tables:
            self._tables[name] = pd.read_csv(path)
        return self._tables[name]

    def changes(self, configs: Path) -> list[str]:
        """Return where its last invocation differed from the tier's file in a folder of configs."""
        return tier_changes(self._invocation.config, configs) if self._invocation else []

    def row(self, table: str, **keys: Any) -> dict[str, Any]:
        """Return the row of a table, of the tier's seed, in which columns have these values."""
        rows = self.table(table)
        if "seed" in rows:
            keys["seed"] = self._seed
        for column, value in keys.items():
            rows = rows[rows[column] == value]
        if rows.empty:
            raise FileNotFoundError(f"{table} has no row with {keys}")
        return {str(name): value for name, value in rows.iloc[0].items()}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table."""
        return self.table(table).to_dict("records")

    def arrays(self, model: str, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an evaluation of a model, such as "latent" of "vae"."""
        return dict(np.load(self._of_training("evaluation", model, f"{name}.npz")))

    def data(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays that Figure 2 or 3 shows, "moons" or "images"."""
        return dict(np.load(self._file(f"data/{name}.npz")))

    def floor(self) -> np.ndarray:
        """Return the energy distances of real images, shape (D,), of `energy_floor.npz`."""
        return np.load(self._file("evaluation/energy_floor.npz"))["energy_distances"]

    def history(self, model: str) -> pd.DataFrame:
        """Return a row an evaluation of a training."""
        return pd.read_csv(self._of_training("models", model, "history.csv"))

    def _of_training(self, folder: str, model: str, name: str) -> Path:
        """Return a file of a model's training; one of a seed that it no longer has is left over."""
        models = self.config.models if self._invocation else {}
        if model in models and self._seed not in self.config.seeds_of(model):
            raise FileNotFoundError(f"{model} is not trained for seed {self._seed}")
        return self._file(f"{folder}/{model}/seed_{self._seed}/{name}")

    def load(self, model: str) -> "nn.Module":
        """Return a trained model."""
        from dgmpipe.models.storage import load_model

        folder = self.folder / f"models/{model}/seed_{self._seed}"
        if not (folder / "summary.json").exists():
            raise FileNotFoundError(f"{folder} has no model yet")
        return load_model(folder)

    def evidence_images(self) -> "tuple[VAE, Tensor, Tensor]":
        """Return the VAE, the test images (N, 1, 28, 28) of `evidence.csv`, their log p(x) (N,)."""
        import torch

        from dgmpipe.data.batches import to_float
        from dgmpipe.data.mnist import load_mnist
        from dgmpipe.models.vae import VAE

        evidence = pd.read_csv(self._of_training("evaluation", "vae", "evidence.csv"))
        vae = self.load("vae")
        assert isinstance(vae, VAE)
        images, _ = load_mnist(self._images, "t10k")
        index, log_evidence = (
            torch.tensor(evidence[name].tolist()) for name in ("index", "log_evidence")
        )
        return vae, to_float(images[index]), log_evidence

    def training_images(self, count: int) -> "Tensor":
        """Return the first training images, (count, 1, 28, 28), as often as there are too few."""
        import torch

        from dgmpipe.data.batches import to_float
        from dgmpipe.data.mnist import load_mnist

        images, _ = load_mnist(self._images, "train")
        return to_float(images[torch.arange(count) % len(images)])
