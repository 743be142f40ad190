"""The Mach-O parser against LIEF on whole real images."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import lief
import pytest
from native.images import CORPUS, FILE_BASE, SEEDS, found

SEED_NAMES = ["chained.dylib", "classic.dylib", "universal.dylib"]
PAIRS = ["lxml", "numpy-umath", "qtcore", "rollup"]
IMAGES = [
    *(pytest.param(SEEDS / name, id=name) for name in SEED_NAMES),
    *(pytest.param(CORPUS / pair / "new", id=pair, marks=pytest.mark.corpus) for pair in PAIRS),
]
every_image = pytest.mark.parametrize("path", IMAGES)

SPACE_BITS = 56
ZEROFILL = {
    lief.MachO.Section.TYPE.ZEROFILL,
    lief.MachO.Section.TYPE.GB_ZEROFILL,
    lief.MachO.Section.TYPE.THREAD_LOCAL_ZEROFILL,
}
CODE = (lief.MachO.Section.FLAGS.PURE_INSTRUCTIONS, lief.MachO.Section.FLAGS.SOME_INSTRUCTIONS)
JUMP_TABLE32 = lief.MachO.DataCodeEntry.TYPES.JUMP_TABLE_32
N_TYPE, N_STAB, N_SECT = 0x0E, 0xE0, 0x0E
REEXPORT = 0x08
TARGET36 = (1 << 36) - 1  # LIEF puts the word's upper eight bits above the target


@cache
def content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def fat(path: Path) -> lief.MachO.FatBinary:
    opened = lief.MachO.parse(str(path))
    assert opened is not None
    return opened


def slices(path: Path) -> list[tuple[int, lief.MachO.Binary]]:
    """The address space and the image of each slice."""
    return [(index << SPACE_BITS, fat(path).at(index)) for index in range(fat(path).size)]


def offset_of(binary: lief.MachO.Binary, address: int) -> int:
    """In the file."""
    return binary.fat_offset + binary.virtual_address_to_offset(address)


def refs(path: Path, binary: lief.MachO.Binary, offset: int, size: int) -> dict[int, tuple[str, int]]:
    """Kind and target by offset in a range of the slice."""
    return found(path).within(binary.fat_offset + offset, size)


def place(binary: lief.MachO.Binary, offset: int) -> int:
    """A byte of the slice as a byte of the file."""
    return FILE_BASE + binary.fat_offset + offset


@every_image
def test_regions_are_header_sections_and_bare_segments(path: Path) -> None:
    expected = []
    for space, binary in slices(path):
        commands = 32 + binary.header.sizeof_cmds
        for segment in binary.segments:
            start = (binary.fat_offset + segment.file_offset, space + segment.virtual_address)
            if segment.file_size and segment.file_offset == 0:
                expected.append((*start, commands, "data"))
            elif segment.file_size and not len(segment.sections):
                expected.append((*start, segment.file_size, "data"))
        for section in binary.sections:
            bare = section.type in ZEROFILL
            code = any(section.has(flag) for flag in CODE)
            offset = 0 if bare else binary.fat_offset + section.offset
            kind = "nobits" if bare else "code" if code else "data"
            if section.size:
                expected.append((offset, space + section.virtual_address, section.size, kind))
    assert found(path).regions == sorted(expected, key=lambda region: region[1])


@every_image
def test_segments_and_sections(path: Path) -> None:
    for space, binary in slices(path):
        for command in binary.commands:
            fields = refs(path, binary, command.command_offset, command.size)
            if not isinstance(command, lief.MachO.SegmentCommand):
                continue
            assert fields.get(24, ("ABS64", space)) == ("ABS64", space + command.virtual_address)
            for index, section in enumerate(command.sections):
                at = 72 + 80 * index
                assert fields[at + 32] == ("ABS64", space + section.virtual_address)
                if section.size:
                    assert fields[at + 40] == ("SIZE64", space + section.virtual_address + section.size - 1)
                if section.offset:
                    assert fields[at + 48] == ("BASE32", place(binary, section.offset))


@every_image
def test_symbols(path: Path) -> None:
    for space, binary in slices(path):
        table = binary.symbol_command
        fields = refs(path, binary, table.symbol_offset, 16 * table.numberof_symbols)
        expected = {}
        at = binary.fat_offset + table.symbol_offset
        entries = struct.iter_unpack("<IBBHQ", content(path)[at : at + 16 * table.numberof_symbols])
        for index, (name, kind, _, _, value) in enumerate(entries):
            if name:
                expected[16 * index] = ("BASE32", place(binary, table.strings_offset + name))
            if not kind & N_STAB and kind & N_TYPE == N_SECT:
                expected[16 * index + 8] = ("ABS64", space + value)
        types = content(path)[at + 4 : at + 16 * table.numberof_symbols : 16]
        stabs = {field for field in fields if types[field // 16] & N_STAB}
        assert {f: what for f, what in fields.items() if f not in stabs or f % 16 == 0} == expected
        plain = [s for s in binary.symbols if not s.raw_type & N_STAB]
        defined = {space + s.value for s in plain if s.raw_type & N_TYPE == N_SECT}
        assert defined == {target for kind, target in expected.values() if kind == "ABS64"}
        indirect = binary.dynamic_symbol_command
        fields = refs(path, binary, indirect.indirect_symbol_offset, 4 * indirect.nb_indirect_symbols)
        assert all(kind == "INDEX32_16" for kind, _ in fields.values())
        at = binary.fat_offset + indirect.indirect_symbol_offset
        numbers = struct.unpack_from(f"<{indirect.nb_indirect_symbols}I", content(path), at)
        assert {f: target for f, (_, target) in fields.items()} == {
            4 * i: place(binary, table.symbol_offset + 16 * n) for i, n in enumerate(numbers) if n < 1 << 30
        }


@every_image
def test_function_starts(path: Path) -> None:
    for space, binary in slices(path):
        table = binary.function_starts
        fields = refs(path, binary, table.data_offset, table.data_size)
        expected = [space + binary.imagebase + start for start in table.functions]
        assert [target for _, (kind, target) in sorted(fields.items()) if kind.startswith("ULEB")] == expected
        code = [
            r for r in found(path).regions if r[3] == "code" and r[1] >> SPACE_BITS == space >> SPACE_BITS
        ]
        for start in expected:
            for offset, address, size, _ in code:
                if address <= start < address + size:
                    assert offset + start - address in found(path).starts


@every_image
def test_fixups(path: Path) -> None:
    image = found(path)
    for space, binary in slices(path):
        bound = {offset_of(binary, binding.address) for binding in binary.bindings}
        rebased = {}
        for fixup in binary.relocations:
            offset = offset_of(binary, fixup.address)
            if isinstance(fixup, lief.MachO.RelocationFixup):
                rebased[offset] = ("CHAIN36", space + (fixup.target & TARGET36))
            else:
                word = int.from_bytes(content(path)[offset : offset + 8], "little")
                rebased[offset] = ("ABS64", space + word)
        for offset, (kind, target) in rebased.items():
            assert (image.refs[offset].kind, image.refs[offset].target) == (kind, target)
        if not binary.has_dyld_chained_fixups:
            assert not any(image.refs[offset].kind.startswith("CHAIN") for offset in rebased)
            continue
        chained = {*rebased, *bound}
        assert all(image.refs[offset].kind == "INDEX24_4" for offset in bound)
        for segment in binary.segments:
            first = binary.fat_offset + segment.file_offset
            inside = sorted(o for o in chained if first <= o < first + segment.file_size)
            for offset, after in zip(inside, [*inside[1:], *inside[-1:]], strict=False):
                address = space + segment.virtual_address + after - first
                assert (image.refs[offset + 6].kind, image.refs[offset + 6].target) == ("NEXT12", address)


@every_image
def test_names_of_chained_imports(path: Path) -> None:
    for _, binary in slices(path):
        for binding in binary.bindings:
            if not isinstance(binding, lief.MachO.ChainedBindingInfo):
                continue
            entry = found(path).refs[offset_of(binary, binding.address)].target - FILE_BASE
            kind, name = found(path).refs[entry].kind, found(path).refs[entry].target - FILE_BASE
            assert kind == "NAME23"
            assert content(path)[name : content(path).index(0, name)].decode() == binding.symbol.name


@every_image
def test_exports(path: Path) -> None:
    for space, binary in slices(path):
        if binary.has_dyld_exports_trie:
            at, size = binary.dyld_exports_trie.data_offset, binary.dyld_exports_trie.data_size
        else:
            at, size = binary.dyld_info.export_info
        fields = refs(path, binary, at, size)
        start = place(binary, at)
        nodes = {target for _, target in fields.values() if start <= target < start + size}
        named = {target for _, target in fields.values()} - nodes
        trie = binary.dyld_exports_trie if binary.has_dyld_exports_trie else binary.dyld_info
        assert named == {space + binary.imagebase + e.address for e in trie.exports if not e.flags & REEXPORT}


@every_image
def test_jump_tables_in_code(path: Path) -> None:
    for space, binary in slices(path):
        if not binary.has_data_in_code:
            continue
        for index, entry in enumerate(binary.data_in_code.entries):
            fields = refs(path, binary, binary.data_in_code.data_offset + 8 * index, 8)
            assert fields == {0: ("BASE32", space + binary.imagebase + entry.offset)}
            if entry.type != JUMP_TABLE32:
                continue
            start = binary.fat_offset + entry.offset
            words = struct.iter_unpack("<i", content(path)[start : start + entry.length // 4 * 4])
            table = space + binary.imagebase + entry.offset
            expected = {4 * i: ("BASE32", table + word) for i, (word,) in enumerate(words)}
            assert refs(path, binary, entry.offset, entry.length) == expected


@every_image
def test_unwind_info_names_functions(path: Path) -> None:
    for space, binary in slices(path):
        section = binary.get_section("__unwind_info")
        if section is None:
            continue
        fields = refs(path, binary, section.offset, section.size)
        named = {target for kind, target in fields.values() if kind in ("PAGE24", "BASE32")}
        framed = {ref.target for ref in found(path).refs.values() if ref.kind == "PREL64"}
        assert {space + f.address for f in binary.unwind_functions if f.address} <= named | framed
