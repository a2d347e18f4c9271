import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dgmpipe.jobs import provenance
from dgmpipe.jobs.provenance import git_state, machine


def test_a_machine_is_its_processor_cores_and_memory() -> None:
    assert re.fullmatch(r"\S.*, \d+ cores, \d+ GiB", machine())


UNKNOWN = {"git.commit": "unknown", "git.dirty": "unknown"}


def _git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *settings, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _commit_all(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "README").touch()
    _git(folder, "init", "--quiet")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "all")
    return _git(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the place of this one, in a folder of somebody else's."""
    root = tmp_path / "outer/dgmpipe"
    (root / "src/dgmpipe").mkdir(parents=True)
    (root / "src/dgmpipe/__init__.py").touch()
    monkeypatch.setattr(provenance, "_PACKAGE", root / "src/dgmpipe")
    return root


def test_git_state_of_a_clone(project: Path) -> None:
    commit = _commit_all(project)
    assert git_state() == {"git.commit": commit, "git.dirty": "false"}
    (project / "README").write_text("edited")
    assert git_state() == {"git.commit": commit, "git.dirty": "true"}


def test_git_state_of_a_clone_within_another_repository(project: Path) -> None:
    commit = _commit_all(project)
    assert _commit_all(project.parent) != commit
    assert git_state()["git.commit"] == commit


def test_git_state_ignores_the_repository_that_a_hook_is_told_of(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = _commit_all(project)
    _commit_all(tmp_path / "another")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another/.git"))
    assert git_state()["git.commit"] == commit


@pytest.mark.parametrize("committed", [False, True])
def test_the_repository_around_an_unpacked_archive_is_not_this_one(
    project: Path, committed: bool
) -> None:
    if committed:
        _commit_all(project.parent)
    else:
        _git(project.parent, "init", "--quiet")
    assert git_state() == UNKNOWN


def test_a_repository_that_does_not_have_the_files_is_not_this_one(project: Path) -> None:
    (project / ".gitignore").write_text("src\n")
    _commit_all(project)
    assert git_state() == UNKNOWN


def test_the_repository_around_an_installed_wheel_is_not_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / ".venv/lib/python3/site-packages/dgmpipe"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    _commit_all(tmp_path)
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    assert git_state() == UNKNOWN


def test_an_archive_says_which_commit_it_is_of(project: Path, tmp_path: Path) -> None:
    for name in (".gitattributes", ".git_archival.txt"):
        shutil.copy(Path(__file__).parents[1] / name, project)
    commit = _commit_all(project)
    assert git_state()["git.commit"] == commit
    _git(project, "archive", "--output", str(tmp_path / "archive.zip"), "HEAD")
    shutil.rmtree(project)
    shutil.unpack_archive(tmp_path / "archive.zip", project)
    _git(project.parent, "init", "--quiet")
    assert git_state() == {"git.commit": commit, "git.dirty": "unknown"}


@pytest.mark.parametrize("text", ["", "node: $Format:%H$\n", "node: 12\n", "\xff"])
def test_an_archive_that_git_did_not_make_says_nothing(project: Path, text: str) -> None:
    (project / ".git_archival.txt").write_text(text, encoding="latin1")
    assert git_state() == UNKNOWN
