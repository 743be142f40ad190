"""Mach-O old images, from docs/spec/image-macho.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spec.delta_reader import Region
from spec.image_reader_aarch64 import sweep_aarch64
from spec.image_reader_go import read_go
from spec.image_reader_model import (
    ABSENT,
    CODE,
    DATA,
    MASK,
    NO_BYTES,
    SPACE,
    B,
    Bad,
    Building,
    Cursor,
    Table,
)
from spec.image_reader_unwind import Function, read_exceptions, read_frames
from spec.image_reader_x86_64 import sweep_x86_64

X86_64, AARCH64 = 0x01000007, 0x0100000C

# command, where, table, size of an entry
TABLES: list[tuple[int, int, str | None, int]] = [
    (0x02, 8, "symbols", 16),
    (0x02, 16, "strings", 1),
    (0x0B, 56, "indirect", 4),
    (0x22, 8, "rebase", 1),
    (0x22, 16, "bind", 1),
    (0x22, 24, "weak bind", 1),
    (0x22, 32, "lazy bind", 1),
    (0x22, 40, "exports", 1),
    (0x33, 8, "exports", 1),
    (0x34, 8, "chained fixups", 1),
    (0x26, 8, "function starts", 1),
    (0x29, 8, "data in code", 1),
    *((number, 8, None, 1) for number in (0x1D, 0x1E, 0x2B, 0x2E)),
]


@dataclass(frozen=True)
class Form:
    stride: int
    next_bits: int
    bind_bit: int
    ordinal_bits: int
    is_authenticated: bool
    from_header: bool


FORMS = {
    1: Form(8, 11, 62, 16, True, False),
    2: Form(4, 12, 63, 24, False, False),
    6: Form(4, 12, 63, 24, False, True),
    7: Form(4, 11, 62, 16, True, True),
    9: Form(8, 11, 62, 16, True, True),
    10: Form(4, 11, 62, 16, True, False),
    12: Form(8, 11, 62, 24, True, True),
}


@dataclass(frozen=True)
class Command:
    at: int
    number: int
    size: int


@dataclass(frozen=True)
class Segment:
    address: int
    raw_address: int
    offset: int
    size: int
    sections: list[int]  # file offsets of their headers


@dataclass(frozen=True)
class Section:
    name: bytes
    segment: bytes
    type: int
    pointer: int
    stub_size: int
    table: Table


@dataclass(frozen=True)
class Origin:
    table: Table = ABSENT
    base: int = 0


def is_slice(data: bytes, start: int, size: int) -> bool:
    if size < 32:
        return False
    magic, cpu, kind, commands = (
        int.from_bytes(data[start + at : start + at + 4], "little") for at in (0, 4, 12, 20)
    )
    return (
        magic == 0xFEEDFACF
        and cpu in (X86_64, AARCH64)
        and kind in (2, 6, 7, 8, 11)
        and commands <= size - 32
    )


def slices(data: bytes) -> list[tuple[int, int, int]]:
    """Start, size and number of those to read."""
    if is_slice(data, 0, len(data)):
        return [(0, len(data), 0)]
    magic, count = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4))
    if len(data) < 8 or magic not in (0xCAFEBABE, 0xCAFEBABF) or count > 32:
        return []
    entry, width = (20, 4) if magic == 0xCAFEBABE else (32, 8)
    if 8 + count * entry > len(data):
        return []
    taken: list[tuple[int, int]] = []
    found = []
    for i in range(count):
        at = 8 + i * entry + 8
        start, size = (int.from_bytes(data[at + f : at + f + width], "big") for f in (0, width))
        if size == 0 or start + size > len(data):
            continue
        if any(start < end and first < start + size for first, end in taken):
            continue
        taken.append((start, start + size))
        if is_slice(data, start, size):
            found.append((start, size, i))
    return found


class Macho:
    def __init__(self, image: Building, start: int, size: int, number: int) -> None:
        self.image, self.start, self.size = image, start, size
        self.space = number << 56
        self.is_arm = image.u32(start + 4) == AARCH64
        self.unwind: list[Function] = []
        image.budget = 4 * size

    # help

    def is_function(self, address: int) -> None:
        region = self.image.region_of(address & MASK)
        if region is not None and region.address & SPACE == self.space:
            self.image.is_function(address & MASK, aligned=self.is_arm)

    def add(self, kind: str, offset: int, base: int = 0) -> None:
        self.image.add(kind, offset, base, place=self.space)

    def add_nonzero(self, kind: str, offset: int, base: int = 0) -> None:
        self.image.add_nonzero(kind, offset, base, place=self.space)

    def add_uleb(self, offset: int, size: int, base: int) -> None:
        if size <= 4:
            self.add(f"ULEB{size}", offset, base)

    def has_place(self, offset: int) -> bool:
        return self.image.address_of(offset) & SPACE == self.space

    def is_inside(self, offset: int, size: int) -> bool:
        return offset + size <= self.size

    def table(self, offset: int, size: int) -> Table:
        if size == 0 or not self.is_inside(offset, size):
            return ABSENT
        return self.image.table_at(self.start + offset, size)

    # load commands

    def read_commands(self) -> None:
        image, at = self.image, self.start + 32
        self.commands: list[Command] = []
        self.commands_end = at + image.u32(self.start + 20)
        while at + 8 <= self.commands_end and len(self.commands) < 4096:
            size = image.u32(at + 4)
            if size < 8 or size % 4 or at + size > self.commands_end:
                break
            self.commands.append(Command(at, image.u32(at) & 0x7FFFFFFF, size))
            if self.commands[-1].number == 0x1B and size >= 24:
                image.fresh.append((at + 8, 16))
            at += size

    def section_headers(self, command: Command) -> list[int]:
        count = self.image.u32(command.at + 64)
        if count > (command.size - 72) // 80:
            return []
        return [command.at + 72 + 80 * i for i in range(count)]

    def read_segments(self) -> None:
        image = self.image
        self.segments: list[Segment] = []
        self.header: int | None = None
        proposed: list[Region] = []
        self.section_offsets: list[int] = []
        for command in self.commands:
            if command.number != 0x19 or command.size < 72:
                continue
            raw, offset, size = (image.u64(command.at + at) for at in (24, 40, 48))
            if raw >= B or not self.is_inside(offset, size):
                offset = size = 0
            address = self.space + raw % B
            headers = self.section_headers(command)
            self.segments.append(Segment(address, raw, self.start + offset, size, headers))
            if self.header is None and offset == 0 and size:
                self.header = address
                self.propose(proposed, 0, raw, self.commands_end - self.start, DATA)
            elif not headers:
                self.propose(proposed, offset, raw, size, DATA)
            for at in headers[: 4096 - len(self.section_offsets)]:
                flags = image.u32(at + 64)
                kind = NO_BYTES if flags & 255 in (1, 12, 18) else CODE if flags & 0x80000400 else DATA
                self.propose(proposed, image.u32(at + 48), image.u64(at + 32), image.u64(at + 40), kind)
                self.section_offsets.append(at)
        if self.header is None:
            self.header = self.space
        image.choose(proposed)

    def propose(self, proposed: list[Region], offset: int, address: int, size: int, kind: int) -> None:
        if size == 0 or address + size > B:
            return
        if kind != NO_BYTES and not self.is_inside(offset, size):
            return
        file_offset = 0 if kind == NO_BYTES else self.start + offset
        proposed.append(Region(file_offset, self.space + address, size, kind))

    def read_sections(self) -> None:
        data, image = self.image.data, self.image
        self.sections: list[Section] = []
        for at in self.section_offsets:
            name, segment = (data[at + f : at + f + 16].split(b"\0")[0] for f in (0, 16))
            kind = image.u32(at + 64) & 255
            has_bytes = kind not in (1, 12, 18)
            table = self.table(image.u32(at + 48), image.u64(at + 40)) if has_bytes else ABSENT
            self.sections.append(Section(name, segment, kind, image.u32(at + 68), image.u32(at + 72), table))

    def named(self, command: Command, at: int, entry: int) -> Table:
        offset, count = self.image.u32(command.at + at), self.image.u32(command.at + at + 4)
        table = self.table(offset, count * entry)
        return Table(table.offset, B + table.offset, table.size)

    def rows(self, command: Command) -> list[tuple[int, str | None, int, Table]]:
        fitting = (row for row in TABLES if row[0] == command.number and command.size >= row[1] + 8)
        found = [(at, name, entry, self.named(command, at, entry)) for _, at, name, entry in fitting]
        return [row for row in found if row[3].size]

    def find_tables(self) -> None:
        self.tables: dict[str, Origin] = {}
        for command in self.commands:
            for _, name, _, table in self.rows(command):
                if name is not None and name not in self.tables:
                    self.tables[name] = Origin(table, table.address)

    # references of load commands

    def add_commands(self) -> None:
        for command in self.commands:
            for at, _, entry, table in self.rows(command):
                self.add("BASE32", command.at + at, self.file)
                if entry == 1:
                    self.add("SIZE32", command.at + at + 4, table.address)
            self.add_command(command)

    def add_command(self, command: Command) -> None:
        at, u64 = command.at, self.image.u64
        count_at = 272 if self.is_arm else 144
        if command.number == 0x19 and command.size >= 72:
            self.add_segment(command)
        elif command.number == 0x02 and command.size >= 24:
            self.add_count("COUNT32_16", at + 12, "symbols")
        elif command.number == 0x0B and command.size >= 80:
            for field in (8, 16, 24):
                self.add_count("INDEX32_16", at + field, "symbols")
                self.add_count("COUNT32_16", at + field + 4, "symbols", 16 * self.image.u32(at + field))
            self.add_count("COUNT32_4", at + 60, "indirect")
        elif command.number == 0x28 and command.size >= 24:
            self.is_function(self.header_address + u64(at + 8))
            self.add("BASE64", at + 8, self.header_base)
        elif command.number == 0x05 and command.size >= count_at + 8:
            self.is_function(self.space + u64(at + count_at))
            self.add("ABS64", at + count_at)

    def add_count(self, kind: str, at: int, table: str, first: int = 0) -> None:
        if table in self.tables:
            self.add_nonzero(kind, at, self.tables[table].table.address + first)

    def add_segment(self, command: Command) -> None:
        at, image = command.at, self.image
        self.add_nonzero("ABS64", at + 24)
        self.add_nonzero("BASE64", at + 40, self.file)
        headers = self.section_headers(command)
        if not headers:
            self.add_nonzero("SIZE64", at + 48, self.space + image.u64(at + 24))
        for section in headers:
            self.add("ABS64", section + 32)
            self.add_nonzero("SIZE64", section + 40, self.space + image.u64(section + 32))
            self.add_nonzero("BASE32", section + 48, self.file)
            if image.u32(section + 64) & 255 in (6, 7, 8, 20) and "indirect" in self.tables:
                self.add_nonzero("INDEX32_4", section + 68, self.tables["indirect"].base)

    # chained fixups

    def read_chained_fixups(self, table: Table) -> None:
        image, t = self.image, table.offset
        if table.size < 28:
            return
        base = table.address
        for at in (4, 8, 12):
            self.add("BASE32", t + at, base)
        starts, first_import, names, count = (image.u32(t + at) for at in (4, 8, 12, 16))
        imports: int | None = None
        fits = first_import <= table.size and 0 < count <= (table.size - first_import) // 4
        if image.u32(t + 20) == 1 and fits:
            for i in range(count):
                self.add("NAME23", t + first_import + 4 * i, table.address + names)
            imports = table.address + first_import
        if starts + 4 > table.size:
            return
        count = image.u32(t + starts)
        if count > len(self.segments) or starts + 4 + 4 * count > table.size:
            return
        for k in range(count):
            at = image.u32(t + starts + 4 + 4 * k)
            if at and starts + at + 22 <= table.size:
                self.add("BASE32", t + starts + 4 + 4 * k, table.address + starts)
                self.read_chains(t + starts + at, table.end, self.segments[k], imports)

    def read_chains(self, s: int, end: int, segment: Segment, imports: int | None) -> None:
        image = self.image
        page_size, form, pages = image.u16(s + 4), FORMS.get(image.u16(s + 6)), image.u16(s + 20)
        if form is None or s + 22 + 2 * pages > end or page_size < 8 or page_size & page_size - 1:
            return
        if not image.charge(2 * pages):
            return
        self.add("BASE64", s + 8, self.header_base)
        kind = {(4, 12): "NEXT12", (8, 11): "NEXT11"}.get((form.stride, form.next_bits))
        last: int | None = None

        def link(offset: int | None, target: int) -> None:
            if offset and kind is not None:
                aux = page_size.bit_length() - 1
                image.put(offset + 6, kind, segment.address + target - segment.offset, aux=aux)

        for i in range(pages):
            if i * page_size >= segment.size:
                break
            at = image.u16(s + 22 + 2 * i)
            if at & 0x8000:
                continue
            room = min(page_size, segment.size - i * page_size)
            while at + 8 <= room and image.charge(8):
                offset = segment.offset + i * page_size + at
                link(last, offset)
                last = offset
                word = image.u64(offset)
                self.add_fixup(offset, word, form, imports)
                step = (word >> 51 & (1 << form.next_bits) - 1) * form.stride
                if step == 0:
                    break
                at += step
        if last is not None:
            link(last, last)

    def add_fixup(self, at: int, word: int, form: Form, imports: int | None) -> None:
        if word >> form.bind_bit & 1:
            if imports is not None and form.ordinal_bits == 24:
                self.add("INDEX24_4", at, imports)
        elif form.is_authenticated and word >> 63:
            self.add("CHAIN32", at, self.header_base)
        else:
            kind = "CHAIN43" if form.is_authenticated else "CHAIN36"
            self.add(kind, at, self.header_base if form.from_header else self.zero)

    # opcodes

    def read_rebase(self, table: Table) -> None:
        Opcodes(self, table).run(rebase=True)

    def read_bind(self, table: Table) -> None:
        Opcodes(self, table).run(rebase=False)

    # what else __LINKEDIT holds

    def read_symbols(self, table: Table) -> None:
        image = self.image
        if not self.has_place(table.offset):
            return
        for at in range(table.offset, table.offset + table.size // 16 * 16, 16):
            kind, section = image.data[at + 4 : at + 6]
            value = self.space + image.u64(at + 8) & MASK
            if "strings" in self.tables:
                self.add_nonzero("BASE32", at, self.tables["strings"].base)
            if kind & 0xE0:
                if section == 0 or image.region_of(value) is None:
                    continue
            elif kind & 0x0E != 0x0E:
                continue
            self.add("ABS64", at + 8)
            if not kind & 0xE0:
                self.is_function(value)

    def read_indirect(self, table: Table) -> None:
        if "symbols" in self.tables:
            for at in range(table.offset, table.offset + table.size // 4 * 4, 4):
                if self.image.u32(at) >> 30 == 0:
                    self.add("INDEX32_16", at, self.tables["symbols"].base)

    def read_function_starts(self, table: Table) -> None:
        address, cursor = self.header_address, Cursor(self.image.data, table.offset, table.end)
        named: list[int] = []
        self.image.lists.append((address, named))
        self.image.list_tables.append((table.offset, table.size))
        while cursor.at < cursor.end:
            at = cursor.at
            try:
                distance = cursor.uleb()
            except Bad:
                return
            if distance == 0:
                return
            self.add_uleb(at, cursor.at - at, address)
            address = address + distance & MASK
            offset = self.image.named_byte(address)
            if offset is not None and (not named or offset > named[-1]):
                named.append(offset)
            self.is_function(address)

    def read_data_in_code(self, table: Table) -> None:
        image = self.image
        for at in range(table.offset, table.offset + table.size // 8 * 8, 8):
            self.add("BASE32", at, self.header_base)
            start, size = self.header_address + image.u32(at), image.u16(at + 4)
            region = image.region_of(start)
            if region is None or region.kind != CODE or start + size > region.address + region.size:
                continue
            self.is_function(start)
            self.is_function(start + size)
            if image.u16(at + 6) != 4 or not image.charge(size):
                continue
            base = start
            first = region.offset + start - region.address
            for entry in range(first, first + size // 4 * 4, 4):
                self.add("BASE32", entry, base)
                image.starts[entry] = 1

    def read_exports(self, table: Table) -> None:
        opened, seen = [0], {0}
        while opened:
            for child in self.read_node(table, opened.pop()):
                if child < table.size and child not in seen:
                    seen.add(child)
                    opened.append(child)

    def read_node(self, table: Table, node: int) -> list[int]:
        children: list[int] = []
        cursor = Cursor(self.image.data, table.offset + node, table.end)
        try:
            size = cursor.uleb()
            terminal = Cursor(self.image.data, cursor.at, cursor.end)
            terminal.cut(size)
            cursor.skip(size)
            if size:
                self.read_terminal(terminal)
            if cursor.at == cursor.end:
                return []
            for _ in range(cursor.u8()):
                name = cursor.at
                while cursor.u8():
                    pass
                at = cursor.at
                if not self.image.charge(at - name):
                    break
                children.append(cursor.uleb())
                self.add_uleb(at, cursor.at - at, self.tables["exports"].base)
        except Bad:
            pass
        return children

    def read_terminal(self, cursor: Cursor) -> None:
        try:
            flags = cursor.uleb()
            if flags & 8 or flags & 3 == 2:
                return
            for _ in range(2 if flags & 16 else 1):
                at = cursor.at
                distance = cursor.uleb()
                self.add_uleb(at, cursor.at - at, self.header_base)
                self.is_function(self.header_address + distance)
        except Bad:
            return

    # sections

    def read_go(self, section: Section) -> None:
        names = (b"__go_module", b"__noptrdata")
        modules = (s.table for name in names for s in self.sections if s.name == name and s.table.size)
        module = next(modules, ABSENT)
        read_go(self.image, section.table, module, self.space, self.is_function, words=self.is_arm)

    def read_all_sections(self) -> None:
        rows: list[tuple[Callable[[Section], bool], Callable[[Section], None]]] = [
            (lambda s: s.type == 8, self.read_stubs),
            (lambda s: s.type == 6, self.pass_pointers),
            (lambda s: s.type == 7, self.pass_pointers),
            (lambda s: s.type == 20, self.pass_pointers),
            (lambda s: s.type == 22, self.read_init_offsets),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__stub_helper"), self.read_stub_helpers),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__eh_frame"), self.read_frames),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__unwind_info"), self.read_unwind_info),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__gopclntab"), self.read_go),
            (lambda s: (s.segment, s.name) == (b"__DATA_CONST", b"__gopclntab"), self.read_go),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__objc_methlist"), self.read_method_lists),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__swift5_protos"), self.read_pointers),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__swift5_proto"), self.read_pointers),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__swift5_types"), self.read_pointers),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__swift5_types2"), self.read_pointers),
            (lambda s: (s.segment, s.name) == (b"__TEXT", b"__swift5_fieldmd"), self.read_swift_fields),
        ]
        for fits, read in rows:
            for section in self.sections:
                address = section.table.address
                if section.table.size and fits(section) and 0 <= address - self.space < B:
                    read(section)

    def read_stubs(self, section: Section) -> None:
        if section.stub_size and self.image.charge(section.table.size):
            for at in range(0, section.table.size, section.stub_size):
                self.is_function(section.table.address + at)

    def pass_pointers(self, section: Section) -> None:
        if "chained fixups" not in self.tables:
            self.image.charge(section.table.size)

    def read_init_offsets(self, section: Section) -> None:
        if self.image.charge(section.table.size):
            for at in range(0, section.table.size // 4 * 4, 4):
                self.add("BASE32", section.table.offset + at, self.header_base)

    def read_pointers(self, section: Section) -> None:
        if self.image.charge(section.table.size):
            for at in range(0, section.table.size // 4 * 4, 4):
                self.image.add_nonzero("PREL32", section.table.offset + at)

    def read_method_lists(self, section: Section) -> None:
        image, table = self.image, section.table
        if not image.charge(table.size):
            return
        at = 0
        while at + 8 <= table.size:
            form, count = image.u32(table.offset + at), image.u32(table.offset + at + 4)
            at += 8
            if form & 0x8000FFFC != 0x8000000C or at + 12 * count > table.size:
                return
            for pointer in range(at, at + 12 * count, 4):
                image.add_nonzero("PREL32", table.offset + pointer)
            at = (at + 12 * count + 7) // 8 * 8

    def read_swift_fields(self, section: Section) -> None:
        image, table = self.image, section.table
        if not image.charge(table.size):
            return
        at = 0
        while at + 16 <= table.size:
            image.add_nonzero("PREL32", table.offset + at)
            image.add_nonzero("PREL32", table.offset + at + 4)
            if image.u16(table.offset + at + 10) != 12:
                return
            count = min(image.u32(table.offset + at + 12), (table.size - at - 16) // 12)
            for record in range(at + 16, at + 16 + 12 * count, 12):
                image.add_nonzero("PREL32", table.offset + record + 4)
                image.add_nonzero("PREL32", table.offset + record + 8)
            at += 16 + 12 * count

    def read_stub_helpers(self, section: Section) -> None:
        data, table = self.image.data, section.table
        if "lazy bind" not in self.tables or not self.image.charge(table.size):
            return
        at, entry, field = (24, 12, 8) if self.is_arm else (16, 10, 1)
        while at + entry <= table.size:
            stub = data[table.offset + at : table.offset + at + entry]
            if self.is_arm and stub[:4] != b"\x50\0\0\x18":
                return
            if not self.is_arm and (stub[0] != 0x68 or stub[5] != 0xE9):
                return
            self.is_function(table.address + at)
            self.add("BASE32", table.offset + at + field, self.tables["lazy bind"].base)
            at += entry

    def read_frames(self, section: Section) -> None:
        if self.image.charge(section.table.size):
            read_frames(self.image, section.table, self.unwind, ends_at_zero=False)

    def read_unwind_info(self, section: Section) -> None:
        image, table = self.image, section.table
        if table.size < 28 or not image.charge(table.size) or image.u32(table.offset) != 1:
            return
        UnwindInfo(self, table).read()

    def read(self) -> None:
        image = self.image
        self.read_commands()
        self.read_segments()
        assert self.header is not None
        self.header_address = self.header
        self.read_sections()
        self.header_base = self.header
        self.file = B + self.start
        self.zero = self.space
        self.find_tables()
        size = self.commands_end - self.start
        if self.has_place(self.start) and self.table(0, size).size == size:
            self.add_commands()
        readers: list[tuple[str, Callable[[Table], None]]] = [
            ("chained fixups", self.read_chained_fixups),
            ("rebase", self.read_rebase),
            ("bind", self.read_bind),
            ("weak bind", self.read_bind),
            ("lazy bind", self.read_bind),
            ("symbols", self.read_symbols),
            ("indirect", self.read_indirect),
            ("function starts", self.read_function_starts),
            ("data in code", self.read_data_in_code),
            ("exports", self.read_exports),
        ]
        for name, read in readers:
            if name in self.tables and image.charge(self.tables[name].table.size):
                read(self.tables[name].table)
        self.read_all_sections()
        for function in self.unwind:
            self.is_function(function.start)
        read_exceptions(image, self.unwind)
        code = [r for r in image.regions if r.kind == CODE and r.address & SPACE == self.space]
        image.sweep(code, sweep_aarch64 if self.is_arm else sweep_x86_64)
        if "strings" in self.tables:
            image.keep_names(self.tables["strings"].table)


class Opcodes:
    def __init__(self, macho: Macho, table: Table) -> None:
        self.macho = macho
        self.cursor = Cursor(macho.image.data, table.offset, table.end)
        self.segment: Segment | None = None
        self.distance = 0

    def run(self, *, rebase: bool) -> None:
        try:
            while self.cursor.at < self.cursor.end:
                byte = self.cursor.u8()
                (self.rebase if rebase else self.bind)(byte >> 4, byte & 15)
        except Bad:
            return

    def place(self, number: int) -> None:
        at = self.cursor.at
        self.distance = self.cursor.uleb()
        if number >= len(self.macho.segments):
            raise Bad
        self.segment = self.macho.segments[number]
        self.macho.add_uleb(at, self.cursor.at - at, self.segment.address)

    def words(self, count: int, gap: int) -> None:
        for _ in range(count):
            segment = self.segment
            if segment is None or self.distance + 8 > segment.size or not self.macho.image.charge(8):
                raise Bad
            at, address = segment.offset + self.distance, segment.address + self.distance
            region = self.macho.image.region_of(address)
            if region and region.has_bytes and at - region.offset == address - region.address:
                self.macho.add("ABS64", at)
            self.distance = self.distance + 8 + gap & MASK

    def rebase(self, opcode: int, m: int) -> None:
        uleb = self.cursor.uleb
        if opcode == 2:
            self.place(m)
        elif opcode == 3:
            self.distance = self.distance + uleb() & MASK
        elif opcode == 4:
            self.distance = self.distance + 8 * m & MASK
        elif opcode == 5:
            self.words(m, 0)
        elif opcode == 6:
            self.words(uleb(), 0)
        elif opcode == 7:
            self.words(1, uleb())
        elif opcode == 8:
            count = uleb()
            self.words(count, uleb())
        elif opcode > 8:
            raise Bad

    def bind(self, opcode: int, m: int) -> None:
        if opcode == 7:
            self.place(m)
        elif opcode in (2, 6, 8, 0xA, 0xC):
            self.cursor.uleb()
            if opcode == 0xC:
                self.cursor.uleb()
        elif opcode == 4:
            while self.cursor.u8():
                pass
        elif opcode > 0xC:
            raise Bad


class UnwindInfo:
    def __init__(self, macho: Macho, table: Table) -> None:
        self.macho, self.image, self.table = macho, macho.image, table
        self.base = table.address
        frames = (s.table for s in macho.sections if s.name == b"__eh_frame" and s.table.size)
        found = next(frames, None)
        self.frames = None if found is None else found.address

    def u32(self, at: int) -> int:
        return self.image.u32(self.table.offset + at)

    def u16(self, at: int) -> int:
        return self.image.u16(self.table.offset + at)

    def is_inside(self, at: int, size: int) -> bool:
        return at + size <= self.table.size

    def add(self, kind: str, at: int, base: int) -> None:
        self.macho.add(kind, self.table.offset + at, base)

    def read(self) -> None:
        macho = self.macho
        for at in (4, 12, 20):
            self.add("BASE32", at, self.base)
        common, commons, personalities, count, index, rows = (self.u32(at) for at in range(4, 28, 4))
        if self.is_inside(common, 4 * commons):
            self.encodings(common, commons, 4)
        if self.is_inside(personalities, 4 * count):
            for i in range(count):
                self.add("BASE32", personalities + 4 * i, macho.header_base)
        if rows == 0 or not self.is_inside(index, 12 * rows):
            return
        for row in range(index, index + 12 * rows, 12):
            self.add("BASE32", row, macho.header_base)
            if self.u32(row + 4):
                self.add("BASE32", row + 4, self.base)
            self.add("BASE32", row + 8, self.base)
            self.page(self.u32(row + 4), self.u32(row))
        self.exceptions(self.u32(index + 8), self.u32(index + 12 * (rows - 1) + 8))

    def exceptions(self, at: int, end: int) -> None:
        header = self.macho.header_address
        if end < at or end > self.table.size or not self.image.charge(end - at):
            return
        for row in range(at, at + (end - at) // 8 * 8, 8):
            self.add("BASE32", row, self.macho.header_base)
            self.add("BASE32", row + 4, self.macho.header_base)
            self.macho.unwind.append(Function(header + self.u32(row), header + self.u32(row + 4)))

    def encodings(self, at: int, count: int, step: int) -> None:
        mode = 3 if self.macho.is_arm else 4
        for _ in range(count):
            if self.frames is None or not self.is_inside(at, 4):
                return
            if self.u32(at) >> 24 & 15 == mode:
                self.add("BASE24", at, self.frames)
            at += step

    def page(self, p: int, first: int) -> None:
        macho, image = self.macho, self.image
        if p == 0 or not self.is_inside(p, 12) or not image.charge(12):
            return
        kind, at, count = self.u32(p), p + self.u16(p + 4), self.u16(p + 6)
        if kind == 2 and self.is_inside(at, 8 * count) and image.charge(8 * count):
            self.encodings(at + 4, count, 8)
            for entry in range(at, at + 8 * count, 8):
                self.add("BASE32", entry, macho.header_base)
                macho.is_function(macho.header_address + self.u32(entry))
        elif kind == 3 and self.is_inside(at, 4 * count) and image.charge(4 * (count + self.u16(p + 10))):
            self.encodings(p + self.u16(p + 8), self.u16(p + 10), 4)
            base = macho.header_address + first
            for entry in range(at, at + 4 * count, 4):
                self.add("PAGE24", entry, base)
                macho.is_function(macho.header_address + first + (self.u32(entry) & 0xFFFFFF))


def read_macho(image: Building) -> bool:
    """Whether the file was one."""
    found = slices(image.data)
    for start, size, number in found:
        Macho(image, start, size, number).read()
    return bool(found)
