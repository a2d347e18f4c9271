"""The worked examples of docs/ work, applied to a copy of the repository as they are printed."""

import gzip
import hashlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from dgmpipe.config import read_config
from dgmpipe.data import load_mnist
from workflow_runs import NO_MLFLOW, python

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")])
FASHION = yaml.safe_load((ROOT / "config/fashion.yaml").read_text(encoding="utf-8"))
CLOTHES = Path(FASHION["data"]["images"]["folder"])
needs_clothes = pytest.mark.skipif(
    not CLOTHES.is_dir(), reason=f"there is no {CLOTHES}: apt install dataset-fashion-mnist"
)


def _copy(folder: Path) -> Path:
    """Copy what the workflow and its library consist of, without any results."""
    for part in ("config", "workflow", "scripts", "src", "tests/data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return python(folder, *command, PYTHONPATH=str(folder / "src"), **NO_MLFLOW)


def _apply(page: str, folder: Path) -> None:
    """Do to a copy what the blocks after a line with a path say: a new file, or lines added."""
    blocks = re.findall(r"^(?:`([\w/.]+)`:\n\n)?```(\w*)\n(.*?)^```", page, re.M | re.S)
    path = folder
    for name, kind, text in blocks:
        if name:
            path = folder / name
        elif kind != "diff":
            continue
        if kind == "diff":
            lines = text.splitlines(keepends=True)
            old = "\n" + "".join(line[1:] for line in lines if line[0] == " ")
            new = "\n" + "".join(line[1:] for line in lines)
            content = path.read_text(encoding="utf-8")
            assert content.count(old) == 1, f"the place in {path} is not what the page shows"
            path.write_text(content.replace(old, new))
        else:
            assert not path.exists()
            path.write_text(text)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


@pytest.fixture(scope="module")
def with_henon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the model of docs/adding-a-model.md, in which its command has run."""
    folder = _copy(tmp_path_factory.mktemp("henon"))
    page = (ROOT / "docs/adding-a-model.md").read_text(encoding="utf-8")
    _apply(page, folder)
    (command,) = re.findall(r"^snakemake (--cores 4 .*) -- ", page, re.M)
    # Without the models that the page does not speak of.
    left_out = "models={henon: {steps: 40}, realnvp: null, otflow: null}"
    command = command.replace("'models={henon: {steps: 40}}'", f"'{left_out}'")
    targets = ["tables/flows.csv", "figures/flow_henon.png"]
    run = _run(
        folder,
        *("-m", "snakemake", *shlex.split(command), "--"),
        *(f"results/smoke/{target}" for target in targets),
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return folder


@pytest.mark.slow
def test_the_example_of_a_model_is_trained_and_measured(with_henon: Path) -> None:
    results = with_henon / "results/smoke"
    table = pd.read_csv(results / "tables/flows.csv").set_index("model")
    assert list(table.index) == ["henon"]
    # 6 networks of 1, 128, 128 and 1 neurons, and 2 scales.
    assert table.loc["henon", "parameters"] == 6 * (256 + 128 * 129 + 129) + 2
    assert table.loc["henon", "kl"] > 0
    assert table.loc["henon", "inverse_error"] < 1e-5
    history = pd.read_csv(results / "models/henon/seed_0/history.csv")
    assert history["held_out_nll"].iloc[-1] < history["held_out_nll"].iloc[0]
    assert (results / "figures/flow_henon.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_without_ot_flow_there_is_no_table_of_its_errors(with_henon: Path) -> None:
    assert not (with_henon / "results/smoke/tables/otflow_inverse_error.csv").exists()
    assert (with_henon / "results/smoke/report.html").is_file()


@pytest.mark.slow
def test_the_example_of_a_model_passes_its_own_test_and_the_projects_style(
    with_henon: Path,
) -> None:
    run = _run(with_henon, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_henon.py")
    assert "3 passed" in run.stdout, run.stdout
    files = ["src/dgmpipe/models/henon.py", "src/dgmpipe/config/kinds.py", "tests/test_henon.py"]
    for command in (["check"], ["format", "--check"]):
        options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
        run = _run(with_henon, "-m", "ruff", *command, *options, *files)
        assert run.returncode == 0, run.stdout


@pytest.mark.slow
def test_a_typo_in_the_block_of_the_example_gets_a_sentence(with_henon: Path) -> None:
    typo = "import yaml; from dgmpipe.config import read_config;"
    typo += "config = yaml.safe_load(open('config/smoke.yaml'));"
    typo += "config['models']['henon'] = {'kind': 'henon', 'widht': 8};"
    (with_henon / "typo.py").write_text(typo + "read_config(config)", encoding="utf-8")
    run = _run(with_henon, "typo.py")
    assert "'widht' at models.henon (did you mean 'width'?)" in run.stderr


@pytest.mark.parametrize("base", [[], ["smoke"]])
def test_other_images_need_a_config_of_what_differs_alone(base: list[str]) -> None:
    config: dict = {}
    for name in ("config", *base, "fashion"):
        text = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")
        update_config(config, yaml.safe_load(text))
    read = read_config(config)
    assert read.tier == "fashion"
    assert read.data.images.md5.model_dump(by_alias=True) == FASHION["data"]["images"]["md5"]
    assert set(FASHION) == {"tier", "data"}


def test_the_page_shows_the_config_of_other_images() -> None:
    page = (ROOT / "docs/adding-a-dataset.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^`config/fashion.yaml`:\n\n```yaml\n(.*?)^```", page, re.M | re.S)
    assert block == (ROOT / "config/fashion.yaml").read_text(encoding="utf-8")


@needs_clothes
def test_the_md5s_are_those_of_debians_files() -> None:
    found = {
        path.stem: hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest()
        for path in CLOTHES.glob("*.gz")
    }
    assert found == FASHION["data"]["images"]["md5"]


@needs_clothes
@pytest.mark.slow
def test_other_images_are_fetched_and_shown(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    page = (ROOT / "docs/adding-a-dataset.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^snakemake (.* -- .*)$", page, re.M)
    run = _run(folder, "-m", "snakemake", *command.split())
    assert run.returncode == 0, run.stderr[-5000:]
    assert {path.name for path in (folder / "results").glob("*/")} >= {"data", "fashion"}
    images, labels = load_mnist(next((folder / "results/data").glob("fashion-mnist-*")), "train")
    assert images.shape == (60_000, 28, 28)
    assert labels.bincount().tolist() == 10 * [6000]
    shown = np.load(folder / "results/fashion/data/images.npz")["images"]
    # Clothes fill far more of a picture than digits, of which 13% is ink.
    assert shown.mean() > 0.2
    assert (folder / "results/fashion/figures/figure_03_mnist.png").is_file()
