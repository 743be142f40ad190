"""Contents and wrappers of compressed streams."""

from __future__ import annotations

import random
import zlib

WORDS = ["block", "length", "distance", "literal", "match", "window", "token", "of", "a", "the", "to", "is"]


def lines(size: int, seed: int = 1) -> bytes:
    """Text with repetitions at all distances."""
    dice = random.Random(seed)
    made: list[str] = []
    while sum(map(len, made)) < size:
        words = dice.choices(WORDS, k=dice.randrange(2, 9))
        made.append(dice.choice(made) if made and dice.random() < 0.4 else " ".join(words) + "\n")
    return "".join(made).encode()[:size]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of PNG."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(content: bytes, piece: int) -> bytes:
    """The frame of a PNG round any content, its stream cut in pieces."""
    stream = zlib.compress(content, 9)
    data = b"".join(chunk(b"IDAT", stream[at : at + piece]) for at in range(0, len(stream), piece))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + data + chunk(b"IEND", b"")
