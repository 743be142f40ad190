"""Making a delta: the core finds the decisions, this module writes and proves the result."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal import _core
from deltaseal.errors import DigestError, LimitError, StorageError, UsageError, WillResumeError
from deltaseal.images.frames import write_modelled, write_streams

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Effort:
    """A place on the curve of bytes against processor time of both sides."""

    rounds: int  # of matching; 0 lets the core choose by size
    modelled: bool  # coded by the adaptive model: a quarter fewer bytes, several times the time to apply


EFFORTS: dict[str, Effort] = {
    "fast": Effort(rounds=1, modelled=False),
    "default": Effort(rounds=0, modelled=False),
    "best": Effort(rounds=0, modelled=True),
}

_MEMORY_FLOOR = 96 << 20
_MEMORY_FACTOR = 16
_SMALL = 1 << 20  # images up to this size are tried as plain bytes too
_MENDED_MANY = 1 << 15  # raw bytes of corrections that make a larger one worth trying so


# Streams of what was predicted wrong, and of what was not predicted at all.
_MENDED = ("residuals", "reference fixes")
_LITERALS = ("code", "data")
_MENDED_DECISIONS = ("reference fix", "target distance", "byte", "word field")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A delta, with the bytes of its corrections and of its literals: raw, or as the model coded them."""

    delta: bytes
    mended: int
    literals: int

    @property
    def is_doubtful(self) -> bool:
        """Whether much was predicted wrong: perhaps bytes were moved without being adjusted."""
        return self.mended > max(_MENDED_MANY, self.literals // 2)


def _raw_size(streams: Sequence[bytes], names: Collection[str]) -> int:
    return sum(len(s) for s, name in zip(streams, _core.STREAM_NAMES, strict=True) if name in names)


@dataclass(frozen=True, slots=True)
class _Container:
    """What the header of a delta says whatever its coding."""

    old_size: int
    new_size: int
    digests: tuple[bytes, bytes] | None
    plain: bool

    def streams(self, creation: _core.Creation, threads: int) -> _Attempt:
        streams = [creation.stream(i) for i in range(_core.STREAM_COUNT)]
        delta = write_streams(
            streams,
            context=creation.context(),
            threads=threads,
            old_size=self.old_size,
            new_size=self.new_size,
            digests=self.digests,
            plain=self.plain,
        )
        return _Attempt(delta, _raw_size(streams, _MENDED), _raw_size(streams, _LITERALS))

    def modelled(self, creation: _core.Creation) -> _Attempt:
        delta = write_modelled(
            creation.modelled(),
            old_size=self.old_size,
            new_size=self.new_size,
            digests=self.digests,
            plain=self.plain,
        )
        costs = creation.modelled_costs()
        mended = sum(costs[name] for name in _MENDED_DECISIONS)
        return _Attempt(delta, int(mended), int(sum(costs.values()) - mended))


def memory_ceiling(old_size: int, new_size: int) -> int:
    """Bytes that making a delta may take, beside the two images."""
    return _MEMORY_FLOOR + _MEMORY_FACTOR * max(old_size, new_size)


def _create(
    old: Buffer,
    new: Buffer,
    *,
    effort: Effort,
    threads: int,
    max_memory: int,
    plain: bool,
    progress: Callable[[int], bool] | None,
) -> _core.Creation:
    try:
        return _core.create(
            old,
            new,
            memory_bytes=max_memory,
            threads=threads,
            rounds=effort.rounds,
            modelled=effort.modelled,
            plain=plain,
            progress=progress,
        )
    except _core.CoreError as error:
        if error.status is _core.Status.MEMORY:
            raise LimitError(
                f"making the delta needs more than {max_memory:,} bytes of memory",
                hint="allow more with --max-memory",
                max_memory=max_memory,
            ) from error
        if error.status is _core.Status.LIMIT:
            raise LimitError(
                "an image is larger than 4 GiB less 64 KiB, the most a delta can be made for",
                hint="deliver the whole file instead",
                old_size=len(old),
                new_size=len(new),
            ) from error
        if error.status is _core.Status.CANCELLED:
            raise WillResumeError("cancelled by the progress function", hint="nothing was made") from error
        raise


def _prove(old: Buffer, new: Buffer, delta: bytes) -> None:
    """Apply ``delta`` and compare: what does not come back exactly is never handed out."""
    view = memoryview(new)
    at = 0

    def compare(piece: memoryview) -> bool:
        nonlocal at
        same = piece == view[at : at + len(piece)]
        at += len(piece)
        return same

    try:
        _core.apply(
            old, delta, compare, output_bytes=len(new), memory_bytes=memory_ceiling(len(old), len(new))
        )
    except _core.CoreError as error:
        raise DigestError(
            "the delta that was made does not give the new image back",
            hint="this is a bug of deltaseal: please report the two images",
            at_byte=at,
            status=error.status.name,
        ) from error
    if at != len(new):
        raise DigestError("the delta that was made gives too few bytes", at_byte=at)


def diff_bytes(
    old: Buffer,
    new: Buffer,
    *,
    effort: str = "default",
    threads: int = 1,
    max_memory: int | None = None,
    digests: bool = True,
    progress: Callable[[int], bool] | None = None,
) -> bytes:
    """The delta that makes ``new`` from ``old``, proved by applying it.

    ``digests=False`` leaves the SHA-256 of both sides out, for a container that carries them
    elsewhere. ``max_memory`` is in bytes. ``progress`` gets 0 to 1000; False cancels.
    Raises LimitError, UsageError (unknown effort), WillResumeError (cancelled), DigestError (a bug).
    """
    if effort not in EFFORTS:
        raise UsageError(f"unknown effort {effort!r}", hint="efforts: " + ", ".join(EFFORTS))
    pair = (hashlib.sha256(old).digest(), hashlib.sha256(new).digest()) if digests else None
    ceiling = memory_ceiling(len(old), len(new)) if max_memory is None else max_memory

    def attempt(plain: bool) -> _Attempt:
        creation = _create(
            old,
            new,
            effort=EFFORTS[effort],
            threads=threads,
            max_memory=ceiling,
            plain=plain,
            progress=progress,
        )
        container = _Container(len(old), len(new), pair, plain)
        if EFFORTS[effort].modelled:
            return container.modelled(creation)
        return container.streams(creation, threads)

    made = attempt(False)
    delta = made.delta
    if len(new) <= _SMALL or made.is_doubtful:
        delta = min(delta, attempt(True).delta, key=len)
    _prove(old, new, delta)
    return delta


def _map(path: Path) -> Buffer:
    """The file's bytes, mapped until the last view of them goes; an empty file has none to map."""
    try:
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                return b""
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", path=str(path)) from error


def diff(
    old: Path,
    new: Path,
    *,
    effort: str = "default",
    threads: int = 1,
    max_memory: int | None = None,
    progress: Callable[[int], bool] | None = None,
) -> bytes:
    """The delta between two files; see ``diff_bytes``. Raises StorageError where one cannot be read."""
    return diff_bytes(
        _map(old), _map(new), effort=effort, threads=threads, max_memory=max_memory, progress=progress
    )
