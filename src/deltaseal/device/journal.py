"""The journal on the disk. Format: docs/spec/store.md, sections 3 and 4.

Invariants of writing:

1. When :meth:`Journal.append` returns, the record is durable: its file is synced, and so is the file's name.
2. A segment never lacks its first record: it is written whole under a temporary name, synced and renamed.
3. After a failed write or sync nothing is ever appended to that segment. The next record goes behind a
   checkpoint into a new one, which names the last record known to be durable; what follows that one in the
   old segment counts for nothing.
4. A record is only written if the state table has a row for it.
5. Nothing in the journal's folder is ever changed or removed: a damaged segment stays as evidence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from deltaseal.device.ledger import Ledger, fold
from deltaseal.device.record import SEGMENT_BYTES, SEGMENT_RECORDS, Fault, Opened, Reading, Record, follow
from deltaseal.device.states import Event, State, allows
from deltaseal.errors import DamagedError, StorageError
from deltaseal.storage import Dir, Disk, read_file, write_file

__all__ = ["Journal", "add_up", "describe", "read_journal", "whole_records"]

_SEGMENT: Final = re.compile(r"[0-9]{8}")


def read_journal(disk: Disk, at: Dir) -> Reading:
    """Read all segments in ``at``. Damage is told in the reading, not raised."""
    names = [name for name in disk.names(at) if _SEGMENT.fullmatch(name)]
    return follow([(int(name), read_file(disk, at, name, limit=SEGMENT_BYTES)) for name in names])


def add_up(reading: Reading) -> Ledger:
    """Return what the records that count add up to. Raises ``DamagedError`` where one does not add up."""
    return _added_up(reading.records)


@functools.lru_cache(maxsize=16)
def _added_up(records: tuple[Record, ...]) -> Ledger:
    """A run reads its journal more than once, and neither a record nor a ledger ever changes."""
    ledger = Ledger()
    for record in records:
        try:
            ledger = fold(ledger, record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(
                f"journal record {record.n} ({record.event}) cannot be read", record=record.n
            ) from error
    return ledger


class Journal:
    """The journal of one device, open for writing, with the ledger that its records add up to."""

    def __init__(
        self, disk: Disk, at: Dir, *, now: Callable[[], int], reading: Reading, ledger: Ledger
    ) -> None:
        self._disk = disk
        self._at = at
        self._now = now
        self._segment = reading.segments
        self._tail = reading.tail
        self._last = reading.records[-1] if reading.records else None
        self._ledger = ledger
        self._reopen: Opened | None = Opened.TORN if reading.torn else None

    @property
    def ledger(self) -> Ledger:
        """What the device knows after the last record."""
        return self._ledger

    @property
    def last(self) -> Record | None:
        """The last record."""
        return self._last

    def append(
        self,
        event: Event,
        state: State,
        *,
        id: str = "",
        bundle: str = "",
        attempt: int | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Ledger:
        """Write a record, durably, and return what is known after it.

        Raises ``SpaceError`` or ``StorageError`` if it could not be made durable: then nothing may be done.
        """
        if not allows(self._ledger.state, event, state):
            raise AssertionError(
                f"the state table has no row from {self._ledger.state} by {event} to {state}"
            )
        tried = self._ledger.attempts.get(id, 0) if attempt is None else attempt
        make = _Maker(self._now(), event, state, id, bundle, tried, facts or {})
        after = fold(self._ledger, make(None))
        if self._reopen is None and self._tail >= SEGMENT_RECORDS:
            self._reopen = Opened.FULL
        if self._reopen is None:
            self._extend(make)
        if self._reopen is not None:
            self._open_segment(self._reopen, make)
        self._ledger = after
        return after

    def start(self, opened: Opened, ledger: Ledger, **facts: Any) -> None:
        """Open a segment that begins with ``ledger``: of a new device, or after damage."""
        self._ledger = ledger
        self._open_segment(opened, None, **facts)

    def settle(self) -> None:
        """Make durable what was read: a killed process may have left a record that is not yet kept."""
        if self._reopen is None:
            with self._disk.open_append(self._at, _name(self._segment)) as file:
                self._disk.sync(file)
            self._disk.sync_dir(self._at)

    def _extend(self, make: _Maker) -> None:
        """Append to the last segment; if the bytes may not be durable, mark it as ended (invariant 3)."""
        record = make(self._last)
        line = record.line
        with self._disk.open_append(self._at, _name(self._segment)) as file:
            try:
                file.write(line)
            except Exception:
                self._reopen = Opened.TORN
                raise
            try:
                self._disk.sync(file)
            except StorageError:
                self._reopen = Opened.UNSYNCED
                return
        self._last = record
        self._tail += 1

    def _open_segment(self, opened: Opened, make: _Maker | None, **facts: Any) -> None:
        """Write a new segment: its checkpoint and, behind it, a record that waits."""
        facts = {"opened": opened.value, "ledger": self._ledger.to_json(), **facts}
        checkpoint = _Maker(self._now(), Event.CHECKPOINT, self._ledger.state, facts=facts)(self._last)
        records = [checkpoint] if make is None else [checkpoint, make(checkpoint)]
        data = b"".join(record.line for record in records)
        write_file(self._disk, self._at, _name(self._segment + 1), data)
        self._segment += 1
        self._tail = len(records)
        self._last = records[-1]
        self._reopen = None


class _Maker:
    """A record that waits for its place in the chain."""

    def __init__(
        self,
        time: int,
        event: Event,
        state: State,
        id: str = "",
        bundle: str = "",
        attempt: int = 0,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.time = time
        self._record = Record(1, "", time, state, event, id, bundle, attempt, facts or {})

    def __call__(self, before: Record | None) -> Record:
        if before is None:
            return self._record
        return replace(self._record, n=before.n + 1, prev=before.digest)


def _name(segment: int) -> str:
    return f"{segment:08d}"


def whole_records(reading: Reading) -> Iterable[Record]:
    """Every record that is whole, evidence too, in the order of their numbers."""
    return sorted((*reading.evidence, *reading.records), key=lambda record: (record.n, record.time))


def describe(fault: Fault) -> str:
    """A fault as a sentence."""
    return f"journal segment {fault.segment}: {fault.what}"
