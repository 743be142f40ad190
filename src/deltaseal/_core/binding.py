"""Wrappers of ``deltaseal.h``, one for each function that Python uses: what reading a delta takes.

``creating`` has those that make one, ``explaining`` those that explain one.
"""

from __future__ import annotations

import enum
import os
from typing import NamedTuple

from deltaseal._core import _native
from deltaseal._core._native import ffi, lib

Buffer = bytes | bytearray | memoryview

STREAM_COUNT: int = lib.DS_STREAM_COUNT
STREAM_NAMES: tuple[str, ...] = tuple(
    ffi.string(lib.ds_stream_name(i)).decode("ascii") for i in range(STREAM_COUNT)
)
CONTEXT_STREAM: int = lib.DS_CONTEXT_STREAM
SHORT_DIGEST_SIZE: int = lib.DS_SHORT_DIGEST_SIZE
_HEADER_MAX: int = lib.DS_HEADER_MAX


class Status(enum.IntEnum):
    """``ds_status`` of the C core; also the exit code of the confined applier."""

    OK = lib.DS_OK
    ARGUMENT = lib.DS_E_ARGUMENT
    MEMORY = lib.DS_E_MEMORY
    CANCELLED = lib.DS_E_CANCELLED
    DELTA = lib.DS_E_DELTA
    LIMIT = lib.DS_E_LIMIT
    OLD = lib.DS_E_OLD
    DIGEST = lib.DS_E_DIGEST


class CoreError(Exception):
    """A call of the core that did not end with ``DS_OK``."""

    def __init__(self, status: Status) -> None:
        super().__init__(ffi.string(lib.ds_status_text(status)).decode("ascii"))
        self.status = status


def check_status(status: int) -> None:
    """Raises CoreError for anything but ``DS_OK``."""
    if status != lib.DS_OK:
        raise CoreError(Status(status))


def applier_path() -> str:
    """The confined applier that was built beside the extension."""
    return os.path.join(os.path.dirname(_native.__file__), "deltaseal-apply")


class Sha256:
    """SHA-256 in the making, as ``hashlib.sha256``."""

    def __init__(self) -> None:
        self._state = ffi.new("ds_sha256_state *")
        lib.ds_sha256_open(self._state)

    @property
    def is_fast(self) -> bool:
        """Whether the processor has instructions for it."""
        return bool(self._state.fast)

    def update(self, data: Buffer) -> None:
        """The next piece."""
        lib.ds_sha256_add(self._state, ffi.from_buffer("uint8_t[]", data), len(data))

    def digest(self) -> bytes:
        """Of all pieces so far; more may come."""
        state = ffi.new("ds_sha256_state *", self._state[0])
        digest = ffi.new("uint8_t[]", lib.DS_DIGEST_SIZE)
        lib.ds_sha256_close(state, digest)
        return bytes(digest)


# ---- the container's header ----


class DeltaHeader(NamedTuple):
    """What the header of a delta says (docs/spec/delta-format.md, "Container"); sizes in bytes."""

    zstd_version: tuple[int, int, int]  # zeros without streams
    old_size: int
    new_size: int
    digests: tuple[bytes, bytes] | None  # of old and new, SHORT_DIGEST_SIZE bytes each
    plain: bool
    has_context: bool = False
    raw_sizes: tuple[int, ...] = ()
    frame_of: tuple[int, ...] = ()
    frame_sizes: tuple[int, ...] = ()
    frame_raw: tuple[bool, ...] = ()
    modelled_size: int | None = None  # of the one coded string that stands in place of streams
    table: int = 0  # of the model, in units of 256 KiB
    parts: tuple[int, ...] = ()  # sizes of the files that old is made of; none: it is one
    revision: int = 0
    header_size: int = 0
    total_size: int = 0


def write_header(header: DeltaHeader) -> bytes:
    """The bytes of ``header``; ``total_size`` and ``header_size`` are computed, not taken."""
    info = ffi.new("ds_delta_info *")
    info.zstd_version = list(header.zstd_version)
    info.old_size, info.new_size = header.old_size, header.new_size
    info.plain, info.has_context = header.plain, header.has_context
    info.modelled, info.table = header.modelled_size is not None, header.table
    info.modelled_size = header.modelled_size or 0
    info.part_count, info.part_sizes = len(header.parts), list(header.parts)
    if header.digests is not None:
        info.has_digests = True
        info.old_digest, info.new_digest = header.digests
    for index, (size, frame) in enumerate(zip(header.raw_sizes, header.frame_of, strict=True)):
        info.streams[index].raw_size = size
        info.streams[index].frame = frame
    info.frame_count = len(header.frame_sizes)
    for index, (size, raw) in enumerate(zip(header.frame_sizes, header.frame_raw, strict=True)):
        info.frame_sizes[index], info.frame_raw[index] = size, raw
    out = ffi.new("uint8_t[]", _HEADER_MAX)
    size = lib.ds_write_header(info, out)
    if size == 0:
        raise CoreError(Status.ARGUMENT)
    return bytes(ffi.buffer(out, size))


def read_header(delta: Buffer) -> DeltaHeader:
    """The header of a whole delta. Raises CoreError: DELTA where it is not one."""
    info = ffi.new("ds_delta_info *")
    check_status(lib.ds_inspect(ffi.from_buffer("uint8_t[]", delta), len(delta), info))
    streams, frames = range(0 if info.modelled else STREAM_COUNT), range(info.frame_count)
    return DeltaHeader(
        zstd_version=tuple(info.zstd_version),
        old_size=info.old_size,
        new_size=info.new_size,
        digests=(bytes(info.old_digest), bytes(info.new_digest)) if info.has_digests else None,
        plain=info.plain,
        has_context=info.has_context,
        raw_sizes=tuple(info.streams[i].raw_size for i in streams),
        frame_of=tuple(info.streams[i].frame for i in streams),
        frame_sizes=tuple(info.frame_sizes[i] for i in frames),
        frame_raw=tuple(info.frame_raw[i] for i in frames),
        modelled_size=info.modelled_size if info.modelled else None,
        table=info.table,
        parts=tuple(info.part_sizes[i] for i in range(info.part_count)),
        revision=info.revision,
        header_size=info.header_size,
        total_size=info.total_size,
    )
