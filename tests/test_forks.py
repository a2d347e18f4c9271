"""What the tests start as a fork does what it would do as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forks import _arguments, run_python

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys
print(__name__, sys.argv, os.getcwd(), os.environ.get("GIVEN"), sys.stdin.read())
print("warned", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "sys.exit('a sentence')", "raise KeyError('a name')"]
)
@pytest.mark.parametrize("start", [["program.py", "-a"], ["-m", "package.program", "b c"]])
def test_output_and_status_are_those_of_a_process(
    start: list[str], end: str, tmp_path: Path
) -> None:
    (tmp_path / "package").mkdir()
    for path in (tmp_path / "program.py", tmp_path / "package/program.py"):
        path.write_text(PROGRAM + end, encoding="utf-8")
    given = os.environ | {"GIVEN": "something", "PYTHONPATH": str(tmp_path)}
    fork = run_python(start, tmp_path, given, input="typed", timeout=60)
    process = subprocess.run(
        [sys.executable, *start],
        cwd=tmp_path,
        env=given,
        input="typed",
        capture_output=True,
        encoding="utf-8",
    )
    assert (fork.returncode, fork.stdout) == (process.returncode, process.stdout)
    # But for the lines of a traceback that are of the fork's own.
    lines = [text.splitlines() for text in (fork.stderr, process.stderr)]
    assert [line[0] for line in lines] == ["warned"] * 2
    assert lines[0][-1] == lines[1][-1]


def test_another_package_of_this_name_is_imported_where_the_path_has_one(tmp_path: Path) -> None:
    (tmp_path / "dgmpipe").mkdir()
    (tmp_path / "dgmpipe/__init__.py").write_text("edited = 5", encoding="utf-8")
    (tmp_path / "program.py").write_text("import dgmpipe; print(dgmpipe.edited)", encoding="utf-8")
    other = os.environ | {"PYTHONPATH": str(tmp_path)}
    assert run_python(["program.py"], tmp_path, other, timeout=60).stdout == "5\n"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (
            f"set -euo pipefail;  {sys.executable} '/a b/.snakemake/scripts/x.py'",
            ["/a b/.snakemake/scripts/x.py"],
        ),
        (
            [sys.executable, "-m", "dgmpipe.tracking.runs", "start"],
            ["-m", "dgmpipe.tracking.runs", "start"],
        ),
        ([sys.executable, "-m", "snakemake", "--report"], []),
        (["nvidia-smi", "--list-gpus"], []),
        ("wc -l a > b", []),
    ],
)
def test_scripts_and_modules_of_this_package_are_forks(
    command: object, arguments: list[str]
) -> None:
    assert _arguments(command) == arguments
