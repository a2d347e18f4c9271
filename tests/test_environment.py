"""The places that say which software is used agree with each other."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import dgmpipe
from mlflow_server import mlflow_server_on_sqlite

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENTS = [
    yaml.safe_load((ROOT / name).read_text())
    for name in ("environment.yml", "workflow/envs/dgmpipe.yaml")
]


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), "every line is name==version"
    names = [canonicalize_name(name) for name, _ in pairs]
    assert len(set(names)) == len(names)
    return dict(zip(names, (version for _, version in pairs), strict=True))


def test_everything_the_project_asks_for_is_pinned_to_a_version_that_it_accepts() -> None:
    pins = _pins()
    asked = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["test"]
    for requirement in map(Requirement, [*asked, *PROJECT["build-system"]["requires"]]):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{requirement} against {pins[name]}"


def test_what_is_installed_here_is_what_is_pinned() -> None:
    from importlib.metadata import distributions

    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    pins = _pins()
    different = {
        name: (version, pins[name])
        for name, version in installed.items()
        if name in pins and version.split("+")[0] != pins[name]
    }
    assert not different, "installed and pinned versions"


def test_the_conda_environments_have_a_python_that_the_project_accepts() -> None:
    accepted = SpecifierSet(PROJECT["project"]["requires-python"])
    for environment in ENVIRONMENTS:
        (python,) = [d for d in environment["dependencies"] if str(d).startswith("python ")]
        lowest = re.search(r">=(\d+\.\d+)", python).group(1)
        assert f">={lowest}" == str(accepted)
    assert "pip" in ENVIRONMENTS[0]["dependencies"]


def test_the_conda_environments_install_the_project_with_its_pins() -> None:
    (pip,) = [d["pip"] for d in ENVIRONMENTS[0]["dependencies"] if isinstance(d, dict)]
    assert pip == ["--constraint constraints.txt", "--editable ."]
    script = (ROOT / "workflow/envs/dgmpipe.post-deploy.sh").read_text()
    assert "pip install --constraint constraints.txt --editable ." in script
    # Every rule names the second environment, so that it is known what it needs.
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        text = rules.read_text()
        environments = re.findall(r"^ +conda:$", text, re.M)
        assert len(environments) == len(re.findall(r"^ +script:$", text, re.M)), rules.name


def test_the_conda_channels_are_the_same() -> None:
    assert ENVIRONMENTS[0]["channels"] == ENVIRONMENTS[1]["channels"]


def test_licence_and_authors_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = PROJECT["project"]
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License")
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]


def test_hooks_are_checks_of_the_environment_and_need_no_network() -> None:
    check = re.search(r"^check:.*?\n\n", (ROOT / "Makefile").read_text(), re.M | re.S).group()
    (source,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert source["repo"] == "local"
    for hook in source["hooks"]:
        tool = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert tool in PROJECT["project"]["optional-dependencies"]["test"]
        assert f"$(BIN)/{tool} " in check
    assert "$(BIN)/mypy\n" in check


def test_make_help_shows_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    listed = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.M).group(1)
    targets = set(listed.replace("\\", " ").split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([\w-]+) +\S", shown.stdout, re.M)) == targets


def test_the_workflow_catalogue_gets_what_it_asks_for() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    deployment = {"conda": True, "apptainer": False, "apptainer+conda": False}
    assert usage["software-stack-deployment"] == deployment
    assert isinstance(usage["mandatory-flags"]["flags"], str)
    assert "pip install" in usage["mandatory-flags"]["desc"]
    assert usage["report"] is True
    for needed in ("workflow/Snakefile", "config/README.md", "README.md"):
        assert (ROOT / needed).is_file()


def _instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile and what follows each."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_container_is_made_of_what_is_here() -> None:
    """It is not built here; each path and program in it is looked at."""
    instructions = _instructions()
    for _, base in (line for line in instructions if line[0] == "FROM"):
        (version,) = re.findall(r"/python:(\d+\.\d+)-slim", base)
        assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)
    copied = [rest.split()[:-1] for name, rest in instructions if name == "COPY"]
    for source in (
        source for sources in copied for source in sources if "--from" not in sources[0]
    ):
        assert (ROOT / source).exists(), source
    (entry,) = [rest for name, rest in instructions if name == "ENTRYPOINT"]
    assert ast.literal_eval(entry)[0] in PROJECT["project"]["scripts"]


@pytest.mark.parametrize(
    ("index", "options"), [("", ""), ("https://example.org/cpu", "--extra-index-url {} ")]
)
def test_the_container_installs_the_wheel_with_the_pins(index: str, options: str) -> None:
    """By a shell in which pip says what it is told."""
    *_, install = [rest for name, rest in _instructions() if name == "RUN"]
    said = subprocess.run(
        ["sh", "-c", f"pip() {{ echo $*; }}; {install}"],
        env={"TORCH_INDEX": index, "PATH": os.environ["PATH"]},
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    pins = "--constraint /wheel/constraints.txt"
    wanted = f"install --no-cache-dir {pins} {options.format(index)}/wheel/*.whl\n"
    assert said == wanted


def test_pips_report_becomes_constraints(tmp_path: Path) -> None:
    packages = [("b", "2.1+cpu", False), ("A", "1", False), ("dgmpipe", "0.2.0", True)]
    installed = [
        {"metadata": {"name": name, "version": version}, "is_direct": direct}
        for name, version, direct in packages
    ]
    (tmp_path / "report.json").write_text(json.dumps({"install": installed}), encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("# What this is.\nA==1\nb==2\n", encoding="utf-8")
    said = subprocess.run(
        [sys.executable, ROOT / ".ci/constraints.py", "report.json", "constraints.txt"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    written = (tmp_path / "constraints.txt").read_text(encoding="utf-8")
    assert written == "# What this is.\nA==1\nb==2.1\n"
    assert said == "- b==2\n+ b==2.1\n"


# --- the environment of `make` -----------------------------------------------------------------

# A pip that notes what it is told, and a Python whose environments are made without the real one.
PIP = """
import os, sys

with open("pip.log", "a") as log:
    print(*sys.argv[1:], file=log)
for name in ("dgmpipe", "snakemake", "ruff", "mypy", "snakefmt"):
    with open(f".venv/bin/{name}", "w") as script:
        script.write(f"#!/bin/sh\\necho {name} does")
    os.chmod(f".venv/bin/{name}", 0o755)
"""
PYTHON = f"""#!/bin/sh
if [ "$2" = venv ]; then set -- "$@" --without-pip; fi
exec '{sys.executable}' -I "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose installation takes no time."""
    folder = tmp_path / "first name"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    modules = folder / "modules"
    (modules / "pip").mkdir(parents=True)
    (modules / "pip/__init__.py").touch()
    (modules / "python3").write_text(PYTHON, encoding="utf-8")
    (modules / "python3").chmod(0o755)
    (modules / "pip/__main__.py").write_text(PIP, encoding="utf-8")
    return folder


def _make(project: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(project / "modules")}
    ran = subprocess.run(
        ["make", *(arguments or ["track"]), "PYTHON=modules/python3"],
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (" does" if arguments else "dgmpipe does") in ran.stdout


def _installed(project: Path) -> list[str]:
    """Return what pip was told to install."""
    said = (project / "pip.log").read_text(encoding="utf-8").splitlines()
    return [line for line in said if " install " in line]


def _installations(project: Path) -> int:
    return len(_installed(project))


def _rename(project: Path) -> Path:
    return project.rename(project.with_name("second 'name'"))


def _lose_python(project: Path) -> Path:
    for link in (project / ".venv/bin").glob("python*"):
        link.unlink()
        link.symlink_to("/no/such/python")
    return project


def _change_python(project: Path) -> Path:
    """As when the system's python3 becomes a newer one."""
    mark = project / ".venv/installed"
    mark.write_text(mark.read_text(encoding="utf-8").replace("3.", "2."), encoding="utf-8")
    return project


def _copy(project: Path) -> Path:
    return shutil.copytree(project, project.with_name("copy"), symlinks=True)


def _interrupt(project: Path) -> Path:
    (project / ".venv/installed").unlink()
    return project


CHANGES = [_rename, _copy, _lose_python, _change_python, _interrupt]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_an_environment_that_cannot_be_used_is_made_anew(
    project: Path, change: Callable[[Path], Path]
) -> None:
    _make(project)
    _make(project)
    assert _installations(project) == 1, "once is enough"
    changed = change(project)
    (changed / ".venv/of the old one").touch()
    _make(changed)
    assert _installations(changed) == 2
    assert not (changed / ".venv/of the old one").exists()
    _make(changed)
    assert _installations(changed) == 2


def test_other_dependencies_go_into_the_environment_that_is_there(project: Path) -> None:
    _make(project)
    (project / ".venv/kept").touch()
    later = (project / ".venv/installed").stat().st_mtime + 10
    os.utime(project / "constraints.txt", (later, later))
    _make(project)
    assert _installations(project) == 2
    assert (project / ".venv/kept").exists()


def test_the_tools_of_the_tests_come_with_the_tests(project: Path) -> None:
    _make(project, "all")
    _make(project, "all")
    (run,) = _installed(project)
    assert run.endswith("--constraint constraints.txt --editable .")
    _make(project, "check")
    _make(project, "check")
    _make(project, "all")
    assert [line.split()[-1] for line in _installed(project)] == [".", ".[test]"]
    earlier = (project / "pyproject.toml").stat().st_mtime - 10
    for age, mark in enumerate(("installed", "testable")):
        os.utime(project / f".venv/{mark}", (earlier, earlier + age))
    _make(project, "all")
    assert _installed(project)[2:] == [run], "other dependencies, without the tools"
    _make(project, "check")
    _make(project, "check")
    assert [line.split()[-1] for line in _installed(project)] == 2 * [".", ".[test]"]
    _make(_rename(project), "check")
    asked = [line.split()[-1] for line in _installed(project.with_name("second 'name'"))]
    assert asked[-2:] == [".", ".[test]"]


def test_cuda_can_be_left_out(project: Path) -> None:
    _make(project, "all", "TORCH_INDEX=https://example.org/whl/cpu")
    _make(project, "check")
    without, later = _installed(project)
    assert "--extra-index-url https://example.org/whl/cpu --editable ." in without
    # What is installed and as pinned stays: the tools of the tests bring no CUDA.
    assert "--extra-index-url" not in later
    assert "--upgrade" not in later
    # One index has both, so that they are of one build: a local version, which the pin allows.
    for name in ("torch", "torchvision"):
        assert SpecifierSet(f"=={_pins()[name]}").contains(f"{_pins()[name]}+cpu")


# --- who may ask `make server` -------------------------------------------------------------------


@pytest.mark.slowest
def test_the_server_answers_to_its_names_and_to_no_other(tmp_path: Path) -> None:
    with mlflow_server_on_sqlite(tmp_path, "HOSTS=mlflow.example.org,other") as (uri, said):
        allowed = {
            "127.0.0.1:1": True,
            "localhost:8080": True,  # a tunnel
            "localhost": True,
            f"{socket.gethostname()}:5000": True,
            f"{socket.getfqdn()}:5000": True,
            "mlflow.example.org": True,
            "other:8443": True,
            "evil.example.org": False,
            "localhost.evil.example.org:5000": False,
        }
        for host, expected in allowed.items():
            for origin in (None, f"http://{host}"):
                assert _answers(uri, host, origin) == expected, (host, origin)
        assert not _answers(uri, "localhost:8080", "http://evil.example.org")
        for name in ("localhost", socket.gethostname(), "mlflow.example.org", "HOSTS="):
            assert name in said()


def _answers(uri: str, host: str, origin: str | None) -> bool:
    """Ask as a browser does; with an origin it is a page's own request."""
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    path = "/api/2.0/mlflow/experiments/search" if origin else "/"
    body = b'{"max_results": 1}' if origin else None
    if body:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(uri + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 403:
            return False
        raise


# --- text in any locale --------------------------------------------------------------------------

STARTS = {"run", "Popen", "check_output", "check_call", "call"}


def _without_encoding(path: Path) -> list[str]:
    """Find calls that read or write text as the locale has it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if method else getattr(node.func, "id", "")
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        texts = {"read_text": 0, "write_text": 1}
        if name in texts:
            guesses = len(node.args) <= texts[name]
        elif name == "open":
            # `open(path, mode)` and `path.open(mode)`; archives, pictures and os.open have bytes.
            place = 0 if method else 1
            mode = node.args[place] if len(node.args) > place else named.get("mode")
            of = ast.unparse(node.func.value).rpartition(".")[2] if method else ""
            binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
            guesses = not binary and of not in ("gzip", "os", "wheel", "archive", "Image")
        else:
            guesses = name in STARTS and bool({"text", "universal_newlines"} & named.keys())
        if guesses and "encoding" not in named:
            found.append(f"{path.name}:{node.lineno}: {name}")
    return found


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    folders = ("src", "scripts", "benchmarks", "examples")
    files = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    helpers = [path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_")]
    assert not [place for path in [*files, *helpers] for place in _without_encoding(path)]


@pytest.mark.parametrize(
    "text",
    [
        "path.read_text()",
        "path.write_text('a')",
        "open(path)",
        "open(path, 'w')",
        "path.open()",
        "path.open('a')",
        "subprocess.run(c, text=True)",
        "subprocess.Popen(c, universal_newlines=True)",
    ],
)
def test_a_missing_encoding_is_found(tmp_path: Path, text: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(text, encoding="utf-8")
    assert _without_encoding(module)
    with_encoding = f"{text[:-1]}{'' if text.endswith('()') else ', '}encoding='utf-8')"
    module.write_text(with_encoding, encoding="utf-8")
    assert not _without_encoding(module)


@pytest.mark.slow
def test_the_workflow_is_read_in_the_c_locale(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "warn_default_encoding", "-m", "snakemake", "--dry-run"]
    command += ["--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "1", "--nolock"]
    (tmp_path / "config").symlink_to(ROOT / "config")
    ran = subprocess.run(
        [*command, "--configfile", str(ROOT / "config/smoke.yaml"), "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    package = re.escape(str(Path(dgmpipe.__file__).parent))
    assert not re.findall(rf"^{package}.*EncodingWarning.*", ran.stderr, re.M)


# --- clones and archives -------------------------------------------------------------------------


def _git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *settings, "-C", str(folder), *arguments]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return ran.stdout.strip()


def test_a_clone_with_line_ends_of_windows_has_scripts_that_bash_reads(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    names = ["workflow/envs/dgmpipe.post-deploy.sh", "Makefile", ".ci/run", "workflow/Snakefile"]
    for name in [".gitattributes", *names]:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin / name)
    _git(origin, "init", "--quiet")
    _git(origin, "add", ".")
    _git(origin, "commit", "--quiet", "--message", "all")
    clone = tmp_path / "clone"
    _git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(origin), str(clone))
    for name in names:
        assert (clone / name).read_bytes() == (ROOT / name).read_bytes()
