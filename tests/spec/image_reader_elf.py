"""ELF old images, from docs/spec/image-elf.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from spec.delta_reader import Region
from spec.image_reader_aarch64 import sweep_aarch64
from spec.image_reader_go import read_go
from spec.image_reader_model import ABSENT, CODE, DATA, MASK, NO_BYTES, B, Building, Table
from spec.image_reader_unwind import Function, read_exceptions, read_frames, read_header
from spec.image_reader_x86_64 import sweep_x86_64

X86_64, AARCH64 = 62, 183

_TAGS = """
NEEDED=1 SONAME=14 RPATH=15 RUNPATH=29 AUXILIARY=0x7FFFFFFD FILTER=0x7FFFFFFF
PLTGOT=3 HASH=4 STRTAB=5 SYMTAB=6 RELA=7 INIT=12 FINI=13 REL=17 JMPREL=23
INIT_ARRAY=25 FINI_ARRAY=26 PREINIT_ARRAY=32 RELR=36 GNU_HASH=0x6FFFFEF5
TLSDESC_PLT=0x6FFFFEF6 TLSDESC_GOT=0x6FFFFEF7
VERSYM=0x6FFFFFF0 VERDEF=0x6FFFFFFC VERNEED=0x6FFFFFFE
PLTRELSZ=2 RELASZ=8 STRSZ=10 RELSZ=18 RELRSZ=35
INIT_ARRAYSZ=27 FINI_ARRAYSZ=28 PREINIT_ARRAYSZ=33
"""
TAGS = {name: int(number, 0) for name, number in re.findall(r"(\w+)=(\w+)", _TAGS)}
NAMES = {number: name for name, number in TAGS.items()}
STRINGS = {"NEEDED", "SONAME", "RPATH", "RUNPATH", "AUXILIARY", "FILTER"}
SIZE_OF = {"PLTRELSZ": "JMPREL", "STRSZ": "STRTAB"}
SIZE_OF |= {name: name[:-2] for name in TAGS if name.endswith("SZ") and name not in SIZE_OF}

A, B_RULE, C = "abc"
RULES = {
    X86_64: {1: A, 6: A, 7: B_RULE, 8: B_RULE, 37: B_RULE, 16: C, 17: C, 18: C, 36: C},
    AARCH64: {257: A, 1025: A, 1026: B_RULE, 1027: B_RULE, 1032: B_RULE, 1028: C, 1029: C, 1030: C, 1031: C},
}


@dataclass(frozen=True)
class Section:
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int

    @property
    def is_loaded(self) -> bool:
        return self.flags & 2 != 0

    @property
    def is_empty_tls(self) -> bool:
        return self.type == 8 and self.flags & 0x400 != 0


@dataclass(frozen=True)
class Segment:
    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True)
class Origin:
    """A table that others count from, and its address."""

    table: Table = ABSENT
    base: int = 0


def claims(data: bytes) -> bool:
    kind, machine = (int.from_bytes(data[at : at + 2], "little") for at in (16, 18))
    return (
        len(data) >= 64
        and data.startswith(b"\x7fELF\x02\x01")
        and kind in (2, 3)
        and machine in (X86_64, AARCH64)
    )


class Elf:
    def __init__(self, image: Building) -> None:
        self.image = image
        self.machine = image.machine = image.u16(18)
        self.functions: list[Function] = []
        self.calls = self.symbols = self.strings = Origin()
        self._headers()
        image.budget = 4 * len(image.data)

    # headers

    def _headers(self) -> None:
        image = self.image
        self.sections_at, self.segments_at = image.u64(40), image.u64(32)
        self.sections: list[Section] = []
        self.segments: list[Segment] = []
        self.names = ABSENT
        if image.u16(54) == 56 and image.is_inside(self.segments_at, 56 * image.u16(56)):
            self.segments = [self._segment(self.segments_at + 56 * i) for i in range(image.u16(56))]
        if image.u16(58) != 64 or self.sections_at == 0 or not image.is_inside(self.sections_at, 64):
            return
        first = self._section(self.sections_at)
        count = image.u16(60) or first.size
        names = first.link if image.u16(62) == 0xFFFF else image.u16(62)
        if not image.is_inside(self.sections_at, 64 * count):
            return
        self.sections = [self._section(self.sections_at + 64 * i) for i in range(count)]
        if names < count and self.has_bytes(self.sections[names]):
            section = self.sections[names]
            self.names = Table(section.offset, B + section.offset, section.size)

    def _segment(self, at: int) -> Segment:
        u32, u64 = self.image.u32, self.image.u64
        return Segment(u32(at), u32(at + 4), u64(at + 8), u64(at + 16), u64(at + 32), u64(at + 40))

    def _section(self, at: int) -> Section:
        u32, u64 = self.image.u32, self.image.u64
        flags, address, offset, size = (u64(at + field) for field in (8, 16, 24, 32))
        return Section(u32(at), u32(at + 4), flags, address, offset, size, u32(at + 40))

    def has_bytes(self, section: Section) -> bool:
        inside = self.image.is_inside(section.offset, section.size)
        return section.type not in (0, 8) and section.size != 0 and inside

    def table(self, section: Section) -> Table:
        return self.image.table_at(section.offset, section.size) if self.has_bytes(section) else ABSENT

    def is_named(self, section: Section, name: str) -> bool:
        wanted = name.encode() + b"\0"
        at = self.names.offset + section.name
        inside = section.name + len(wanted) <= self.names.size
        return inside and self.image.data[at : at + len(wanted)] == wanted

    def first_section(self, kind: int) -> Section | None:
        return next((s for s in self.sections if s.type == kind and self.has_bytes(s)), None)

    def first_segment(self, kind: int) -> Segment | None:
        inside = self.image.is_inside
        return next((s for s in self.segments if s.type == kind and inside(s.offset, s.file_size)), None)

    # regions

    def _propose(self, proposed: list[Region], region: Region) -> None:
        if region.size == 0 or region.address + region.size > B:
            return
        if region.has_bytes and not self.image.is_inside(region.offset, region.size):
            return
        proposed.append(region)

    def find_regions(self) -> None:
        proposed: list[Region] = []
        for s in self.sections:
            if s.type != 0 and s.is_loaded and not s.is_empty_tls:
                kind = NO_BYTES if s.type == 8 else CODE if s.flags & 4 else DATA
                self._propose(proposed, Region(0 if s.type == 8 else s.offset, s.address, s.size, kind))
        self.image.choose(proposed)
        self.by_sections = bool(self.image.regions)
        if self.by_sections:
            return
        proposed = []
        for p in (p for p in self.segments if p.type == 1):
            self._propose(proposed, Region(p.offset, p.address, p.file_size, CODE if p.flags & 1 else DATA))
            if p.memory_size > p.file_size:
                rest = p.memory_size - p.file_size
                self._propose(proposed, Region(0, p.address + p.file_size, rest, NO_BYTES))
        self.image.choose(proposed)

    # tables that others count from

    def origin(self, table: Table) -> Origin:
        return Origin(table, table.address) if table.size else Origin()

    def find_tables(self) -> None:
        image = self.image
        self.dynamic, self.values = ABSENT, dict.fromkeys(TAGS, 0)
        section, segment = self.first_section(6), self.first_segment(2)
        if self.by_sections and section is not None:
            self._read_dynamic(self.table(section))
        elif not self.by_sections and segment is not None:
            self._read_dynamic(image.table_at(segment.offset, segment.file_size))
        if self.by_sections:
            self.symbols, self.strings = self.symbol_section(11)
        else:
            self.symbols = self.origin(self._dynamic_symbols())
            self.strings = self.origin(self.from_tag("STRTAB", "STRSZ"))
        self.calls = self.origin(self.from_tag("JMPREL", "PLTRELSZ"))

    def _read_dynamic(self, table: Table) -> None:
        at = table.offset
        while at + 16 <= table.end and self.image.u64(at) != 0:
            name = NAMES.get(self.image.u64(at))
            if name is not None and self.values[name] == 0:
                self.values[name] = self.image.u64(at + 8)
            at += 16
        self.dynamic = Table(table.offset, table.address, at - table.offset)

    def from_tag(self, tag: str, cut: str | None = None) -> Table:
        if self.values[tag] == 0:
            return ABSENT
        table = self.image.bytes_from(self.values[tag])
        size = table.size if cut is None else min(table.size, self.values[cut])
        return Table(table.offset, table.address, size)

    def symbol_section(self, kind: int) -> tuple[Origin, Origin]:
        section = self.first_section(kind)
        if section is None:
            return Origin(), Origin()
        symbols = self.origin(self.table(section))
        linked = self.sections[section.link] if section.link < len(self.sections) else None
        return symbols, Origin() if linked is None else self.origin(self.table(linked))

    def _dynamic_symbols(self) -> Table:
        symbols, strings = self.from_tag("SYMTAB"), self.from_tag("STRTAB")
        hashed = self.from_tag("HASH")
        count = self.image.u32(hashed.offset + 4) if self.hash_indices(hashed) else self._gnu_count()
        if count == 0 and strings.address > symbols.address:
            count = (strings.address - symbols.address) // 24
        return Table(symbols.offset, symbols.address, 24 * min(count, symbols.size // 24))

    def hash_indices(self, table: Table) -> int:
        if table.size < 8:
            return 0
        count = self.image.u32(table.offset) + self.image.u32(table.offset + 4)
        return count if 8 + 4 * count <= table.size else 0

    def gnu_buckets(self, table: Table) -> tuple[int, int] | None:
        """Where the buckets begin and end."""
        if table.size < 16:
            return None
        start = table.offset + 16 + 8 * self.image.u32(table.offset + 8)
        end = start + 4 * self.image.u32(table.offset)
        return (start, end) if end <= table.end else None

    def _gnu_count(self) -> int:
        table = self.from_tag("GNU_HASH")
        buckets = self.gnu_buckets(table)
        if buckets is None:
            return 0
        first = self.image.u32(table.offset + 4)
        last = max((self.image.u32(at) for at in range(*buckets, 4)), default=0)
        if last < first:
            return first
        at, k = buckets[1] + 4 * (last - first), 0
        while at + 4 <= table.end:
            if self.image.u32(at) & 1:
                return last + k + 1
            at, k = at + 4, k + 1
        return 0

    # references

    def add_size(self, offset: int, start: int) -> None:
        if self.image.u64(offset):
            self.image.add("SIZE64", offset, start)

    def add_headers(self) -> None:
        image = self.image
        for kind, at in (("ABS64", 24), ("FILE64", 32), ("FILE64", 40)):
            image.add_nonzero(kind, at)
        for i, segment in enumerate(self.segments):
            at = self.segments_at + 56 * i
            if segment.memory_size == 0:
                continue
            image.add_nonzero("FILE64", at + 8)
            image.add_nonzero("ABS64", at + 16)
            image.add_nonzero("ABS64", at + 24)
            self.add_size(at + 32, segment.address)
            if segment.type != 7:
                self.add_size(at + 40, segment.address)
        names = self.names.address
        for i, section in enumerate(self.sections):
            at = self.sections_at + 64 * i
            if i == 0 or section.type == 0:
                continue
            if self.names.size:
                image.add_nonzero("BASE32", at, names)
            image.add_nonzero("ABS64", at + 16)
            image.add_nonzero("FILE64", at + 24)
            if not section.is_empty_tls:
                self.add_size(at + 32, section.address if section.is_loaded else B + section.offset)

    def add_dynamic(self) -> None:
        for at in range(self.dynamic.offset, self.dynamic.end, 16):
            name = NAMES.get(self.image.u64(at))
            if name in STRINGS:
                if self.strings.table.size:
                    self.image.add_nonzero("BASE64", at + 8, self.strings.base)
            elif name in SIZE_OF:
                if self.values[SIZE_OF[name]]:
                    self.add_size(at + 8, self.values[SIZE_OF[name]])
            elif name is not None:
                self.image.add_nonzero("ABS64", at + 8)

    def is_function(self, address: int) -> None:
        self.image.is_function(address, aligned=self.machine == AARCH64)

    def read_symbols(self, symbols: Origin, strings: Origin) -> None:
        image, table = self.image, symbols.table
        if not image.charge(table.size):
            return
        for at in range(table.offset, table.offset + table.size // 24 * 24, 24):
            if strings.table.size:
                image.add_nonzero("BASE32", at, strings.base)
            kind, section, value = image.data[at + 4] % 16, image.u16(at + 6), image.u64(at + 8)
            if value == 0 or kind == 6 or section in (0xFFF1, 0xFFF2):
                continue
            image.add("ABS64", at + 8)
            if section == 0:
                continue
            self.add_size(at + 16, value)
            if kind in (2, 10):
                self.is_function(value)

    def _indices(self, count: int, at: int) -> None:
        if self.symbols.table.size and self.image.charge(4 * count):
            for i in range(count):
                self.image.add_nonzero("INDEX32", at + 4 * i, self.symbols.base)

    def read_hash(self, table: Table) -> None:
        self._indices(self.hash_indices(table), table.offset + 8)

    def read_gnu_hash(self, table: Table) -> None:
        buckets = self.gnu_buckets(table)
        if buckets is not None:
            self._indices(1, table.offset + 4)
            self._indices(self.image.u32(table.offset), buckets[0])

    def read_version_definitions(self, table: Table) -> None:
        self._versions(table, (20, 12, 16, None), (8, 0, 4))

    def read_version_needs(self, table: Table) -> None:
        self._versions(table, (16, 8, 12, 4), (16, 8, 12))

    def _versions(
        self, table: Table, record: tuple[int, int, int, int | None], part: tuple[int, int, int]
    ) -> None:
        image, strings = self.image, self.strings
        if strings.table.size == 0:
            return
        size, first_at, next_at, name_at = record
        records, parts = table.size // size, table.size // part[0]
        at = table.offset
        while records > 0 and at + size <= table.end and image.charge(size):
            records -= 1
            if name_at is not None:
                image.add_nonzero("BASE32", at + name_at, strings.base)
            inner = at + image.u32(at + first_at)
            while inner != at and parts > 0 and inner + part[0] <= table.end:
                parts -= 1
                image.add_nonzero("BASE32", inner + part[1], strings.base)
                step = image.u32(inner + part[2])
                if step == 0:
                    break
                inner += step
            if image.u32(at + next_at) == 0:
                break
            at += image.u32(at + next_at)

    def read_rela(self, table: Table) -> None:
        image = self.image
        if not image.charge(table.size):
            return
        for at in range(table.offset, table.offset + table.size // 24 * 24, 24):
            rule = RULES[self.machine].get(image.u32(at + 8), "d")
            image.add_nonzero("ABS64", at)
            if image.u32(at + 12):
                if self.symbols.table.size:
                    image.add("INDEX32", at + 12, self.symbols.base)
            elif rule in "ab":
                image.add_nonzero("ABS64", at + 16)
            word = image.word_at(image.u64(at)) if rule != "d" else None
            if word is None or image.u64(word) == 0:
                continue
            if rule == "b" or image.region_of(image.u64(word)) is not None:
                image.add("ABS64", word)

    def read_relr(self, table: Table) -> None:
        image, following = self.image, 0
        if not image.charge(table.size):
            return

        def location(address: int) -> None:
            if image.charge(8):
                word = image.word_at(address & MASK)
                if word is not None:
                    image.add_nonzero("ABS64", word)

        for at in range(table.offset, table.offset + table.size // 8 * 8, 8):
            word = image.u64(at)
            if word % 2 == 0:
                image.add("RELR64", at)
                location(word)
                following = word + 8
                continue
            for i in range(1, 64):
                if word >> i & 1:
                    location(following + 8 * (i - 1))
            following += 504

    def read_words(self, table: Table) -> None:
        image = self.image
        if not image.charge(table.size):
            return
        for at in range(table.offset, table.offset + table.size // 8 * 8, 8):
            word = image.u64(at)
            if word and image.region_of(word) is not None:
                image.add("ABS64", at)

    def read_plt(self, table: Table) -> None:
        image = self.image
        if self.machine == AARCH64 or not image.charge(table.size):
            return
        for i in range(table.size // 16):
            self.is_function(table.address + 16 * i)
            at = table.offset + 16 * i
            entry = image.data[at : at + 16]
            push = 6 if entry[:2] == b"\xff\x25" else 4 if entry[:4] == b"\xf3\x0f\x1e\xfa" else None
            if push is None or entry[push] != 0x68:
                continue
            if image.u32(at + push + 1) < self.calls.table.size // 24:
                image.add("INDEX32", at + push + 1, self.calls.base)

    def read_frames(self, table: Table) -> None:
        if table.address < B and self.image.charge(table.size):
            self.image.frames = self.image.frames if self.image.frames.size else table
            read_frames(self.image, table, self.functions, ends_at_zero=False)

    def read_tables(self) -> None:
        if not self.by_sections:
            for tag, cut, read in self._tag_rows():
                table = self.from_tag(tag, cut)
                if table.size:
                    read(table)
            return
        for kind, name, read in self._section_rows():
            for section in self.sections:
                fits = section.type == kind and section.is_loaded and self.has_bytes(section)
                if fits and (name is None or self.is_named(section, name)):
                    read(self.table(section))

    def _section_rows(self) -> list[tuple[int, str | None, Callable[[Table], None]]]:
        return [
            (5, None, self.read_hash),
            (0x6FFFFFF6, None, self.read_gnu_hash),
            (0x6FFFFFFD, None, self.read_version_definitions),
            (0x6FFFFFFE, None, self.read_version_needs),
            (4, None, self.read_rela),
            (19, None, self.read_relr),
            (1, ".got", self.read_words),
            (1, ".got.plt", self.read_words),
            (16, None, self.read_words),
            (14, None, self.read_words),
            (15, None, self.read_words),
            (1, ".plt", self.read_plt),
            (1, ".eh_frame", self.read_frames),
            (0x70000001, ".eh_frame", self.read_frames),
        ]

    def _tag_rows(self) -> list[tuple[str, str | None, Callable[[Table], None]]]:
        return [
            ("HASH", None, self.read_hash),
            ("GNU_HASH", None, self.read_gnu_hash),
            ("VERDEF", None, self.read_version_definitions),
            ("VERNEED", None, self.read_version_needs),
            ("RELA", "RELASZ", self.read_rela),
            ("JMPREL", "PLTRELSZ", self.read_rela),
            ("RELR", "RELRSZ", self.read_relr),
            ("PREINIT_ARRAY", "PREINIT_ARRAYSZ", self.read_words),
            ("INIT_ARRAY", "INIT_ARRAYSZ", self.read_words),
            ("FINI_ARRAY", "FINI_ARRAYSZ", self.read_words),
        ]

    def read_unwind(self) -> None:
        image, known, frames = self.image, bool(self.functions), 0
        segment = self.first_segment(0x6474E550)
        if segment is not None:
            table = image.table_at(segment.offset, segment.file_size)
            if table.address < B and image.charge(table.size):
                image.frame_header = table
                frames = read_header(image, table)
        if not known and frames:
            table = image.bytes_from(frames)
            if table.size and image.charge(table.size):
                read_frames(image, table, self.functions, ends_at_zero=True)
        for function in self.functions:
            self.is_function(function.start)
        read_exceptions(image, self.functions)

    def first_named(self, kind: int, name: str) -> Section | None:
        fits = (s for s in self.sections if s.type == kind and self.has_bytes(s) and self.is_named(s, name))
        return next(fits, None)

    def read_build(self) -> None:
        note, link = self.first_named(7, ".note.gnu.build-id"), self.first_named(1, ".gnu_debuglink")
        if note is not None and note.size > 16:
            self.image.fresh.append((note.offset + 16, note.size - 16))
        if link is not None and link.size >= 4:
            self.image.fresh.append((link.offset + link.size - 4, 4))
        if note is None or link is None or not 17 < note.size <= 17 + link.size // 2:
            return
        if note.offset + note.size <= link.offset:
            self.image.digits = (link.offset, note.offset + 17, note.size - 17)

    def read_go(self) -> None:
        functions = self.first_named(1, ".gopclntab")
        module = self.first_named(1, ".go.module") or self.first_named(1, ".noptrdata")
        table = ABSENT if functions is None else self.table(functions)
        if functions is not None and (not functions.is_loaded or table.address >= B):
            return
        there = ABSENT if module is None else self.table(module)
        read_go(self.image, table, there, 0, self.is_function, words=self.machine == AARCH64)

    def read_fixed_words(self) -> None:
        if self.image.u16(16) != 2:
            return
        for name in (".data.rel.ro", ".rodata", ".data", ".noptrdata", ".itablink", ".go.module"):
            section = self.first_named(1, name)
            if section is not None and section.is_loaded:
                self.read_words(self.table(section))

    def read_probes(self) -> None:
        section, image = self.first_named(7, ".note.stapsdt"), self.image
        table = ABSENT if section is None else self.table(section)
        if not image.charge(table.size):
            return
        at = table.offset
        while at + 12 <= table.end:
            name, content = ((image.u32(at + field) + 3) // 4 * 4 for field in (0, 4))
            start = at + 12 + name
            if start + content > table.end:
                return
            is_probe = image.data[at + 8 : start] == b"\3\0\0\0stapsdt\0"
            for field in (0, 8, 16) if is_probe and content >= 24 else ():
                image.add_nonzero("ABS64", start + field)
            at = start + content

    def read(self) -> None:
        self.find_regions()
        self.find_tables()
        self.add_headers()
        self.add_dynamic()
        self.read_symbols(self.symbols, self.strings)
        self.read_tables()
        for address in (self.image.u64(24), self.values["INIT"], self.values["FINI"]):
            self.is_function(address)
        self.read_unwind()
        symbols, strings = self.symbol_section(2)
        self.read_symbols(symbols, strings)
        self.read_build()
        self.read_go()
        self.read_fixed_words()
        self.read_probes()
        code = [region for region in self.image.regions if region.kind == CODE]
        self.image.sweep(code, sweep_aarch64 if self.machine == AARCH64 else sweep_x86_64)
        self.image.keep_names(strings.table)


def read_elf(image: Building) -> None:
    Elf(image).read()
