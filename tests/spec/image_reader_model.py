"""What the pages of old images share (docs/spec/image.md): regions, tables, references, LEB128 numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

from spec.delta_reader import OldImage, Reference, Region, Table

MASK = 2**64 - 1
B = 2**55
SPACE = 0xFF << 56
DATA, CODE, NO_BYTES = range(3)
REGIONS = 4096

# Kinds that solve from a number in the field: bytes, lowest bit, bits, signed, from what, factor.
PLAIN_KINDS: dict[str, tuple[int, int, int, bool, str, int]] = {
    "REL8": (1, 0, 8, True, "end", 1),
    "REL32": (4, 0, 32, True, "end", 1),
    "PREL32": (4, 0, 32, True, "place", 1),
    "BACK32": (4, 0, 32, False, "place", -1),
    "PREL64": (8, 0, 64, False, "place", 1),
    "ABS64": (8, 0, 64, False, "space", 1),
    "ABS32": (4, 0, 32, False, "space", 1),
    "FILE64": (8, 0, 64, False, "file", 1),
    "FILE32": (4, 0, 32, False, "file", 1),
    "BASE32": (4, 0, 32, True, "base", 1),
    "BASE64": (8, 0, 64, False, "base", 1),
    "SIZE32": (4, 0, 32, False, "size", 1),
    "SIZE64": (8, 0, 64, False, "size", 1),
    "INDEX32": (4, 0, 32, False, "base", 24),
    "RELR64": (8, 0, 64, False, "space", 1),
    "CHAIN36": (5, 0, 36, False, "base", 1),
    "CHAIN43": (6, 0, 43, False, "base", 1),
    "CHAIN32": (4, 0, 32, False, "base", 1),
    "BASE24": (3, 0, 24, False, "base", 1),
    "PAGE24": (3, 0, 24, False, "base", 1),
    "INDEX32_4": (4, 0, 32, False, "base", 4),
    "INDEX32_8": (4, 0, 32, False, "base", 8),
    "INDEX32_16": (4, 0, 32, False, "base", 16),
    "COUNT32_4": (4, 0, 32, False, "size", 4),
    "COUNT32_16": (4, 0, 32, False, "size", 16),
    "INDEX24_4": (3, 0, 24, False, "base", 4),
    "NAME23": (4, 9, 23, False, "base", 1),
}
LENGTHS = {
    **{kind: row[0] for kind, row in PLAIN_KINDS.items()},
    **{f"ULEB{n}": n for n in (1, 2, 3, 4)},
    **{f"ULEB_SIZE{n}": n for n in (1, 2, 3, 4)},
    **dict.fromkeys(("B26", "IMM19", "IMM14", "ADR", "ADRP", "LO12"), 4),
    **dict.fromkeys(("NEXT12", "NEXT11"), 2),
    **{"STEP6": 1, "STEP8": 1, "STEP16": 2, "STEP32": 4},
    **{f"STEP_ULEB{n}": n for n in (1, 2, 3, 4)},
}


ABSENT = Table()


@dataclass(slots=True)
class Added:
    offset: int
    kind: str
    aux: int
    target: int
    base: int


class Building:
    """One file while it is read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.regions: list[Region] = []
        self.added: list[Added] = []
        self.starts = bytearray(len(data))
        self.functions: set[int] = set()
        self.kept: list[int] = []  # functions of the regions that were swept
        self.words: set[Region] = set()  # code of AArch64 images
        self.lists: list[tuple[int, list[int]]] = []
        self.list_tables: list[tuple[int, int]] = []
        self.fresh: list[tuple[int, int]] = []
        self.digits = (0, 0, 0)
        self.machine = 0
        self.frames = self.frame_header = ABSENT
        self.budget = 0
        self._addresses: list[int] = []
        self._by_offset: list[Region] = []
        self._offsets: list[int] = []

    # bytes

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], "little")

    def u16(self, at: int) -> int:
        return self.number(at, 2)

    def u32(self, at: int) -> int:
        return self.number(at, 4)

    def u64(self, at: int) -> int:
        return self.number(at, 8)

    def is_inside(self, at: int, size: int) -> bool:
        return at + size <= len(self.data)

    def charge(self, size: int) -> bool:
        if size > self.budget:
            return False
        self.budget -= size
        return True

    # regions and addresses

    def choose(self, proposed: list[Region]) -> None:
        end, left = 0, []
        for number in sorted(range(len(proposed)), key=lambda n: (proposed[n].offset, n)):
            region = proposed[number]
            if region.has_bytes:
                if region.offset < end:
                    continue
                end = region.offset + region.size
            left.append(number)
        end = 0
        for number in sorted(left, key=lambda n: (proposed[n].address, n)):
            region = proposed[number]
            if len(self.regions) == REGIONS:
                break
            if region.address >= end:
                end = region.address + region.size
                self.regions.append(region)
        self.regions.sort(key=lambda region: region.address)
        self._addresses = [region.address for region in self.regions]
        self._by_offset = sorted((r for r in self.regions if r.has_bytes), key=lambda r: r.offset)
        self._offsets = [region.offset for region in self._by_offset]

    def region_of(self, address: int) -> Region | None:
        at = bisect_right(self._addresses, address) - 1
        if at < 0 or address - self._addresses[at] >= self.regions[at].size:
            return None
        return self.regions[at]

    def address_of(self, offset: int) -> int:
        at = bisect_right(self._offsets, offset) - 1
        if at >= 0 and offset - self._offsets[at] < self._by_offset[at].size:
            return self._by_offset[at].address + offset - self._offsets[at]
        return B + offset

    def named_byte(self, address: int) -> int | None:
        """The byte that an address names, in a region or as B + offset."""
        if B <= address < B + len(self.data):
            return address - B
        region = self.region_of(address)
        if region is None or not region.has_bytes:
            return None
        return region.offset + address - region.address

    def table_at(self, offset: int, size: int) -> Table:
        address = self.address_of(offset)
        region = self.region_of(address)
        if region is not None:
            size = min(size, region.address + region.size - address)
        return Table(offset, address, size)

    def bytes_from(self, address: int) -> Table:
        region = self.region_of(address)
        if region is None or not region.has_bytes:
            return ABSENT
        inside = address - region.address
        return Table(region.offset + inside, address, region.size - inside)

    def word_at(self, address: int) -> int | None:
        """File offset of the word of 8 bytes at an address, if it exists."""
        table = self.bytes_from(address)
        return table.offset if table.size >= 8 else None

    def is_function(self, address: int, *, aligned: bool) -> None:
        region = self.region_of(address)
        if region is not None and region.kind == CODE and not (aligned and address % 4):
            self.functions.add(region.offset + address - region.address)

    # references

    def put(self, offset: int, kind: str, target: int, *, aux: int = 0, base: int = 0) -> Added | None:
        if not self.is_inside(offset, LENGTHS[kind]):
            return None
        self.added.append(Added(offset, kind, aux, target & MASK, base))
        return self.added[-1]

    def add(self, kind: str, offset: int, base: int = 0, *, place: int | None = None) -> int:
        """Add with the target solved from the field, which may count from ``base``. The target."""
        place = self.address_of(offset) if place is None else place
        if not self.is_inside(offset, LENGTHS[kind]):
            return 0
        target = solve(kind, self.number(offset, LENGTHS[kind]), place, base)
        self.put(offset, kind, target, base=base & MASK)
        return target

    def add_nonzero(self, kind: str, offset: int, base: int = 0, *, place: int | None = None) -> None:
        if self.number(offset, LENGTHS[kind]) != 0:
            self.add(kind, offset, base, place=place)

    def settle(self) -> OldImage:
        words = frozenset(number for number, region in enumerate(self.regions) if region in self.words)
        starts = bytes(self.starts) if 1 in self.starts else b""
        image, end = OldImage(self.regions, [], starts, words, self.lists, self.list_tables), 0
        image = replace(image, fresh=tuple(self.fresh[:64]))
        image = replace(image, digits=self.digits, functions=self.kept, machine=self.machine)
        image = replace(image, frames=self.frames, frame_header=self.frame_header)
        for ref in sorted(self.added, key=lambda added: added.offset):
            if ref.offset >= end:
                end = ref.offset + LENGTHS[ref.kind]
                image.references.append(Reference(ref.offset, ref.kind, ref.aux, ref.target, ref.base))
        return image

    def sweep(self, code_regions: list[Region], sweep: Callable[[Building, Region, list[int]], None]) -> None:
        for region in code_regions:
            end = region.offset + region.size
            starts = sorted(f for f in self.functions if region.offset < f < end)
            sweep(self, region, [region.offset, *starts, end])
            noted = [region.offset, *starts] if region.offset in self.functions else starts
            if noted and (not self.kept or noted[0] > self.kept[-1]):
                self.kept += noted

    def keep_names(self, strings: Table) -> None:
        data = self.data
        if strings.size and (not self.kept or strings.offset > self.kept[-1]):
            inside = range(strings.offset + 1, strings.end)
            self.kept += [at for at in inside if data[at - 1] == 0 and data[at] != 0]


def solve(kind: str, field: int, place: int, base: int) -> int:
    if kind.startswith("ULEB"):
        value = sum((field >> 8 * i & 127) << 7 * i for i in range(4))
        return base + value - (1 if "SIZE" in kind else 0) & MASK
    length, low, bits, signed, origin, factor = PLAIN_KINDS[kind]
    number = field >> low & (1 << bits) - 1
    if signed and number >> bits - 1:
        number -= 1 << bits
    origins = {"end": place + length, "place": place, "space": place & SPACE, "file": B, "base": base}
    origins["size"] = base - 1
    return origins[origin] + factor * number & MASK


class Bad(Exception):
    """A number or pointer that has no end in its range."""


class Cursor:
    """Reads forward in a range of the file."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def skip(self, size: int) -> int:
        """Where the bytes begin that are passed over."""
        if size > self.end - self.at:
            raise Bad
        self.at += size
        return self.at - size

    def u8(self) -> int:
        return self.data[self.skip(1)]

    def uleb(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                return value & MASK
        raise Bad

    def sleb(self) -> int:
        start = self.at
        value, bits = self.uleb(), 7 * (self.at - start)
        if bits < 64:
            return value - (1 << bits) if value >> bits - 1 else value
        return value - 2**64 if value >> 63 else value

    def cut(self, size: int) -> None:
        """The range ends ``size`` bytes from here."""
        if size > self.end - self.at:
            raise Bad
        self.end = self.at + size
