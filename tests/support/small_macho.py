"""Mach-O images for AArch64 put together by hand: code, and the list of its function starts."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from support.image_delta import numbers

TEXT = 0x4000  # where code begins; the header before it
BASE = 0x1_0000_0000


def name(text: str) -> bytes:
    return text.encode().ljust(16, b"\0")


def segment(title: str, offset: int, size: int, section: bytes = b"") -> bytes:
    front = struct.pack("<II", 0x19, 72 + len(section)) + name(title)
    front += struct.pack("<QQQQ", BASE + offset, size, offset, size)
    return front + struct.pack("<IIII", 5, 5, len(section) // 80, 0) + section


def ulebs(distances: Sequence[int]) -> bytes:
    return numbers(*distances)


def program(functions: Sequence[bytes], *, listed: Sequence[int] | None = None) -> bytes:
    """A Mach-O image for AArch64: code, and the list of its function starts (or of ``listed``)."""
    code = b"".join(functions)
    starts, at = [], TEXT
    for function in functions:
        starts.append(at)
        at += len(function)
    starts = list(listed) if listed is not None else starts
    table = ulebs([after - before for before, after in zip([0, *starts], starts, strict=False)]) + b"\0"
    table += bytes(-len(table) % 8)
    end = TEXT + len(code)
    section = name("__text") + name("__TEXT") + struct.pack("<QQ", BASE + TEXT, len(code))
    section += struct.pack("<IIIIIIII", TEXT, 2, 0, 0, 0x80000400, 0, 0, 0)
    commands = segment("__TEXT", 0, end, section) + segment("__LINKEDIT", end, len(table))
    commands += struct.pack("<IIII", 0x26, 16, end, len(table))
    header = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x0100000C, 0, 6, 3, len(commands), 0, 0)
    return (header + commands).ljust(TEXT, b"\0") + code + table


def make_functions(seed: int, count: int) -> list[bytes]:
    """Words of data processing, no two functions alike."""
    choose = random.Random(seed)
    return [
        b"".join(
            struct.pack("<I", 0x8B000000 | choose.randrange(1 << 21)) for _ in range(choose.randrange(8, 60))
        )
        for _ in range(count)
    ]
