"""Byte sources: exactly the bytes asked for, or a clear refusal."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import StorageError
from deltaseal.storage import (
    BytesSource,
    FileSource,
    MissingError,
    ShortReadError,
    SimulatedDisk,
    SliceSource,
    WrongKindError,
    chunks,
)

DATA = bytes(range(256)) * 3


@pytest.fixture(params=["bytes", "memoryview", "path", "descriptor", "slice", "simulated"])
def source(request, tmp_path):
    """The same bytes as each kind of source."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    if request.param == "bytes":
        yield BytesSource(DATA)
    elif request.param == "memoryview":
        yield BytesSource(memoryview(DATA))
    elif request.param == "path":
        with FileSource(path) as opened:
            yield opened
    elif request.param == "descriptor":
        with open(path, "rb") as file, FileSource(file.fileno()) as opened:
            yield opened
    elif request.param == "slice":
        yield SliceSource(BytesSource(b"before" + DATA + b"after"), 6, len(DATA))
    else:
        disk = SimulatedDisk({"a": ("file", DATA, 0o644)})
        with disk.open_read(disk.open_root("/"), "a") as opened:
            yield opened


def test_all_kinds_read_alike(source):
    assert source.size() == len(DATA)
    for offset, size in [(0, len(DATA)), (0, 0), (len(DATA), 0), (1, 5), (700, 68), (767, 1)]:
        assert source.read_at(offset, size) == DATA[offset : offset + size]
    assert b"".join(chunks(source, size=100)) == DATA


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 769), (768, 1), (769, 0), (1 << 63, 1), (0, 1 << 63), (1 << 64, 1 << 64)]
)
def test_all_kinds_refuse_what_is_not_there(source, offset, size):
    with pytest.raises(ShortReadError):
        source.read_at(offset, size)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (-5, -5)])
def test_all_kinds_refuse_negative_ranges(source, offset, size):
    with pytest.raises(ValueError, match="negative"):
        source.read_at(offset, size)


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_slice_is_a_slice(data, offset, size):
    if offset + size > len(data):
        with pytest.raises(ShortReadError):
            SliceSource(BytesSource(data), offset, size)
        return
    part = SliceSource(BytesSource(data), offset, size)
    assert part.read_at(0, size) == data[offset : offset + size]
    inner = SliceSource(part, size // 2, size - size // 2)
    assert b"".join(chunks(inner, size=7)) == data[offset : offset + size][size // 2 :]


def test_a_slice_does_not_see_its_neighbours():
    part = SliceSource(BytesSource(b"secret data secret"), 7, 4)
    for offset, size in [(0, 5), (4, 1), (3, 2)]:
        with pytest.raises(ShortReadError):
            part.read_at(offset, size)


class TestFileSource:
    def test_a_file_that_shrinks_is_noticed(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(DATA)
        with FileSource(path) as source:
            os.truncate(path, 10)
            assert source.read_at(0, 10) == DATA[:10]
            with pytest.raises(ShortReadError):
                source.read_at(0, 11)

    def test_what_is_opened_stays_what_is_read(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"first")
        with FileSource(path) as source:
            (tmp_path / "other").write_bytes(b"other")
            os.replace(tmp_path / "other", path)
            assert source.read_at(0, 5) == b"first"

    def test_the_callers_descriptor_stays_open(self, tmp_path):
        (tmp_path / "file").write_bytes(DATA)
        with open(tmp_path / "file", "rb") as file:
            FileSource(file.fileno()).close()
            assert file.read() == DATA

    def test_what_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(MissingError):
            FileSource(tmp_path / "gone")
        for name in (".", "pipe"):
            with pytest.raises(WrongKindError):
                FileSource(tmp_path / name)
        with pytest.raises(WrongKindError):
            FileSource("/dev/null")
        with pytest.raises(StorageError) as error:
            FileSource(1 << 20)
        assert error.value.facts["errno"] == "EBADF"

    def test_no_descriptor_is_left_open(self, tmp_path):
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            with pytest.raises(WrongKindError):
                FileSource(tmp_path)
        source = FileSource("/proc/self/exe")
        assert os.pread(source.fileno(), 4, 0) == b"\x7fELF"
        source.close()
        source.close()
        assert os.listdir("/proc/self/fd") == before
