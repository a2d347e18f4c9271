"""Locks of files that end with the process that holds them, however it ends."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["locked", "take_lock"]

# Some shared file systems have no locks; there is none to take then, and nobody to wait for.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

# filelock gives a lock back when nothing refers to it any more.
_held: list["BaseFileLock"] = []


def take_lock(path: str | Path, patience: float) -> "BaseFileLock":
    """Take the lock of a file, which is made if need be.

    The lock is held until its `release()` or the end of the process, also by SIGKILL.

    Args:
        path: The file; it stays when the lock is given back.
        patience: Seconds to wait for another process that holds the lock.

    Raises:
        TimeoutError: If another process still holds it then.
        OSError: If the file cannot be written.
    """
    from filelock import FileLock  # takes a quarter of a second, and few jobs lock anything

    # A soft lock, filelock's substitute where there is no flock, would outlive a SIGKILL.
    lock = FileLock(path, timeout=patience, thread_local=False, fallback_to_soft=False)
    while True:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except FileNotFoundError:  # whoever held it has deleted the folder
            continue
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
        _held.append(lock)
        return lock


@contextlib.contextmanager
def locked(path: str | Path, patience: float) -> Iterator[None]:
    """Hold the lock of a file within the block; `take_lock` says what is raised."""
    lock = take_lock(path, patience)
    try:
        yield
    finally:
        lock.release()
        _held.remove(lock)
