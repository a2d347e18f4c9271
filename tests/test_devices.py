"""Which device a training gets, with GPUs that are made up, and how it uses memory."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from dgmpipe.jobs.devices import choose_device
from dgmpipe.jobs.gpus import count_gpus
from dgmpipe.jobs.usage import Usage
from workflow_runs import snakemake

ROOT = Path(__file__).parent.parent


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{index}")
    )


@pytest.mark.usefixtures("three_gpus")
def test_trainings_share_a_gpu_only_when_all_are_taken() -> None:
    chosen = [choose_device("auto", trainings_per_gpu=2).index for _ in range(7)]
    assert chosen == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.usefixtures("three_gpus")
def test_single_precision_is_that_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch has it
    choose_device("auto")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_is_free_again_when_its_process_has_ended(tmp_path: Path) -> None:
    def choose_in_a_process() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(choose_device("auto").index)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert [choose_in_a_process() for _ in range(3)] == [0, 0, 0]
    assert choose_device("auto").index == 0
    assert choose_in_a_process() == 1


# As `nvidia-smi --list-gpus` says it; the second is cut into two parts.
LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-7d1c6b1e-0000-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-7e2f6b1e-0000-0000-0000-000000000000)
  MIG 3g.40gb     Device  0: (UUID: MIG-11111111-0000-0000-0000-000000000000)
  MIG 3g.40gb     Device  1: (UUID: MIG-22222222-0000-0000-0000-000000000000)
"""


@pytest.fixture
def driver_of_two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("driver_of_two_gpus")
@pytest.mark.parametrize(
    ("device", "shared", "of_a_training"),
    [("auto", 2, 1), ("cuda", 1, 1), ("cuda:1", 1, 1), ("cpu", 0, 0)],
)
def test_trainings_share_out_the_gpus_that_the_config_lets_them_use(
    device: str, shared: int, of_a_training: int, tmp_path: Path
) -> None:
    assert count_gpus(device) == shared
    for name in ("config", "workflow", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    target = "results/smoke/models/realnvp/seed_0/model.safetensors"
    arguments = ("-n", "--configfile", "config/smoke.yaml", "--config", f"device={device}")
    planned = snakemake(tmp_path, *arguments, "--", target)
    assert planned.returncode == 0, planned.stderr
    assert f"gpu={of_a_training}" in planned.stdout + planned.stderr


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        (None, 2),
        ("0", 1),
        ("1,0", 2),
        (" 0 , 1 ", 2),
        ("", 0),
        ("-1", 0),
        ("0,1,2,3", 2),
        ("NoDevFiles", 0),  # what SLURM sets where a job has no GPU
        ("none", 0),
        ("void", 0),
        ("2", 0),
        ("2,0", 0),
        ("0,2,1", 1),
        ("0,-1,1", 1),
        ("-1,0,1", 0),
        ("0,,1", 1),
        ("0,none,1", 1),
        ("0x,1y", 2),
        ("0,0", 0),
        ("GPU-7d1c6b1e-0000-0000-0000-000000000000", 1),
        ("GPU-7e,GPU-7d", 2),
        ("GPU-7", 0),  # the beginning of both
        ("GPU-7d,GPU-0,GPU-7e", 1),
        ("MIG-11111111-0000-0000-0000-000000000000", 1),
    ],
)
@pytest.mark.usefixtures("driver_of_two_gpus")
def test_gpus_are_those_that_are_visible(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count
    assert count_gpus("mps") == 0


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", absent)
    assert count_gpus() == 0


@pytest.mark.parametrize(
    "reason",
    [pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED), RuntimeError("device 0 is not visible")],
)
def test_use_of_a_gpu_is_sampled_as_far_as_the_driver_tells(
    reason: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", {"cuda:1": 3_000_000}.get)
    monkeypatch.setattr(torch.cuda, "utilization", {"cuda:1": 70}.get)
    sample = Usage("cuda:1").sample()
    assert (sample["system/gpu_memory_mb"], sample["system/gpu_percent"]) == (3, 70)

    def untold(device: str) -> int:
        raise reason

    monkeypatch.setattr(torch.cuda, "utilization", untold)
    assert Usage("cuda:1").sample().keys() == sample.keys() - {"system/gpu_percent"}
    assert not any("gpu" in name for name in Usage("cpu").sample())

    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:1": "A GPU"}.get)
    assert Usage("cuda:1").device_name() == "cuda:1 (A GPU)"
    assert Usage("cpu").device_name() == "cpu"


@pytest.mark.slow
def test_a_job_does_not_give_freed_memory_back() -> None:
    program = """
        import ctypes, torch
        from dgmpipe.jobs.job import keep_freed_memory
        class Mallinfo(ctypes.Structure):
            names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
            _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
        mallinfo = ctypes.CDLL(None).mallinfo2
        mallinfo.restype = Mallinfo
        def from_the_system():
            before = mallinfo().hblkhd
            tensor = torch.empty(5_000_000)  # 20 MB, and given back when it goes
            return mallinfo().hblkhd - before
        default = from_the_system()
        keep_freed_memory()
        print(default, from_the_system(), mallinfo().fordblks)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    default, mapped, kept = map(int, run.stdout.split())
    assert default >= 20_000_000
    assert mapped == 0
    assert kept >= 20_000_000
