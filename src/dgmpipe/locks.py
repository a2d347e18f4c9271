"""Locks of files that end with the process that holds them, however it ends."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["locked", "take_lock"]

# Some shared file systems have no locks; there is none to take then, and nobody to wait for.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def take_lock(path: str | Path, patience: float) -> int:
    """Take the lock of a file, which is made if need be, and return the file's descriptor.

    The lock is held until the descriptor is closed or the process has ended, also by SIGKILL.

    Args:
        path: The file; it stays when the lock is given back.
        patience: Seconds to wait for another process that holds the lock.

    Raises:
        TimeoutError: If another process still holds it then.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    descriptor = _open(path)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)  # of a file that whoever held it has deleted
            descriptor = _open(path)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise TimeoutError(f"another process has held {path} for {patience} s") from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return descriptor
            os.close(descriptor)
            raise


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: str | Path, patience: float) -> Iterator[None]:
    """Hold the lock of a file within the block; `take_lock` says what is raised."""
    descriptor = take_lock(path, patience)
    try:
        yield
    finally:
        os.close(descriptor)
