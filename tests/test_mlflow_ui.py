"""What a reviewer finds in MLflow: its pages in a browser, and models that come back."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from dgmpipe.models import load_model
from dgmpipe.models.catalog import MODELS
from dgmpipe.models.flow import Flow
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import save_weights
from dgmpipe.tracking import RunLogger, catch_up, datasets, finish_invocation, start_invocation
from mlflow_server import mlflow_server

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
HYPERPARAMETERS = CONFIG["models"] | {
    "otflow": CONFIG["models"]["otflow"] | {"evaluation_rk4_steps": 2}  # faster to export
}
RESULTS = Path("results/smoke")
GANS = ("dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae")
GENERATORS = ("realnvp", "otflow", "vae", *GANS)
METRICS = {
    "realnvp": "held_out_nll",
    "otflow": "held_out_nll",
    "vae": "held_out_negative_elbo",
    **dict.fromkeys(GANS, "energy_distance"),
    "classifier": "held_out_accuracy",
}
# After the last step; the lower the better.
FINAL = {
    "realnvp": 0.5,
    "otflow": 0.4,
    "vae": 150.0,
    "dcgan_random": 4.0,
    "dcgan_vae": 2.0,
    "wgan_random": 3.0,
    "wgan_vae": 1.0,
    "classifier": 0.9,
}


class Reviewed(NamedTuple):
    """A server, the folder whose runs it has, and what it calls them.

    Attributes:
        uri: Its address.
        folder: Where results/ is.
        experiment: Id of the experiment.
        runs: Id of each run by its name.
    """

    uri: str
    folder: Path
    experiment: str
    runs: dict[str, str]


def _train(model: str, seed: int, final: float) -> None:
    """Leave what a training of a few steps would leave, in results/ and in MLflow."""
    folder = RESULTS / f"models/{model}/seed_{seed}"
    torch.manual_seed(seed)
    save_weights(task_class(model).build(HYPERPARAMETERS[model]), folder / "model.safetensors")
    summary = {"model": model, "seed": seed, "hyperparameters": HYPERPARAMETERS[model]}
    (folder / "summary.json").write_text(json.dumps(summary))
    history = [{"step": step, METRICS[model]: final + 40 / (step + 10)} for step in range(0, 50, 5)]
    history.append({"step": 50, METRICS[model]: final})
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    with RunLogger(
        tier="smoke",
        model=model,
        seed=seed,
        config=HYPERPARAMETERS[model],
        data=datasets(CONFIG)["moons" if MODELS[model].dataset == "moons" else "images"],
        key="abcdef",
        device="cpu",
        invocation=RESULTS / "invocation.json",
    ) as logger:
        for row in history:
            logger.log_row(row)
        logger.log_files([folder / name for name in ("model.safetensors", "history.csv")])
        logger.log_files(sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Runs of all models on a server, by what the workflow calls, with weights at random."""
    folder = tmp_path_factory.mktemp("reviewed")
    with mlflow_server(postgresql=False) as uri, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        start_invocation("smoke", CONFIG, RESULTS / "invocation.json")
        for model, final in FINAL.items():
            _train(model, 0, final)
        figure = ROOT / "docs/figures/figure_11_energy_distance.png"
        (RESULTS / "figures").mkdir()
        shutil.copy(figure, RESULTS / "figures")
        finish_invocation(
            "FINISHED", RESULTS.glob("figures/*"), RESULTS / "invocation.json"
        )
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("dgmpipe-smoke").experiment_id
        runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
        yield Reviewed(uri, folder, experiment, runs)
