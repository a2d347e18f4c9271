"""What a reviewer finds in MLflow: its pages in a browser, and models that come back."""

import json
import re
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
from playwright.sync_api import Browser, Page

from dgmpipe.config import read_config
from dgmpipe.models import load_model
from dgmpipe.models.flow import Flow
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import save_weights
from dgmpipe.pages.companion.build import companion_page
from dgmpipe.pages.report import make_report
from dgmpipe.plan.companion import companion_files, companion_params
from dgmpipe.plan.trainings import data_digest
from dgmpipe.tracking.runs import RunLogger, catch_up, finish_invocation, start_invocation
from made_up_tier import write_tier
from mlflow_server import mlflow_ui

ROOT = Path(__file__).parent.parent
WRITTEN = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
WRITTEN["models"]["otflow"]["evaluation_rk4_steps"] = 2  # faster to export
CONFIG = read_config(WRITTEN)
RESULTS = Path("results/smoke")
STORE = "sqlite:///results/mlflow.db"
pytestmark = pytest.mark.slow

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


# Energy distances of more images, by which another GAN is the best.
TABLED = {"dcgan_random": 3.9, "dcgan_vae": 0.9, "wgan_random": 2.9, "wgan_vae": 1.1}


class Logged(NamedTuple):
    """Runs of all models.

    Attributes:
        folder: Where results/ is.
        experiment: Id of the experiment.
        runs: Id of each run by its name.
    """

    folder: Path
    experiment: str
    runs: dict[str, str]


class Reviewed(NamedTuple):
    """Runs of all models, and where to look at them.

    Attributes:
        uri: Address of the pages.
        runs: Id of each run by its name.
    """

    uri: str
    runs: dict[str, str]


def _train(model: str, seed: int, final: float) -> None:
    """Leave what a training of a few steps would leave, in results/ and in MLflow."""
    folder = RESULTS / f"models/{model}/seed_{seed}"
    torch.manual_seed(seed)
    settings = CONFIG.models[model]
    network = task_class(settings.kind).build(settings.model_dump())
    save_weights(network, folder / "model.safetensors")
    summary = {"kind": settings.kind, "hyperparameters": settings.model_dump()}
    summary |= {"seed": seed, "parameters": sum(p.numel() for p in network.parameters())}
    (folder / "summary.json").write_text(json.dumps(summary))
    history = [{"step": s, METRICS[model]: final + 8 / (s + 10) - 0.1} for s in range(0, 80, 10)]
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    with RunLogger(
        CONFIG,
        model,
        seed=seed,
        data=data_digest(CONFIG, model),
        key="abcdef",
        device="cpu",
        invocation=RESULTS / "invocation.json",
    ) as logger:
        for row in history:
            logger.log_row(row)
        logger.log_files(sorted(folder.iterdir()))


def _write_table(distances: dict[tuple[str, int], float]) -> None:
    rows = [
        {"model": model, "seed": seed, "energy_distance": value, "standard_error": value / 100}
        for (model, seed), value in distances.items()
    ]
    (RESULTS / "tables").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(RESULTS / "tables/generators.csv", index=False)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """Runs of all models, logged by what the workflow calls; the folder is the current one."""
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        start_invocation("smoke", WRITTEN, RESULTS / "invocation.json")
        for model, final in FINAL.items():
            _train(model, 0, final)
        figure = ROOT / "docs/paper-tier/figures/figure_11_energy_distance.png"
        _write_table({(model, 0): TABLED[model] for model in GANS})
        (RESULTS / "figures").mkdir()
        shutil.copy(figure, RESULTS / "figures")
        names = ("weights", "summaries", "histories")
        files = {n: [RESULTS / path for path in companion_files(CONFIG)[n]] for n in names}
        companion = RESULTS / "companion.html"
        companion.write_text(companion_page(files, **companion_params(CONFIG)), encoding="utf-8")
        finish_invocation("FINISHED", RESULTS / "invocation.json")
        client = MlflowClient(STORE)
        experiment = client.get_experiment_by_name("dgmpipe-smoke").experiment_id
        runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
        patch.setenv("MLFLOW_TRACKING_URI", STORE)  # for what tests do without an address
        yield Logged(folder, experiment, runs)
        mlflow.set_tracking_uri(None)  # what the docs' lines have set


@pytest.fixture(scope="module")
def reviewed(logged: Logged) -> Iterator[Reviewed]:
    """The runs, and `make ui` to look at them."""
    with mlflow_ui(logged.folder) as uri:
        yield Reviewed(uri, logged.runs)


@pytest.fixture
def page(reviewed: Reviewed, browser: Browser) -> Iterator[Page]:
    """A page that has not been at the server before."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(120_000)
    yield page
    page.close()


def _open_runs(page: Page, reviewed: Reviewed) -> None:
    """Go to the runs of the experiment, as docs/mlflow.md says."""
    page.goto(reviewed.uri)
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="dgmpipe-smoke").first.click()


def _show_trainings(page: Page) -> None:
    page.locator(".ag-row", has_text="smoke").locator("button").first.click()


def test_the_table_shows_every_run_by_its_name(reviewed: Reviewed, page: Page) -> None:
    _open_runs(page, reviewed)
    _show_trainings(page)
    for model in FINAL:
        page.get_by_role("link", name=f"{model} 0", exact=True).first.wait_for()
    page.get_by_text("regenerated by dgmpipe").first.wait_for()
    page.get_by_text(re.compile("^mnist-sample")).nth(1).wait_for()


# Of every chart the heights of each line by its name; MLflow draws a line twice, to smooth one.
LINES = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => Object.fromEntries(
    plot.data.filter(line => line.y && line.y.length).map(line => [line.name, line.y])))"""


# Of every chart the type of the vertical axis, and the colours of the lines by their names.
AXES = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => [
    plot.layout.yaxis.type, Object.fromEntries(
        plot.data.filter(line => line.y && line.y.length).map(l => [l.name, l.marker.color]))])"""


def test_a_link_opens_one_chart_of_the_four_gans(reviewed: Reviewed, page: Page) -> None:
    (link,) = re.findall(r"/#/experiments/1/runs\?[^\s>]+", (ROOT / "docs/mlflow.md").read_text())
    page.goto(reviewed.uri + link)
    page.get_by_text("4 matching runs").wait_for()
    complete = f"lines => Object.keys(lines).length == {len(GANS)}"
    page.wait_for_function(f"() => ({LINES})().some({complete})")
    (chart, *_) = page.evaluate(f"() => ({LINES})().filter({complete})")
    drawn = {name.split()[0]: values for name, values in chart.items()}
    assert drawn.keys() == set(GANS)
    for model, values in drawn.items():
        assert values[-1] == pytest.approx(FINAL[model])
        assert values[0] > values[-1]
    page.get_by_text("energy_distance").first.wait_for()
    (axis, colours), *_ = page.evaluate(AXES)
    assert axis == "log"
    assert len(set(colours.values())) == len(GANS)
    assert "smoke" not in colours, "the invocation has no line"


def test_the_first_row_has_the_main_numbers(reviewed: Reviewed, page: Page) -> None:
    page.goto(f"{reviewed.uri}/#/experiments/1/runs/{reviewed.runs['smoke']}")
    page.get_by_text("energy_distance/dcgan_vae").first.wait_for()
    run = MlflowClient(STORE).get_run(reviewed.runs["smoke"])
    assert run.data.metrics["energy_distance/dcgan_vae"] == 0.9
    assert run.data.metrics["energy_distance_error/dcgan_vae"] == pytest.approx(0.009)
    assert run.data.params["seeds"] == "0"
    assert run.data.params["trainings"] == "8"
    training = MlflowClient(STORE).get_run(reviewed.runs["dcgan_vae 0"])
    assert training.data.metrics["final/energy_distance"] == 0.9
    assert training.data.metrics["final/energy_distance_error"] == pytest.approx(0.009)


def test_a_figure_is_shown_where_it_is(reviewed: Reviewed, page: Page) -> None:
    figure = "artifacts/figures/figure_11_energy_distance.png"
    page.goto(f"{reviewed.uri}/#/experiments/1/runs/{reviewed.runs['smoke']}/{figure}")
    page.wait_for_function(
        "() => [...document.images].some(i => i.naturalWidth > 600 && i.clientWidth > 300)"
    )


def test_a_report_works_in_its_frame(reviewed: Reviewed, page: Page, tmp_path: Path) -> None:
    write_tier(tmp_path / "results/made-up")
    make_report(tmp_path / "results/made-up", ROOT / "workflow/report")
    run = reviewed.runs["smoke"]
    MlflowClient(STORE).log_artifact(run, str(tmp_path / "results/made-up/report.html"))
    page.goto(f"{reviewed.uri}/#/experiments/1/runs/{run}/artifacts/report.html")
    frame = page.frame_locator("iframe")
    frame.locator(".thumbnails a[href*=figure_08]").click()
    # Its links lead within the page, and what they lead to has the focus.
    frame.locator("#figure_08_latent:focus").wait_for()
    top = frame.locator("#figure_08_latent").evaluate("part => part.getBoundingClientRect().top")
    assert 0 <= top < 200


def test_the_companion_runs_where_it_is(reviewed: Reviewed, page: Page) -> None:
    run = reviewed.runs["smoke"]
    page.goto(f"{reviewed.uri}/#/experiments/1/runs/{run}/artifacts/companion.html")
    inside = page.frame_locator("iframe")
    inside.locator("html[data-ready]").wait_for(state="attached")
    inside.locator("#explorer .u-over").press("ArrowRight")
    inside.locator("#explorer [data-name=shown]").filter(has_text="z = (0.60, −0.50)").wait_for()


def test_a_run_says_what_it_is_for_and_what_it_used(reviewed: Reviewed, page: Page) -> None:
    run = f"{reviewed.uri}/#/experiments/1/runs/{reviewed.runs['wgan_vae 0']}"
    page.goto(run)
    page.get_by_text("How near are its images to real ones?").wait_for()
    page.get_by_role("link", name="smoke", exact=True).first.wait_for()
    page.goto(f"{run}/system-metrics")
    for name in ("cpu_percent", "memory_mb"):
        page.get_by_text(name).first.wait_for()


def test_the_registry_says_which_is_the_best_and_why(reviewed: Reviewed, page: Page) -> None:
    page.goto(f"{reviewed.uri}/#/models/dgmpipe-smoke-gan/versions/1")
    page.get_by_text("final/energy_distance 0.9000 ± 0.0090, the lowest of 4").wait_for()
    page.get_by_text(re.compile(r"@\s*best")).first.wait_for()
    page.get_by_role("link", name="dcgan_vae 0").first.wait_for()


def _models(logged: Logged, run: str) -> list[LoggedModel]:
    same = f"source_run_id = '{logged.runs[run]}'"
    return MlflowClient(STORE).search_logged_models([logged.experiment], same)


def _generated(model: str, z: torch.Tensor) -> torch.Tensor:
    """What the trained model itself makes of latent points."""
    network = load_model(RESULTS / f"models/{model}/seed_0")
    with torch.no_grad():
        return network(z)[0] if isinstance(network, Flow) else network.generator(z)


@pytest.mark.parametrize("model", GENERATORS)
def test_a_generator_comes_back_as_it_was(logged: Logged, model: str) -> None:
    (kept,) = _models(logged, f"{model} 0")
    generator = mlflow.pytorch.load_model(f"models:/{kept.model_id}")
    for n in (1, 2, 9):
        z = torch.randn(n, 2, generator=torch.Generator().manual_seed(n))
        assert torch.equal(generator(z), _generated(model, z))
    described = mlflow.models.get_model_info(f"models:/{kept.model_id}")
    (takes,), (makes,) = described.signature.inputs.inputs, described.signature.outputs.inputs
    assert (takes.type, takes.shape) == (np.dtype("float32"), (-1, 2))
    assert makes.shape == ((-1, 2) if METRICS[model] == "held_out_nll" else (-1, 1, 28, 28))
    loaded = mlflow.models.Model.load(f"models:/{kept.model_id}")
    example = loaded.load_input_example(f"models:/{kept.model_id}")
    assert example.shape == (4, 2)
    measured = {m.key: m.value for m in kept.metrics if not m.key.startswith("final/")}
    assert measured == {METRICS[model]: pytest.approx(FINAL[model])}


def test_what_generates_nothing_is_no_model(logged: Logged) -> None:
    assert not _models(logged, "classifier 0")


def test_a_run_has_each_point_once(logged: Logged) -> None:
    client = MlflowClient(STORE)
    history = client.get_metric_history(logged.runs["wgan_vae 0"], "energy_distance")
    assert [point.step for point in history] == list(range(0, 80, 10))


def test_the_three_lines_of_the_docs_load_the_best(logged: Logged) -> None:
    page = (ROOT / "docs/mlflow.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    assert len([line for line in block.splitlines() if line]) == 3
    names: dict = {}
    exec(block.replace("laptop", "smoke"), names)
    z = torch.randn(16, 2)
    assert torch.equal(names["generator"](z), _generated("dcgan_vae", z))


def _versions(kind: str) -> dict[str, str]:
    """Which run each version of a registered model comes from."""
    versions = MlflowClient(STORE).search_model_versions(f"name = 'dgmpipe-smoke-{kind}'")
    return {str(version.version): version.run_id for version in versions}


def test_the_best_of_each_kind_is_registered_once(logged: Logged) -> None:
    client = MlflowClient(STORE)
    best = {"flow": "otflow 0", "vae": "vae 0", "gan": "dcgan_vae 0"}
    for _ in range(2):
        for kind, name in best.items():
            assert _versions(kind) == {"1": logged.runs[name]}
            model = client.get_registered_model(f"dgmpipe-smoke-{kind}")
            assert {alias: str(v) for alias, v in model.aliases.items()} == {"best": "1"}
            assert ("highest" if kind == "vae" else "lowest") in model.description
        assert catch_up(RESULTS) == 1 + len(FINAL)


def test_a_better_one_becomes_the_best(logged: Logged, capfd: pytest.CaptureFixture[str]) -> None:
    _train("dcgan_vae", 1, 0.5)
    _train("dcgan_vae", 2, 0.1)
    weights = RESULTS / "models/dcgan_vae/seed_2/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    tabled = {(model, 0): TABLED[model] for model in GANS}
    _write_table({**tabled, ("dcgan_vae", 1): 0.5, ("dcgan_vae", 2): 0.1})
    assert catch_up(RESULTS) == 3 + len(FINAL)
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith("warning: MLflow gets no model of dcgan_vae 2: ")
    assert "is not a whole safetensors file" in warning
    version = MlflowClient(STORE).get_model_version_by_alias("dgmpipe-smoke-gan", "best")
    assert str(version.version) == "2"
    assert version.description.startswith("dcgan_vae 1: `final/energy_distance` 0.5000 ± 0.0050")
    assert len(_versions("gan")) == 2
