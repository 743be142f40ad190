"""The container's writer: typed raw streams into zstd frames behind a header, or the model's one string.

Layout: docs/spec/delta-format.md. Which streams share a frame is chosen by size: like
streams of a small delta help each other and save a frame header each; large ones stand
alone, so that the applier can read them piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import zstandard

from deltaseal import _core
from deltaseal.images.compressing import Job, Room, compress, run, widest_window

_JOINED_MAX = 1 << 14  # raw bytes of streams that may share a frame: above, joining only costs time
_CODE_MAX = 1 << 12  # of code literals that may do without their context: with more, it always helped
_THREADED_MIN = 1 << 16  # of all streams, to be worth threads
_HELD_MAX = 4 << 20  # raw bytes of a frame of several streams: the reader's limit

# Reading takes the same libzstd's word for its version: (major, minor, patch).
ZSTD_VERSION: tuple[int, int, int] = zstandard.ZSTD_VERSION


class Frame(NamedTuple):
    """Consecutive streams stored together: compressed, or raw where that is not smaller."""

    streams: tuple[int, ...]
    stored: bytes
    raw: bool


class Frames:
    """Frames of consecutive streams, each compressed once, large ones on several threads.

    ``memory``: bytes for what compresses, beside what is compressed. Raises TooLittleMemoryError.
    """

    def __init__(
        self,
        streams: Sequence[bytes],
        parts: Sequence[_core.CodePart] = (),
        *,
        threads: int = 1,
        memory: int | None = None,
    ) -> None:
        self._streams = streams
        self._parts = parts
        self._memory = memory
        self._room = Room(memory if memory is not None else 1 << 62)
        self._made: dict[tuple[int, int], Frame] = {}
        self._behind: list[bytes] = [b""] * len(parts)
        self._widest = widest_window(self._frame_sizes())
        jobs = self._needed([(i, i) for i in range(len(streams)) if len(streams[i])])
        makers: list[tuple[int, Callable[[], object]]]
        makers = [(self.size(*job), partial(self.make, *job)) for job in jobs]
        if self.has_context:
            makers += [(size, partial(self._make_part, i)) for i, size in enumerate(self._part_sizes())]
        makers.sort(key=itemgetter(0), reverse=True)  # the longest first: nothing waits for it at the end
        if threads > 1 and sum(map(len, streams)) > _THREADED_MIN:
            run([make for _, make in makers], threads)
        else:
            for _, make in makers:
                make()

    @property
    def has_context(self) -> bool:
        """Whether there is a context, and code for it to help with."""
        return any(part.context for part in self._parts) and len(self._streams[_core.CONTEXT_STREAM]) > 0

    @property
    def behind_context(self) -> Frame | None:
        """The frame of code literals, part by part, each behind its context."""
        return Frame((_core.CONTEXT_STREAM,), b"".join(self._behind), False) if self.has_context else None

    def _bounds(self) -> list[tuple[int, int]]:
        starts = [part.start for part in self._parts]
        return list(pairwise([*starts, len(self._streams[_core.CONTEXT_STREAM])]))

    def _part_sizes(self) -> list[int]:
        return [
            end - start + len(p.context) for (start, end), p in zip(self._bounds(), self._parts, strict=True)
        ]

    def _frame_sizes(self) -> list[int]:
        """Of every frame there may be; for parts, which are read one after the other, of the largest."""
        sizes = {number: len(stream) for number, stream in enumerate(self._streams) if stream}
        if self.has_context:
            sizes[_core.CONTEXT_STREAM] = max(sizes[_core.CONTEXT_STREAM], *self._part_sizes())
        return list(sizes.values())

    def _compress(self, data: bytes | memoryview, context: bytes = b"") -> bytes:
        job = Job.plan(len(data), len(context), self._memory, self._widest)
        with self._room.hold(job.memory):
            return compress(data, context, job)

    @property
    def context_surely_helps(self) -> bool:
        """Compressing it without its context too would be lost time."""
        return self.has_context and len(self._streams[_core.CONTEXT_STREAM]) > _CODE_MAX

    def _needed(self, jobs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        skipped = (_core.CONTEXT_STREAM, _core.CONTEXT_STREAM) if self.context_surely_helps else None
        return [job for job in jobs if job != skipped]

    def _make_part(self, number: int) -> None:
        start, end = self._bounds()[number]
        code = memoryview(self._streams[_core.CONTEXT_STREAM])[start:end]
        self._behind[number] = self._compress(code, self._parts[number].context)

    def make(self, first: int, last: int) -> Frame:
        """Frame of the streams ``first`` to ``last`` inclusive."""
        if (first, last) not in self._made:
            data = b"".join(self._streams[first : last + 1])
            stored = self._compress(data) if data else b""
            raw = not data or len(stored) >= len(data)
            self._made[first, last] = Frame(tuple(range(first, last + 1)), data if raw else stored, raw)
        return self._made[first, last]

    def size(self, first: int, last: int) -> int:
        """Raw bytes of the streams ``first`` to ``last``."""
        return sum(len(s) for s in self._streams[first : last + 1])

    def apart(self, first: int, last: int) -> list[Frame]:
        """A frame for each of the streams ``first`` to ``last``; empty ones go with the one before.

        But never with one so large that a reader would not hold it: a frame of several streams is held whole.
        """
        starts = [first] + [
            i for i in range(first + 1, last + 1) if self.size(i, i) or self.size(i - 1, i - 1) > _HELD_MAX
        ]
        ends = [start - 1 for start in starts[1:]] + [last]
        return [self.make(a, b) for a, b in zip(starts, ends, strict=True)]

    def lay(self, first: int, last: int) -> list[Frame]:
        """The cheapest way found to lay the streams ``first`` to ``last`` into frames."""
        laid = self.apart(first, last)
        while (joined := self._join_best(laid)) is not None:
            laid = joined
        if self.size(first, last) > _JOINED_MAX:
            return laid
        return min([self.make(first, last)], laid, key=_cost)

    def _join_best(self, laid: list[Frame]) -> list[Frame] | None:
        """The two neighbours joined that gain most; None where no two do."""
        best: tuple[int, list[Frame]] | None = None
        for i, (a, b) in enumerate(pairwise(laid)):
            first, last = a.streams[0], b.streams[-1]
            if self.size(first, last) > _JOINED_MAX:
                continue
            joined = self.make(first, last)
            gain = _cost([a, b]) - _cost([joined])
            if gain > (best[0] if best else 0):
                best = (gain, [*laid[:i], joined, *laid[i + 2 :]])
        return best[1] if best else None


def _cost(frames: Sequence[Frame]) -> int:
    return sum(len(frame.stored) + (2 if len(frame.stored) < 1 << 13 else 3) for frame in frames)


def choose_frames(
    streams: Sequence[bytes],
    parts: Sequence[_core.CodePart] = (),
    *,
    threads: int = 1,
    memory: int | None = None,
) -> tuple[list[Frame], bool]:
    """The cheapest frames found, and whether code literals stand behind the contexts of their parts."""
    frames = Frames(streams, parts, threads=threads, memory=memory)
    code, last = _core.CONTEXT_STREAM, len(streams) - 1
    behind_context = frames.behind_context
    if behind_context is None:
        return frames.lay(0, last), False
    behind = [*frames.lay(0, code - 1), behind_context, *frames.lay(code + 1, last)]
    if frames.context_surely_helps:
        return behind, True
    without = frames.lay(0, last)
    return (behind, True) if _cost(behind) < _cost(without) else (without, False)


def memory_at_once(
    streams: Sequence[bytes], parts: Sequence[_core.CodePart], threads: int, memory: int
) -> int:
    """Bytes that ``write_streams`` takes for compressing, at most. Raises TooLittleMemoryError."""
    starts = [part.start for part in parts] + [len(streams[_core.CONTEXT_STREAM])]
    sizes = [(len(stream), 0) for stream in streams]
    sizes += [(end - at, len(p.context)) for (at, end), p in zip(pairwise(starts), parts, strict=True)]
    needs = sorted(Job.plan(size, context, memory).memory for size, context in sizes)
    return min(sum(needs[-threads:]), memory)


def write_streams(
    streams: Sequence[bytes],
    *,
    code_parts: Sequence[_core.CodePart] = (),
    threads: int,
    memory: int | None = None,
    old_size: int,
    new_size: int,
    digests: tuple[bytes, bytes] | None,
    plain: bool,
    parts: Sequence[int] = (),
) -> bytes:
    """A whole delta of typed streams: header, then frames. Raises TooLittleMemoryError."""
    frames, has_context = choose_frames(streams, code_parts, threads=threads, memory=memory)
    frame_of = [index for index, frame in enumerate(frames) for _ in frame.streams]
    header = _core.DeltaHeader(
        zstd_version=ZSTD_VERSION,
        old_size=old_size,
        new_size=new_size,
        digests=digests,
        plain=plain,
        parts=tuple(parts),
        has_context=has_context,
        raw_sizes=tuple(len(s) for s in streams),
        frame_of=tuple(frame_of),
        frame_sizes=tuple(len(f.stored) for f in frames),
        frame_raw=tuple(f.raw for f in frames),
    )
    return _core.write_header(header) + b"".join(f.stored for f in frames)


def write_modelled(
    modelled: _core.Modelled,
    *,
    old_size: int,
    new_size: int,
    digests: tuple[bytes, bytes] | None,
    plain: bool,
    parts: Sequence[int] = (),
) -> bytes:
    """A whole delta of the model: header, then its one coded string."""
    header = _core.DeltaHeader(
        zstd_version=(0, 0, 0),
        old_size=old_size,
        new_size=new_size,
        digests=digests,
        plain=plain,
        parts=tuple(parts),
        modelled_size=len(modelled.body),
        table=modelled.table,
    )
    return _core.write_header(header) + modelled.body
