"""Image deltas put together field by field, so that a test can get one wrong (docs/spec/delta-format.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import zstandard

LAYOUT, GAPS, LENGTHS, PLACES, CODE, DATA, RESIDUAL_GAPS, RESIDUALS, REFERENCE_GAPS, REFERENCE_FIXES = range(
    10
)
STREAMS = 10
FAR = 24  # places from here on are distances: 4 * zigzag + number of the end they count from


def number(value: int) -> bytes:
    """A number in its shortest form."""
    groups = []
    while value > 127:
        groups.append(value % 128 + 128)
        value //= 128
    return bytes([*groups, value])


def signed(value: int) -> bytes:
    return number(2 * value if value >= 0 else -2 * value - 1)


def numbers(*values: int) -> bytes:
    return b"".join(map(number, values))


def zstd(data: bytes, **options: object) -> bytes:
    """A frame as the format wants it; options of zstandard make it another."""
    settings: dict[str, object] = {
        "format": zstandard.FORMAT_ZSTD1_MAGICLESS,
        "write_content_size": False,
        "write_checksum": False,
        "write_dict_id": False,
    }
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, source_size=len(data), **settings | options
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def rle_frame(size: int, *, window_log: int = 10, last: bool = True) -> bytes:
    """A frame of ``size`` zero bytes in blocks of one byte repeated (RFC 8878, 3.1.1.2)."""
    block_max = min(1 << window_log, 1 << 17)
    sizes = [block_max] * (size // block_max) + ([size % block_max] if size % block_max else [])
    blocks = b""
    for index, block in enumerate(sizes):
        ends = last and index == len(sizes) - 1
        blocks += (block << 3 | 1 << 1 | ends).to_bytes(3, "little") + b"\0"
    return bytes([0, (window_log - 10) << 3]) + blocks


@dataclass(frozen=True)
class Block:
    """A block in the delta's own words."""

    gap: int
    length: int
    place: int


@dataclass(frozen=True)
class Frame:
    """Stored bytes of consecutive streams."""

    first: int  # stream
    stored: bytes
    raw: bool = True


@dataclass(frozen=True)
class Delta:
    """A delta of plain bytes; whatever is not given follows from what is, and may be given wrong."""

    old: bytes
    new_size: int
    streams: dict[int, bytes] = field(default_factory=dict)
    frames: Sequence[Frame] | None = None
    raw_sizes: dict[int, int] = field(default_factory=dict)
    digests: tuple[bytes, bytes] | None = None
    magic: bytes = b"\xd5ds\n"
    revision: int = 1
    flags: int = 2
    total: bytes | None = None
    old_size: bytes | None = None
    growth: bytes | None = None
    starts: bytes | None = None

    def __bytes__(self) -> bytes:
        frames = self.frames
        if frames is None:
            frames = [Frame(0, b"".join(self.streams.get(s, b"") for s in range(STREAMS)))]
        sizes = [self.raw_sizes.get(s, len(self.streams.get(s, b""))) for s in range(STREAMS)]
        starts = sum(1 << frame.first for frame in frames).to_bytes(2, "little")
        rest = self.old_size if self.old_size is not None else number(len(self.old))
        growth = self.new_size - len(self.old)
        rest += self.growth if self.growth is not None else signed(growth)
        rest += b"".join(self.digests) if self.digests else b""
        rest += numbers(*sizes) + (self.starts if self.starts is not None else starts)
        rest += numbers(*(2 * len(frame.stored) + frame.raw for frame in frames))
        rest += b"".join(frame.stored for frame in frames)
        flags = self.flags | (1 if self.digests else 0)
        front = self.magic + bytes([self.revision, flags, 1, 5, 7])
        return front + (self.total if self.total is not None else _total(len(front) + len(rest))) + rest

    def but(self, **changes: object) -> Delta:
        """The same with some fields wrong."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _total(others: int) -> bytes:
    length = 1
    while len(number(others + length)) > length:
        length += 1
    return number(others + length)


def plain(
    old: bytes,
    new_size: int,
    blocks: Sequence[Block],
    *,
    data: bytes = b"",
    count: int | None = None,
    residuals: Sequence[tuple[int, int]] = (),
    layout: bytes = b"\0\0\0",
    stretched: bool = False,
) -> Delta:
    """A delta of plain bytes: blocks, literals, residuals as (gap, value).

    ``layout`` is the stream up to the number of blocks: no regions, no derivations.
    """
    said = 4 * (len(blocks) if count is None else count) + 2 * stretched
    return Delta(
        old,
        new_size,
        {
            LAYOUT: layout + number(said),
            GAPS: numbers(*(block.gap for block in blocks)),
            LENGTHS: numbers(*(block.length for block in blocks)),
            PLACES: numbers(*(block.place for block in blocks)),
            DATA: data,
            RESIDUAL_GAPS: numbers(*(gap for gap, _ in residuals)),
            RESIDUALS: bytes(value for _, value in residuals),
        },
    )


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
