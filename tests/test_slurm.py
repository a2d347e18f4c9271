"""Three models through a real SLURM: what jobs are given, and one that is stopped twice."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from snakemake.utils import update_config

from daemons import wait_for
from dgmpipe.config import read_config
from dgmpipe.plan.evaluations import EVALUATIONS, subjects
from dgmpipe.plan.exhibits import exhibits
from slurm_cluster import cluster, of_jobs, why_no_cluster

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
STOPPED, STEPS = "realnvp", 2000
# A model of points, one of images, and one that starts from another; without the rest.
MODELS = {name: CONFIG["models"][name] for name in (STOPPED, "vae", "wgan_vae")}
LAID_OVER = {
    # Long enough to be stopped in the middle.
    "models": dict.fromkeys(CONFIG["models"].keys() - MODELS) | {STOPPED: {"steps": STEPS}}
}
update_config(CONFIG, LAID_OVER)
READ = read_config(CONFIG)
pytestmark = pytest.mark.slowest
ATTEMPTS = f"rule_train_wildcards_{STOPPED}_0"
COMMAND = [
    *(sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm"),
    *("--configfile", "config/smoke.yaml", "three.yaml"),
    *("--slurm-init-seconds-before-status-checks", "3", "--", "all"),
]


Jobs = dict[str, list[dict[str, str]]]


def _jobs() -> Jobs:
    """All jobs that SLURM knows of by the rule and wildcards in their comments, oldest first."""
    lines = subprocess.run(
        ["scontrol", "show", "job", "--details", "--oneliner"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    jobs: Jobs = {}
    for line in lines:
        fields = dict(re.findall(r"(\S+?)=(\S*)", line))
        if "Comment" in fields:
            jobs.setdefault(fields["Comment"], []).append(fields)
    return jobs


def _last_checkpoint(folder: Path) -> int:
    """The step of the newest checkpoint of the training that is stopped, or 0."""
    checkpoints = folder.glob(f"results/smoke/checkpoints/{STOPPED}/**/step_*.ckpt")
    return max((int(path.stem.removeprefix("step_")) for path in checkpoints), default=0)


def _accounts() -> list[dict[str, str]]:
    """What docs/cluster.md reads from SLURM's accounts, of all jobs, those put back as well."""
    fields = "JobID,Comment,State,ElapsedRaw,AllocTRES"
    command = ["sacct", "--allocations", "--duplicates", "--parsable2", "--noheader"]
    lines = subprocess.run(
        [*command, "--format", fields], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [dict(zip(fields.split(","), line.split("|"), strict=True)) for line in lines]


def _gpus(accounts: list[dict[str, str]]) -> dict[str, set[int]]:
    """How many GPUs each job was given, by its number."""
    gpus: dict[str, set[int]] = {}
    for job in accounts:
        if job["AllocTRES"]:  # none before it has started
            given = dict(part.split("=") for part in job["AllocTRES"].split(","))
            gpus.setdefault(job["JobID"], set()).add(int(given.get("gres/gpu", 0)))
    return gpus


def _given(job: dict[str, str]) -> tuple[dict[str, str], int]:
    """What SLURM gave a job, by kind, and its limit in minutes."""
    hours, minutes, _ = map(int, job["TimeLimit"].split(":"))
    return dict(part.split("=") for part in job["TRES"].split(",")), 60 * hours + minutes


def _of_slurm() -> set[psutil.Process]:
    names = {"slurmctld", "slurmd", "slurmdbd", "slurmstepd", "mariadbd", "munged"}
    running = [p for p in psutil.process_iter(["name", "status"]) if p.info["name"] in names]
    return {p for p in running if p.info["status"] != psutil.STATUS_ZOMBIE}


@pytest.fixture(scope="module")
def before() -> set[psutil.Process]:
    """What of SLURM runs already; some systems start munged as soon as it is installed."""
    return _of_slurm()


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, shared_server: str, before: set[psutil.Process]
) -> tuple[Path, Jobs, list[dict[str, str]]]:
    """The folder, jobs and accounts of a run in which one training was stopped twice.

    Its first job is cancelled, its second put back into the queue, as a preemption does.
    """
    if reason := why_no_cluster():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    for part in ("config", "workflow", "scripts", "tests/data"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "three.yaml").write_text(yaml.safe_dump(LAID_OVER), encoding="utf-8")
    environment = os.environ | {"MLFLOW_TRACKING_URI": shared_server}
    with cluster(folder / "cluster"):
        with (folder / "snakemake.log").open("w") as log:
            process = subprocess.Popen(COMMAND, cwd=folder, stdout=log, stderr=log, env=environment)
        try:

            def watch_until(condition: Callable[[], bool]) -> None:
                while not condition():
                    assert process.poll() is None, (folder / "snakemake.log").read_text()[-5000:]
                    time.sleep(0.2)

            def job_number(attempt: int) -> str:
                """The job of an attempt that runs and has just written a checkpoint."""
                watch_until(
                    lambda: (
                        [job["JobState"] for job in _jobs().get(ATTEMPTS, [])][attempt:]
                        == ["RUNNING"]
                    )
                )
                before = _last_checkpoint(folder)
                watch_until(lambda: _last_checkpoint(folder) > before)
                return _jobs()[ATTEMPTS][attempt]["JobId"]

            subprocess.run(["scancel", job_number(0)], check=True)
            subprocess.run(["scontrol", "requeue", job_number(1)], check=True)
            assert process.wait() == 0, (folder / "snakemake.log").read_text()[-5000:]
            jobs = _jobs()
            # The accounts are written a moment after the end of a job.
            wait_for(lambda: all(job["State"] != "RUNNING" for job in _accounts()), "sacct")
            accounts = _accounts()
        finally:
            process.kill()
            subprocess.run(["scancel", "--user", "root"], check=False)
    return folder, jobs, accounts


def test_every_figure_and_table_is_made(finished: tuple[Path, Jobs, list[dict[str, str]]]) -> None:
    results = finished[0] / "results/smoke"
    made = {path.stem for kind in ("figures/*.png", "tables/*.csv") for path in results.glob(kind)}
    assert made == {exhibit.name for exhibit in exhibits(READ)}


def test_every_training_was_given_one_gpu_and_what_its_rule_declares(
    finished: tuple[Path, Jobs, list[dict[str, str]]],
) -> None:
    _, jobs, accounts = finished
    gpus = _gpus(accounts)
    for model, settings in MODELS.items():
        rule = "train_from" if "start" in settings else "train"
        for attempt, job in enumerate(jobs[f"rule_{rule}_wildcards_{model}_0"], start=1):
            given, limit = _given(job)
            assert job["TresPerJob"] == "gres:gpu:1"
            assert gpus[job["JobId"]] == {1}
            assert given["cpu"] == "1"
            assert given["mem"] == f"{attempt * CONFIG['cluster']['training_mb']}M"
            assert limit == attempt * CONFIG["cluster"]["training_minutes"][settings["kind"]]


def test_what_does_not_train_was_given_no_gpu(
    finished: tuple[Path, Jobs, list[dict[str, str]]],
) -> None:
    _, jobs, accounts = finished
    gpus = _gpus(accounts)
    others = {name: them for name, them in jobs.items() if "rule_train_" not in name}
    rules = {e.name for e in EVALUATIONS if not e.local and subjects(READ, e)}
    rules -= {"flow_lab"}  # which studies alone ask for
    of_images = {"energy_test", "transport_costs", "examine_critic"}
    assert rules == {"evaluate_flow", "posterior", "evidence", "latent", *of_images}
    rules |= {"energy_floor"}
    assert {name.removeprefix("rule_").split("_wildcards")[0] for name in others} == rules
    cluster_settings = CONFIG["cluster"]
    for them in others.values():
        for attempt, job in enumerate(them, start=1):
            given, limit = _given(job)
            assert gpus[job["JobId"]] == {0}
            assert given["mem"] == f"{attempt * cluster_settings['evaluation_mb']}M"
            assert limit == attempt * cluster_settings["evaluation_minutes"]["default"]


def test_a_training_that_is_cancelled_and_preempted_continues_from_its_checkpoints(
    finished: tuple[Path, Jobs, list[dict[str, str]]],
) -> None:
    folder, jobs, _ = finished
    first, second = jobs[ATTEMPTS]
    assert (first["JobState"], first["Restarts"]) == ("CANCELLED", "0")
    assert (second["JobState"], second["Restarts"]) == ("COMPLETED", "1")
    log = (folder / f"results/smoke/logs/train/{STOPPED}_seed_0.log").read_text()
    assert re.search(rf"continuing after step [0-9,]+ of {STEPS:,}", log)
    trained = folder / f"results/smoke/models/{STOPPED}/seed_0"
    assert json.loads((trained / "time.json").read_text())["parts"] == 3
    _, _, accounts = finished
    states = [job["State"] for job in accounts if job["Comment"] == ATTEMPTS]
    assert states == ["CANCELLED by 0", "REQUEUED", "COMPLETED"]
    told = (folder / "snakemake.log").read_text()
    assert "a checkpoint is written" in told, "the log of what failed is shown"
    assert f"results/smoke/logs/train/{STOPPED}_seed_0.log" in told


def test_the_shared_server_has_every_training_and_figure(
    finished: tuple[Path, Jobs, list[dict[str, str]]], shared_server: str
) -> None:
    client = MlflowClient(shared_server)
    experiment = client.get_experiment_by_name("dgmpipe-smoke")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    (invocation,) = (runs.pop(name) for name in list(runs) if " " not in name)
    assert sorted(runs) == [f"{model} 0" for model in sorted(MODELS)]
    for run in (invocation, *runs.values()):
        assert run.info.status == "FINISHED"
    for name, run in runs.items():
        trained = finished[0] / f"results/smoke/models/{name.replace(' ', '/seed_')}"
        history = pd.read_csv(trained / "history.csv").set_index("step")
        usage = {"system/cpu_percent", "system/memory_mb"}
        over_steps = {metric for metric in run.data.metrics if not metric.startswith("final/")}
        assert over_steps == usage | set(history.columns)
        for metric in history.columns:
            points = client.get_metric_history(run.info.run_id, metric)
            expected = history[metric].dropna()
            assert [(m.step, m.value) for m in points] == list(expected.items())
        kept = {file.path: file.file_size for file in client.list_artifacts(run.info.run_id)}
        assert kept["model.safetensors"] == (trained / "model.safetensors").stat().st_size
    figures = client.list_artifacts(invocation.info.run_id, "figures")
    assert len(figures) == sum(exhibit.is_figure for exhibit in exhibits(READ))


@pytest.mark.usefixtures("finished")
def test_nothing_is_left_of_the_cluster(before: set[psutil.Process]) -> None:
    assert not _of_slurm() - before
    assert not of_jobs()
    assert not any(
        Path("/etc/slurm", name).exists() for name in ("slurm.conf", "slurmdbd.conf", "gres.conf")
    )
