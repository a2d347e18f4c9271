"""What a result was made from: commit and machine."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

__all__ = ["git_state", "machine"]

_PACKAGE = Path(__file__).parents[1]


def machine() -> str:
    """Return processor, cores and memory of this machine, such as "AMD EPYC, 2 cores, 24 GiB"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    gib = psutil.virtual_memory().total / 2**30
    return f"{[*names, platform.processor()][0]}, {os.cpu_count()} cores, {gib:.0f} GiB"


def git_state() -> dict[str, str]:
    """Return the commit of this package's source and whether files differ from it.

    Both are `unknown` but in a clone of this project and in an archive that git made of it, which
    has the commit alone: a repository around an installed or unpacked copy is another project's.
    """
    root = _PACKAGE.parent.parent
    # What a hook of git, say, is told of a repository of its own is not about this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*arguments: str) -> str:
        # Without the lock that a commit of the user's at the same moment would stumble over.
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        ran = subprocess.run(command, capture_output=True, check=True, env=environment)
        return os.fsdecode(ran.stdout).strip()

    try:
        if os.path.samefile(git("rev-parse", "--show-toplevel"), root):
            git("ls-files", "--error-unmatch", str(_PACKAGE / "__init__.py"))
            return {
                "git.commit": git("rev-parse", "HEAD"),
                "git.dirty": str(bool(git("status", "--porcelain"))).lower(),
            }
    except (OSError, subprocess.CalledProcessError):
        pass
    return {"git.commit": _archived_commit(root) or "unknown", "git.dirty": "unknown"}


def _archived_commit(root: Path) -> str | None:
    """Return the commit that git wrote into an archive of the project."""
    try:
        text = (root / ".git_archival.txt").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    found = re.match(r"node: ([0-9a-f]{40,64})$", text, re.M)
    return found[1] if found else None
