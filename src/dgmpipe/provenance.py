"""What a result was made from: commit and machine."""

import os
import platform
import subprocess
from pathlib import Path

import psutil

__all__ = ["git_state", "machine"]

_PACKAGE = Path(__file__).parent


def machine() -> str:
    """Return processor, cores and memory of this machine, such as "AMD EPYC, 2 cores, 24 GiB"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    gib = psutil.virtual_memory().total / 2**30
    return f"{[*names, platform.processor()][0]}, {os.cpu_count()} cores, {gib:.0f} GiB"


def git_state() -> dict[str, str]:
    """Return the commit that is checked out and whether files differ from it, if git knows."""

    def git(*arguments: str) -> str:
        # Without the lock that a commit of the user's at the same moment would stumble over.
        command = ["git", "--no-optional-locks", "-C", str(_PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "git.commit": git("rev-parse", "HEAD"),
            "git.dirty": str(bool(git("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"git.commit": "unknown", "git.dirty": "unknown"}
