"""The places that say which software is used agree with each other."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import dgmpipe

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
    assert pip == ["--constraint constraints.txt", "--editable .[test]"]
    script = (ROOT / "workflow/envs/dgmpipe.post-deploy.sh").read_text()
    assert "pip install --constraint constraints.txt --editable ." in script
    # Every rule names the second environment, so that it is known what it needs.
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        text = rules.read_text()
        assert text.count("    conda:\n") == len(re.findall(r"^    script:$", text, re.M))


def test_the_conda_channels_are_the_same() -> None:
    assert ENVIRONMENTS[0]["channels"] == ENVIRONMENTS[1]["channels"]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = PROJECT["project"]["version"]
    assert citation["version"] == dgmpipe.__version__ == version
    assert version in (ROOT / "CHANGELOG.md").read_text()


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
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\w+) +\S", shown.stdout, re.M)) == targets


def test_the_workflow_catalogue_gets_what_it_asks_for() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"] == {"conda": True}
    assert usage["report"] is True
    for needed in ("workflow/Snakefile", "config/README.md", "README.md"):
        assert (ROOT / needed).is_file()
