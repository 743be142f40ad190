"""Mach-O images put together by hand, since their linkers are rare: every table that a reader knows."""

from __future__ import annotations

import random
import struct

X86_64, ARM64 = 0x01000007, 0x0100000C
BASE = 0x100000000
_TEXT, _DATA, _LINKEDIT = 0x1000, 0x2000, 0x3000


def uleb(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _section(
    segment: str, name: str, at: int, size: int, flags: int, *, first: int = 0, step: int = 0
) -> bytes:
    offset = 0 if flags & 255 == 1 else at
    fields = (BASE + at, size, offset, 3, 0, 0, flags, first, step, 0)
    return struct.pack("<16s16sQQIIIIIIII", name.encode(), segment.encode(), *fields)


def _segment(name: str, at: int, size: int, sections: list[bytes], *, memory: int = 0) -> bytes:
    fields = (
        0x19,
        72 + 80 * len(sections),
        name.encode(),
        BASE + at,
        memory or size,
        at,
        size,
        7,
        7,
        len(sections),
        0,
    )
    return struct.pack("<II16sQQQQIIII", *fields) + b"".join(sections)


def _unwind_info(arm: bool) -> bytes:
    dwarf = (3 if arm else 4) << 24 | 0x18
    index = struct.pack("<6I", 0x1040, 0x50, 0x40, 0x1100, 0x70, 0x48) + struct.pack("<3I", 0x1200, 0, 0x48)
    head = struct.pack("<7I", 1, 28, 1, 32, 1, 0x90, 3)
    regular = struct.pack("<IHH4I", 2, 8, 2, 0x1040, dwarf, 0x1080, 1)
    compressed = struct.pack("<IHHHH", 3, 12, 3, 24, 2) + struct.pack("<3I", 0, 0x01000040, 0x02000080)
    compressed += struct.pack("<II", dwarf, 2)
    lsda = struct.pack("<II", 0x1080, 0x1A00)
    body = head + struct.pack("<II", dwarf, 0x2008)
    body = body.ljust(0x40, b"\0") + lsda
    return (body.ljust(0x50, b"\0") + regular).ljust(0x70, b"\0") + compressed[:32] + index


_FRAMES = bytes.fromhex(
    "1c00000000000000 017a504c5200 01 78 10 07 9b f4060000 10 10 0c0708 9001 0000"
    "24000000 24000000 58f7ffffffffffff 4000000000000000 08 d800000000000000 00000000 0000"
)
_EXCEPTIONS = bytes.fromhex("ff9b1101 0902030000 0804900101 0100 00faffff")


def _chained(draw: random.Random, form: int, count: int) -> tuple[bytes, bytes]:
    """The table, and words for pages of data from 0x2000 on."""
    stride = 8 if form in (1, 9, 12) else 4
    words = bytearray(0x200)
    places = sorted(draw.sample(range(0, 0x1F0, 8), count))
    for place, later in zip(places, [*places[1:], places[-1]], strict=True):
        word = draw.getrandbits(32) | (later - place) // stride << 51
        word |= (
            draw.choice([0, 0, 1 << 62, 1 << 63]) if stride == 8 or form != 6 else draw.choice([0, 1 << 63])
        )
        words[place : place + 8] = struct.pack("<Q", word)
    starts = struct.pack("<4I", 3, 0, 0x10, 0)
    segment = struct.pack("<IHHQIH", 24 + 2, 0x1000, form, _DATA, 0, 1) + struct.pack("<H", places[0])
    imports = struct.pack("<2I", 1 << 9, 5 << 9)
    head = struct.pack("<7I", 0, 28, 28 + 16 + 24, 28 + 16 + 24 + 8, 2, 1, 0)
    return head + starts + segment + imports + b"\0_one\0_two\0", bytes(words)


def _rebase() -> bytes:
    opcodes = [
        b"\x11\x21",
        uleb(0x40),
        b"\x54\x30",
        uleb(0x10),
        b"\x42\x51\x60",
        uleb(3),
        b"\x70",
        uleb(0x18),
    ]
    return b"".join([*opcodes, b"\x80", uleb(2), uleb(8), b"\0\0"])


def _bind() -> bytes:
    return (
        b"\x11\x40_one\0\x51\x71"
        + uleb(0x20)
        + b"\x90\x60"
        + uleb(5)
        + b"\xa0"
        + uleb(8)
        + b"\xb1\xc0\x02\x08\0"
    )


_EXPORTS = (
    b"\0\x02_a\0\x0b_b\0\x11"
    + b"\x03\0"
    + uleb(0x1040)
    + b"\0"
    + b"\x05\x10"
    + uleb(0x1080)
    + uleb(0x1100)
    + b"\0"
)


def macho(seed: int, cpu: int) -> bytes:
    """An image with chained fixups or with opcodes, by the seed."""
    draw = random.Random(seed)
    arm = cpu == ARM64
    chained = draw.random() < 0.6
    fixups, words = _chained(draw, draw.choice([1, 2, 6, 7, 9, 10, 12]), draw.choice([1, 5, 20]))
    tables = {
        "fixups": fixups,
        "rebase": _rebase(),
        "bind": _bind(),
        "lazy": _bind() + b"\0" * 4,
        "exports": _EXPORTS,
        "functions": uleb(0x1000) + uleb(0x40) + uleb(0x40) + uleb(0x80) + b"\0\0",
        "data": struct.pack("<IHHIHH", 0x1180, 8, 4, 0x1190, 5, 1),
        "symbols": _symbols(),
        "indirect": struct.pack("<4I", 1, 0x80000000, 2, 0),
        "strings": b"\0_one\0_two\0_three\0",
    }
    places, at = {}, _LINKEDIT
    for name, table in tables.items():
        places[name] = (at, len(table))
        at += len(table) + 7 & ~7
    image = bytearray(at)
    for name, table in tables.items():
        image[places[name][0] : places[name][0] + len(table)] = table
    text = (
        draw.randbytes(0x200)
        if draw.random() < 0.5
        else (b"\x90" * 0x200 if not arm else b"\x1f\x20\x03\xd5" * 0x80)
    )
    helper = b"\x50\0\0\x18\0\0\0\x14\x05\0\0\0" if arm else b"\x68\x05\0\0\0\xe9\0\0\0\0"
    pieces = [
        (0x1000, text),
        (0x1200, draw.randbytes(24)),
        (0x1300, bytes(24 if arm else 16) + helper * 3),
        (0x1400, _unwind_info(arm)),
        (0x18E8, _FRAMES),
        (0x1A00, _EXCEPTIONS),
        (0x1B00, struct.pack("<2I", 0x1040, 0x1080)),
        (0x1C00, _METHODS),
        (0x1C40, struct.pack("<4i", 0x80, 0, -0x41, 5)),
        (0x1C80, struct.pack("<2i2HI", 16, 0, 0, 12, 2) + struct.pack("<I2i", 2, 0x30, -0x40) * 3),
        (_DATA, words),
    ]
    for place, content in pieces:
        image[place : place + len(content)] = content
    commands = _commands(places, at, arm, chained)
    header = struct.pack("<8I", 0xFEEDFACF, cpu, 0, 6, len(commands), sum(map(len, commands)), 0, 0)
    front = header + b"".join(commands)
    image[: len(front)] = front
    return bytes(image)


_METHODS = struct.pack("<2I3iI", 0x8000000C, 1, 0x100, 0, -0x800, 0) + struct.pack(
    "<2I3i", 0x8000000D, 1, 8, 12, 16
)


def _symbols() -> bytes:
    rows = [
        (0, 0x0F, 1, BASE + 0x1040),
        (1, 1, 0, 0),
        (6, 0x0E, 1, BASE + 0x1080),
        (11, 0x24, 1, BASE + 0x1100),
    ]
    rows += [(11, 0x24, 0, 0x40), (1, 0x02, 0, 5), (1, 0x64, 1, 7)]
    return b"".join(
        struct.pack("<IBBHQ", name, kind, section, 0, value) for name, kind, section, value in rows
    )


def _commands(places: dict[str, tuple[int, int]], end: int, arm: bool, chained: bool) -> list[bytes]:
    code, stub = 0x80000400, 12 if arm else 6
    text = [
        _section("__TEXT", "__text", 0x1000, 0x200, code),
        _section("__TEXT", "__stubs", 0x1200, 24, code | 8, first=1, step=stub),
        _section("__TEXT", "__stub_helper", 0x1300, 0x40, code),
        _section("__TEXT", "__unwind_info", 0x1400, 0xB4, 0),
        _section("__TEXT", "__eh_frame", 0x18E8, len(_FRAMES), 0),
        _section("__TEXT", "__gcc_except_tab", 0x1A00, len(_EXCEPTIONS), 0),
        _section("__TEXT", "__init_offsets", 0x1B00, 8, 22),
        _section("__TEXT", "__objc_methlist", 0x1C00, len(_METHODS), 0),
        _section("__TEXT", "__swift5_types", 0x1C40, 16, 0),
        _section("__TEXT", "__swift5_fieldmd", 0x1C80, 52, 0),
    ]
    data = [
        _section("__DATA", "__data", _DATA, 0x100, 0),
        _section("__DATA", "__got", _DATA + 0x100, 0x20, 6),
        _section("__DATA", "__la_symbol_ptr", _DATA + 0x120, 0x20, 7, first=1),
        _section("__DATA", "__thread_ptrs", _DATA + 0x140, 8, 20),
        _section("__DATA", "__bss", _DATA + 0x200, 0x400, 1),
    ]
    symbols, strings = places["symbols"], places["strings"]
    found = [
        _segment("__TEXT", 0, 0x2000, text),
        _segment("__DATA", _DATA, 0x200, data, memory=0x600),
        _segment("__LINKEDIT", _LINKEDIT, end - _LINKEDIT, []),
        struct.pack("<6I", 2, 24, symbols[0], symbols[1] // 16, *strings),
        struct.pack("<20I", 0xB, 80, 0, 2, 2, 1, 3, 4, *[0] * 6, places["indirect"][0], 4, 0, 0, 0, 0),
    ]
    if chained:
        found.append(struct.pack("<4I", 0x80000034, 16, *places["fixups"]))
        found.append(struct.pack("<4I", 0x80000033, 16, *places["exports"]))
    else:
        info = [*places["rebase"], *places["bind"], 0, 0, *places["lazy"], *places["exports"]]
        found.append(struct.pack("<12I", 0x80000022, 48, *info))
    found.append(struct.pack("<4I", 0x26, 16, *places["functions"]))
    found.append(struct.pack("<4I", 0x29, 16, *places["data"]))
    found.append(struct.pack("<IIQQ", 0x80000028, 24, 0x1040, 0))
    size, pc = (288, 272) if arm else (184, 144)
    found.append(struct.pack("<II", 5, size).ljust(pc, b"\0").ljust(size, b"\0"))
    return found


def universal(slices: list[bytes], *, wide: bool) -> bytes:
    """A file of several images."""
    entry, at = ("IIQQII" if wide else "IIIII"), 0x200
    header, body = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(slices)), b""
    for image in slices:
        cpu = struct.unpack_from("<I", image, 4)[0]
        header += struct.pack(">" + entry, *[cpu, 0, at + len(body), len(image), 12, *([0] if wide else [])])
        body += image + bytes(-len(image) % 64)
    return header.ljust(at, b"\0") + body
