import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dgmpipe import provenance
from dgmpipe.provenance import config_digest, git_state, machine, source_digest, source_files

SCRIPTS = Path(__file__).parent.parent / "scripts"


def _names(*roots: str | Path) -> set[str]:
    package = Path(provenance.__file__).parent
    return {str(f.relative_to(package)) for f in source_files(*roots) if package in f.parents}


def test_a_training_depends_on_its_model_and_the_loop_alone() -> None:
    names = _names(SCRIPTS / "train.py", "dgmpipe.models.vae")
    assert {"models/vae.py", "models/generator.py", "training/loop.py", "data/batches.py"} <= names
    assert not names & {"models/realnvp.py", "models/otflow.py", "tracking.py", "progress.py"}
    assert not {name for name in names if name.startswith(("figures/", "evaluation/"))}


def test_a_figure_depends_on_its_function_and_the_style_alone() -> None:
    names = _names(SCRIPTS / "figure_08.py")
    assert {"figures/figure_08.py", "figures/style.py"} <= names
    assert not {name for name in names if name.startswith(("models/", "training/", "data/"))}
    assert "figures/figure_07.py" not in names


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of this one."""
    root = tmp_path / "dgmpipe"
    (root / "sub").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "sub/__init__.py").write_text("from dgmpipe.sub.other import thing\n")
    (root / "a.py").write_text("import os\nfrom dgmpipe.b import x\n")
    (root / "b.py").write_text("def f():\n    from dgmpipe.sub import late\n    import dgmpipe.c\n")
    (root / "c.py").write_text("from dgmpipe.a import x\n")
    (root / "sub/late.py").write_text("x = 1\n")
    (root / "sub/other.py").write_text("thing = 1\n")
    monkeypatch.setattr(provenance, "_PACKAGE", root)
    provenance._imports.cache_clear()
    yield root
    provenance._imports.cache_clear()


def test_imports_are_followed_everywhere_and_in_circles(package: Path) -> None:
    files = {str(f.relative_to(package)) for f in source_files("dgmpipe.a")}
    assert files == {"a.py", "b.py", "c.py", "sub/late.py"}


def test_the_digest_changes_with_what_is_imported_and_with_nothing_else(package: Path) -> None:
    before = source_digest("dgmpipe.a")
    (package / "sub/other.py").write_text("thing = 2\n")
    assert source_digest("dgmpipe.a") == before
    (package / "sub/late.py").write_text("x = 2\n")
    assert source_digest("dgmpipe.a") != before


def test_config_digests_ignore_the_order_of_keys() -> None:
    assert config_digest({"a": 1, "b": [2]}) == config_digest({"b": [2], "a": 1})
    assert config_digest({"a": 1}) != config_digest({"a": 2})


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
        shutil.copy(SCRIPTS.parent / name, project)
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
