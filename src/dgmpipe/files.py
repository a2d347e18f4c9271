"""Result files that appear whole or not at all."""

import contextlib
import importlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_function", "replacing", "save_arrays", "write_json", "write_results"]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block succeeds.

    Whoever opens `path` sees the old file or the new one, never half of one; a block that fails
    leaves nothing behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files for their owner alone; results are for whoever may read the folder.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        # The system says what went wrong with a write, but not of which file.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(value: Any, path: str | Path) -> None:
    """Write a value as indented JSON with sorted keys, so that equal values give equal bytes."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to a compressed .npz file; equal arrays give equal bytes."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def write_results(results: Mapping[str, Any], paths: Mapping[str, str]) -> None:
    """Write each result to its file: arrays as .npz, numbers as .json, a table as .csv."""
    for name, path in paths.items():
        match Path(path).suffix:
            case ".npz":
                save_arrays(path, results[name])
            case ".json":
                write_json(results[name], path)
            case ".csv":
                table = results[name]
                with replacing(path) as temporary:
                    table.to_csv(temporary, index=table.index.name is not None)
            case suffix:
                raise ValueError(f"there is no way to write {path}: {suffix} is not known")


def load_function(name: str) -> Callable[..., Any]:
    """Return a function by its module and name, such as "dgmpipe.figures.figure_07:from_files"."""
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)
