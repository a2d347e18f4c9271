"""The benchmarks: what they compute from what they measured."""

import base64
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

import energy
import page
import profiles
import roofline
import steps
import workflow


def _note(folder: Path, job: str, start: float, end: float, needs: list[str]) -> None:
    """Write what Snakemake notes of a finished job with one output."""
    record = {"rule": job, "log": [f"results/tiny/logs/{job}.log"], "starttime": start}
    record |= {"endtime": end, "input": [f"results/tiny/{need}" for need in needs]}
    (folder / base64.b64encode(f"results/tiny/{job}".encode()).decode()).write_text(
        json.dumps(record)
    )


def test_the_critical_path_is_the_longest_chain_of_jobs_that_wait_for_each_other(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ".snakemake/metadata"
    folder.mkdir(parents=True)
    _note(folder, "data", 100, 110, [])
    _note(folder, "long", 110, 150, ["data"])
    _note(folder, "short", 110, 120, ["data"])
    _note(folder, "late", 150, 180, [])
    _note(folder, "figure", 180, 182, ["long", "short"])
    jobs = workflow.measure("tiny", tmp_path)
    assert list(jobs.job) == ["data", "long", "short", "late", "figure"]
    assert list(jobs.job[jobs.critical]) == ["data", "long", "figure"]
    assert jobs.seconds.sum() == 92
    assert jobs.end.max() == 82


def test_without_results_the_workflow_benchmark_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no job of tier laptop has run in .*; run: make all"):
        workflow.measure("laptop", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "implementation", ["dgmpipe", pytest.param("dcor", marks=pytest.mark.slowest)]
)
def test_an_energy_test_is_measured(implementation: str) -> None:
    measured = energy.run(implementation, 40, 30, threads=1)
    assert measured["n"] == 40
    assert measured["m"] == 30
    assert measured["seconds"] > 0
    assert measured["added_mb"] >= 0


@pytest.mark.slow
def test_a_profile_names_what_a_convolutional_step_does() -> None:
    milliseconds = profiles.run("dcgan", "textbook", steps=2)
    assert set(milliseconds) == {*profiles.OPERATIONS, profiles.REST}
    largest = sorted(milliseconds, key=milliseconds.get)[-3:]
    assert "convolutions" in largest
    assert milliseconds["optimiser"] > 0
    assert milliseconds["data loader"] > 0


def test_the_page_has_each_table_that_was_measured(tmp_path: Path) -> None:
    measured, docs = tmp_path / "measured", tmp_path / "docs"
    measured.mkdir()
    (docs / "figures").mkdir(parents=True)
    row = {"textbook_ms": 9.0, "ours_ms": 2.0, "lowest_ratio": 1.0, "highest_ratio": 5.0}
    row |= dict.fromkeys(["gflop", "gflops", "share_of_product", "product_gflops"], 1.0)
    models = [
        {"model": "otflow", "threads": 1, "ratio": 4.5, "side_by_side": 1.5},
        {"model": "vae", "threads": 1, "ratio": 1.25, "side_by_side": float("nan")},
    ]
    pd.DataFrame([row | model for model in models]).to_csv(measured / "steps.csv")
    (measured / "steps.txt").write_text("a machine")
    on_gpu = {"model": "wgan", "textbook_ms": 9.0, "ours_ms": 6.0, "ratio": 1.5, "gpu": "H100"}
    pd.DataFrame([on_gpu]).to_csv(measured / "gpu.csv")
    (measured / "gpu.txt").write_text("another")
    page.write(measured, docs)
    text = (docs / "benchmarks.md").read_text()
    assert "| OT-Flow | 1 |" in text
    assert "4, met" in text
    assert "2.5, missed" in text
    assert "Measured on a machine." in text
    assert "same steps on a H100, 7 rounds" in text
    assert "| WGAN | 9.00 | 6.00 | **1.50** |" in text
    assert "Measured on another." in text
    assert "energy" not in text
    assert (docs / "figures/bench_steps.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("version", ["textbook", "ours"])
@pytest.mark.parametrize("kind", ["realnvp", "vae", "classifier"])
@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_a_measured_step_is_one_on_that_device(kind: str, version: str, device: str) -> None:
    losses = steps.build_step(kind, version, device)()
    assert all(loss.device.type == device and loss.isfinite() for loss in losses.values())


def test_without_a_gpu_its_benchmark_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="PyTorch sees no GPU here; leave out: gpu"):
        steps.measure_gpu()


def test_a_roofline_counts_the_operations_of_a_step_forward_and_backward() -> None:
    found = roofline.operations("vae", 1)
    gflop = 2 * 64 * (64 * 7 * 7) * (32 * 4 * 4) / 1e9  # of 64 images from 32 to 64 channels
    calls, milliseconds, forward, mb = found["convolution", "64×32×14×14 and 64×32×4×4"]
    assert (calls, forward) == (1, pytest.approx(gflop))
    assert milliseconds > 0
    values = 64 * 32 * 14 * 14 + 64 * 32 * 4 * 4 + 64 + 64 * 64 * 7 * 7
    assert mb == pytest.approx(values * 4 / 1e6)
    backward = found["convolution_backward", "64×64×7×7 and 64×32×14×14"]
    assert backward[2] == pytest.approx(2 * gflop)
    assert not any(mb for (name, _), (*_, mb) in found.items() if name == "permute")
