"""Images that no compiler makes: code of chance in an ELF frame, and damaged copies of real images."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

X86_64, AARCH64 = 62, 183
PROGBITS, SYMTAB, STRTAB, RELA = 1, 2, 3, 4
WRITE, ALLOC, CODE = 1, 2, 6


@dataclass(frozen=True)
class Piece:
    """A section; loaded ones at their address."""

    kind: int
    flags: int
    address: int
    offset: int
    data: bytes
    name: str = ""


def elf(machine: int, pieces: list[Piece], *, functions: Sequence[int] = ()) -> bytes:
    """Sections at ascending offsets, and symbols that name functions; the first of these is the entry."""
    image = bytearray(64)
    for piece in pieces:
        image[len(image) :] = bytes(piece.offset - len(image)) + piece.data
    symbols = b"".join(struct.pack("<IBBHQQ", 0, 2, 0, 1, start, 4) for start in functions)
    names = b"\0" + b"".join(piece.name.encode() + b"\0" for piece in pieces)
    headers, name = bytearray(64), 1
    behind = [Piece(SYMTAB, 0, 0, len(image), symbols), Piece(STRTAB, 0, 0, len(image) + len(symbols), names)]
    for piece in [*pieces, *behind]:
        place = name if piece.name else 0
        fields = (place, piece.kind, piece.flags, piece.address, piece.offset, len(piece.data), 0, 0, 1, 0)
        headers += struct.pack("<IIQQQQIIQQ", *fields)
        name += len(piece.name) + 1
    image += symbols + names
    front = (b"\x7fELF\x02\x01\x01", 3, machine, 1, functions[0] if functions else 0, 0, len(image), 0)
    image[:64] = struct.pack("<16sHHIQQQIHHHHHH", *front, 64, 56, 0, 64, len(pieces) + 3, len(pieces) + 2)
    return bytes(image + headers)


_TEXT, _LOADED = 0x200, 0x10000


def _framed(machine: int, code: bytes, data: bytes, functions: list[int], cut: int) -> bytes:
    """Code in two regions at 0x10200, data behind it."""
    text, behind = _LOADED + _TEXT, _TEXT + len(code) + 7 & ~7
    pieces = [
        Piece(PROGBITS, CODE, text, _TEXT, code[:cut]),
        Piece(PROGBITS, CODE, text + cut, _TEXT + cut, code[cut:]),
        Piece(PROGBITS, ALLOC, _LOADED + behind, behind, data),
    ]
    return elf(machine, pieces, functions=[text + start for start in functions])


def chance_image(seed: int) -> bytes:
    """An image of either machine with code that is made to hit the rules of its sweep."""
    draw = random.Random(seed)
    machine = draw.choice([X86_64, AARCH64])
    code = _x86_64_code(draw) if machine == X86_64 else _aarch64_code(draw)
    data = b"".join(struct.pack("<i", draw.randrange(-len(code) - 2400, 0)) for _ in range(500))
    step = 4 if machine == AARCH64 and draw.random() < 0.9 else 1
    functions = [draw.randrange(0, len(code), step) for _ in range(draw.choice([0, 1, 5, 40]))]
    return _framed(machine, code, data, functions, draw.choice([0, draw.randrange(len(code))]))


_PREFIXES = [0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x64, 0x40, 0x48, 0x4C, 0x41]
_GROUPS = [0xC6, 0xC7, 0xF6, 0xF7, 0xFE, 0xFF, 0x8D, 0xA0, 0xA3, 0xB8, 0x63, 0x68, 0x69]


def _x86_64_code(draw: random.Random) -> bytes:
    size, wild = draw.choice([300, 2000]), draw.choice([0.15, 1.0])
    code = bytearray()
    while len(code) < size:
        pick = draw.random()
        if pick < wild / 2:
            code += draw.randbytes(draw.randrange(1, 12))
        elif pick < 0.3:
            code += bytes(draw.choices(_PREFIXES, k=draw.choice([0, 1, 1, 2, 3, 16])))
            opcode = draw.choice([[0x0F], [0xC4], [0xC5], [0x62], [0x8F], [draw.choice(_GROUPS)]])
            code += bytes(opcode) + draw.choice([b"", b"\xf8"]) + draw.randbytes(9)
        elif pick < 0.5:
            code += b"\x90" * draw.randrange(1, 5)
        else:
            _table_switch(draw, code, size)
    return bytes(code)


def _table_switch(draw: random.Random, code: bytearray, size: int) -> None:
    """A lea, a load through it some instructions later, and at times a table right behind."""
    start, gap, high = len(code), draw.choice([0, 0, 1, 38, 39, 40, 41]), draw.choice([0, 1])
    behind = draw.random() < 0.5
    anywhere = draw.choice([(size + 7 & ~7) + 4 * draw.randrange(500), draw.randrange(size + 2000)])
    table = start + 7 + gap + 4 + draw.randrange(12) + 3 & ~3 if behind else anywhere
    code += bytes([0x48 | 4 * high, 0x8D, 0x05]) + struct.pack("<i", table - (start + 7)) + b"\x90" * gap
    load = bytes([0x48 | high, 0x63, draw.choice([0x04, 0x44]), 0x80 | draw.randrange(8) << 3])
    code += load + (bytes([draw.choice([0, 0, 1])]) if load[2] == 0x44 else b"")
    if behind:
        code += b"\x90" * (table - len(code))
        for _ in range(draw.randrange(5)):
            code += struct.pack("<i", draw.randrange(max(0, table - 200), table + 8) - table)


_WRITERS = [
    0x19,
    0x38,
    0xF8,
    0xD9,
    0x08,
    0x88,
    0xC8,
    0x28,
    0xA8,
    0x1E,
    0x9E,
    0x0E,
    0x4E,
    0x3A,
    0xD4,
    0xD5,
    0xD6,
]


def _aarch64_code(draw: random.Random) -> bytes:
    words: list[int] = []
    for _ in range(draw.choice([100, 600])):
        pick, a, b = draw.random(), draw.randrange(4), draw.randrange(4)
        distance = draw.choice([draw.getrandbits(12), draw.getrandbits(8)])
        if pick < 0.25:
            words.append(draw.getrandbits(32))
        elif pick < 0.45:
            page = draw.getrandbits(2) << 29 | draw.choice([0, 0, 1, 0x7FFFF]) << 5
            words.append(0x90000000 | page | draw.choice([a, a, 31]))
        elif pick < 0.6:
            words.append(0x91000000 | distance << 10 | a << 5 | b)
        elif pick < 0.75:
            sizes = draw.getrandbits(2) << 30 | draw.getrandbits(2) << 22
            words.append(draw.choice([0x39000000, 0x3D000000]) | sizes | distance << 10 | a << 5 | b)
        elif pick < 0.8:
            words += [0xD503201F] * draw.choice([1, 5, 250])
        elif pick < 0.9:
            near = draw.choice([0x14, 0x94, 0x10, 0x54, 0x34, 0x36, 0x18, 0x1C, 0x58, 0xD8]) << 24
            words.append(near | draw.randrange(64) << draw.choice([0, 5]) | b)
        else:
            words.append(draw.choice(_WRITERS) << 24 | draw.getrandbits(24) & ~0x18 & ~0x300)
    return b"".join(struct.pack("<I", word) for word in words) + bytes(draw.randrange(4))


_VALUES = [0, 1, 0xFF, 0x7F, 0xFFFF, 0xFFFFFFFF, 2**64 - 1, 2**63]
_STEPS = [1, -1, 8, -8, 16, 64, -4096, 4096]


def damaged(image: bytes, seed: int, *, front: int = 400) -> bytes:
    """A copy with a few fields changed, moved or filled by chance, at times cut."""
    draw = random.Random(seed)
    data = bytearray(image)
    for _ in range(draw.randint(1, 6)):
        width = draw.choice([1, 2, 4, 8])
        at = draw.randrange(draw.choice([front, len(data) - 8]))
        was, pick = int.from_bytes(data[at : at + width], "little"), draw.random()
        if pick < 0.7:
            chance = draw.choice([*_VALUES, len(data), draw.getrandbits(64)])
            now = chance if pick < 0.4 else was + draw.choice(_STEPS)
            data[at : at + width] = (now % (1 << 8 * width)).to_bytes(width, "little")
        else:
            size = min(draw.randrange(1, 64), len(data) - at)
            source = draw.randrange(len(data) - size)
            data[at : at + size] = data[source : source + size] if pick < 0.9 else draw.randbytes(size)
    return bytes(data[: draw.randrange(len(data))] if draw.random() < 0.05 else data)


_KINDS = [1, 1, 2, 4, 5, 6, 7, 11, 14, 15, 16, 19, 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE]
_SECTION_NAMES = [".got", ".plt", ".eh_frame", ".got.plt", ".note.stapsdt", ".rodata", ".data", ".gopclntab"]
_NAMES = b"\0" + "\0".join(_SECTION_NAMES).encode() + b"\0"
_NAMED = [_NAMES.index(name.encode() + b"\0") for name in _SECTION_NAMES]
_NOTE = struct.pack("<III8s3Q6s", 8, 30, 3, b"stapsdt", _LOADED + 64, 0, _LOADED + 99, b"p\0n\0\0")
_GO_HEADER = struct.pack("<IHBBQQQ5Q", 0xFFFFFFF1, 0, 1, 8, 1, 0, _LOADED + 64, 72, 76, 80, 84, 96)
_GO = (
    _GO_HEADER
    + b"\0\0\0\0" * 3
    + bytes([0, 2, 3, 2, 0x81, 1, 0, 0, 4, 4, 0, 0])
    + struct.pack("<3I", 0, 12, 0)
)
_GO += struct.pack("<3I3I", 0, 0, 0, 0, 1, 2) + struct.pack("<3I", 7, 2, 0) + struct.pack("<3I", 0, 1, 7)


def crowded(seed: int) -> bytes:
    """Many sections of every kind over the same bytes, more than a reader looks at."""
    draw = random.Random(seed)
    size, count = 3000, draw.randrange(8, 30)
    body = draw.choice([b"", bytes(160), _NOTE * 4, _GO])
    while len(body) < size:
        word = draw.choice(
            [_LOADED + draw.randrange(size), _LOADED + 1 | draw.getrandbits(20), 0, draw.getrandbits(64)]
        )
        body += struct.pack("<Q", word)
    headers, first = bytearray(64), _NAMED[-1] if body.startswith(_GO) else _NAMED[0]
    for number in range(count):
        at = 8 * draw.randrange(size // 16) if number else 0
        length = len(body) - at if number == 0 else draw.randrange(size - at)
        kind, flags = draw.choice(_KINDS) if number else 1, draw.choice([ALLOC, ALLOC, CODE])
        place = (_LOADED + 64 + at, 64 + at, length, draw.randrange(count), 0, 1, 0)
        headers += struct.pack("<IIQQQQIIQQ", draw.choice(_NAMED) if number else first, kind, flags, *place)
    names_at = 64 + len(body)
    headers += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, names_at, len(_NAMES), 0, 0, 1, 0)
    at, machine = names_at + len(_NAMES), draw.choice([X86_64, AARCH64])
    front = (
        b"\x7fELF\x02\x01\x01",
        draw.choice([2, 3]),
        machine,
        1,
        _LOADED + 64,
        0,
        at,
        0,
        64,
        56,
        0,
        64,
        count + 2,
        count + 1,
    )
    return struct.pack("<16sHHIQQQIHHHHHH", *front) + body + _NAMES + headers
