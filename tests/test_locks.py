"""Locks: one process at a time, however it ends, and also where files and locks are missing."""

import errno
import fcntl
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dgmpipe.jobs.locks import locked, take_lock


def test_who_waited_for_a_file_that_was_deleted_holds_the_lock_of_the_new_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder/lock"
    first = take_lock(path, patience=0)
    with ThreadPoolExecutor() as others:
        waiting = others.submit(take_lock, path, patience=60)
        path.parent.rename(tmp_path / "deleted")  # at once: who waits makes the file anew
        first.release()
        second = waiting.result()
    with pytest.raises(TimeoutError):
        take_lock(path, patience=0)
    second.release()
    take_lock(path, patience=0).release()


def test_a_lock_lasts_without_a_reference_and_ends_with_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        take_lock(path, patience=0)
        os.write(write, b"held")
        signal.pause()
    assert os.read(read, 4) == b"held"
    with pytest.raises(TimeoutError):
        take_lock(path, patience=0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    take_lock(path, patience=0).release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_locks_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", patience=0), locked(tmp_path / "lock", patience=0):
        pass


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        take_lock(tmp_path / "file/lock", patience=0)
