"""Paddings that are made anew, written from docs/spec/delta-format.md, "Paddings", alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from spec.delta_reader import MASK, Block, OldImage, Region

PERIOD = 32
LEARNED = 16_384
WORD = bytes.fromhex("1f2003d5")


class Padding(NamedTuple):
    begin: int
    end: int
    of_function: bool


class Seam(NamedTuple):
    begin: int
    end: int
    new_begin: int
    new_size: int


def seams(old: list[Region], new: list[Region]) -> list[Seam]:
    """Between old regions that follow each other in the file, where the new ones are apart otherwise."""
    numbers = sorted((n for n, region in enumerate(old) if region.has_bytes), key=lambda n: old[n].offset)
    found = []
    for i, j in pairwise(numbers):
        if max(i, j) >= len(new) or not (new[i].has_bytes and new[j].has_bytes):
            continue
        begin, end = old[i].offset + old[i].size, old[j].offset
        new_begin = new[i].offset + new[i].size
        size = new[j].offset - new_begin
        if size >= 0 and size != end - begin:
            found.append(Seam(begin, end, new_begin, size))
    return found


class Paddings:
    """What the old image, without its tail, teaches of paddings."""

    def __init__(self, old: bytes, image: OldImage, regions: list[Region]) -> None:
        """``regions``: the new ones."""
        self.old, self.image = old, image
        self.seams = seams(image.regions, regions)
        self.functions = frozenset(image.functions)
        self.learned = False
        self.lengths = ([-1] * PERIOD, [-1] * PERIOD)
        self.fills: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.behind_jumps = True

    def next_mark(self, at: int) -> int:
        found = self.image.starts.find(1, at)
        return len(self.old) if found < 0 else found

    def between(self, first: int, last: int) -> Iterator[Padding]:
        """Those that begin behind ``first`` and end before ``last``."""
        last = min(last, len(self.old)) if self.image.starts else 0
        begin = at = self.next_mark(first)
        led_away = False
        while at < last:
            behind = self.next_mark(at + 1)
            if does_nothing(self.old[at:behind]):
                at = behind
                continue
            of_function = at in self.functions
            if begin > first and (begin < at or of_function or (led_away and self.behind_jumps)):
                yield Padding(begin, at, of_function)
            led_away = leads_away(self.old[at:behind])
            begin = at = behind

    def _learn(self) -> None:
        self.learned = True
        counts = (Counter[tuple[int, int]](), Counter[tuple[int, int]]())
        votes = (Counter[int](), Counter[int]())
        for number, padding in enumerate(self.between(0, len(self.old))):
            if number == LEARNED:
                break
            begin, end, kind = padding
            length = end - begin
            if length >= PERIOD or (not kind and length and end % 8):
                continue
            counts[kind][begin % PERIOD, length] += 1
            if length == 0:
                continue
            if votes[kind][length] == 0:
                self.fills[kind][length] = begin
            fill = self.fills[kind][length]
            same = self.old[fill : fill + length] == self.old[begin:end]
            votes[kind][length] += 1 if same else -1
        for kind in (False, True):
            self._settle(kind, counts[kind])
        rules = [(begin, length) for begin, length in enumerate(self.lengths[False]) if length > 0]
        padded, bare = (
            sum(counts[False][rule] for rule in chosen)
            for chosen in (rules, [(begin, 0) for begin, _ in rules])
        )
        self.behind_jumps = padded > bare

    def _settle(self, kind: bool, counts: Counter[tuple[int, int]]) -> None:
        lengths = self.lengths[kind]
        for (begin, length), count in sorted(counts.items()):
            most = counts[begin, lengths[begin]] if lengths[begin] >= 0 else 1
            if length == 0 and not kind:
                continue
            if count > most:
                lengths[begin] = length
        pairs = [(lengths[i], lengths[i + 16]) for i in range(16)]
        if all(a == b or a < 0 or b < 0 for a, b in pairs):
            for i, pair in enumerate(pairs):
                lengths[i] = lengths[i + 16] = max(pair)
        for begin in range(0, PERIOD, 8):
            if not kind and (begin % 16 == 0 or lengths[begin] < 0):
                lengths[begin] = 0

    def made_anew(self, padding: Padding, shift: int) -> int | None:
        """The other length that it has where it is moved; None where it is not made anew."""
        begin, end, kind = padding
        length, lengths = end - begin, self.lengths[kind]
        made = lengths[(begin + shift) % PERIOD]
        if length >= PERIOD or lengths[begin % PERIOD] != length or made in (-1, length):
            return None
        return made if made == 0 or made in self.fills[kind] else None

    def pieces(self, block: Block) -> list[Block]:
        """What a block stands for."""
        if not self.learned:
            self._learn()
        new, old, last = block.new, block.old, block.old + block.length
        out: list[Block] = []
        while True:
            shift = (new - old) & MASK
            fits = (s for s in self.seams if s.begin > old and s.end < last)
            seam = next((s for s in fits if (s.begin + shift) & MASK == s.new_begin), None)
            found = ((p, self.made_anew(p, shift)) for p in self.between(old, seam.begin if seam else last))
            change = next(((p, made) for p, made in found if made is not None), None)
            if change is not None:
                padding, made = change
                begin, end, copied = padding.begin, padding.end, made
                fill = self.fills[padding.of_function].get(made, 0)
            elif seam is not None:
                begin, end, made = seam.begin, seam.end, seam.new_size
                fill, copied = begin, min(made, end - begin)
            else:
                return [*out, Block(new, old, last - old)]
            out.append(Block(new, old, begin - old))
            new += begin - old
            if copied:
                out.append(Block(new, fill, copied))
            new, old = new + made, end


def does_nothing(instruction: bytes) -> bool:
    if instruction in (WORD, b"\xcc"):
        return True
    rest = instruction.lstrip(b"\x66\x2e")
    return rest == b"\x90" or (len(rest) > 2 and rest[:2] == b"\x0f\x1f")


def leads_away(instruction: bytes) -> bool:
    """Behind it nothing goes on: a return, or a jump without condition."""
    word = int.from_bytes(instruction, "little") if len(instruction) == 4 else 0
    if word & 0xFC000000 == 0x14000000 or word & 0xFFBFFC1F == 0xD61F0000:
        return True
    rest = instruction[1:] if instruction[:1] == b"\x3e" and len(instruction) > 1 else instruction
    if rest[:1] == b"\xff":
        return len(rest) > 1 and rest[1] >> 3 & 7 == 4
    return (rest[:1], len(rest)) in ((b"\xc3", 1), (b"\xeb", 2), (b"\xe9", 5))
