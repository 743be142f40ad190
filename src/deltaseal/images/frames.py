"""The container's writer: typed raw streams into zstd frames behind a header.

Layout: docs/spec/delta-format.md. Which streams share a frame is chosen by size: like
streams of a small delta help each other and save a frame header each; large ones stand
alone, so that the applier can read them piece by piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from deltaseal import _core

_LEVEL = 22
_JOINED_MAX = 1 << 16  # raw bytes of streams that may share a frame: above, joining saves nothing and costs time
_HELD_MAX = 4 << 20  # raw bytes of a frame of several streams: the reader's limit
_WINDOW_LOG_MAX = 23  # 8 MiB a frame: the reader allows 32 MiB for all frames together
_WINDOW_LOG_MIN = 10

# Reading takes the same libzstd's word for its version: (major, minor, patch).
ZSTD_VERSION: tuple[int, int, int] = zstandard.ZSTD_VERSION


@dataclass(frozen=True, slots=True)
class Frame:
    """Consecutive streams stored together: compressed, or raw where that is not smaller."""

    streams: tuple[int, ...]
    stored: bytes
    raw: bool


def compress(data: bytes, context: bytes = b"") -> bytes:
    """One zstd frame without magic number, checksum, content size and dictionary id, behind ``context``."""
    total = len(data) + len(context)
    window_log = min(max((total - 1).bit_length(), _WINDOW_LOG_MIN), _WINDOW_LOG_MAX)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=total,
        window_log=window_log,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    prefix = zstandard.ZstdCompressionDict(context, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if context else None
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=prefix).compress(data)


def make_frame(streams: Sequence[bytes | memoryview], first: int, last: int) -> Frame:
    """Frame of the streams ``first`` to ``last`` inclusive."""
    data = b"".join(streams[first : last + 1])
    stored = compress(data) if data else b""
    members = tuple(range(first, last + 1))
    return Frame(members, stored, False) if data and len(stored) < len(data) else Frame(members, data, True)


def _cost(frames: Sequence[Frame]) -> int:
    return sum(len(frame.stored) + (2 if len(frame.stored) < 1 << 13 else 3) for frame in frames)


def _apart(streams: Sequence[bytes | memoryview], first: int, last: int) -> list[Frame]:
    """A frame for each of the streams ``first`` to ``last``; empty ones go with the one before.

    But never with one so large that a reader would not hold it: a frame of several streams is held whole.
    """
    starts = [first] + [
        i for i in range(first + 1, last + 1) if len(streams[i]) or len(streams[i - 1]) > _HELD_MAX
    ]
    ends = [start - 1 for start in starts[1:]] + [last]
    return [make_frame(streams, a, b) for a, b in zip(starts, ends, strict=True)]


def _join_neighbours(streams: Sequence[bytes | memoryview], frames: list[Frame]) -> list[Frame]:
    """Join neighbours, best first, while that makes the whole smaller."""
    sizes = [len(s) for s in streams]
    gains: dict[tuple[int, int], tuple[int, Frame]] = {}
    while len(frames) > 1:
        best: tuple[int, int, Frame] | None = None
        for i, (a, b) in enumerate(zip(frames, frames[1:], strict=False)):
            first, last = a.streams[0], b.streams[-1]
            if sum(sizes[first : last + 1]) > _JOINED_MAX:
                continue
            if (first, last) not in gains:
                joined = make_frame(streams, first, last)
                gains[first, last] = (_cost([a, b]) - _cost([joined]), joined)
            gain, joined = gains[first, last]
            if gain > 0 and (best is None or gain > best[0]):
                best = (gain, i, joined)
        if best is None:
            return frames
        _, i, joined = best
        frames = [*frames[:i], joined, *frames[i + 2 :]]
    return frames


def _lay(streams: Sequence[bytes | memoryview], first: int, last: int) -> list[Frame]:
    """The cheapest way found to lay the streams ``first`` to ``last`` into frames."""
    apart = _join_neighbours(streams, _apart(streams, first, last))
    if sum(len(s) for s in streams[first : last + 1]) > _JOINED_MAX:
        return apart
    return min([make_frame(streams, first, last)], apart, key=_cost)


def choose_frames(streams: Sequence[bytes | memoryview], context: bytes | memoryview = b"") -> tuple[list[Frame], bool]:
    """The cheapest frames found, and whether the one of code literals stands behind ``context``."""
    without = _lay(streams, 0, len(streams) - 1)
    code = _core.CONTEXT_STREAM
    if not len(context) or not len(streams[code]):
        return without, False
    own = Frame((code,), compress(bytes(streams[code]), bytes(context)), False)
    behind = [*_lay(streams, 0, code - 1), own, *_lay(streams, code + 1, len(streams) - 1)]
    return (behind, True) if _cost(behind) < _cost(without) else (without, False)


def write_container(
    streams: Sequence[bytes | memoryview],
    *,
    context: bytes | memoryview,
    old_size: int,
    new_size: int,
    digests: tuple[bytes, bytes] | None,
    plain: bool,
) -> bytes:
    """A whole delta: header, then frames."""
    frames, has_context = choose_frames(streams, context)
    frame_of = [index for index, frame in enumerate(frames) for _ in frame.streams]
    header = _core.DeltaHeader(
        zstd_version=ZSTD_VERSION,
        old_size=old_size,
        new_size=new_size,
        digests=digests,
        plain=plain,
        has_context=has_context,
        raw_sizes=tuple(len(s) for s in streams),
        frame_of=tuple(frame_of),
        frame_sizes=tuple(len(f.stored) for f in frames),
        frame_raw=tuple(f.raw for f in frames),
    )
    return _core.write_header(header) + b"".join(f.stored for f in frames)
