"""Residuals of AArch64 words (docs/spec/delta-format.md, "The walk")."""

from __future__ import annotations

import random
import struct

import pytest
from spec import delta_reader, image_reader, model_reader, stream_reader
from support.image_delta import (
    CODE,
    DATA,
    LAYOUT,
    RESIDUAL_GAPS,
    RESIDUALS,
    Block,
    Delta,
    number,
    plain,
    signed,
)
from support.small_macho import TEXT, make_functions, program

from deltaseal import images
from deltaseal.errors import DeltasealError

OLD = make_functions(5, 60)


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def changed(function: bytes, choose: random.Random) -> bytes:
    """Some words with another register or immediate."""
    words = list(struct.unpack(f"<{len(function) // 4}I", function))
    for at in range(0, len(words), 7):
        words[at] = (words[at] + choose.choice((1, -1, 1 << 10, -(1 << 16)))) % 2**32
    return struct.pack(f"<{len(words)}I", *words)


def test_words_with_other_fields() -> None:
    choose = random.Random(1)
    old, new = program(OLD), program([changed(function, choose) for function in OLD])
    delta = images.diff_bytes(old, new)
    assert not delta_reader.read_header(delta).plain
    assert stream_reader.decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)


LOAD = 0xF94003E0  # ldr x0, [sp]
SLOT = 1 << 10  # eight bytes


def with_frame(function: bytes, grown: int) -> bytes:
    """Every third word loads from the frame; of sixteen slots fourteen lie ``grown`` further away."""
    words = list(struct.unpack(f"<{len(function) // 4}I", function))
    for at in range(0, len(words), 3):
        slot = at * 5 % 16
        words[at] = LOAD + SLOT * (slot + (grown if slot >= 2 else 0))
    return struct.pack(f"<{len(words)}I", *words)


def test_a_frame_that_grew() -> None:
    """Operands move as the one before did: few residuals, of many words that changed."""
    functions = make_functions(30, 120)
    old = program([with_frame(function, 0) for function in functions])
    new = program([with_frame(function, 2 * (at % 2)) for at, function in enumerate(functions)])
    changes = sum(old[at : at + 4] != new[at : at + 4] for at in range(0, len(old), 4))
    delta = images.diff_bytes(old, new)
    assert changes > 3 * delta_reader.read_header(delta).raw_sizes[RESIDUALS] > 0
    assert stream_reader.decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)
    best = images.diff_bytes(old, new, effort="best")
    assert model_reader.decode(old, best, image_reader.parse(old)) == new == apply(old, best)


SMALL = program(OLD[:3])
WORDS = sum(map(len, OLD[:3])) // 4


def mended(gap: int, residual: bytes, *, place: int = 0, shift: int = 0) -> Delta:
    """SMALL, copied from ``place`` on to ``place + shift``, with one residual; zeros before."""
    at, size = place + shift, len(SMALL) + shift
    delta = plain(SMALL, size, [Block(at, len(SMALL) - place, 24 + 8 * place)])
    layout = signed(0) + number(len(image_reader.parse(SMALL).regions)) + number(0) + number(4)
    literals = {DATA: bytes(min(at, TEXT)), CODE: bytes(max(at - TEXT, 0))}
    streams = {LAYOUT: layout, RESIDUAL_GAPS: number(gap), RESIDUALS: residual, **literals}
    return delta.but(flags=0, streams={**delta.streams, **streams})


@pytest.mark.parametrize("difference", [1, -1, 2**31 - 1, -(2**31), 0])
@pytest.mark.parametrize("word", [0, 1, WORDS - 1])
def test_a_word_is_one_item(difference: int, word: int) -> None:
    delta = bytes(mended(TEXT + word, signed(difference)))
    (old,) = struct.unpack_from("<I", SMALL, TEXT + 4 * word)
    new = bytearray(SMALL)
    struct.pack_into("<I", new, TEXT + 4 * word, (old + difference) % 2**32)
    assert stream_reader.decode(SMALL, delta, image_reader.parse(SMALL)) == new == apply(SMALL, delta)


@pytest.mark.parametrize(
    ("place", "shift"), [(TEXT + 1, 4), (TEXT - 3, 0), (TEXT + 2, 2), (TEXT + 1, 7), (TEXT, 8)]
)
def test_where_words_begin(place: int, shift: int) -> None:
    """Bytes before the first whole word, and where old and new words do not lie alike."""
    delta = bytes(mended(2, b"\x02", place=place, shift=shift))
    assert stream_reader.decode(SMALL, delta, image_reader.parse(SMALL)) == apply(SMALL, delta)


@pytest.mark.parametrize("difference", [2**31, -(2**31) - 1, 2**62])
def test_a_difference_of_more_than_a_word(difference: int) -> None:
    delta = bytes(mended(TEXT, signed(difference)))
    with pytest.raises(delta_reader.Refused, match="E_DELTA"):
        stream_reader.decode(SMALL, delta, image_reader.parse(SMALL))
    with pytest.raises(DeltasealError, match="the delta is damaged"):
        apply(SMALL, delta)
