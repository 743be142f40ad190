"""Container, layout, derivations and blocks of the modelled delta, from docs/spec/delta-model.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spec.delta_reader import (
    MASK,
    Block,
    Derivation,
    OldImage,
    Reader,
    Region,
    Tails,
    What,
    damaged,
    expect_fresh,
    leave_out,
    over,
    read_derivations,
    read_lists,
    read_parts,
    read_regions,
    settle,
    zigzag,
)
from spec.model_reader_coder import Model, bits, m
from spec.model_reader_landmarks import Landmarks
from spec.paddings_reader import Paddings
from spec.renames_reader import read_renames

PLAIN, MODELLED, CONTEXT = 2, 8, 4
TABLE_MAX = 192


@dataclass(frozen=True)
class Header:
    plain: bool
    old_size: int
    new_size: int
    digests: tuple[bytes, bytes] | None
    parts: list[int]
    table: int
    size: int


def is_modelled(delta: bytes) -> bool:
    return len(delta) > 5 and delta[5] & MODELLED != 0


def read_header(delta: bytes, *, limit: int = 2**63) -> Header:
    reader = Reader(delta)
    damaged(reader.take(4) != b"\xd5\x64\x73\x0a", "magic")
    damaged(reader.take(1) != b"\1", "revision")
    flags = reader.take(1)[0]
    damaged(flags & ~31 != 0 or flags & 18 == 18 or flags & MODELLED == 0 or flags & CONTEXT != 0, "flags")
    damaged(reader.number(63) != len(delta), "total")
    old_size = reader.number(63)
    new_size = old_size + zigzag(reader.number(63))
    damaged(not 0 <= new_size < 1 << 63, "new size")
    digests = (reader.take(16), reader.take(16)) if flags & 1 else None
    parts = read_parts(reader, old_size) if flags & 16 else []
    table = reader.take(1)[0]
    damaged(table == 0, "no table")
    over(table > TABLE_MAX, "table")
    over(new_size > limit, "new size")
    return Header(flags & PLAIN != 0, old_size, new_size, digests, parts, table, reader.at)


class Layout:
    """Stream 0 as numbers of the model: what delta_reader.Reader is for streams."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def number(self, what: What) -> int:
        return self._model.number("layout", [what, 0])

    def signed(self, what: What) -> int:
        return zigzag(self.number(what))


@dataclass
class Decided:
    """What is known before the walk."""

    regions: list[Region]
    derivations: list[Derivation]
    tails: Tails
    copied: bytes  # the old image as it is copied
    blocks: list[Block]
    lists: dict[int, bytes]
    landmarks: Landmarks


def read_decided(model: Model, old: bytes, image: OldImage, new_size: int) -> Decided:
    layout, landmarks = Layout(model), Landmarks(image, old)
    regions = read_regions(layout, image.regions, new_size)
    derivations, listed = read_derivations(layout, image, len(old), new_size)
    tails = Tails()
    if listed & 2:
        tails.read(layout, old, new_size)
    copied = read_renames(layout, old, image.regions) if listed & 4 else old
    overlap = any(first < d.end and d.start < last for d in derivations for first, last in tails.pieces)
    damaged(overlap, "derivation over a compressed stream")
    model.decoder.look()
    left_out = [(d.start, d.end) for d in derivations] + tails.pieces
    if listed & 1:
        left_out += expect_fresh(image, regions, len(old), new_size)
    count, ways = divmod(layout.number(What.BLOCKS), 4)
    stretch = Paddings(old, image, regions).pieces if ways >= 2 else alone
    damaged(count > new_size + tails.new_size, "number of blocks")
    sizes = len(old) + len(tails.old), new_size + tails.new_size
    blocks = read_blocks(model, landmarks, count, image if ways % 2 else None, *sizes, stretch)
    blocks = leave_out(blocks, left_out, len(old), new_size)
    in_image = [block for block in blocks if block.new < new_size]
    lists = read_lists(layout, derivations, image, in_image, regions, new_size)
    model.decoder.look()
    landmarks.know(regions, blocks)
    return Decided(regions, derivations, tails, copied, blocks, lists, landmarks)


def alone(block: Block) -> list[Block]:
    """A block is its one piece, if blocks are not stretched."""
    return [block]


def read_blocks(
    model: Model,
    landmarks: Landmarks,
    count: int,
    image: OldImage | None,
    old_size: int,
    new_size: int,
    stretch: Callable[[Block], list[Block]],
) -> list[Block]:
    """``old_size``, ``new_size``: with the tails. ``image``: where blocks name functions."""
    blocks: list[Block] = []
    diagonals, ends = [0] * 8, [0] * 16
    p0 = g0 = g1 = l0 = l1 = e = end = 0
    for number in range(count):
        if number % 4096 == 0:
            model.decoder.look()
        q = landmarks.standing(ends[0])
        gap = model.number("gap", [0, m(g0, g1), m(m(g0, p0), l0), m(1, q)])
        g, new = bits(gap), end + gap
        x = gap if gap < 64 else 64 + g
        places = [0, g, m(m(l0, p0), g), m(m(e % 4, p0), g), m(q, x)]
        place = model.symbol("place", 5, places)
        damaged(place > 27 and image is None, "place")
        if place >= 24:
            b = place - 24
            seen = seen_behind(landmarks, ends[b]) if b < 4 else None
            contexts = [b, m(b, p0), m(l0, g), m(q, x), m(m(b, 9), x)]
            old = far(model.signed("far", contexts, seen), b, ends, image)
        else:
            old = ends[0] if place == 1 else ends[place - 8] if place > 8 else None
            if old is None:
                old = new + diagonals[place - 1 if place else 0]
        old &= MASK
        damaged(old >= old_size, "block outside the old image")
        lengths = [0, place, m(l0, l1), m(m(g, place), p0)]
        ended = image is not None and block_ends(model, image, old, place, g, l0, e)
        if ended:
            assert image is not None
            functions = model.number("length", [m(h, 1) for h in lengths])
            length = image.function(image.functions_before(old + 1) + functions) - old
        else:
            length = model.number("length", lengths, seen_behind(landmarks, old)) or old_size - old
        damaged(old + length > old_size, "block outside the old image")
        made = stretch(Block(new, old, length))
        damaged(any(piece.new + piece.length > new_size for piece in made), "block outside the new image")
        settle(diagonals, ends, made)
        blocks += made
        end = made[-1].new + made[-1].length
        p0, g0, g1, l0, l1 = place, g, g0, bits(length - 1), l0
        e = (2 * e + ended) % 2**32
    return blocks


def seen_behind(landmarks: Landmarks, offset: int) -> Callable[[int], int]:
    return lambda n: landmarks.old(offset + n)


def block_ends(model: Model, image: OldImage, old: int, place: int, g: int, l0: int, e: int) -> bool:
    before = image.functions_before(old)
    s = int(before < len(image.functions) and image.functions[before] == old)
    a = 2 * place + s
    contexts = [a, m(a, e % 4), m(s, e % 256), m(a, l0), m(a, g), m(m(a, g), e % 8)]
    return model.flag("block ends", contexts, s) == 1


def far(distance: int, b: int, ends: list[int], image: OldImage | None) -> int:
    if b < 4:
        return ends[b] + distance
    assert image is not None
    return image.function(image.functions_before(ends[b - 4]) + distance)
