"""The sweep of AArch64 code, from docs/spec/image-aarch64.md; its table of classes is read from there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from spec.delta_reader import Region
from spec.image_reader_model import MASK, Added, Building
from spec.image_reader_page import code_blocks

CLASSES = [name for row in code_blocks("image-aarch64.md")[0].splitlines()[1:] for name in row.split()[1:]]
WINDOW, PAGE = 256, 4096
CALL = {*range(19), 30}
NONE: set[int] = set()


def bits(word: int, high: int, low: int) -> int:
    return word >> low & (1 << high - low + 1) - 1


def signed_bits(word: int, high: int, low: int) -> int:
    number, size = bits(word, high, low), high - low + 1
    return number - (1 << size) if number >> size - 1 else number


def written(name: str, w: int) -> set[int]:
    d, n, t, s = bits(w, 4, 0), bits(w, 9, 5), bits(w, 14, 10), bits(w, 20, 16)
    if name in ("w", "ar", "ap", "ad"):
        return {d}
    if name == "bl" or (name == "br" and bits(w, 22, 21) == 1):
        return CALL
    if name == "ex":
        return {0} if bits(w, 23, 21) == 0 else NONE
    if name == "sy":
        return {d} if bits(w, 21, 21) else NONE
    if name == "li":
        return NONE if bits(w, 31, 30) == 3 else {d}
    if name == "of":
        return NONE if bits(w, 23, 22) == 0 or bits(w, 31, 22) == 0x3E6 else {d}
    if name == "si":
        data = NONE if bits(w, 23, 22) == 0 or (w >> 24 == 0xF8 and bits(w, 23, 22) == 2) else {d}
        if bits(w, 24, 24):
            return {d, n, s} if bits(w, 21, 21) or bits(w, 11, 10) else data
        if bits(w, 21, 21):
            return data if bits(w, 11, 10) == 2 else {d, n} if bits(w, 11, 10) == 3 else {d}
        return data | {n} if bits(w, 10, 10) else data
    if name == "sv":
        return {n} if not bits(w, 24, 24) and not bits(w, 21, 21) and bits(w, 10, 10) else NONE
    if name == "pr":
        return ({d, t} if bits(w, 22, 22) else NONE) | ({n} if bits(w, 23, 23) else NONE)
    if name in ("pv", "st"):
        return {n} if bits(w, 23, 23) else NONE
    if name == "xc":
        if bits(w, 22, 22):
            return {d, t, s} if bits(w, 21, 21) else {d}
        return NONE if bits(w, 23, 23) and not bits(w, 21, 21) else {s}
    if name == "co":
        return NONE if bits(w, 23, 21) == 2 else {d}
    if name == "fl":
        if bits(w, 21, 21):
            return {d} if bits(w, 15, 10) == 0 and bits(w, 18, 16) in (0, 1, 4, 5, 6) else NONE
        return {d} if bits(w, 18, 17) == 0 else NONE
    if name == "ve":
        return {d} if bits(w, 23, 21) == 0 and bits(w, 10, 10) and bits(w, 15, 11) in (5, 7) else NONE
    return NONE


@dataclass(slots=True)
class Page:
    address: int
    count: int
    waiting: Added | None


BRANCHES = {"b": ("B26", 25, 0), "bl": ("B26", 25, 0), "jt": ("IMM14", 18, 5)}
BRANCHES |= dict.fromkeys(("jc", "li", "lv"), ("IMM19", 23, 5))


class Sweep:
    def __init__(self, image: Building, region: Region) -> None:
        self.image, self.bias = image, region.address - region.offset

    def chunk(self, offset: int, end: int) -> None:
        self.pages: dict[int, Page] = {}
        self.count = 0
        offset += -(self.bias + offset) % 4
        for at in range(offset, end - 3, 4):
            word = self.image.u32(at)
            name = CLASSES[word >> 24]
            if name == ".":
                continue
            self.count += 1
            self.image.starts[at] = 1
            self.take(name, word, at, self.bias + at)

    def add_known(self, at: int, kind: str, target: int) -> None:
        if self.image.region_of(target & MASK) is not None:
            self.image.put(at, kind, target)

    def take(self, name: str, w: int, at: int, place: int) -> None:
        if name in BRANCHES:
            kind, high, low = BRANCHES[name]
            self.add_known(at, kind, place + 4 * signed_bits(w, high, low))
        elif name == "ar":
            self.add_known(at, "ADR", place + 4 * signed_bits(w, 23, 5) + bits(w, 30, 29))
        elif name in ("ad", "of", "ov"):
            self.partner(name, w, at)
        for register in written(name, w):
            self.pages.pop(register, None)
        if name == "ap":
            self.page(w, at, place)

    def page(self, w: int, at: int, place: int) -> None:
        address = place - place % PAGE + PAGE * (4 * signed_bits(w, 23, 5) + bits(w, 30, 29)) & MASK
        region_of = self.image.region_of
        known = region_of(address) is not None or region_of(address + PAGE - 1 & MASK) is not None
        if bits(w, 4, 0) != 31 and known:
            self.pages[bits(w, 4, 0)] = Page(address, self.count, self.image.put(at, "ADRP", address))

    def partner(self, name: str, w: int, at: int) -> None:
        if name == "ad" and bits(w, 31, 22) != 0x244:
            return
        scale = 0 if name == "ad" else 4 if bits(w, 26, 26) and bits(w, 23, 23) else bits(w, 31, 30)
        distance = bits(w, 21, 10) << scale
        page = self.pages.get(bits(w, 9, 5))
        if page is None or self.count - page.count > WINDOW or distance >= PAGE:
            return
        target = page.address + distance & MASK
        if self.image.region_of(target) is None:
            return
        if page.waiting is not None:
            page.waiting.target = target
            page.waiting = None
        if target:
            self.image.put(at, "LO12", target, aux=scale)


def sweep_aarch64(image: Building, region: Region, edges: list[int]) -> None:
    sweep = Sweep(image, region)
    image.words.add(region)
    for start, end in pairwise(edges):
        sweep.chunk(start, end)
