"""The examples: each runs by its command and prints what the library computes."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dgmpipe.data import MoonsDensity, load_mnist
from dgmpipe.data.batches import to_float
from dgmpipe.data.fetch import MNIST_FILES
from dgmpipe.data.idx import idx_bytes
from dgmpipe.evaluation import energy_test, posterior_grid
from dgmpipe.evaluation.samples import sample_images
from dgmpipe.files import write_json
from dgmpipe.models import load_model
from dgmpipe.models.flow import negative_log_likelihood
from dgmpipe.models.registry import task_class
from dgmpipe.models.storage import save_weights
from workflow_runs import python

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MODELS = {
    "realnvp": {"num_layers": 2, "width": 8},
    "vae": {"latent_dim": 2, "width": 4},
}


def _run(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess:
    return python(folder, ROOT / f"examples/{name}.py", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples read by default, each as small as can be."""
    folder = tmp_path_factory.mktemp("examples")
    models = folder / "results/laptop/models"
    for name, config in MODELS.items():
        torch.manual_seed(0)
        target = models / name / "seed_0"
        save_weights(task_class(name).build(config), target / "model.safetensors")
        write_json({"kind": name, "hyperparameters": config}, target / "summary.json")
    (models / "wgan_vae").symlink_to("vae")
    random = np.random.default_rng(0)
    for name in ("vae", "wgan_vae"):
        target = folder / f"results/laptop/evaluation/{name}/seed_0/samples.npz"
        target.parent.mkdir(parents=True)
        np.savez(target, samples=random.random((20, 28, 28)), interpolation=np.zeros(1))
    data = folder / "results/data/mnist"
    data.mkdir(parents=True)
    for file in MNIST_FILES:
        shape = (40, 28, 28) if "images" in file else (40,)
        (data / file).write_bytes(idx_bytes(random.integers(0, 10, shape, dtype=np.uint8)))
    moons = folder / "results/laptop/data/moons.npz"
    moons.parent.mkdir(parents=True)
    np.savez(moons, latent=np.zeros((9, 2)), samples=random.normal(3, 2, (200, 2)))
    return folder


def _sample_generator(folder: Path) -> str:
    generator = load_model(folder / "results/laptop/models/wgan_vae/seed_0").generator
    images = sample_images(generator, 25, torch.Generator().manual_seed(0))
    return f"25 images of 28x28, mean intensity {images.mean():.3f}"


def _likelihood(folder: Path) -> str:
    x = torch.tensor([[0.0, 1.0]])
    learned = load_model(folder / "results/laptop/models/realnvp/seed_0").log_prob(x).item()
    truth = MoonsDensity(0.05).log_prob(x).item()
    return f"log p(0, 1): flow {learned:.4f}, truth {truth:.4f}"


def _energy_test(folder: Path) -> str:
    samples = [
        np.load(folder / f"results/laptop/evaluation/{name}/seed_0/samples.npz")["samples"]
        for name in ("vae", "wgan_vae")
    ]
    test = energy_test(*samples)
    distance = f"{test.energy_distance:.4f} ± {test.standard_error:.4f}"
    return f"energy distance {distance}, p-value {test.pvalue:.3g}"


def _posterior(folder: Path) -> str:
    images, labels = load_mnist(folder / "results/data/mnist", "t10k")
    vae = load_model(folder / "results/laptop/models/vae/seed_0")
    grid = posterior_grid(vae, to_float(images)[33, 0], resolution=60)
    evidence, mode = f"log p(x) = {grid.log_evidence:.2f}", "({:.2f}, {:.2f})"
    return f"image 33, label {labels[33]}: {evidence}, MAP at {mode.format(*grid.map.tolist())}"


def _train_flow(folder: Path) -> str:
    flow = load_model(folder / "results/examples/flow")
    points = torch.from_numpy(np.load(folder / "results/laptop/data/moons.npz")["samples"]).float()
    after = negative_log_likelihood(flow, points[9::10]).item()
    return f"-> {after:.3f} nats"


# What would take seconds is made smaller.
ARGUMENTS = {"posterior": ["--resolution", "60"], "train_flow": ["--steps", "40"]}
EXPECTED = {
    "sample_generator": _sample_generator,
    "likelihood": _likelihood,
    "energy_test": _energy_test,
    "posterior": _posterior,
    "train_flow": _train_flow,
}


def test_every_example_is_tested_here_and_named_in_the_readme() -> None:
    assert {path.stem for path in EXAMPLES} == set(EXPECTED)
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"examples/(\w+)\.py", text)) == set(EXPECTED)
    for path in EXAMPLES:
        assert f"\n    python examples/{path.name} results/laptop/" in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_prints_what_the_library_computes(folder: Path, name: str) -> None:
    run = _run(folder, name, *ARGUMENTS.get(name, []))
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    assert len(run.stdout.splitlines()) == 1
    assert EXPECTED[name](folder) in run.stdout


def _call(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *arguments: str) -> None:
    """Run an example in this process, which takes no seconds of imports."""
    path = str(ROOT / f"examples/{name}.py")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    runpy.run_path(path, run_name="__main__")


def test_the_picture_has_the_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib.image

    _call(monkeypatch, folder, "sample_generator", "--rows", "2", "--picture", "two.png")
    assert capsys.readouterr().out.startswith("4 images")
    shown = 1 - matplotlib.image.imread(folder / "two.png")[..., 0]
    generator = load_model(folder / "results/laptop/models/wgan_vae/seed_0").generator
    images = sample_images(generator, 4, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(shown[28:, :28], images[2], atol=0.01)


def test_a_trained_flow_is_better_than_before_and_can_be_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _call(monkeypatch, folder, "train_flow", "--steps", "40", "--folder", "trained")
    printed = capsys.readouterr().out
    before, after = map(float, re.search(r"likelihood (\S+) -> (\S+) nats", printed).groups())
    assert after < before - 0.5
    _call(monkeypatch, folder, "likelihood", "trained")
    assert "log p(0, 1)" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXPECTED)
def test_an_empty_folder_gets_one_sentence(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        _call(monkeypatch, tmp_path, name)
    assert capsys.readouterr().out == ""
    # What sys.exit is given goes to standard error, and the status is 1.
    assert re.fullmatch(
        r"error: .*(results/\S+ (is missing|does not exist);|No such file.*results/).*",
        end.value.code,
    )


MODEL = "results/laptop/models/{}/seed_0"


@pytest.mark.parametrize(
    ("name", "argument", "reason"),
    [
        ("likelihood", MODEL.format("vae"), "holds a VAE; name the folder of a Flow"),
        ("posterior", MODEL.format("realnvp"), "holds a RealNVP; name the folder of a VAE"),
        ("sample_generator", MODEL.format("realnvp"), "a RealNVP; name the folder of a VAE or GAN"),
        ("energy_test", "other.npz", "other.npz has no array 'samples', it has other"),
        ("train_flow", "other.npz", "other.npz has no array 'samples', it has other"),
    ],
)
def test_what_an_example_cannot_take_gets_one_sentence(
    folder: Path, name: str, argument: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(folder / "other.npz", other=np.zeros((9, 2)))
    with pytest.raises(SystemExit) as end:
        _call(monkeypatch, folder, name, argument)
    assert reason in end.value.code
    assert "\n" not in end.value.code


WRONG = {
    "train_flow": [
        (["--steps", "-1"], "--steps must be at least 1, not -1"),
        (["--steps", "0"], "--steps must be at least 1, not 0"),
        (["nan.npy"], "nan.npy has points that are NaN or infinite; leave them out"),
        (["inf.npy"], "inf.npy has points that are NaN or infinite; leave them out"),
        (["large.npy"], "the negative log-likelihood is inf nats; scale the points, of which the"),
        (
            ["huge.npy"],
            "points must not include 1e+200, which torch.float32 cannot hold; scale them",
        ),
        (["complex.npy"], "points must be real numbers, not complex128"),
        (["records.npy"], "points must be real numbers, not [('x', '<f8'), ('y', '<f8')]"),
        (["text.npy"], "points must be real numbers, not <U4; convert the text to numbers"),
        (["objects.npy"], "objects.npy is not a whole .npy file of numbers: Object arrays"),
        (["cut.npy"], "cut.npy is not a whole .npy file of numbers: "),
        (["cut.npz"], "cut.npz is not a whole .npz file of numbers: "),
        (["space.npy"], "there must be 20 points (N, 2) or more, not (30, 3)"),
        (["few.npy"], "there must be 20 points (N, 2) or more, not (3, 2)"),
        (["text.csv"], "text.csv is not a whole .csv file of numbers: could not convert string"),
        (["ragged.csv"], "row 2 has 1 columns, the first has 2"),
        (["empty.csv"], "empty.csv is not a whole .csv file of numbers: it has no rows"),
        (["points.txt"], "points.txt must be a .npy, .npz or .csv file"),
        (["absent.csv"], "absent.csv does not exist; name a .npy, .npz or .csv file"),
        (["--folder", "space.npy"], "File exists: 'space.npy'"),
    ],
    "energy_test": [
        (["--permutations", "0"], "num_permutations must be at least 1, not 0"),
        (["nan.npy", "inf.npy"], "x must hold finite numbers up to 1e+150 in magnitude, not nan"),
        (["space.npy", "few.npy"], "the points of x and y must have one shape, not (3,) and (2,)"),
        (["complex.npy", "few.npy"], "x must be real numbers, not complex128"),
        (["text.csv", "few.npy"], "text.csv is not a whole .csv file of numbers"),
    ],
    "sample_generator": [
        (["--picture", "a.docx"], "--picture a.docx must end with one of ."),
        (["--picture", "samples"], "--picture samples must end with one of ."),
        (["--rows", "0"], "--rows must be between 1 and 100, not 0"),
        (["--rows", "-2"], "--rows must be between 1 and 100, not -2"),
        (["--rows", "100000"], "--rows must be between 1 and 100, not 100000"),
        (["--seed", "-1"], "--seed must be between 0 and 2**63 - 1, not -1"),
        (["--seed", "99999999999999999999"], "--seed must be between 0 and 2**63 - 1"),
        (["--picture", "absent/a.png"], "No such file or directory: 'absent/a.png'"),
    ],
    "likelihood": [
        (["--point", "nan", "0"], "points must be numbers, but some are NaN"),
        (["--noise", "0"], "noise must be positive and finite, not 0"),
        (["--noise", "nan"], "noise must be positive and finite, not nan"),
        (["--noise", "1e-200"], "noise must be between 1e-30 and 1e+30, not 1e-200"),
        (["large.npy"], "large.npy is a file; name the folder of a trained model"),
    ],
    "posterior": [
        (["--image", "40"], "there are images 0 to 39, not 40"),
        (["--image", "-1"], "there are images 0 to 39, not -1"),
        (["--resolution", "3"], "resolution must be at least 4, not 3"),
        (["--resolution", "1000000"], "resolution must be at most 5000, not 1000000"),
        (["--data", "absent"], "absent/t10k-images-idx3-ubyte does not exist; fetch the data"),
    ],
}


def _write_wrong_files(folder: Path) -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    records = np.zeros(30, [("x", float), ("y", float)])
    changed = {"nan": np.nan, "inf": np.inf, "huge": 1e200}
    for name, value in changed.items():
        np.save(folder / f"{name}.npy", np.where(np.arange(60).reshape(30, 2) == 7, value, points))
    others = {"large": 1e30 * points, "complex": points + 0j, "records": records}
    others |= {"text": points.astype("U4"), "few": points[:3], "space": np.ones((30, 3))}
    for name, array in others.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "objects.npy", points.astype(object))
    np.savez_compressed(folder / "whole.npz", samples=points)
    (folder / "cut.npy").write_bytes((folder / "large.npy").read_bytes()[:200])
    (folder / "cut.npz").write_bytes((folder / "whole.npz").read_bytes()[:200])
    (folder / "text.csv").write_text("x,y\n1,2\n3,me\n")
    (folder / "ragged.csv").write_text("x,y\n1,2\n3\n")
    (folder / "empty.csv").write_text("x,y\n")
    (folder / "points.txt").write_text("1 2\n")


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [(name, *case) for name, cases in WRONG.items() for case in cases],
)
def test_a_wrong_argument_gets_one_sentence_and_leaves_nothing(
    folder: Path,
    name: str,
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _write_wrong_files(folder)
    before = set(folder.rglob("*.safetensors")) | set(folder.rglob("*.png"))
    arguments = [*arguments, *(["--folder", "new"] if name == "train_flow" else [])]
    if arguments.count("--folder") == 2:
        arguments = arguments[:-2]
    with pytest.raises(SystemExit) as end:
        _call(monkeypatch, folder, name, *arguments)
    assert str(end.value.code).startswith("error: ")
    assert sentence in end.value.code
    assert "\n" not in end.value.code
    assert not capsys.readouterr().out
    assert set(folder.rglob("*.safetensors")) | set(folder.rglob("*.png")) == before


def test_every_kind_of_file_has_the_same_points(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = np.random.default_rng(1).integers(-9, 9, (40, 2)) / 4
    np.save(folder / "plain.npy", points)
    np.save(folder / "big.npy", np.asfortranarray(points.astype(">f4")))
    np.savez(folder / "named.npz", samples=points[::-1][::-1])
    rows = "\n".join(f"{x},{y}" for x, y in points)
    (folder / "plain.csv").write_text(rows)
    (folder / "titled.csv").write_text(f"\ufeffx,y\r\n{rows}\n\n", encoding="utf-8")
    printed = set()
    for file in ("plain.npy", "big.npy", "named.npz", "plain.csv", "titled.csv"):
        _call(monkeypatch, folder, "energy_test", file, "plain.npy", "--permutations", "9")
        _call(monkeypatch, folder, "train_flow", file, "--steps", "2", "--folder", "kinds")
        printed.add(capsys.readouterr().out)
    assert len(printed) == 1


def test_a_point_at_infinity_has_no_likelihood(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _call(monkeypatch, folder, "likelihood", "--point", "inf", "0")
    assert capsys.readouterr().out == "log p(inf, 0): flow -inf, truth -inf\n"
