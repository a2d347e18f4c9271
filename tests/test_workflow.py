"""The workflow as its user sees it: a smoke run in a fresh folder, and what it says of mistakes."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from playwright.sync_api import Browser

from dgmpipe.config import read_config
from dgmpipe.models import VAE, OTFlow, RealNVP, load_model
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.gan import GAN
from dgmpipe.pages.report import rule_of
from dgmpipe.pages.statements import STATEMENTS
from dgmpipe.pages.tables import COLUMNS
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.evaluations import REAL, measurable, subjects
from dgmpipe.plan.summary import pm
from dgmpipe.plan.trainings import image_folder
from workflow_runs import (
    NO_MLFLOW,
    fresh_copy,
    planned,
    planned_models,
    python,
    snakemake,
    start_snakemake,
    wait_for,
)

ROOT = Path(__file__).parent.parent
CONFIG = read_config(yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8")))
IMAGES = f"results/data/{image_folder(CONFIG)}"
FIGURES = {
    "claims_figure",
    "figure_01_idea",
    "figure_02_moons",
    "figure_03_mnist",
    "figure_04_objective",
    "figure_05_realnvp",
    "figure_06_otflow",
    "figure_07_posterior",
    "figure_08_latent",
    "figure_09_samples",
    "figure_10_interpolation",
    "figure_11_energy_distance",
}
GANS = ["dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae"]
KINDS = {
    "realnvp": RealNVP,
    "otflow": OTFlow,
    "vae": VAE,
    **dict.fromkeys(GANS, GAN),
    "classifier": Classifier,
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(smoke: Path) -> Path:
    return smoke / "results/smoke"


def test_every_figure_is_a_picture_with_something_on_it(results: Path) -> None:
    assert {path.stem for path in results.glob("figures/*.png")} == FIGURES
    assert {path.stem for path in results.glob("figures/*.pdf")} == FIGURES
    for path in results.glob("figures/*.png"):
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 150, path
        assert picture[..., :3].std() > 0.05, path
    for path in results.glob("figures/*.pdf"):
        assert path.read_bytes().startswith(b"%PDF-"), path


def test_models_come_back_in_evaluation_mode(results: Path) -> None:
    assert {path.name for path in results.glob("models/*")} == set(KINDS)
    for name, kind in KINDS.items():
        model = load_model(results / f"models/{name}/seed_0")
        assert type(model) is kind
        assert not model.training
        assert all(torch.isfinite(p).all() for p in model.parameters())


def test_histories_have_a_row_an_evaluation(results: Path) -> None:
    history = pd.read_csv(results / "models/vae/seed_0/history.csv")
    assert history.columns[0] == "step"
    assert history["step"].tolist() == [0, 20, 40, 60]
    assert history["held_out_negative_elbo"].is_monotonic_decreasing
    summary = json.loads((results / "models/vae/seed_0/summary.json").read_text())
    assert summary["parameters"] == 42_913 + 45_924
    assert summary["final"]["step"] == 60


def test_the_evidence_exceeds_its_bound_for_every_image(results: Path) -> None:
    table = pd.read_csv(results / "evaluation/vae/seed_0/evidence.csv")
    assert len(table) == 20
    assert (table["gap"] + table["log_evidence_error"] + table["elbo_error"] > 0).all()
    summary = pd.read_csv(results / "tables/vae_evidence.csv")
    assert summary["gap_mean"].item() == pytest.approx(table["gap"].mean())


def test_flows_are_no_better_than_the_truth(results: Path) -> None:
    table = pd.read_csv(results / "tables/flows.csv").set_index("model")
    assert table["parameters"].to_dict() == {"realnvp": 205_848, "otflow": 1_229}
    assert (table["kl"] > 0).all()
    errors = pd.read_csv(results / "tables/otflow_inverse_error.csv")
    assert errors["rk4_steps"].tolist() == [1, 2, 4, 8, 16, 32, 64]
    times = pd.read_csv(results / "tables/training_times.csv")
    assert set(times["model"]) == set(KINDS)
    assert (times["seconds"] > 0).all()
    assert (times["processor_seconds"] > 0).all()
    assert (times["parts"] == 1).all()


def test_evaluations_give_the_numbers_that_studies_may_measure(results: Path) -> None:
    checked = 0
    for name, evaluation in measurable().items():
        for model in subjects(CONFIG, evaluation):
            file = results / f"evaluation/{model}/seed_0/{name}.json"
            if name == "lab":  # for studies alone; tests/test_flow_lab.py
                assert not file.exists()
                continue
            declared = evaluation.numbers(CONFIG, "vae" if model == REAL else model)
            assert set(json.loads(file.read_text())) == set(declared), file
            checked += 1
    assert checked == 2 + 1 + 6 + 6 + 6 + 2


def test_gans_start_from_random_weights_or_from_the_vae(results: Path) -> None:
    starts = {
        model: pd.read_csv(results / f"models/{model}/seed_0/history.csv")["energy_distance"][0]
        for model in GANS
    }
    assert starts["dcgan_vae"] == starts["wgan_vae"] < 5 < starts["dcgan_random"]
    assert starts["dcgan_random"] == starts["wgan_random"]


def test_generators_are_compared_with_the_data_and_with_real_images(results: Path) -> None:
    table = pd.read_csv(results / "tables/generators.csv").set_index("model")
    assert list(table.index) == ["vae", *GANS, "real"]
    assert (table["standard_error"] > 0).all()
    assert table["pvalue"].between(0.01, 1).all()
    generated = table.drop("real")
    assert (generated["pvalue"] == 0.01).all()
    assert (generated["energy_distance"] > 10 * table.loc["real", "energy_distance"]).all()
    assert (generated["coverage"] < table.loc["real", "coverage"]).all()
    assert table["precision"].between(0, 1).all()
    summary = pd.read_csv(results / "tables/generators_summary.csv").set_index("model")
    assert (summary["seeds"] == 1).all()
    assert summary["energy_distance_mean"].tolist() == table["energy_distance"].tolist()
    assert summary["energy_distance_sd"].isna().all()
    assert not [name for name in summary if "_standard_error_" in name]
    pairs = pd.read_csv(results / "tables/generator_differences.csv")
    assert len(pairs) == 15
    for pair in pairs.itertuples():
        distances = table.loc[[pair.first, pair.second], "energy_distance"]
        assert pair.difference == pytest.approx(distances.iloc[1] - distances.iloc[0], rel=1e-12)
    assert (pairs["standard_error"] > 0).sum() >= 13  # the two that start from the VAE may be equal
    classes = pd.read_csv(results / "tables/class_histograms.csv")
    counts = classes.groupby("model")[["generated", "test"]].sum()
    # Images that are rejected count for no digit.
    accepted = 1 - table.loc[counts.index, ["rejected", "test_rejected"]]
    assert counts["generated"].tolist() == pytest.approx((200 * accepted["rejected"]).tolist())
    assert counts["test"].tolist() == pytest.approx((300 * accepted["test_rejected"]).tolist())
    floor = np.load(results / "evaluation/energy_floor.npz")["energy_distances"]
    assert floor.shape == (10,)
    assert np.abs(floor).max() < 0.5


def test_latent_arrays_are_what_figure_8_shows(results: Path) -> None:
    latent = np.load(results / "evaluation/vae/seed_0/latent.npz")
    assert latent["means"].shape == (300, 2)
    assert latent["samples"].shape == (300, 10, 2)
    assert latent["points"].shape == (64, 2)
    inside = np.abs(latent["samples"]).max(axis=2) < 4
    assert latent["histogram"].sum() == inside.sum()


def test_nothing_is_left_of_checkpoints_and_temporary_files(results: Path) -> None:
    assert not [path for path in results.glob("checkpoints/**/*") if path.is_file()]
    assert not [path for path in results.rglob(".*") if path.is_file()]


def test_nothing_is_written_outside_results(smoke: Path, results: Path) -> None:
    given = {"config", "workflow", "scripts", "tests"}
    assert {path.name for path in smoke.iterdir()} == given | {"results", ".snakemake"}
    assert [path for path in smoke.rglob("*.ckpt") if results not in path.parents] == []


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_shows_every_figure_and_table(
    results: Path, browser: Browser, width: int
) -> None:
    assert (results / "report.html").stat().st_size < 6e6
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(120_000)
    complaints, requests = [], []
    page.on("console", lambda m: complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url.split(":")[0]))
    page.goto((results / "report.html").as_uri())
    pictures = "images.every(i => i.naturalWidth > 300 && i.clientWidth > 200)"
    page.wait_for_function(
        "() => { const images = [...document.querySelectorAll('figure img')];"
        f" return images.length == {len(FIGURES)} && {pictures} }}"
    )

    assert complaints == []
    assert set(requests) <= {"file", "data"}, "the page is self-contained"
    shown = page.evaluate("[...document.querySelectorAll('article')].map(article => article.id)")
    assert set(shown) == FIGURES | {path.stem for path in results.glob("tables/*.csv")}
    flows = pd.read_csv(results / "tables/flows.csv")
    nll = pm(flows["nll"][0], flows["nll_standard_error"][0])
    for part in ("figure_05_realnvp", "flows"):  # the caption, and the table
        assert nll in (page.locator(f"#{part}").text_content() or "")
    assert "are not computed yet" not in page.locator("main").inner_text()
    assert page.locator(".verdict.missing").count() == 0
    columns = {name for path in results.glob("tables/*.csv") for name in pd.read_csv(path)}
    words = {name.removesuffix("_mean").removesuffix("_sd") for name in columns}
    known = {name.removesuffix("_mean") for name in COLUMNS} | {c.error for c in COLUMNS.values()}
    assert words - set(COLUMNS) <= known, "every column has a name in words"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_the_report_names_the_rules_as_snakemake_does(smoke: Path, results: Path) -> None:
    listed = snakemake(smoke, "all", "--configfile", "config/smoke.yaml", "--summary")
    tier = Tier(results)
    rules = {
        line.split("\t")[0].removeprefix("results/smoke/"): line.split("\t")[2]
        for line in listed.stdout.splitlines()
        if line.startswith("results/smoke/")
    }
    assert len(rules) > 80
    for file, rule in rules.items():
        assert rule_of(tier, file) == rule, file


def test_snakemakes_own_report_can_be_made_as_well(smoke: Path) -> None:
    made = snakemake(
        smoke, "all", "--configfile", "config/smoke.yaml", "--report", "results/own.html"
    )
    assert made.returncode == 0, made.stderr[-3000:]
    page = (smoke / "results/own.html").read_text(encoding="utf-8")
    assert "flows.csv" in page
    assert "figure_05_realnvp.png" in page


def test_every_statement_of_the_paper_gets_a_number_and_a_verdict(
    smoke: Path, tmp_path: Path
) -> None:
    config = yaml.safe_load((smoke / "config/smoke.yaml").read_text())
    configs = tmp_path / "config"
    shutil.copytree(smoke / "config", configs)
    (configs / "smoke.yaml").write_text(yaml.safe_dump(config | {"seeds": [0, 7]}))
    command = ("-m", "dgmpipe.commands", "pages", "paper")
    places = ("--images", IMAGES, "--docs", tmp_path, "--configs", configs)
    made = python(smoke, *command, "results/smoke", *places)
    assert made.returncode == 0, made.stderr
    statements = (tmp_path / "reproduction.md").read_text()
    assert "the tier smoke from its config file: seeds: [0] instead of [0, 7]" in statements
    assert "not yet computed" not in statements
    words = r"(?:(?:holds|does not hold|undecided) there, one training|not decidable)"
    verdicts = re.findall(rf"\| {words} \| smoke \| [01] of 1 \| ×", statements)
    assert len(verdicts) == sum(statement.of_tier for statement in STATEMENTS)
    before = re.findall(r"^\| \*before:\* \| .*: holds in [01] of 1 \|", statements, re.M)
    assert len(before) == sum(len(statement.earlier) for statement in STATEMENTS)
    for count in ("42,913", "205,848", "1,229", "45,924"):
        assert f"{count} weights | reproduced |  | – | – |" in statements
        assert f"{count} weights | {count} | equal | they are counted | – |" in statements
    assert (tmp_path / "figures/claims.png").stat().st_size > 10_000
    assert "| from the VAE, the WGAN beats the DCGAN | energy distance of WGAN from" in statements
    deviations = (tmp_path / "deviations.md").read_text()
    assert "not yet computed" not in deviations
    assert "202,764 weights; 205,848 as stated" in deviations
    of_real_images = re.search(r"of real images ([\d.]+), which is 0\.\d+ without", deviations)
    assert 60 < float(of_real_images[1]) < 100, "two real batches, summed over 1,000 steps"

    nothing = python(smoke, *command, "results/none", *places)
    assert nothing.returncode == 2
    assert nothing.stderr == (
        "error: results/none has no tables; run the workflow for that tier first\n"
    )


def test_a_page_of_markdown_shows_a_tier_and_what_it_lacks(smoke: Path, tmp_path: Path) -> None:
    shutil.copytree(smoke / "results/smoke", tmp_path / "results/smoke")
    arguments = ("results/smoke", "page", "--templates", smoke / "workflow/report")

    def page() -> str:
        made = python(tmp_path, "-m", "dgmpipe.commands", "pages", "tier", *arguments)
        assert made.returncode == 0, made.stderr
        return (tmp_path / "page/README.md").read_text()

    complete = page()
    assert "Not finished" not in complete
    assert "What differs" not in complete
    for path in re.findall(r"\]\((.*?)\)", complete):
        assert (tmp_path / "page" / path).exists()
    shown = set(re.findall(r"^!\[\w+\]\(figures/(\w+)\.png\)$", complete, re.M))
    assert shown == FIGURES
    row = (
        r"^\| WGAN from VAE \| 0 \| \d+ \| \w{7}.* \| .* \| cpu( \| 0\.\d\d){2} \| 1 \| [\d,]+ \|$"
    )
    assert re.search(row, complete, re.M)

    results = tmp_path / "results/smoke"
    (results / "models/wgan_vae/seed_0/time.json").unlink()
    (results / "models/vae/seed_0/time.json").unlink()
    for model in ("vae", "realnvp"):
        (results / f"runs/{model}_seed_0.json").unlink()
    (results / "figures/figure_05_realnvp.png").unlink()
    steps = json.loads((results / "runs/wgan_vae_seed_0.json").read_text())["params"]["steps"]
    config = yaml.safe_load((smoke / "config/smoke.yaml").read_text())
    shutil.copytree(smoke / "config", tmp_path / "config")
    (tmp_path / "config/smoke.yaml").write_text(yaml.safe_dump(config | {"seeds": [0, 7]}))
    incomplete = page()
    assert "config file\n\n- seeds: [0] instead of [0, 7]\n\n##" in incomplete
    assert re.search(r"^\| Real NVP \| 0 \| \d+ \|( unknown \|){3}", incomplete, re.M)
    (lacking,) = re.findall(r"^## Not finished\n\n(.*?)\n\n", incomplete, re.M | re.S)
    assert lacking.splitlines() == [
        "- VAE, seed 0: not begun",
        f"- WGAN from VAE, seed 0: {steps} of {steps} steps",
        "- figure_05_realnvp",
    ]
    assert not (tmp_path / "page/figures/figure_05_realnvp.png").exists()

    (results / "tables/generators.csv").unlink()
    (results / "tables/flows.csv").unlink()
    not_computed = "The numbers of this caption are not computed yet."
    for name in ("figure_01_idea", "figure_06_otflow", "figure_11_energy_distance"):
        assert f"![{name}](figures/{name}.png)\n\n{not_computed}\n" in page()


def test_a_page_does_not_replace_the_results_that_it_is_made_of(smoke: Path) -> None:
    run = python(smoke, "-m", "dgmpipe.commands", "pages", "tier", "results/smoke", "results/smoke")
    assert run.returncode == 2
    assert run.stderr.startswith("error: the page cannot replace the results in results/smoke")
    assert list((smoke / "results/smoke/figures").iterdir())


def test_every_job_has_a_log_and_a_benchmark(results: Path) -> None:
    names = {p.relative_to(results / "logs").with_suffix("") for p in results.glob("logs/**/*.log")}
    measured = {
        p.relative_to(results / "benchmarks").with_suffix("")
        for p in results.glob("benchmarks/**/*.tsv")
    }
    assert names == measured
    log = (results / "logs/train/vae_seed_0.log").read_text()
    assert log.startswith("training vae, seed 0, on ")
    assert "step 60 of 60 (100%)" in log


def test_mlflow_has_every_training_under_one_invocation(smoke: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{smoke / 'results/mlflow.db'}")
    experiment = client.get_experiment_by_name("dgmpipe-smoke")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["model"]: run for run in runs if run is not parent}
    assert set(children) == set(KINDS)
    assert {c.data.tags["mlflow.parentRunId"] for c in children.values()} == {parent.info.run_id}
    vae = children["vae"]
    assert vae.data.params["batch_size"] == "64"
    metric = client.get_metric_history(vae.info.run_id, "held_out_negative_elbo")
    assert [m.step for m in metric] == [0, 20, 40, 60]
    assert vae.inputs.dataset_inputs[0].dataset.name == "mnist-sample"
    weights = {a.path for a in client.list_artifacts(vae.info.run_id)}
    assert weights == {
        "model.safetensors", "history.csv", "snapshots.npz", "summary.json", "time.json",
    }  # fmt: skip
    pictures = {Path(a.path).stem for a in client.list_artifacts(parent.info.run_id, "figures")}
    assert pictures == FIGURES


def _contents(results: Path) -> dict[str, str]:
    """Digests of all that is a function of config, seed and code: not logs, times and records."""
    kinds = ("models", "evaluation", "tables", "figures", "data")
    files = [path for kind in kinds for path in (results / kind).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("time.json", "training_times.csv")
        and not path.name.startswith("claims")  # two statements are about processor seconds
    }


@pytest.mark.slowest
def test_a_kill_of_snakemake_changes_no_byte_of_the_results(smoke: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle and the same command again, with another number of jobs side by side.

    Snakemake alone gets the signal, and its jobs are left to find out. All are processes of their
    own, as a user starts them, where the other tests' are forks.
    """
    folder = fresh_copy(tmp_path)
    results = folder / "results/smoke"
    arguments = ("all", "--configfile", "config/smoke.yaml")
    process = start_snakemake(folder, *arguments)
    wait_for(process, folder, "results/smoke/invocation.json")
    second = snakemake(folder, *arguments, alone=True)
    assert second.returncode != 0
    assert "another Snakemake is making results/smoke in this folder; wait" in second.stderr
    assert "Traceback" not in second.stderr
    # A step of a WGAN takes longest: the kill comes before its last.
    wait_for(process, folder, "results/smoke/checkpoints/wgan_*/**/step_*.ckpt")
    jobs = psutil.Process(process.pid).children(recursive=True)
    assert jobs
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(jobs, timeout=60)
    assert not alive, "jobs end with their Snakemake"

    again = snakemake(folder, *arguments, "--cores", "2", alone=True)
    assert again.returncode == 0, again.stderr[-5000:]
    logs = [path.read_text() for path in (results / "logs/train").glob("*.log")]
    assert any("continuing after step" in log for log in logs)
    assert _contents(results) == _contents(smoke / "results/smoke")


def test_a_second_run_has_nothing_to_do(smoke: Path) -> None:
    again = snakemake(smoke, "all", "--configfile", "config/smoke.yaml")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stderr


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ("models={realnvp: {learning_rate: 0.002}}", {"train": 1, "evaluate_flow": 1}),
        (
            "models={realnvp: {title: Mine}}",
            {"train": 0, "evaluate_flow": 0, "figure_05_realnvp": 1},
        ),
        ("evaluation={posterior: {resolution: 61}}", {"posterior": 1, "figure_07_posterior": 1}),
        ("data={images: {folder: elsewhere}}", {}),
        # Seven models of the new seed; the classifier judges them as it is.
        (
            "seeds=[0, 1]",
            {"train": 5, "train_from": 2, "evaluate_flow": 2, "energy_test": 6, "judge": 0}
            | {"sample_quality": 6, "flows_summary": 1, "vae_evidence_summary": 1},
        ),
        (
            "models={vae: {learning_rate: 0.003}}",
            {"train": 1, "train_from": 2, "energy_test": 3, "sample_quality": 3, "evidence": 1}
            | {"figure_11_energy_distance": 1},
        ),
        (
            "models={wgan_random: {clip: 0.02}}",
            {"train": 1, "train_from": 0, "energy_test": 1, "figure_11_energy_distance": 1},
        ),
        (
            "models={classifier: {steps: 61}}",
            {"train": 1, "sample_quality": 6, "examine_judge": 1, "judge": 1},
        ),
        ("evaluation={energy: {num_permutations: 98}}", {"energy_test": 6, "energy_floor": 0}),
    ],
)
def test_a_changed_value_reruns_what_depends_on_it(
    smoke: Path, change: str, rerun: dict[str, int]
) -> None:
    dry = snakemake(smoke, "-n", "all", "--configfile", "config/smoke.yaml", "--config", change)
    jobs = planned(dry)
    assert rerun == {name: jobs.get(name, 0) for name in rerun}
    if not rerun:
        assert "Nothing to be done" in dry.stdout + dry.stderr
    else:
        assert not {"fetch_images", "figure_02_moons", "show_images"} & jobs.keys()


def _planned_with(edited: Path, smoke: Path) -> subprocess.CompletedProcess:
    """What there is to do with the package in a folder instead of the one that was run."""
    arguments = ("-n", "all", "--configfile", "config/smoke.yaml")
    return snakemake(smoke, *arguments, PYTHONPATH=str(edited))


@pytest.mark.parametrize(
    ("file", "rerun"),
    [
        ("tracking/runs.py", set()),
        ("figures/figure_11.py", {"figure_11_energy_distance"}),
        ("figures/dgmpipe.mplstyle", FIGURES),
        (
            "evaluation/quality.py",
            {"sample_quality", "generators", "generators_summary", "class_histograms"}
            | {"companion", "claims", "claims_figure"},
        ),
    ],
)
def test_an_edited_file_reruns_what_depends_on_it(
    smoke: Path, tmp_path: Path, file: str, rerun: set[str]
) -> None:
    package = shutil.copytree(ROOT / "src/dgmpipe", tmp_path / "dgmpipe")
    with (package / file).open("a") as edited:
        edited.write("\nEDITED = True\n")
    assert planned(_planned_with(tmp_path, smoke)).keys() == rerun


def test_other_docstrings_and_comments_everywhere_rerun_nothing(
    smoke: Path, tmp_path: Path
) -> None:
    package = shutil.copytree(ROOT / "src/dgmpipe", tmp_path / "dgmpipe")
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(f'"""Edited."""\n{text}\n# edited\n' if "__future__" not in text else text)
    dry = _planned_with(tmp_path, smoke)
    assert dry.returncode == 0, dry.stderr
    assert "Nothing to be done" in dry.stdout + dry.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "trained"),
    [
        ("vae.py", "loss = -", "loss = -2 * ", {"vae", "dcgan_vae", "wgan_vae"}),
        ("otflow.py", "+ alpha_hjb * hjb", "- alpha_hjb * hjb", {"otflow"}),
    ],
)
def test_another_loss_retrains_what_depends_on_it(
    smoke: Path, tmp_path: Path, file: str, old: str, new: str, trained: set[str]
) -> None:
    package = shutil.copytree(ROOT / "src/dgmpipe", tmp_path / "dgmpipe")
    path = package / "models" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert planned_models(_planned_with(tmp_path, smoke)) == trained


def test_trainings_can_be_had_without_the_rest(tmp_path: Path) -> None:
    """Both ways; the first leaves out what starts from another's generator."""
    folder = fresh_copy(tmp_path)
    common = ("-n", "--configfile", "config/smoke.yaml")
    first = planned(snakemake(folder, *common, "--until", "train", "--", "all"))
    assert first == {"fetch_images": 1, "train": 6}
    every = planned(snakemake(folder, *common, "--", "trainings"))
    assert every == {"fetch_images": 1, "train": 6, "train_from": 2, "trainings": 1}


def test_a_checkpoint_of_another_config_is_not_continued(tmp_path: Path) -> None:
    folder = fresh_copy(tmp_path)
    target = "results/smoke/models/realnvp/seed_0/summary.json"

    def arguments(steps: int, rate: float) -> tuple[str, ...]:
        change = f"models={{realnvp: {{steps: {steps}, learning_rate: {rate}}}}}"
        return (target, "--configfile", "config/smoke.yaml", "--config", change)

    log = folder / "results/smoke/logs/train/realnvp_seed_0.log"
    process = start_snakemake(folder, *arguments(100_000, 0.001), **NO_MLFLOW)
    wait_for(process, folder, "results/smoke/checkpoints/**/step_*.ckpt")
    process.kill()
    process.wait()
    other = snakemake(folder, *arguments(60, 0.002), **NO_MLFLOW)
    assert other.returncode == 0, other.stderr[-3000:]
    assert "continuing" not in log.read_text()
    assert json.loads((folder / target).read_text())["final"]["step"] == 60


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("sedes=[1]", "config: unknown key 'sedes' at the top level (did you mean 'seeds'?)"),
        ("models={vae: {steps: -1}}", "config: models.vae.steps must be at least 1, not -1"),
        (
            "models={vea: {steps: 10}}",
            "config: models.vea has no kind: one of realnvp, otflow",
        ),
        ("seeds=[3, 3]", "config: seeds lists 3 twice"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence_before_any_job(
    tmp_path: Path, change: str, sentence: str
) -> None:
    folder = fresh_copy(tmp_path)
    run = snakemake(folder, "all", "--config", change)
    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert not (folder / "results").exists()


def test_a_damaged_data_file_is_named_and_not_used(tmp_path: Path) -> None:
    folder = fresh_copy(tmp_path)
    damaged = folder / "tests/data/mnist/train-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(damaged.read_bytes()))
    content[5000] ^= 1
    damaged.write_bytes(gzip.compress(bytes(content)))
    target = f"{IMAGES}/train-images-idx3-ubyte"
    run = snakemake(folder, target, "--configfile", "config/smoke.yaml", **NO_MLFLOW)
    assert run.returncode != 0
    assert "train-images-idx3-ubyte" in run.stderr
    assert re.search(r"error: .*MD5", run.stderr, re.S)
    assert "Traceback" not in run.stderr
    assert not (folder / target).exists()
