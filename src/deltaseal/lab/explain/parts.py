"""What an executable file is made of, to a reader of reports: sections with their roles, and functions.

Nothing is decided by it but how bytes are named. So a file that is not understood, or lies, has fewer parts,
never an error.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

__all__ = ["Function", "ImageParts", "Role", "Section", "fill", "parts_of", "settle", "strings_in"]

Role = Literal[
    "code", "data", "strings", "relocations", "unwind", "symbols", "signatures", "headers", "packed"
]

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of the file: bytes [offset, offset + size)."""

    name: str
    offset: int
    size: int
    role: Role

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Function:
    """A function: where it lies in the file, its address, its name (empty: it has no symbol)."""

    offset: int
    size: int
    address: int
    name: str = ""

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class ImageParts:
    """Sections cover the whole file, in order, without a hole; functions are in order and apart."""

    format: str
    sections: tuple[Section, ...]
    functions: tuple[Function, ...] = ()

    def function_at(self, offset: int) -> Function | None:
        """The function that holds a byte of the file."""
        at = bisect_right(self.functions, offset, key=lambda function: function.offset) - 1
        return self.functions[at] if at >= 0 and offset < self.functions[at].end else None

    def called(self, function: Function) -> str:
        """Its name; without a symbol its address, and which named function it lies behind."""
        if function.name:
            return function.name
        at = bisect_right(self.functions, function.offset, key=lambda other: other.offset) - 1
        before = next((f.name for f in reversed(self.functions[:at]) if f.name), "")
        return f"{function.address:#x}" + (f" (behind {before})" if before else "")


def parts_of(data: Buffer) -> ImageParts:
    """The parts of an ELF or Mach-O file; of any other one section, ``bytes``."""
    from deltaseal.lab.explain import elf, macho

    for reader in (elf.read, macho.read):
        try:
            found = reader(memoryview(data))
        except (struct.error, ValueError, IndexError, OverflowError):
            continue
        if found is not None:
            return found
    return ImageParts("bytes", (Section("bytes", 0, len(data), "data"),))


# ---- for readers of formats --------------------------------------------------------------------

_TEXT = re.compile(rb"[\x20-\x7e\t\n]{5,}\0")  # what looks like a string of C


def fill(sections: Iterable[Section], size: int, data: Buffer) -> tuple[Section, ...]:
    """Sections in order, made disjoint, holes named, and strings told apart in read-only data."""
    filled: list[Section] = []
    at = 0
    for section in sorted(sections, key=lambda s: (s.offset, -s.size)):
        start, end = max(section.offset, at), min(section.end, size)
        if start >= end:
            continue
        if start > at:
            filled.append(_hole(at, start, data))
        filled.append(Section(section.name, start, end - start, section.role))
        at = end
    if at < size:
        filled.append(_hole(at, size, data))
    return tuple(filled)


def _hole(start: int, end: int, data: Buffer) -> Section:
    is_padding = start > 0 and not any(bytes(data[start : min(end, start + 4096)]))
    return Section("(padding)" if is_padding else "(headers)", start, end - start, "headers")


def strings_in(section: Section, data: Buffer) -> list[tuple[int, int]]:
    """Offset and end of each text in a section of data."""
    view = bytes(data[section.offset : section.end])
    return [(section.offset + m.start(), section.offset + m.end()) for m in _TEXT.finditer(view)]


def settle(functions: Sequence[Function], sections: Sequence[Section]) -> tuple[Function, ...]:
    """Functions in order and apart: of several at one place the one with a name; none leaves its section."""
    best: dict[int, Function] = {}
    for function in functions:
        known = best.get(function.offset)
        if known is None or _rank(function) > _rank(known):
            best[function.offset] = function
    ordered = [best[offset] for offset in sorted(best)]
    settled = []
    for function, following in zip_longest(ordered, ordered[1:]):
        at = bisect_right(sections, function.offset, key=lambda section: section.offset) - 1
        if at < 0:
            continue
        limit = min(sections[at].end, following.offset) if following else sections[at].end
        end = min(function.offset + function.size, limit) if function.size else limit
        if end > function.offset:
            settled.append(Function(function.offset, end - function.offset, function.address, function.name))
    return tuple(settled)


def _rank(function: Function) -> tuple[bool, bool, int]:
    return bool(function.name), function.size > 0, -len(function.name)
