"""A tier as an RO-Crate for a reviewer: workflow, config, provenance, weights, tables and figures.

It follows the profile Workflow Run RO-Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5, and has
checksums that `sha256sum --check` reads. The images that models are trained on are not in it.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dgmpipe.errors import UserError
from dgmpipe.files import replacing
from dgmpipe.pages.captions import dump_config
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.exhibits import exhibits
from dgmpipe.plan.trainings import trainings
from dgmpipe.tracking.records import Record

__all__ = ["MANIFEST", "METADATA", "write_crate"]

METADATA = "ro-crate-metadata.json"
MANIFEST = "manifest-sha256.txt"
WORKFLOW = "workflow/Snakefile"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
# What a reader needs to run it again: of the workflow's folder, and of where the packages are.
_FOLDERS = ("workflow", "scripts", "config")
_PACKAGES = ("dgmpipe", "snakemake_logger_plugin_dgmpipe")
_TOP = (
    *("README.md", "LICENSE", "CITATION.cff", "Makefile", "pyproject.toml", "constraints.txt"),
    "environment.yml",
)
_OF_TRAINING = ("model.safetensors", "history.csv", "summary.json", "time.json")
_TYPES = {
    ".csv": "text/csv", ".html": "text/html", ".json": "application/json",
    ".md": "text/markdown", ".pdf": "application/pdf", ".png": "image/png", ".py": "text/x-python",
    ".yaml": "application/yaml", ".safetensors": "application/octet-stream",
}  # fmt: skip
_STATUS = {"FINISHED": "CompletedActionStatus", "RUNNING": "ActiveActionStatus"}
_SCHEMA = "http://schema.org/"


def write_crate(results: Path, project: Path, output: Path) -> int:
    """Pack a tier into an RO-Crate.

    Args:
        results: Folder `results/{tier}`.
        project: Folder with `workflow/`, `scripts/` and `config/`.
        output: The ZIP file to be written.

    Returns:
        The number of files in it.

    Raises:
        UserError: If there is no invocation, or a figure, table or training is missing.
    """
    if not (results / "invocation.json").is_file():
        raise UserError(f"{results} has no invocation.json; run the workflow for that tier first")
    tier = Tier(results)
    files = {**dict(_of_the_project(project)), **dict(_of_the_tier(tier))}
    if missing := [name for name, path in files.items() if not path.is_file()]:
        others = f", with {len(missing) - 1} other files" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0]} is missing{others}; finish the tier by snakemake --cores 4 all first"
        )
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(dump_config(tier.given), encoding="utf-8")
        files[f"results/{tier.name}/config.yaml"] = config
        crate = _described(tier, files)
        root = Path(folder, "crate")
        crate.write(root)
        names = sorted(
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()
        )
        lines = [f"{_sha256(root / name)}  {name}\n" for name in names if name != MANIFEST]
        (root / MANIFEST).write_text("".join(lines), encoding="utf-8")
        packed = zipfile.ZipFile
        with replacing(output) as path, packed(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.write(root / name, name)
    return len(names)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_the_project(project: Path) -> Iterator[tuple[str, Path]]:
    packages = Path(__file__).parents[2]
    places = [(project, "", folder) for folder in _FOLDERS]
    places += [(packages, "src", folder) for folder in _PACKAGES]
    # Weights that ship with the package are other trainings than the tier's; a package that is
    # installed has the workflow's folders in `project`.
    left_out = {"__pycache__", "released", "project"}
    for top, below, folder in places:
        for path in sorted((top / folder).rglob("*")):
            name = path.relative_to(top)
            if path.is_file() and not left_out & set(name.parts):
                yield Path(below, name).as_posix(), path
    yield from ((name, project / name) for name in _TOP if (project / name).is_file())


def _of_the_tier(tier: Tier) -> Iterator[tuple[str, Path]]:
    """Yield what a finished tier has, whether it is there or not; pages only if they are there."""
    names = ["invocation.json"]
    for model, seed in trainings(tier.config):
        names += [f"models/{model}/seed_{seed}/{file}" for file in _OF_TRAINING]
        record = f"runs/{model}_seed_{seed}.json"
        names += [record] if (tier.folder / record).exists() else []
    names += [file for exhibit in exhibits(tier.config) for file in exhibit.outputs.values()]
    names += [page for page in ("report.html", "companion.html") if (tier.folder / page).exists()]
    yield from ((f"results/{tier.name}/{name}", tier.folder / name) for name in names)


def _described(tier: Tier, files: Mapping[str, Path]) -> Any:
    """Return the crate with what its metadata say of each file and of the run."""
    from rocrate.model import ComputationalWorkflow, ContextEntity
    from rocrate.rocrate import ROCrate

    record = Record.read(tier.folder / "invocation.json")
    assert record is not None
    crate = ROCrate(version="1.1")
    crate.name = f"An Introduction to Deep Generative Modeling, regenerated: tier {tier.name}"
    crate.description = (
        "Workflow, config, provenance, trained weights, tables and figures of one run of dgmpipe,"
        " which regenerates every figure and number of the paper by Ruthotto and Haber"
        " (arXiv:2103.05180). `dgmpipe verify` recomputes a number from the weights."
    )
    license = crate.add(
        ContextEntity(
            crate,
            "https://spdx.org/licenses/MIT",
            properties={"@type": "CreativeWork", "name": "MIT License"},
        )
    )
    crate.license = license
    crate.datePublished = _date(record.ended or record.started)
    crate.root_dataset["conformsTo"] = [
        crate.add(
            ContextEntity(
                crate,
                address,
                properties={"@type": "CreativeWork", "name": name, "version": number},
            )
        )
        for address, (name, number) in _PROFILES.items()
    ]
    workflow = crate.add_workflow(
        files[WORKFLOW], WORKFLOW, main=True, lang="snakemake", cls=ComputationalWorkflow
    )
    workflow["name"] = "dgmpipe"
    workflow["version"] = version("dgmpipe")
    workflow["license"] = license
    added = {
        name: crate.add_file(path, name, properties=_about(name))
        for name, path in files.items()
        if name != WORKFLOW
    }
    # Checksums are written when all else is, so that they have those of the metadata too.
    manifest = Path(tier.folder, "invocation.json")
    crate.add_file(manifest, MANIFEST, properties=_about(MANIFEST))
    of_the_tier = f"results/{tier.name}/"
    results = [entity for name, entity in added.items() if name.startswith(of_the_tier)]
    config = added[f"{of_the_tier}config.yaml"]
    run = crate.add_action(
        workflow,
        identifier="#run",
        object=[config],
        result=[entity for entity in results if entity is not config],
        properties=_times(record) | {"name": f"Run of dgmpipe on the tier {tier.name}"},
    )
    actions = [run]
    software = crate.add(
        ContextEntity(
            crate,
            "#dgmpipe",
            properties={
                "@type": "SoftwareApplication",
                "name": "dgmpipe",
                "softwareVersion": record.tags.get("git.commit", version("dgmpipe")),
            },
        )
    )
    for model, seed in trainings(tier.config):
        path = tier.folder / f"runs/{model}_seed_{seed}.json"
        if (training := Record.read(path)) is None:
            continue
        made = [added[f"{of_the_tier}models/{model}/seed_{seed}/{f}"] for f in _OF_TRAINING]
        start = tier.config.models[model].start
        weights = f"{of_the_tier}models/{start}/seed_{seed}/model.safetensors"
        action = crate.add_action(
            software,
            identifier=f"#training-{model}-{seed}",
            object=[config, added[weights]] if start else [config],
            result=made,
            properties=_times(training) | {"name": f"Training of {model}, seed {seed}"},
        )
        actions.append(action)
    crate.root_dataset["mentions"] = actions
    return crate


def _about(name: str) -> dict[str, Any]:
    about = {"about": {"@id": "./"}} if name == "README.md" else {}
    return {"name": name, "encodingFormat": _TYPES.get(Path(name).suffix, "text/plain"), **about}


def _times(record: Record) -> dict[str, Any]:
    status = _STATUS.get(record.status, "FailedActionStatus")
    found = {"startTime": _date(record.started), "actionStatus": f"{_SCHEMA}{status}"}
    return found | ({"endTime": _date(record.ended)} if record.ended else {})


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
