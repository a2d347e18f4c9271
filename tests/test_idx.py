"""IDX files and the images of MNIST: what is written is read, and what is broken is named."""

import contextlib
import gzip

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from dgmpipe.data.idx import idx_bytes, parse_idx, read_idx
from dgmpipe.data.mnist import evenly_spread, load_mnist
from dgmpipe.errors import UserError
from dgmpipe.files import replacing

LABELS = np.array([5, 0, 4], dtype=np.uint8)
IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)

byte_arrays = npst.arrays(
    np.uint8,
    st.one_of(
        npst.array_shapes(min_dims=1, max_dims=1, max_side=300),
        npst.array_shapes(min_dims=3, max_dims=3, max_side=8),
    ),
)


@given(byte_arrays)
def test_what_is_written_is_read(array):
    parsed = parse_idx(idx_bytes(array), "memory")
    assert parsed.dtype == np.uint8
    assert parsed.flags.writeable
    np.testing.assert_array_equal(parsed, array, strict=True)


@given(st.binary(max_size=200) | st.binary(max_size=20).map(b"\0\0\x08\x03".__add__))
def test_garbage_is_refused_or_is_an_idx_file(data):
    with contextlib.suppress(UserError):
        assert idx_bytes(parse_idx(data, "garbage")) == data


@given(byte_arrays, st.data())
def test_every_cut_is_noticed(array, data):
    whole = idx_bytes(array)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(UserError, match=r"^half (is empty|is cut off)"):
        parse_idx(whole[:length], "half")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\0\0\x08", "cut off within its header"),
        (b"\0\0\x08\x01", "cut off within its header"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x01", "cut off within its header"),
        (idx_bytes(LABELS)[:-1], "is cut off: 2 bytes .* for 3;"),
        (idx_bytes(LABELS) + b"\0", "trailing bytes: 4 bytes .* for 3;"),
        (b"\0\0\x08\x01\0\0\0\0", "holds no data"),
        (b"\0\0\x08\x03" + b"\0\0\0\0" + b"\xff" * 8, "holds no data"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "it starts with 3329"),
        (gzip.compress(idx_bytes(LABELS), mtime=0), "give the uncompressed file"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path, data, fault):
    path = tmp_path / "broken-ubyte"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"broken-ubyte .*{fault}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="absent-ubyte does not exist"):
        read_idx(tmp_path / "absent-ubyte")


def test_bytes_are_those_of_the_format():
    assert idx_bytes(LABELS) == bytes.fromhex("00000801 00000003 050004")
    assert idx_bytes(IMAGES)[:16] == bytes.fromhex("00000803 00000003 0000001c 0000001c")


@pytest.mark.parametrize(
    "array",
    [LABELS.astype(np.int64), np.zeros((2, 2), np.uint8), np.zeros((0, 28, 28), np.uint8)],
    ids=["int64", "two dimensions", "empty"],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match="must have dtype uint8"):
        idx_bytes(array)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(LABELS))

    def write_half():
        with replacing(path) as temporary:
            temporary.write_bytes(idx_bytes(LABELS + 1)[:9])
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_idx(path), LABELS)


def write_split(folder, images=IMAGES, labels=LABELS):
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


def test_load_mnist_gives_both_tensors(tmp_path):
    write_split(tmp_path)
    images, labels = load_mnist(tmp_path, "train")
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    np.testing.assert_array_equal(images.numpy(), IMAGES)
    assert labels.tolist() == [5, 0, 4]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES[:, :27]}, r"train-images-idx3-ubyte must hold .* 28x28"),
        ({"images": LABELS}, r"train-images-idx3-ubyte must hold .* 28x28"),
        ({"labels": LABELS[:2]}, r"train-labels-idx1-ubyte must hold a label for each of the 3"),
        ({"labels": IMAGES}, r"train-labels-idx1-ubyte must hold a label for each of the 3"),
        ({"labels": LABELS + 5}, r"train-labels-idx1-ubyte must hold .* one is 10"),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path, changed, message):
    write_split(tmp_path, **changed)
    with pytest.raises(UserError, match=message):
        load_mnist(tmp_path, "train")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split must be one of train, t10k, not 'test'"):
        load_mnist(tmp_path, "test")


def test_images_are_spread_evenly_and_none_is_taken_twice():
    for n, size in ((1, 1), (3, 7), (1000, 10_000), (10_000, 10_000)):
        chosen = evenly_spread(n, size)
        assert len(set(chosen.tolist())) == n
        assert set(chosen.diff().tolist()) <= {size // n, -(-size // n)}
        assert chosen[0] == 0
        assert chosen[-1] < size


def test_more_images_than_there_are_cannot_be_spread():
    with pytest.raises(UserError, match="asks for 11 test images, but there are 10; lower"):
        evenly_spread(11, 10)
