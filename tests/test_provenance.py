import re
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


def test_git_state_names_the_commit_or_says_that_it_is_unknown() -> None:
    state = git_state()
    assert state["git.commit"] == "unknown" or len(state["git.commit"]) == 40
    assert state["git.dirty"] in ("true", "false", "unknown")
