"""Imports point down: the order of the package's parts, and that none reaches above itself."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src/dgmpipe"

# From the bottom to the top. A part imports from those before it, and from itself.
PARTS = (
    ("errors", "arguments", "files", "lazy", "streams"),
    ("config",),
    ("jobs", "statistics"),
    ("data",),
    ("models",),
    ("training",),
    ("evaluation",),
    ("figures",),
    ("plan",),
    ("tracking",),
    ("screen",),
    ("pages",),
    ("commands",),
)
LEVEL = {part: level for level, parts in enumerate(PARTS) for part in parts}


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    """Return the parts of the package that a module imports, anywhere in its text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    own = (name.split(".") for name in names if name.startswith("dgmpipe."))
    return {parts[1] for parts in own}


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = _part(path)
    above = {part for part in _imported(path) if LEVEL[part] > LEVEL[own]}
    assert not above, f"{own} must not import {', '.join(above)}"


def test_the_root_holds_what_everything_stands_on_and_no_more() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", *PARTS[0]}


@pytest.mark.parametrize("part", ["config", "plan"])
def test_a_plan_needs_no_torch(part: str) -> None:
    for path in (PACKAGE / part).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import torch" not in text, path
        assert "from torch" not in text, path
