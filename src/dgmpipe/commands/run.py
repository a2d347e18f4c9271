"""The workflow in any folder, by Snakemake and the Snakefile that belongs to this package."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import yaml

from dgmpipe.config.read import check_files
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
        UserError: If a file is neither there nor in the project, or no config, the directory is a
            file, or a value has no key.
    """
    project = project_folder()
    for folder in (directory, *directory.absolute().parents):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; name a folder for --directory")
    files = [_found(path, project) for path in configfiles]
    for file in files:
        _require_config(file)
    for value in config:
        if not re.match(r"[a-zA-Z_]\w*=", value):
            raise UserError(
                f"--config takes key=value with a key at the top level, not '{value}'; what is"
                " nested goes into braces, as in 'models={vae: {steps: 5000}}'"
            )
    if not (directory / "config/config.yaml").is_file():
        files.insert(0, project / "config/config.yaml")
    command = [sys.executable, "-m", "snakemake"]
    # An option with many values takes all that follows, so that one with a single value ends these.
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--config", *config] if config else []
    command += ["--snakefile", str(project / "workflow/Snakefile")]
    command += ["--workflow-profile", str(_found(profile, project))] if profile else []
    return [*command, "--directory", str(directory), *arguments]


def _require_config(file: Path) -> None:
    """Refuse what Snakemake would answer by a traceback, or without the name of the file."""
    if file.is_dir():
        raise UserError(f"{file} is a folder; name a file of YAML for --configfile")
    check_files([file])
    if not isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict):
        raise UserError(f"{file} has no keys at the top level, such as models:")


def become(command: list[str]) -> NoReturn:
    """Run a command in place of this process, with its terminal and its signals."""
    os.execv(command[0], command)


def _found(path: Path, project: Path) -> Path:
    for candidate in (path, project / path):
        if candidate.exists():
            return candidate
    raise UserError(f"there is no {path}, neither here nor in {project}")
