"""What a result was made from: source files, config, commit."""

import ast
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

__all__ = ["config_digest", "git_state", "machine", "source_digest", "source_files"]

_PACKAGE = Path(__file__).parent

# These cannot change a result: what a job takes from the catalogue is among its params.
_WITHOUT_EFFECT = {
    _PACKAGE / name
    for name in ("devices.py", "locks.py", "models/catalog.py", "progress.py", "tracking.py")
}

# What a module reads besides what it imports.
_READ_BY = {_PACKAGE / "figures/style.py": [_PACKAGE / "figures/dgmpipe.mplstyle"]}


def config_digest(config: Any) -> str:
    """Return 12 hexadecimal digits that name a config or a block of it."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def source_files(*roots: str | Path) -> list[Path]:
    """Return the roots and every module of this package that they import, directly or not.

    With the figures' style comes its style sheet. Left out are the few modules that only report
    progress or name things.

    A package's `__init__` counts only where it is itself imported by name: it does nothing but
    name its modules' contents again, so that an edit elsewhere in the package changes no result.

    Args:
        roots: Python files, or dotted names of this package's modules.
    """
    found: set[Path] = set()
    to_read = [_module_path(root) or Path(root) for root in roots]
    while to_read:
        path = to_read.pop()
        if path not in found | _WITHOUT_EFFECT:
            found.add(path)
            found.update(_READ_BY.get(path, []))
            to_read.extend(_imports(path))
    return sorted(found)


def source_digest(*roots: str | Path) -> str:
    """Return 12 hexadecimal digits that change with any file that `source_files` returns.

    They do not depend on where the files are.
    """
    digests = sorted(hashlib.sha256(path.read_bytes()).digest() for path in source_files(*roots))
    return hashlib.sha256(b"".join(digests)).hexdigest()[:12]


@functools.cache
def _imports(path: Path) -> Iterable[Path]:
    """Return the files of this package that a Python file imports anywhere in its text."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module, `from module import thing` a thing.
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if _module_path(name) else node.module for name in modules]
    return [file for name in names if (file := _module_path(name))]


def _module_path(name: str | Path) -> Path | None:
    """Return the file of a dotted module name of this package, or nothing for any other name."""
    first, *rest = str(name).split(".")
    if first != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*rest)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


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
    found = re.fullmatch(r"node: ([0-9a-f]{40,64})\s*", text)
    return found[1] if found else None
