"""Processes that are measured in turn, so that what else the machine does slows all of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

__all__ = ["Worker", "serve"]


class Worker:
    """A program that answers each line on its stdin, a JSON value, with one on its stdout.

    Args:
        program: Python file, whose `main` calls `serve`.
        arguments: Of the program.
        threads: Of the numerical libraries.
    """

    def __init__(self, program: str | Path, *arguments: str, threads: int = 1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.wait()

    def ask(self, question: float) -> None:
        """Begin a measurement."""
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        """Wait for its result.

        Raises:
            RuntimeError: If the program has ended.
        """
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} has ended before it answered")
        return json.loads(line)

    def measure(self, question: float) -> float:
        """Ask and wait."""
        self.ask(question)
        return self.answer()


def serve(measure: Callable[[float], float]) -> None:
    """Answer questions with `measure` until there are none."""
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
