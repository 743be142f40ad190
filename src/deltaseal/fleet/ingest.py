"""Taking reports in: verified, counted once, kept (docs/spec/reports.md, section 5).

Invariants:

1. A report changes what is known of its device in the very transaction that keeps it.
2. Memory is bounded by one window and one transaction, whatever comes in.
3. A file is reported as done only after all that counted of it is durable.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from deltaseal.errors import (
    BaseMismatchError,
    DeltasealError,
    DeviceError,
    LimitError,
    ModelError,
    SequenceError,
    SignatureError,
)
from deltaseal.fleet.store import SILENT_AFTER, Fleet
from deltaseal.report import Report, verify_report
from deltaseal.report.signed import only_signature
from deltaseal.storage import ByteSource
from deltaseal.trust import MAX_DOCUMENT, PublicKey, UnverifiedDocument

__all__ = ["Ingested", "Refusal", "documents_of", "ingest"]

AHEAD: Final = 86_400  # seconds that a report may be dated after the fleet's clock
IN_ONE: Final = 5_000  # reports of one transaction
SHOWN: Final = 20  # refusals that are told one by one; all are counted

_WINDOW: Final = 4 * MAX_DOCUMENT
_FIND: Final = (
    "SELECT number, device, key, os, model, sequence, journal, head, heard, build, channel, active, work,"
    " holds, removed, why FROM devices WHERE hint = ?"
)
_COUNTED: Final = "SELECT body FROM reports WHERE device = ? AND sequence = ?"
_KEEP: Final = "INSERT INTO reports VALUES (?, ?, ?, ?, ?)"
_UPDATE: Final = (
    "UPDATE devices SET sequence = ?, heard = ?, version = ?, build = ?, channel = ?, state = ?,"
    " journal = ?, head = ?, active = ?, work = ?, pending = ?, holds = ?, removed = ?, loops = ?, why = ?,"
    " reason = ? WHERE number = ?"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A report that does not count, and why."""

    where: str  # the file
    error: DeltasealError

    def to_json(self) -> dict[str, Any]:
        """The refusal as JSON values."""
        return {"file": self.where, **self.error.to_json()}


@dataclass(slots=True)
class Ingested:
    """What came of it."""

    counted: int = 0
    duplicates: int = 0
    files: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by reason code
    refusals: list[Refusal] = field(default_factory=list)  # the first ones

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "counted": self.counted,
            "duplicates": self.duplicates,
            "files": self.files,
            "refused": dict(self.refused),
            "refusals": [one.to_json() for one in self.refusals],
        }


@dataclass(frozen=True, slots=True)
class _Known:
    number: int
    device: str
    key: bytes
    os: str
    model: str
    sequence: int
    journal: int
    head: str
    heard: int
    build: str
    channel: str
    active: str
    work: str
    holds: str
    removed: str
    why: str

    @property
    def state(self) -> tuple[str, ...]:
        """That by which it is told whether it is open, and why."""
        return (self.build, self.channel, self.active, self.work, self.holds, self.removed, self.why)


def documents_of(source: ByteSource) -> Iterator[UnverifiedDocument]:
    """The documents of a file, whatever its size, in windows. Raises the framing's error where it ends."""
    size, offset = source.size(), 0
    while offset < size:
        window = memoryview(source.read_at(offset, min(_WINDOW, size - offset)))
        whole = offset + len(window) == size
        used = 0
        while used < len(window) and (whole or len(window) - used >= MAX_DOCUMENT):
            document, length = UnverifiedDocument.parse(window[used:])
            yield document
            used += length
        offset += used


def ingest(
    fleet: Fleet,
    files: Iterable[tuple[str, Callable[[], Iterator[UnverifiedDocument]]]],
    *,
    now: int,
    done: Callable[[str], None] = lambda name: None,
) -> Ingested:
    """Take in the reports of many files; each is named and read when its turn comes.

    Bad reports are counted and told, never raised. Errors of the fleet's own file are raised
    (``SpaceError``, ``LockedError``): what was not durable then is taken in by the next run, nothing twice.
    ``done`` is told each file whose reports are durable.
    """
    result = Ingested()
    waiting: list[str] = []
    todo = _reports(files, waiting, result, now)
    more = True
    while more:
        taken = Ingested()
        with fleet.writing() as write:
            more = _take_some(write, todo, taken, now)
        _add(result, taken)
        while len(waiting) > (1 if more else 0):  # the last one may be half read
            result.files += 1
            done(waiting.pop(0))
    return result


_Read = tuple[str, UnverifiedDocument | DeltasealError]


def _reports(
    files: Iterable[tuple[str, Callable[[], Iterator[UnverifiedDocument]]]],
    waiting: list[str],
    result: Ingested,
    now: int,
) -> Iterator[_Read]:
    for name, read in files:
        waiting.append(name)
        try:
            for document in read():
                yield name, document
        except DeltasealError as error:
            yield name, error


def _take_some(write: sqlite3.Connection, todo: Iterator[_Read], taken: Ingested, now: int) -> bool:
    """Take in so many; return whether there may be more."""
    for _ in range(IN_ONE):
        found = next(todo, None)
        if found is None:
            return False
        name, document = found
        number = 0
        try:
            if isinstance(document, DeltasealError):
                raise document
            known = _signer(write, document)
            number = known.number
            fresh = _judged(write, document, known, now)
        except DeltasealError as error:
            _refuse(write, taken, name, error, number, now)
        else:
            if fresh is None:
                taken.duplicates += 1
            else:
                _count(write, known, fresh, document, now)
                taken.counted += 1
    return True


def _signer(write: sqlite3.Connection, document: UnverifiedDocument) -> _Known:
    """The enrolled device that a report claims to come from, by the hint of its key."""
    signature = only_signature(document, Report.TYPE)
    row = write.execute(_FIND, (signature.key_hint,)).fetchone()
    if row is None:
        raise SignatureError(
            "signed by no enrolled device",
            hint="enrol the device first, or leave the report out",
            hint_of_key=signature.key_hint.hex(),
        )
    return _Known(*row)


def _judged(
    write: sqlite3.Connection, document: UnverifiedDocument, known: _Known, now: int
) -> Report | None:
    """The report, if it is one and news; ``None`` for one that was counted before."""
    report = verify_report(document, PublicKey("ed25519", known.key), known.device)
    who = f"device {known.device}"
    if report.os != known.os:
        raise BaseMismatchError(
            f"{who} was enrolled with {known.os}, it now claims {report.os}",
            hint="enrol it again if it was made anew",
            expected=known.os,
            found=report.os,
        )
    if report.model != known.model:
        raise ModelError(
            f"{who} was enrolled as {known.model}, it now claims to be {report.model}",
            hint="enrol it again if it was made anew",
            expected=known.model,
            found=report.model,
        )
    if report.time > now + AHEAD:
        raise LimitError(
            f"{who} dates its report {(report.time - now) // 3600:,} hours ahead; a day is allowed",
            hint="set the clock of the device",
            found=report.time,
            limit=now + AHEAD,
        )
    if report.sequence <= known.sequence:
        counted = write.execute(_COUNTED, (known.number, report.sequence)).fetchall()
        if (document.body,) in counted:
            return None
        raise _replayed(report, known, who) if not counted else _two_in_one(report, known, who)
    _check_moves_on(report, known, who)
    return report


def _replayed(report: Report, known: _Known, who: str) -> DeltasealError:
    return SequenceError(
        f"{who} is known up to report {known.sequence}; {report.sequence} was not counted then",
        hint="it came too late, or is replayed",
        floor=known.sequence,
        found=report.sequence,
    )


def _two_in_one(report: Report, known: _Known, who: str) -> DeltasealError:
    return DeviceError(
        f"{who} signed two different reports as number {report.sequence}",
        hint="two devices have one key; make one of them anew and enrol it",
        device=known.device,
        sequence=report.sequence,
    )


def _check_moves_on(report: Report, known: _Known, who: str) -> None:
    moved_on = report.journal_n > known.journal
    if known.build and report.build != known.build and not moved_on:
        raise DeviceError(
            f"{who} claims base {report.build} beside {known.build}: its journal has no rebase between them",
            hint="two devices have one key, or one lies; make it anew and enrol it",
            expected=known.build,
            found=report.build,
        )
    if report.journal_n == known.journal and report.journal_head != known.head:
        raise DeviceError(
            f"{who} has two different records {report.journal_n} in its journal",
            hint="two devices have one key; make one of them anew and enrol it",
            device=known.device,
        )


def _count(
    write: sqlite3.Connection, known: _Known, report: Report, document: UnverifiedDocument, now: int
) -> None:
    write.execute(_KEEP, (known.number, report.sequence, now, document.body, document.signatures[0].raw))
    blocked = report.blocked
    holds = _json({held.id: held.reason for held in report.holds})
    removed, why = _json(list(report.removed)), blocked.why if blocked else ""
    values = (
        report.sequence,
        now,
        report.version,
        report.build,
        report.channel,
        report.state,
        report.journal_n,
        report.journal_head,
        report.active,
        report.work,
        report.pending,
        holds,
        removed,
        sum(report.attempts.values()),
        why,
        blocked.reason if blocked else "",
        known.number,
    )
    write.execute(_UPDATE, values)
    state = (report.build, report.channel, report.active, report.work, holds, removed, why)
    if state != known.state:
        ids = _json([held.id for held in report.holds])
        change = (known.number, now, *state[:4], ids, removed, why)
        write.execute("INSERT OR REPLACE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", change)
    if known.heard and now - known.heard > SILENT_AFTER:
        gap = (known.number, known.heard + SILENT_AFTER, now)
        write.execute("INSERT OR REPLACE INTO silences VALUES (?, ?, ?)", gap)
    timings = report.timings
    if timings and "healthy" in timings.steps:
        row = (known.number, timings.id, timings.steps["healthy"], timings.fetched)
        write.execute("INSERT OR REPLACE INTO timings VALUES (?, ?, ?, ?)", row)


def _json(value: object) -> str:
    """As SQLite writes it too."""
    return json.dumps(value, separators=(",", ":"))


def _refuse(
    write: sqlite3.Connection, taken: Ingested, name: str, error: DeltasealError, device: int, now: int
) -> None:
    taken.refused[error.reason] += 1
    if len(taken.refusals) < SHOWN:
        taken.refusals.append(Refusal(name, error))
    write.execute(
        "INSERT INTO refusals VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT DO UPDATE SET count = count + 1, sentence = excluded.sentence",
        (now // AHEAD, error.reason, device, error.sentence[:500]),
    )


def _add(result: Ingested, taken: Ingested) -> None:
    result.counted += taken.counted
    result.duplicates += taken.duplicates
    result.refused += taken.refused
    result.refusals += taken.refusals[: SHOWN - len(result.refusals)]
