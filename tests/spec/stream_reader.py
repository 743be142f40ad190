"""A second decoder of deltas of streams, written from docs/spec/delta-format.md alone: the walk, of what
delta_reader.py reads.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator

from spec.delta_reader import (
    CODE,
    CODE_CLASS,
    DATA,
    KINDS,
    LAYOUT,
    MASK,
    REFERENCE_FIXES,
    REFERENCE_GAPS,
    RESIDUAL_GAPS,
    RESIDUALS,
    Block,
    Derivation,
    LayoutStream,
    OldImage,
    Prediction,
    Reader,
    Reference,
    Refused,
    Region,
    Streams,
    Tails,
    address_of,
    chunk_end,
    contexts_of,
    damaged,
    expect_fresh,
    put_reference,
    read_blocks,
    read_derivations,
    read_header,
    read_lists,
    read_regions,
    region_of_offset,
    zigzag,
)
from spec.frames_reader import StreamDecisions, Unwinding, ends_of_tables
from spec.paddings_reader import Paddings
from spec.renames_reader import read_renames
from spec.shifts_reader import Frames


class Gaps:
    """Which items of a sequence are wrong; each call takes some of them and says where."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._taken = 0
        self._next = self._read(-1)

    def _read(self, last: int) -> int | None:
        return last + 1 + self._stream.number() if self._stream.left else None

    def wrong(self, count: int) -> Iterator[int]:
        start, self._taken = self._taken, self._taken + count
        while self._next is not None and self._next < self._taken:
            at, self._next = self._next, self._read(self._next)
            yield at - start

    def check_end(self) -> None:
        damaged(self._next is not None, "a gap leads beyond the last item")


def decode(old: bytes, delta: bytes, image: OldImage | None = None, *, limit: int = 2**63) -> bytes:
    """The new image. ``image``: regions and references of the old one, where the delta is not plain."""
    header = read_header(delta, limit=limit)
    is_old = not header.digests or hashlib.sha256(old).digest()[:16] == header.digests[0]
    if len(old) != header.old_size or not is_old:
        raise Refused("E_BASE", "the old image is another")
    known = OldImage() if header.plain or image is None else image
    streams = Streams(delta, header)
    layout = LayoutStream(streams[LAYOUT])
    regions = read_regions(layout, known.regions, header.new_size)
    derivations, listed = read_derivations(layout, known, len(old), header.new_size)
    tails = Tails()
    if listed & 2:
        tails.read(layout, old, header.new_size)
    copied = read_renames(layout, old, known.regions) if listed & 4 else old
    overlap = any(first < d.end and d.start < last for d in derivations for first, last in tails.pieces)
    damaged(overlap, "derivation over a compressed stream")
    left_out = [(d.start, d.end) for d in derivations] + tails.pieces
    if listed & 1:
        left_out += expect_fresh(known, regions, len(old), header.new_size)
    stretch = Paddings(old, known, regions).pieces
    blocks = read_blocks(streams, left_out, tails, known, len(old), header.new_size, stretch)
    in_image = [block for block in blocks if block.new < header.new_size]
    made = read_lists(layout, derivations, known, in_image, regions, header.new_size)
    streams.give_contexts(contexts_of(old, in_image, regions, header.new_size) if header.context else [])
    tables = {d.unwinds: d for d in derivations if d.unwinds}
    whole = old + tails.old
    prediction = Prediction(known, len(whole), blocks, regions, ends_of_tables(known, tables))
    decisions = StreamDecisions(streams[LAYOUT])
    unwind = Unwinding(decisions, prediction, whole, tables, header.new_size)
    filling = Filling(streams, regions, derivations, tails, made, unwind)
    new = Walk(copied + tails.old, known, streams, blocks, filling, prediction).all(
        len(in_image), header.new_size
    )
    streams.check_ends()
    if header.digests and hashlib.sha256(new).digest()[:16] != header.digests[1]:
        raise Refused("E_DIGEST", "the result is not the new image")
    return new


class Filling:
    """The bytes of gaps: literals, each from the stream of its region's class, and derived bytes."""

    def __init__(
        self,
        streams: Streams,
        regions: list[Region],
        derivations: list[Derivation],
        tails: Tails,
        lists: dict[int, bytes],
        unwind: Unwinding,
    ) -> None:
        self.streams, self.regions, self.derivations, self.tails = streams, regions, derivations, tails
        self.lists, self.unwind = lists, unwind
        loaded = [(r.offset, r.offset + r.size) for r in regions if r.has_bytes]
        derived = [(d.start, d.end) for d in derivations] + tails.pieces
        self._edges = sorted({edge for pair in loaded + derived for edge in pair})

    def fill(self, out: bytearray, end: int, start: int) -> None:
        """Up to the new offset ``end``, cut where the source may change; ``out`` begins at ``start``."""
        while (at := start + len(out)) < end:
            if at in self.streams.part_starts:
                damaged(self.streams.part_starts[at] != self.streams[CODE].at, "part of code")
            derivation = next((d for d in self.derivations if d.start == at), None)
            if derivation is not None:
                self.unwind.meet(at, out)
                made = self.lists.get(at) or self.unwind.made.get(at)
                out += made or derivation.make(bytes(out))
                continue
            if at in self.tails.made:
                out += self.tails.made[at]
                continue
            later = bisect_right(self._edges, at)
            stop = min(end, self._edges[later]) if later < len(self._edges) else end
            region = region_of_offset(self.regions, at)
            code = region is not None and region.kind == CODE_CLASS
            out += self.streams[CODE if code else DATA].take(stop - at)


class Walk:
    """Along the new tail, then along the new image. ``old`` has its tail."""

    def __init__(
        self,
        old: bytes,
        image: OldImage,
        streams: Streams,
        blocks: list[Block],
        filling: Filling,
        prediction: Prediction,
    ) -> None:
        self.old, self.image, self.streams, self.blocks, self.filling = old, image, streams, blocks, filling
        self.prediction = prediction
        self.wrong_items = Gaps(streams[RESIDUAL_GAPS])
        self.wrong_references = Gaps(streams[REFERENCE_GAPS])
        self.offsets = [reference.offset for reference in image.references]
        self.code = [image.regions[number] for number in image.of_words]
        self.frames = Frames(image.functions)

    def all(self, of_image: int, new_size: int) -> bytes:
        """The new image; ``of_image``: blocks before those of the tail."""
        tails = self.filling.tails
        tails.make(self.stretch(range(of_image, len(self.blocks)), new_size, new_size + tails.new_size))
        new = self.stretch(range(of_image), 0, new_size)
        self.wrong_items.check_end()
        self.wrong_references.check_end()
        return new

    def items(self, block: Block, references: list[Reference]) -> list[tuple[int, bool]]:
        """Old offsets of what is mended as a whole, and which of them are words, not bytes."""
        end, first = block.old + block.length, block.old
        items: list[tuple[int, bool]] = []
        aligned = (block.new - block.old) % 4 == 0
        while first < end:
            last, o = chunk_end(first, end, references), first
            while o < last:
                is_word = aligned and o % 4 == 0 and o + 4 <= last and self.is_code_of_words(o)
                items.append((o, is_word))
                o += 4 if is_word else 1
            first = last
        return items

    def is_code_of_words(self, o: int) -> bool:
        return any(r.offset <= o and o + 4 <= r.offset + r.size for r in self.code)

    def word(self, out: bytearray, at: int, o: int, *, is_wrong: bool) -> None:
        copied = int.from_bytes(out[at : at + 4], "little")
        word = self.frames.predict(o, copied)
        if is_wrong:
            difference = self.streams[RESIDUALS].signed()
            damaged(not -(2**31) <= difference < 2**31, "residual of a word")
            word = word + difference & 2**32 - 1
            self.frames.learn(copied, word)
        out[at : at + 4] = word.to_bytes(4, "little")

    def stretch(self, numbers: range, start: int, end: int) -> bytes:
        out = bytearray()
        for number in numbers:
            block = self.blocks[number]
            self.filling.fill(out, block.new, start)
            out += self.old[block.old : block.old + block.length]
            at = block.new - start
            references = _inside(self.image.references, self.offsets, block)
            wrong = set(self.wrong_references.wrong(len(references)))
            for index, reference in enumerate(references):
                fixes = self.streams if index in wrong else None
                _settle(out, reference, block, number, self.prediction, fixes, start)
            items = self.items(block, references)
            wrong_items = set(self.wrong_items.wrong(len(items)))
            for number, (o, is_word) in enumerate(items):
                place = o - block.old + at
                if is_word:
                    self.word(out, place, o, is_wrong=number in wrong_items)
                elif number in wrong_items:
                    out[place] = out[place] + self.streams[RESIDUALS].take(1)[0] & 255
        self.filling.fill(out, end, start)
        return bytes(out)


def _inside(references: list[Reference], offsets: list[int], block: Block) -> list[Reference]:
    first, last = bisect_right(offsets, block.old - 1), bisect_right(offsets, block.old + block.length - 1)
    end = block.old + block.length
    return [r for r in references[first:last] if r.offset + KINDS[r.kind].length <= end]


def _settle(
    out: bytearray,
    reference: Reference,
    block: Block,
    number: int,
    prediction: Prediction,
    fixes: Streams | None,
    start: int,
) -> None:
    at = reference.offset - block.old + block.new
    place = address_of(prediction.map.new_regions, at)
    expected, base = prediction.both(reference, place, number)
    target = expected
    if fixes is not None:
        field = bytes(out[at - start : at - start + KINDS[reference.kind].length])
        kept, aside = prediction.correction(reference, field, place, expected, base)
        number = fixes[REFERENCE_FIXES].number()
        target = kept if number == 0 else aside + zigzag(number - 1) & MASK
    put_reference(out, at - start, reference, place, target, base)
    prediction.settle(reference, place, expected, target, base, corrected=fixes is not None)
