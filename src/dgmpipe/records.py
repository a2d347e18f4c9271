"""Records of runs: a file under results/ says what there is to know of a run, and a copy follows.

`dgmpipe.tracking` makes the copy at once or, if that fails, later from the file.
"""

import dataclasses
import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import psutil

from dgmpipe.files import write_json

__all__ = ["Record", "is_gone", "now", "process_name"]

# How far two readings of the time at which a process began may lie apart, in seconds.
_CLOCK_STEP = 10


def process_name(pid: int | None = None) -> str:
    """Return machine, number and time of birth of a process, which no other ever shares.

    Args:
        pid: Number of the process; this one's by default.
    """
    process = psutil.Process(pid)
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def is_gone(name: str) -> bool:
    """Return whether the process of that name was on this machine and is no more.

    Nothing is known of another machine's processes: they are not gone.

    >>> is_gone(process_name()), is_gone("elsewhere 1 0")
    (False, False)
    """
    host, pid, born = name.rsplit(" ", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        numbered_anew = abs(process.create_time() - float(born)) > _CLOCK_STEP
        return numbered_anew or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
        process: Whose work it is, as `process_name` writes it; likewise `user` and `folder`.
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
        warned: Whether the user knows that the copy failed.
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
    folder: str = dataclasses.field(default_factory=os.getcwd)
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

        What its process left open is KILLED from the time at which the file was last written.
        """
        try:
            record = cls(**json.loads(path.read_text()))
            if record.status == "RUNNING" and is_gone(record.process):
                record.status, record.ended = "KILLED", int(os.path.getmtime(path) * 1000)
        except (OSError, ValueError, TypeError):
            return None
        return record

    def write(self, path: Path) -> None:
        """Write the record to a file."""
        write_json(dataclasses.asdict(self), path)

    def may_be_continued_by(self, other: "Record") -> bool:
        """Return whether another training takes up where this one, interrupted, left off.

        Not if its config, data, seed or code differ, nor while a process on this machine is at it.
        """
        if self.status == "FINISHED" or self.tags["dgmpipe.key"] != other.tags["dgmpipe.key"]:
            return False
        here = self.process.split()[0] == other.process.split()[0]
        return self.status != "RUNNING" or not here or self.process == other.process

    def end(self, status: str) -> None:
        """Note how the run ended, now."""
        self.status, self.ended = status, now()

    def file(self, name: str) -> Path | None:
        """Return a file among those that are copied to the top, if it is there."""
        paths = map(Path, self.files.get("", []))
        return next((path for path in paths if path.name == name and path.is_file()), None)
