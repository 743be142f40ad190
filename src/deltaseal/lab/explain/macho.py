"""Mach-O files of 64 bits, thin or universal: sections, parts of __LINKEDIT, functions by symbols and starts.

Facts: <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/fat.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from deltaseal.lab.explain.parts import Function, ImageParts, Role, Section, fill, settle

__all__ = ["read"]

_MAGIC64 = 0xFEEDFACF
_FAT = {0xCAFEBABE: struct.Struct(">IIIII"), 0xCAFEBABF: struct.Struct(">IIQQII")}
_SLICES_MAX = 16

_SEGMENT64, _SYMTAB, _DYSYMTAB = 0x19, 0x2, 0xB
_DYLD_INFO, _DYLD_INFO_ONLY, _FUNCTION_STARTS = 0x22, 0x80000022, 0x26
_LINKEDIT: dict[int, tuple[str, Role]] = {
    0x1D: ("code signature", "signatures"),
    0x26: ("function starts", "unwind"),
    0x29: ("data in code", "symbols"),
    0x80000033: ("exports trie", "symbols"),
    0x80000034: ("chained fixups", "relocations"),
}
_DYLD = ("rebase", "bind", "weak bind", "lazy bind", "export")

_CODE = 0x80000400  # S_ATTR_PURE_INSTRUCTIONS, S_ATTR_SOME_INSTRUCTIONS
_ZEROFILL = (1, 12, 18)  # section types without bytes
_CSTRINGS = 2
_UNWIND = ("__unwind_info", "__eh_frame", "__gcc_except_tab", "__compact_unwind")
_STAB, _TYPE, _SECT = 0xE0, 0x0E, 0x0E  # n_type


@dataclass(slots=True)
class _Image:
    """One slice while it is read. ``base``: its offset in the file; ``segments``: address, offset, size."""

    base: int
    name: str  # of its architecture, before sections of a universal file
    sections: list[Section] = field(default_factory=list)
    code: list[tuple[int, int, int]] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    text: int = 0  # address of the segment that holds the header
    starts: tuple[int, int] | None = None
    symbols: tuple[int, int, int] | None = None

    def add(self, name: str, offset: int, size: int, role: Role) -> None:
        if size and offset:
            self.sections.append(Section(self.name + name, self.base + offset, size, role))

    def place(self, address: int) -> int | None:
        """The offset of an address in code."""
        for start, offset, size in self.code:
            if start <= address < start + size:
                return self.base + offset + address - start
        return None


def read(data: memoryview) -> ImageParts | None:
    """The parts of a Mach-O file; None where it is none."""
    (big,) = struct.unpack_from(">I", data)
    slices = list(_slices(data, big)) if big in _FAT else [(0, "")]
    if not slices or struct.unpack_from("<I", data, slices[0][0])[0] != _MAGIC64:
        return None
    sections: list[Section] = []
    functions: list[Function] = []
    for base, name in slices:
        image = _Image(base, name)
        _commands(data, image)
        functions += [*_symbols(data, image), *_starts(data, image)]
        sections += image.sections
    filled = fill(sections, len(data), data)
    return ImageParts("Mach-O", filled, settle(functions, filled))


_ARCHES = {0x0100000C: "arm64 ", 0x01000007: "x86_64 "}


def _slices(data: memoryview, magic: int) -> Iterator[tuple[int, str]]:
    (count,) = struct.unpack_from(">I", data, 4)
    entry = _FAT[magic]
    for number in range(min(count, _SLICES_MAX)):
        processor, _, offset, *_ = entry.unpack_from(data, 8 + entry.size * number)
        yield offset, _ARCHES.get(processor, f"{processor:#x} ")


def _commands(data: memoryview, image: _Image) -> None:
    (count,) = struct.unpack_from("<I", data, image.base + 16)
    at = image.base + 32
    for _ in range(min(count, 4096)):
        command, size = struct.unpack_from("<II", data, at)
        if command == _SEGMENT64:
            _segment(data, image, at)
        elif command in _LINKEDIT:
            name, role = _LINKEDIT[command]
            offset, length = struct.unpack_from("<II", data, at + 8)
            image.add(name, offset, length, role)
            if command == _FUNCTION_STARTS:
                image.starts = (offset, length)
        elif command == _SYMTAB:
            table, number, strings, length = struct.unpack_from("<IIII", data, at + 8)
            image.add("symbol table", table, 16 * number, "symbols")
            image.add("symbol strings", strings, length, "strings")
            image.symbols = (table, number, strings)
        elif command == _DYSYMTAB:
            offset, number = struct.unpack_from("<II", data, at + 56)
            image.add("indirect symbols", offset, 4 * number, "symbols")
        elif command in (_DYLD_INFO, _DYLD_INFO_ONLY):
            for place, name in enumerate(_DYLD):
                offset, length = struct.unpack_from("<II", data, at + 8 + 8 * place)
                image.add(name, offset, length, "symbols" if name == "export" else "relocations")
        if size < 8:
            return
        at += size


def _segment(data: memoryview, image: _Image, at: int) -> None:
    address, _, offset, length = struct.unpack_from("<QQQQ", data, at + 24)
    (count,) = struct.unpack_from("<I", data, at + 64)
    if offset == 0 and length:
        image.text = address
    for number in range(min(count, 256)):
        raw = struct.unpack_from("<16s16sQQIIIIIIII", data, at + 72 + 80 * number)
        names = [name.rstrip(b"\0").decode("utf-8", "backslashreplace") for name in raw[:2]]
        start, size, place, flags = raw[2], raw[3], raw[4], raw[8]
        if flags & 0xFF in _ZEROFILL:
            continue
        role: Role = "data"
        if flags & _CODE:
            role = "code"
            image.code.append((start, place, size))
        elif names[0] in _UNWIND:
            role = "unwind"
        elif flags & 0xFF == _CSTRINGS:
            role = "strings"
        image.add(f"{names[1]},{names[0]}", place, size, role)


def _symbols(data: memoryview, image: _Image) -> Iterator[Function]:
    if image.symbols is None:
        return
    table, count, strings = image.symbols
    start = image.base + table
    view = data[start : start + 16 * count]
    for name, kind, _, _, value in struct.iter_unpack("<IBBHQ", view[: len(view) // 16 * 16]):
        if kind & _STAB or kind & _TYPE != _SECT:
            continue
        offset = image.place(value)
        if offset is not None:
            yield Function(offset, 0, value, _text(data, image.base + strings + name).removeprefix("_"))


def _text(data: memoryview, offset: int) -> str:
    return bytes(data[offset : offset + 1000]).partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _starts(data: memoryview, image: _Image) -> Iterator[Function]:
    """Distances from one function's start to the next, ULEB128, from the header on."""
    if image.starts is None:
        return
    offset, length = image.starts
    address, number, shift = image.text, 0, 0
    for byte in data[image.base + offset : image.base + offset + length]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        if number == 0:
            return
        address += number
        number = shift = 0
        place = image.place(address)
        if place is not None:
            yield Function(place, 0, address)
