"""Lists of addresses: function starts that move with the blocks (docs/spec/delta-format.md, "Lists")."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from spec import delta_reader, image_reader, model_reader, stream_reader
from support.image_delta import LAYOUT, Block, Delta, number, numbers, plain, signed
from support.small_macho import TEXT, make_functions, program

from deltaseal import images
from deltaseal.errors import DeltasealError

OLD = make_functions(1, 400)
RUNS = [OLD[at : at + 4] for at in range(0, 396, 4)]
random.Random(2).shuffle(RUNS)  # so that much of the list is new
MIXED = [*make_functions(3, 2), *(function for run in RUNS for function in run), *make_functions(4, 1)]


def derivations_of(delta: bytes, old: bytes) -> list[delta_reader.Derivation]:
    header = delta_reader.read_header(delta)
    stream = delta_reader.Streams(delta, header)[LAYOUT]
    layout = delta_reader.LayoutStream(stream)
    image = image_reader.parse(old)
    delta_reader.read_regions(layout, image.regions, header.new_size)
    return delta_reader.read_derivations(layout, image, len(old), header.new_size)[0]


def test_functions_in_another_order() -> None:
    old, new = program(OLD), program(MIXED)
    delta = images.diff_bytes(old, new)
    assert [d.list_of for d in derivations_of(delta, old)] == [0]
    assert stream_reader.decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)
    modelled = images.diff_bytes(old, new, effort="best")
    assert model_reader.decode(old, modelled, image_reader.parse(old)) == new == apply(old, modelled)


def test_starts_that_came_and_went() -> None:
    """Exceptions in blocks: half of the functions are no longer listed, and some are in their middle."""
    starts = [start for start, _ in zip(range(TEXT, TEXT + 4000, 36), range(200), strict=False)]
    old = program(OLD)
    new = program(MIXED, listed=starts)
    delta = images.diff_bytes(old, new)
    assert stream_reader.decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)


def test_an_equal_list_is_copied() -> None:
    old = program(OLD)
    new = old[:TEXT] + bytes([old[TEXT] ^ 1]) + old[TEXT + 1 :]
    assert derivations_of(images.diff_bytes(old, new), old) == []


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


SMALL = program(OLD[:3])
SIZE = len(SMALL) - TEXT - sum(map(len, OLD[:3]))  # of the list


def listing(
    *, list_of: int = 0, size: int = SIZE, base: int = 0, exceptions: Sequence[tuple[int, int]] = ()
) -> Delta:
    """Copies SMALL as far as its list, which is computed."""
    copied = len(SMALL) - SIZE
    delta = plain(SMALL, copied + size, [Block(0, copied, 0)], layout=b"")
    old = image_reader.parse(SMALL)
    stream = signed(0) + number(len(old.regions))
    known = SIZE if list_of == 0 else 0
    stream += number(2) + numbers(1, list_of) + signed(size - known) + signed(size - known)
    stream += number(4) + signed(base) + number(len(exceptions))
    stream += b"".join(numbers(*exception) for exception in exceptions)
    return delta.but(flags=0, streams={**delta.streams, LAYOUT: stream})


def test_a_list_made_by_hand() -> None:
    delta = bytes(listing())
    assert stream_reader.decode(SMALL, delta, image_reader.parse(SMALL)) == SMALL == apply(SMALL, delta)


@pytest.mark.parametrize("exceptions", [[(0, TEXT)], [(0, TEXT), (0, 3), (0, 0)]])
def test_exceptions_by_hand(exceptions: list[tuple[int, int]]) -> None:
    delta = bytes(listing(exceptions=exceptions))
    new = stream_reader.decode(SMALL, delta, image_reader.parse(SMALL))
    assert new != SMALL and new == apply(SMALL, delta)


REFUSED = {
    "no such list": listing(list_of=1),
    "no room": listing(size=2),
    "no bytes": listing(size=0),
    "behind the last cell": listing(exceptions=[(2, 0)]),
    "outside its cell": listing(exceptions=[(0, len(SMALL))]),
    "outside its cell, after one inside": listing(exceptions=[(0, 8), (0, len(SMALL) - 9)]),
    "a base that no number holds": listing(base=1 << 62),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    delta = bytes(REFUSED[what])
    with pytest.raises(delta_reader.Refused, match="E_DELTA"):
        stream_reader.decode(SMALL, delta, image_reader.parse(SMALL))
    with pytest.raises(DeltasealError, match="the delta is damaged"):
        apply(SMALL, delta)
