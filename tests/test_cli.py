"""The command `dgmpipe`, the functions of its names, and what `import dgmpipe` shows."""

import errno
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import dgmpipe
from dgmpipe.commands import functions
from dgmpipe.commands.app import command_pages, main
from dgmpipe.commands.files import read_picture, read_sample
from dgmpipe.data import idx
from dgmpipe.data.mnist import SPLITS
from dgmpipe.errors import UserError
from dgmpipe.models import GAN, VAE, Flow, Generator, OTFlow, RealNVP, load_model, trained
from dgmpipe.models.gan import Discriminator
from dgmpipe.models.vae import Encoder
from dgmpipe.training.checkpoint import Checkpoints
from trainings import make_up

ROOT = Path(__file__).parent.parent
MODELS = {
    "realnvp": ("realnvp", {"num_layers": 2, "width": 8}),
    "otflow": ("otflow", {"width": 4, "evaluation_rk4_steps": 2}),
    "vae": ("vae", {"latent_dim": 2, "width": 2}),
    "vae3": ("vae", {"latent_dim": 3, "width": 2}),
    "wgan_vae": ("wgan", {"latent_dim": 2, "width": 2}),
    "classifier": ("classifier", {"width": 2}),
}
TABLES = {
    "flows": "model,seed,nll,nll_standard_error,kl,kl_standard_error\nrealnvp,0,0.35,0.003,0.06,\n",
    "generators": "model,seed,energy_distance,standard_error,rejected,digits_found\n"
    "wgan_vae,0,0.14765,0.0045,0.4546,8.0\n",
}


@pytest.fixture(autouse=True)
def _nothing_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgmpipe.models.trained.RELEASED", tmp_path / "nothing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results and files as the examples name them, each as small as can be."""
    folder = tmp_path_factory.mktemp("made")
    results = folder / "results/laptop"
    torch.manual_seed(0)
    for name, (kind, settings) in MODELS.items():
        make_up(results / f"models/{name}/seed_0", kind, **settings)
    for part in ("tables", "figures"):
        (results / part).mkdir()
    for name, text in TABLES.items():
        (results / f"tables/{name}.csv").write_text(text, encoding="utf-8")
    (results / "figures/figure_09_samples.png").touch()
    (results / "report.html").touch()
    (folder / "config").mkdir()
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "config/README.md", folder / "config")
    random = np.random.default_rng(0)
    points = random.normal(3, 2, (40, 2))
    np.savetxt(folder / "points.csv", points, delimiter=",", header="x,y", comments="")
    np.save(folder / "points.npy", points)
    for name in "ab":
        np.save(folder / f"{name}.npy", random.normal(size=(30, 2)))
    images = random.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    (folder / "pictures").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"pictures/{number:02}.png")
    Image.fromarray(images[0]).save(folder / "image.png")
    Image.fromarray(np.full((60, 60, 3), 255, dtype=np.uint8)).save(folder / "photo.jpg")
    (folder / "mnist").mkdir()
    for split in SPLITS:
        labels = np.zeros(len(images), dtype=np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"mnist/{split}-{name}-ubyte").write_bytes(idx.idx_bytes(array))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="dgmpipe")


def said(*arguments: str) -> str:
    """Return what a command that goes well prints on standard output."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


# --- help ----------------------------------------------------------------------------------------


def _without_waiting(program: str) -> float:
    """Run a program of Python and return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


HEAVY = "{'torch', 'pandas', 'matplotlib', 'mlflow', 'snakemake', 'scipy'} & set(sys.modules)"


def test_help_comes_fast_and_without_torch() -> None:
    program = "import sys; from dgmpipe.commands.app import main\n"
    program += "main(['sample', '--help'], prog_name='dgmpipe', standalone_mode=False)\n"
    assert _without_waiting(program + f"assert not {HEAVY}, {HEAVY}") < 1


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, dgmpipe, dgmpipe.models, dgmpipe.data, dgmpipe.evaluation\n"
    program += "assert dir(dgmpipe) and dir(dgmpipe.models)\n"
    assert _without_waiting(program + f"assert not {HEAVY}, {HEAVY}") < 1


@pytest.mark.parametrize("flag", ["--version", "--help", "-h"])
def test_what_the_command_says_of_itself(flag: str) -> None:
    text = said(flag)
    assert (dgmpipe.__version__ if flag == "--version" else "energy-test") in text


def test_without_arguments_there_is_help() -> None:
    assert said() == said("--help")


def test_the_page_of_commands_is_what_they_say() -> None:
    """If this fails, run `dgmpipe pages commands`."""
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == command_pages()


def _quick(command: str) -> list[str]:
    """Return the arguments of a command that takes no time and may replace files."""
    options = {
        "train": "--steps 2",
        "posterior": "--resolution 20",
        "energy-test": "--permutations 9",
    }
    again = {"sample", "interpolate", "likelihood", "posterior", "train"}
    arguments = shlex.split(command)
    return [
        *arguments,
        *options.get(arguments[0], "").split(),
        *(["--force"] if arguments[0] in again else []),
    ]


def _examples() -> list[str]:
    return re.findall(r"^    (dgmpipe [a-z].*)$", command_pages(), re.M)


def test_every_command_has_an_example() -> None:
    for command in set(re.findall(r"^## dgmpipe (\S.*)$", command_pages(), re.M)) - {"pages"}:
        assert any(f"{e} ".startswith(f"dgmpipe {command} ") for e in _examples()), command


def test_the_examples_run_one_after_the_other(folder: Path) -> None:
    # Whole tiers are needed for these, of which other tests have one.
    elsewhere = (
        "dgmpipe run",
        "dgmpipe pages report",
        "dgmpipe pages tier",
        "dgmpipe pages paper",
        "dgmpipe track",
        "dgmpipe release",
        "dgmpipe crate",
        "dgmpipe verify",
    )
    shown = [example for example in _examples() if not example.startswith(elsewhere)]
    assert len(shown) > 12
    for example in shown:
        assert said(*_quick(example.removeprefix("dgmpipe "))) or "pages" in example
    for made in ("digits.png", "line.png", "log_p.csv", "posterior.png", "docs/commands.md"):
        assert (folder / made).is_file(), made
    assert load_model("results/own/models/realnvp/seed_0")
    assert load_model("flow", Flow)


def test_the_commands_of_the_readme_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "RELEASED", folder / "results/laptop/models")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^dgmpipe (.*?)(?: +#.*)?$", text, re.M)
    commands = [command for command in commands if not command.startswith("run ")]
    assert len(commands) > 5
    for command in commands:
        assert said(*_quick(command)), command
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    shown: dict = {}
    for block in blocks:
        exec(block.replace("images[0, 0], vae", "images[0, 0], vae, resolution=20"), shown)
    assert shown["images"].shape == (64, 1, 28, 28)


def test_a_shell_completes_names_of_models(folder: Path) -> None:
    asked = {"COMP_WORDS": "dgmpipe sample w", "COMP_CWORD": "2"}
    result = CliRunner().invoke(
        main, [], prog_name="dgmpipe", env=asked | {"_DGMPIPE_COMPLETE": "bash_complete"}
    )
    assert result.output == "plain,wgan_vae\n"
    assert "_DGMPIPE_COMPLETE=bash_complete" in said("completion", "bash")


# --- what comes out ------------------------------------------------------------------------------


def test_the_files_of_a_sample_have_its_images(folder: Path) -> None:
    images = load_model("results/laptop/models/wgan_vae").sample(5, seed=3)
    for name in ("s.png", "s.npy", "s.csv"):
        text = said("sample", "wgan_vae", "-n", "5", "-o", name, "--seed", "3")
        assert text.startswith("5 images of 28x28, mean intensity 0.")
    np.testing.assert_array_equal(np.load("s.npy"), images.squeeze(1))
    flat = np.loadtxt("s.csv", delimiter=",")
    np.testing.assert_allclose(flat, images.flatten(1), rtol=1e-6)
    picture = np.asarray(Image.open("s.png"))
    assert picture.shape == (2 * 28, 3 * 28)
    np.testing.assert_allclose(picture[28:, 28:56] / 255, images[4, 0], atol=0.5 / 255 + 1e-6)
    assert not picture[28:, 56:].any()


def test_a_picture_in_colour_has_its_channels(tmp_path: Path) -> None:
    make_up(tmp_path / "vae", "vae", latent_dim=2, width=2, image_shape=[3, 8, 12])
    said("sample", tmp_path / "vae", "-n", "2", "-o", tmp_path / "s.png")
    picture = np.asarray(Image.open(tmp_path / "s.png")) / 255
    images = load_model(tmp_path / "vae").sample(2, seed=0)
    assert picture.shape == (8, 24, 3)
    np.testing.assert_allclose(picture[:, 12:], images[1].permute(1, 2, 0), atol=0.003)


def test_a_photo_stands_as_it_was_held(tmp_path: Path) -> None:
    pixels = np.zeros((8, 12), dtype=np.uint8)
    pixels[:2] = 255
    Image.fromarray(pixels).save(tmp_path / "upright.png")
    turned, exif = Image.fromarray(np.rot90(pixels)), Image.Exif()
    exif[0x0112] = 6  # to be turned to the right by a quarter
    turned.save(tmp_path / "turned.png", exif=exif)
    upright, photo = (read_picture(tmp_path / f"{n}.png") for n in ("upright", "turned"))
    assert np.array_equal(upright, photo)


@pytest.mark.parametrize("number", [np.uint8, np.float32])
def test_colours_may_be_first_or_last(number: type, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 12)).astype(number)
    np.save(tmp_path / "first.npy", images)
    np.save(tmp_path / "last.npy", np.moveaxis(images, 1, 3))
    first, last = (read_sample(tmp_path / f"{n}.npy", "x") for n in ("first", "last"))
    assert torch.equal(first, last)
    assert first.shape == (5, 288)


def test_a_training_looks_at_points_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def trained(kind: str, settings: Any, dataset: Any, **_: Any) -> None:
        seen.append(dataset.held_out(settings.held_out_size, 0, torch.device("cpu")))
        raise UserError("enough")

    monkeypatch.setattr("dgmpipe.commands.functions.train_model", trained)
    x = torch.stack([torch.arange(20_000.0), torch.arange(20_000.0) % 7], dim=1)
    given = x.clone()
    with pytest.raises(UserError, match="enough"):
        dgmpipe.train("realnvp", x, tmp_path / "flow")
    assert seen[0][:, 0].mean() == pytest.approx(10_000, rel=0.05)
    assert torch.equal(x, given)


def test_the_line_of_an_interpolation_ends_at_its_corners(folder: Path) -> None:
    assert "3 images" in said("interpolate", "vae", "-n", "3", "-o", "l.npy")
    generator = load_model("results/laptop/models/vae").generator
    with torch.no_grad():
        expected = generator(torch.tensor([[-1.0, -1.0], [0, 0], [1, 1]])).squeeze(1)
    np.testing.assert_allclose(np.load("l.npy"), expected, atol=1e-6)
    said("interpolate", "vae", "-n", "3", "-o", "l.png")
    assert Image.open("l.png").size == (3 * 28, 28)


def test_points_and_their_likelihood_are_the_flows(folder: Path) -> None:
    flow = load_model("results/laptop/models/otflow")
    assert said("sample", "otflow", "-n", "7", "-o", "p.csv") == "7 points in p.csv\n"
    points = np.loadtxt("p.csv", delimiter=",")
    np.testing.assert_allclose(points, flow.sample(7, seed=0), rtol=1e-6)
    text = said("likelihood", "otflow", "p.csv", "-o", "log_p.npy")
    with torch.no_grad():
        expected = flow.log_prob(points.astype(np.float32))
    np.testing.assert_allclose(np.load("log_p.npy"), expected, rtol=1e-5)
    error = expected.std() / 7**0.5
    assert f"7 points: mean log p(x) = {expected.mean():.4f} ± {error:.4f}," in text


def test_the_posterior_is_that_of_the_picture(folder: Path) -> None:
    vae = load_model("results/laptop/models/vae")
    pixels = np.asarray(Image.open("image.png")).astype(np.float32) / 255
    Image.fromarray(255 - np.asarray(Image.open("image.png"))).convert("RGB").save("paper.bmp")
    large = np.asarray(Image.open("image.png")).repeat(3, axis=0).repeat(3, axis=1)
    Image.fromarray(large).save("large.tiff")
    given = {"image.png": [], "paper.bmp": ["--invert"], "large.tiff": ["--scale"]}
    for name, options in given.items():
        text = said("posterior", name, "--resolution", "30", "-o", f"{name}.npy", *options)
        double = torch.from_numpy(pixels).double()  # another type than the model's
        grid = functions.posterior(double, vae, resolution=30)
        found = float(re.search(r"log p\(x\) = (\S+) ±", text)[1])
        # Each pixel of the large one is the mean of nine, and of their neighbours by a little.
        atol = 3 if options == ["--scale"] else 0.006
        assert found == pytest.approx(grid.log_evidence, abs=atol)
        np.testing.assert_allclose(np.load(f"{name}.npy"), grid.log_posterior, atol=atol)


def test_an_energy_test_takes_arrays_pictures_and_the_files_of_mnist(folder: Path) -> None:
    found = dgmpipe.energy_test(np.load("a.npy"), np.load("b.npy"), num_permutations=9)
    text = said("energy-test", "a.npy", "b.npy", "--permutations", "9")
    assert text == (
        f"energy distance {found.energy_distance:.4f} ± {found.standard_error:.4f}, p-value"
        f" {found.pvalue:.3g} (30 and 30 points of 2 numbers)\n"
    )
    np.savez("images.npz", mine=np.load("images.npy"))
    np.savetxt("images.csv", np.load("images.npy").reshape(12, -1) / 255, "%.8f", ",")
    same = [("images.npz", "--array", "mine"), ("images.csv",), ("pictures",), ("mnist",)]
    with_itself = [
        said("energy-test", "images.npy", *of, "--permutations", "9").split(" (")[0] for of in same
    ]
    # Two equal samples, which independent ones are not: their energy distance is negative.
    assert len(set(with_itself)) == 1
    assert re.match(r"energy distance -\d", with_itself[0])


@pytest.mark.parametrize("kind", ["realnvp", "otflow"])
def test_a_flow_is_trained_on_points_of_any_scale(folder: Path, kind: str) -> None:
    moons = dgmpipe.sample_moons(100, 0.05, torch.Generator().manual_seed(0))
    np.save("far.npy", 1e4 + 50 * moons.numpy())
    text = said("train", kind, "far.npy", "--steps", "20", "--learning-rate", "0.003")
    before, after = map(float, re.findall(r"likelihood (\S+) -> (\S+) nats", text)[0])
    assert after < before
    assert text.startswith("80 points, 20 steps: held-out")
    assert f"results/own/models/{kind}/seed_0" in text
    flow = load_model(f"results/own/models/{kind}")
    history = pd.read_csv(f"results/own/models/{kind}/seed_0/history.csv")
    assert history["step"].tolist() == list(range(0, 21, 2))
    held_out = np.load("far.npy")[np.arange(20) * 5].astype(np.float32)
    assert -dgmpipe.likelihood(flow, held_out).mean() == pytest.approx(after, abs=2e-3)


def test_a_training_can_be_repeated(folder: Path) -> None:
    flows = [
        dgmpipe.train("realnvp", np.load("points.npy"), name, steps=3, seed=5).state_dict()
        for name in ("one", "two")
    ]
    assert all(torch.equal(flows[0][name], flows[1][name]) for name in flows[0])


def test_a_flow_is_trained_with_settings_of_its_kind(folder: Path) -> None:
    said("train", "nsf", "points.csv", "--steps", "2", "--set", "bins=5", "--set", "average=0.5")
    hyperparameters = json.loads(
        Path("results/own/models/nsf/seed_0/summary.json").read_text(encoding="utf-8")
    )["hyperparameters"]
    assert hyperparameters["bins"] == 5
    assert hyperparameters["average"] == 0.5


def test_an_interrupted_training_goes_on_to_the_same_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = dgmpipe.train("realnvp", np.load("points.npy"), "once", steps=10)
    command = ("train", "realnvp", "points.npy", "--steps", "10", "-o", "twice")
    save = Checkpoints.save

    def press_ctrl_c(*arguments: Any) -> Path:
        signal.raise_signal(signal.SIGINT)
        return save(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", press_ctrl_c)
        stopped = run(*command)
    assert stopped.exit_code == 130
    assert "stopped after step 2; a checkpoint is written; the same command goes on" in (
        stopped.stderr
    )
    assert not (folder / "twice/model.safetensors").exists()
    assert "10 steps" in said(*command)
    twice = load_model("twice").state_dict()
    assert all(torch.equal(tensor, twice[name]) for name, tensor in once.state_dict().items())
    assert not [*Path("twice").glob("checkpoints*")]


def test_a_tier_is_shown(folder: Path) -> None:
    text = said("show")
    assert "0.1477 ± 0.0045" in text
    assert "45%" in text
    assert "0.3500 ± 0.0030" in text
    assert "results/laptop/figures/figure_09_samples.png" in text
    assert "Report: results/laptop/report.html" in text


def test_a_tier_is_shown_where_there_is_ascii_alone(folder: Path) -> None:
    result = CliRunner(charset="ascii").invoke(main, ["show"])
    assert result.exit_code == 0, result.output
    assert "0.1477 ? 0.0045" in result.stdout


def test_a_tier_is_shown_whole_in_a_narrow_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = said("show")
    monkeypatch.setenv("COLUMNS", "30")
    assert said("show").split() == text.split()


# --- what cannot be done -------------------------------------------------------------------------

SAMPLE, LINE = ("sample", "vae", "-o", "s.png"), ("interpolate", "vae", "-o", "l.png")
WRONG: list[tuple[tuple[str, ...], str]] = [
    (("sampel",), "No such command 'sampel'"),
    (("sample",), "Missing argument 'MODEL' (see dgmpipe sample --help)"),
    (("sample", "vae"), "Missing option '-o' / '--output'"),
    ((*SAMPLE, "--sed", "1"), "No such option"),
    ((*SAMPLE, "-n", "0"), "Invalid value for '-n': 0 is not in the range 1<=x<=100000"),
    ((*SAMPLE, "-n", "many"), "Invalid value for '-n': 'many' is not a valid integer"),
    ((*SAMPLE, "--seed", "-1"), "Invalid value for '--seed': -1 is not in the range"),
    (("sample", "va", "-o", "s.png"), "results/laptop/models has no model 'va', and none is"),
    (("sample", "vae", "-o", "s.png", "--results", "mixed"), "mixed/models has no model 'vae'"),
    (("sample", "absent/vae", "-o", "s.png"), "absent/vae/summary.json is missing; train the"),
    (("sample", "points.csv", "-o", "s.png"), "points.csv is a file; name the folder of a trained"),
    (("sample", "broken", "-o", "s.png"), "broken/model.safetensors is not a whole safetensors"),
    (("sample", "classifier", "-o", "s.png"), "holds a Classifier; name the folder of a Flow or"),
    (("run", "--configfile", "absent.yaml"), "there is no absent.yaml, neither here nor in"),
    (("crate", "absent", "-o", "c.zip"), "absent is not a folder"),
    (("verify", "absent.zip"), "there is no absent.zip; make it by make crate"),
    (("sample", "vae", "-o", "s.docx"), "s.docx must end with .png or .npy or .csv"),
    (("sample", "vae", "-o", "images"), "images must end with .png or .npy or .csv"),
    (("sample", "vae", "-o", "absent/s.png"), "absent is not a folder; make it or name a file"),
    (("sample", "vae", "-o", "image.png"), "image.png exists; replace it with --force or name"),
    (("sample", "vae", "-o", "folder.png", "--force"), "folder.png is a folder; name a file"),
    (("sample", "realnvp", "-o", "s.png"), "s.png must end with .npy or .csv"),
    (("interpolate", "realnvp", "-o", "l.png"), "holds a RealNVP; name the folder of a VAE or GAN"),
    ((*LINE, "-n", "1e3"), "Invalid value for '-n': '1e3' is not a valid integer"),
    (("interpolate", "vae", "-o", "image.png"), "image.png exists; replace it with --force"),
    (("likelihood", "realnvp"), "Missing argument 'POINTS'"),
    (("likelihood", "vae", "points.csv"), "holds a VAE; name the folder of a Flow"),
    (("likelihood", "realnvp", "absent.csv"), "absent.csv does not exist; name a .npy, .npz or"),
    (("likelihood", "realnvp", "space.npy"), "points must have shape (N, 2), not (30, 3)"),
    (("likelihood", "realnvp", "nan.npy"), "points must be numbers, but some are NaN; leave them"),
    (("likelihood", "realnvp", "empty.npy"), "empty.npy has no points"),
    (("likelihood", "realnvp", "huge.npy"), "points must not include 1e+200, which torch.float32"),
    (("likelihood", "realnvp", "text.csv"), "text.csv is not a whole .csv file of numbers: could"),
    (("likelihood", "realnvp", "image.png"), "image.png must be a .npy, .npz or .csv file"),
    (("likelihood", "realnvp", "a.npy", "-o", "b.npy"), "b.npy exists; replace it with --force"),
    (("likelihood", "realnvp", "a.npy", "-o", "a.npy", "--force"), "a.npy is what is read; name"),
    (("posterior", "absent.png"), "absent.png does not exist; name a picture"),
    (("posterior", "pictures"), "pictures is a folder; name a picture"),
    (("posterior", "points.csv"), "points.csv is not a picture in a format that is known"),
    (("posterior", "cut.png"), "cut.png cannot be read as a picture: "),
    (("posterior", "wide.png"), "wide.png has 30x28 pixels, and the model's images have 28x28"),
    (("posterior", "clear.png"), "clear.png has transparency; save it without"),
    (("posterior", "deep.png"), "deep.png has more than 8 bits a pixel; save it with 8"),
    (("posterior", "image.png", "--model", "realnvp"), "holds a RealNVP; name the folder of a VAE"),
    (("posterior", "image.png", "--model", "vae3"), "quadrature needs a two-dimensional latent"),
    (("posterior", "image.png", "--resolution", "3"), "3 is not in the range 4<=x<=5000"),
    (("posterior", "image.png", "-o", "image.png", "--force"), "image.png is what is read; name"),
    (("posterior", "image.png", "-o", "p.csv"), "p.csv must end with .png or .npy"),
    (("energy-test", "a.npy"), "Missing argument 'Y'"),
    (
        ("energy-test", "a.npy", "absent"),
        "absent does not exist; name a .npy, .npz or .csv file, or",
    ),
    (("energy-test", "a.npy", "one.npy"), "one.npy has one point; a distance takes two or more"),
    (("energy-test", "a.npy", "absent.npy"), "absent.npy does not exist; name a .npy, .npz or"),
    (("energy-test", "a.npy", "space.npy"), "the points of x and y must have one shape, not (2,)"),
    (("energy-test", "nan.npy", "a.npy"), "x must hold finite numbers up to 1e+150 in magnitude"),
    (("energy-test", "a.npy", "empty.npy"), "empty.npy must have points, (N, ...), not (0, 2)"),
    (("energy-test", "a.npy", "complex.npy"), "complex.npy must be real numbers, not complex128"),
    (("energy-test", "a.npy", "other.npz"), "other.npz has no array 'samples', it has other"),
    (("energy-test", "a.npy", "cut.npy"), "cut.npy is not a whole .npy file of numbers: "),
    (("energy-test", "a.npy", "folder.png"), "folder.png has no pictures"),
    (("energy-test", "a.npy", "mixed"), "mixed/b.png has shape (28, 30), but mixed/a.png has"),
    (("energy-test", "a.npy", "b.npy", "--permutations", "0"), "0 is not in the range 1<=x<="),
    (("train", "vae", "points.csv"), "'vae' is not one of 'realnvp', 'otflow', "),
    (("train", "realnvp", "absent.csv"), "absent.csv does not exist; name a .npy, .npz or .csv"),
    (("train", "realnvp", "space.npy"), "space.npy: points must have shape (N, 2), not (30, 3)"),
    (("train", "realnvp", "few.npy"), "few.npy: there must be 20 points or more, not 3"),
    (("train", "realnvp", "nan.npy"), "nan.npy: points must be finite, but some are NaN or"),
    (("train", "realnvp", "huge.npy"), "huge.npy: points must not include 1e+200, which"),
    (("train", "realnvp", "large.npy"), "large.npy: points must be at most 1e+15 in magnitude"),
    (("train", "realnvp", "line.npy"), "line.npy: points must vary along each axis"),
    (("train", "realnvp", "complex.npy"), "complex.npy: points must be real numbers, not complex"),
    (("train", "realnvp", "text.csv"), "text.csv is not a whole .csv file of numbers: could not"),
    (("train", "realnvp", "ragged.csv"), "row 2 has 1 columns, the first has 2"),
    (("train", "realnvp", "a.npy", "--steps", "0"), "0 is not in the range 1<=x<=10000000"),
    (("train", "realnvp", "a.npy", "--learning-rate", "0"), "0.0 is not in the range 0<x<=1"),
    (("train", "realnvp", "a.npy", "--learning-rate", "nan"), "nan is not a number"),
    (
        ("train", "realnvp", "a.npy", "--set", "bins=3"),
        "unknown key 'bins' at realnvp; the allowed",
    ),
    (
        ("train", "nsf", "a.npy", "--set", "bin=3"),
        "unknown key 'bin' at nsf (did you mean 'bins'",
    ),
    (("train", "nsf", "a.npy", "--set", "bins"), "--set bins must be KEY=VALUE, such as bins=32"),
    (("train", "nsf", "a.npy", "--set", "bins=x"), "nsf.bins must be a whole number, not 'x'"),
    (("train", "nsf", "a.npy", "--set", "steps=3"), "--set steps=3: write --steps 3"),
    (("train", "nsf", "a.npy", "--set", "bins=3", "--set", "bins=4"), "--set bins stands twice"),
    (("train", "nsf", "a.npy", "--set", "folder=x"), "unknown key 'folder' at nsf"),
    (("train", "nsf", "a.npy", "--set", "noise=1"), "unknown key 'noise' at nsf"),
    (("train", "realnvp", "a.npy", "-o", "b.npy"), "b.npy is a file; name a folder"),
    (("train", "realnvp", "a.npy", "-o", "b.npy/flow"), "b.npy/flow cannot be written to: Not a"),
    (("sample", "vae", "--results", "absent", "-o", "s.npy"), "absent is not a folder; name one"),
    (("run", "--directory", "b.npy"), "b.npy is a file; name a folder for --directory"),
    (("run", "--directory", "b.npy/x"), "b.npy is a file; name a folder for --directory"),
    (("run", "--config", "seeds"), "--config takes key=value with a key at the top level, not"),
    (
        ("run", "--config", "models.vae.steps=3"),
        "top level, not 'models.vae.steps=3'; what is nested",
    ),
    (("run", "--configfile", "mixed"), "mixed is a folder; name a file of YAML for --configfile"),
    (("run", "--configfile", "a.npy"), "a.npy, line 1, is not UTF-8; save the file as UTF-8"),
    (("run", "--configfile", "open.yaml"), "open.yaml, line 2, is not YAML: expected ',' or '}'"),
    (
        ("run", "--configfile", "bare.yaml"),
        "bare.yaml has no keys at the top level, such as models",
    ),
    (
        ("train", "realnvp", "a.npy", "-o", "results/laptop/models/realnvp/seed_0"),
        "results/laptop/models/realnvp/seed_0 has a trained model; replace it with --force",
    ),
    (("show", "absent"), "absent has no tables; run the workflow for that tier first"),
    (("show", "a.npy"), "a.npy has no tables; run the workflow for that tier first"),
    (("show", "bytes"), "bytes/tables/flows.csv cannot be read as a table"),
    (("track", "absent"), "absent is not a folder; name one that is there"),
    (("pages", "tier", "absent", "page"), "absent is not a folder; name one that is there"),
    (("pages", "paper"), "Missing argument 'RESULTS...'"),
    (("pages", "paper", "absent"), "absent has no tables; run the workflow for that tier first"),
    (("pages", "paper", "results/laptop", "--docs", "x"), "x is not a folder; name one that is"),
    (("pages", "config", "--folder", "absent"), "absent/README.md: No such file or directory"),
    (("pages", "commands", "--docs", "absent"), "absent is not a folder; name one that is there"),
    (("completion", "csh"), "'csh' is not one of 'bash', 'zsh', 'fish'"),
    (("pages", "report", "nowhere"), "nowhere is not a folder"),
    (("release", "nowhere", "vae"), "nowhere is not a folder"),
    (("release", "mixed", "vae"), "invocation.json"),
    (("pages", "report", "results/laptop", "--templates", "nowhere"), "nowhere"),
]


@pytest.fixture(scope="module")
def spoiled(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder with files that nothing can be done with."""
    folder = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    points = np.random.default_rng(0).normal(size=(30, 2))
    arrays = {
        "nan": np.where(points == points[3, 1], np.nan, points),
        "huge": 1e200 * points / points[0, 0],
        "large": 1e20 * points,
        "complex": points + 0j,
        "few": points[:3],
        "one": points[:1],
        "empty": points[:0],
        "line": points * [1, 0],
        "space": np.ones((30, 3)),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "other.npz", other=points)
    (folder / "cut.npy").write_bytes((folder / "a.npy").read_bytes()[:200])
    (folder / "cut.png").write_bytes((folder / "image.png").read_bytes()[:300])
    (folder / "text.csv").write_text("x,y\n1,2\n3,me\n", encoding="utf-8")
    (folder / "ragged.csv").write_text("x,y\n1,2\n3\n", encoding="utf-8")
    (folder / "open.yaml").write_text("models: {vae: {steps: 3}\n", encoding="utf-8")
    (folder / "bare.yaml").write_text("# nothing\n", encoding="utf-8")
    (folder / "folder.png").mkdir()
    (folder / "mixed").mkdir()
    grey = np.zeros((28, 28), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "mixed/a.png")
    for name in ("wide.png", "mixed/b.png"):
        Image.fromarray(np.zeros((28, 30), dtype=np.uint8)).save(folder / name)
    Image.fromarray(grey).convert("RGBA").save(folder / "clear.png")
    Image.fromarray(grey.astype(np.uint16)).save(folder / "deep.png")
    (folder / "bytes/tables").mkdir(parents=True)
    (folder / "bytes/tables/flows.csv").write_bytes(b"model\n\xff\xfe\n")
    make_up(folder / "broken", "vae", latent_dim=2, width=2)
    (folder / "broken/model.safetensors").write_bytes(b"short")
    return folder


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "sentence"), WRONG, ids=[" ".join(case[0]) for case in WRONG]
)
def test_a_mistake_gets_one_sentence_and_leaves_everything(
    spoiled: Path, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spoiled)
    before = _files(spoiled)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    *notes, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    assert sentence in last
    # Before it at most which model was found.
    assert all(re.fullmatch(r"\w+: \S+", note) for note in notes)
    assert _files(spoiled) == before


def test_every_command_is_among_those_that_are_misused() -> None:
    shown = set(re.findall(r"^## dgmpipe (\S.*)$", command_pages(), re.M)) - {"pages"}
    misused = {" ".join(arguments) for arguments, _ in WRONG}
    assert all(any(text.startswith(command) for text in misused) for command in shown)


def test_a_folder_without_rights_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, dir: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    # In the place of a folder's rights, which do not keep root out.
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    (folder / "closed").mkdir()
    result = run("sample", "vae", "-o", "closed/s.png")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "closed" in result.stderr
    assert "Permission denied" in result.stderr


def test_a_disk_that_is_full_is_an_error_and_no_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    before = _files(folder)
    result = run("sample", "vae", "-o", "s.npy")
    assert result.exit_code == 2
    assert result.stderr.endswith("error: s.npy: No space left on device\n")
    assert _files(folder) == before


def test_what_is_there_is_replaced_if_asked(folder: Path) -> None:
    assert "64 images" in said("sample", "vae", "-o", "image.png", "--force")
    assert Image.open("image.png").size == (8 * 28, 8 * 28)


def test_a_fault_of_the_code_keeps_its_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "sample", lambda *_, **__: 1 / 0)
    assert isinstance(run("sample", "vae", "-o", "s.png").exception, ZeroDivisionError)


# --- models by name ------------------------------------------------------------------------------


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Released weights, made up."""
    folder = tmp_path / "released"
    for seed in (10, 2):
        make_up(folder / f"vae/seed_{seed}", "vae", latent_dim=2, width=seed)
    monkeypatch.setattr(trained, "RELEASED", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def _width(vae: VAE) -> int:
    return vae.generator.state_dict()["layers.3.weight"].shape[1]


def test_a_released_model_is_found_by_its_name(released: Path) -> None:
    assert _width(load_model("vae")) == 2, "the lowest seed"
    assert _width(load_model("vae/seed_10", VAE)) == 10
    assert _width(dgmpipe.load_model("vae")) == 2
    assert dgmpipe.sample("vae", 3, seed=0).shape == (3, 1, 28, 28)
    result = run("sample", "vae", "-n", "2", "-o", "s.npy")
    assert result.stderr == f"vae: {released}/vae/seed_2\n"


def test_a_tier_comes_before_the_released_models(released: Path) -> None:
    make_up(Path("results/laptop/models/vae/seed_0"), "vae", latent_dim=2, width=4)
    assert _width(load_model("vae")) == 2, "without results a function takes what is released"
    assert _width(load_model("vae", results="results/laptop")) == 4
    assert "results/laptop/models/vae/seed_0" in run("sample", "vae", "-o", "s.npy").stderr
    assert _width(load_model("results/laptop/models/vae")) == 4


def test_a_folder_of_other_things_does_not_hide_a_released_model(released: Path) -> None:
    Path("vae").mkdir()
    Path("vae/notes.txt").write_text("mine", encoding="utf-8")
    assert _width(load_model("vae")) == 2
    make_up(Path("vae"), "vae", latent_dim=2, width=6)
    assert _width(load_model("vae")) == 6


def test_a_name_that_is_not_released_gets_one_sentence(released: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_model("wgan_vae")
    assert str(caught.value) == (
        "no model is released under the name 'wgan_vae'; name one of vae, or the folder of a"
        " trained model, such as results/laptop/models/wgan_vae/seed_0"
    )
    shutil.rmtree(released)
    with pytest.raises(UserError, match="'vae'; name the folder of a trained model, such as"):
        load_model("vae")


# --- the library ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["dgmpipe", "dgmpipe.models", "dgmpipe.data", "dgmpipe.evaluation"]
)
def test_a_package_shows_what_it_has(name: str) -> None:
    package = sys.modules[name] if name in sys.modules else __import__(name, fromlist=["_"])
    assert dir(package) == sorted(package.__all__)
    for content in dir(package):
        assert getattr(package, content).__doc__, content
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        attrgetter("nothing")(package)


def test_each_command_that_uses_a_model_is_a_function() -> None:
    without = {"run", "track", "pages", "completion", "release", "crate", "verify"}
    for command in main.commands.keys() - without:
        assert command.replace("-", "_") in dir(dgmpipe)


GENERATORS = {
    "realnvp": lambda: RealNVP(num_layers=2, width=4),
    "otflow": lambda: OTFlow(width=4, num_steps=2),
    "generator": lambda: Generator(width=2),
    "vae": lambda: VAE(Encoder(width=2), Generator(width=2)),
    "gan": lambda: GAN(Generator(latent_dim=3, width=2), Discriminator(width=2)),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_every_generator_draws_by_a_seed(make: type) -> None:
    model = make().eval()
    shape = (2,) if isinstance(model, Flow) else (1, 28, 28)
    sample = model.sample(3, seed=1)
    assert sample.shape == (3, *shape)
    assert not sample.requires_grad
    assert model.sample(0, seed=1).shape == (0, *shape)
    state = torch.get_rng_state()
    torch.testing.assert_close(model.sample(3, seed=1), sample, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    stream = torch.Generator().manual_seed(1)
    torch.testing.assert_close(model.sample(3, stream), sample, rtol=0, atol=0)
    assert not torch.equal(model.sample(3, seed=2), sample)
    torch.manual_seed(1)
    torch.testing.assert_close(model.sample(3), sample, rtol=0, atol=0)
    for wrong, reason in (
        ({"n": -1}, "n must be at least 0"),
        ({"n": 2.5}, "n must be a whole number"),
        ({"n": 1, "seed": -1}, "seed must be at least 0"),
        ({"n": 1, "seed": "a"}, "seed must be a whole number"),
        ({"n": 1, "seed": 2**63}, "seed must be at most"),
        ({"n": 1, "seed": 1, "generator": stream}, "give a generator or a seed, not both"),
        ({"n": 1, "generator": 7}, "generator must be a torch.Generator"),
    ):
        with pytest.raises(ValueError, match=re.escape(reason)):
            model.sample(**wrong)


def test_functions_take_models_folders_and_say_what_they_cannot_take(folder: Path) -> None:
    vae = load_model("results/laptop/models/vae")
    torch.testing.assert_close(
        dgmpipe.sample("results/laptop/models/vae", 2, seed=0), vae.sample(2, seed=0)
    )
    assert dgmpipe.interpolate(vae.generator, 4).shape == (4, 1, 28, 28)
    with pytest.raises(ValueError, match="model must be a Flow, not a VAE"):
        dgmpipe.likelihood(vae, [[0, 0]])
    with pytest.raises(ValueError, match="'vae' is not a kind of flow; choose one of realnvp"):
        dgmpipe.train("vae", np.load("points.npy"), "mine")
