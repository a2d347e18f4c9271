"""Checkpoints: written whole, verified when read, kept two deep, of one process at a time."""

import contextlib
import hashlib
import io
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dgmpipe.files import replacing
from dgmpipe.jobs.locks import take_lock

__all__ = ["Checkpoints"]

_DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """The checkpoints of one training, in a folder of its own.

    A file holds the SHA-256 digest of what follows, then the state as `torch.save` writes it;
    it is read with `weights_only=True`. The folder's path says which config, seed and code the
    checkpoints belong to, so that none is ever continued by another training.

    Args:
        folder: Where the files are, or will be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps and drop all but this checkpoint and the last."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
        path = self.folder / f"step_{step:09d}.ckpt"
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        for old in self._paths()[:-2]:
            old.unlink(missing_ok=True)
        return path

    def load_latest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole, or nothing; a damaged file is named and left."""
        for path in reversed(self._paths()):
            content = path.read_bytes()
            digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() == digest:
                return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            print(f"checkpoint {path} is damaged; trying the one before it", flush=True)
        return None

    def latest_path(self) -> Path | None:
        """Return the newest checkpoint's path, or nothing if there is none."""
        paths = self._paths()
        return paths[-1] if paths else None

    def remove(self) -> None:
        """Delete the folder; to be called once the training's result stands."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from continuing the same training within the block.

        One whose Snakemake was killed takes a moment to write its checkpoint and end.
        """
        path = self.folder / "lock"
        try:
            lock = take_lock(path, patience=0)
        except TimeoutError:
            print("another process is at this training; waiting for its end", flush=True)
            lock = take_lock(path, patience=math.inf)
        try:
            yield
        finally:
            lock.release()

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step_*.ckpt"))
