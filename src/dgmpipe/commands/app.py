"""The command `dgmpipe`. What a command needs is imported when it runs, so that help comes fast."""

import errno
import functools
import io
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem, get_completion_class

import dgmpipe
from dgmpipe.config.kinds import KINDS
from dgmpipe.errors import Interrupted, UserError
from dgmpipe.models.trained import find_model, known_models

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command_pages", "main"]

_RESULTS = Path("results/laptop")
_VARIABLE = "_DGMPIPE_COMPLETE"  # by which a shell asks click for completions

COMMANDS_PAGE = """\
# The command `dgmpipe`

Made by `dgmpipe pages commands` from the commands themselves. `dgmpipe COMMAND --help` shows the
same.

A `MODEL` is the folder of a trained model, or its name. A name is looked for in the results of a
tier, `--results`, and then among the models that are released with dgmpipe. Wrong input gets one
sentence on standard error and the exit code 2.

For completion of commands, options and names of models, add `source <(dgmpipe completion bash)` to
`~/.bashrc`, `source <(dgmpipe completion zsh)` to `~/.zshrc`, or `dgmpipe completion fish | source`
to `~/.config/fish/config.fish`. The same is done from Python by functions of the same names:
`dgmpipe.sample("results/laptop/models/vae/seed_0", 64, seed=0)`.
"""


class OneSentence(click.Group):
    """A group of commands in which a mistake is answered by one sentence and exit code 2."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        run = functools.partial(super().main, *arguments, standalone_mode=False, **options)
        if not standalone_mode:
            return run()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # of ± where the terminal has ASCII alone
        try:
            status: Any = run()
        except click.exceptions.NoArgsIsHelpError as shown:
            click.echo(shown.format_message())
            sys.exit(0)
        except click.Abort:
            _fail("interrupted", 130)
        except Interrupted as error:
            _fail(f"{error}; the same command goes on from there", 130)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "dgmpipe"
            _fail(f"{error.format_message().rstrip('.')} (see {command} --help)")
        except click.ClickException as error:
            _fail(error.format_message())
        except OSError as error:
            if error.errno == errno.EPIPE:  # as of `dgmpipe show | head`
                sys.stdout = None
                sys.exit(1)
            of = f"{error.filename}: " if error.filename else ""
            _fail(f"{of}{error.strerror or error}")
        except (UserError, ValueError) as error:
            _fail(str(error))
        sys.exit(status if isinstance(status, int) else 0)


class _Rate(click.FloatRange):
    """A number in a range, in which click takes nan to be, as it is neither too small nor large."""

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        rate = super().convert(value, param, context)
        if math.isnan(rate):
            self.fail("nan is not a number", param, context)
        return rate


def _fail(reason: str, status: int = 2) -> NoReturn:
    click.echo(f"error: {' '.join(reason.split())}", err=True)
    sys.exit(status)


class ModelName(click.ParamType[str]):
    """A trained model by its name or its folder; completes names and files."""

    name = "model"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = known_models(ctx.params.get("results") or _RESULTS)
        items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return items or [CompletionItem(incomplete, type="file")]


_FILE = click.Path(path_type=Path)
_SEEDS = click.IntRange(0)
_COUNT = click.IntRange(1, 100_000)
_STEPS = click.IntRange(1, 10_000_000)

_model = click.argument("model", type=ModelName())
_results = click.option(
    "--results",
    type=_FILE,
    default=_RESULTS,
    show_default=True,
    help="Tier in which a model's name is looked for.",
)
_force = click.option("--force", is_flag=True, help="Replace what is there.")


def _output(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("-o", "--output", type=_FILE, required=True, help=help)


def _found(model: str, results: Path) -> Path:
    """Return the folder of a model, and say on standard error which it is."""
    if results != _RESULTS:
        _require_folder(results)
    folder = find_model(model, results)
    if str(folder) != model:
        click.echo(f"{model}: {folder}", err=True)
    return folder


@click.group(cls=OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(dgmpipe.__version__, prog_name="dgmpipe")
def main() -> None:
    """Models of "An Introduction to Deep Generative Modeling", trained and put to use.

    \b
    make all                                        trains the models
    dgmpipe show                                    what came out
    dgmpipe sample wgan_vae -n 64 -o digits.png     images of one of them
    """


@main.command()
@_model
@click.option("-n", "number", type=_COUNT, default=64, show_default=True, help="Samples.")
@_output("Where they go: .png, .npy or .csv; of a flow .npy or .csv.")
@click.option("--seed", type=_SEEDS, default=0, show_default=True, help="Of the latent points.")
@_results
@_force
def sample(model: str, number: int, output: Path, seed: int, results: Path, force: bool) -> None:
    """Draw samples of a model: images of a VAE or a GAN, points of a flow.

    An image is white where it is 1. A .csv file has a row for each sample.

    \b
    Examples:
      dgmpipe sample wgan_vae -n 64 -o digits.png
      dgmpipe sample results/laptop/models/vae/seed_0 -n 1000 -o images.npy
      dgmpipe sample otflow -n 500 --seed 1 -o points.csv
    """
    from dgmpipe.commands import files, functions

    files.check_output(output, (".png", ".npy", ".csv"), force)
    samples = functions.sample(_found(model, results), number, seed=seed)
    if samples.ndim == 2:
        files.check_output(output, (".npy", ".csv"), force)
        files.write_array(samples, output)
        click.echo(f"{number:,} points in {output}")
    else:
        files.write_pictures(samples, output)
        click.echo(_about_images(samples, output))


@main.command()
@_model
@click.option("-n", "number", type=_COUNT, default=20, show_default=True, help="Images.")
@_output("Where they go: .png, .npy or .csv.")
@_results
@_force
def interpolate(model: str, number: int, output: Path, results: Path, force: bool) -> None:
    """Draw the images of a VAE or a GAN along a line in its latent space.

    As in Figure 10 the line goes from (-1, ..., -1) to (1, ..., 1).

    \b
    Example:
      dgmpipe interpolate wgan_vae -n 20 -o line.png
    """
    from dgmpipe.commands import files, functions

    files.check_output(output, (".png", ".npy", ".csv"), force)
    images = functions.interpolate(_found(model, results), number)
    files.write_pictures(images, output, columns=number)
    click.echo(_about_images(images, output))


def _about_images(images: "Tensor", output: Path) -> str:
    n, _, height, width = images.shape
    return f"{n:,} images of {height}x{width}, mean intensity {images.mean():.3f}, in {output}"


@main.command()
@_model
@click.argument("points", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Where log p of each point goes: .npy or .csv.")
@click.option("--array", default="samples", show_default=True, help="Its name in a .npz file.")
@_results
@_force
def likelihood(
    model: str, points: Path, output: Path | None, array: str, results: Path, force: bool
) -> None:
    """Compute the log-likelihood of points of your own under a flow, in nats.

    POINTS is a .npy, .npz or .csv file with two columns. Behind ± is the standard error of the
    mean.

    \b
    Examples:
      dgmpipe likelihood otflow points.csv
      dgmpipe likelihood realnvp points.csv -o log_p.csv
    """
    from dgmpipe.commands import files, functions
    from dgmpipe.data.files import load_array

    if output:
        files.check_output(output, (".npy", ".csv"), force, points)
    values = load_array(points, array)
    log_p = functions.likelihood(_found(model, results), values)
    if not len(log_p):
        raise UserError(f"{points} has no points")
    error = log_p.std().item() / len(log_p) ** 0.5 if len(log_p) > 1 else float("nan")
    lowest = f"lowest {log_p.min():.4f}, highest {log_p.max():.4f}"
    click.echo(f"{len(log_p):,} points: mean log p(x) = {log_p.mean():.4f} ± {error:.4f}, {lowest}")
    if output:
        files.write_array(log_p, output)
        click.echo(f"log p of each is in {output}")


@main.command()
@click.argument("image", type=_FILE)
@click.option("--model", type=ModelName(), default="vae", show_default=True, help="A VAE.")
@click.option("-o", "--output", type=_FILE, help="Where the log posterior goes: .png or .npy.")
@click.option("--invert", is_flag=True, help="Of a picture with dark ink on white paper.")
@click.option("--scale", is_flag=True, help="Bring it to the size of the model's images.")
@click.option(
    "--resolution",
    type=click.IntRange(4, 5000),
    default=300,
    show_default=True,
    help="Grid points along each axis.",
)
@_results
@_force
def posterior(
    image: Path,
    model: str,
    output: Path | None,
    invert: bool,
    scale: bool,
    resolution: int,
    results: Path,
    force: bool,
) -> None:
    """Compute the posterior of a picture on the latent plane of a VAE, and its log p(x).

    IMAGE is in any format that Pillow reads, white on black as in MNIST. log p(x) is by
    quadrature; with the likelihood of eq. (4) it is that of a pseudo-likelihood.

    \b
    Examples:
      dgmpipe posterior image.png
      dgmpipe posterior image.png -o posterior.png
      dgmpipe posterior photo.jpg --invert --scale
    """
    from dgmpipe.commands import files, functions
    from dgmpipe.models.storage import load_model
    from dgmpipe.models.vae import VAE

    if output:
        files.check_output(output, (".png", ".npy"), force, image)
    vae = load_model(_found(model, results), VAE)
    assert isinstance(vae, VAE)
    pixels = files.read_picture(image, vae.generator.image_shape, scale=scale)
    grid = functions.posterior(1 - pixels if invert else pixels, vae, resolution=resolution)
    evidence = f"log p(x) = {grid.log_evidence:.2f} ± {grid.log_evidence_error:.2f}"
    z1, z2 = grid.map.tolist()
    click.echo(f"{image}: {evidence} (error of the quadrature), MAP at ({z1:.2f}, {z2:.2f})")
    if output:
        files.write_posterior(grid, output)
        click.echo(f"its log posterior is in {output}")


@main.command("energy-test")
@click.argument("x", type=_FILE)
@click.argument("y", type=_FILE)
@click.option(
    "--permutations",
    type=_COUNT,
    default=999,
    show_default=True,
    help="Permutations, of which the p-value is at least 1 in one more.",
)
@click.option("--seed", type=_SEEDS, default=0, show_default=True, help="Of the permutations.")
@click.option("--array", default="samples", show_default=True, help="Its name in a .npz file.")
def energy_test(x: Path, y: Path, permutations: int, seed: int, array: str) -> None:
    """Test whether two samples are from one distribution, by their energy distance.

    X and Y are each a .npy, .npz or .csv file with a row for each point or image, a folder of
    pictures, or a folder of MNIST's files, of which the test images are taken. Bytes of images
    become intensities in [0, 1].

    \b
    Examples:
      dgmpipe energy-test a.npy b.npy
      dgmpipe energy-test images.npy pictures/ --permutations 99
    """
    from dgmpipe.commands import files
    from dgmpipe.statistics.energy import energy_test as test

    first, second = files.read_sample(x, array), files.read_sample(y, array)
    for path, points in ((x, first), (y, second)):
        if len(points) < 2:
            raise UserError(f"{path} has one point; a distance takes two or more of each sample")
    found = test(first, second, num_permutations=permutations, seed=seed)
    distance = f"energy distance {found.energy_distance:.4f} ± {found.standard_error:.4f}"
    sizes = f"{len(first):,} and {len(second):,} points of {first.shape[1]:,} numbers"
    click.echo(f"{distance}, p-value {found.pvalue:.3g} ({sizes})")


def _chosen(settings: Iterable[str]) -> dict[str, str]:
    """Return the settings of `--set`; their values are text, as from Snakemake's command line."""
    chosen: dict[str, str] = {}
    for pair in settings:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UserError(f"--set {pair} must be KEY=VALUE, such as bins=32")
        if key in ("steps", "batch_size", "learning_rate", "seed"):
            raise UserError(f"--set {pair}: write --{key.replace('_', '-')} {value}")
        if key in chosen:
            raise UserError(f"--set {key} stands twice; leave one out")
        chosen[key] = value
    return chosen


@contextmanager
def _interrupt_at_checkpoint() -> Iterator[None]:
    """Let Ctrl-C do what SIGTERM does in a training, where that is handled: leave a checkpoint."""

    def handle(*_: object) -> None:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_FLOWS = [name for name, kind in KINDS.items() if kind.family == "flow"]


@main.command()
@click.argument("kind", type=click.Choice(_FLOWS))
@click.argument("points", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    help="Folder of the trained flow; by default results/own/models/KIND/seed_SEED.",
)
@click.option("--steps", type=_STEPS, default=2000, show_default=True, help="Of the training.")
@click.option("--batch-size", type=_COUNT, default=256, show_default=True, help="In points.")
@click.option(
    "--learning-rate",
    type=_Rate(0, 1, min_open=True),
    default=0.001,
    show_default=True,
    help="Of Adam.",
)
@click.option("--seed", type=_SEEDS, default=0, show_default=True, help="Of weights and batches.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another setting of the kind, as in a config; can be repeated.",
)
@click.option("--array", default="samples", show_default=True, help="Its name in a .npz file.")
@_force
def train(
    kind: str,
    points: Path,
    output: Path | None,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    settings: tuple[str, ...],
    array: str,
    force: bool,
) -> None:
    """Train a flow on points of your own, of which a fifth is held out.

    POINTS is a .npy, .npz or .csv file with two columns and 20 rows or more, of any mean and
    scale. After Ctrl-C the same command goes on where it was. The other models are trained by the
    workflow: make all.

    \b
    Examples:
      dgmpipe train realnvp points.csv
      dgmpipe likelihood realnvp points.csv --results results/own
      dgmpipe train otflow points.csv --steps 500 -o flow
      dgmpipe train nsf points.csv --set bins=32 --set learning_rate_decay=cosine
    """
    from dgmpipe.commands import functions
    from dgmpipe.data.files import load_array

    folder = output or Path(f"results/own/models/{kind}/seed_{seed}")
    if (folder / "summary.json").exists() and not force:
        raise UserError(f"{folder} has a trained model; replace it with --force or name another")
    values = load_array(points, array)
    chosen = _chosen(settings)
    try:
        with _interrupt_at_checkpoint():
            functions.train(
                kind,
                values,
                folder,
                steps=steps,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                **chosen,
            )
    except ValueError as error:
        raise UserError(f"{points}: {error}") from error
    before, after = functions.held_out_losses(folder)
    number = f"{len(values) - len(values) // 5:,} points, {steps:,} steps"
    loss = f"held-out negative log-likelihood {before:.3f} -> {after:.3f} nats"
    click.echo(f"{number}: {loss}; the flow is in {folder}")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-d",
    "--directory",
    type=_FILE,
    default=Path(),
    help="Where results/ is, by default the current folder.",
)
@click.option(
    "--configfile", "configfiles", type=_FILE, multiple=True, help="Laid over the config."
)
@click.option("--config", multiple=True, metavar="KEY=VALUE", help="A value laid over the config.")
@click.option("--workflow-profile", "profile", type=_FILE, help="Such as that for SLURM.")
def run(
    arguments: tuple[str, ...],
    directory: Path,
    configfiles: tuple[Path, ...],
    config: tuple[str, ...],
    profile: Path | None,
) -> None:
    """Run the workflow in any folder, without a clone of the project.

    ARGUMENTS are targets and options of Snakemake, which gets them as they are. Files of the
    project go by their names there, such as config/paper.yaml. A folder may have a
    config/config.yaml of its own in place of the project's. --configfile and --config take one
    value and can be repeated.

    \b
    Examples:
      dgmpipe run --cores 4
      dgmpipe run --cores 4 --directory there --configfile config/smoke.yaml all
      dgmpipe run --cores 4 --dry-run --config seeds=[0,1] trainings
      dgmpipe run --workflow-profile workflow/profiles/slurm all
    """
    from dgmpipe.commands.run import become, snakemake_command

    become(
        snakemake_command(
            arguments, directory=directory, configfiles=configfiles, config=config, profile=profile
        )
    )


@main.command()
@click.argument("results", type=_FILE, default=_RESULTS)
def show(results: Path) -> None:
    """Show a tier's main numbers, and where its figures and its report are.

    RESULTS is a folder results/TIER, by default results/laptop.

    \b
    Example:
      dgmpipe show results/laptop
    """
    from dgmpipe.commands.show import show as print_tier

    print_tier(results)


@main.command()
@click.argument("results", nargs=-1, type=_FILE)
def track(results: tuple[Path, ...]) -> None:
    """Log to MLflow what it missed of the runs.

    RESULTS are folders results/TIER, by default all of them.

    \b
    Example:
      dgmpipe track results/laptop
    """
    for folder in results:
        _require_folder(folder)
    from dgmpipe.tracking.runs import catch_up_all

    catch_up_all(results or sorted(Path("results").glob("*/")))


@main.command()
@click.argument("results", type=_FILE)
@click.argument("models", nargs=-1, required=True)
def release(results: Path, models: tuple[str, ...]) -> None:
    """Copy the finished trainings of models to those that ship with the project.

    A tier with `released: true` takes them where it would train the same again. Only trainings by
    the code that is there are copied.

    \b
    Example:
      dgmpipe release results/paper vae wgan_vae
    """
    from dgmpipe.plan.released import release

    _require_folder(results)
    written = release(results, list(models))
    for folder in written:
        click.echo(str(folder))
    if not written:
        click.echo("no finished training of these models that is not released already", err=True)


@main.group()
def pages() -> None:
    """Write pages of docs/ and config/ anew from what they are about."""


@pages.command("report")
@click.argument("results", type=_FILE)
@click.option("--templates", type=_FILE, help="By default those of the workflow.")
def pages_report(results: Path, templates: Path | None) -> None:
    """Write the report of a tier anew, which the workflow makes at its end.

    \b
    Example:
      dgmpipe pages report results/laptop
    """
    for folder in filter(None, (results, templates)):
        _require_folder(folder)
    from dgmpipe.commands.run import project_folder
    from dgmpipe.pages.report import make_report

    if not make_report(results, templates or project_folder() / "workflow/report"):
        raise UserError(f"{results} has no figure or table yet; run the workflow for that tier")


@pages.command("tier")
@click.argument("results", type=_FILE)
@click.argument("folder", type=_FILE)
@click.option("--templates", type=_FILE, default="workflow/report", show_default=True)
@click.option("--configs", type=_FILE, default="config", show_default=True)
def pages_tier(results: Path, folder: Path, templates: Path, configs: Path) -> None:
    """Write figures, tables and origin of a tier into a folder, as docs/paper-tier.

    Figures and tables in the folder are replaced.

    \b
    Example:
      dgmpipe pages tier results/laptop page
    """
    for needed in (results, templates):
        _require_folder(needed)
    from dgmpipe.pages.exhibit import write_exhibit

    command = f"dgmpipe pages tier {results} {folder}"
    try:
        write_exhibit(results, folder, templates, configs, command)
    except FileNotFoundError as error:
        raise UserError(f"{error}; run the workflow for that tier first") from error


@pages.command("paper")
@click.argument("results", nargs=-1, required=True, type=_FILE)
@click.option("--images", type=_FILE, default="results/data/mnist", show_default=True)
@click.option("--docs", type=_FILE, default="docs", show_default=True)
@click.option("--configs", type=_FILE, default="config", show_default=True)
def pages_paper(results: tuple[Path, ...], images: Path, docs: Path, configs: Path) -> None:
    """Write docs/reproduction.md and docs/deviations.md from folders results/TIER.

    Each row is from the first of them that has computed it.

    \b
    Example:
      dgmpipe pages paper results/paper results/laptop
    """
    for folder in results:
        if not (folder / "tables").is_dir():
            raise UserError(f"{folder} has no tables; run the workflow for that tier first")
    _require_folder(docs)
    from dgmpipe.pages.reproduction import write_pages
    from dgmpipe.pages.tiers import Tier

    command = f"dgmpipe pages paper {' '.join(map(str, results))}"
    write_pages([Tier(folder, images) for folder in results], docs, configs, command)


@pages.command("config")
@click.option("--folder", type=_FILE, default="config", show_default=True)
def pages_config(folder: Path) -> None:
    """Write the tables of config/README.md and config/schema.json.

    \b
    Example:
      dgmpipe pages config
    """
    from dgmpipe.config.docs import write_docs

    write_docs(folder)


@pages.command("commands")
@click.option("--docs", type=_FILE, default="docs", show_default=True)
def pages_commands(docs: Path) -> None:
    """Write docs/commands.md, what all these commands say of themselves.

    \b
    Example:
      dgmpipe pages commands
    """
    _require_folder(docs)
    (docs / "commands.md").write_text(command_pages(), encoding="utf-8")


@main.command()
@click.argument("results", type=_FILE)
@_output("The crate: a ZIP file.")
@_force
def crate(results: Path, output: Path, force: bool) -> None:
    """Pack a tier for a reviewer: workflow, config, provenance, weights, tables and figures.

    The file is an RO-Crate by the profile Workflow Run RO-Crate 0.5. The images that models are
    trained on are not in it.

    \b
    Example:
      dgmpipe crate results/laptop -o laptop-crate.zip
    """
    from dgmpipe.commands import files
    from dgmpipe.commands.run import project_folder
    from dgmpipe.pages.crate import write_crate

    files.check_output(output, (".zip",), force)
    _require_folder(results)
    click.echo(f"{write_crate(results, project_folder(), output):,} files in {output}")


@main.command()
@click.argument("crate", type=_FILE)
@click.argument("number", required=False)
@click.option(
    "--data",
    type=_FILE,
    default="results/data",
    show_default=True,
    help="Folder of folders of images, which the crate does not have.",
)
def verify(crate: Path, number: str | None, data: Path) -> int:
    """Check a crate's checksums, and recompute a NUMBER from its weights.

    A NUMBER is a column of the tables of flows, evidence or generators and a model, such as
    energy_distance/wgan_vae, with /SEED for another seed than the one that figures show. It agrees
    if it is within a tenth of its standard error, or within a thousandth if it has none. The exit
    code is 0 if all agree, 1 if something does not.

    \b
    Examples:
      dgmpipe verify laptop-crate.zip
      dgmpipe verify laptop-crate.zip kl/otflow
      dgmpipe verify laptop-crate.zip energy_distance/wgan_vae/0
    """
    from dgmpipe.pages.verify import check_sums, numbers, opened, recompute, unpacked

    with opened(crate) as archive:
        count, complaints = check_sums(archive)
        for complaint in complaints:
            click.echo(complaint)
        click.echo(f"checksums: {count:,} files agree, {len(complaints):,} do not")
        if complaints:
            return 1
        with unpacked(archive) as tier:
            if number is None:
                click.echo("to recompute, as COLUMN/MODEL:")
                columns: dict[str, list[str]] = {}
                for name in numbers(tier):
                    column, model = name.split("/")
                    columns.setdefault(model, []).append(column)
                for model, of_model in columns.items():
                    click.echo(f"  {model}: {', '.join(of_model)}")
                return 0
            found = recompute(tier, number, data)
    error = "" if found.error != found.error else f" ± {found.error:.3g}"
    click.echo(f"{number} in the crate: {found.there:.8g}{error}")
    click.echo(f"{number} from its weights: {found.here:.8g}")
    verdict = "agrees" if found.agrees else "does not agree"
    apart = abs(found.here - found.there)
    click.echo(f"{verdict}: {apart:.2g} apart, {found.tolerance:.2g} allowed")
    return 0 if found.agrees else 1


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the lines by which a shell completes commands, options and names of models.

    \b
    Example:
      dgmpipe completion bash
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "dgmpipe", _VARIABLE).source())


def command_pages() -> str:
    """Return the help of every command as a page of Markdown."""
    return COMMANDS_PAGE + "".join(
        f"\n## {path}\n\n```\n{text}\n```\n" for path, text in _help(main, "dgmpipe")
    )


def _help(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterable[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, parent, name, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for inner_name, inner in command.commands.items():
            yield from _help(inner, inner_name, context)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one that is there")
