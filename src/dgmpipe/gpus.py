"""How many GPUs there are, found out without the seconds that importing torch takes."""

import os
import subprocess

__all__ = ["count_gpus"]


def count_gpus(device: str = "auto") -> int:
    """Return how many NVIDIA GPUs trainings that are started here share out among themselves.

    It is at most the number that CUDA_VISIBLE_DEVICES names, which may name some that are not
    there, and 0 where the driver's `nvidia-smi` is not or does not work.

    Args:
        device: The config's: `auto` shares out all GPUs, `cuda` or `cuda:N` is one, `cpu` none.
    """
    if device == "cpu":
        return 0
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [name for name in visible.split(",") if name.strip() not in ("", "-1")]
        count = min(count, len(named))
    return count if device == "auto" else min(count, 1)
