# Fixtures import what they need: the process that hands out the tests runs none of them.
import gzip
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from torch import Tensor

    from dgmpipe.models.vae import VAE

ROOT = Path(__file__).parent.parent

# What these need is not everywhere, and takes long to start.
OF_MAKE_TEST_ALL = {"browser", "shared_server"}

# By what they take: CONTRIBUTING.md has a table.
LONGEST = (
    *(
        "slurm",
        "workflow",
        "variants",
        "tracking",
        "docs",
        "own_images",
        "mlflow_ui",
        "environment",
    ),
    *("release", "elsewhere", "torture", "companion", "report"),
)

# The tests' tensors are small; threads that wait for each other only slow them down. Numba, which
# dcor brings, sets the number of OpenMP's threads for the whole process, torch's as well.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """No file leaves threads to those after it, which take several times as long with them."""
    yield
    if torch := sys.modules.get("torch"):
        assert torch.get_num_threads() == 1


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def images() -> "Tensor":
    """Test images of the committed sample of MNIST, bytes (N, 28, 28)."""
    import torch

    from dgmpipe.data.idx import parse_idx

    path = ROOT / "tests/data/mnist/t10k-images-idx3-ubyte.gz"
    return torch.from_numpy(parse_idx(gzip.decompress(path.read_bytes()), path.name).copy())


@pytest.fixture(scope="session")
def labels() -> "Tensor":
    """The digits of `images`, int64 (N,)."""
    import torch

    from dgmpipe.data.idx import parse_idx

    path = ROOT / "tests/data/mnist/t10k-labels-idx1-ubyte.gz"
    return torch.from_numpy(parse_idx(gzip.decompress(path.read_bytes()), path.name)).long()


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed sample of MNIST as the workflow has it: a folder of uncompressed files."""
    folder = tmp_path_factory.mktemp("images")
    for path in (ROOT / "tests/data/mnist").glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke tier has run from end to end; all tests share it, to read."""
    from workflow_runs import fresh_copy, snakemake

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            fresh_copy(folder)
            run = snakemake(folder, "all", "--configfile", "config/smoke.yaml")
            failed = run.stderr[-5000:] if run.returncode else ""
            folder.with_suffix(".failed").write_text(failed, encoding="utf-8")
    failed = folder.with_suffix(".failed").read_text(encoding="utf-8")
    assert not failed, failed
    return folder


@pytest.fixture(scope="session")
def shared_server() -> Iterator[str]:
    """Address of an MLflow server with PostgreSQL as its store."""
    from mlflow_server import mlflow_server, why_no_server

    if reason := why_no_server():
        pytest.skip(reason)
    with mlflow_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The system's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def vae() -> "VAE":
    """A VAE with random weights, in evaluation mode, whose posteriors are not too narrow."""
    import torch

    from dgmpipe.models.generator import Generator
    from dgmpipe.models.vae import VAE, Encoder

    torch.manual_seed(3)
    return VAE(Encoder(), Generator()).eval()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files out of which no test is asked for: their imports take longer than many a test."""
    if collection_path.suffix != ".py":
        return None
    left_out = re.findall(r"not (\w+)", config.option.markexpr)
    mark = re.search(
        r"^pytestmark = pytest\.mark\.(\w+)$", collection_path.read_text(encoding="utf-8"), re.M
    )
    return True if mark and mark[1] in left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser or PostgreSQL, and begin with what takes longest.

    So no process is left alone with it at the end.
    """
    for item in items:
        if OF_MAKE_TEST_ALL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slowest)
    rank = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
