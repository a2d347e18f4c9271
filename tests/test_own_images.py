"""Images of one's own: read from an archive or a folder, trained on, measured and drawn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dgmpipe.config import read_config
from dgmpipe.config.kinds import KINDS
from dgmpipe.data.datasets import Images, LabelledImages
from dgmpipe.data.images import image_shape, load_images, prepare_images
from dgmpipe.errors import UserError
from dgmpipe.evaluation.energy_report import evaluate_energy
from dgmpipe.evaluation.evidence import evaluate_evidence
from dgmpipe.evaluation.latent import evaluate_latent
from dgmpipe.evaluation.posterior import evaluate_posteriors
from dgmpipe.evaluation.samples import show_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.figures.figure_07 import figure_07
from dgmpipe.figures.figure_08 import figure_08
from dgmpipe.figures.figure_09 import figure_09
from dgmpipe.figures.figure_10 import figure_10
from dgmpipe.figures.style import image_grid, new_figure
from dgmpipe.models.gan import Discriminator
from dgmpipe.models.generator import Generator
from dgmpipe.models.inputs import image_shape_of
from dgmpipe.models.storage import load_model
from dgmpipe.models.vae import Encoder
from dgmpipe.plan.trainings import image_folder
from trainings import train_here
from workflow_runs import NO_MLFLOW, fresh_copy, snakemake

SMALL: dict[str, Any] = {
    "width": 4, "steps": 3, "batch_size": 20, "evaluate_every": 3, "held_out_size": 20,
}  # fmt: skip
GAN = SMALL | {"discriminator_learning_rate": 1e-3, "generator_learning_rate": 1e-3}


def rectangles(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rectangles in red, green or blue, bytes (count, 12, 16, 3), and which it is."""
    random = np.random.default_rng(seed)
    images, colours = np.zeros((count, 12, 16, 3), np.uint8), random.integers(0, 3, count)
    for image, colour in zip(images, colours, strict=True):
        top, left = random.integers(0, 6), random.integers(0, 8)
        image[top : top + 6, left : left + 7, colour] = random.integers(128, 256)
    return images, colours


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "rectangles.npz"
    np.savez(path, train_images=rectangles(80)[0], test_images=rectangles(60, 1)[0])
    return path


@pytest.fixture(scope="module")
def prepared(archive: Path) -> Path:
    folder = archive.parent / "prepared"
    prepare_images(folder, archive=archive)
    return folder


def _pictures(folder: Path, names: list[str], images: np.ndarray) -> None:
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)


def test_an_archive_keeps_its_images(prepared: Path) -> None:
    for split, images in (("train", rectangles(80)[0]), ("t10k", rectangles(60, 1)[0])):
        read, labels = load_images(prepared, split)
        assert labels is None
        assert np.array_equal(read.permute(0, 2, 3, 1), images)
    assert image_shape(prepared) == (3, 12, 16)
    with pytest.raises(ValueError, match="split must be one of"):
        load_images(prepared, "test")


def test_names_of_keras_and_a_channel_of_grey_are_read(tmp_path: Path) -> None:
    x, y = np.arange(5 * 4 * 8, dtype=np.uint8).reshape(5, 4, 8, 1), np.arange(5)[:, None]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    prepare_images(tmp_path, archive=tmp_path / "a.npz")
    images, labels = load_images(tmp_path, "train")
    assert np.array_equal(images, x[..., 0])
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert image_shape(tmp_path) == (1, 4, 8)


def test_pictures_have_the_classes_of_their_folders(tmp_path: Path) -> None:
    images, _ = rectangles(4)
    _pictures(tmp_path / "train", ["cat/1.png", "dog/2.png", "dog/3.PNG"], images[:3])
    _pictures(tmp_path / "test", ["dog/1.png"], images[3:])
    prepare_images(tmp_path / "out", pictures=tmp_path)
    train, labels = load_images(tmp_path / "out", "train")
    assert np.array_equal(train.permute(0, 2, 3, 1), images[:3])
    assert labels is not None
    assert labels.tolist() == [0, 1, 1]
    test_labels = load_images(tmp_path / "out", "t10k")[1]
    assert test_labels is not None
    assert test_labels.tolist() == [1]


def test_pictures_may_be_grey_and_without_classes(tmp_path: Path) -> None:
    images = rectangles(3)[0].max(axis=3)
    _pictures(tmp_path / "train", ["1.png", "2.png"], images[:2])
    _pictures(tmp_path / "test", ["1.png"], images[2:])
    prepare_images(tmp_path / "out", pictures=tmp_path)
    read, labels = load_images(tmp_path / "out", "train")
    assert labels is None
    assert np.array_equal(read, images[:2])


def _good() -> dict[str, np.ndarray]:
    return {"train_images": rectangles(4)[0], "test_images": rectangles(3)[0]}


WRONG: dict[str, tuple[Callable[[], dict[str, np.ndarray]], str]] = {
    "floats": (
        lambda: _good() | {"train_images": np.ones((4, 12, 16, 3))},
        "train images must be bytes from 0 to 255, uint8, not float64",
    ),
    "a side of 13": (
        lambda: _good() | {"test_images": np.ones((3, 13, 16), np.uint8)},
        "test images have 13 rows and 16 columns, which must be multiples of 4",
    ),
    "two channels": (
        lambda: _good() | {"test_images": np.ones((3, 12, 16, 2), np.uint8)},
        r"test images must have shape \(N, H, W\) or \(N, H, W, 3\), not \(3, 12, 16, 2\)",
    ),
    "two sizes": (
        lambda: _good() | {"test_images": np.ones((3, 12, 16), np.uint8)},
        r"training images have shape \(3, 12, 16\), test images \(12, 16\)",
    ),
    "no test images": (
        lambda: {"train_images": rectangles(4)[0]},
        "has no array test_images or x_test",
    ),
    "too few labels": (
        lambda: _good() | {"train_labels": np.arange(3), "test_labels": np.arange(3)},
        "train labels must be 4 whole numbers from 0 to 9",
    ),
    "labels of one part": (
        lambda: _good() | {"train_labels": np.arange(4)},
        "has labels of the training or of the test images alone",
    ),
    "pickled objects": (
        lambda: _good() | {"train_images": np.array([None, 1], object)},
        "cannot be read as an .npz archive",
    ),
}


@pytest.mark.parametrize(("arrays", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_no_archive_of_images_gets_a_sentence(
    arrays: Callable[[], dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    with pytest.raises(UserError, match=reason):
        prepare_images(tmp_path / "out", archive=tmp_path / "a.npz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_file_that_is_no_archive_gets_a_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    if content is None:
        np.save(path.open("wb"), np.ones(3))
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz cannot be read as an \.npz archive"):
        prepare_images(tmp_path / "out", archive=path)


def test_pictures_that_do_not_go_together_get_a_sentence(tmp_path: Path) -> None:
    images, _ = rectangles(3)
    with pytest.raises(UserError, match=r"train has no \.png or \.jpg files"):
        prepare_images(tmp_path / "out", pictures=tmp_path)
    _pictures(tmp_path / "train", ["1.png", "2.png"], images[:2])
    _pictures(tmp_path / "train", ["3.png"], images[2:, :8])
    with pytest.raises(UserError, match=r"3\.png has 16x8 pixels, but .*1\.png has 16x12"):
        prepare_images(tmp_path / "out", pictures=tmp_path)
    (tmp_path / "train/3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png cannot be read as a picture"):
        prepare_images(tmp_path / "out", pictures=tmp_path)
    Image.new("RGBA", (16, 12)).save(tmp_path / "train/3.png")
    with pytest.raises(UserError, match=r"3\.png is a picture of mode RGBA; save it"):
        prepare_images(tmp_path / "out", pictures=tmp_path)
    (tmp_path / "train/3.png").unlink()
    _pictures(tmp_path / "train", ["cat/3.png"], images[2:])
    with pytest.raises(UserError, match="pictures beside the folders of its classes"):
        prepare_images(tmp_path / "out", pictures=tmp_path)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 4, 8), (3, 12, 16), (3, 32, 32)])
def test_networks_fit_images_of_any_shape(shape: tuple[int, int, int]) -> None:
    images = Generator(2, 4, shape)(torch.zeros(2, 2))
    assert images.shape == (2, *shape)
    assert Encoder(5, 4, shape)(images).mean.shape == (2, 5)
    assert Discriminator(4, shape)(images).shape == (2,)
    with pytest.raises(ValueError, match=rf"must have shape \(N, {shape[0]}, {shape[1]},"):
        Discriminator(4, shape)(images[..., 1:])


@pytest.mark.parametrize("shape", [(2, 12, 16), (3, 12, 18), (3, 12), (3, 0, 4), (1, 4.0, 4)])
def test_impossible_shapes_are_refused(shape: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="image_shape must be"):
        image_shape_of({"image_shape": shape})


def test_a_classifier_asks_for_digits(prepared: Path) -> None:
    with pytest.raises(UserError, match="leave it out of the config: `classifier: null`"):
        LabelledImages(prepared)


def test_mnist_adds_nothing_to_a_models_settings(image_folder: Path) -> None:
    assert Images(image_folder).hyperparameters() == {}


def _trained(kind: str, block: dict[str, Any], images: Path, folder: Path) -> Subject:
    settings = KINDS[kind].settings.model_validate({"kind": kind, **block})
    train_here(kind, settings, folder, images=images)
    return Subject(seed=0, settings={}, folder=folder, images=images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dcgan", "wgan", "wgan_gp"])
def test_gans_of_coloured_images_are_trained_and_measured(
    kind: str, prepared: Path, tmp_path: Path
) -> None:
    subject = _trained(kind, GAN, prepared, tmp_path)
    shown = show_images(subject, num_images=9, interpolation_steps=5)["arrays"]
    assert shown["samples"].shape == (9, 3, 12, 16)
    figure_09(rectangles(9)[0].transpose(0, 3, 1, 2) / 255, {"GAN": shown["samples"]})
    figure_10({"GAN": shown["interpolation"]})
    numbers = evaluate_energy(subject, num_images=20, num_permutations=9)["numbers"]
    assert numbers["energy_distance"] > 0


@pytest.mark.slow
def test_a_vae_of_coloured_images_is_trained_and_measured(prepared: Path, tmp_path: Path) -> None:
    subject = _trained("vae", SMALL, prepared, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["hyperparameters"]["image_shape"] == [3, 12, 16]
    vae = load_model(tmp_path)
    x = torch.rand(4, 3, 12, 16)
    assert vae.elbo(x, torch.Generator().manual_seed(0)).shape == (4,)
    posterior = evaluate_posteriors(subject, images=[0, 3], limit=5, resolution=20)["arrays"]
    assert posterior["image"].shape == (2, 3, 12, 16)
    assert "label" not in posterior
    figure_07(posterior)
    latent = evaluate_latent(
        subject, samples_per_image=2, limit=4, resolution=20, num_candidates=50, num_points=9
    )["arrays"]
    assert latent["point_images"].shape == (9, 3, 12, 16)
    figure_08(latent)
    evidence = evaluate_evidence(subject, num_images=5, limit=6, resolution=40, num_samples=50)
    assert "label" not in evidence["table"]
    assert evidence["numbers"]["gap_smallest"] > -1e-3


def test_coloured_images_are_shown_in_their_colours() -> None:
    images = rectangles(3)[0].transpose(0, 3, 1, 2) / 255
    with new_figure(2, 2) as figure:
        picture = np.asarray(image_grid(figure.subplots(), images, 1, 3).get_array())
    assert picture.shape == (12, 3 * 16 + 2 * 2, 3)
    for i, image in enumerate(images):
        assert np.allclose(picture[:, 18 * i : 18 * i + 16], image.transpose(1, 2, 0))


def _config(root: Path, **images: Any) -> dict[str, Any]:
    config = yaml.safe_load((root / "config/smoke.yaml").read_text(encoding="utf-8"))
    config["data"]["images"] = {"name": "mine", **images}
    return config


def test_a_config_has_one_source_of_images(root: Path) -> None:
    both = {"archive": "a.npz", "pictures": "a"}
    with pytest.raises(UserError, match="one of md5, archive and pictures, not archive and pic"):
        read_config(_config(root, **both))
    with pytest.raises(UserError, match="one of md5, archive and pictures, not none"):
        read_config(_config(root))
    missing = read_config(_config(root, archive="nowhere.npz"))
    with pytest.raises(UserError, match=r"data\.images\.archive is 'nowhere\.npz', which cannot"):
        image_folder(missing)


def test_other_content_is_other_data(root: Path, tmp_path: Path) -> None:
    _pictures(tmp_path, ["train/1.png", "test/1.png"], rectangles(2)[0])
    config = read_config(_config(root, pictures=str(tmp_path)))
    folders = {image_folder(config)}
    (tmp_path / "train/1.png").rename(tmp_path / "train/2.png")
    folders.add(image_folder(config))
    (tmp_path / "train/2.png").write_bytes(b"another picture")
    folders.add(image_folder(config))
    assert len(folders) == 3
    assert all(name.startswith("mine-") for name in folders)


@pytest.mark.slowest
def test_a_workflow_of_coloured_images(tmp_path: Path, archive: Path) -> None:
    images = {"name": "rectangles", "md5": None, "archive": str(archive)}
    images["test_clusters"] = {"length": 1, "strata": 1}
    overlay = {
        "tier": "rectangles",
        "data": {"images": images},
        "models": dict.fromkeys(["realnvp", "otflow", "wgan_random", "wgan_vae", "classifier"])
        | {"vae": SMALL, "dcgan_random": None, "dcgan_vae": GAN},
        "evaluation": {
            "posterior": {"images": [3]},
            "energy": {"num_images": 40},
            "transport": {"num_images": 20, "num_larger": 20},
        },
    }
    folder = fresh_copy(tmp_path)
    (folder / "mine.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    run = snakemake(folder, "--configfile", "config/smoke.yaml", "mine.yaml", **NO_MLFLOW)
    assert run.returncode == 0, run.stderr[-3000:]
    results = folder / "results/rectangles"
    for name in ("03_mnist", "07_posterior", "08_latent", "09_samples", "10_interpolation"):
        assert (results / f"figures/figure_{name}.png").exists(), name
    assert "image_shape" in (results / "models/vae/seed_0/summary.json").read_text()
    assert (results / "report.html").exists()
