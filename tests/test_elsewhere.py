"""The workflow where it is not at home: in another workflow, beside another copy of the code."""

import shutil
from pathlib import Path

import pytest
import yaml

from dgmpipe.config import read_config
from dgmpipe.plan.trainings import image_folder
from workflow_runs import NO_MLFLOW, ROOT, fresh_copy, snakemake

pytestmark = pytest.mark.slow

MODULE = """
configfile: "mine.yaml"

module dgmpipe:
    snakefile: "{snakefile}"
    config: config

use rule * from dgmpipe as paper_*

rule mine:
    input:
        "results/smoke/figures/figure_02_moons.png",
        "results/smoke/tables/flows.csv",
    output:
        "mine.txt",
    default_target: True
    shell:
        "wc -l {{input[1]}} > {{output}}"
"""


def test_another_workflow_uses_it_as_a_module(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    config["models"] = {"realnvp": config["models"]["realnvp"] | {"steps": 5}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    snakefile = MODULE.format(snakefile=ROOT / "workflow/Snakefile")
    (tmp_path / "Snakefile").write_text(snakefile, encoding="utf-8")
    run = snakemake(tmp_path, **NO_MLFLOW)
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8").startswith("2 ")
    assert "paper_flows" in run.stderr


def test_it_refuses_code_that_is_not_the_one_beside_it(tmp_path: Path) -> None:
    folder = fresh_copy(tmp_path)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run = snakemake(folder, "-n", "--configfile", "config/smoke.yaml")
    assert run.returncode != 0
    assert f"this workflow's code is {folder}/src/dgmpipe, but" in run.stdout + run.stderr
    assert "make all" in run.stdout + run.stderr
    run = snakemake(
        folder, "-n", "--configfile", "config/smoke.yaml", PYTHONPATH=str(folder / "src")
    )
    assert run.returncode == 0, run.stderr


def test_two_tiers_with_other_images_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    """The second promises the files of the first in another order, which are not there."""
    folder = fresh_copy(tmp_path)
    config = yaml.safe_load((folder / "config/smoke.yaml").read_text(encoding="utf-8"))
    other = yaml.safe_load((folder / "config/smoke.yaml").read_text(encoding="utf-8"))
    files = other["data"]["images"]["md5"]
    training, test = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
    files[training], files[test] = files[test], files[training]
    assert image_folder(read_config(config)) != image_folder(read_config(other))
    (folder / "other.yaml").write_text(yaml.safe_dump(other | {"tier": "other"}), encoding="utf-8")
    run = snakemake(folder, "--configfile", "config/smoke.yaml", "--", "fetch_images", **NO_MLFLOW)
    assert run.returncode == 0, run.stderr[-3000:]
    # What the second promises is not what its folder has, and none of the first is touched.
    run = snakemake(folder, "--configfile", "other.yaml", "--", "fetch_images", **NO_MLFLOW)
    assert run.returncode != 0
    assert "MD5" in run.stdout + run.stderr
    kept = folder / "results/data" / image_folder(read_config(config))
    assert len(list(kept.glob("*-ubyte"))) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seeds: [0]\nseeds: [1]\n", "my.yaml: the key 'seeds' stands twice in line 2"),
        ("seeds: [010]\n", "my.yaml: 010 would be read in base 8 in line 1"),
    ],
)
def test_what_yaml_takes_without_a_word_is_refused(
    text: str, sentence: str, tmp_path: Path
) -> None:
    folder = fresh_copy(tmp_path)
    (folder / "my.yaml").write_text(text, encoding="utf-8")
    run = snakemake(folder, "-n", "--configfile", "my.yaml")
    assert run.returncode != 0
    assert sentence in run.stdout + run.stderr
