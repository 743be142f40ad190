"""Making a delta: the core finds the decisions, this module writes and proves the result."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from deltaseal import _core
from deltaseal.errors import DigestError, LimitError, StorageError, UsageError, WillResumeError
from deltaseal.images.compressing import TooLittleMemoryError
from deltaseal.images.container import memory_at_once, write_modelled, write_streams
from deltaseal.images.hashing import sha256, short
from deltaseal.storage import PathLike

Buffer = bytes | bytearray | memoryview
Digests = tuple[bytes, bytes]  # of old and new, as the header holds them


class Effort(NamedTuple):
    """A place on the curve of bytes against processor time of both sides."""

    rounds: int  # of matching; 0 lets the core choose by size
    modelled: bool  # coded by the adaptive model: a quarter fewer bytes, several times the time to apply


EFFORTS: dict[str, Effort] = {
    "fast": Effort(rounds=1, modelled=False),
    "default": Effort(rounds=0, modelled=False),
    "best": Effort(rounds=0, modelled=True),
}

_MEMORY_FLOOR = 96 << 20
_MEMORY_FACTOR = 10
_BESIDE = 32 << 20  # of the floor: the program itself
_TINY = 1 << 17  # bytes of an image for which trying costs nothing
_HARM = 4  # of real updates prediction spares a reference fifty times as often as it breaks one, or more
_MANY = 1 << 20  # bytes that are worth a thread
_PLAIN_MORE = 2  # times as many raw bytes are not worth compressing: they never became fewer


class _Attempt(NamedTuple):
    """A delta, and whether plain bytes may do better."""

    delta: bytes
    raw: int  # bytes of all streams before they are compressed; 0 of the model's
    is_doubtful: bool
    is_proved: bool = False  # but for its header
    opened: _core.OpenedOld | None = None  # for its proof


def _is_doubtful(creation: _core.Creation, new_size: int) -> bool:
    """Whether much was predicted wrong that had not changed: bytes were moved without being adjusted."""
    helped, harmed = creation.balance
    return creation.has_parsed and (new_size <= _TINY or _HARM * harmed > helped)


class _Container(NamedTuple):
    """What the header of a delta says whatever its coding."""

    old_size: int
    new_size: int
    digests: Digests | None
    plain: bool
    max_memory: int
    parts: tuple[int, ...] = ()

    def streams(self, creation: _core.Creation, threads: int, most: int | None = None) -> _Attempt | None:
        """None where there are more than ``most`` bytes to compress."""
        streams = [creation.stream(i) for i in range(_core.STREAM_COUNT)]
        raw = sum(map(len, streams))
        if most is not None and raw > most:
            return None
        code_parts, doubtful = creation.code_parts(), _is_doubtful(creation, self.new_size)
        # Where there may be another attempt, that takes the memory.
        opened = None if doubtful else creation.take_opened()
        creation.free()
        held = raw + raw // 2 + sum(len(part.context) for part in code_parts)  # and what became of it
        memory = _of_the_core(self.max_memory, self.old_size, self.new_size) - held
        if opened and opened.memory + memory_at_once(streams, code_parts, threads, memory) > memory:
            opened.free()
            opened = None
        delta = write_streams(
            streams,
            code_parts=code_parts,
            threads=threads,
            memory=memory,
            old_size=self.old_size,
            new_size=self.new_size,
            digests=self.digests,
            plain=self.plain,
            parts=self.parts,
        )
        return _Attempt(delta, raw, doubtful, opened=opened)

    def modelled(self, creation: _core.Creation) -> _Attempt:
        delta = write_modelled(
            creation.modelled(),
            old_size=self.old_size,
            new_size=self.new_size,
            digests=self.digests,
            plain=self.plain,
            parts=self.parts,
        )
        doubtful = _is_doubtful(creation, self.new_size)
        opened = None if doubtful else creation.take_opened()
        return _Attempt(delta, 0, doubtful, creation.is_proved, opened)


def memory_ceiling(old_size: int, new_size: int) -> int:
    """Bytes that making a delta may take in all, both images and the program among them."""
    return _MEMORY_FLOOR + _MEMORY_FACTOR * max(old_size, new_size)


def _of_the_core(memory: int, old_size: int, new_size: int) -> int:
    """What of so many bytes in all is left for the core: the images are mapped, and there is a program."""
    return max(0, memory - old_size - new_size - _BESIDE)


def _too_little(max_memory: int) -> LimitError:
    return LimitError(
        f"making the delta needs more than {max_memory:,} bytes of memory",
        hint="allow more with --max-memory",
        max_memory=max_memory,
    )


def _create(
    old: Buffer,
    new: Buffer,
    *,
    effort: Effort,
    threads: int,
    max_memory: int,
    plain: bool,
    parts: tuple[int, ...],
    prepared: _core.Prepared | None,
    progress: Callable[[int], bool] | None,
) -> _core.Creation:
    try:
        return _core.create(
            old,
            new,
            memory_bytes=_of_the_core(max_memory, len(old), len(new)),
            threads=threads,
            rounds=effort.rounds,
            modelled=effort.modelled,
            prove=True,
            plain=plain,
            parts=parts,
            prepared=prepared,
            progress=progress,
        )
    except _core.CoreError as error:
        if error.status is _core.Status.MEMORY:
            raise _too_little(max_memory) from error
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


def _prove(
    old: Buffer, new: Buffer, delta: bytes, max_memory: int, opened: _core.OpenedOld | None = None
) -> None:
    """Apply ``delta`` and compare: what does not come back exactly is never handed out."""
    try:
        most = _of_the_core(max_memory, len(old), len(new)) - len(delta)
        same = _core.prove(old, new, delta, memory_bytes=max(0, most), opened=opened)
    except _core.CoreError as error:
        if error.status is _core.Status.MEMORY:
            raise _too_little(max_memory) from error
        raise DigestError(
            "the delta that was made does not give the new image back",
            hint="this is a bug of deltaseal: please report the two images",
            status=error.status.name,
        ) from error
    if same != len(new):
        raise DigestError(
            "the delta that was made does not give the new image back",
            hint="this is a bug of deltaseal: please report the two images",
            at_byte=same,
        )


class _Hashing:
    """The digests of both images; where there may be a second thread, one computes them beside the core."""

    def __init__(self, old: Buffer, new: Buffer, threads: int) -> None:
        self._sides = old, new
        self._found: Digests | None = None
        self._thread: threading.Thread | None = None
        if threads > 1 and len(old) + len(new) >= _MANY:
            self._thread = threading.Thread(target=self._compute)
            self._thread.start()

    def _compute(self) -> Digests:
        old, new = self._sides
        self._found = short(sha256(old)), short(sha256(new))
        return self._found

    def digests(self) -> Digests:
        """Waits for them."""
        if self._thread is not None:
            self._thread.join()
        return self._found or self._compute()


def _is_header_good(delta: bytes, old_size: int, new_size: int, digests: Digests | None) -> bool:
    """Whether the header says what the string behind it was proved for."""
    header = _core.read_header(delta)
    return (header.old_size, header.new_size, header.digests) == (old_size, new_size, digests)


class PreparedOld(NamedTuple):
    """An old image, read and indexed once, for the deltas to several new ones. It holds the image's bytes."""

    core: _core.Prepared


def prepare(old: Buffer, *, threads: int = 1) -> PreparedOld:
    """Prepare ``old``; give the same bytes and this to ``diff_bytes``. Raises LimitError."""
    most = memory_ceiling(len(old), 0)
    try:
        return PreparedOld(_core.Prepared(old, memory_bytes=most, threads=threads))
    except _core.CoreError as error:
        raise LimitError(f"an image of {len(old):,} bytes cannot be prepared: {error}") from error


def diff_bytes(
    old: Buffer,
    new: Buffer,
    *,
    effort: str = "default",
    threads: int = 1,
    max_memory: int | None = None,
    digests: bool = True,
    parts: Sequence[int] = (),
    prepared: PreparedOld | None = None,
    progress: Callable[[int], bool] | None = None,
) -> bytes:
    """The delta that makes ``new`` from ``old``, proved by applying it.

    ``parts``: sizes of the files that ``old`` is made of, where it is 2 to 8 files one after the other; the
    one that ``new`` is the next version of is the first. ``digests=False`` leaves the SHA-256 of both sides
    out, for a container that carries them elsewhere. ``max_memory`` is in bytes: both images and the program
    are among them. Where it is short, the old image is looked up at fewer places, then both are taken as
    plain bytes: the delta becomes larger. ``prepared`` is of ``old``: it saves time where several deltas
    begin there, and changes no byte. ``progress`` gets 0 to 1000; False cancels.
    Raises LimitError, UsageError (unknown effort), WillResumeError (cancelled), DigestError (a bug).
    """
    if effort not in EFFORTS:
        raise UsageError(f"unknown effort {effort!r}", hint="efforts: " + ", ".join(EFFORTS))
    hashing = _Hashing(old, new, threads) if digests else None
    allowed = memory_ceiling(len(old), len(new)) if max_memory is None else max_memory

    def attempt(plain: bool, most: int | None = None) -> _Attempt | None:
        kept = () if plain else tuple(parts)
        creation = _create(
            old,
            new,
            effort=EFFORTS[effort],
            threads=threads,
            max_memory=allowed,
            plain=plain,
            parts=kept,
            prepared=prepared.core if prepared else None,
            progress=progress,
        )
        pair = hashing.digests() if hashing else None
        container = _Container(len(old), len(new), pair, plain, allowed, kept)
        if EFFORTS[effort].modelled:
            return container.modelled(creation)
        try:
            return container.streams(creation, threads, most)
        except TooLittleMemoryError:
            raise _too_little(allowed) from None

    def prove(made: _Attempt | None, other: _Attempt | None = None) -> bytes:
        pair = hashing.digests() if hashing else None
        least = min((each for each in (made, other) if each is not None), key=lambda each: len(each.delta))
        if not least.is_proved or not _is_header_good(least.delta, len(old), len(new), pair):
            _prove(old, new, least.delta, allowed, least.opened)
        return least.delta

    try:
        made = attempt(False)
        assert made is not None  # without a limit
        return prove(made, attempt(True, most=_PLAIN_MORE * made.raw) if made.is_doubtful else None)
    except LimitError as error:
        if "max_memory" not in error.facts:
            raise
    return prove(attempt(True))  # plain bytes have no references: the leanest way there is


def _map(path: PathLike) -> Buffer:
    """The file's bytes, mapped until the last view of them goes; an empty file has none to map."""
    try:
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                return b""
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", path=str(path)) from error


def diff(
    old: PathLike,
    new: PathLike,
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
