"""Digests of what code means: they change with a formula, and not with a docstring.

Snakemake does not see an edit in a module that a script imports. So each rule has the digest of its
code as a param, made of the script and of every module of this package that it imports.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["config_digest", "content_digest", "source_digest", "source_files"]

_PACKAGE = Path(__file__).parents[1]

# These cannot change a result: they report, lock, plan, or name things whose values are params.
_WITHOUT_EFFECT = (
    "config",
    "plan",
    "tracking",
    "jobs",
    "errors.py",
    "training/stopwatch.py",
    "models/sampling.py",
)

# A statement whose first line ends so is for users of a trained model: no weight and no number of
# an evaluation comes from it.
_FOR_USERS = "# only for users"

# A training's weights do not depend on what is measured or shown of them.
_MEASURES = ("evaluation", "statistics")
_LOOKS = {"evaluate", "snapshot"}

# What a module reads besides what it imports.
_PAGE = _PACKAGE / "pages/companion"
_READ_BY = {
    _PACKAGE / "figures/style.py": [_PACKAGE / "figures/dgmpipe.mplstyle"],
    _PAGE / "build.py": [
        path for kind in ("js", "css", "html") for path in sorted(_PAGE.rglob(f"*.{kind}"))
    ],
}

# Calls whose only effect is that somebody reads something.
_SAYS = {"print", "warn"}


def config_digest(config: Any) -> str:
    """Return 12 hexadecimal digits that name a config or a block of it."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def content_digest(path: str | Path) -> str:
    """Return 12 hexadecimal digits that name a file's content, or names and contents in a folder.

    Raises:
        OSError: If it is not there or cannot be read.
    """
    top = Path(path)
    files = sorted(file for file in top.rglob("*") if file.is_file()) if top.is_dir() else [top]
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        content = _content_digest(file, status.st_size, status.st_mtime_ns)
        digest.update(f"{file.relative_to(top)} {content}\n".encode())
    return digest.hexdigest()[:12]


@functools.cache
def _content_digest(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_files(*roots: str | Path, training: bool = False) -> list[Path]:
    """Return the roots and every module of this package that they import, directly or not.

    With the figures' style comes its style sheet, with the companion its scripts. Left out are
    modules that cannot change a result. A package's `__init__` counts only where it is itself
    imported by name: it does nothing but name its modules' contents again.

    Args:
        roots: Python files, or dotted names of this package's modules.
        training: Whether only what can change a training counts: no measure of its result does.
    """
    found: set[Path] = set()
    to_read = [_module_path(root) or Path(root) for root in roots]
    without = _WITHOUT_EFFECT + (_MEASURES if training else ())
    while to_read:
        path = to_read.pop()
        if path in found or _is_below(path, without):
            continue
        found.add(path)
        found.update(_READ_BY.get(path, []))
        to_read.extend(_imports(path))
    return sorted(found)


def source_digest(*roots: str | Path, training: bool = False) -> str:
    """Return 12 hexadecimal digits that change with the meaning of the files of `source_files`.

    Comments, docstrings, type hints, messages of errors, what is printed, what is marked as only
    for users, and where the files are do not count; of a training neither does how it is evaluated.
    """
    files = source_files(*roots, training=training)
    digests = sorted(hashlib.sha256(_meaning(path, training)).digest() for path in files)
    return hashlib.sha256(b"".join(digests)).hexdigest()[:12]


@functools.cache
def _is_below(path: Path, names: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(_PACKAGE / name) for name in names)


@functools.cache
def _meaning(path: Path, training: bool) -> bytes:
    """Return the code of a file without what cannot change what it computes."""
    if path.suffix != ".py":
        return path.read_bytes()
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    for_users = {number for number, line in lines if line.endswith(_FOR_USERS)}
    return _written(_Stripped(training, for_users).visit(_parse(path))).encode()


def _written(node: Any) -> str:
    """Return a syntax tree as text, the same one from every version of Python.

    `ast.unparse` quotes in another way since 3.12, and `ast.dump` names fields that are empty.
    """
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = (
        f"{name}={_written(value)}"
        for name, value in ast.iter_fields(node)
        if isinstance(node, ast.Constant) or (value is not None and value != [])
    )
    return f"{type(node).__name__}({', '.join(fields)})"


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


class _Stripped(ast.NodeTransformer):
    """Takes out of a syntax tree what cannot change what it computes."""

    def __init__(self, training: bool, for_users: set[int]) -> None:
        self._training = training
        self._for_users = for_users

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.stmt) and node.lineno in self._for_users:
            return None
        return super().visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant):
            return None  # a docstring, or another text on a line of its own
        if isinstance(value, ast.Call) and _name(value.func) in _SAYS:
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep that something is raised, and of what class, without what it says."""
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self.generic_visit(ast.Assert(test=node.test, msg=None))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        if self._training and node.name in _LOOKS:
            return None
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        return self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Leave out empty pieces, which Python 3.12 puts behind a width that is computed."""
        node.values = [piece for piece in node.values if getattr(piece, "value", None) != ""]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return None if _is_own(node.names[0].name) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Leave out where a thing of this package comes from: what it is counts by itself."""
        return None if _is_own(node.module or "") else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if [_name(target) for target in node.targets] == ["__all__"]:
            return None
        return self.generic_visit(node)


def _name(node: ast.AST) -> str:
    return getattr(node, "id", getattr(node, "attr", ""))


def _is_own(module: str) -> bool:
    return module.split(".")[0] == _PACKAGE.name


@functools.cache
def _imports(path: Path) -> list[Path]:
    """Return the files of this package that a Python file imports anywhere in its text."""
    if path.suffix != ".py":
        return []
    names: list[str] = []
    for node in _statements(_parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module, `from module import thing` a thing.
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if _module_path(name) else node.module for name in modules]
    return [file for name in names if (file := _module_path(name))]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all that is no part of an expression, in which nothing is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from _statements(child)


def _module_path(name: str | Path) -> Path | None:
    """Return the file of a dotted module name of this package, or nothing for any other name."""
    first, *rest = str(name).split(".")
    if first != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*rest)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
