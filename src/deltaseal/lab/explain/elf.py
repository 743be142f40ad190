"""ELF files of 64 bits, little-endian: sections by name, functions by symbols and by unwinding tables.

Facts: System V ABI (sections, symbols), LSB 5.0 chapter "Exception Frames" (.eh_frame_hdr, FDEs), DWARF 4,
section 7.6 (LEB128).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from deltaseal.lab.explain.parts import Function, ImageParts, Role, Section, fill, settle

__all__ = ["read"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_ELF64_LE = b"\x7fELF\x02\x01"

_SYMTAB, _STRTAB, _RELA, _NOBITS, _REL, _DYNSYM, _RELR = 2, 3, 4, 8, 9, 11, 19  # sh_type
_WRITE, _EXECUTE, _STRINGS = 1, 4, 0x20  # sh_flags
_FUNCTION, _INDIRECT = 2, 10  # symbol types: STT_FUNC, STT_GNU_IFUNC

_ROLES: dict[str, Role] = {
    ".eh_frame": "unwind",
    ".eh_frame_hdr": "unwind",
    ".gcc_except_table": "unwind",
    ".note.gnu.build-id": "signatures",
    ".gnu_debuglink": "signatures",
    ".comment": "strings",
    ".gnu.hash": "symbols",
    ".hash": "symbols",
    ".gnu.version": "symbols",
    ".gnu.version_r": "symbols",
    ".gnu.version_d": "symbols",
    ".gnu_debugdata": "packed",
}
_ROLES_BY_TYPE: dict[int, Role] = {
    _SYMTAB: "symbols",
    _DYNSYM: "symbols",
    _STRTAB: "strings",
    _RELA: "relocations",
    _REL: "relocations",
    _RELR: "relocations",
}


@dataclass(frozen=True, slots=True)
class _Header:
    """A section header, with its name found."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int

    @property
    def role(self) -> Role:
        if self.name in _ROLES:
            return _ROLES[self.name]
        if self.type in _ROLES_BY_TYPE:
            return _ROLES_BY_TYPE[self.type]
        if self.flags & _EXECUTE:
            return "code"
        return "strings" if self.flags & _STRINGS else "data"


def read(data: memoryview) -> ImageParts | None:
    """The parts of an ELF file; None where it is none."""
    if bytes(data[:6]) != _ELF64_LE:
        return None
    headers = list(_headers(data))
    sections = [Section(h.name, h.offset, h.size, h.role) for h in headers if h.type != _NOBITS and h.offset]
    functions = [*_symbols(data, headers), *_frames(data, headers)]
    filled = fill(sections, len(data), data)
    return ImageParts("ELF", filled, settle(functions, filled))


def _headers(data: memoryview) -> Iterator[_Header]:
    fields = _HEADER.unpack_from(data)
    table, entry, count, names = fields[6], fields[11], fields[12], fields[13]
    if entry != _SECTION.size or table + count * entry > len(data):
        return
    raw = [_SECTION.unpack_from(data, table + number * entry) for number in range(count)]
    strings = raw[names] if names < count else None
    for name, type_, flags, address, offset, size, link, *_ in raw:
        if type_ == 0:
            continue
        words = _text(data, strings[4] + name) if strings else ""
        yield _Header(words, type_, flags, address, offset, size, link)
    yield _Header("(section headers)", 0, 0, 0, table, count * entry, 0)


def _text(data: memoryview, offset: int) -> str:
    end = offset
    limit = min(len(data), offset + 1000)
    while end < limit and data[end]:
        end += 1
    return bytes(data[offset:end]).decode("utf-8", "backslashreplace")


def _offset(headers: list[_Header], address: int) -> int | None:
    for header in headers:
        if (
            header.address
            and header.type != _NOBITS
            and header.address <= address < header.address + header.size
        ):
            return header.offset + address - header.address
    return None


# ---- symbols -----------------------------------------------------------------------------------


def _symbols(data: memoryview, headers: list[_Header]) -> Iterator[Function]:
    by_number = _by_number(data)
    code = [header for header in headers if header.flags & _EXECUTE]
    for header in headers:
        strings = by_number.get(header.link)
        if header.type not in (_SYMTAB, _DYNSYM) or strings is None:
            continue
        table = data[header.offset : header.offset + header.size // _SYMBOL.size * _SYMBOL.size]
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(table):
            if info & 15 in (_FUNCTION, _INDIRECT) and section and value:
                offset = _offset(code, value)
                if offset is not None:
                    yield Function(offset, size, value, _text(data, strings[0] + name))


def _by_number(data: memoryview) -> dict[int, tuple[int, int]]:
    fields = _HEADER.unpack_from(data)
    table, entry, count = fields[6], fields[11], fields[12]
    found = {}
    for number in range(count):
        raw = _SECTION.unpack_from(data, table + number * entry)
        found[number] = (raw[4], raw[5])
    return found


# ---- unwinding ---------------------------------------------------------------------------------

_PCREL_SDATA4, _DATAREL_SDATA4, _UDATA4 = 0x1B, 0x3B, 0x03


def _frames(data: memoryview, headers: list[_Header]) -> Iterator[Function]:
    """Functions that the sorted table of .eh_frame_hdr names, with the sizes that their FDEs say."""
    index = next((h for h in headers if h.name == ".eh_frame_hdr"), None)
    frames = next((h for h in headers if h.name == ".eh_frame"), None)
    code = [header for header in headers if header.flags & _EXECUTE]
    if index is None or frames is None:
        return
    version, _, count_encoding, table_encoding = data[index.offset : index.offset + 4]
    if (version, count_encoding, table_encoding) != (1, _UDATA4, _DATAREL_SDATA4):
        return
    (count,) = struct.unpack_from("<I", data, index.offset + 8)
    count = min(count, (index.size - 12) // 8)
    table = data[index.offset + 12 : index.offset + 12 + 8 * count]
    for start, frame in struct.iter_unpack("<ii", table):
        address, place = index.address + start, frames.offset + index.address + frame - frames.address
        offset = _offset(code, address)
        if offset is not None:
            yield Function(offset, _range_of(data, place, address, frames), address)


def _range_of(data: memoryview, place: int, address: int, frames: _Header) -> int:
    """How long the function of an FDE is, where it says so in four bytes; else 0."""
    if not frames.offset <= place <= frames.offset + frames.size - 16:
        return 0
    (start,) = struct.unpack_from("<i", data, place + 8)
    field = frames.address + place + 8 - frames.offset
    if field + start != address:
        return 0
    (size,) = struct.unpack_from("<I", data, place + 12)
    return int(size)
