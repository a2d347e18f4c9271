"""Where the tensors live."""

import os
import tempfile
from pathlib import Path

import torch

from dgmpipe.errors import UserError
from dgmpipe.jobs.locks import take_lock

__all__ = ["choose_device"]


def choose_device(name: str, *, trainings_per_gpu: int = 1) -> torch.device:
    """Return the device of the config's `device`; `auto` is CUDA where it works, else the CPU.

    With several GPUs, `auto` is one that no other training of this user has chosen, and that it
    keeps until this process ends; if there is none, all share the first.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        trainings_per_gpu: How many may choose the same GPU.

    Raises:
        UserError: If the device is unknown or not on this machine.
    """
    # What a config calls float32 is no less on a GPU, whose convolutions would round to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return _free_gpu(trainings_per_gpu) if torch.cuda.is_available() else torch.device("cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            "device 'mps' in the config is the GPU of Apple silicon, which this machine has not or"
            " this PyTorch cannot use; choose auto or cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' in the config cannot be used on this machine;"
            " choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    return device


def _free_gpu(trainings_per_gpu: int) -> torch.device:
    for place in range(trainings_per_gpu):
        for index in range(torch.cuda.device_count()):
            uuid = torch.cuda.get_device_properties(index).uuid
            lock = f"dgmpipe-{os.getuid()}-{uuid}-{place}.lock"
            try:
                take_lock(Path(tempfile.gettempdir(), lock), patience=0)
            except TimeoutError:
                continue
            return torch.device("cuda", index)
    return torch.device("cuda", 0)
