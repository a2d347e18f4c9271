"""Progress that suits where it is shown: a bar on a terminal, a line now and then in a log."""

import sys
import time

from tqdm import tqdm

__all__ = ["Progress"]


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
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=initial, desc=description, unit="step")

    def advance(self, values: dict[str, float], done: int) -> None:
        """Say that `done` steps are done in all, and show the latest values."""
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(done - self._done)
        self._done = done
        now = time.monotonic()
        pause = max(self._seconds, (now - self._start) / 20)
        if self._bar is None and (now - self._last_line >= pause or done == self._total):
            rate = (done - self._initial) / max(now - self._start, 1e-9)
            left = (self._total - done) / max(rate, 1e-9)
            print(
                f"{self._description}: step {done:,} of {self._total:,}"
                f" ({done / self._total:.0%}), {rate:.1f} steps/s, {left:.0f} s left; {shown}",
                file=sys.stderr,
                flush=True,
            )
            self._last_line = now

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
