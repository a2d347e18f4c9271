"""Locks: one process at a time, also where the file of the lock is deleted in between."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dgmpipe.locks import take_lock


def test_who_waited_for_a_file_that_was_deleted_holds_the_lock_of_the_new_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder/lock"
    first = take_lock(path, patience=0)
    with ThreadPoolExecutor() as others:
        waiting = others.submit(take_lock, path, patience=60)
        path.unlink()
        path.parent.rmdir()
        os.close(first)
        second = waiting.result()
    with pytest.raises(TimeoutError):
        take_lock(path, patience=0)
    os.close(second)
    os.close(take_lock(path, patience=0))
