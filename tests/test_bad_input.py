"""What users read who give dgmpipe something wrong: one sentence each, word for word.

Mistakes in the config have a table of their own in `test_config.py`.
"""

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dgmpipe.data import MoonsDensity, fetch_mnist, load_mnist, sample_moons
from dgmpipe.data.batches import ImageBatches, LabelledBatches
from dgmpipe.data.idx import idx_bytes
from dgmpipe.data.mnist import evenly_spread
from dgmpipe.errors import UserError
from dgmpipe.evaluation import energy_test, posterior_grid
from dgmpipe.evaluation.flows import density_grid, inverse_error
from dgmpipe.evaluation.posterior import compare_posteriors, elbo
from dgmpipe.evaluation.samples import evaluated_images, interpolate, sample_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.files import write_json
from dgmpipe.jobs.devices import choose_device
from dgmpipe.models import (
    VAE,
    Discriminator,
    Encoder,
    Generator,
    OTFlow,
    RealNVP,
    load_model,
)
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.storage import save_weights
from dgmpipe.statistics.energy import energy_distance
from dgmpipe.training.checkpoint import Checkpoints

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
NOBODY = 65534


def _data(folder: Path) -> Path:
    """A folder with three images, of which the training split alone is needed."""
    (folder / IMAGES).write_bytes(idx_bytes(np.ones((3, 28, 28), np.uint8)))
    (folder / LABELS).write_bytes(idx_bytes(np.array([5, 0, 4], np.uint8)))
    return folder


def _load(file: str, content: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    def act(folder: Path) -> None:
        path = _data(folder) / file
        path.write_bytes(content(path.read_bytes()))
        load_mnist(folder, "train")

    return act


def _fetch(folder: Path) -> None:
    (folder / "mine").mkdir()
    fetch_mnist(folder / "data", md5=dict.fromkeys(_MD5, "0" * 32), folder=folder / "mine")


def _fetch_other(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / IMAGES).write_bytes(b"other")
    for name in set(_MD5) - {IMAGES}:
        (folder / "mine" / name).write_bytes(b"")
    nothing = "d41d8cd98f00b204e9800998ecf8427e"
    md5 = dict.fromkeys(_MD5, nothing) | {IMAGES: "0" * 32}
    fetch_mnist(folder / "data", md5=md5, folder=folder / "mine")


_MD5 = (IMAGES, LABELS, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

DATA = {
    "a file that is not there": (
        lambda folder: load_mnist(folder, "train"),
        f"<folder>/{IMAGES} does not exist; fetch the data first",
    ),
    "an empty file": (
        _load(IMAGES, lambda whole: b""),
        f"<folder>/{IMAGES} is empty; fetch it again",
    ),
    "a file that is cut off": (
        _load(LABELS, lambda whole: whole[:-1]),
        f"<folder>/{LABELS} is cut off: 2 bytes follow its header where its shape (3,) asks for 3;"
        " fetch it again",
    ),
    "a file that is cut off within its header": (
        _load(LABELS, lambda whole: whole[:6]),
        f"<folder>/{LABELS} is cut off within its header; fetch it again",
    ),
    "a wrong magic number": (
        _load(LABELS, lambda whole: b"\0\0\x0d\x01" + whole[4:]),
        f"<folder>/{LABELS} is not an IDX file of labels (2049) or images (2051): it starts with"
        " 3329; give the uncompressed file",
    ),
    "a file that is still compressed": (
        _load(LABELS, lambda whole: b"\x1f\x8b" + whole),
        f"<folder>/{LABELS} is not an IDX file of labels (2049) or images (2051): it starts with"
        " 529203200; give the uncompressed file",
    ),
    "labels for other images": (
        _load(LABELS, lambda whole: idx_bytes(np.zeros(2, np.uint8))),
        f"<folder>/{LABELS} must hold a label for each of the 3 images beside it, but its shape"
        " is (2,); fetch the data again",
    ),
    "images of another size": (
        _load(IMAGES, lambda whole: idx_bytes(np.zeros((3, 32, 32), np.uint8))),
        f"<folder>/{IMAGES} must hold images of 28x28 pixels, but its shape is (3, 32, 32);"
        " fetch the data again",
    ),
    "labels that are no digits": (
        _load(LABELS, lambda whole: idx_bytes(np.full(3, 10, np.uint8))),
        f"<folder>/{LABELS} must hold labels from 0 to 9, but one is 10; fetch the data again",
    ),
    "a folder without files": (
        _fetch,
        f"<folder>/mine: {IMAGES}: neither it nor {IMAGES}.gz is there",
    ),
    "a folder that is not there": (
        lambda folder: fetch_mnist(
            folder / "data", md5=dict.fromkeys(_MD5, "0" * 32), folder=folder / "mine"
        ),
        f"<folder>/mine: {IMAGES}: there is no such folder",
    ),
    "a wrong checksum": (_fetch_other, "795f3202b17cb6bc3d4b771d8c6c9eaf"),
    "more test images than there are": (
        lambda folder: evenly_spread(11, 10),
        "the config asks for 11 test images, but there are 10; lower the number",
    ),
    "more training images than there are": (
        lambda folder: evaluated_images(Subject(seed=0, settings={}, images=_data(folder)), 4),
        "the config asks for 4 training images, but there are 3; lower the number",
    ),
    "a test image that is not there": (
        lambda folder: compare_posteriors(
            VAE(Encoder(), Generator()).eval(),
            torch.zeros(3, 28, 28, dtype=torch.uint8),
            torch.zeros(3),
            [0, 3],
            limit=5,
            resolution=10,
        ),
        "the config asks for test image 3, but they go from 0 to 2; choose one of these",
    ),
}


def _trained(folder: Path) -> Path:
    """A folder with a small VAE as a training leaves it."""
    hyperparameters = {"latent_dim": 2, "width": 4}
    write_json({"kind": "vae", "hyperparameters": hyperparameters}, folder / "summary.json")
    save_weights(VAE(Encoder(2, 4), Generator(2, 4)), folder / "model.safetensors")
    return folder


def _load_damaged(damage: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def act(folder: Path) -> None:
        load_model(_trained(folder))
        damage(folder)
        load_model(folder)

    return act


def _change_weights(change: Callable[[dict], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


_WEIGHTS = "<folder>/model.safetensors"
WEIGHTS = {
    "no model": (load_model, "<folder>/summary.json is missing; train the model first"),
    "no weights": (
        _load_damaged(lambda folder: (folder / "model.safetensors").unlink()),
        f"{_WEIGHTS} is missing; train the model first",
    ),
    "a summary that is cut off": (
        _load_damaged(lambda folder: (folder / "summary.json").write_text('{"kind": "vae')),
        "<folder>/summary.json does not describe a model: Unterminated string starting at",
    ),
    "an unknown kind": (
        _load_damaged(lambda folder: write_json({"kind": "unet"}, folder / "summary.json")),
        "<folder>/summary.json does not describe a model: ",
    ),
    "an empty file": (
        _load_damaged(lambda folder: (folder / "model.safetensors").write_bytes(b"")),
        f"{_WEIGHTS} is not a whole safetensors file: ",
    ),
    "a file that is cut off": (
        _load_damaged(lambda folder: os.truncate(folder / "model.safetensors", 5000)),
        f"{_WEIGHTS} is not a whole safetensors file: ",
    ),
    "a pickle under that name": (
        _load_damaged(
            lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
        ),
        f"{_WEIGHTS} is not a whole safetensors file: ",
    ),
    "a tensor that is missing": (
        _load_damaged(_change_weights(lambda state: state.pop("encoder.mean.bias"))),
        f"{_WEIGHTS} does not fit the model of <folder>/summary.json: tensor encoder.mean.bias"
        " should have shape (2,) and has none",
    ),
    "a tensor too many": (
        _load_damaged(_change_weights(lambda state: state.update(extra=torch.zeros(1)))),
        f"{_WEIGHTS} does not fit the model of <folder>/summary.json: tensor extra should have"
        " shape none and has (1,)",
    ),
    "a tensor of another shape": (
        _load_damaged(
            _change_weights(lambda state: state.update({"encoder.mean.bias": torch.zeros(3)}))
        ),
        f"{_WEIGHTS} does not fit the model of <folder>/summary.json: tensor encoder.mean.bias"
        " should have shape (2,) and has (3,)",
    ),
    "weights of another width": (
        _load_damaged(
            lambda folder: save_weights(
                VAE(Encoder(2, 8), Generator(2, 8)), folder / "model.safetensors"
            )
        ),
        f"{_WEIGHTS} does not fit the model of <folder>/summary.json: tensor encoder.features.0"
        ".bias should have shape (4,) and has (8,)",
    ),
}

WEIGHTS |= {
    "a summary without a kind": (
        _load_damaged(lambda folder: write_json({}, folder / "summary.json")),
        "<folder>/summary.json does not describe a model: it has no 'kind'",
    ),
    "a width that no tensor has": (
        _load_damaged(
            lambda folder: write_json(
                {"kind": "realnvp", "hyperparameters": {"num_layers": 2, "width": 10**30}},
                folder / "summary.json",
            )
        ),
        "<folder>/summary.json does not describe a model: ",
    ),
    "a folder below a file": (
        lambda folder: load_model(Path("/dev/null/models")),
        "/dev/null/models/summary.json does not describe a model: [Errno 20]",
    ),
    "weights that are NaN": (
        _load_damaged(
            _change_weights(
                lambda state: [t.mul_(torch.nan) for t in state.values() if t.is_floating_point()]
            )
        ),
        f"{_WEIGHTS} has weights that are not finite, in tensor encoder.features.0.",
    ),
    "one weight that is infinite": (
        _load_damaged(
            _change_weights(lambda state: state["encoder.mean.bias"].data[1:].fill_(torch.inf))
        ),
        f"{_WEIGHTS} has weights that are not finite, in tensor encoder.mean.bias; train",
    ),
    "a weight that float32 cannot hold": (
        _load_damaged(
            _change_weights(
                lambda state: state.update(
                    {"encoder.mean.bias": torch.tensor([1.0, 1e300], dtype=torch.float64)}
                )
            )
        ),
        f"{_WEIGHTS} has weights that are not finite, in tensor encoder.mean.bias; train",
    ),
    **{
        f"weights that are {dtype}": (
            _load_damaged(
                _change_weights(
                    lambda state, dtype=dtype: state.update(
                        {"encoder.mean.bias": torch.ones(2, dtype=dtype)}
                    )
                )
            ),
            f"{_WEIGHTS} does not fit the model of <folder>/summary.json: tensor encoder.mean.bias"
            f" should be of torch.float32 and is of {dtype}",
        )
        for dtype in (torch.int64, torch.complex64, torch.bool)
    },
    "a file of another name": (
        lambda folder: load_model(_trained(folder) / "summary.json"),
        "<folder>/summary.json is a file; name the folder of a trained model",
    ),
    "a width that no memory holds": (
        _load_damaged(
            lambda folder: write_json(
                {"model": "vae", "hyperparameters": {"latent_dim": 2, "width": 10**9}},
                folder / "summary.json",
            )
        ),
        "<folder>/summary.json does not describe a model: ",
    ),
}

_MODEL = VAE(Encoder(), Generator()).eval()
_ONE = torch.zeros(1, 1, 28, 28)
_FLOW = RealNVP()
_STREAM = torch.Generator()
_PLAIN = "images must have shape (N, 1, 28, 28), not (3, 28, 28)"
_FLOAT64 = (
    "are torch.float64 on cpu, but the model's parameters are torch.float32 on cpu;"
    " convert one to the other"
)
_META = (
    "are torch.float32 on meta, but the model's parameters are torch.float32 on cpu;"
    " convert one to the other"
)

ARGUMENTS = {
    "no moons": (lambda: sample_moons(0, 0.05, _STREAM), "n must be at least 1, not 0"),
    "moons with negative noise": (
        lambda: sample_moons(5, -0.1, _STREAM),
        "noise must be positive and finite, not -0.1",
    ),
    "density with NaN for noise": (
        lambda: MoonsDensity(float("nan")),
        "noise must be positive and finite, not nan",
    ),
    "density of points in space": (
        lambda: MoonsDensity(0.05).log_prob(torch.zeros(4, 3)),
        "points must have shape (N, 2), not (4, 3)",
    ),
    "density at NaN": (
        lambda: MoonsDensity(0.05).log_prob(torch.full((4, 2), torch.nan)),
        "points must be numbers, but some are NaN",
    ),
    "flow without layers": (
        lambda: RealNVP(0),
        "num_layers must be at least 1, not 0",
    ),
    "flow of width 0": (
        lambda: OTFlow(0),
        "width must be at least 1, not 0",
    ),
    "flow of points in space": (
        lambda: _FLOW.log_prob(torch.zeros(4, 3)),
        "points must have shape (N, 2), not (4, 3)",
    ),
    "flow of one point without a batch": (
        lambda: OTFlow().inverse(torch.zeros(2)),
        "points must have shape (N, 2), not (2,)",
    ),
    "flow of text": (
        lambda: _FLOW.log_prob("a flow"),
        "points must be real numbers, not <U6; convert the text to numbers",
    ),
    "flow in another precision": (
        lambda: _FLOW.log_prob(torch.zeros(4, 2).double()),
        f"points {_FLOAT64}",
    ),
    "flow on another device": (
        lambda: _FLOW(torch.zeros(4, 2, device="meta")),
        f"points {_META}",
    ),
    "less than no samples": (lambda: _FLOW.sample(-1), "n must be at least 0, not -1"),
    "steps of a flow that has none": (
        lambda: inverse_error(_FLOW, torch.randn(4, 2), num_steps=4),
        "num_steps is for an OTFlow, not for a RealNVP",
    ),
    "axes that are grids": (
        lambda: density_grid(_FLOW, torch.zeros(3, 3), torch.zeros(3)),
        "the axes must be one-dimensional, not of shapes (3, 3) and (3,)",
    ),
    "generator without a latent space": (
        lambda: Generator(0),
        "latent_dim must be at least 1, not 0",
    ),
    "latent points of another dimension": (
        lambda: Generator()(torch.zeros(4, 3)),
        "latent points must have shape (N, 2), not (4, 3)",
    ),
    "latent points that are whole numbers": (
        lambda: Generator()(torch.zeros(4, 2, dtype=torch.long)),
        "latent points are torch.int64 on cpu, but the model's parameters are torch.float32 on"
        " cpu; convert one to the other",
    ),
    "images without a channel for the encoder": (
        lambda: Encoder()(torch.zeros(3, 28, 28)),
        _PLAIN,
    ),
    "images without a channel for the discriminator": (
        lambda: Discriminator()(torch.zeros(3, 28, 28)),
        _PLAIN,
    ),
    "images without a channel for the classifier": (
        lambda: Classifier().eval()(torch.zeros(3, 28, 28)),
        _PLAIN,
    ),
    "images on another device": (
        lambda: Discriminator()(torch.zeros(3, 1, 28, 28, device="meta")),
        f"images {_META}",
    ),
    "images and latent points that do not go together": (
        lambda: _MODEL.log_joint(torch.zeros(3, 2), torch.zeros(4, 1, 28, 28)),
        "3 latent points do not go with 4 images",
    ),
    "discriminator of width 0": (lambda: Discriminator(0), "width must be at least 1, not 0"),
    "posterior of a small image": (
        lambda: posterior_grid(_MODEL, torch.zeros(8, 8)),
        "the image must have shape (28, 28), not (8, 8)",
    ),
    "posterior of an image with NaN": (
        lambda: posterior_grid(_MODEL, torch.full((28, 28), torch.nan)),
        "images must hold intensities in [0, 1]; divide bytes by 255",
    ),
    "bound of an image of bytes": (
        lambda: elbo(_MODEL, 255 * (_ONE + 1)),
        "images must hold intensities in [0, 1]; divide bytes by 255",
    ),
    "posterior on a grid that is too coarse": (
        lambda: posterior_grid(_MODEL, _ONE[0, 0], resolution=3),
        "resolution must be at least 4, not 3",
    ),
    "posterior of a model with another latent space": (
        lambda: posterior_grid(VAE(Encoder(3), Generator(3)), _ONE[0, 0]),
        "quadrature needs a two-dimensional latent space, and this model's has dimension 3",
    ),
    "energy test of nothing": (
        lambda: energy_test(torch.zeros(0, 2), torch.zeros(4, 2)),
        "x must hold at least one point, not torch.float32 of shape (0, 2) on cpu",
    ),
    "energy test with NaN": (
        lambda: energy_test(torch.zeros(4, 2), torch.full((4, 2), torch.nan)),
        "y must hold finite numbers up to 1e+150 in magnitude, not nan",
    ),
    "energy test of two dimensions": (
        lambda: energy_test(torch.zeros(4, 2), torch.zeros(4, 3)),
        "the points of x and y must have one shape, not (2,) and (3,)",
    ),
    "energy test without permutations": (
        lambda: energy_test(torch.zeros(4, 2), torch.ones(4, 2), num_permutations=0),
        "num_permutations must be at least 1, not 0",
    ),
    "energy distance of one point": (
        lambda: energy_distance(torch.zeros(1, 2), torch.zeros(4, 2)),
        "the unbiased estimate needs at least 2 points of each sample, not 1",
    ),
    "batches larger than the data": (
        lambda: ImageBatches(torch.zeros(3, 28, 28, dtype=torch.uint8), 4, _STREAM),
        "batch_size must be between 1 and the 3 data, not 4",
    ),
    "labels of other images": (
        lambda: LabelledBatches(
            torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(2), 2, _STREAM
        ),
        "there must be a label for each of the 3 images, but the labels have shape (2,)",
    ),
    "no images": (
        lambda: sample_images(_MODEL.generator, 0, _STREAM),
        "n must be at least 1, not 0",
    ),
    "a line without points": (
        lambda: interpolate(_MODEL.generator, 0),
        "steps must be at least 1, not 0",
    ),
    "an unknown split": (
        lambda: load_mnist("results", "test"),
        "split must be one of train, t10k, not 'test'",
    ),
}


def _sentence(error: BaseException, folder: Path) -> str:
    message = str(error).replace(str(folder), "<folder>")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("act", "sentence"), DATA.values(), ids=DATA)
def test_bad_data(tmp_path: Path, act: Callable[[Path], Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        act(tmp_path)
    # What cannot be fetched is told with a line for each source.
    assert sentence in str(caught.value).replace(str(tmp_path), "<folder>")


@pytest.mark.parametrize(("act", "sentence"), WEIGHTS.values(), ids=WEIGHTS)
def test_bad_weights(tmp_path: Path, act: Callable[[Path], Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        act(tmp_path)
    assert _sentence(caught.value, tmp_path).startswith(sentence)


def test_a_model_is_loaded_from_its_folder_or_its_weights_and_draws_nothing(tmp_path: Path) -> None:
    _trained(tmp_path)
    before = torch.get_rng_state()
    one, other = load_model(tmp_path), load_model(str(tmp_path / "model.safetensors"))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize(("act", "sentence"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_bad_arguments(tmp_path: Path, act: Callable[[], Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        act()
    assert _sentence(caught.value, tmp_path) == sentence


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:7", "tpu"])
def test_a_device_that_is_not_there(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.device_count() > 7 * (name == "cuda:7"):
        pytest.skip(f"this machine has a device {name}")
    with pytest.raises(UserError) as caught:
        choose_device(name)
    assert str(caught.value) == (
        f"device '{name}' in the config cannot be used on this machine;"
        " choose auto, cpu, cuda, cuda:N or mps"
    )


def test_without_apple_silicon_its_gpu_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as caught:
        choose_device("mps")
    assert str(caught.value) == (
        "device 'mps' in the config is the GPU of Apple silicon, which this machine has not or"
        " this PyTorch cannot use; choose auto or cpu"
    )


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_weights(Generator(), path),
        lambda path: write_json({"a": 1}, path),
        lambda path: Checkpoints(path.parent).save(1, {"a": 1}),
    ],
    ids=["weights", "JSON", "checkpoint"],
)
def test_a_full_disk_is_named_with_the_file(
    tmp_path: Path, write: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is written to a temporary file first: here one that leads to a full device."""

    def on_a_full_disk(dir: Path, prefix: str, suffix: str) -> tuple[int, str]:
        temporary = Path(dir, f"{prefix}full{suffix}")
        temporary.symlink_to("/dev/full")
        return os.open(os.devnull, os.O_RDWR), str(temporary)

    monkeypatch.setattr("tempfile.mkstemp", on_a_full_disk)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(tmp_path / "step_000000001.ckpt")
    assert caught.value.filename == str(tmp_path / "step_000000001.ckpt")
    assert not list(tmp_path.iterdir())


def _job(folder: Path, work: str) -> subprocess.CompletedProcess:
    """Run work in the frame of a job, and return its log as the standard output."""
    script = (
        f"from dgmpipe.jobs.job import job\nwith job('log', 1):\n{textwrap.indent(work, '    ')}"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    run.stdout = (folder / "log").read_text()
    return run


@pytest.mark.slow
def test_a_job_ends_with_the_sentence_and_no_traceback(tmp_path: Path) -> None:
    run = _job(tmp_path, "from dgmpipe.models import load_model\nload_model('absent/model')")
    assert run.returncode == 1
    assert run.stdout == "error: absent/model/summary.json is missing; train the model first\n"


def test_a_job_on_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    run = _job(tmp_path, "open('/dev/full', 'w').write('x' * 10**6)")
    assert run.returncode == 1
    assert run.stdout.startswith("error: No space left on device: ")
    assert run.stdout.endswith("; make room and run the same command again\n")
    assert len(run.stdout.splitlines()) == 1


def test_an_error_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    run = _job(tmp_path, "raise KeyError('a mistake of the program')")
    assert run.returncode == 1
    assert "Traceback" in run.stdout


@contextmanager
def _without_rights() -> Iterator[None]:
    """Be another user than root, whom no permission holds back."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_files_without_rights_are_named(tmp_path: Path) -> None:
    _data(tmp_path)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path(parent.anchor):
            parent.chmod(0o755)
    (tmp_path / LABELS).chmod(0)
    with _without_rights(), pytest.raises(PermissionError) as caught:
        load_mnist(tmp_path, "train")
    assert caught.value.filename == str(tmp_path / LABELS)


def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with _without_rights(), pytest.raises(PermissionError) as caught:
        write_json({}, tmp_path / "summary.json")
    assert str(tmp_path) in caught.value.filename
