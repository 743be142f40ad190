"""A second decoder of modelled deltas, written from docs/spec/delta-model.md and the pages it names alone: no
code of deltaseal, everything in memory, slow and plain. This file is the walk; model_reader_coder.py decodes
bits and numbers, and the other files named so what the walk goes along.
"""

from __future__ import annotations

import hashlib

from spec.delta_reader import (
    CODE_CLASS,
    KINDS,
    Block,
    OldImage,
    Prediction,
    Refused,
    chunk_end,
    region_of_offset,
)
from spec.frames_reader import Unwinding, ends_of_tables
from spec.model_reader_coder import Model
from spec.model_reader_copies import References, Residuals
from spec.model_reader_gaps import Alignment, New, Shared, Targets, Words, read_data, show_data
from spec.model_reader_layout import Decided, read_decided, read_header
from spec.model_reader_teach import CODE, DATA, WORDS, Teaching
from spec.model_reader_x86_64 import Code

RUN = 32_768


def decode(old: bytes, delta: bytes, image: OldImage | None = None, *, limit: int = 2**63) -> bytes:
    """The new image. ``image``: what the old one is, where the delta is not plain."""
    header = read_header(delta, limit=limit)
    is_old = not header.digests or hashlib.sha256(old).digest()[:16] == header.digests[0]
    if len(old) != header.old_size or not is_old:
        raise Refused("E_BASE", "the old image is another")
    known = OldImage() if header.plain or image is None else image
    model = Model(delta[header.size :], header.table)
    decided = read_decided(model, old, known, header.new_size)
    new = Walk(model, known, old, decided, header.new_size).all()
    model.decoder.check_end()
    if header.digests and hashlib.sha256(new).digest()[:16] != header.digests[1]:
        raise Refused("E_DIGEST", "the result is not the new image")
    return new


class Walk:
    """Along the new tail, then along the new image."""

    def __init__(self, model: Model, image: OldImage, old: bytes, decided: Decided, new_size: int) -> None:
        self.model, self.image, self.decided, self.new_size = model, image, decided, new_size
        blocks, tails = decided.blocks, decided.tails
        self.of_image = sum(block.new < new_size for block in blocks)
        whole, self.copied = old + tails.old, decided.copied + tails.old
        tables = {d.unwinds: d for d in decided.derivations if d.unwinds}
        ends = ends_of_tables(image, tables)
        prediction = Prediction(image, len(whole), blocks, decided.regions, ends)
        self.shared = Shared(model, decided.landmarks, image, whole, len(old), prediction, decided.regions)
        self.alignment = Alignment(self.shared, 64 * (new_size + tails.new_size))
        targets = Targets(self.shared)
        left = new_size - sum(block.length for block in blocks[: self.of_image])
        self.teaching = Teaching(len(old), left)
        self.code = Code(self.shared, self.alignment, targets)
        self.words = Words(self.shared, self.alignment, targets)
        self.references = References(self.shared, targets, blocks)
        self.residuals = Residuals(self.shared, self.references)
        loaded = [(r.offset, r.offset + r.size) for r in decided.regions if r.has_bytes]
        computed = [(d.start, d.end) for d in decided.derivations] + tails.pieces
        self._edges = sorted({edge for pair in loaded + computed for edge in pair})
        self._derived = {d.start: d.end for d in decided.derivations}
        self._unwind = Unwinding(model, prediction, whole, tables, new_size)

    def all(self) -> bytes:
        blocks, tails = self.decided.blocks, self.decided.tails
        tail = New(self.new_size)
        if tails.new:
            self.stretch(tail, range(self.of_image, len(blocks)), self.new_size + tails.new_size)
            tails.make(bytes(tail.data))
        new = New(0)
        self.stretch(new, range(self.of_image), self.new_size)
        out = new.data
        for derivation in self.decided.derivations:
            made = self.decided.lists.get(derivation.start) or self._unwind.made.get(derivation.start)
            out[derivation.start : derivation.end] = made or derivation.make(bytes(out))
        return bytes(out)

    def stretch(self, new: New, numbers: range, end: int) -> None:
        for number in numbers:
            block = self.decided.blocks[number]
            self.gap(new, numbers, number, block.new)
            self.block(new, block, number)
        self.gap(new, numbers, numbers.stop, end)

    # Gaps

    def gap(self, new: New, numbers: range, number: int, end: int) -> None:
        """Up to the new offset ``end``, before block ``number``."""
        if new.end == end:
            return
        blocks, old_end = self.decided.blocks, self.shared.old_end
        before = blocks[number - 1] if number > numbers.start else None
        block = blocks[number] if number < numbers.stop else None
        if before is None:
            in_tail = new.start > 0
            self.alignment.begin(old_end if in_tail else 0, in_tail=in_tail)
        else:
            old = before.old + before.length
            self.alignment.begin(old, in_tail=before.old >= old_end)
            found = (k for k in range(1, min(15, before.length) + 1) if self.shared.is_start(old - k))
            k = next(found, None)
            if k is not None:
                self.code.instruction = before.new + before.length - k
        while new.end < end:
            stop = min([end, *(edge for edge in self._edges if edge > new.end)])
            self.fill(new, stop - new.end, end, number, before, block)

    def fill(
        self, new: New, size: int, end: int, number: int, before: Block | None, block: Block | None
    ) -> None:
        """One stretch of the gap that ends at new offset ``end``."""
        at = new.end
        region = region_of_offset(self.decided.regions, at)
        is_code = region is not None and region.kind == CODE_CLASS
        is_words = is_code and self.is_of_words(at)
        show = self.words.show if is_words else self.code.show if is_code else self.show_data
        self.teaching.teach(before, block, end - at, WORDS if is_words else CODE if is_code else DATA, show)
        if at in self._derived:
            self._unwind.meet(at, new.data)
            new.data += bytes(size)
            return
        if at in self.decided.tails.made:
            new.data += self.decided.tails.made[at]
            return
        for first in range(0, size, RUN):
            length = min(RUN, size - first)
            if is_words and new.end % 4 == length % 4 == 0:
                self.words.run(new, length, number)
            elif is_code and not is_words:
                self.code.run(new, length, number)
            else:
                read_data(self.shared, new, self.alignment, length)
            self.model.decoder.look()

    def show_data(self, first: int, last: int) -> None:
        show_data(self.shared, first, last)

    def is_of_words(self, offset: int) -> bool:
        regions, old = self.decided.regions, self.image
        code = {number for number, region in enumerate(old.regions) if region.kind == CODE_CLASS}
        if code and code == old.of_words:
            return True
        region = region_of_offset(regions, offset)
        return any(regions[number] is region for number in old.of_words if number < len(regions))

    # Blocks

    def block(self, new: New, block: Block, number: int) -> None:
        end = block.old + block.length
        inside = [
            r
            for r in self.image.references
            if block.old <= r.offset and r.offset + KINDS[r.kind].length <= end
        ]
        first = block.old
        while first < end:
            last = chunk_end(first, end, inside)
            new.data += self.copied[first:last]
            for reference in inside:
                if first <= reference.offset < last:
                    self.references.read(new, reference, block, number)
            self.residuals.read(new, block, first, last)
            self.model.decoder.look()
            first = last
