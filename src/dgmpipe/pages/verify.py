"""A crate checked by who got it: its checksums, and numbers recomputed from its weights."""

import contextlib
import dataclasses
import hashlib
import math
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pooch

from dgmpipe.config import Config
from dgmpipe.errors import UserError
from dgmpipe.evaluation.subject import Subject
from dgmpipe.files import load_function
from dgmpipe.pages.crate import MANIFEST, METADATA
from dgmpipe.pages.tables import COLUMNS
from dgmpipe.pages.tiers import Tier
from dgmpipe.plan.evaluations import EVALUATIONS, REAL, Evaluation, evaluated_seeds, subjects
from dgmpipe.plan.trainings import effective_settings, image_folder

__all__ = ["TABLES", "Recomputed", "check_sums", "numbers", "opened", "recompute", "unpacked"]

# Another processor rounds otherwise, which is far less than what another sample of images or
# points would change. Numbers without a standard error have to agree to a thousandth.
ERRORS, SHARE = 0.1, 1e-3
# Of Real NVP it is rounding alone, on which no two kinds of processor agree.
_ROUNDED = "inverse_error"
# The table that has an evaluation's numbers; those of other evaluations are for studies.
TABLES = {
    "evaluate_flow": "flows",
    "evidence": "vae_evidence",
    "energy_test": "generators",
    "sample_quality": "generators",
    "transport_costs": "transport",
    "examine_critic": "critics",
}


@dataclasses.dataclass(frozen=True)
class Recomputed:
    """A number of a crate beside what its weights give here.

    Attributes:
        there: As the crate's table has it.
        here: As it is computed here.
        error: Its standard error in the crate; NaN if it has none.
    """

    there: float
    here: float
    error: float

    @property
    def tolerance(self) -> float:
        """How far the two may be apart: a tenth of the standard error, else a thousandth."""
        return ERRORS * self.error if self.error > 0 else SHARE * abs(self.there)

    @property
    def agrees(self) -> bool:
        """Whether the two are as near as that."""
        return abs(self.here - self.there) <= self.tolerance


@contextlib.contextmanager
def opened(crate: Path) -> Iterator[zipfile.ZipFile]:
    """Open a crate.

    Raises:
        UserError: If there is no such file, or it is no crate of a tier.
    """
    try:
        archive = zipfile.ZipFile(crate)
    except FileNotFoundError:
        raise UserError(f"there is no {crate}; make it by make crate") from None
    except (zipfile.BadZipFile, IsADirectoryError):
        raise UserError(f"{crate} is not a ZIP file; name one that make crate made") from None
    with archive:
        for name in (METADATA, MANIFEST):
            if name not in archive.namelist():
                raise UserError(f"{crate} has no {name}; name one that make crate made")
        try:
            yield archive
        except zipfile.BadZipFile as error:
            raise UserError(f"{crate} is damaged ({error}); fetch it anew") from None


def check_sums(archive: zipfile.ZipFile) -> tuple[int, list[str]]:
    """Compare every file with its checksum.

    Returns:
        How many agree, and a sentence for each that does not.

    Raises:
        UserError: If the list of checksums is not one.
    """
    listed: dict[str, str] = {}
    for line in archive.read(MANIFEST).decode("utf-8", "replace").splitlines():
        digest, found, name = line.partition("  ")
        if not found or len(digest) != 64:
            raise UserError(f"{MANIFEST} of the crate has a line that is no checksum: {line!r}")
        listed[name] = digest
    names = {name for name in archive.namelist() if not name.endswith("/")} - {MANIFEST}
    complaints = [f"{name} is not in the crate" for name in sorted(listed.keys() - names)]
    complaints += [f"{name} has no checksum" for name in sorted(names - listed.keys())]
    agree = 0
    for name in sorted(names & listed.keys()):
        try:
            digest = hashlib.sha256(archive.read(name)).hexdigest()
        except zipfile.BadZipFile:
            digest = "damaged"
        agree += digest == listed[name]
        complaints += [f"{name} is not what it was"] if digest != listed[name] else []
    return agree, complaints


@contextlib.contextmanager
def unpacked(archive: zipfile.ZipFile) -> Iterator[Tier]:
    """Unpack the results in a crate to a folder that goes with the block.

    Raises:
        UserError: If they are not those of one tier.
    """
    names = [name for name in archive.namelist() if name.startswith("results/")]
    tiers = {name.split("/")[1] for name in names}
    if len(tiers) != 1 or f"results/{min(tiers)}/invocation.json" not in names:
        raise UserError("the crate has not the results of one tier; name one that make crate made")
    with tempfile.TemporaryDirectory() as folder:
        archive.extractall(folder, names)
        yield Tier(Path(folder, "results", tiers.pop()))


def numbers(tier: Tier) -> dict[str, Evaluation]:
    """Return what can be recomputed, such as "kl/otflow", and the evaluation that has it."""
    config, known = tier.config, dict[str, Evaluation]()
    for evaluation in (e for e in EVALUATIONS if e.name in TABLES):
        for model in subjects(config, evaluation):
            if model == REAL:
                continue
            row = tier.row(TABLES[evaluation.name], model=model)
            for column in evaluation.numbers(config, model):
                measured = not math.isnan(row.get(column, math.nan))
                if column in COLUMNS and column != _ROUNDED and measured:
                    known[f"{column}/{model}"] = evaluation
    return known


def recompute(tier: Tier, number: str, data: Path) -> Recomputed:
    """Compute a number anew from the weights of a tier.

    Args:
        tier: As it was unpacked.
        number: Such as "energy_distance/wgan_vae", of the seed that figures show, or
            "kl/otflow/3" of another.
        data: Folder of folders of images, as results/data.

    Raises:
        UserError: If there is no such number, or the images are not there or others.
    """
    config = tier.config
    column, _, rest = number.partition("/")
    model, _, seed_text = rest.partition("/")
    known = numbers(tier)
    if f"{column}/{model}" not in known:
        some = ", ".join(name for name in known if name.split("/")[0] in ("kl", "energy_distance"))
        raise UserError(f"the crate has no number {number}; it has {some} and others")
    seeds = evaluated_seeds(config, model)
    if seed_text and seed_text not in map(str, seeds):
        raise UserError(f"{model} has no seed {seed_text}; it has {', '.join(map(str, seeds))}")
    seed, evaluation = int(seed_text or config.shown_seed), known[f"{column}/{model}"]
    row = tier.of_seed(seed).row(TABLES[evaluation.name], model=model)
    folder = tier.folder / "models"
    judges = config.of_family("judge") if evaluation.judged else []
    subject = Subject(
        seed=seed,
        settings=effective_settings(config, model),
        folder=folder / model / f"seed_{seed}",
        images=_images(config, data) if evaluation.images else None,
        judge=next((folder / name / f"seed_{config.shown_seed}" for name in judges), None),
        clusters=config.data.images.test_clusters.model_dump(),
    )
    arguments = evaluation.arguments(config)
    made = load_function(evaluation.function)(subject, **arguments)
    error = row.get(COLUMNS[column].error, math.nan)
    return Recomputed(float(row[column]), float(made["numbers"][column]), float(error))


def _images(config: Config, data: Path) -> Path:
    """Return the folder of the config's images.

    Raises:
        UserError: If they are not there, or others.
    """
    folder, md5 = data / image_folder(config), config.data.images.md5
    files = md5.model_dump(by_alias=True) if md5 else {"images.npz": None}
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(
                f"the crate has no images, and {path} is not there; run snakemake --cores 1"
                " fetch_images, or name the folder of such folders by --data"
            )
        if digest and pooch.file_hash(str(path), alg="md5") != digest:
            raise UserError(f"{path} is not what the crate's models were trained on")
    return folder
