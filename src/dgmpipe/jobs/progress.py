"""Progress that suits where it is shown: a bar on a terminal, a line now and then in a log.

A job of the workflow also keeps it in a small file beside its log, which the screen reads.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Progress", "note_measures", "progress_path", "read_progress", "reported"]

# Seconds between two writings of the file: a second, and later a hundredth of the time so far.
_LEAST, _MOST = 1.0, 10.0

_file: Path | None = None  # of this process's job
_measures: dict[str, float] = {}  # what was last measured of what it trains


def progress_path(log: str | Path) -> Path:
    """Return the file of the progress of a job by its log."""
    return Path(log).with_suffix(".progress")


@contextlib.contextmanager
def reported(path: Path) -> Iterator[None]:
    """Within the block, let every `Progress` of this process be kept in a file, which then goes."""
    global _file
    _file = path
    _measures.clear()
    with contextlib.suppress(OSError):  # what a job that was killed left behind
        path.unlink()
    try:
        yield
    finally:
        _file = None
        with contextlib.suppress(OSError):
            path.unlink()


def note_measures(row: Mapping[str, float]) -> None:
    """Keep what was measured at a step of a training, to be shown with its progress."""
    _measures.update({name: float(value) for name, value in row.items() if name != "step"})


def read_progress(path: Path) -> dict[str, Any] | None:
    """Return `step`, `total`, `seconds_left` and `values` of a job, or nothing if there are none.

    First among the values is what was last measured on held-out data, if anything was.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        numbers = {name: float(found[name]) for name in ("step", "total", "seconds_left")}
        return {**numbers, "values": {str(k): float(v) for k, v in found["values"].items()}}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


class Progress:
    """Reports how far a loop has come.

    Args:
        description: What is being done, such as "vae, seed 0".
        total: Number of steps.
        initial: Steps that were done before.
        seconds: Time between two lines in a log, at first; later it is a twentieth of the time so
            far, so that the log of a day is short enough to be shown whole.
    """

    def __init__(
        self, description: str, total: int, *, initial: int = 0, seconds: float = 5
    ) -> None:
        self._description = description
        self._total = total
        self._done = self._initial = initial
        self._seconds = seconds
        self._start = self._last_line = time.monotonic()
        self._last_report = -_MOST
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm  # takes a moment to import, and jobs have no terminal

            self._bar = tqdm(total=total, initial=initial, desc=description, unit="step")

    def advance(self, values: dict[str, float], done: int) -> None:
        """Say that `done` steps are done in all, and show the latest values."""
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(done - self._done)
        self._done = done
        now = time.monotonic()
        rate = (done - self._initial) / max(now - self._start, 1e-9)
        left = (self._total - done) / max(rate, 1e-9)
        if now - self._last_report >= min(max(_LEAST, (now - self._start) / 100), _MOST):
            self._report(values, left)
            self._last_report = now
        pause = max(self._seconds, (now - self._start) / 20)
        if self._bar is None and (now - self._last_line >= pause or done == self._total):
            print(
                f"{self._description}: step {done:,} of {self._total:,}"
                f" ({done / self._total:.0%}), {rate:.1f} steps/s, {left:.0f} s left; {shown}",
                file=sys.stderr,
                flush=True,
            )
            self._last_line = now

    def _report(self, losses: dict[str, float], left: float) -> None:
        if _file is None:
            return
        measured = {name: value for name, value in _measures.items() if name not in losses}
        content = {
            "step": self._done,
            "total": self._total,
            "seconds_left": left,
            "values": measured | losses,
        }
        temporary = _file.with_suffix(".progress.new")
        with contextlib.suppress(OSError):  # whoever watches does without
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, _file)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
