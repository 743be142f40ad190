"""The build-id of an ELF image: the name that its linker gave these very bytes.

Format: ELF-64 Object File Format, program headers; the note is NT_GNU_BUILD_ID of binutils. What is no ELF
image, or has none, has no build-id; nothing is ever raised for foreign bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

__all__ = ["build_id"]

_NOTE: Final = 4  # PT_NOTE
_BUILD_ID: Final = 3  # NT_GNU_BUILD_ID
_HEADERS: Final = 64  # program headers looked at; a library has about ten
_NOTE_BYTES: Final = 4096  # of one segment of notes looked at
_ID_BYTES: Final = 64


def build_id(read_at: Callable[[int, int], bytes]) -> str:
    """The build-id, hexadecimal, of an image whose bytes ``read_at(offset, size)`` gives; or nothing."""
    head = read_at(0, 64)
    if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return ""
    order = "<" if head[5] == 1 else ">"
    if head[4] == 2:
        if len(head) < 64:
            return ""
        offset, size, count = struct.unpack_from(f"{order}32xQ14xHH", head)
        row = f"{order}I4xQ16xQ"  # p_type, p_offset, p_filesz
    else:
        offset, size, count = struct.unpack_from(f"{order}28xI10xHH", head)
        row = f"{order}II8xI"
    if size < struct.calcsize(row) or offset > 1 << 62:
        return ""
    table = read_at(offset, size * min(count, _HEADERS))
    for at in range(0, len(table) - size + 1, size):
        kind, start, length = struct.unpack_from(row, table, at)
        if (
            kind == _NOTE
            and start < 1 << 62
            and (found := _in_notes(order, read_at(start, min(length, _NOTE_BYTES))))
        ):
            return found
    return ""


def _in_notes(order: str, notes: bytes) -> str:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(f"{order}III", notes, at)
        name, at = at + 12, at + 12 + _padded(name_size)
        value, at = at, at + _padded(size)
        found = notes[value : value + size]
        if (
            kind == _BUILD_ID
            and notes[name : name + name_size] == b"GNU\0"
            and 0 < len(found) == size <= _ID_BYTES
        ):
            return found.hex()
    return ""


def _padded(size: int) -> int:
    return (size + 3) & ~3
