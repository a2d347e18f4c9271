"""The classifier that judges generated digits, and its training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dgmpipe.data.batches import LabelledBatches, to_float
from dgmpipe.data.made_up import blur, no_digits
from dgmpipe.models.classifier import Classifier, ClassifierTask
from dgmpipe.streams import random_stream
from dgmpipe.training.checkpoint import Checkpoints
from dgmpipe.training.loop import Row, train
from dgmpipe.training.stopwatch import Stopwatch

CONFIG = {"width": 8, "steps": 120, "learning_rate": 0.005}


def _task() -> ClassifierTask:
    torch.manual_seed(5)
    return ClassifierTask(ClassifierTask.build(CONFIG), CONFIG)


def _batches(images: Tensor, labels: Tensor) -> LabelledBatches:
    return LabelledBatches(images, labels, 32, random_stream(0, "batches"))


def _train(images: Tensor, labels: Tensor, folder: Path, task: ClassifierTask) -> list[Row]:
    # The later half is held out.
    half = len(images) // 2
    history, _ = train(
        task,
        _batches(images[:half], labels[:half]),
        (to_float(images[half:]), labels[half:]),
        name="classifier",
        steps=CONFIG["steps"],
        seed=0,
        evaluate_every=60,
        checkpoint_every=50,
        checkpoints=Checkpoints(folder),
        stopwatch=Stopwatch(),
        decay="linear",
    )
    return history


@pytest.mark.parametrize("width", [1, 5])
def test_logits_are_linear_in_the_features(width: int) -> None:
    classifier = Classifier(width).eval()
    x = torch.rand(7, 1, 28, 28)
    features = classifier.features(x)
    assert features.shape == (7, 4 * width)
    assert features.min() >= 0
    assert classifier(x).shape == (7, 11)
    expected = features @ classifier.output.weight.T + classifier.output.bias
    torch.testing.assert_close(classifier(x), expected)


def test_the_gradient_reaches_every_parameter(images: Tensor, labels: Tensor) -> None:
    task = _task()
    task.step(_batches(images, labels), random_stream(0, "noise"))
    for name, parameter in task.model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (2, 3, 28, 28), (2, 1, 28, 27)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must have shape \(N, 1, 28, 28\)"):
        Classifier(1)(torch.zeros(shape))


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        Classifier(0)


def test_a_step_shows_a_quarter_as_many_made_up_images_as_digits(
    images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    task = _task()
    forward = task.model.forward
    monkeypatch.setattr(task.model, "forward", lambda x: seen.append(x) or forward(x))
    batches = _batches(images, labels)
    task.step(batches, random_stream(0, "noise"))
    task.step(batches, random_stream(0, "noise"))
    digits, _ = next(_batches(images, labels))
    assert [len(x) for x in seen] == [40, 40]
    # None is shown as it is: all are varied, from the stream of the training.
    assert all((x.min() >= 0) and (x.max() <= 1) for x in seen)
    assert not any(torch.equal(a, b) for a, b in zip(seen[0], digits, strict=False))


def test_evaluation_counts_hits_and_measures_the_cross_entropy(
    images: Tensor, labels: Tensor
) -> None:
    task = _task()
    task.model.eval()
    x = to_float(images)
    logits = task.model(x)
    # Of 520 images, more than one evaluation holds at once, 13 get another label than the found.
    x, found = x.repeat(3, 1, 1, 1)[:520], logits.argmax(1).repeat(3)[:520]
    held_out = found.clone()
    held_out[:13] = (held_out[:13] + 1) % 10
    merit = task.evaluate((x, held_out), random_stream(0, "evaluation"))
    assert merit["held_out_accuracy"] == pytest.approx(507 / 520)
    expected = F.nll_loss(task.model(x).log_softmax(1), held_out).item()
    assert merit["held_out_cross_entropy"] == pytest.approx(expected, rel=1e-5)
    made = no_digits(x[::2], held_out[::2], noise := random_stream(0, "evaluation"))
    made = torch.cat([made, no_digits(x[1::2], held_out[1::2], noise)])
    rejected = (task.model(made).argmax(1) == Classifier.reject).float().mean().item()
    assert merit["made_up_rejected"] == pytest.approx(rejected)
    # Of images in the order of their classes too, of which 500 may be of one.
    of_two = x[:1].repeat(1000, 1, 1, 1), torch.arange(2).repeat_interleave(500)
    assert 0 <= task.evaluate(of_two, random_stream(0, "evaluation"))["made_up_rejected"] <= 1


def test_training_learns_digits_and_what_is_none(
    images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    task = _task()
    history = _train(images, labels, tmp_path, task)
    assert [row["step"] for row in history] == [0, 60, 120]
    assert history[-1]["loss"] < 0.7 * history[1]["loss"]
    assert history[0]["held_out_accuracy"] < 0.4
    assert history[-1]["held_out_accuracy"] > 0.65
    assert history[-1]["held_out_cross_entropy"] < 0.7 * history[0]["held_out_cross_entropy"]
    assert history[0]["made_up_rejected"] < 0.1
    assert history[-1]["made_up_rejected"] > 0.5
    # Of the test images' later half, which it was not trained on, and of noise in their place.
    digits = to_float(images[len(images) // 2 :])
    noise = torch.rand(digits.shape, generator=random_stream(1, "test"))
    with torch.no_grad():
        rejected = [
            (task.model(x).argmax(1) == Classifier.reject).double().mean().item()
            for x in (digits, blur(digits, 1.3), noise, blur(noise, 1.3))
        ]
    assert max(rejected[:2]) < 0.2
    assert min(rejected[2:]) > 0.95
