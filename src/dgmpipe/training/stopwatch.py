"""The time that a training takes, in all the parts that interruptions cut it into."""

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Time since it was made, and that of the parts before.

    Steps that a kill undid do not count.
    """

    def __init__(self) -> None:
        self._before = {"seconds": 0.0, "processor_seconds": 0.0}
        self._parts_before = 0
        self._start = self._now()

    def continue_from(self, read: dict[str, float]) -> None:
        """Add what another stopwatch read when the last checkpoint was written."""
        self._before = {name: read[name] for name in self._before}
        self._parts_before = int(read["parts"])

    def read(self) -> dict[str, float]:
        """Return `seconds`, `processor_seconds` of all threads, and the number of `parts`."""
        now = self._now()
        spent = {name: self._before[name] + now[name] - self._start[name] for name in now}
        return {**spent, "parts": self._parts_before + 1}

    @staticmethod
    def _now() -> dict[str, float]:
        return {"seconds": time.monotonic(), "processor_seconds": time.process_time()}
