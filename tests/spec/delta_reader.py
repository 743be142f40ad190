"""What second decoders of image deltas read and predict, written from docs/spec/delta-format.md alone: no
code of deltaseal, everything in memory, slow and plain, in the order of the page. What the page of images
gives (the regions and references of the old image) is an input. stream_reader.py walks along deltas of
streams, model_reader.py along modelled ones.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Protocol

import zstandard

from . import deflate_reader

MASK = 2**64 - 1
B = 2**55

LAYOUT, GAPS, LENGTHS, PLACES, CODE, DATA, RESIDUAL_GAPS, RESIDUALS, REFERENCE_GAPS, REFERENCE_FIXES = range(
    10
)
STREAMS = 10
DATA_CLASS, CODE_CLASS, NO_BYTES = range(3)


class Refused(Exception):
    """Not what the page describes; ``reason`` is the page's code."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason


def damaged(condition: bool, why: str) -> None:
    if condition:
        raise Refused("E_DELTA", why)


def over(condition: bool, why: str) -> None:
    if condition:
        raise Refused("E_LIMIT", why)


# Conventions


class Reader:
    """Bytes read from the front."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        damaged(size > self.left, "ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, bits: int = 64) -> int:
        value = 0
        for position in range(10):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * position
            if byte < 128:
                damaged(byte == 0 and position > 0, "not the shortest form")
                damaged(value >> bits != 0, "number too large")
                return value
        raise Refused("E_DELTA", "number too long")

    def signed(self) -> int:
        return zigzag(self.number())


def zigzag(z: int) -> int:
    return z // 2 if z % 2 == 0 else -((z + 1) // 2)


# Container


@dataclass(frozen=True)
class Header:
    plain: bool
    context: bool
    old_size: int
    new_size: int
    digests: tuple[bytes, bytes] | None
    parts: list[int]  # sizes of the files that the old image is made of; none where it is one
    raw_sizes: list[int]
    frames: list[tuple[list[int], int, bool]]  # streams, stored size, stored raw
    size: int


def read_header(delta: bytes, *, limit: int = 2**63) -> Header:
    """The checks in the order of the page, up to the frames."""
    reader = Reader(delta)
    damaged(reader.take(4) != b"\xd5\x64\x73\x0a", "magic")
    damaged(reader.take(1) != b"\1", "revision")
    flags = reader.take(1)[0]
    damaged(flags & ~23 != 0 or flags & 18 == 18, "flags")
    reader.take(3)
    damaged(reader.number(63) != len(delta), "total")
    old_size = reader.number(63)
    new_size = old_size + zigzag(reader.number(63))
    damaged(not 0 <= new_size < 1 << 63, "new size")
    digests = (reader.take(16), reader.take(16)) if flags & 1 else None
    parts = read_parts(reader, old_size) if flags & 16 else []
    raw_sizes = [reader.number(63) for _ in range(STREAMS)]
    starts = int.from_bytes(reader.take(2), "little")
    damaged(starts & 1 == 0 or starts >> STREAMS != 0, "starts")
    frames: list[tuple[list[int], int, bool]] = []
    firsts = [stream for stream in range(STREAMS) if starts >> stream & 1]
    for first, end in zip(firsts, [*firsts[1:], STREAMS], strict=True):
        entry = reader.number(63)
        frames.append((list(range(first, end)), entry // 2, entry % 2 == 1))
    over(new_size > limit, "new size")
    over(sum(raw_sizes) > 16 * new_size + 65_536, "raw sizes")
    damaged(sum(stored for _, stored, _ in frames) != reader.left, "frames do not fill the delta")
    plain, context = flags & 2 != 0, flags & 4 != 0
    return Header(plain, context, old_size, new_size, digests, parts, raw_sizes, frames, reader.at)


def read_parts(reader: Reader, old_size: int) -> list[int]:
    count = reader.number(63)
    damaged(count < 2, "parts")
    over(count > 8, "parts")
    parts: list[int] = []
    for _ in range(count - 1):
        parts.append(reader.number(63))
        damaged(parts[-1] == 0 or sum(parts) >= old_size, "sizes of parts")
    return [*parts, old_size - sum(parts)]


# Frames (RFC 8878, 3.1.1.1)


def read_frame_header(stored: bytes) -> tuple[int, int | None]:
    """Window and content size of a frame without magic number."""
    reader = Reader(stored)
    descriptor = reader.take(1)[0]
    damaged(descriptor & 0b1000 != 0, "reserved bit")
    damaged(descriptor & 0b100 != 0, "checksum")
    damaged(descriptor & 0b11 != 0, "dictionary id")
    single = descriptor & 0b100000 != 0
    window = 0
    if not single:
        byte = reader.take(1)[0]
        window = (1 << 10 + (byte >> 3)) // 8 * (8 + byte % 8)
    size_bytes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    content = int.from_bytes(reader.take(size_bytes), "little") + (256 if size_bytes == 2 else 0)
    return (content if single else window), (content if size_bytes else None)


def decompress(stored: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes from exactly all of ``stored``."""
    data, rest = decompress_first(stored, b"")
    damaged(rest != b"", "the frame does not end with its last byte")
    damaged(len(data) != size, "frame size")
    return data


def decompress_first(stored: bytes, context: bytes) -> tuple[bytes, bytes]:
    """What the first zstd frame gives, and the bytes behind it."""
    over(read_frame_header(stored)[0] > 2**25, "window")
    prefix = (
        zstandard.ZstdCompressionDict(context, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if context else None
    )
    decoder = zstandard.ZstdDecompressor(
        dict_data=prefix, format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=2**25
    ).decompressobj()
    try:
        data = decoder.decompress(stored)
    except zstandard.ZstdError as error:
        raise Refused("E_DELTA", str(error)) from error
    damaged(not decoder.eof, "the frame does not end with its last byte")
    return data, decoder.unused_data


class Streams:
    """The ten streams; the one behind contexts is decoded when these are known."""

    def __init__(self, delta: bytes, header: Header) -> None:
        self.raw: list[Reader | None] = [None] * STREAMS
        self._header = header
        self._waiting: bytes | None = None
        self.part_starts: dict[int, int] = {}  # where its bytes begin in stream code
        reader = Reader(delta, header.size)
        windows = 0
        for streams, stored, raw in header.frames:
            body = reader.take(stored)
            size = sum(header.raw_sizes[stream] for stream in streams)
            if raw:
                damaged(stored != size, "raw frame")
                data = body
            else:
                window = read_frame_header(body)[0]
                windows += window
                over(window > 2**25 or windows > 2**25, "windows")
                over(len(streams) > 1 and size > 2**22, "frame of several streams")
                if header.context and streams == [CODE] and size > 0:
                    self._waiting = body
                    continue
                data = decompress(body, size)
            self._share(streams, data)
        damaged(header.context and self._waiting is None, "no frame for the context")

    def _share(self, streams: list[int], data: bytes) -> None:
        reader = Reader(data)
        for stream in streams:
            self.raw[stream] = Reader(reader.take(self._header.raw_sizes[stream]))

    def give_contexts(self, contexts: list[tuple[int, bytes]]) -> None:
        """For each part of the code: the new offset of its first gap that counts, and its context."""
        if self._waiting is None:
            return
        code, rest = b"", self._waiting
        for number, (at, context) in enumerate(contexts):
            if number > 0:
                self.part_starts[at] = len(code)
            part, rest = decompress_first(rest, context)
            code += part
        damaged(rest != b"" or len(code) != self._header.raw_sizes[CODE], "parts of code")
        self._share([CODE], code)

    def __getitem__(self, stream: int) -> Reader:
        reader = self.raw[stream]
        assert reader is not None
        return reader

    def check_ends(self) -> None:
        for stream in range(STREAMS):
            damaged(self[stream].left != 0, f"stream {stream} has bytes left")


# Images


@dataclass(frozen=True)
class Region:
    offset: int
    address: int
    size: int
    kind: int

    @property
    def has_bytes(self) -> bool:
        return self.kind != NO_BYTES


@dataclass(frozen=True)
class Reference:
    offset: int
    kind: str  # the name in the page's table
    aux: int
    target: int
    base: int


@dataclass(frozen=True)
class Table:
    """Bytes of the file that lie together."""

    offset: int = 0
    address: int = 0
    size: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class OldImage:
    """What the page of images gives: regions by address, references by offset; and for the modelled coding
    which bytes are instruction starts, which regions (by number) are code of an AArch64 image, and the tables
    that unwind.
    """

    regions: list[Region] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    starts: bytes = b""
    of_words: frozenset[int] = frozenset()
    lists: list[tuple[int, list[int]]] = field(default_factory=list)  # base, and the bytes that are named
    list_tables: list[tuple[int, int]] = field(default_factory=list)  # of each its offset and size
    fresh: tuple[tuple[int, int], ...] = ()  # offset, size
    digits: tuple[int, int, int] = (0, 0, 0)  # of a debug link, of what they spell, how many bytes that is
    functions: list[int] = field(default_factory=list)
    machine: int = 0
    frames: Table = Table()
    frame_header: Table = Table()

    def functions_before(self, offset: int) -> int:
        return bisect_left(self.functions, offset)

    def function(self, number: int) -> int:
        damaged(not 0 <= number & MASK < len(self.functions), "number of a function")
        return self.functions[number & MASK]


def region_of_offset(regions: list[Region], offset: int) -> Region | None:
    decides: Region | None = None
    for region in regions:
        if (
            region.has_bytes
            and region.offset <= offset
            and (decides is None or decides.offset <= region.offset)
        ):
            decides = region
    return decides if decides is not None and offset < decides.offset + decides.size else None


def address_of(regions: list[Region], offset: int) -> int:
    region = region_of_offset(regions, offset)
    return (B + offset if region is None else region.address + offset - region.offset) & MASK


def byte_named(regions: list[Region], address: int, size: int) -> tuple[int, bool] | None:
    """The old byte that an address names, and whether it does as B + offset."""
    if B <= address < B + size:
        return address - B, True
    for region in regions:
        if region.has_bytes and region.address <= address < region.address + region.size:
            return region.offset + address - region.address, False
    return None


# Layout


class What(IntEnum):
    """The numbers that stream 0 holds, as delta-model.md numbers them; streams need no such names."""

    REGIONS, RUN, CLASS, OFFSET, ADDRESS, SIZE, DERIVATIONS, DERIVATION, BLOCKS = range(9)
    STREAMS, PIECES, DISTANCE, PIECE, STYLE, CONTENT, RECIPE = range(9, 16)
    LIST_BASE, EXCEPTIONS, EXCEPTION_CELLS, EXCEPTION_BYTES = range(16, 20)
    RENAMES, RENAME_DISTANCE, RENAME_SIZE, RENAME_BYTE = range(20, 24)


class Layout(Protocol):
    def number(self, what: What) -> int: ...
    def signed(self, what: What) -> int: ...


class LayoutStream:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def number(self, what: What) -> int:
        return self._reader.number()

    def signed(self, what: What) -> int:
        return self._reader.signed()


def read_regions(stream: Layout, old: list[Region], new_size: int) -> list[Region]:
    count = (len(old) + stream.signed(What.REGIONS)) & MASK
    over(count > 4096, "regions")
    regions: list[Region] = []
    run = stream.number(What.RUN)
    while True:
        damaged(run > count - len(regions), "run of regions")
        for _ in range(run):
            _add_region(regions, predict_region(old, regions), new_size)
        if len(regions) == count:
            return regions
        guess = predict_region(old, regions)
        fields = (What.CLASS, What.OFFSET, What.ADDRESS, What.SIZE)
        kind, offset, address, size = (stream.signed(what) for what in fields)
        region = Region(
            guess.offset + offset & MASK,
            guess.address + address & MASK,
            guess.size + size & MASK,
            guess.kind + kind,
        )
        _add_region(regions, region, new_size)
        run = stream.number(What.RUN)


def _add_region(regions: list[Region], region: Region, new_size: int) -> None:
    damaged(not 0 <= region.kind <= 2, "class")
    damaged(region.size == 0 or region.address + region.size > MASK, "region's size")
    damaged(region.has_bytes and region.offset + region.size > new_size, "region outside the new image")
    regions.append(region)


def predict_region(old: list[Region], new: list[Region]) -> Region:
    index = len(new)
    was = old[index] if index < len(old) else Region(0, 0, 0, DATA_CLASS)
    old_end = new_end = shift = 0
    for o, n in zip(old, new, strict=False):
        if o.has_bytes and n.has_bytes:
            old_end, new_end = o.offset + o.size, n.offset + n.size
        shift = n.address - o.address
    if not was.has_bytes:
        return Region(0, was.address + shift & MASK, was.size, was.kind)
    offset = was.offset + new_end - old_end
    for bits in range(17):
        if _round_up(old_end, bits) == was.offset:
            offset = _round_up(new_end, bits)
            break
    return Region(offset & MASK, was.address + offset - was.offset & MASK, was.size, was.kind)


def _round_up(value: int, bits: int) -> int:
    return -(-value >> bits) << bits


# Derivations


@dataclass(frozen=True)
class Derivation:
    """At ``start``: digests of the pages of new bytes ``first`` to ``last``, or their digits (no page).

    Or, with ``list_of``, a list of ``last - first`` bytes, made from the old list of that number. Or, with
    ``unwinds``, so many bytes of an unwind table (2) or its header (3).
    """

    start: int
    first: int
    last: int
    page: int
    list_of: int | None = None
    unwinds: int = 0

    @property
    def is_whole(self) -> bool:
        return self.list_of is not None or self.unwinds != 0

    @property
    def end(self) -> int:
        size = self.last - self.first
        if self.is_whole:
            return self.start + size
        return self.start + (32 * -(-size // self.page) if self.page else 2 * size)

    def make(self, new: bytes) -> bytes:
        if not self.page:
            return new[self.first : self.last].hex().encode()
        pages = range(self.first, self.last, self.page)
        return b"".join(hashlib.sha256(new[at : min(at + self.page, self.last)]).digest() for at in pages)


def read_derivations(
    stream: Layout, image: OldImage, old_size: int, new_size: int
) -> tuple[list[Derivation], int]:
    """The derivations; and 1 for fresh bytes + 2 for compressed streams + 4 for renames."""
    count = stream.number(What.DERIVATIONS)
    over(count > 519, "derivations")
    listed, count = divmod(count, 130)
    count, fresh = divmod(count, 2)
    derivations: list[Derivation] = []
    for _ in range(count):
        derivations.append(_read_derivation(stream, image, old_size, new_size))
        damaged(derivations[-1].end > new_size, "derivation outside the new image")
        damaged(len(derivations) > 1 and derivations[-1].start < derivations[-2].end, "derivations overlap")
    covered = sum(d.last - d.first for d in derivations if not d.is_whole)
    damaged(covered > 4 * new_size, "derivations cover too much")
    tables, headers = ([d for d in derivations if d.unwinds == kind] for kind in (2, 3))
    damaged(len(tables) > 1 or len(headers) > len(tables), "unwind tables")
    return derivations, 2 * listed + fresh


def expect_fresh(
    image: OldImage, regions: list[Region], old_size: int, new_size: int
) -> list[tuple[int, int]]:
    """First byte and end of each stretch."""
    expected = []
    for o, size in image.fresh:
        at = new_size - (old_size - o)
        for i, old in enumerate(image.regions):
            if old.has_bytes and old.offset <= o < old.offset + old.size:
                at = o - old.offset + regions[i].offset if i < len(regions) else o
                break
        if 0 <= at <= new_size - size:
            expected.append((at, at + size))
    return expected


def _read_derivation(stream: Layout, image: OldImage, old_size: int, new_size: int) -> Derivation:
    kind = stream.number(What.DERIVATION)
    damaged(kind > 16, "derivation of no known kind")
    if kind in (2, 3):
        table = image.frames if kind == 2 else image.frame_header
        start, size = _likely(stream, (table.offset, table.size), old_size, new_size)
        damaged(size == 0 or (kind == 2 and size > 2**30), "unwind table")
        return Derivation(start, 0, size, 0, unwinds=kind)
    if kind == 1:
        number = stream.number(What.DERIVATION)
        known = number < len(image.list_tables)
        start, size = _likely(stream, image.list_tables[number] if known else (0, 0), old_size, new_size)
        damaged(size == 0, "list")
        return Derivation(start, 0, size, 0, list_of=number)
    if kind == 0:
        digits, covered, count = image.digits
        start, size = _likely(stream, (digits, count), old_size, new_size)
        first = covered + stream.signed(What.DERIVATION) & MASK
        return _covering(start, first, first + size, kind)
    first, between, behind = (stream.number(What.DERIVATION) for _ in range(3))
    left = new_size - first - between - behind
    damaged(left < 0, "derivation")
    pages = -(-left // ((1 << kind) + 32))
    last = first + left - 32 * pages
    damaged(-(-(last - first) >> kind) != pages, "pages of a derivation")
    return _covering(last + between, first, last, kind)


def _likely(stream: Layout, old: tuple[int, int], old_size: int, new_size: int) -> tuple[int, int]:
    """Offset and size of what was at ``old`` (offset, size)."""
    away = (old_size - old[0] if old[1] else 0) + stream.signed(What.DERIVATION) & MASK
    size = old[1] + stream.signed(What.DERIVATION) & MASK
    damaged(away > new_size, "derivation outside the new image")
    return new_size - away, size


def _covering(start: int, first: int, last: int, bits: int) -> Derivation:
    damaged(not first < last <= start, "derivation")
    damaged(not 12 <= bits <= 16 and (bits != 0 or last - first > 64), "derivation of no known kind")
    return Derivation(start, first, last, 1 << bits if bits else 0)


# Lists


def cells_of(blocks: list[Block], new_size: int) -> list[tuple[int, int, Block | None]]:
    """Gaps that have bytes, and blocks, in order: first byte, end, block."""
    cells: list[tuple[int, int, Block | None]] = []
    end = 0
    for block in blocks:
        cells += [(end, block.new, None), (block.new, end := block.new + block.length, block)]
    cells.append((end, new_size, None))
    return [cell for cell in cells if cell[0] < cell[1]]


def read_lists(
    stream: Layout,
    derivations: list[Derivation],
    image: OldImage,
    blocks: list[Block],
    regions: list[Region],
    new_size: int,
) -> dict[int, bytes]:
    """The bytes of each list, by where it starts."""
    return {
        derivation.start: read_list(stream, derivation, image, blocks, regions, new_size)
        for derivation in derivations
        if derivation.list_of is not None
    }


def read_list(
    stream: Layout,
    derivation: Derivation,
    image: OldImage,
    blocks: list[Block],
    regions: list[Region],
    new_size: int,
) -> bytes:
    assert derivation.list_of is not None
    shift, count = stream.signed(What.LIST_BASE), stream.number(What.EXCEPTIONS)
    damaged(count > new_size, "exceptions")
    damaged(derivation.list_of >= len(image.lists), "number of an old list")
    base, old_listed = image.lists[derivation.list_of]
    cells = cells_of(blocks, new_size)
    listed: set[int] = set()
    for _, _, block in cells:
        if block is not None:
            first, last = (bisect_left(old_listed, at) for at in (block.old, block.old + block.length))
            listed.update(at - block.old + block.new for at in old_listed[first:last])
    cell, at = 0, cells[0][0] if cells else 0
    for _ in range(count):
        skipped = stream.number(What.EXCEPTION_CELLS)
        cell += skipped
        damaged(cell >= len(cells), "exception behind the last cell")
        at = (cells[cell][0] if skipped else at) + stream.number(What.EXCEPTION_BYTES)
        damaged(at >= cells[cell][1], "exception outside its cell")
        listed ^= {at}
        at += 1
    out, last_address = bytearray(), base + shift & MASK
    for offset in sorted(listed):
        address = address_of(regions, offset)
        out += uleb(address - last_address & MASK)
        last_address = address
    size = derivation.last - derivation.first
    damaged(len(out) > size, "list with no room")
    return bytes(out) + bytes(size - len(out))


def uleb(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


# Compressed streams


@dataclass(frozen=True)
class Packed:
    """A stream of the new image: where its bytes go, and what they are made of."""

    pieces: list[tuple[int, int]]
    style: int
    content: int
    recipe: int

    @property
    def size(self) -> int:
        return self.content + self.recipe


class Tails:
    """The old tail, and the new streams in order."""

    def __init__(self) -> None:
        self.old = b""
        self.new: list[Packed] = []
        self.made: dict[int, bytes] = {}  # by the start of a piece

    @property
    def new_size(self) -> int:
        return sum(stream.size for stream in self.new)

    @property
    def pieces(self) -> list[tuple[int, int]]:
        return [piece for stream in self.new for piece in stream.pieces]

    def read(self, stream: Layout, old: bytes, new_size: int) -> None:
        end = pieces = 0
        listed = stream.number(What.STREAMS)
        over(listed > 1024, "old compressed streams")
        old_streams: list[tuple[bytes, int]] = []
        for _ in range(listed):
            its, end, pieces = read_pieces(stream, end, pieces, len(old))
            style = stream.number(What.STYLE)
            damaged(style > 1134, "style")
            old_streams.append((b"".join(old[first:last] for first, last in its), style))
        end = pieces = 0
        listed = stream.number(What.STREAMS)
        over(listed > 1024, "new compressed streams")
        damaged(listed == 0, "no compressed stream")
        for _ in range(listed):
            its, end, pieces = read_pieces(stream, end, pieces, new_size)
            packed = Packed(its, *(stream.number(what) for what in (What.STYLE, What.CONTENT, What.RECIPE)))
            damaged(packed.style >= 1134, "style")
            self.new.append(packed)
            over(self.new_size > min(2**26, 8 * new_size + 65_536), "new tail")
        for data, style in old_streams:
            self.unpack(data, style)

    def unpack(self, data: bytes, style: int) -> None:
        try:
            stream = deflate_reader.take_apart(data)
        except deflate_reader.DeflateError:
            raise Refused("E_DELTA", "no compressed stream") from None
        damaged(stream.size != len(data), "compressed stream of another size")
        self.old += stream.content
        if style > 0:
            self.old += deflate_reader.recipe_of(stream, style - 1)
        over(len(self.old) + self.new_size > 2**26, "tails")

    def make(self, tail: bytes) -> None:
        at = 0
        for stream in self.new:
            content, recipe = tail[at : at + stream.content], tail[at + stream.content : at + stream.size]
            at += stream.size
            try:
                made = deflate_reader.stream_of(content, recipe, stream.style)
            except deflate_reader.DeflateError:
                raise Refused("E_DELTA", "recipe") from None
            damaged(
                len(made) != sum(last - first for first, last in stream.pieces), "size of a compressed stream"
            )
            for first, last in stream.pieces:
                self.made[first], made = made[: last - first], made[last - first :]


def read_pieces(stream: Layout, end: int, before: int, size: int) -> tuple[list[tuple[int, int]], int, int]:
    count = stream.number(What.PIECES) + 1
    over(before + count > 8192, "pieces of compressed streams")
    pieces = []
    for _ in range(count):
        first = end + stream.number(What.DISTANCE)
        end = first + stream.number(What.PIECE) + 1
        damaged(end > size, "piece outside its image")
        pieces.append((first, end))
    return pieces, end, before + count


# Blocks


@dataclass(frozen=True)
class Block:
    new: int
    old: int
    length: int


def to_front(latest: list[int], replaced: int, value: int) -> None:
    del latest[latest.index(replaced) if replaced in latest else -1]
    latest.insert(0, value)


def read_blocks(
    streams: Streams,
    left_out: list[tuple[int, int]],
    tails: Tails,
    image: OldImage,
    old_end: int,
    new_end: int,
    stretch: Callable[[Block], list[Block]],
) -> list[Block]:
    """``old_end``, ``new_end``: sizes without the tails. ``stretch``: the pieces of a stretched block."""
    old_size, new_size = old_end + len(tails.old), new_end + tails.new_size
    count, ways = divmod(streams[LAYOUT].number(), 4)
    named = ways % 2
    damaged(count > streams[LENGTHS].left or count > new_size, "number of blocks")
    blocks: list[Block] = []
    diagonals, ends = [0] * 8, [0] * 16
    block_end = 0
    for _ in range(count):
        new = block_end + streams[GAPS].number()
        place = streams[PLACES].number()
        if place == 0:
            at = new + diagonals[0]
        elif place == 1:
            at = ends[0]
        elif place <= 8:
            at = new + diagonals[place - 1]
        elif place <= 23:
            at = ends[place - 8]
        else:
            at = far_place(place, ends, image, named=named == 1)
        at &= MASK
        damaged(at >= old_size, "block outside the old image")
        length = streams[LENGTHS].number()
        if named and length % 2:
            length = image.function(image.functions_before(at + 1) + length // 2) - at
        else:
            length = (length // 2 if named else length) or old_size - at
        damaged(at + length > old_size, "block outside the old image")
        made = stretch(Block(new, at, length)) if ways >= 2 else [Block(new, at, length)]
        damaged(any(piece.new + piece.length > new_size for piece in made), "block outside the new image")
        settle(diagonals, ends, made)
        blocks += made
        block_end = made[-1].new + made[-1].length
    return leave_out(blocks, left_out, old_end, new_end)


def leave_out(
    blocks: list[Block], left_out: list[tuple[int, int]], old_end: int, new_end: int
) -> list[Block]:
    """The same without these bytes, and cut where the tails begin."""
    out = []
    edges = {new_end, *(edge for part in left_out for edge in part)}
    for block in blocks:
        cuts = {edge - block.new for edge in edges} | {old_end - block.old}
        inside = sorted(cut for cut in cuts if 0 < cut < block.length)
        for first, last in pairwise([0, *inside, block.length]):
            if not any(begin <= block.new + first < end for begin, end in left_out):
                out.append(Block(block.new + first, block.old + first, last - first))
    return out


def settle(diagonals: list[int], ends: list[int], made: list[Block]) -> None:
    """Enter the pieces of a block into both lists."""
    for piece in [made[0], made[-1]][: len(made)]:
        to_front(diagonals, piece.old - piece.new, piece.old - piece.new)
    to_front(ends, made[0].old, made[-1].old + made[-1].length)


def far_place(place: int, ends: list[int], image: OldImage, *, named: bool) -> int:
    z, b = divmod(place - 24, 8 if named else 4)
    if b < 4:
        return ends[b] + zigzag(z)
    return image.function(image.functions_before(ends[b - 4]) + zigzag(z))


# Context


def contexts_of(
    old: bytes, blocks: list[Block], regions: list[Region], new_size: int
) -> list[tuple[int, bytes]]:
    """The context of each part of the code that has gaps, and of the first."""
    gaps: list[tuple[Block, Block | None, int]] = []  # those that count
    previous = Block(0, 0, 0)
    for block in [*blocks, None]:
        at = previous.new + previous.length
        size = (block.new if block else new_size) - at
        region = region_of_offset(regions, at)
        if size > 0 and region is not None and region.kind == CODE_CLASS:
            gaps.append((previous, block, size))
        if block:
            previous = block
    total = sum(size for _, _, size in gaps)
    count = 1 if total < 2**20 else 2 * ((total + 2**22 - 1) // 2**22)
    parts: dict[int, list[tuple[Block, Block | None, int]]] = {0: []}
    before = 0
    for gap in gaps:
        parts.setdefault(before * count // total, []).append(gap)
        before += gap[2]
    starts = [part[0][0].new + part[0][0].length if part else 0 for _, part in sorted(parts.items())]
    return list(zip(starts, (context_of(old, part) for _, part in sorted(parts.items())), strict=True))


def context_of(old: bytes, gaps: list[tuple[Block, Block | None, int]]) -> bytes:
    marked: set[int] = set()
    for before, after, size in gaps:
        gap = min(size, len(old))
        end = before.old + before.length
        ranges = [(end - 32, end + gap + 32)]
        if after:
            ranges.append((after.old - gap - 32, after.old + 32))
        for first, last in ranges:
            for byte in range(max(first, 0), min(last, len(old))):
                if len(marked) == 2**23:
                    break
                marked.add(byte)
    return bytes(old[byte] for byte in sorted(marked))


# Address map


class AddressMap:
    def __init__(self, old: OldImage, old_size: int, blocks: list[Block], new_regions: list[Region]) -> None:
        self.old, self.old_size, self.blocks, self.new_regions = old, old_size, blocks, new_regions
        self._pieces = paint(blocks, old_size)
        self._starts = [first for first, _, _ in self._pieces]
        self._old_empty = [r for r in old.regions if not r.has_bytes]
        self._new_empty = [r for r in new_regions if not r.has_bytes]
        self._granules: list[dict[int, int]] = [{} for _ in self._old_empty]

    def name_in_new(self, new: int, by_offset: bool) -> int:
        return B + new if by_offset else address_of(self.new_regions, new)

    def __call__(self, address: int) -> int:
        named = byte_named(self.old.regions, address, self.old_size)
        if named is not None:
            return self._of_byte(address, *named)
        empty = self._empty_region(address)
        return address if empty is None else self._of_empty(address, empty)

    def _of_byte(self, address: int, o: int, by_offset: bool) -> int:
        if not self._pieces:
            return address
        at = bisect_right(self._starts, o) - 1
        below, above = (
            self._pieces[at] if at >= 0 else None,
            self._pieces[at + 1] if at + 1 < len(self._pieces) else None,
        )
        if below is not None and o < below[1]:
            m, block = o, below[2]
        elif below is not None and (above is None or o - (below[1] - 1) <= above[0] - o):
            m, block = below[1] - 1, below[2]
        else:
            assert above is not None
            m, block = above[0], above[2]
        return self.name_in_new(m - block.old + block.new, by_offset) + (o - m) & MASK

    def _empty_region(self, address: int) -> int | None:
        """The first old region without bytes that an address lies in, or is directly behind."""
        for index, region in enumerate(self._old_empty):
            if region.address <= address <= region.address + region.size:
                return index
        return None

    def _granule(self, address: int, index: int) -> int:
        region = self._old_empty[index]
        bits = 6
        while region.size >> bits >= 65_536:
            bits += 1
        return address - region.address >> bits

    def _of_empty(self, address: int, index: int) -> int:
        own, shifts = self._granule(address, index), self._granules[index]
        for distance in range(256):
            for granule in (own - distance, own + distance):
                if granule in shifts:
                    return address + shifts[granule] & MASK
        if index < len(self._new_empty):
            return address + self._new_empty[index].address - self._old_empty[index].address & MASK
        return address

    def remember(self, address: int, actual: int) -> None:
        index = self._empty_region(address)
        if index is not None:
            self._granules[index][self._granule(address, index)] = actual - address


def paint(blocks: list[Block], old_size: int) -> list[tuple[int, int, Block]]:
    """Copied old bytes as pieces (first, end, block that wins), ascending."""
    owner = [-1] * old_size
    for number in sorted(range(len(blocks)), key=lambda k: (blocks[k].length, -blocks[k].new)):
        block = blocks[number]
        owner[block.old : block.old + block.length] = [number] * block.length
    pieces: list[tuple[int, int, Block]] = []
    first = 0
    for at in range(1, old_size + 1):
        if at == old_size or owner[at] != owner[first]:
            if owner[first] >= 0:
                pieces.append((first, at, blocks[owner[first]]))
            first = at
    return pieces


# Prediction

LOCAL = {"REL8", "REL32", "B26", "IMM19", "IMM14", "ADR"}
DISTANCES = {f"ULEB{n}" for n in (1, 2, 3, 4)}
SIZES = {"SIZE32", "SIZE64", *(f"ULEB_SIZE{n}" for n in (1, 2, 3, 4))}
STEPS = {"STEP6", "STEP8", "STEP16", "STEP32", *(f"STEP_ULEB{n}" for n in (1, 2, 3, 4))}
NEAR = 4


class Lessons:
    """The table of rule 2."""

    def __init__(self) -> None:
        self.bits = 8
        self.entries: list[tuple[int, int] | None] = [None] * 256
        self.count = 0

    def _find(self, t: int) -> int | None:
        start = (t * 0x9E3779B97F4A7C15 & MASK) >> 64 - self.bits
        for step in range(32):
            at = (start + step) % len(self.entries)
            entry = self.entries[at]
            if entry is None or entry[0] == t:
                return at
        return None

    def __getitem__(self, t: int) -> int | None:
        at = self._find(t)
        entry = self.entries[at] if at is not None else None
        return entry[1] if entry is not None else None

    def _put(self, t: int, target: int) -> None:
        at = self._find(t)
        if at is not None:
            self.count += self.entries[at] is None
            self.entries[at] = (t, target)

    def add(self, t: int, target: int) -> None:
        if 2 * self.count >= len(self.entries):
            kept = [entry for entry in self.entries if entry is not None]
            self.bits += 1
            self.entries, self.count = [None] * (1 << self.bits), 0
            for entry in kept:
                self._put(*entry)
        self._put(t, target)


@dataclass
class Shared:
    """The base of the last distance."""

    old: int = 0
    new: int = 0
    error: int = 0
    right: bool = False
    in_code: bool = False


class Prediction:
    def __init__(
        self,
        old: OldImage,
        old_size: int,
        blocks: list[Block],
        new_regions: list[Region],
        mapped_too: list[Block] | None = None,
    ) -> None:
        """``mapped_too``: blocks that only the address map sees."""
        self.map = AddressMap(old, old_size, blocks + (mapped_too or []), new_regions)
        self.old, self.old_size, self.blocks = old, old_size, blocks
        self._news = [block.new for block in blocks]
        self.lessons = Lessons()
        self.latest: list[tuple[int, int]] = []  # lessons, the latest last
        self.page_place = self.page_base = 0
        self.last_old = self.last_new = 0
        self.shared = Shared()
        self.rule = 3  # what gave the last predicted target: the numbers of delta-model.md, "References"
        self._new_loaded = sorted((r for r in new_regions if r.has_bytes), key=lambda r: r.address)

    def both(self, reference: Reference, place: int, block: int) -> tuple[int, int]:
        """Target and base."""
        kind, t, b = reference.kind, reference.target, reference.base
        self.rule = 3
        if kind in STEPS:
            return self.map(t), self.map(b)
        if kind in SIZES:
            return self._size(kind, t, b, block)
        if kind in DISTANCES:
            return self._distance(t, b)
        target, self.rule = self.ruled(kind, t, block)
        return target, self.base(reference, place, target, block)

    def _size(self, kind: str, t: int, b: int, block: int) -> tuple[int, int]:
        base, self.rule = (self.last_new, 3) if b == self.last_old else self.ruled(kind, b, block)
        return self.sized(t, b, base), base

    def sized(self, t: int, b: int, base: int) -> int:
        """The target of a size from b to t whose base is known."""
        reach = 2 * (t - b) + 256
        target = self.near(t, base, reach)
        return base + self._keep(self.map(t) - self.map(b), t - b, reach) & MASK if target is None else target

    def _keep(self, distance: int, old: int, reach: int) -> int:
        return distance if distance & MASK < reach & MASK else old

    def _distance(self, t: int, b: int) -> tuple[int, int]:
        reach = 2 * (t - b) + 256
        if b in (self.last_old, self.shared.old):
            base = self.last_new if b == self.last_old else self.shared.new
            target = self.near(t, base, reach)
            if target is None:
                target = base + self._keep(self.map(t) - base, t - b, reach) & MASK
            return target, base
        target = self.map(t)
        base_near = self.near(b, target, reach, backward=True)
        if base_near is None:
            base_near = target - self._keep(target - self.map(b), t - b, reach) & MASK
        return target, base_near

    def near(self, x: int, anchor: int, reach: int, *, backward: bool = False) -> int | None:
        named = byte_named(self.old.regions, x, self.old_size)
        region = next((r for r in reversed(self._new_loaded) if r.address <= anchor), None)
        if named is None or region is None or anchor >= region.address + region.size:
            return None
        n = region.offset + anchor - region.address
        here = max(bisect_right(self._news, n) - 1, 0)
        for away in range(NEAR):
            for number in (here - away, here + away):
                moved = self._copy_in(named[0], number)
                if moved is None:
                    continue
                if (anchor - moved if backward else moved - anchor) & MASK < reach & MASK:
                    return moved
        return None

    def _copy_in(self, o: int, number: int) -> int | None:
        if not 0 <= number < len(self.blocks):
            return None
        block = self.blocks[number]
        if not block.old <= o < block.old + block.length:
            return None
        return address_of(self.map.new_regions, o - block.old + block.new)

    def learn_distance(self, reference: Reference, expected: int, base: int, actual: int) -> None:
        if self.shared.old != reference.base:
            regions = self.old.regions
            in_code = any(
                r.kind == CODE_CLASS and r.address <= reference.base < r.address + r.size for r in regions
            )
            self.shared = Shared(reference.base, base, in_code=in_code)
        shared, error = self.shared, actual - expected & MASK
        if error == 0:
            shared.right, shared.error = True, 0
        elif shared.in_code and shared.new == base:
            if shared.right and error != shared.error:
                shared.error = error
            else:
                shared.new, shared.right = base - error & MASK, True
                self.last_new = expected

    def base(self, reference: Reference, place: int, target: int, block: int) -> int:
        if reference.kind == "PAGE24":
            return self.page_base if (place - self.page_place & MASK) <= 12 else target
        return self.ruled(reference.kind, reference.base, block)[0] if reference.kind in BASED else 0

    def ruled(self, kind: str, t: int, block: int) -> tuple[int, int]:
        """What rules 1 to 3 say, and which did: 0 is rule 1 in the block itself, 1 in one beside it."""
        named = byte_named(self.old.regions, t, self.old_size) if kind in LOCAL else None
        if named is not None:
            o = named[0]
            for number in (block, block - 1, block + 1):
                moved = self._copy_in(o, number)
                if moved is not None:
                    return moved, 0 if number == block else 1
        return self.far(t)

    def far(self, t: int) -> tuple[int, int]:
        """Rules 2 and 3."""
        learned = self.lessons[t] if t != 0 else None
        return (learned, 2) if learned is not None else (self.map(t), 3)

    def settle(
        self, reference: Reference, place: int, expected: int, actual: int, base: int, *, corrected: bool
    ) -> None:
        """What is kept of a reference when its actual target is known."""
        if reference.kind in STEPS:
            return
        if reference.kind == "PAGE24":
            self.page_place, self.page_base = place, base + expected - actual & MASK
            return
        self.last_old, self.last_new = reference.target, actual
        if reference.kind in DISTANCES:
            self.learn_distance(reference, expected, base, actual)
        self.learn(reference.target, actual, corrected and reference.kind not in DISTANCES)

    def learn(self, t: int, actual: int, corrected: bool) -> None:
        self.map.remember(t, actual)
        if corrected and t != 0:
            self.latest.append((t, actual))
            self.lessons.add(t, actual)

    def correction(
        self, reference: Reference, field: bytes, place: int, p: int, base: int
    ) -> tuple[int, int]:
        """Kept and aside, of a reference with this old field that is not at p."""
        kept = solve(reference, field, place, p, base)
        t, aside = reference.target, p
        if self.rule > 1:
            for u, v in reversed(self.latest[-64:]):
                if (t - u + 1024 & MASK) < 2048:
                    aside = v + t - u & MASK
                    break
        trial = bytearray(field)
        put_reference(trial, 0, reference, place, aside, base)
        return kept, aside if solve(reference, bytes(trial), place, aside, base) == aside else kept


# Reference kinds: length, mask, and from (target, place, aux, base) to the number in the field

PAGE = 4095


@dataclass(frozen=True)
class Kind:
    length: int
    mask: int
    number: Callable[[int, int, int, int], int]
    spread: Callable[[int], int]  # a number's bits in the field


def straight(number: int) -> int:
    return number


def _sevens(number: int) -> int:
    return sum((number >> 7 * i & 127) << 8 * i for i in range(4))


def _adr(number: int) -> int:
    return (number & 3) << 29 | (number >> 2 & 0x7FFFF) << 5


def _bits(first: int, last: int) -> int:
    return (1 << last + 1) - (1 << first)


def _word(length: int, number: Callable[[int, int, int, int], int]) -> Kind:
    return Kind(length, _bits(0, 8 * length - 1), number, straight)


def _arm(mask: int, spread: Callable[[int], int], number: Callable[[int, int, int, int], int]) -> Kind:
    return Kind(4, mask, number, spread)


def _difference(number: int) -> int:
    """A difference of addresses as a signed number."""
    number &= MASK
    return number - 2**64 if number >> 63 else number


def _next(target: int, word: int, aux: int, scale: int) -> int:
    one_page = (target ^ word & MASK) >> aux % 64 == 0
    return (target - word & MASK) // scale if one_page else 0


def _step(target: int, place: int, aux: int, base: int) -> int:
    return _difference(target - base + 1) >> aux % 32


KINDS: dict[str, Kind] = {
    "REL8": _word(1, lambda t, place, aux, base: t - place - 1 - aux),
    "REL32": _word(4, lambda t, place, aux, base: t - place - 4 - aux),
    "PREL32": _word(4, lambda t, place, aux, base: t - place),
    "BACK32": _word(4, lambda t, place, aux, base: place - t),
    "PREL64": _word(8, lambda t, place, aux, base: t - place),
    "ABS64": _word(8, lambda t, place, aux, base: t - (place & 255 << 56)),
    "ABS32": _word(4, lambda t, place, aux, base: t - (place & 255 << 56)),
    "FILE64": _word(8, lambda t, place, aux, base: t - B),
    "FILE32": _word(4, lambda t, place, aux, base: t - B),
    "BASE32": _word(4, lambda t, place, aux, base: t - base),
    "BASE64": _word(8, lambda t, place, aux, base: t - base),
    "SIZE32": _word(4, lambda t, place, aux, base: t - base + 1),
    "SIZE64": _word(8, lambda t, place, aux, base: t - base + 1),
    "INDEX32": _word(4, lambda t, place, aux, base: (t - base & MASK) // 24),
    "RELR64": _word(8, lambda t, place, aux, base: t - (place & 255 << 56)),
    **{
        f"ULEB{n}": Kind(
            n, int.from_bytes(b"\x7f" * n, "little"), lambda t, place, aux, base: t - base, _sevens
        )
        for n in (1, 2, 3, 4)
    },
    **{
        f"ULEB_SIZE{n}": Kind(
            n, int.from_bytes(b"\x7f" * n, "little"), lambda t, place, aux, base: t - base + 1, _sevens
        )
        for n in (1, 2, 3, 4)
    },
    "B26": _arm(_bits(0, 25), straight, lambda t, place, aux, base: _difference(t - place) // 4),
    "IMM19": _arm(_bits(5, 23), lambda n: n << 5, lambda t, place, aux, base: _difference(t - place) // 4),
    "IMM14": _arm(_bits(5, 18), lambda n: n << 5, lambda t, place, aux, base: _difference(t - place) // 4),
    "ADR": _arm(_bits(29, 30) | _bits(5, 23), _adr, lambda t, place, aux, base: t - place),
    "ADRP": _arm(_bits(29, 30) | _bits(5, 23), _adr, lambda t, place, aux, base: (t >> 12) - (place >> 12)),
    "LO12": _arm(_bits(10, 21), lambda n: n << 10, lambda t, place, aux, base: (t & PAGE) >> aux),
    "CHAIN36": Kind(5, _bits(0, 35), lambda t, place, aux, base: t - base, straight),
    "CHAIN43": Kind(6, _bits(0, 42), lambda t, place, aux, base: t - base, straight),
    "CHAIN32": _word(4, lambda t, place, aux, base: t - base),
    "NEXT12": Kind(
        2, _bits(3, 14), lambda t, place, aux, base: _next(t, place - 6, aux, 4), lambda n: n << 3
    ),
    "NEXT11": Kind(
        2, _bits(3, 13), lambda t, place, aux, base: _next(t, place - 6, aux, 8), lambda n: n << 3
    ),
    "BASE24": _word(3, lambda t, place, aux, base: t - base),
    "PAGE24": _word(3, lambda t, place, aux, base: t - base),
    "INDEX32_4": _word(4, lambda t, place, aux, base: _difference(t - base) // 4),
    "INDEX32_8": _word(4, lambda t, place, aux, base: (t - base & MASK) // 8),
    "INDEX32_16": _word(4, lambda t, place, aux, base: (t - base & MASK) // 16),
    "COUNT32_4": _word(4, lambda t, place, aux, base: _difference(t - base + 1) // 4),
    "COUNT32_16": _word(4, lambda t, place, aux, base: (t - base + 1 & MASK) // 16),
    "INDEX24_4": _word(3, lambda t, place, aux, base: _difference(t - base) // 4),
    "NAME23": Kind(4, _bits(9, 31), lambda t, place, aux, base: t - base, lambda n: n << 9),
    "STEP6": Kind(1, _bits(0, 5), _step, straight),
    "STEP8": _word(1, _step),
    "STEP16": _word(2, _step),
    "STEP32": _word(4, _step),
    **{f"STEP_ULEB{n}": Kind(n, int.from_bytes(b"\x7f" * n, "little"), _step, _sevens) for n in (1, 2, 3, 4)},
}
_BASED = ("BASE", "SIZE", "INDEX", "COUNT", "ULEB", "CHAIN", "NAME", "STEP")
BASED = {name for name in KINDS if name.startswith(_BASED)}


def put(data: bytearray, at: int, kind: Kind, number: int) -> None:
    was = int.from_bytes(data[at : at + kind.length], "little")
    now = was & ~kind.mask | kind.spread(number & MASK) & kind.mask
    data[at : at + kind.length] = now.to_bytes(kind.length, "little")


def put_reference(data: bytearray, at: int, reference: Reference, place: int, target: int, base: int) -> None:
    kind = KINDS[reference.kind]
    put(data, at, kind, kind.number(target, place, reference.aux, base))


def _signed(number: int, size: int) -> int:
    return number - (1 << size) if number >> size - 1 else number


def _of_sevens(field: int) -> int:
    return sum((field >> 8 * i & 127) << 7 * i for i in range(4))


# From (number, place, aux, base, predicted target) to the target: the last column of the table of kinds
Solve = Callable[[int, int, int, int, int], int]


def _solve_next(scale: int) -> Solve:
    def solve_next(n: int, place: int, aux: int, base: int, predicted: int) -> int:
        word = place - 6
        one_page = ((word & MASK) ^ predicted) >> aux % 64 == 0
        return word + scale * n if n != 0 or one_page else predicted

    return solve_next


def _from_base(n: int, place: int, aux: int, base: int, predicted: int) -> int:
    return base + n


def _from_last(n: int, place: int, aux: int, base: int, predicted: int) -> int:
    return base - 1 + n


def _from_step(n: int, place: int, aux: int, base: int, predicted: int) -> int:
    return base - 1 + (n << aux % 32)


def _in_units(units: int, less: int = 0) -> Solve:
    return lambda n, place, aux, base, predicted: base - less + units * n


def _in_words(n: int, place: int, aux: int, base: int, predicted: int) -> int:
    return place + 4 * n


def _in_space(n: int, place: int, aux: int, base: int, predicted: int) -> int:
    return (place & 255 << 56) + n


SOLVES: dict[str, Solve] = {
    "REL8": lambda n, place, aux, base, predicted: place + 1 + aux + n,
    "REL32": lambda n, place, aux, base, predicted: place + 4 + aux + n,
    "PREL32": lambda n, place, aux, base, predicted: place + n,
    "BACK32": lambda n, place, aux, base, predicted: place - n,
    "PREL64": lambda n, place, aux, base, predicted: place + n,
    **dict.fromkeys(("ABS64", "ABS32", "RELR64"), _in_space),
    **dict.fromkeys(("FILE64", "FILE32"), lambda n, place, aux, base, predicted: B + n),
    **dict.fromkeys(("BASE32", "BASE64", "BASE24", "PAGE24", "NAME23"), _from_base),
    **dict.fromkeys(("CHAIN36", "CHAIN43", "CHAIN32", "ULEB1", "ULEB2", "ULEB3", "ULEB4"), _from_base),
    **dict.fromkeys(("SIZE32", "SIZE64"), _from_last),
    **dict.fromkeys((f"ULEB_SIZE{n}" for n in (1, 2, 3, 4)), _from_last),
    **dict.fromkeys(("INDEX32_4", "INDEX24_4"), _in_units(4)),
    **{"INDEX32": _in_units(24), "INDEX32_8": _in_units(8), "INDEX32_16": _in_units(16)},
    **{"COUNT32_4": _in_units(4, 1), "COUNT32_16": _in_units(16, 1)},
    **dict.fromkeys(("B26", "IMM19", "IMM14"), _in_words),
    "ADR": lambda n, place, aux, base, predicted: place + n,
    "ADRP": lambda n, place, aux, base, predicted: (place & ~PAGE) + (n << 12) | predicted & PAGE,
    "LO12": lambda n, place, aux, base, predicted: predicted & ~PAGE | n << aux & PAGE,
    "NEXT12": _solve_next(4),
    "NEXT11": _solve_next(8),
    **dict.fromkeys(("STEP6", "STEP8", "STEP16", "STEP32"), _from_step),
    **dict.fromkeys((f"STEP_ULEB{n}" for n in (1, 2, 3, 4)), _from_step),
}
# Signed numbers, and their bits
SIGNED = {"REL8": 8, "REL32": 32, "PREL32": 32, "BASE32": 32, "B26": 26, "IMM19": 19, "IMM14": 14}
SIGNED |= {"ADR": 21, "ADRP": 21}


def number_in(kind: str, field: bytes) -> int:
    bits = int.from_bytes(field, "little") & KINDS[kind].mask
    if kind in ("ADR", "ADRP"):
        bits = bits >> 29 | (bits >> 5 & 0x7FFFF) << 2
    elif "ULEB" in kind:
        bits = _of_sevens(bits)
    else:
        bits >>= (KINDS[kind].mask & -KINDS[kind].mask).bit_length() - 1
    return _signed(bits, SIGNED[kind]) if kind in SIGNED else bits


def solve(reference: Reference, field: bytes, place: int, predicted: int, base: int) -> int:
    number = number_in(reference.kind, field[: KINDS[reference.kind].length])
    return SOLVES[reference.kind](number, place, reference.aux, base, predicted) & MASK


# Copied bytes

CHUNK = 32_768


def chunk_end(first: int, end: int, references: list[Reference]) -> int:
    last = min(first + CHUNK, end)
    for reference in references:
        if first <= reference.offset < last < reference.offset + KINDS[reference.kind].length:
            return reference.offset
    return last
