"""The ELF parser against pyelftools and LIEF on whole real images."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lief
import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelrRelocationSection
from elftools.elf.sections import Section
from native.images import CORPUS, FILE_BASE, SEEDS, found

SEED_NAMES = ["lazy.so", "relr.so", "throws.so", "symtab.so", "fixed"]
PAIRS = ["libxml2", "libc", "libc-arm64", "libcrypto-arm64", "sshd", "wheel-numpy", "wheel-numpy-arm64"]
IMAGES = [
    *(pytest.param(SEEDS / name, id=name) for name in SEED_NAMES),
    *(pytest.param(CORPUS / pair / "old", id=pair, marks=pytest.mark.corpus) for pair in PAIRS),
]
every_image = pytest.mark.parametrize("path", IMAGES)

ALLOC, CODE, TLS = 2, 4, 0x400
# Types by machine: those whose addend is an address, those that fill a word of 8 bytes.
ADDRESS_TYPES = {"EM_X86_64": {1, 6, 7, 8, 37}, "EM_AARCH64": {257, 1025, 1026, 1027, 1032}}
FILLS = {"EM_X86_64": {1, 6, 7, 8, 16, 17, 18, 36, 37}, "EM_AARCH64": {257, *range(1025, 1033)}}
RELATIVE = {"EM_X86_64": 8, "EM_AARCH64": 1027}
# Tags of .dynamic by what they hold (System V gABI, "Dynamic Section").
POINTERS = {
    *("DT_PLTGOT", "DT_HASH", "DT_GNU_HASH", "DT_STRTAB", "DT_SYMTAB", "DT_RELA", "DT_RELR", "DT_JMPREL"),
    *("DT_INIT", "DT_FINI", "DT_PREINIT_ARRAY", "DT_INIT_ARRAY", "DT_FINI_ARRAY"),
    *("DT_VERSYM", "DT_VERDEF", "DT_VERNEED", "DT_TLSDESC_PLT", "DT_TLSDESC_GOT"),
}
SIZES = {
    "DT_STRSZ": "DT_STRTAB",
    "DT_RELASZ": "DT_RELA",
    "DT_RELRSZ": "DT_RELR",
    "DT_PLTRELSZ": "DT_JMPREL",
    "DT_INIT_ARRAYSZ": "DT_INIT_ARRAY",
    "DT_FINI_ARRAYSZ": "DT_FINI_ARRAY",
}
STRINGS = ["DT_NEEDED", "DT_SONAME", "DT_RPATH", "DT_RUNPATH"]


@cache
def opened(path: Path) -> ELFFile:
    return ELFFile(path.open("rb"))


@cache
def by_lief(path: Path) -> lief.ELF.Binary:
    return lief.ELF.parse(str(path))  # kept: what it hands out does not outlive it


def of_type(elf: ELFFile, *types: str) -> list[Section]:
    return [section for section in elf.iter_sections() if section["sh_type"] in types]


def named(elf: ELFFile, name: str) -> Section | None:
    return elf.get_section_by_name(name)


def refs_of(path: Path, section: Section) -> dict[int, tuple[str, int]]:
    return found(path).within(section["sh_offset"], section["sh_size"])


@cache
def content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def loaded_bytes(path: Path) -> list[tuple[int, int, int]]:
    """Address, size and offset of the sections that have bytes."""
    sections = opened(path).iter_sections()
    loaded = (s for s in sections if s["sh_flags"] & ALLOC and s["sh_type"] != "SHT_NOBITS")
    return sorted((s["sh_addr"], s["sh_size"], s["sh_offset"]) for s in loaded)


def file_offset(path: Path, address: int) -> int | None:
    """Of an address that a section with bytes holds."""
    where = bisect_right(loaded_bytes(path), (address, 1 << 64))
    start, size, offset = loaded_bytes(path)[where - 1]
    return offset + address - start if 0 <= address - start < size else None


def word_at(path: Path, offset: int) -> int:
    return int.from_bytes(content(path)[offset : offset + 8], "little")


@every_image
def test_regions_are_the_loaded_sections(path: Path) -> None:
    expected = []
    for section in opened(path).iter_sections():
        flags, bytes_there = section["sh_flags"], section["sh_type"] != "SHT_NOBITS"
        if not flags & ALLOC or section["sh_size"] == 0 or (flags & TLS and not bytes_there):
            continue
        kind = ("code" if flags & CODE else "data") if bytes_there else "nobits"
        expected.append(
            (section["sh_offset"] if bytes_there else 0, section["sh_addr"], section["sh_size"], kind)
        )
    assert found(path).regions == sorted(expected, key=lambda region: region[1])
    seen = {(s.virtual_address, s.size) for s in by_lief(path).sections if s.flags & ALLOC and s.size}
    assert {(address, size) for _, address, size, _ in found(path).regions} <= seen


@every_image
def test_headers(path: Path) -> None:
    elf = opened(path)
    header = found(path).within(0, 64)
    fields_of_header = [
        (24, "e_entry", "ABS64", 0),
        (32, "e_phoff", "FILE64", FILE_BASE),
        (40, "e_shoff", "FILE64", FILE_BASE),
    ]
    for at, name, kind, base in fields_of_header:
        assert header.get(at) == ((kind, base + elf[name]) if elf[name] else None)
    for index, segment in enumerate(elf.iter_segments()):
        fields = found(path).within(elf["e_phoff"] + 56 * index, 56)
        if segment["p_memsz"] == 0:
            assert fields == {}
            continue
        start = segment["p_vaddr"]
        assert fields.get(32) == (
            ("SIZE64", start + segment["p_filesz"] - 1) if segment["p_filesz"] else None
        )
        if segment["p_type"] != "PT_TLS":
            assert fields[40] == ("SIZE64", start + segment["p_memsz"] - 1)
        assert fields.get(16) == (("ABS64", start) if start else None)
    for index, section in enumerate(elf.iter_sections()):
        fields = found(path).within(elf["e_shoff"] + 64 * index, 64)
        if index == 0:
            assert fields == {}
            continue
        start = section["sh_addr"] if section["sh_flags"] & ALLOC else FILE_BASE + section["sh_offset"]
        if section["sh_size"] and not (section["sh_flags"] & TLS and section["sh_type"] == "SHT_NOBITS"):
            assert fields[32] == ("SIZE64", start + section["sh_size"] - 1)
        assert fields[24] == ("FILE64", FILE_BASE + section["sh_offset"])


@every_image
def test_dynamic_section(path: Path) -> None:
    elf = opened(path)
    for section in of_type(elf, "SHT_DYNAMIC"):
        tags = [(tag.entry.d_tag, tag.entry.d_val) for tag in section.iter_tags()]
        values = dict(reversed(tags))
        expected = {}
        for index, (tag, value) in enumerate(tags):
            if tag in POINTERS and value:
                expected[16 * index + 8] = ("ABS64", value)
            elif tag in STRINGS:
                expected[16 * index + 8] = ("BASE64", values["DT_STRTAB"] + value)
            elif tag in SIZES and value:
                expected[16 * index + 8] = ("SIZE64", values[SIZES[tag]] + value - 1)
        assert refs_of(path, section) == expected


@every_image
def test_relocations_and_what_they_fill(path: Path) -> None:
    elf = opened(path)
    machine = elf["e_machine"]
    symbols = named(elf, ".dynsym")
    image = found(path)
    relative: set[tuple[int, int]] = set()
    for section in of_type(elf, "SHT_RELA"):
        expected = {}
        for index, entry in enumerate(section.iter_relocations()):
            at = 24 * index
            offset, addend, symbol = entry["r_offset"], entry["r_addend"], entry["r_info_sym"]
            kind = entry["r_info_type"]
            if offset:
                expected[at] = ("ABS64", offset)
            meaning = None
            if symbol:
                meaning = symbols["sh_addr"] + 24 * symbol
                expected[at + 12] = ("INDEX32", meaning)
            elif kind in ADDRESS_TYPES[machine] and addend:
                meaning = addend
                expected[at + 16] = ("ABS64", addend)
            if kind == RELATIVE[machine]:
                relative.add((offset, addend))
            slot = file_offset(path, offset)
            if kind not in FILLS[machine] or slot is None:
                continue
            word = word_at(path, slot)
            assert image.slots.get(slot) == (meaning if word == 0 or symbol else None)
            if word and kind == RELATIVE[machine]:
                assert (image.refs[slot].kind, image.refs[slot].target) == ("ABS64", word)
        assert refs_of(path, section) == expected
    other = {
        (entry.address, entry.addend)
        for entry in by_lief(path).dynamic_relocations
        if int(entry.type) & 0xFFFF == RELATIVE[machine] and entry.is_rela
    }
    assert relative == other


@every_image
def test_relr(path: Path) -> None:
    elf = opened(path)
    for section in elf.iter_sections():
        if not isinstance(section, RelrRelocationSection):
            continue
        words = struct.unpack(f"<{section['sh_size'] // 8}Q", section.data())
        assert refs_of(path, section) == {
            8 * i: ("RELR64", word) for i, word in enumerate(words) if word % 2 == 0
        }
        for relocation in section.iter_relocations():
            slot = file_offset(path, relocation["r_offset"])
            word = word_at(path, slot)
            ref = found(path).refs.get(slot)
            assert (ref.kind, ref.target) == ("ABS64", word) if word else ref is None


@every_image
def test_symbols(path: Path) -> None:
    elf = opened(path)
    for section in of_type(elf, "SHT_DYNSYM", "SHT_SYMTAB"):
        strings = elf.get_section(section["sh_link"])
        names = strings["sh_addr"] if strings["sh_flags"] & ALLOC else FILE_BASE + strings["sh_offset"]
        expected = {}
        for index, symbol in enumerate(section.iter_symbols()):
            at, value, size, home = 24 * index, symbol["st_value"], symbol["st_size"], symbol["st_shndx"]
            if symbol["st_name"]:
                expected[at] = ("BASE32", names + symbol["st_name"])
            if value and symbol["st_info"]["type"] != "STT_TLS" and home not in ("SHN_ABS", "SHN_COMMON"):
                expected[at + 8] = ("ABS64", value)
                if size and home != "SHN_UNDEF":
                    expected[at + 16] = ("SIZE64", value + size - 1)
        assert refs_of(path, section) == expected


@every_image
def test_hash_tables(path: Path) -> None:
    elf = opened(path)
    for section in of_type(elf, "SHT_HASH", "SHT_GNU_HASH"):
        symbols = elf.get_section(section["sh_link"])["sh_addr"]
        if section["sh_type"] == "SHT_HASH":
            indices = [*section.params["buckets"], *section.params["chains"]]
            fields = {8 + 4 * i: index for i, index in enumerate(indices)}
        else:
            start = 16 + 8 * section.params["bloom_size"]
            fields = {start + 4 * i: index for i, index in enumerate(section.params["buckets"])}
            fields[4] = section.params["symoffset"]
        expected = {at: ("INDEX32", symbols + 24 * index) for at, index in fields.items() if index}
        assert refs_of(path, section) == expected


@every_image
def test_version_names(path: Path) -> None:
    elf = opened(path)
    expected: set[int] = set()
    got: set[int] = set()
    for section in of_type(elf, "SHT_GNU_verneed", "SHT_GNU_verdef"):
        strings = elf.get_section(section["sh_link"])["sh_addr"]
        for version, parts in section.iter_versions():
            if section["sh_type"] == "SHT_GNU_verneed":
                expected.add(strings + version["vn_file"])
            name = "vna_name" if section["sh_type"] == "SHT_GNU_verneed" else "vda_name"
            expected |= {strings + part[name] for part in parts}
        refs = refs_of(path, section)
        assert {kind for kind, _ in refs.values()} == {"BASE32"}
        got |= {target for _, target in refs.values()}
    assert got == expected


@cache
def functions(path: Path) -> list[FDE]:
    entries = opened(path).get_dwarf_info().EH_CFI_entries()
    return [entry for entry in entries if isinstance(entry, FDE)]


def places(entry: FDE) -> list[int]:
    """The byte before each place that the program of a frame steps to."""
    location, found_places = entry.header["initial_location"], []
    for instruction in entry.instructions:
        if instruction.opcode >> 6 == 1 or instruction.opcode in (2, 3, 4):
            distance = instruction.args[0] * entry.cie.header["code_alignment_factor"]
            location += distance
            found_places += [location - 1] if distance else []
    return found_places


@every_image
def test_frames(path: Path) -> None:
    section = named(opened(path), ".eh_frame")
    refs = refs_of(path, section)
    starts, lsdas, personalities = [], [], set()
    for entry in functions(path):
        assert refs.pop(entry.offset + 4) == ("BACK32", section["sh_addr"] + entry.cie.offset)
        start, size = entry.header["initial_location"], entry.header["address_range"]
        at = entry.offset + 8
        assert refs.pop(at) == ("PREL32", start)
        assert refs.pop(at + 4) == ("SIZE32", start + size - 1)
        starts.append(start)
        if entry.lsda_pointer:
            lsdas.append(entry.lsda_pointer)
        personality = entry.cie.augmentation_dict.get("personality")
        if personality is not None:
            personalities.add(range(entry.cie.offset, entry.cie.offset + entry.cie.header["length"] + 4))
        inside = range(entry.offset, entry.offset + entry.header["length"] + 4)
        steps = [at for at, (kind, _) in refs.items() if at in inside and kind.startswith("STEP")]
        assert [refs.pop(at)[1] for at in sorted(steps)] == places(entry)
    rest = sorted(target for kind, target in refs.values() if kind == "PREL32")
    assert len(rest) == len(refs)
    in_cies = sorted(target for at, (_, target) in refs.items() if any(at in cie for cie in personalities))
    assert rest == sorted(lsdas + in_cies)
    assert len(in_cies) == len(personalities)
    code = [(address, size, offset) for offset, address, size, kind in found(path).regions if kind == "code"]
    for start in starts:
        for address, size, offset in code:
            if 0 <= start - address < size:
                assert offset + start - address in found(path).starts


@every_image
def test_frame_header(path: Path) -> None:
    elf = opened(path)
    section, frames = named(elf, ".eh_frame_hdr"), named(elf, ".eh_frame")
    if section is None:
        assert path.name == "fixed"
        return
    rows = sorted((f.header["initial_location"], frames["sh_addr"] + f.offset) for f in functions(path))
    refs = refs_of(path, section)
    assert refs.pop(4) == ("PREL32", frames["sh_addr"])
    assert {kind for kind, _ in refs.values()} == {"BASE32"}
    pairs = sorted((refs[at][1], refs[at + 4][1]) for at in range(12, 12 + 4 * len(refs), 8))
    assert len(pairs) == len(rows)
    assert pairs == rows


def leb(data: bytes, at: int, *, signed: bool = False) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if signed and byte & 0x40 else value), at


def exception_refs(data: bytes, at: int, function: int) -> Iterator[tuple[int, str, int]]:
    """A second reader of one exception table, by chains of actions, as the unwinder goes; ULEB128 call sites,
    types of 4 bytes relative to their place (then the target is still relative to the table's first byte)."""
    assert data[at] == 0xFF
    type_encoding, at = data[at + 1], at + 2
    types = 0
    if type_encoding != 0xFF:
        distance, at = leb(data, at)
        types = at + distance
    assert data[at] == 1
    size, at = leb(data, at + 1)
    actions = at + size
    filters = {0}
    while at < actions:
        start, next_at = leb(data, at)
        yield at, f"ULEB{next_at - at}", function + start
        at, (length, next_at) = next_at, leb(data, next_at)
        if length:
            yield at, f"ULEB_SIZE{next_at - at}", function + start + length - 1
        at, (pad, next_at) = next_at, leb(data, next_at)
        if pad:
            yield at, f"ULEB{next_at - at}", function + pad
        action, at = leb(data, next_at)
        record = actions + action - 1 if action else None
        while record is not None:
            which, step_at = leb(data, record, signed=True)
            filters.add(which)
            step, _ = leb(data, step_at, signed=True)
            record = step_at + step if step else None
    for index in range(1, max(filters) + 1):
        field = types - 4 * index
        (value,) = struct.unpack_from("<i", data, field)
        if value:
            yield field, "PREL32", field + value


@every_image
def test_exception_tables(path: Path) -> None:
    elf = opened(path)
    section = named(elf, ".gcc_except_table")
    if section is None:
        return
    start, data = section["sh_addr"], section.data()
    expected = {}
    for entry in functions(path):
        if entry.lsda_pointer:
            for at, kind, target in exception_refs(
                data, entry.lsda_pointer - start, entry.header["initial_location"]
            ):
                expected[at] = (kind, target + start if kind == "PREL32" else target)
    assert refs_of(path, section) == expected
    assert expected


@every_image
def test_plt_pushes_number_the_relocations(path: Path) -> None:
    elf = opened(path)
    plt, calls = named(elf, ".plt"), named(elf, ".rela.plt")
    if plt is None or calls is None or elf["e_machine"] != "EM_X86_64":
        return
    targets = sorted(target for kind, target in refs_of(path, plt).values() if kind == "INDEX32")
    every = [calls["sh_addr"] + at for at in range(0, calls["sh_size"], 24)]
    assert targets == (every if calls["sh_info"] and plt["sh_size"] // 16 > len(every) else targets)
    assert set(targets) <= set(every) and targets


@every_image
def test_without_sections_the_tables_are_the_same(path: Path, tmp_path: Path) -> None:
    elf = opened(path)
    if named(elf, ".dynamic") is None:
        return
    bare = bytearray(path.read_bytes())
    struct.pack_into("<Q", bare, 40, 0)
    struct.pack_into("<HHH", bare, 58, 0, 0, 0)
    copy = tmp_path / "bare"
    copy.write_bytes(bare)
    arch = found(copy).arch
    assert arch == found(path).arch
    in_code = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_flags"] & 1]
    linking = ("SHT_RELA", "SHT_RELR", "SHT_DYNSYM", "SHT_HASH", "SHT_GNU_HASH", "SHT_DYNAMIC")
    versions = ("SHT_GNU_verneed", "SHT_GNU_verdef")
    for section in [*of_type(elf, *linking, *versions), named(elf, ".eh_frame"), named(elf, ".eh_frame_hdr")]:
        # Code that shares its segment with tables is decoded from the segment's start.
        if section is None or any(s.section_in_segment(section) for s in in_code):
            continue
        assert refs_of(copy, section) == refs_of(path, section), section.name


@every_image
def test_names_of_symbols_stand_behind_the_functions(path: Path) -> None:
    elf, functions, names = opened(path), found(path).functions, []
    for symbols in of_type(elf, "SHT_SYMTAB")[:1]:
        strings = elf.get_section(symbols["sh_link"])
        data, first = strings.data(), strings["sh_offset"]
        names = [first + at for at in range(1, len(data)) if data[at - 1] == 0 and data[at] != 0]
        sought = {
            first + s["st_name"] for s in symbols.iter_symbols() if s.name and data[s["st_name"] - 1] == 0
        }
        assert sought <= set(names)
    count = len(functions) - len(names)
    assert functions[count:] == names
    code = [(offset, offset + size) for offset, _, size, kind in found(path).regions if kind == "code"]
    assert all(any(first <= at < last for first, last in code) for at in functions[:count])
