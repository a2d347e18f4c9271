"""Programs that tests keep running in the background, and that end with the test."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["daemon", "free_port", "wait_for", "works"]


def daemon(
    stack: contextlib.ExitStack,
    command: list[str],
    log: Path,
    *,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
    **options,
) -> subprocess.Popen:
    """Start a program that stays in the foreground, and end it and its children with the stack.

    Args:
        stack: With it the program ends.
        command: The program and its arguments.
        log: File for what it says.
        user: Whose process it is, by default the caller's.
        stop: The signal that ends it.
        options: Further ones of `subprocess.Popen`.
    """
    whose = {"user": user, "group": user, "extra_groups": []} if user else {}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **whose,
            **options,
        )

    def end() -> None:
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    stack.callback(end)
    return process


def works(*command: str) -> bool:
    """Return whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Wait until a condition holds.

    A loaded machine whose environment is new, with nothing compiled yet, takes minutes to start a
    server.

    Raises:
        TimeoutError: If it does not within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} does not start; its log says more")
        time.sleep(0.2)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on.

    It is below those that the system gives to whoever asks for any, one of which another process
    may be given before a server is there to listen on it; and above those of the SLURM test.
    """
    while True:
        port = random.SystemRandom().randrange(18_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port
