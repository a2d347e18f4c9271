"""Released trainings: taken where settings, data, code and seed are theirs, and nowhere else."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.errors import UserError
from dgmpipe.evaluation.tables import training_times
from dgmpipe.files import write_json
from dgmpipe.pages.companion.packing import packed_snapshots
from dgmpipe.pages.exhibit import training_row
from dgmpipe.plan.released import (
    FILES,
    find_released,
    provenance_of,
    release,
    require_released,
    take_released,
    why_not_released,
)
from dgmpipe.plan.trainings import training_code, training_key
from dgmpipe.tracking.records import Record

HISTORY = "step,loss,energy_distance\n0,1.5,15\n60,0.5,\n"


def _config(root: Path, **models: dict[str, Any]) -> dict[str, Any]:
    config = yaml.safe_load((root / "config/smoke.yaml").read_text(encoding="utf-8"))
    for model, settings in models.items():
        config["models"][model] |= settings
    return config


def _key(config: Config, model: str, seed: int = 0) -> str:
    code = {name: training_code(config, name) for name in config.models}
    return training_key(config, model, seed, code)


@pytest.fixture
def results(root: Path, tmp_path: Path) -> Path:
    """A tier in which a VAE and a WGAN that starts from it are finished, and a DCGAN is not."""
    folder, config = tmp_path / "results", _config(root)
    (folder / "runs").mkdir(parents=True)
    (folder / "invocation.json").write_text(json.dumps({"config": config}))
    for model in ("vae", "wgan_vae", "dcgan_vae"):
        trained = folder / f"models/{model}/seed_0"
        trained.mkdir(parents=True)
        (trained / "model.safetensors").write_bytes(model.encode())
        (trained / "history.csv").write_text(HISTORY)
        for name in FILES[2:]:
            (trained / name).write_text("{}")
        status = "RUNNING" if model == "dcgan_vae" else "FINISHED"
        tags = {"git.commit": "c0ffee", "git.dirty": "false", "machine": "a Cray", "device": "cpu"}
        record = {
            "status": status,
            "started": 1_000_000,
            "tags": {"dgmpipe.key": _key(read_config(config), model), **tags},
        }
        (folder / f"runs/{model}_seed_0.json").write_text(json.dumps(record))
    return folder


def test_what_was_released_is_taken_as_it_was(root: Path, results: Path, tmp_path: Path) -> None:
    config, released = read_config(_config(root)), tmp_path / "released"
    models = ["vae", "wgan_vae", "dcgan_vae"]
    written = release(results, models, released)
    assert [path.relative_to(released) for path in written] == [
        Path("vae/seed_0"),
        Path("wgan_vae/seed_0"),
    ]
    assert release(results, models, released) == []
    source = find_released(_key(config, "wgan_vae"), released)
    assert source == released / "wgan_vae/seed_0"
    about = json.loads((source / "released.json").read_text())
    assert about["start"] == _key(config, "vae")
    assert (about["git.commit"], about["machine"], about["license"]) == ("c0ffee", "a Cray", "MIT")
    rows = take_released(source, tmp_path / "taken")
    assert rows == [{"step": 0, "loss": 1.5, "energy_distance": 15}, {"step": 60, "loss": 0.5}]
    for name in FILES[:-1]:
        ours = (tmp_path / "taken" / name).read_bytes()
        assert ours == (results / "models/wgan_vae/seed_0" / name).read_bytes()


def test_the_memory_of_a_training_is_not_that_of_the_job_that_copies_it(
    results: Path, tmp_path: Path
) -> None:
    summary = {"model": "vae", "seed": 0, "hyperparameters": {"steps": 60}}
    time = {"seconds": 7200, "processor_seconds": 3600, "parts": 2}
    write_json(summary, results / "models/vae/seed_0/summary.json")
    write_json(time, results / "models/vae/seed_0/time.json")
    release(results, ["vae"], tmp_path / "released")
    copied = tmp_path / "copied"
    take_released(tmp_path / "released/vae/seed_0", copied)
    (tmp_path / "job.tsv").write_text("max_rss\n900\n56.9\n")
    folders = results / "models/vae/seed_0", copied
    found = training_times(
        {
            "summaries": [str(folder / "summary.json") for folder in folders],
            "times": [str(folder / "time.json") for folder in folders],
            "benchmarks": [str(tmp_path / "job.tsv")] * 2,
        }
    )
    assert found["memory_mb"].tolist() == pytest.approx([56.9, math.nan], nan_ok=True)
    assert found["processor_seconds"].tolist() == [3600, 3600]
    assert found["device"].tolist() == ["cpu", "cpu"]
    assert "released" not in found


def test_a_released_training_says_on_which_devices_it_was_trained(
    results: Path, tmp_path: Path
) -> None:
    record = json.loads((results / "runs/vae_seed_0.json").read_text())
    record["tags"]["device"] = "cuda:1 (NVIDIA H200), cpu"
    (results / "runs/vae_seed_0.json").write_text(json.dumps(record))
    write_json(
        {"model": "vae", "seed": 0, "hyperparameters": {"steps": 60}},
        results / "models/vae/seed_0/summary.json",
    )
    write_json({"processor_seconds": 3.0}, results / "models/vae/seed_0/time.json")
    (source,) = release(results, ["vae"], tmp_path / "released")
    assert provenance_of(source)["device"] == "cuda:1 (NVIDIA H200), cpu"
    take_released(source, tmp_path / "copied")
    (tmp_path / "job.tsv").write_text("max_rss\n900\n")
    files = {"summaries": "summary.json", "times": "time.json"}
    found = training_times(
        {key: [str(tmp_path / "copied" / name)] for key, name in files.items()}
        | {"benchmarks": [str(tmp_path / "job.tsv")]}
    )
    assert found["device"].tolist() == ["NVIDIA H200, cpu"]


def test_snapshots_are_released_of_the_shown_seed_alone(
    root: Path, results: Path, tmp_path: Path
) -> None:
    config = _config(root) | {"seeds": [0, 1]}
    (results / "invocation.json").write_text(json.dumps({"config": config}))
    shutil.copytree(results / "models/vae/seed_0", results / "models/vae/seed_1")
    record = json.loads((results / "runs/vae_seed_0.json").read_text())
    record["tags"]["dgmpipe.key"] = _key(read_config(config), "vae", 1)
    (results / "runs/vae_seed_1.json").write_text(json.dumps(record))
    first, second = release(results, ["vae"], tmp_path / "released")
    assert (first / "snapshots.npz").read_text() == "{}"
    assert packed_snapshots(second / "snapshots.npz") is None
    # Those of another training take their place in the same way.
    for path in (first, second):
        about = json.loads((path / "released.json").read_text())
        write_json(about | {"key": "of other code"}, path / "released.json")
    assert release(results, ["vae"], tmp_path / "released") == [first, second]
    assert (first / "snapshots.npz").read_text() == "{}"
    assert packed_snapshots(second / "snapshots.npz") is None


@pytest.mark.parametrize(
    ("change", "model", "reason"),
    [
        ({"vae": {"steps": 61}}, "vae", "steps is 61, not 60"),
        ({"vae": {"steps": 61}}, "wgan_vae", "vae, from which it starts, differs"),
        ({}, "dcgan_vae", "dcgan_vae, seed 0 is not among the released trainings"),
        ({"vae": {"title": "ours"}}, "vae", None),
    ],
)
def test_another_training_is_not_taken(
    change: dict[str, Any],
    model: str,
    reason: str | None,
    root: Path,
    results: Path,
    tmp_path: Path,
) -> None:
    released = tmp_path / "released"
    release(results, ["vae", "wgan_vae"], released)
    config = read_config(_config(root, **change))
    found = find_released(_key(config, model), released)
    if reason is None:
        assert found
    else:
        assert found is None
        assert reason in why_not_released(config, model, 0, released)


def test_other_code_or_data_or_another_seed(
    root: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, released = read_config(_config(root)), tmp_path / "released"
    release(results, ["vae"], released)
    assert find_released(_key(config, "vae", seed=1), released) is None
    other = _config(root)
    other["data"]["images"]["md5"]["t10k-labels-idx1-ubyte"] = "0" * 32
    assert "its data are others" in why_not_released(read_config(other), "vae", 0, released)
    monkeypatch.setattr("dgmpipe.plan.trainings._code", lambda module: "0123456789ab")
    assert find_released(_key(config, "vae"), released) is None
    assert "its code is another" in why_not_released(config, "vae", 0, released)
    with pytest.raises(UserError, match="vae, seed 0 was trained by other code"):
        release(results, ["vae"], tmp_path / "again")


def test_damaged_weights_are_not_taken(root: Path, results: Path, tmp_path: Path) -> None:
    released = tmp_path / "released"
    (source,) = release(results, ["vae"], released)
    (source / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(UserError, match="is damaged"):
        take_released(source, tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def test_what_needs_training_is_said_before_it_begins(
    root: Path, results: Path, tmp_path: Path
) -> None:
    released, done = tmp_path / "released", tmp_path / "done"
    release(results, ["vae", "wgan_vae"], released)
    written = _config(root) | {"released": True}
    written["models"] = {name: written["models"][name] for name in ("vae", "wgan_vae")}
    require_released(read_config(written), done, released)
    with pytest.raises(UserError, match="2 trainings of the tier smoke 2 are neither released"):
        require_released(read_config(written | {"released": False}), done, released)
    written["models"]["dcgan_vae"] = _config(root)["models"]["dcgan_vae"]
    with pytest.raises(UserError, match="1 are neither released nor done"):
        require_released(read_config(written), done, released)
    (done / "models/dcgan_vae/seed_0").mkdir(parents=True)
    (done / "models/dcgan_vae/seed_0/model.safetensors").touch()
    require_released(read_config(written), done, released)


# A job of the workflow as Snakemake runs it, with released trainings in another folder.
JOB = """
import functools, json, runpy, sys
from pathlib import Path
from types import SimpleNamespace

import dgmpipe.plan.released as released

class Files(list):
    def __init__(self, **files):
        super().__init__(files.values())
        vars(self).update(files)

given = json.load(sys.stdin)
find = functools.partial(released.find_released, folder=Path(given["released"]))
released.find_released = find
snakemake = SimpleNamespace(
    config=given["config"],
    threads=1,
    log=["log"],
    wildcards=SimpleNamespace(model="vae", seed="0"),
    input=SimpleNamespace(data=[], start=[]),
    output=Files(weights="taken/model.safetensors", summary="taken/summary.json"),
    params=SimpleNamespace(data="data", key=given["key"], checkpoints="checkpoints"),
)
runpy.run_path(given["script"], {"snakemake": snakemake})
Path("imported").write_text(str(sorted({"torch", "mlflow", "pandas"} & sys.modules.keys())))
"""


def test_the_job_of_a_released_training_copies_it_and_imports_little(
    root: Path, results: Path, tmp_path: Path
) -> None:
    release(results, ["vae"], tmp_path / "released")
    config = _config(root) | {"released": True}
    given = {
        "config": config,
        "key": _key(read_config(config), "vae"),
        "released": str(tmp_path / "released"),
        "script": str(root / "scripts/train.py"),
    }
    job = [sys.executable, "-c", JOB]
    ran = subprocess.run(job, input=json.dumps(given), cwd=tmp_path, text=True, check=False)
    assert ran.returncode == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "taken/model.safetensors").read_bytes() == b"vae"
    assert (tmp_path / "taken/history.csv").read_text() == HISTORY
    assert "vae, seed 0: taken from the released trainings" in (tmp_path / "log").read_text()
    assert (tmp_path / "imported").read_text() == "[]"
    record = Record.read(tmp_path / "results/smoke/runs/vae_seed_0.json")
    assert record is not None
    assert (record.status, record.files[""]) == (
        "FINISHED",
        ["taken/model.safetensors", "taken/summary.json"],
    )
    # The page of the tier has what the training was, and not the copy.
    summary = {"hyperparameters": {"steps": 60}}
    time = {"seconds": 7200, "processor_seconds": 3600, "parts": 2}
    folder = tmp_path / "results/smoke"
    write_json(summary, folder / "models/vae/seed_0/summary.json")
    write_json(time, folder / "models/vae/seed_0/time.json")
    row, _ = training_row(folder, "vae", 0)
    assert row == ["60", "c0ffee", "1970-01-01 00:16 UTC", "cpu", "2.00", "1.00", "2", "–"]
    assert record.tags["machine"] == "a Cray"
