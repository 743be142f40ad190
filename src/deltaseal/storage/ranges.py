"""Bytes that are read by ranges: a file, a buffer, or a part of either.

A reader asks for the size first and then for ranges inside it, so the same
reader works on a file, on a download that is still growing, or on memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from deltaseal.storage.disk import Buffer, PathLike, ShortReadError, WrongKindError, translate

__all__ = ["ByteSource", "BytesSource", "FileSource", "SliceSource", "chunks"]

CHUNK = 1 << 20  # bytes read at once where a whole source is wanted in pieces
PORTION = 1 << 30  # bytes asked of the kernel at once: Python sets memory aside for all that is asked


class ByteSource(Protocol):
    """Something with a size and bytes at offsets."""

    def size(self) -> int:
        """Return the size in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly the ``size`` bytes at ``offset``.

        Raises ``ShortReadError`` if they are not all there, ``ValueError`` for negative numbers.
        """


def check_range(offset: int, size: int, total: int, what: str) -> None:
    """Raise unless ``offset`` and ``size`` lie inside ``total`` bytes."""
    if offset < 0 or size < 0:
        raise ValueError(f"negative range: {offset}, {size}")
    if offset + size > total:
        raise ShortReadError(
            f"{what} ends after {total} bytes; bytes {offset} to {offset + size} were asked for",
            hint="the file is cut short, or was changed while it was read",
            path=what,
            offset=offset,
            size=size,
            total=total,
        )


def read_descriptor(fd: int, offset: int, size: int, what: str) -> bytes:
    """Return exactly ``size`` bytes at ``offset`` of a descriptor, whatever the kernel's portions."""
    pieces: list[bytes] = []
    position, end = offset, offset + size
    while position < end:
        try:
            piece = os.pread(fd, min(end - position, PORTION), position)
        except OSError as error:
            raise translate(error, "read", what) from error
        if not piece:
            check_range(offset, size, position, what)
        pieces.append(piece)
        position += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class BytesSource:
    """A buffer in memory as a byte source."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")

    def size(self) -> int:
        """Return the size in bytes."""
        return len(self._view)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly the ``size`` bytes at ``offset``."""
        check_range(offset, size, len(self._view), "the buffer")
        return bytes(self._view[offset : offset + size])


class FileSource:
    """A regular file as a byte source, from a path or an open descriptor (which is duplicated).

    The size is taken once, when it is opened; a file that shrinks afterwards
    gives ``ShortReadError``.
    """

    def __init__(self, file: PathLike | int) -> None:
        self._name = f"descriptor {file}" if isinstance(file, int) else os.fspath(file)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for its writer; for a regular file it means nothing.
            self._fd = (
                os.dup(file)
                if isinstance(file, int)
                else os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            )
        except OSError as error:
            raise translate(error, "open", self._name) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise WrongKindError(
                f"{self._name!r} is {kind}",
                hint="name a regular file",
                path=self._name,
            )
        self._size = status.st_size

    def size(self) -> int:
        """Return the size in bytes, as it was when the file was opened."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly the ``size`` bytes at ``offset``."""
        check_range(offset, size, self._size, repr(self._name))
        return read_descriptor(self._fd, offset, size, self._name)

    def fileno(self) -> int:
        """Return the descriptor; it lives until :meth:`close`."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SliceSource:
    """``size`` bytes of another source from ``offset`` on.

    Raises ``ShortReadError`` at once if the source does not hold them.
    """

    def __init__(self, source: ByteSource, offset: int, size: int) -> None:
        check_range(offset, size, source.size(), "the file")
        self._source = source
        self._offset = offset
        self._size = size

    def size(self) -> int:
        """Return the size of the slice in bytes."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly the ``size`` bytes at ``offset`` of the slice."""
        check_range(offset, size, self._size, "the slice")
        return self._source.read_at(self._offset + offset, size)


def chunks(source: ByteSource, *, size: int = CHUNK) -> Iterator[bytes]:
    """Yield all bytes of ``source`` in order, at most ``size`` at once."""
    total = source.size()
    for offset in range(0, total, size):
        yield source.read_at(offset, min(size, total - offset))
