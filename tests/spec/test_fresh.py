"""Fresh bytes: build ids, checksums, UUIDs part no block (docs/spec/delta-format.md, "Fresh bytes")."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from spec import delta_reader, image_reader, model_reader, stream_reader
from support.image_delta import DATA, LAYOUT, LENGTHS, RESIDUALS, Block, numbers, plain
from support.old_images import build_library, library_source, old_image
from support.small_macho import make_functions, program

from deltaseal import images

FUNCTIONS = make_functions(1, 40)
ID = 20  # bytes of a build id
CRC = 4


def uuid(seed: int) -> bytes:
    return hashlib.sha256(bytes([seed])).digest()[:16]


def library(path: Path) -> bytes:
    """With a build id and a debug link, whose name is not the id."""
    build_library(library_source(20), path, "-Wl,--build-id=sha1")
    link = path.with_suffix(".link")
    link.write_bytes(b"library.debug\0\0\0crc!")
    subprocess.run(["objcopy", "--add-section", f".gnu_debuglink={link}", path], check=True)
    return path.read_bytes()


def with_fresh(old: bytes, seed: int) -> bytes:
    """The same, built anew."""
    new = bytearray(old)
    for number, (offset, size) in enumerate(image_reader.parse(old).fresh):
        new[offset : offset + size] = hashlib.sha256(bytes([seed, number])).digest()[:size]
    return bytes(new)


def streams_of(delta: bytes) -> delta_reader.Streams:
    return delta_reader.Streams(delta, delta_reader.read_header(delta))


def checked(old: bytes, new: bytes, effort: str = "default") -> bytes:
    """A delta that both readers and the applier read alike."""
    delta = images.diff_bytes(old, new, effort=effort)
    decode = stream_reader.decode if effort == "default" else model_reader.decode
    assert decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)
    return delta


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


@pytest.mark.parametrize("effort", ["default", "best"])
def test_a_library_built_anew(effort: str, tmp_path: Path) -> None:
    old = library(tmp_path / "old.so")
    found = image_reader.parse(old).fresh
    assert [size for _, size in found] == [ID, CRC] and old[found[1][0] :][:CRC] == b"crc!"
    assert old_image(tmp_path / "old.so").fresh == found
    delta = checked(old, with_fresh(old, 1), effort)
    if effort == "default":
        streams = streams_of(delta)
        assert streams[LENGTHS].left == 1  # one block, up to the end
        assert streams[DATA].left == ID + CRC


def test_where_one_stayed_it_is_copied(tmp_path: Path) -> None:
    """A checksum alone: nothing is fresh then, and the build id is not sent."""
    old = library(tmp_path / "old.so")
    at, size = image_reader.parse(old).fresh[1]
    new = old[:at] + b"CRC?" + old[at + size :]
    streams = streams_of(checked(old, new))
    assert streams[DATA].left + streams[RESIDUALS].left == size


def test_where_the_regions_moved(tmp_path: Path) -> None:
    """A note lies as far from the start of its region as it did, though all regions lie elsewhere."""
    old = library(tmp_path / "old.so")
    source = library_source(20) + 'const char *added = "text";'
    build_library(source, tmp_path / "new.so", "-Wl,--build-id=sha1")
    link = tmp_path / "new.link"
    link.write_bytes(b"library.debug\0\0\0CRC!")
    subprocess.run(["objcopy", "--add-section", f".gnu_debuglink={link}", tmp_path / "new.so"], check=True)
    new = (tmp_path / "new.so").read_bytes()
    assert len(new) != len(old)
    for effort in ("default", "best"):
        checked(old, new, effort)


@pytest.mark.parametrize("effort", ["default", "best"])
def test_a_uuid(effort: str) -> None:
    old, new = (program(FUNCTIONS, uuid=uuid(seed)) for seed in (1, 2))
    [(at, size)] = image_reader.parse(old).fresh
    assert old[at : at + size] == uuid(1)
    delta = checked(old, new, effort)
    if effort == "default":
        assert streams_of(delta)[DATA].left == 16 and streams_of(delta)[LENGTHS].left == 1


def test_a_delta_may_say_so_of_an_image_without() -> None:
    old = bytes(range(100))
    delta = bytes(plain(old, 100, [Block(0, 100, 0)], layout=b"\0\0" + numbers(1)))
    assert stream_reader.decode(old, delta) == old == apply(old, delta)


def test_one_that_lies_outside_is_not_expected() -> None:
    """A new image that ends before the UUID would lie: its blocks are not cut, and it has no gap."""
    old = program(FUNCTIONS, uuid=uuid(1))
    image = image_reader.parse(old)
    [(at, _)] = image.fresh
    delta = plain(old, at, [Block(0, at, 0)], layout=b"")
    regions = len(image.regions)
    stream = numbers(2 * regions - 1, 0, 1, 4)  # no regions, fresh bytes as they were, one block
    made = bytes(delta.but(flags=0, streams={**delta.streams, LAYOUT: stream}))
    new = stream_reader.decode(old, made, image)
    assert new == apply(old, made) and len(new) == at
