"""Paddings that are made anew (docs/spec/delta-format.md, "Paddings")."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import delta_reader, image_reader, model_reader, paddings_reader, stream_reader
from spec.delta_reader import OldImage, Region
from spec.paddings_reader import Padding, Paddings
from support.image_delta import LAYOUT, Block, number, plain, signed
from support.old_images import build_library
from support.small_macho import NOP, make_functions, padded, program

from deltaseal import _core, images
from deltaseal.errors import DeltaError

DECODERS = {"default": stream_reader.decode, "best": model_reader.decode}
FUNCTIONS = make_functions(5, 200)


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each stretched block that a second reader meets, how many pieces it has."""
    counts: list[int] = []
    pieces = Paddings.pieces

    def look(self: Paddings, block: delta_reader.Block) -> list[delta_reader.Block]:
        made = pieces(self, block)
        counts.append(len(made))
        return made

    monkeypatch.setattr(Paddings, "pieces", look)
    return counts


def grown(functions: list[bytes], *, every: int = 20, by: int = 4, seed: int = 1) -> list[bytes]:
    """Words put into the middle of some."""
    draw = random.Random(seed)
    return [
        body[:16] + draw.randbytes(by) + body[16:] if at % every == 3 else body
        for at, body in enumerate(functions)
    ]


@pytest.mark.parametrize("effort", DECODERS)
def test_functions_that_grew(effort: str, cut: list[int]) -> None:
    old, new = program(padded(FUNCTIONS)), program(padded(grown(FUNCTIONS)))
    delta = images.diff_bytes(old, new, effort=effort)
    assert DECODERS[effort](old, delta, image_reader.parse(old)) == new == apply(old, delta)
    assert sum(count > 1 for count in cut) >= 8


@pytest.mark.parametrize("effort", DECODERS)
def test_a_library_of_a_compiler(tmp_path: Path, effort: str, cut: list[int]) -> None:
    def source(large: int) -> str:
        steps = ["".join(f"x = x * {7 + j} + y;" for j in range(n % 13 + 6)) for n in range(120)]
        first = [large if n % 20 == 3 else 5 for n in range(120)]  # another one is a longer instruction
        return "\n".join(
            f"int f{n}(int x, int y) {{ x ^= {k}; {step} return x; }}"
            for n, (k, step) in enumerate(zip(first, steps, strict=True))
        )

    old, new = (build_library(source(large), tmp_path / str(large)).read_bytes() for large in (7, 3001))
    delta = images.diff_bytes(old, new, effort=effort)
    assert DECODERS[effort](old, delta, image_reader.parse(old)) == new == apply(old, delta)
    assert max(cut) > 1
    assert paddings_reader.seams(image_reader.parse(old).regions, image_reader.parse(new).regions)


def size(old: bytes, new: bytes, *without: str) -> int:
    made = _core.create(
        old, new, modelled=True, memory_bytes=1 << 28, without=_core.Without(without) if without else None
    )
    return len(made.modelled().body)


def test_fewer_bytes_than_without() -> None:
    old, new = program(padded(FUNCTIONS)), program(padded(grown(FUNCTIONS)))
    assert size(old, new) < 0.9 * size(old, new, "paddings")


def test_where_nothing_is_aligned_nothing_is_stretched(cut: list[int]) -> None:
    old, new = program(FUNCTIONS), program(grown(FUNCTIONS))
    delta = images.diff_bytes(old, new)
    assert stream_reader.decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)
    assert cut == [] and size(old, new) == size(old, new, "paddings")


def test_where_the_new_image_is_aligned_otherwise_nothing_is_lost() -> None:
    """Each padding that is not as expected would be one more block: then they are not stretched at all."""
    old = program(padded(FUNCTIONS))
    new = program([FUNCTIONS[0] + NOP, *padded(FUNCTIONS)[1:]])
    assert size(old, new) <= size(old, new, "paddings")
    assert apply(old, images.diff_bytes(old, new)) == new


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    alignment=st.sampled_from([8, 16, 32]),
    most=st.sampled_from([4, 11, 31]),
    every=st.integers(3, 30),
    by=st.sampled_from([4, 8, 12, 20]),
)
def test_any_alignment(seed: int, alignment: int, most: int, every: int, by: int) -> None:
    functions = make_functions(seed, 80)
    old = program(padded(functions, alignment=alignment, most=most))
    new = program(padded(grown(functions, every=every, by=by, seed=seed), alignment=alignment, most=most))
    for effort, decode in DECODERS.items():
        delta = images.diff_bytes(old, new, effort=effort)
        assert decode(old, delta, image_reader.parse(old)) == new == apply(old, delta)


def test_seams_between_regions() -> None:
    def regions(*places: tuple[int, int]) -> list[Region]:
        return [Region(at, 4096 + at, size, 1) for at, size in places]

    old = regions((0, 20), (32, 20), (60, 8))
    for new, expected in (
        (regions((0, 24), (32, 20), (60, 8)), [(20, 32, 24, 8)]),
        (regions((0, 24), (36, 20), (64, 9)), []),
        (regions((4, 28), (32, 20), (64, 8)), [(20, 32, 32, 0), (52, 60, 52, 12)]),
        (regions((30, 28), (0, 20), (64, 8)), [(52, 60, 20, 44)]),
        (regions((0, 24), (32, 20)), [(20, 32, 24, 8)]),
        ([Region(0, 0, 24, 2), *regions((32, 20), (61, 8))], [(52, 60, 52, 9)]),
    ):
        assert paddings_reader.seams(old, new) == expected


# The second reader itself


@pytest.mark.parametrize(
    ("instruction", "does"),
    [
        *((text, True) for text in ("90", "6690", "662e90", "cc", "1f2003d5", "0f1f00", "0f1f440000")),
        *((text, True) for text in ("66662e0f1f840000000000", "662e0f1f840000000000")),
        *((text, False) for text in ("", "66", "2e66", "0f1f", "660f1f", "66cc", "f390", "1f2003d4", "c3")),
    ],
)
def test_what_does_nothing(instruction: str, does: bool) -> None:
    assert paddings_reader.does_nothing(bytes.fromhex(instruction)) == does


@pytest.mark.parametrize(
    ("instruction", "away"),
    [
        *((text, True) for text in ("c3", "eb05", "e901020304", "ffe0", "3effe0", "ff2501020304")),
        *((text, True) for text in ("c0035fd6", "00021fd6", "04000014")),
        *((text, False) for text in ("", "3e", "e8c3c3c3c3", "ffd0", "7405", "c20800", "01000094", "3ec3c3")),
    ],
)
def test_what_leads_away(instruction: str, away: bool) -> None:
    assert paddings_reader.leads_away(bytes.fromhex(instruction)) == away


def image_of(text: str, functions: tuple[int, ...] = ()) -> tuple[bytes, OldImage]:
    """Instructions in hexadecimal digits."""
    code, starts = b"", bytearray()
    for instruction in map(bytes.fromhex, text.split()):
        code += instruction
        starts += b"\1" + bytes(len(instruction) - 1)
    return code, OldImage(starts=bytes(starts), functions=list(functions))


def test_paddings_between() -> None:
    old, image = image_of("c3 90 6690 c3 c3 90 c3", (5, 7))
    found = Paddings(old, image, [])
    found.behind_jumps = False
    assert list(found.between(0, 8)) == [Padding(1, 4, False), Padding(5, 5, True), Padding(6, 7, True)]
    assert list(found.between(2, 8)) == [Padding(5, 5, True), Padding(6, 7, True)]
    assert list(found.between(3, 7)) == [Padding(5, 5, True)]
    assert list(found.between(6, 8)) == []


def test_code_behind_a_jump() -> None:
    """Where it begins without a padding, that is known if the image pads there."""
    found = Paddings(*image_of("88c0 eb02 88c0 90 c3 c3"), [])
    for known in (True, False):
        found.behind_jumps = known
        bare = [Padding(4, 4, False), Padding(8, 8, False)] if known else []
        assert list(found.between(0, 9)) == sorted([*bare, Padding(6, 7, False)])
        assert list(found.between(4, 8)) == [Padding(6, 7, False)]


# Deltas made by hand

OLD = program(padded(FUNCTIONS))
IMAGE = image_reader.parse(OLD)
LATEST_END = 1  # a place; at first it is the old offset 0


def by_hand(new_size: int, *blocks: Block) -> bytes:
    made = plain(OLD, new_size, blocks, data=bytes(4), stretched=True)
    layout = signed(0) + number(len(IMAGE.regions)) + number(0) + number(4 * len(blocks) + 2)
    return bytes(made.but(flags=0, streams={**made.streams, LAYOUT: layout}))


def test_pieces_must_fit() -> None:
    """All old bytes four bytes later: the first padding takes up the difference, or becomes longer."""
    pieces = Paddings(OLD, IMAGE, IMAGE.regions).pieces(delta_reader.Block(4, 0, len(OLD)))
    end = pieces[-1].new + pieces[-1].length
    assert len(pieces) > 1 and end % 16 == len(OLD) % 16
    for given_size in (end, end - 1):
        delta = by_hand(given_size, Block(4, len(OLD), LATEST_END))
        try:
            made = stream_reader.decode(OLD, delta, IMAGE)
        except delta_reader.Refused as refused:
            assert given_size == end - 1 and refused.reason == "E_DELTA"
            with pytest.raises(DeltaError):
                apply(OLD, delta)
        else:
            assert given_size == end and apply(OLD, delta) == made


def test_plain_bytes_have_no_paddings() -> None:
    delta = plain(OLD, 4 + len(OLD), [Block(4, len(OLD), LATEST_END)], data=b"1234", stretched=True)
    made = b"1234" + OLD
    assert stream_reader.decode(OLD, bytes(delta)) == made == apply(OLD, bytes(delta))
