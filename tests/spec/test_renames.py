"""Strings that became others wherever they stood (docs/spec/delta-format.md, "Renames")."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import delta_reader, image_reader, model_reader, renames_reader, stream_reader
from support.image_delta import Block, number, numbers, plain
from support.old_images import build_library, library_source

from deltaseal import _core, images
from deltaseal.errors import DeltasealError

DECODERS = {"default": stream_reader.decode, "best": model_reader.decode}
CRATES = [("ghnUbbCfRE2", "i1HTDsDXWYj"), ("1vWRWKdVlh7", "7MpWdNTwp7n"), ("c36rpYXAlPq", "gxBkk5gSRhY")]


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """The renames that a second reader meets."""
    met: list[tuple[bytes, bytes]] = []
    rename = renames_reader.renamed

    def look(old: bytes, regions: list[delta_reader.Region], renames: list[tuple[bytes, bytes]]) -> bytes:
        met.extend(renames)
        return rename(old, regions, renames)

    monkeypatch.setattr(renames_reader, "renamed", look)
    return met


def names(side: int, *, skip: int = 0, seed: int = 3) -> bytes:
    """Mangled names of three crates, of which some were left out."""
    draw = random.Random(seed)
    text = []
    for n in range(400):
        crates = [pair[side] for pair in draw.choices(CRATES, k=draw.choice((1, 1, 2)))]
        name = "_RNvNt" + "".join(f"Cs{crate}_{draw.randrange(10**6)}part" for crate in crates)
        if not skip or n % skip:
            text.append(name)
    return "\0".join(text).encode() + b"\0"


@pytest.mark.parametrize("effort", DECODERS)
def test_names_of_other_crates(effort: str, seen: list[tuple[bytes, bytes]]) -> None:
    old, new = names(0), names(1, skip=50)
    delta = images.diff_bytes(old, new, effort=effort)
    assert DECODERS[effort](old, delta) == new == apply(old, delta)
    assert set(seen) == {(a.encode(), b.encode()) for a, b in CRATES}
    assert len(delta) < 400


@pytest.mark.parametrize("effort", DECODERS)
def test_symbols_of_an_image(tmp_path: Path, effort: str, seen: list[tuple[bytes, bytes]]) -> None:
    sides = []
    for side, changed in ((0, 0), (1, 2)):
        crate = f"Cs{CRATES[0][side]}_"
        source = re.sub(r"\bf(\d+)\b", rf"_RNvNt{crate}6crypto\1", library_source(40, changed=changed))
        sides.append(build_library(source, tmp_path / str(side)).read_bytes())
    old, new = sides
    delta = images.diff_bytes(old, new, effort=effort)
    assert DECODERS[effort](old, delta, image_reader.parse(old)) == new == apply(old, delta)
    assert (CRATES[0][0].encode(), CRATES[0][1].encode()) in seen


def test_fewer_bytes_than_without() -> None:
    old, new = names(0), names(1, skip=50)

    def size(without: _core.Without) -> int:
        made = _core.create(old, new, modelled=True, memory_bytes=1 << 28, without=without)
        return len(made.modelled().body)

    assert 2 * size(_core.Without()) < size(_core.Without(("renames",)))


def test_what_is_renamed_now_and_then_is_no_rename(seen: list[tuple[bytes, bytes]]) -> None:
    """More often it stayed: the old bytes are copied as they are."""
    old = names(0)
    pieces = old.split(b"\0")
    new = b"\0".join(
        p.replace(b"ghnUbbCfRE2", b"i1HTDsDXWYj") if n % 5 == 0 else p for n, p in enumerate(pieces)
    )
    delta = images.diff_bytes(old, new)
    assert stream_reader.decode(old, delta) == new == apply(old, delta)
    assert seen == []


def test_prepared_or_not_the_bytes_are_the_same() -> None:
    old, new = names(0), names(1, skip=50)
    prepared = images.prepare(old)
    assert images.diff_bytes(old, new, prepared=prepared) == images.diff_bytes(old, new)


# Deltas made by hand

OLD = b"....Version1....Version1xVersion2....Version1"


def delta(
    renames: Sequence[tuple[int, Sequence[int]]], *, count: int | None = None, size: int | None = None
) -> bytes:
    """All old bytes in one block. ``renames``: of each where its old bytes lie, and the new ones."""
    layout = b"\0\0" + number(260) + number(len(renames) if count is None else count)
    end = 0
    for offset, new in renames:
        layout += numbers(offset - end, (len(new) if size is None else size) - 8, *new)
        end = offset + len(new)
    return bytes(plain(OLD, len(OLD), [Block(0, len(OLD), 0)], layout=layout))


def both(changed: bytes) -> bytes | None:
    try:
        theirs = stream_reader.decode(OLD, changed, limit=1 << 16)
    except delta_reader.Refused:
        theirs = None
    try:
        ours = apply(OLD, changed)
    except DeltasealError:
        ours = None
    assert ours == theirs
    return ours


def test_every_occurrence_is_renamed() -> None:
    assert both(delta([(4, b"version9")])) == OLD.replace(b"Version1", b"version9")
    two = both(delta([(4, b"version9"), (25, b"VERSION9")]))
    assert two == OLD.replace(b"Version1", b"version9").replace(b"Version2", b"VERSION9")


def test_occurrences_do_not_overlap() -> None:
    old = b"ab" * 20
    layout = b"\0\0" + number(260) + numbers(1, 0, 0, *b"AAAAAAAA")
    made = bytes(plain(old, 40, [Block(0, 40, 0)], layout=layout))
    assert apply(old, made) == stream_reader.decode(old, made) == b"AAAAAAAA" * 5


def test_a_block_takes_a_part_of_an_occurrence() -> None:
    layout = b"\0\0" + number(260) + numbers(1, 4, 0, *b"version9")
    for size, place in ((4, 8), (4, 2), (6, 6), (2, 6)):
        blocks = [Block(0, size, 24 + 4 * 2 * place)]
        made = bytes(plain(OLD, size, blocks, layout=layout))
        expected = OLD.replace(b"Version1", b"version9")[place : place + size]
        assert apply(OLD, made) == stream_reader.decode(OLD, made) == expected


REFUSED = {
    "none": delta([], count=0),
    "too many": delta([(4, b"version9")], count=257),
    "outside the old image": delta([(len(OLD) - 7, b"version9")]),
    "too long": delta([(0, b"x" * 65)]),
    "of another size than its bytes": delta([(4, b"version9")], size=9),
    "that begin alike": delta([(4, b"version9"), (16, b"version8")]),
    "with a byte that is none": delta([(4, [*b"version", 256])]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse(name: str) -> None:
    assert both(REFUSED[name]) is None


GOOD = delta([(4, b"version9"), (25, b"VERSION9")])


@settings(deadline=None, max_examples=100)
@given(at=st.integers(9, len(GOOD) - 1), new=st.integers(0, 255))
def test_a_changed_delta_is_the_same_to_both(at: int, new: int) -> None:
    both(GOOD[:at] + bytes([new]) + GOOD[at + 1 :])
