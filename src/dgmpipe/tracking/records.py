"""Records of runs: a file under results/ says what there is to know of a run, and a copy follows.

`dgmpipe.tracking.runs` makes the copy at once or, if that fails, later from the file.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from dgmpipe.files import write_json

__all__ = ["Record", "is_gone", "now", "process_name", "start_heartbeat"]

# How far two readings of the time at which a process began may lie apart, in seconds.
_CLOCK_STEP = 10
# Seconds between two signs of life, and those after which nobody waits for another. Clocks of a
# cluster's nodes and the caches of its file system may be minutes behind.
_BEAT = 60
_SILENCE = 15 * 60


def process_name(pid: int | None = None) -> str:
    """Return machine, number and time of birth of a process, which no other ever shares.

    Args:
        pid: Number of the process; this one's by default.
    """
    process = psutil.Process(pid)
    return f"{_machine()} {process.pid} {process.create_time():.0f}"


@functools.cache
def _machine() -> str:
    """Name the machine, until it starts anew, and the container whose processes are to be seen.

    Containers and their successors may share a host name and numbers of processes.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux alone has these
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return f"{parts[0]}/{hashlib.sha256(''.join(parts).encode()).hexdigest()[:8]}"


def is_gone(name: str, silence: float = 0) -> bool:
    """Return whether the process of that name has exited.

    Of processes of this machine, and of this container, that is known. Those of another, also of a
    container or a host name that has been replaced, are taken to have exited after 15 minutes
    without a sign of life.

    Args:
        name: What `process_name` returned in that process.
        silence: Seconds since its last sign of life.

    >>> is_gone(process_name(), silence=1e9), is_gone("elsewhere 1 0", silence=60)
    (False, False)
    >>> is_gone("elsewhere 1 0", silence=1e9)
    True
    """
    machine, pid, born = name.rsplit(" ", 2)
    if machine != _machine():
        return silence > _SILENCE
    try:
        process = psutil.Process(int(pid))
        numbered_anew = abs(process.create_time() - float(born)) > _CLOCK_STEP
        return numbered_anew or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start_heartbeat(path: Path) -> threading.Event:
    """Touch a record's file every minute, a sign of life for whoever reads it on another machine.

    Returns:
        An event that ends it when it is set; so does the end of the process.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with contextlib.suppress(OSError):
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    return ended


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclasses.dataclass
class Record:
    """One training, or one invocation of the workflow, which is the parent of its trainings.

    Attributes:
        name: What the run is called.
        note: What it is, in a sentence.
        tier: Tier of its config.
        tags: What tells the run apart.
        process: Whose work it is, as `process_name` writes it; likewise `user`.
        params: Hyperparameters of a training.
        config: The whole config of an invocation.
        datasets: Names and digests of the data.
        parent: `id` of the invocation that a training belongs to.
        id: Names the run wherever there is a copy of it.
        started: When, in milliseconds since 1970; likewise `ended`.
        status: RUNNING, FINISHED, FAILED or KILLED.
        samples: What a training used of its machine, at some steps, and when: `step`, `time` in
            milliseconds since 1970, and a metric of MLflow's a quantity.
        files: Results by the folder that they are copied to, "" being the top.
        warned: Whether the user knows that the copy failed; the trainings of an invocation whose
            start said so leave their copies to its end.
    """

    name: str
    note: str
    tier: str
    tags: dict[str, str]
    process: str
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    datasets: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    parent: str | None = None
    user: str = dataclasses.field(default_factory=lambda: os.environ.get("USER", "unknown"))
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    started: int = dataclasses.field(default_factory=now)
    ended: int | None = None
    status: str = "RUNNING"
    samples: list[dict[str, float]] = dataclasses.field(default_factory=list)
    files: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    warned: bool = False

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """Return the record in a file, or nothing if the file is not there or not a record.

        What its process left open is KILLED from its last sign of life, when the file was written
        or touched.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = cls(**content)
            alive = os.path.getmtime(path)
            if record.status == "RUNNING" and is_gone(record.process, time.time() - alive):
                record.status, record.ended = "KILLED", int(alive * 1000)
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return record

    def write(self, path: Path) -> None:
        """Write the record to a file."""
        write_json(dataclasses.asdict(self), path)

    def may_be_continued_by(self, other: "Record") -> bool:
        """Return whether another training takes up where this one, interrupted, left off.

        Not if its config, data, seed or code differ, nor while a process here works on it.
        """
        if self.status == "FINISHED" or self.tags["dgmpipe.key"] != other.tags["dgmpipe.key"]:
            return False
        here = self.process.rsplit(" ", 2)[0] == other.process.rsplit(" ", 2)[0]
        return self.status != "RUNNING" or not here or self.process == other.process

    def end(self, status: str) -> None:
        """Note how the run ended, now."""
        self.status, self.ended = status, now()

    def file(self, name: str) -> Path | None:
        """Return a file among those that are copied to the top, if it is there."""
        paths = map(Path, self.files.get("", []))
        return next((path for path in paths if path.name == name and path.is_file()), None)
