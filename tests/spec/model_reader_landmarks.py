"""What is seen where a number may lead: docs/spec/delta-model.md, "Landmarks"."""

from __future__ import annotations

from bisect import bisect_right

from spec.delta_reader import CODE_CLASS, MASK, Block, OldImage, Region, byte_named

NONE, BYTE, START, TARGET = range(4)


class Landmarks:
    """Of the old file; of new addresses from :meth:`know` on."""

    def __init__(self, image: OldImage, old_file: bytes) -> None:
        self._image, self._old_file, self._old_end = image, old_file, len(old_file)
        self._targets = set[int]()
        self._regions: list[Region] = []
        self._blocks: list[Block] = []
        for reference in image.references:
            named = byte_named(image.regions, reference.target, self._old_end)
            if (
                named is not None
                and named[0] < self._old_end
                and not self._is_wrong(reference.target, named[0])
            ):
                self._targets.add(named[0])

    def _is_start(self, o: int) -> bool:
        return o < len(self._image.starts) and self._image.starts[o] == 1

    def _is_wrong(self, target: int, o: int) -> bool:
        for number, region in enumerate(self._image.regions):
            if region.address <= target < region.address + region.size:
                is_code = region.kind == CODE_CLASS and number not in self._image.of_words
                return is_code and not self._is_start(o)
        return False

    def know(self, regions: list[Region], blocks: list[Block]) -> None:
        self._regions, self._blocks = regions, blocks
        self._news = [block.new for block in blocks]

    def standing(self, end: int) -> int:
        """At the end of a block."""
        if end >= self._old_end:
            return 512
        return self._old_file[end] + 256 * self._is_start(end)

    def old(self, offset: int) -> int:
        offset &= MASK
        if offset >= self._old_end:
            return NONE
        if offset in self._targets:
            return TARGET
        return START if self._is_start(offset) else BYTE

    def new(self, address: int) -> int:
        address &= MASK
        loaded = [r for r in self._regions if r.has_bytes and r.address <= address]
        region = max(loaded, key=lambda r: r.address, default=None)
        for other in loaded:  # of equal ones the last
            if region is not None and other.address == region.address:
                region = other
        if region is None or address >= region.address + region.size:
            return NONE
        n = region.offset + address - region.address
        at = bisect_right(self._news, n) - 1
        if at < 0 or n >= self._blocks[at].new + self._blocks[at].length:
            return NONE
        return self.old(n - self._blocks[at].new + self._blocks[at].old)


def view(seen: list[int]) -> int:
    if len(seen) <= 2:
        return seen[0] if len(seen) == 1 else 4 * seen[0] + seen[1]
    starts, targets = min(3, seen.count(START)), min(2, seen.count(TARGET))
    return starts + 4 * targets + 16 * (NONE in seen)
