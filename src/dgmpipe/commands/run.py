"""The workflow in any folder, by Snakemake and the Snakefile that belongs to this package."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from dgmpipe.errors import UserError

__all__ = ["become", "project_folder", "snakemake_command"]

_PACKAGE = Path(__file__).parents[1]


def project_folder() -> Path:
    """Return the folder with workflow/, scripts/ and config/: of this clone, or of this package.

    Raises:
        UserError: If the package was installed without them.
    """
    for folder in (_PACKAGE.parents[1], _PACKAGE / "project"):
        if (folder / "workflow/Snakefile").is_file():
            return folder
    raise UserError(f"{_PACKAGE} was installed without the workflow; install dgmpipe again")


def snakemake_command(
    arguments: Iterable[str],
    *,
    directory: Path,
    configfiles: Iterable[Path] = (),
    config: Iterable[str] = (),
    profile: Path | None = None,
) -> list[str]:
    """Return the command that runs the workflow in a folder.

    Files that are not where their paths say are taken from the project. What is not set is as in
    config/config.yaml of the folder or, if it has none, of the project.

    Args:
        arguments: Snakemake's other options, and targets.
        directory: The folder in which results/ is.
        configfiles: What is laid over the config, in this order.
        config: Values that are laid over it, as `key=value`.
        profile: A workflow profile in place of the default one.

    Raises:
        UserError: If a file is neither there nor in the project.
    """
    project = project_folder()
    files = [_found(path, project) for path in configfiles]
    if not (directory / "config/config.yaml").is_file():
        files.insert(0, project / "config/config.yaml")
    command = [sys.executable, "-m", "snakemake"]
    # An option with many values takes all that follows, so that one with a single value ends these.
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--config", *config] if config else []
    command += ["--snakefile", str(project / "workflow/Snakefile")]
    command += ["--workflow-profile", str(_found(profile, project))] if profile else []
    return [*command, "--directory", str(directory), *arguments]


def become(command: list[str]) -> NoReturn:
    """Run a command in place of this process, with its terminal and its signals."""
    os.execv(command[0], command)


def _found(path: Path, project: Path) -> Path:
    for candidate in (path, project / path):
        if candidate.exists():
            return candidate
    raise UserError(f"there is no {path}, neither here nor in {project}")
