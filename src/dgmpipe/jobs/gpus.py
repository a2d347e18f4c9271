"""How many GPUs there are, found out without the seconds that importing torch takes."""

import os
import re
import subprocess

__all__ = ["count_gpus"]


def count_gpus(device: str = "auto") -> int:
    """Return how many NVIDIA GPUs trainings that are started here share out among themselves.

    These are the GPUs that CUDA sees: CUDA_VISIBLE_DEVICES names them by index, UUID or the
    beginning of one, and whatever stands behind the first name of no GPU does not count. There is
    none where the driver's `nvidia-smi` is not or does not work.

    Args:
        device: The config's: `auto` shares out all GPUs, `cuda` or `cuda:N` is one, `cpu` and
            `mps` are none of NVIDIA's.
    """
    if device in ("cpu", "mps"):
        return 0
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    # "GPU 0: NVIDIA H100 (UUID: GPU-...)", and below it "  MIG 1g.10gb Device 0: (UUID: MIG-...)"
    lines = listed.stdout.splitlines()
    gpus = [_uuid(line) for line in lines if line.startswith("GPU ")]
    parts = [_uuid(line) for line in lines if line.lstrip().startswith("MIG ")]
    count = _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), gpus, parts)
    return count if device == "auto" else min(count, 1)


def _uuid(line: str) -> str:
    found = re.search(r"UUID: ([^)\s]+)", line)
    return found[1] if found else ""


def _visible(names: str | None, gpus: list[str], parts: list[str]) -> int:
    """Count the GPUs as the CUDA C++ Programming Guide defines CUDA_VISIBLE_DEVICES."""
    if names is None:
        return len(gpus)
    seen: set[str] = set()
    for name in map(str.strip, names.split(",")):
        # Of "1x" the driver reads the number, as C's atoi does, but not of "x1".
        number = re.match(r"[+-]?\d+", name)
        if number:
            index = int(number[0])
            matches = gpus[index : index + 1] if index >= 0 else []
        else:
            matches = [uuid for uuid in gpus + parts if name[4:] and uuid.startswith(name)]
        if len(matches) != 1:
            break
        if matches[0] in seen:  # a name that stands twice leaves none
            return 0
        seen.update(matches)
    return len(seen)
