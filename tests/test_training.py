import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dgmpipe.data.batches import ImageBatches, MoonsBatches
from dgmpipe.errors import Interrupted, UserError
from dgmpipe.jobs.devices import choose_device
from dgmpipe.jobs.progress import Progress
from dgmpipe.models.task import Task
from dgmpipe.streams import random_stream, stream_seed
from dgmpipe.training.checkpoint import Checkpoints
from dgmpipe.training.loop import snapshot_steps, train
from dgmpipe.training.options import DECAYS, Average, Rates
from dgmpipe.training.stopwatch import Stopwatch


class _Line(Task):
    """Fits a line to moons: small, with momentum, dropout-like noise and batch norm."""

    @staticmethod
    def build(config: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def __init__(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        self.model = model
        self.optimizers = {"adam": torch.optim.Adam(model.parameters(), lr=0.01)}
        self.steps_taken = 0
        self.breaks_at = config.get("breaks_at", math.inf)
        self.stops_at = config.get("stops_at", math.inf)
        self.spoils_at = config.get("spoils_at", math.inf)

    def step(self, batches: Iterator[Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        self.steps_taken += 1
        if self.steps_taken == self.stops_at:
            os.kill(os.getpid(), signal.SIGTERM)
        x = next(batches)
        x = x + 0.1 * torch.randn(x.shape, generator=noise)
        loss = self.model(x).square().mean() + (self.model[0].weight.norm() - 1).square()
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        if self.steps_taken == self.spoils_at:
            self.model[0].weight.data[0, 0] = math.inf
        factor = math.nan if self.steps_taken == self.breaks_at else 1.0
        return {"loss": loss.detach() * factor, "other": loss.detach() + 1}

    def evaluate(self, held_out: Tensor, noise: torch.Generator) -> dict[str, float]:
        draw = torch.randn(1, generator=noise).item()
        return {"merit": self.model(held_out).mean().item(), "draw": draw}

    def snapshot(self, noise: torch.Generator) -> Tensor:
        return self.model(torch.randn(3, 2, generator=noise))


def _run(folder: Path, config: Mapping[str, Any] | None = None, **changes: Any) -> tuple:
    torch.manual_seed(0)
    task = _Line(_Line.build({}), config or {})
    batches = MoonsBatches(0.05, 16, random_stream(0, "batches"), torch.device("cpu"))
    settings = {
        "name": "line", "steps": 130, "seed": 0, "evaluate_every": 40, "checkpoint_every": 30,
    } | changes  # fmt: skip
    settings.setdefault("stopwatch", Stopwatch())
    history, snapshots = train(
        task, batches, torch.ones(5, 2), checkpoints=Checkpoints(folder), **settings
    )
    return task.model.state_dict(), history, snapshots


def _same(one: tuple, other: tuple) -> bool:
    return (
        one[1] == other[1]
        and all(torch.equal(one[0][k], other[0][k]) for k in one[0])
        and all(torch.equal(one[2][k], other[2][k]) for k in one[2].keys() | other[2].keys())
    )


def test_history_has_a_row_an_evaluation(tmp_path: Path) -> None:
    _, history, _ = _run(tmp_path)
    assert [row["step"] for row in history] == [0, 40, 80, 120, 130]
    assert set(history[0]) == {"step", "merit", "draw"}
    assert set(history[1]) == {"step", "loss", "other", "merit", "draw"}
    assert all(row["other"] == pytest.approx(row["loss"] + 1) for row in history[1:])
    # The noise of evaluations starts at the same place every time.
    assert len({row["draw"] for row in history}) == 1


def test_losses_are_means_since_the_row_before(tmp_path: Path) -> None:
    _, coarse, _ = _run(tmp_path / "a", evaluate_every=130)
    _, fine, _ = _run(tmp_path / "b", evaluate_every=65)
    mean = (fine[1]["loss"] + fine[2]["loss"]) / 2
    assert coarse[1]["loss"] == pytest.approx(mean, rel=1e-12)


def test_same_seed_same_result_other_seed_another(tmp_path: Path) -> None:
    assert _same(_run(tmp_path / "a"), _run(tmp_path / "b"))
    assert not _same(_run(tmp_path / "a2"), _run(tmp_path / "b2", seed=1))


ALL_OPTIONS = {"decay": "cosine", "average": 0.95, "snapshots_at": [0, 3, 77, 130]}


@pytest.mark.parametrize("stops_at", [2, 31, 77, 129])
def test_with_all_options_a_stopped_training_continues_to_the_same_result(
    tmp_path: Path, stops_at: int
) -> None:
    undisturbed = _run(tmp_path / "a", **ALL_OPTIONS)
    assert list(undisturbed[2]) == [0, 3, 77, 130]
    with pytest.raises(Interrupted):
        _run(tmp_path / "b", {"stops_at": stops_at}, **ALL_OPTIONS)
    assert _same(_run(tmp_path / "b", **ALL_OPTIONS), undisturbed)


def test_learning_rates_fall_as_the_option_says() -> None:
    optimizers = [torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate) for rate in (1.0, 0.5)]
    seen = {}
    for decay in DECAYS:
        rates = Rates(optimizers, decay, steps=4)
        seen[decay] = []
        for step in range(4):
            rates.set_for(step)
            seen[decay].append(optimizers[1].param_groups[0]["lr"])
        rates.set_for(0)
    assert seen["none"] == [0.5] * 4
    assert seen["linear"] == [0.5, 0.375, 0.25, 0.125]
    assert seen["cosine"] == pytest.approx(
        [0.25 * (1 + math.cos(k * math.pi / 4)) for k in range(4)]
    )


def test_the_average_is_the_one_of_its_formula_and_is_what_is_evaluated_and_kept() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = Average(model, 0.9)
    expected = {name: t.clone() for name, t in model.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for tensor in (*model.parameters(), model[1].running_mean):
                tensor.add_(torch.randn(tensor.shape))
        average.update(step)
        live = {name: t.clone() for name, t in model.state_dict().items()}
        decay = min(0.9, (1 + step) / (10 + step))
        expected = {
            name: torch.lerp(expected[name], tensor, 1 - decay)
            for name, tensor in live.items()
            if tensor.is_floating_point()
        }
    with average.in_place():
        for name, tensor in expected.items():
            torch.testing.assert_close(model.state_dict()[name], tensor)
    for name, tensor in live.items():
        assert torch.equal(model.state_dict()[name], tensor)
    average.keep()
    for name, tensor in expected.items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_a_training_with_an_average_evaluates_it_and_returns_it(tmp_path: Path) -> None:
    plain, with_average = _run(tmp_path / "a"), _run(tmp_path / "b", average=0.9)
    assert with_average[1][1]["loss"] == plain[1][1]["loss"]
    assert with_average[1][1]["merit"] != plain[1][1]["merit"]
    assert not torch.equal(with_average[0]["0.weight"], plain[0]["0.weight"])


def test_in_bfloat16_the_steps_round_and_the_weights_stay_float32(tmp_path: Path) -> None:
    plain, rounded = _run(tmp_path / "a"), _run(tmp_path / "b", precision=torch.bfloat16)
    assert rounded[0]["0.weight"].dtype == torch.float32
    assert rounded[1][-1]["loss"] != plain[1][-1]["loss"]
    assert rounded[1][-1]["loss"] == pytest.approx(plain[1][-1]["loss"], abs=0.05)


def test_snapshots_lie_closer_at_the_start() -> None:
    assert snapshot_steps(100, 5) == [0, 4, 16, 36, 64, 100]
    assert snapshot_steps(3, 20) == [0, 1, 2, 3]
    assert snapshot_steps(100, 0) == []


@pytest.mark.parametrize("stops_at", [1, 29, 30, 31, 40, 77, 129, 130])
def test_a_stopped_training_continues_to_the_same_result(tmp_path: Path, stops_at: int) -> None:
    undisturbed = _run(tmp_path / "a")
    with pytest.raises(Interrupted, match=f"after step {stops_at}"):
        _run(tmp_path / "b", {"stops_at": stops_at})
    assert _same(_run(tmp_path / "b"), undisturbed)


def test_a_training_stopped_again_and_again_comes_to_the_same_result(tmp_path: Path) -> None:
    undisturbed = _run(tmp_path / "a")
    for _ in range(7):
        with pytest.raises(Interrupted):
            _run(tmp_path / "b", {"stops_at": 17})
    assert _same(_run(tmp_path / "b"), undisturbed)


def test_the_parts_of_a_training_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, plain_step = [], _Line.step
    monkeypatch.setattr(_Line, "step", lambda *args: (steps.append(0), plain_step(*args))[1])
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + len(steps))
    monkeypatch.setattr(time, "process_time", lambda: 2.0 * len(steps))
    for _ in range(2):
        with pytest.raises(Interrupted):
            _run(tmp_path, {"stops_at": 50})
    stopwatch = Stopwatch()
    _run(tmp_path, stopwatch=stopwatch)
    assert stopwatch.read() == {"seconds": 130, "processor_seconds": 260, "parts": 3}


def test_a_loss_that_is_not_finite_stops_with_step_and_values(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        _run(tmp_path, {"breaks_at": 67})
    message = str(error.value)
    assert message.startswith("line: loss is nan, other is")
    assert "at step 67" in message
    assert str(tmp_path / "step_000000060.ckpt") in message
    assert Checkpoints(tmp_path).load_latest()["step"] == 60


@pytest.mark.parametrize(("at", "why"), [(60, "to be saved"), (80, "to be evaluated")])
def test_weights_that_are_not_finite_are_neither_saved_nor_evaluated(
    at: int, why: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"^line: a weight is not finite at step {at}; lower"):
        _run(tmp_path, {"spoils_at": at})
    assert Checkpoints(tmp_path).load_latest()["step"] < at, why


def test_rows_are_reported_as_they_are_made(tmp_path: Path) -> None:
    rows = []
    _, history, _ = _run(tmp_path, on_evaluation=rows.append)
    assert rows == history


def test_rows_from_before_an_interruption_are_reported_again(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _run(tmp_path, {"stops_at": 90})
    rows = []
    _, history, _ = _run(tmp_path, on_evaluation=rows.append)
    assert rows == history


def test_denormals_are_zero_as_long_as_a_training_lasts(tmp_path: Path) -> None:
    def flushed() -> bool:
        return bool(torch.tensor(1e-39) * 1 == 0)

    seen = []
    assert not flushed()
    _run(tmp_path, on_evaluation=lambda _: seen.append(flushed()))
    assert seen == [True] * 5
    assert not flushed()


def test_image_batches_pass_through_each_epoch_once() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1).expand(10, 28, 28)
    batches = ImageBatches(images, 3, random_stream(0, "batches"))
    drawn = [(next(batches) * 255).round()[:, 0, 0, 0].tolist() for _ in range(30)]
    epochs = [[i for batch in drawn[k : k + 3] for i in batch] for k in range(0, 30, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert {value for epoch in epochs for value in epoch} == set(range(10))


@pytest.mark.parametrize("position", [0, 1, 3, 4, 10])
def test_image_batches_continue_where_they_were(position: int) -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1).expand(10, 28, 28)
    batches = ImageBatches(images, 3, random_stream(0, "batches"))
    for _ in range(position):
        next(batches)
    state = batches.state_dict()
    again = ImageBatches(images, 3, random_stream(5, "another"))
    again.load_state_dict(state)
    for _ in range(8):
        assert torch.equal(next(batches), next(again))


def test_image_batches_stay_bytes_and_give_intensities() -> None:
    images = torch.randint(256, (40, 28, 28), dtype=torch.uint8)
    batch = next(ImageBatches(images, 40, random_stream(0, "batches")))
    assert batch.shape == (40, 1, 28, 28)
    assert batch.dtype == torch.float32
    assert torch.equal((batch * 255).round().sum(), images.sum().float())
    with pytest.raises(ValueError, match="between 1 and the 40 data, not 41"):
        ImageBatches(images, 41, random_stream(0, "batches"))


def test_checkpoints_keep_the_last_two(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "of" / "one")
    assert checkpoints.load_latest() is None
    for step in (5, 10, 15):
        checkpoints.save(step, {"step": step, "weights": torch.ones(3)})
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == [
        "step_000000010.ckpt", "step_000000015.ckpt",
    ]  # fmt: skip
    assert checkpoints.load_latest()["step"] == 15
    checkpoints.remove()
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize("damage", ["cut off", "one bit", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"step": 5})
    path = checkpoints.save(10, {"step": 10})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut off": content[:-7], "one bit": content, "empty": b""}[damage])
    assert checkpoints.load_latest() == {"step": 5}
    assert f"checkpoint {path} is damaged" in capsys.readouterr().out


def test_streams_differ_by_seed_and_purpose() -> None:
    seeds = {stream_seed(seed, purpose) for seed in range(50) for purpose in ("a", "b")}
    assert len(seeds) == 100
    draws = [torch.rand(4, generator=random_stream(0, "a")) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "tpu"])
def test_an_unknown_device_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"device '{name}' in the config cannot be used"):
        choose_device(name)
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_log_of_a_long_training_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    clock = 0.0
    progress = Progress("wgan_random, seed 0", 50_000)
    for step in range(1, 50_001):
        clock += 0.25
        progress.advance({"loss": 1.0}, step)
    lines = capsys.readouterr().err.splitlines()
    assert 100 < len(lines) < 130
    assert "step 20 of" in lines[0]
    assert "step 50,000 of 50,000" in lines[-1]


def test_progress_writes_lines_to_a_log(capsys: pytest.CaptureFixture) -> None:
    progress = Progress("vae, seed 0", 40, seconds=0)
    progress.advance({"loss": 12.3456}, 10)
    progress.advance({"loss": 1.0}, 40)
    progress.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("vae, seed 0: step 10 of 40 (25%)")
    assert first.endswith("loss 12.35")
    assert "step 40 of 40 (100%)" in last
