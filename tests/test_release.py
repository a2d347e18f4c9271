"""What is released: sdist, wheel and their version, and the workflow of an installed wheel."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import dgmpipe
from dgmpipe.commands import run
from dgmpipe.commands.app import main
from dgmpipe.commands.run import project_folder, snakemake_command
from dgmpipe.errors import UserError
from trainings import make_up
from workflow_runs import fresh_copy, snakemake

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FALLBACK = PROJECT["tool"]["hatch"]["version"]["fallback-version"]
PARTS = ("config", "scripts", "src", "workflow")
FILES = (".git_archival.txt", ".gitattributes", ".gitignore", "LICENSE", "README.md")


def _run(*command: str | Path, folder: Path, stderr: int = subprocess.PIPE) -> str:
    """Run a program that does not see the code of these tests, and return what it says."""
    ran = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    return ran.stdout


def _git(folder: Path, *arguments: str) -> None:
    _run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments, folder=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the project, without its tests and docs, with a released model and no tag."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*FILES, "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    make_up(folder / "src/dgmpipe/released/mine/seed_0", "realnvp", num_layers=2, width=4)
    _git(folder, "init", "--quiet")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "all")
    return folder


VERSION = (
    "import hatchling.metadata.core as m; from hatchling.plugin.manager import PluginManager\n"
)
VERSION += "print(m.ProjectMetadata('.', PluginManager()).version)"


def _version(folder: Path) -> str:
    return _run(sys.executable, "-c", VERSION, folder=folder).strip()


def _plain(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to, ignore=shutil.ignore_patterns(".git"))


@pytest.mark.slow
def test_the_version_is_that_of_the_tag_or_comes_after_the_last_release(
    project: Path, tmp_path: Path
) -> None:
    tagged = shutil.copytree(project, tmp_path / "tagged")
    _git(tagged, "tag", "v9.8.7")
    assert _version(tagged) == "9.8.7"
    _git(tagged, "archive", "--output", "a.tar", "--prefix", "archive/", "HEAD")
    shutil.unpack_archive(tagged / "a.tar", tmp_path, filter="data")
    assert _version(tmp_path / "archive") == "9.8.7"
    numbers = FALLBACK.split(".")
    following = ".".join([*numbers[:-1], str(int(numbers[-1]) + 1)])
    assert _version(project).startswith(f"{following}.dev1+g")
    assert _version(_plain(project, tmp_path / "plain")) == FALLBACK


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of an sdist of a tagged clone."""
    folder = tmp_path_factory.mktemp("dist")
    tagged = shutil.copytree(project, folder / "tagged")
    _git(tagged, "tag", "v9.8.7")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist")
    _run(*build, folder=tagged)
    with tarfile.open(folder / "dist/dgmpipe-9.8.7.tar.gz") as sdist:
        names = {name.removeprefix("dgmpipe-9.8.7/") for name in sdist.getnames()}
    assert {"pyproject.toml", "workflow/Snakefile", "config/smoke.yaml", "scripts/train.py"} < names
    return folder / "dist/dgmpipe-9.8.7-py3-none-any.whl"


@pytest.mark.slow
def test_an_editable_installation_has_no_copy_of_the_workflow(
    project: Path, tmp_path: Path
) -> None:
    program = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    _run(sys.executable, "-c", program, tmp_path, folder=project)
    (editable,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(editable) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert [archive.read(name).decode() for name in names] == [f"{project}/src"]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel, that finds its dependencies in this one's."""
    folder = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "--without-pip", "environment", folder=folder)
    python = folder / "environment/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    _run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel, folder=folder)
    where = _run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder
    )
    # A folder on the path, whose own .pth files, such as that of this clone, are not read.
    others = Path(where.strip(), "others.pth")
    others.write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder / "environment"


def _package(installed: Path) -> Path:
    (folder,) = installed.glob("lib/python*/site-packages/dgmpipe")
    return folder


@pytest.mark.slow
def test_the_wheel_has_the_workflow_as_it_is_here(installed: Path) -> None:
    for part in ("config", "scripts", "workflow"):
        here = {path.relative_to(ROOT) for path in (ROOT / part).rglob("*") if path.is_file()}
        for path in (path for path in here if "__pycache__" not in path.parts):
            there = _package(installed) / "project" / path
            assert there.read_bytes() == (ROOT / path).read_bytes()


@pytest.mark.slow
def test_the_command_says_its_version_and_samples_a_released_model(
    installed: Path, tmp_path: Path
) -> None:
    command = installed / "bin/dgmpipe"
    assert _run(command, "--version", folder=tmp_path) == "dgmpipe, version 9.8.7\n"
    said = _run(command, "sample", "mine", "-n", "5", "-o", "points.csv", folder=tmp_path)
    assert said == "5 points in points.csv\n"
    assert len((tmp_path / "points.csv").read_text(encoding="utf-8").splitlines()) == 5


FIGURE_2 = "results/smoke/figures/figure_02_moons.png"


def _run_there(installed: Path, folder: Path, *arguments: str) -> str:
    command = (installed / "bin/dgmpipe", "run", "--cores", "2", "--directory", "there")
    command = (*command, "--configfile", "config/smoke.yaml", *arguments)
    return _run(*command, folder=folder, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_an_installed_wheel_plans_the_workflow_in_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    arguments = ("--dry-run", "--nocolor", "--config", "seeds=[0,1]", "trainings")
    said = _run_there(installed, tmp_path, *arguments)
    # Five models and two seeds, and a classifier of one.
    assert re.search(r"^train +11$", said, re.M), said
    assert not list(tmp_path.glob("**/results"))


@pytest.mark.slowest
def test_an_installed_wheel_runs_the_workflow_in_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    """The report shows that its templates are found as well."""
    _run_there(installed, tmp_path, FIGURE_2)
    there = tmp_path / "there"
    assert (there / FIGURE_2).stat().st_size > 0
    assert Path(FIGURE_2).name in (there / "results/smoke/report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_workflow_of_a_wheel_refuses_code_of_another_environment(
    installed: Path, tmp_path: Path
) -> None:
    folder = fresh_copy(tmp_path)
    shutil.rmtree(folder / "workflow")
    snakefile = _package(installed) / "project/workflow/Snakefile"
    refused = snakemake(folder, "-n", "--snakefile", str(snakefile), "all")
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert f"this workflow's code is {_package(installed)}, but" in said
    assert "dgmpipe run" in said


# --- the command that is run ---------------------------------------------------------------------

RUNS = sorted(
    line.strip()
    for page in ("README.md", "docs/commands.md")
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
    if line.strip().startswith("dgmpipe run -")
)


@pytest.mark.parametrize("line", RUNS)
def test_what_the_docs_show_of_run_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake's own parser takes it; what it then does is for other tests."""
    from snakemake.cli import parse_args  # whose imports take seconds

    monkeypatch.chdir(tmp_path)
    commands: list[list[str]] = []
    monkeypatch.setattr(run, "become", commands.append)
    result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    (command,) = commands
    _, parsed = parse_args(command[3:])
    assert Path(parsed.snakefile) == ROOT / "workflow/Snakefile"
    assert set(parsed.targets) == {"all", "trainings"} & set(shlex.split(line))
    assert all(Path(path).is_file() for path in parsed.configfile)
    assert Path(parsed.directory) == Path("there" if "--directory" in line else ".")


def test_files_are_those_of_the_folder_and_else_those_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("seeds: [1]\n", encoding="utf-8")
    project = project_folder()
    assert project == ROOT
    files = [Path("mine.yaml"), Path("config/smoke.yaml")]
    command = snakemake_command(["-n", "all"], directory=Path("there"), configfiles=files)
    laid_over = [project / "config/config.yaml", "mine.yaml", project / "config/smoke.yaml"]
    snakefile = ["--snakefile", str(project / "workflow/Snakefile")]
    expected = ["-m", "snakemake", "--configfile", *map(str, laid_over), *snakefile]
    assert command[1:] == [*expected, "--directory", "there", "-n", "all"]
    Path("there/config").mkdir(parents=True)
    Path("there/config/config.yaml").touch()
    command = snakemake_command([], directory=Path("there"), config=["seeds=[1]", "device=cpu"])
    assert command[3:6] == ["--config", "seeds=[1]", "device=cpu"]
    profile = Path("workflow/profiles/slurm")
    command = snakemake_command([], directory=Path("there"), profile=profile)
    assert command[3:] == [
        *snakefile,
        *("--workflow-profile", str(project / profile)),
        *("--directory", "there"),
    ]
    with pytest.raises(UserError, match=r"there is no none\.yaml, neither here nor in"):
        snakemake_command([], directory=Path(), configfiles=[Path("none.yaml")])


def test_the_version_of_the_last_release_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == FALLBACK
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in changes.splitlines() if line.startswith("## [")]
    released = [line for line in headings if line != "## [Unreleased]"]
    assert released[0] == f"## [{FALLBACK}] - {citation['date-released']}"
    assert dgmpipe.__version__
