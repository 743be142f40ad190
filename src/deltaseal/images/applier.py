"""Applying a delta in a confined child, and hashing what comes out of its pipe.

The child has three descriptors (old, delta, pipe), limits, no path and no network. What it
sends is untrusted until its digest is right: the caller gives it a name only after that.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from deltaseal import _core
from deltaseal.errors import (
    BaseMismatchError,
    DeltaError,
    DeltasealError,
    DigestError,
    LimitError,
    StorageError,
)
from deltaseal.images.hashing import hasher, short
from deltaseal.images.inspector import inspect
from deltaseal.images.limits import Limits
from deltaseal.storage import PathLike

Buffer = bytes | bytearray | memoryview
Input = int | PathLike | Buffer

_PIECE = 1 << 18


class AppliedImage(NamedTuple):
    """What came out: size in bytes and SHA-256."""

    size: int
    sha256: bytes


@contextmanager
def _descriptor(source: Input) -> Iterator[int]:
    """An open descriptor that can be mapped: of a file, or of bytes in anonymous memory."""
    if isinstance(source, int):
        yield source
        return
    if isinstance(source, (str, os.PathLike)):
        try:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"cannot read {source}: {error.strerror}", path=str(source)) from error
    else:
        fd = os.memfd_create("deltaseal", os.MFD_CLOEXEC)
    try:
        if not isinstance(source, (str, os.PathLike)):
            view = memoryview(source)
            while view:
                view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)


def _read(path: PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", path=str(path)) from error


def _hash_descriptor(fd: int) -> tuple[int, bytes]:
    size, digest = 0, hasher()
    while piece := os.pread(fd, _PIECE, size):
        digest.update(piece)
        size += len(piece)
    return size, digest.digest()


def _wrong_old(old_fd: int, delta: Buffer) -> DeltasealError:
    """The field's commonest complaint: say both digests."""
    header = inspect(delta).header
    size, digest = _hash_descriptor(old_fd)
    expected = header.digests[0].hex() if header.digests else None
    return BaseMismatchError(
        f"the old file is not the one this delta was made from: expected {header.old_size:,} bytes"
        f"{f', SHA-256 {expected}…' if expected else ''}; found {size:,} bytes, SHA-256 {digest.hex()}",
        expected_sha256_128=expected,
        expected_size=header.old_size,
        found_sha256=digest.hex(),
        found_size=size,
    )


def _failure(code: int, old_fd: int, delta: Buffer, limits: Limits) -> DeltasealError:
    """The child's end in words."""
    if code == -signal.SIGBUS:
        return StorageError("a file became shorter while it was read", signal="SIGBUS")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return LimitError(
            f"the applier was stopped: more than {limits.seconds} s of processor time, or out of memory",
            seconds=limits.seconds,
        )
    if code < 0:
        name = signal.Signals(-code).name
        return DeltaError(f"the confined applier was ended by {name}; nothing was written", signal=name)
    status = _core.Status(code) if code in list(_core.Status) else _core.Status.ARGUMENT
    if status is _core.Status.OLD:
        return _wrong_old(old_fd, delta)
    if status is _core.Status.LIMIT:
        return LimitError("the delta asks for more than the limits allow", output_bytes=limits.output_bytes)
    if status is _core.Status.MEMORY:
        return LimitError(
            f"applying needs more than {limits.memory_bytes:,} bytes of memory",
            memory_bytes=limits.memory_bytes,
        )
    if status is _core.Status.DIGEST:
        return DigestError("the delta was applied, but the result is not the new image it promises")
    if status is _core.Status.DELTA:
        return DeltaError("the delta is damaged, or was made for another revision of the format")
    return StorageError(
        "the confined applier could not start: its files cannot be mapped", status=status.name
    )


def _start(old_fd: int, delta_fd: int, size: int, limits: Limits, pipe: int) -> subprocess.Popen[bytes]:
    numbers = (old_fd, delta_fd, 0, size, pipe, limits.output_bytes, limits.memory_bytes, limits.seconds)
    return subprocess.Popen(
        [os.fspath(_core.applier_path()), *map(str, numbers)],
        pass_fds=(old_fd, delta_fd, pipe),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
    )


def _drain(pipe: int, sink: Callable[[memoryview], None], most: int) -> AppliedImage:
    buffer = memoryview(bytearray(_PIECE))
    digest, size = hasher(), 0
    while count := os.readv(pipe, [buffer]):
        size += count
        if size > most:
            raise LimitError(f"the applier sent more than the {most:,} bytes allowed", output_bytes=most)
        digest.update(buffer[:count])
        sink(buffer[:count])
    return AppliedImage(size, digest.digest())


def apply(
    old: Input,
    delta: PathLike | Buffer,
    sink: Callable[[memoryview], None],
    *,
    limits: Limits | None = None,
) -> AppliedImage:
    """Apply ``delta`` to ``old`` (descriptor, path or bytes); ``sink`` gets the new image in order.

    Whatever the sink received is worthless where this raises. Deltas with digests are checked against
    them; for one without, the caller must check the result. Raises BaseMismatchError (wrong old
    file; both digests are said), DeltaError, LimitError, DigestError, StorageError.
    """
    limits = limits or Limits()
    if isinstance(delta, (str, os.PathLike)):
        delta = _read(delta)
    header = inspect(delta).header
    if header.new_size > limits.output_bytes:
        raise LimitError(
            f"the new image has {header.new_size:,} bytes, allowed are {limits.output_bytes:,}",
            new_size=header.new_size,
            output_bytes=limits.output_bytes,
        )
    with ExitStack() as stack:
        old_fd = stack.enter_context(_descriptor(old))
        delta_fd = stack.enter_context(_descriptor(delta))
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, read_end)
        try:
            child = _start(old_fd, delta_fd, len(delta), limits, write_end)
        finally:
            os.close(write_end)
        try:
            applied = _drain(read_end, sink, header.new_size)
        except BaseException:
            child.kill()
            raise
        finally:
            code = child.wait()
        if code != 0:
            raise _failure(code, old_fd, delta, limits)
    if applied.size != header.new_size or (header.digests and short(applied.sha256) != header.digests[1]):
        raise DigestError("what was written is not the new image that the delta promises", size=applied.size)
    return applied
