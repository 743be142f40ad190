"""Mach-O images for AArch64 put together by hand: code, the list of its function starts, and a signature."""

from __future__ import annotations

import hashlib
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


def signature(covered: bytes, *, page_bits: int = 12) -> bytes:
    """A code signature as a linker makes it: one directory of page digests (xnu, cs_blobs.h)."""
    page = 1 << page_bits
    digests = [hashlib.sha256(covered[at : at + page]).digest() for at in range(0, len(covered), page)]
    title = b"small\0"
    front = 44 + len(title)
    size = front + 32 * len(digests)
    fields = (0xFADE0C02, size, 0x20000, 2, front, 44, 0, len(digests), len(covered), 32, 2, 0, page_bits, 0)
    directory = struct.pack(">9I4BI", *fields) + title + b"".join(digests)
    return struct.pack(">5I", 0xFADE0CC0, 20 + len(directory), 1, 0, 20) + directory


def program(
    functions: Sequence[bytes],
    *,
    listed: Sequence[int] | None = None,
    text: int = TEXT,
    signed: bool = False,
    uuid: bytes = b"",
) -> bytes:
    """A Mach-O image for AArch64: code at ``text``, and a list of its function starts (or of ``listed``)."""
    code = b"".join(functions)
    starts, at = [], text
    for function in functions:
        starts.append(at)
        at += len(function)
    starts = list(listed) if listed is not None else starts
    table = ulebs([after - before for before, after in zip([0, *starts], starts, strict=False)]) + b"\0"
    table += bytes(-len(table) % 8)
    end = text + len(code)
    covered = end + len(table)
    signed_size = len(signature(bytes(covered))) if signed else 0
    section = name("__text") + name("__TEXT") + struct.pack("<QQ", BASE + text, len(code))
    section += struct.pack("<IIIIIIII", text, 2, 0, 0, 0x80000400, 0, 0, 0)
    commands = segment("__TEXT", 0, end, section) + segment("__LINKEDIT", end, len(table) + signed_size)
    commands += struct.pack("<IIII", 0x26, 16, end, len(table))
    if signed:
        commands += struct.pack("<IIII", 0x1D, 16, covered, signed_size)
    if uuid:
        commands += struct.pack("<II", 0x1B, 24) + uuid
    count = 3 + signed + bool(uuid)
    header = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x0100000C, 0, 6, count, len(commands), 0, 0)
    image = (header + commands).ljust(text, b"\0") + code + table
    return image + signature(image) if signed else image


NOP = bytes.fromhex("1f2003d5")


def padded(functions: Sequence[bytes], *, alignment: int = 16, most: int = 64) -> list[bytes]:
    """The same, each but the last filled up to the alignment where that takes at most so many bytes."""
    out = []
    at = TEXT
    for function in functions[:-1]:
        gap = -(at + len(function)) % alignment
        out.append(function + NOP * (gap // 4 if gap <= most else 0))
        at += len(out[-1])
    return [*out, functions[-1]]


def make_functions(seed: int, count: int) -> list[bytes]:
    """Words of data processing, no two functions alike."""
    choose = random.Random(seed)
    return [
        b"".join(
            struct.pack("<I", 0x8B000000 | choose.randrange(1 << 21)) for _ in range(choose.randrange(8, 60))
        )
        for _ in range(count)
    ]
