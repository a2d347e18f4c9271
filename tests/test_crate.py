"""A tier's crate: what the profile requires of it, and what `dgmpipe verify` finds out.

The checks of the profile are the MUSTs of RO-Crate 1.1, Workflow RO-Crate 1.0, Process Run Crate
0.5 and Workflow Run Crate 0.5. The profiles' own validator, roc-validator, asks for an older `rich`
than the rest and so has to be installed elsewhere: `rocrate-validator validate CRATE`.
"""

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dgmpipe.commands.app import main
from dgmpipe.evaluation.flow_report import evaluate_flow
from dgmpipe.evaluation.subject import Subject
from dgmpipe.files import write_json
from dgmpipe.models.storage import save_weights, untrained_model
from dgmpipe.pages.crate import MANIFEST, METADATA, write_crate
from dgmpipe.pages.tiers import Tier
from dgmpipe.pages.verify import TABLES, numbers
from dgmpipe.plan.trainings import effective_settings, trainings
from made_up_tier import write_tier

ROOT = Path(__file__).parent.parent
ABSENT = ("dcgan_random", "dcgan_vae", "wgan_random")
FLOW = "models/realnvp/seed_0"
WEIGHTS = f"results/reviewed/{FLOW}/model.safetensors"


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tier in which everything but a flow is made up."""
    folder = tmp_path_factory.mktemp("reviewed") / "results/reviewed"
    config = write_tier(folder, {"tier": "reviewed", "models": dict.fromkeys(ABSENT)})
    for model, seed in trainings(config):
        (folder / f"models/{model}/seed_{seed}/model.safetensors").write_bytes(b"made up")
    settings = effective_settings(config, "realnvp")
    save_weights(untrained_model("realnvp", settings), folder / FLOW / "model.safetensors")
    summary = {"kind": "realnvp", "hyperparameters": settings}
    write_json(summary, folder / FLOW / "summary.json")
    subject = Subject(seed=0, settings=settings, folder=folder / FLOW)
    found = evaluate_flow(subject, **config.evaluation.flows.model_dump())["numbers"]
    rows = pd.read_csv(folder / "tables/flows.csv").set_index("model")
    of_flow = {name: value for name, value in found.items() if name in rows}
    rows.loc["realnvp", list(of_flow)] = list(of_flow.values())
    rows.to_csv(folder / "tables/flows.csv")
    return folder


@pytest.fixture(scope="module")
def crate(tier: Path) -> Path:
    path = tier.parent / "crate.zip"
    write_crate(tier, ROOT, path)
    return path


@pytest.fixture
def changed(crate: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies of the crate in which files are others, or are not there."""

    def change(files: dict[str, bytes | None], *, sums: bool = False) -> Path:
        with zipfile.ZipFile(crate) as archive:
            contents: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
        contents |= files
        if sums:
            kept = {n: data for n, data in contents.items() if data is not None and n != MANIFEST}
            lines = [f"{hashlib.sha256(data).hexdigest()}  {n}\n" for n, data in kept.items()]
            contents[MANIFEST] = "".join(lines).encode()
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in contents.items():
                if data is not None:
                    archive.writestr(name, data)
        return path

    return change


def _verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def _ids(value: Any) -> list[str]:
    return [entry["@id"] for entry in (value if isinstance(value, list) else [value])]


def _types(entity: dict[str, Any]) -> set[str]:
    kind = entity["@type"]
    return set(kind) if isinstance(kind, list) else {kind}


def test_the_crate_has_what_the_profiles_require(crate: Path) -> None:
    with zipfile.ZipFile(crate) as archive:
        names = set(archive.namelist())
        metadata = json.loads(archive.read(METADATA))
    assert metadata["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(graph) == len(metadata["@graph"])
    # RO-Crate 1.1
    descriptor, root = graph[METADATA], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert "https://w3id.org/ro/crate/1.1" in _ids(descriptor["conformsTo"])
    assert _types(root) == {"Dataset"}
    assert root["name"]
    assert root["description"]
    assert datetime.fromisoformat(root["datePublished"]).tzinfo
    assert graph[root["license"]["@id"]]["name"] == "MIT License"
    parts = _ids(root["hasPart"])
    files = {name for name, entity in graph.items() if "File" in _types(entity)}
    assert set(parts) == files == names - {METADATA}
    assert all(not name.startswith(("/", "..")) for name in names)
    # Every entity is referred to by one that is there.
    text = json.dumps(metadata)
    references = set(re.findall(r'\{"@id": "([^"]+)"\}', text)) - {"https://w3id.org/ro/crate/1.1"}
    assert {ref for ref in references if not ref.startswith("http")} <= graph.keys()
    # Workflow RO-Crate 1.0
    workflow = graph[root["mainEntity"]["@id"]]
    assert _types(workflow) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert workflow["@id"] == "workflow/Snakefile"
    assert workflow["name"]
    assert _types(graph[workflow["programmingLanguage"]["@id"]]) == {"ComputerLanguage"}
    # Process Run Crate and Workflow Run Crate 0.5
    for profile in ("wfrun/process/0.5", "wfrun/workflow/0.5"):
        (address,) = (a for a in _ids(root["conformsTo"]) if a.endswith(profile))
        assert _types(graph[address]) == {"CreativeWork"}
    actions = [entity for entity in graph.values() if "CreateAction" in _types(entity)]
    assert set(_ids(root["mentions"])) == {action["@id"] for action in actions}
    assert [a["@id"] for a in actions if a["instrument"] == {"@id": "workflow/Snakefile"}] == [
        "#run"
    ]
    for action in actions:
        instrument = graph[action["instrument"]["@id"]]
        assert _types(instrument) & {"SoftwareApplication", "ComputationalWorkflow"}
        assert datetime.fromisoformat(action["startTime"])
        assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
        assert set(_ids(action["result"])) <= files
        assert set(_ids(action["object"])) <= files


def test_the_crate_has_all_that_the_tier_is_made_of(crate: Path, tier: Path) -> None:
    with zipfile.ZipFile(crate) as archive:
        names = set(archive.namelist())
    for folder in ("workflow", "scripts", "config", "src/dgmpipe/pages"):
        sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*.[psy]*")}
        assert {name for name in sources if "__pycache__" not in name} <= names
    of_the_tier = {p.relative_to(tier.parents[1]).as_posix() for p in tier.rglob("*.*")}
    made = {n for n in of_the_tier if re.search(r"/(tables|figures|models|runs)/", n)}
    lacking = {n for n in made - names if not re.search(r"models/.*_checkpoints|_summary", n)}
    assert not lacking
    assert {"results/reviewed/invocation.json", "results/reviewed/config.yaml"} <= names
    assert not [name for name in names if name.startswith("results/data")]


def test_an_unchanged_crate_agrees_and_says_what_can_be_recomputed(crate: Path) -> None:
    result = _verify(crate)
    assert result.exit_code == 0, result.output
    assert re.match(r"checksums: \d{3} files agree, 0 do not\n", result.output)
    assert re.search(r"^  realnvp: .*\bkl\b", result.output, re.M)
    assert re.search(r"^  wgan_vae: energy_distance, ", result.output, re.M)


def test_a_number_that_no_table_has_is_not_offered(tier: Path) -> None:
    known, reviewed = numbers(Tier(tier)), Tier(tier)
    assert {evaluation.name for evaluation in known.values()} == TABLES.keys()
    for number, evaluation in known.items():
        column, model = number.split("/")
        assert pd.notna(reviewed.row(TABLES[evaluation.name], model=model)[column])
    assert "test_rejected/vae" not in known
    assert "inverse_error/realnvp" not in known  # rounding alone


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({WEIGHTS: b"others"}, f"{WEIGHTS} is not what it was"),
        ({WEIGHTS: None}, f"{WEIGHTS} is not in the crate"),
        ({"more.txt": b"?"}, "more.txt has no checksum"),
    ],
)
def test_a_changed_crate_does_not_agree(
    changed: Callable[..., Path], files: dict[str, bytes | None], sentence: str
) -> None:
    result = _verify(changed(files), "kl/realnvp")
    assert result.exit_code == 1
    assert sentence in result.output.splitlines()
    assert result.output.splitlines()[-1].endswith(" files agree, 1 do not")


@pytest.mark.slow
def test_a_number_is_recomputed_from_the_weights(crate: Path, tier: Path) -> None:
    row = pd.read_csv(tier / "tables/flows.csv").iloc[0]
    # One with a standard error and one without.
    for number, there in (
        ("kl/realnvp/0", f"{row['kl']:.8g} ± "),
        ("mass/realnvp", f"{row['mass']:.8g}"),
    ):
        result = _verify(crate, number)
        assert result.exit_code == 0, result.output
        assert f"{number} in the crate: {there}" in result.output
        assert result.output.splitlines()[-1].startswith("agrees: ")


@pytest.mark.slow
def test_a_number_that_its_weights_do_not_give_is_found(
    crate: Path, changed: Callable[..., Path]
) -> None:
    with zipfile.ZipFile(crate) as archive:
        table = archive.read("results/reviewed/tables/flows.csv").decode()
    kl = pd.read_csv(io.StringIO(table))["kl"][0]
    better = table.replace(str(kl), str(kl / 2))
    assert better != table
    path = changed({"results/reviewed/tables/flows.csv": better.encode()}, sums=True)
    result = _verify(path, "kl/realnvp")
    assert result.exit_code == 1
    assert "does not agree: " in result.output


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("kl", "the crate has no number kl; it has kl/realnvp, "),
        ("kl/nobody", "the crate has no number kl/nobody"),
        ("kl/realnvp/7", "realnvp has no seed 7; it has 0"),
        ("test_rejected/vae", "the crate has no number test_rejected/vae"),
        ("energy_distance/vae", "the crate has no images, and "),
    ],
)
def test_what_cannot_be_recomputed_gets_a_sentence(
    crate: Path, tmp_path: Path, number: str, sentence: str
) -> None:
    result = _verify(crate, number, "--data", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert result.stderr.count("\n") == 1


def test_other_images_than_the_crates_are_refused(crate: Path, tmp_path: Path) -> None:
    folder = json.loads(_read(crate, "invocation.json"))["config"]["data"]["images"]
    data = tmp_path / "data"
    data.mkdir()
    result = _verify(crate, "energy_distance/vae", "--data", data)
    (expected,) = re.findall(r"and (\S+) is not there", result.stderr)
    Path(expected).parent.mkdir(parents=True)
    for name in folder["md5"]:
        (Path(expected).parent / name).write_bytes(b"others")
    result = _verify(crate, "energy_distance/vae", "--data", data)
    assert result.exit_code == 2
    assert "is not what the crate's models were trained on" in result.stderr


def _read(crate: Path, name: str) -> bytes:
    with zipfile.ZipFile(crate) as archive:
        return archive.read(f"results/reviewed/{name}")


def test_what_is_no_crate_gets_a_sentence(tmp_path: Path, changed: Callable[..., Path]) -> None:
    text = tmp_path / "text.zip"
    text.write_text("no ZIP file")
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()
    wrong = changed({MANIFEST: b"no checksum\n"})
    for path, sentence in (
        (tmp_path / "nothing.zip", "there is no "),
        (text, f"{text} is not a ZIP file"),
        (tmp_path, f"{tmp_path} is not a ZIP file"),
        (empty, f"{empty} has no {METADATA}"),
        (wrong, f"{MANIFEST} of the crate has a line that is no checksum: 'no checksum'"),
    ):
        result = _verify(path)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {sentence}")
        assert result.stderr.count("\n") == 1


def test_a_tier_that_is_not_finished_is_not_packed(tier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results/reviewed"
    shutil.copytree(tier, folder)
    (folder / "tables/generators.csv").unlink()
    (folder / FLOW / "history.csv").unlink()
    for results, sentence in (
        (folder, "realnvp/seed_0/history.csv is missing, with 1 other"),
        (tmp_path, "has no invocation.json"),
    ):
        arguments = ["crate", results, "-o", tmp_path / "c.zip"]
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert not (tmp_path / "c.zip").exists()
