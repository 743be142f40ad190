"""zstd frames under a ceiling of memory: smaller tables, or fewer frames at once, where it is short."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import zstandard

_LEVEL = 22
_WINDOW_LOG_MAX = 23
_WINDOW_LOG_MIN = 10
_WINDOWS_MAX = 32 << 20  # bytes: what a reader holds for all frames of a delta together
_HASH_LOG_MAX = 22  # more is 100 MB of memory for a byte in a million
_TABLE_LOG_MIN = 10


class TooLittleMemoryError(Exception):
    """The smallest tables do not fit into the memory that is allowed."""


def _window_log(total: int, widest: int) -> int:
    return min(max((total - 1).bit_length(), _WINDOW_LOG_MIN), widest)


def widest_window(sizes: Sequence[int]) -> int:
    """log2 of the widest window with which frames of so many bytes (and prefixes) can be read together."""
    for widest in range(_WINDOW_LOG_MAX, _WINDOW_LOG_MIN, -1):
        if sum(1 << _window_log(size, widest) for size in sizes) <= _WINDOWS_MAX:
            return widest
    return _WINDOW_LOG_MIN


def _parameters(total: int, less: int, widest: int) -> zstandard.ZstdCompressionParameters:
    """Those of so many bytes, their prefix among them; tables are ``less`` times halved."""
    window_log = _window_log(total, widest)
    usual = zstandard.ZstdCompressionParameters.from_level(_LEVEL, source_size=total, window_log=window_log)
    chain_log = min(usual.chain_log, window_log + 1)  # as many entries as can be of use
    hash_log = min(usual.hash_log, window_log + 1, _HASH_LOG_MAX)
    return zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=total,
        window_log=window_log,
        chain_log=max(chain_log - less, min(chain_log, _TABLE_LOG_MIN)),
        hash_log=max(hash_log - less, min(hash_log, _TABLE_LOG_MIN)),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )


class Job(NamedTuple):
    """One frame to make: how, and what that takes of memory."""

    parameters: zstandard.ZstdCompressionParameters
    memory: int

    @classmethod
    def plan(cls, size: int, context: int, memory: int | None, widest: int = _WINDOW_LOG_MAX) -> Job:
        """For ``size`` bytes behind so many, within ``memory`` if that is given; ``widest``: widest_window.

        Raises TooLittleMemoryError.
        """
        for less in range(_WINDOW_LOG_MAX):
            parameters = _parameters(size + context, less, widest)
            tables = parameters.estimated_compression_context_size()
            needs = size + tables  # what comes out is at most as large as what goes in
            if context > 0:
                needs += tables + context  # libzstd prepares the prefix apart, and copies what that gives
            if memory is None or needs <= memory:
                return cls(parameters, needs)
        raise TooLittleMemoryError


def compress(data: bytes | memoryview, context: bytes = b"", job: Job | None = None) -> bytes:
    """One zstd frame without magic number, checksum, content size and dictionary id, behind ``context``."""
    raw_content = zstandard.DICT_TYPE_RAWCONTENT
    prefix = zstandard.ZstdCompressionDict(context, dict_type=raw_content) if context else None
    how = (job or Job.plan(len(data), len(context), None)).parameters
    return zstandard.ZstdCompressor(compression_params=how, dict_data=prefix).compress(data)


class Room:
    """Memory that calls share: each waits until what it needs is free, or nobody holds anything."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold so much of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + size <= self._size)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()


def run(calls: Sequence[Callable[[], object]], threads: int) -> None:
    """Each of the calls once, the first ones first, on so many threads."""
    from concurrent.futures import ThreadPoolExecutor  # a third of what a small delta takes, if not needed

    with ThreadPoolExecutor(max_workers=threads) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()
