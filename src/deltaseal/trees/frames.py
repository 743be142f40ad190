"""zstd frames in the narrow form of docs/spec/tree.md, section 7, written and read under limits.

The frame's structure (RFC 8878, section 3.1.1) is walked here before the
decoder sees a byte: so one frame fills its place, has nothing optional, and
asks for no more memory than is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, cast

import zstandard

from deltaseal.errors import DeltaError, LimitError
from deltaseal.storage import ByteSource

__all__ = ["LIBRARY_VERSION", "MAX_PREFIX", "MAX_WINDOW", "compress", "decompress"]

LIBRARY_VERSION: tuple[int, int, int] = zstandard.ZSTD_VERSION

MAX_WINDOW = 1 << 25  # bytes: what all streams of a delta may hold at apply
MAX_PREFIX = 1 << 24  # bytes of old content before a frame; its window is then no larger than this
MAX_RATIO = 1 << 15  # an RLE block gives 128 KiB from 4 bytes; nothing in a frame gives more

_MAX_BLOCK = 1 << 17  # Block_Maximum_Size, RFC 8878, section 3.1.1.2.4
_RLE, _COMPRESSED = 1, 2  # Block_Type; 0 is raw, 3 reserved
_PIECE = 1 << 18  # bytes decoded at once


def compress(data: bytes, *, level: int, prefix: bytes = b"") -> bytes:
    """Return one frame of ``data``; ``prefix`` (at most ``MAX_PREFIX`` bytes) is old content to copy from."""
    limit = MAX_PREFIX if prefix else MAX_WINDOW
    window = min(limit, max(1 << 10, len(data) + len(prefix)))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(data),
        dict_size=len(prefix),
        window_log=(window - 1).bit_length(),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_raw(prefix)).compress(data)


def decompress(frame: ByteSource, size: int, *, prefix: bytes = b"") -> Iterator[bytes]:
    """Yield the ``size`` bytes that ``frame`` holds, in pieces.

    Raises ``DeltaError`` for a frame that is damaged, not of the narrow form,
    or of another size than declared, ``LimitError`` for one that wants more
    memory than is allowed or promises more bytes than a frame can hold.
    """
    _walk(frame, limit=MAX_PREFIX if prefix else MAX_WINDOW)
    if size > frame.size() * MAX_RATIO:
        raise LimitError(
            f"{frame.size()} bytes cannot unpack to the {size} declared", stored=frame.size(), declared=size
        )
    decoder = zstandard.ZstdDecompressor(
        dict_data=_raw(prefix), max_window_size=MAX_WINDOW, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    left = size
    try:
        source = cast(IO[bytes], _Reader(frame))  # it calls nothing but read(size)
        with decoder.stream_reader(source, read_across_frames=False, closefd=False) as reader:
            while piece := reader.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise LimitError(f"a frame unpacks to more than the {size} bytes declared", declared=size)
                yield piece
    except zstandard.ZstdError as error:
        raise DeltaError(f"a frame cannot be unpacked: {error}") from error
    if left:
        raise DeltaError(f"a frame unpacks to {size - left} bytes, {size} were declared", declared=size)


def _raw(prefix: bytes) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None


def _walk(frame: ByteSource, *, limit: int) -> None:
    """Raise unless ``frame`` is just one frame of the narrow form, its window at most ``limit`` bytes."""
    head = _part(frame, 0, 2)
    if head[0] != 0:
        raise DeltaError(
            "a frame has a magic number, a dictionary id, a checksum or a content size", descriptor=head[0]
        )
    window = _window(head[1])
    if window > limit:
        raise LimitError(
            f"a frame asks for a window of {window} bytes, over {limit}", window=window, limit=limit
        )
    offset, last = 2, 0
    while not last:
        header = int.from_bytes(_part(frame, offset, 3), "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if kind > _COMPRESSED or size > _MAX_BLOCK:
            raise DeltaError("a frame has a block that is none", offset=offset)
        offset += 3 + (1 if kind == _RLE else size)
    if offset != frame.size():
        raise DeltaError(
            f"a frame ends after {offset} of its {frame.size()} bytes"
            if offset < frame.size()
            else f"a frame is cut short: {offset} bytes expected, {frame.size()} found",
            expected=offset,
            found=frame.size(),
        )


def _window(descriptor: int) -> int:
    # RFC 8878, section 3.1.1.1.2
    base = 1 << (10 + (descriptor >> 3))
    return base + base // 8 * (descriptor & 7)


def _part(frame: ByteSource, offset: int, size: int) -> bytes:
    if offset + size > frame.size():
        raise DeltaError(f"a frame is cut short after {frame.size()} bytes", found=frame.size())
    return frame.read_at(offset, size)


class _Reader:
    """A byte source as what zstandard reads from."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._offset = 0

    def read(self, size: int) -> bytes:
        piece = self._source.read_at(self._offset, min(size, self._source.size() - self._offset))
        self._offset += len(piece)
        return piece
