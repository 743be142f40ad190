"""The sweep of x86-64 code, from docs/spec/image-x86-64.md; its opcode maps are read from there."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import pairwise

from spec.delta_reader import Region
from spec.image_reader_model import MASK, Building
from spec.image_reader_page import code_blocks

FIRST_MAP, SECOND_MAP = (
    [sign for row in block.splitlines()[1:] for sign in row.split()[1:]]
    for block in code_blocks("image-x86-64.md")[:2]
)
LONGEST, WINDOW, AHEAD, REACH = 15, 40, 32, 1 << 20
REX = range(0x40, 0x50)
LEA, MOVSXD = 0x8D, 0x63


@dataclass(slots=True)
class Instruction:
    length: int = 0
    field: int = 0  # 0: none
    field_size: int = 0
    opcode: int = 0  # of the first map
    rex: int = 0
    modrm: int = 0  # 0: none
    displacement: int = 0  # where an address behind ModRM and SIB stands that is no rip displacement
    immediate: int = 0  # the first byte behind all of these that is not the field


def decode(b: bytes) -> Instruction | None:
    """The instruction at the front of ``b``, which has bytes enough."""
    at, rex, operand, address32, forbidden, sse4a = 0, 0, 32, False, False, False
    sign = FIRST_MAP[b[0]]
    while sign == "p":
        prefix = b[at]
        rex = prefix if prefix in REX else 0
        if prefix == 0x66:
            operand = 16
        address32 |= prefix == 0x67
        forbidden |= prefix in (0x66, 0xF0, 0xF2, 0xF3)
        sse4a |= prefix in (0x66, 0xF2)
        at += 1
        if at == LONGEST:
            return None
        sign = FIRST_MAP[b[at]]
    if rex & 8:
        operand = 64
    out = Instruction(opcode=b[at], rex=rex)
    if sign == "g" or sign == "gb" or sign == "gz":
        sign = group(b[at], b[at + 1], operand)
    elif sign == "2":
        out.opcode = 0
        at += 1
        sign = SECOND_MAP[b[at]]
        if sign in "34":
            at += 1
            sign = "m" if sign == "3" else "mb"
        elif sign == "g":
            sign = "mw" if b[at + 1] >= 0xC0 and sse4a else "m"
    elif sign in ("V2", "V3", "E") or (sign == "X" and b[at + 1] >> 3 & 7):
        out.opcode = 0
        if forbidden or rex:
            return None
        at, sign = vector(b, at, sign)
    elif sign == "X":
        sign = "m"
    if sign == ".":
        return None
    at += 1
    rest = sign
    if sign[0] == "m":
        rest = sign[1:]
        out.modrm = at
        mod, rm = b[at] >> 6, b[at] & 7
        at += 1
        size = (0, 1, 4, 0)[mod]
        if mod == 0 and rm == 5:
            size = 4
            if not address32:
                out.field, out.field_size = at, 4
        elif mod != 3 and rm == 4:
            if mod == 0 and b[at] & 7 == 5:
                size = 4
            at += 1
        if size and not out.field:
            out.displacement = at
        at += size
    if rest in ("j", "J"):
        out.field, out.field_size = at, 1 if rest == "j" else 4
    size = immediate(rest, operand, address32)
    if size and rest not in ("j", "J"):
        out.immediate = at
    at += size
    if at > LONGEST:
        return None
    out.length = at
    return out


def immediate(sign: str, operand: int, address32: bool) -> int:
    if sign == "z":
        return 2 if operand == 16 else 4
    if sign == "v":
        return {16: 2, 32: 4, 64: 8}[operand]
    if sign == "o":
        return 4 if address32 else 8
    return {"": 0, "-": 0, "b": 1, "w": 2, "e": 3, "j": 1, "J": 4, "d": 4}[sign]


def group(opcode: int, modrm: int, operand: int) -> str:
    mod, reg = modrm >> 6, modrm >> 3 & 7
    if opcode == 0x8D:
        return "." if mod == 3 else "m"
    if opcode == 0xC6:
        return "mb" if reg == 0 or modrm == 0xF8 else "."
    if opcode == 0xC7:
        if modrm == 0xF8 and operand != 16:
            return "mJ"
        return "mz" if reg == 0 or modrm == 0xF8 else "."
    if opcode in (0xF6, 0xF7):
        return "m" if reg > 1 else "mb" if opcode == 0xF6 else "mz"
    if opcode == 0xFE:
        return "." if reg > 1 else "m"
    return "." if reg == 7 or (mod == 3 and reg in (3, 5)) else "m"


def vector(b: bytes, at: int, sign: str) -> tuple[int, str]:
    """Where the opcode stands, and its sign."""
    b1, b2 = b[at + 1], b[at + 2]
    if sign == "V2":
        at, number, valid = at + 2, 1, True
    elif sign == "V3":
        at, number = at + 3, b1 % 32
        valid = number in (1, 2, 3)
    elif sign == "E":
        at, number = at + 4, b1 % 8
        valid = number in (1, 2, 3, 5, 6) and not b1 & 8 and b2 & 4 != 0
    else:
        at, number = at + 3, b1 % 32
        valid = number in (8, 9, 10)
    if not valid:
        return at, "."
    if number == 1:
        if b[at] in (0x70, 0x71, 0x72, 0x73, 0xC2, 0xC4, 0xC5, 0xC6):
            return at, "mb"
        return at, "-" if b[at] == 0x77 and sign != "E" else "m"
    return at, {3: "mb", 8: "mb", 10: "md"}.get(number, "m")


def signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> bits - 1 else number


class Sweep:
    def __init__(self, image: Building, region: Region) -> None:
        self.image, self.region = image, region
        self.bias = region.address - region.offset
        self.first_added = len(image.added)
        self.noted: list[tuple[int, int]] = []

    def in_region(self, address: int) -> bool:
        return 0 <= address - self.region.address < self.region.size

    def chunk(self, offset: int, end: int) -> None:
        image = self.image
        self.names: dict[int, tuple[int, int]] = {}  # register: count of the lea, what it names
        self.ahead: list[tuple[int, int]] = []  # address, site
        self.end = end
        count = 0
        while offset < end:
            if self.ahead and offset == self.ahead[0][0] - self.bias:
                table, site = self.ahead.pop(0)
                limit = self.ahead[0][0] if self.ahead else self.bias + end
                offset = self.read_table(table, site, limit) - self.bias
                continue
            stop = self.ahead[0][0] - self.bias if self.ahead else end
            window = image.data[offset : offset + 40]
            found = decode(window if len(window) == 40 else window.ljust(40, b"\0"))
            if found is None or offset + found.length > stop:
                offset += 1
                continue
            count += 1
            image.starts[offset] = 1
            if found.field:
                self.add_field(found, offset, window, count)
            elif found.opcode == MOVSXD and found.rex & 8:
                self.load(found, offset, window, count)
            offset += found.length

    def add_field(self, found: Instruction, offset: int, b: bytes, count: int) -> None:
        end = self.bias + offset + found.length
        number = int.from_bytes(b[found.field : found.field + found.field_size], "little")
        target = end + signed(number, 8 * found.field_size) & MASK
        if found.field_size == 1:
            if self.in_region(target):
                self.image.put(offset + found.field, "REL8", target)
        elif self.image.region_of(target) is not None:
            self.image.put(offset + found.field, "REL32", target, aux=found.length - found.field - 4)
            if found.opcode == LEA and found.rex & 8:
                self.names[(b[found.modrm] >> 3 & 7) + (8 if found.rex & 4 else 0)] = count, target

    def load(self, found: Instruction, offset: int, b: bytes, count: int) -> None:
        modrm, sib = b[found.modrm], b[found.modrm + 1]
        mod, base = modrm >> 6, sib & 7
        if modrm & 7 != 4 or sib >> 6 != 2:
            return
        if not (mod == 0 and base != 5) and not (mod == 1 and b[found.modrm + 2] == 0):
            return
        seen, table = self.names.get(base + (8 if found.rex & 1 else 0), (None, 0))
        if seen is None or count - seen > WINDOW:
            return
        site = self.bias + offset
        if not self.in_region(table):
            self.noted.append((table, site))
            return
        is_new = len(self.ahead) < AHEAD and table not in [address for address, _ in self.ahead]
        if is_new and site + found.length <= table < self.bias + self.end:
            insort(self.ahead, (table, site))

    def read_table(self, table: int, site: int, limit: int) -> int:
        """The address behind the last entry."""
        image, region = self.image, self.image.region_of(table)
        if table % 4 or region is None or not region.has_bytes:
            return table
        at, place = region.offset + table - region.address, table
        while place + 4 <= limit and image.is_inside(at, 4):
            target = table + signed(image.u32(at), 32) & MASK
            if not self.in_region(target) or abs(target - site) > REACH:
                break
            if not image.starts[target - self.bias]:
                break
            image.put(at, "BASE32", target, base=table)
            at, place = at + 4, place + 4
        return place

    def read_noted(self) -> None:
        lowest: dict[int, int] = {}
        for table, site in sorted(self.noted):
            lowest.setdefault(table, site)
        tables = list(lowest)
        targets = sorted({ref.target for ref in self.image.added[self.first_added :]})
        limits = []
        for number, table in enumerate(tables):
            region = self.image.region_of(table)
            assert region is not None
            limit = region.address + region.size
            if number + 1 < len(tables):
                limit = min(limit, tables[number + 1])
            above = bisect_left(targets, table + 1)
            limits.append(min(limit, targets[above]) if above < len(targets) else limit)
        for table, limit in zip(tables, limits, strict=True):
            self.read_table(table, lowest[table], limit)


def sweep_x86_64(image: Building, region: Region, edges: list[int]) -> None:
    sweep = Sweep(image, region)
    for start, end in pairwise(edges):
        sweep.chunk(start, end)
    sweep.read_noted()
