"""How many GPUs there are, found out without the seconds that importing torch takes."""

import os
import subprocess

__all__ = ["count_gpus"]


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that a process started here may use.

    It is at most the number that CUDA_VISIBLE_DEVICES names, which may name some that are not
    there, and 0 where the driver's `nvidia-smi` is not or does not work.
    """
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    return min(count, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))
