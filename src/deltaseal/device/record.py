"""Records and segments of the journal as bytes: pure, no file is touched here.

Format: docs/spec/store.md, sections 3 and 4.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from deltaseal.device.states import Event, State
from deltaseal.errors import DeltasealError, LimitError
from deltaseal.trust import strict_json

__all__ = [
    "RECORD_BYTES",
    "SEGMENT_BYTES",
    "SEGMENT_RECORDS",
    "Fault",
    "Opened",
    "Reading",
    "Record",
    "follow",
]

RECORD_BYTES: Final = 1 << 20  # of one body
SEGMENT_RECORDS: Final = 1000
SEGMENT_BYTES: Final = SEGMENT_RECORDS * (
    RECORD_BYTES + 66
)  # the digest, a space and a line feed beside each

_DIGEST_CHARS: Final = 64


class Opened(StrEnum):
    """Why a segment was opened: what its checkpoint says of the one before."""

    FIRST = "first"
    FULL = "full"
    TORN = "torn"
    UNSYNCED = "unsynced"
    DAMAGE = "damage"


@dataclass(frozen=True)
class Record:
    """One line of the journal; ``prev`` is the digest of the body before, ``time`` seconds since 1970."""

    n: int
    prev: str
    time: int
    state: State
    event: Event
    id: str = ""
    bundle: str = ""
    attempt: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.n, self.prev))

    @functools.cached_property
    def body(self) -> bytes:
        """The record in its one written form. Raises ``LimitError`` over ``RECORD_BYTES``."""
        body = strict_json.dumps({name: getattr(self, name) for name in _KEYS})
        if len(body) > RECORD_BYTES:
            raise LimitError(f"a journal record has at most {RECORD_BYTES} bytes, this one {len(body)}")
        return body

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the body, which the next record names."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def line(self) -> bytes:
        """The record as it stands in a segment."""
        return b"%s %s\n" % (self.digest.encode(), self.body)

    @property
    def opened(self) -> Opened | None:
        """For a checkpoint: why its segment was opened."""
        return Opened(self.facts["opened"]) if self.event is Event.CHECKPOINT else None

    @classmethod
    def of_line(cls, line: bytes) -> Record:
        """Read a line without its line feed; ``ValueError`` or ``DeltasealError`` if it is not whole."""
        digest, space, body = (
            line[:_DIGEST_CHARS],
            line[_DIGEST_CHARS : _DIGEST_CHARS + 1],
            line[_DIGEST_CHARS + 1 :],
        )
        if space != b" " or hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("the digest does not fit")
        if len(body) > RECORD_BYTES:
            raise ValueError("too long")
        values = strict_json.loads(body)
        if set(values) != set(_KEYS) or not _well_typed(values):
            raise ValueError("not the keys of a record")
        known = {**values, "state": State(values["state"]), "event": Event(values["event"])}
        record = cls(**known)
        record.__dict__["digest"] = digest.decode()  # known: the body need not be written again for it
        if record.event is Event.CHECKPOINT:
            Opened(str(record.facts.get("opened")))
        return record


_KEPT_BYTES: Final = 4096  # of a line that is kept after it was read
_KEYS: Final = ("n", "prev", "time", "state", "event", "id", "bundle", "attempt", "facts")
_NUMBERS: Final = frozenset({"n", "time", "attempt"})


def _well_typed(values: Mapping[str, Any]) -> bool:
    def fits(name: str, value: object) -> bool:
        return isinstance(value, int if name in _NUMBERS else dict if name == "facts" else str)

    return all(fits(name, value) for name, value in values.items())


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a journal stops being what was written: the segment's number and what is wrong there."""

    segment: int
    what: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds: the records that count, and what ends them."""

    records: tuple[Record, ...]  # of the chain that counts, oldest first
    segments: int  # the highest number there is; 0: none
    tail: int  # how many of the records lie in the last segment
    torn: bool  # the last segment ends in a line that is not whole
    fault: Fault | None  # damage: the records are those before it
    evidence: tuple[Record, ...]  # whole records outside the chain that counts; they prove nothing


@dataclass(frozen=True, slots=True)
class _Line:
    record: Record
    digest: str  # of its body


@dataclass(frozen=True, slots=True)
class _Segment:
    number: int
    lines: tuple[_Line, ...]  # the whole ones
    rest: bytes  # what follows the last of them

    @property
    def opened(self) -> Opened | None:
        """Why it was opened; ``None`` if it does not begin with a checkpoint."""
        return self.lines[0].record.opened if self.lines else None

    @property
    def torn(self) -> bool:
        """Whether the rest is what one cut write leaves: a line without its end, or with zeros in it."""
        ends = self.rest.count(b"\n")
        return bool(self.rest) and (
            ends == 0 or (ends == 1 and self.rest[-1:] == b"\n" and b"\0" in self.rest)
        )


def follow(segments: Sequence[tuple[int, bytes]]) -> Reading:
    """Follow the chain through segments (number, bytes), given in the order of their numbers."""
    parsed = [_parse(number, data) for number, data in segments]
    starts = [at for at, segment in enumerate(parsed) if at == 0 or segment.opened is Opened.DAMAGE]
    first = starts[-1] if starts else 0
    counted: list[_Line] = []
    fault = _gap(parsed[first:])
    tail = 0
    for at in range(first, len(parsed)) if fault is None else ():
        after = parsed[at + 1] if at + 1 < len(parsed) else None
        kept, fault = _kept(parsed[at], after)
        counted += kept
        tail = len(kept)
        if fault is not None:
            break
    chain = {line.digest for line in counted}
    evidence = (line.record for segment in parsed for line in _all(segment) if line.digest not in chain)
    return Reading(
        records=tuple(line.record for line in counted),
        segments=parsed[-1].number if parsed else 0,
        tail=tail,
        torn=fault is None and bool(parsed) and parsed[-1].torn,
        fault=fault,
        evidence=tuple(evidence),
    )


def _parse(number: int, data: bytes) -> _Segment:
    lines: list[_Line] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0 and (line := _line(data[start:end])):
        lines.append(line)
        start = end + 1
    return _Segment(number, tuple(lines), data[start:])


def _line(text: bytes) -> _Line | None:
    try:
        record = _record_again(text) if len(text) <= _KEPT_BYTES else Record.of_line(text)
        return _Line(record, text[:_DIGEST_CHARS].decode())
    except (ValueError, DeltasealError):
        return None


@functools.lru_cache(maxsize=1024)
def _record_again(text: bytes) -> Record:
    """As ``of_line``; a run reads its journal more than once, and a record never changes."""
    return Record.of_line(text)


def _all(segment: _Segment) -> Iterator[_Line]:
    """Every whole line, also those behind one that is not."""
    yield from segment.lines
    yield from (line for text in segment.rest.split(b"\n") if (line := _line(text)))


def _gap(segments: Sequence[_Segment]) -> Fault | None:
    if not segments:
        return Fault(1, "there is no segment")
    first = segments[0]
    start = first.number if first.opened is Opened.DAMAGE else 1
    for expected, segment in enumerate(segments, start):
        if segment.number != expected:
            return Fault(expected, "this segment is missing")
    if first.opened not in (Opened.FIRST, Opened.DAMAGE):
        return Fault(first.number, "it does not begin with the checkpoint of a first segment")
    if first.opened is Opened.FIRST and (first.lines[0].record.n, first.lines[0].record.prev) != (1, ""):
        return Fault(first.number, "its first record is not the first of a journal")
    return None


def _kept(segment: _Segment, after: _Segment | None) -> tuple[tuple[_Line, ...], Fault | None]:
    """Return the lines of a segment that count, judged by itself and by the checkpoint after it."""
    whole = tuple(_chained(segment.lines))
    if whole != segment.lines or len(whole) > SEGMENT_RECORDS:
        return whole[:SEGMENT_RECORDS], Fault(
            segment.number, f"record {len(whole) + 1} of it does not follow"
        )
    if after is None:
        bad = bool(segment.rest) and not segment.torn
        return whole, Fault(segment.number, f"line {len(whole) + 1} of it was edited") if bad else None
    if after.opened in (None, Opened.FIRST):
        return whole, Fault(after.number, "it does not begin with a checkpoint that follows")
    checkpoint = after.lines[0].record
    named = next((at for at, line in enumerate(whole, 1) if line.digest == checkpoint.prev), 0)
    if not named or checkpoint.n != whole[named - 1].record.n + 1:
        return whole, Fault(segment.number, "the record that the next segment names is not there")
    if after.opened is Opened.FULL and (named != len(whole) or segment.rest):
        return whole, Fault(segment.number, "something follows the last record that the next segment names")
    return whole[:named], None


def _chained(lines: Sequence[_Line]) -> Iterator[_Line]:
    before: _Line | None = None
    for line in lines:
        record = line.record
        if before is not None and (record.n != before.record.n + 1 or record.prev != before.digest):
            return
        if before is not None and record.event is Event.CHECKPOINT:
            return
        yield line
        before = line
