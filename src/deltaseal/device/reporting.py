"""Reports of this device: made when there is news, kept until they are sent (docs/spec/reports.md).

Invariants:

1. A sequence number is durable before the report that has it exists, so none is ever given twice.
2. A report leaves the queue only after whoever it was sent to has taken it over.
3. Whatever fails here never fails an update: the caller is told in words.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deltaseal.device.journal import add_up, read_journal
from deltaseal.device.ledger import Ledger
from deltaseal.device.record import Record
from deltaseal.device.states import SWITCHED, Event
from deltaseal.device.store import JOURNAL, Store
from deltaseal.edge import Edge
from deltaseal.errors import DeltasealError
from deltaseal.report import BATCH_BYTES, BATCH_REPORTS, Blocked, Enrolment, Held, Report, Timings
from deltaseal.storage import Disk, MissingError, RealDisk, read_file, write_file, write_output
from deltaseal.trust import strict_json

if TYPE_CHECKING:
    from deltaseal.device.watch import Look

__all__ = ["QUEUE", "enrolment_of", "report_look"]

QUEUE: Final = "reports"  # in the store: what was not sent yet, and the last number
DAY: Final = 86_400  # seconds: a device that is well is heard of once a day
SEND_SECONDS: Final = 20

_LAST: Final = "last"
_LAST_BYTES: Final = 4096
_NOTHING: Final = {"digest": "", "sequence": 0, "time": 0}

_STEPS: Final = {
    Event.FETCHED: "fetched",
    Event.STAGED: "staged",
    Event.GO: "go",
    Event.IN_USE: "in-use",
    Event.HEALTHY: "healthy",
    Event.UNHEALTHY: "unhealthy",
    Event.CRASHED: "crashed",
}

_WHY: Final = {
    "E_WITHDRAWN": "withdrawn",
    "E_BATTERY": "battery",
    "E_SPACE": "space",
    "E_NET": "network",
    "E_BASE": "base",
    "E_MODEL": "model",
    "E_EXPIRED": "expired",
    "E_HELD": "held",
    "ROLLED_BACK": "held",
    "E_POLICY": "policy",
}


def enrolment_of(store: Store, edge: Edge) -> bytes:
    """The device's enrolment, signed with its own key."""
    key, identity = store.key(), store.identity()
    with store.inside(JOURNAL) as at:
        base = add_up(read_journal(store.disk, at)).base
    assert base is not None, "a journal begins with the base"
    enrolment = Enrolment(identity.id, key.public, base.os, identity.model, edge.now())
    return enrolment.signed(key).to_bytes()


def report_look(path: Path, look: Look, to: Sequence[str], edge: Edge, *, disk: Disk | None = None) -> str:
    """Make a report if there is news, and send what waits to each of ``to``; return what went wrong.

    An address begins with ``http://`` or ``https://``; anything else is a folder. Nothing is raised.
    """
    try:
        with Store.open(disk or RealDisk(), path) as store, store.locked():
            queue = _Queue(store)
            with store.inside(JOURNAL) as at:
                reading = read_journal(store.disk, at)
            if reading.fault is None:
                queue.add_news(reading.records, add_up(reading), look, edge)
            return queue.send(to, edge)
    except DeltasealError as error:
        return f"no report: {error.sentence}"


class _Queue:
    """The reports that wait, in the store; whoever uses it holds the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with contextlib.suppress(DeltasealError):
            store.disk.make_dir(store.root, QUEUE, 0o700).close()

    def add_news(self, records: Sequence[Record], ledger: Ledger, look: Look, edge: Edge) -> None:
        """Queue a report where something changed, or the last one is a day old."""
        last, now = self._last(), edge.now()
        report = _report(self._store, records, ledger, look, sequence=last["sequence"] + 1, now=now)
        digest = hashlib.sha256(strict_json.dumps(report.news())).hexdigest()
        if digest == last["digest"] and 0 <= now - last["time"] < DAY:
            return
        document = report.signed(self._store.key()).to_bytes()
        values = {"digest": digest, "sequence": report.sequence, "time": now}
        disk = self._store.disk
        with self._store.inside(QUEUE) as at:
            write_file(disk, at, _LAST, strict_json.dumps(values), mode=0o600)
            write_file(disk, at, f"{report.sequence:012d}", document, mode=0o600)
            for name in self._names()[:-BATCH_REPORTS]:
                disk.unlink(at, name)

    def send(self, to: Sequence[str], edge: Edge) -> str:
        """Send what waits, as one batch, to each address; drop it once all have it."""
        names = self._names()
        batch = self._batch(names)
        if not batch or not to:
            return ""
        failures = [failed for address in to if (failed := self._deliver(address, names, batch, edge))]
        if failures:
            return "; ".join(failures)
        with self._store.inside(QUEUE) as at:
            for name in names:
                self._store.disk.unlink(at, name)
            self._store.disk.sync_dir(at)
        return ""

    def _deliver(self, address: str, names: Sequence[str], batch: bytes, edge: Edge) -> str:
        try:
            if address.startswith(("http://", "https://")):
                edge.post(address, batch, SEND_SECONDS)
            else:
                device = self._store.identity().id
                name = f"{device}-{names[0]}-{names[-1]}.reports"
                write_output(Path(address) / name, [batch], force=True)
        except DeltasealError as error:
            return f"reports wait, {address} did not take them: {error.sentence}"
        return ""

    def _batch(self, names: Sequence[str]) -> bytes:
        with self._store.inside(QUEUE) as at:
            parts = [read_file(self._store.disk, at, name, limit=BATCH_BYTES) for name in names]
        return b"".join(parts)

    def _names(self) -> list[str]:
        with self._store.inside(QUEUE) as at:
            return [name for name in self._store.disk.names(at) if name.isascii() and name.isdigit()]

    def _last(self) -> dict[str, Any]:
        try:
            with self._store.inside(QUEUE) as at:
                return strict_json.loads(read_file(self._store.disk, at, _LAST, limit=_LAST_BYTES))
        except MissingError:
            return dict(_NOTHING)


def _report(
    store: Store, records: Sequence[Record], ledger: Ledger, look: Look, *, sequence: int, now: int
) -> Report:
    base, identity, active, work = ledger.base, store.identity(), ledger.active, ledger.work
    assert base is not None, "a journal begins with the base"
    pending = look.status.pending if look.status else None
    if active is not None and ledger.state in SWITCHED and work is not None and active.id == work.id:
        active = None  # applied again by a person: on trial until it is confirmed
    return Report(
        device=identity.id,
        sequence=sequence,
        time=now,
        os=base.os,
        version=base.version,
        build=base.build,
        model=identity.model,
        channel=identity.channel,
        state=ledger.state.value,
        journal_n=records[-1].n,
        journal_head=records[-1].digest,
        catalogue=ledger.serial,
        active=active.id if active else "",
        since=active.since if active else 0,
        work=work.id if work else "",
        pending=pending.what if pending else "",
        holds=tuple(Held(id, hold.reason, hold.time) for id, hold in ledger.holds.items()),
        removed=tuple(ledger.removed),
        withdrawn=tuple(ledger.withdrawn),
        attempts=ledger.attempts,
        blocked=_blocked(look),
        timings=_timings(records),
    )


def _blocked(look: Look) -> Blocked | None:
    error = look.error
    if error is None:
        problems = look.status.problems if look.status else ()
        waits = next((one for one in problems if one.kind == "retry"), None)
        return Blocked(waits.reason, _WHY.get(waits.reason, "other")) if waits else None
    why = _WHY.get(error.reason, "other")
    if error.reason == "E_POLICY":
        why = next((word for fact, word in _BY_FACT.items() if fact in error.facts), why)
    elif error.reason == "E_HELD" and error.facts.get("why") == "removed":
        why = "removed"
    return Blocked(error.reason, why)


# The facts that deltaseal.manifest.rules gives with each E_POLICY.
_BY_FACT: Final = {"phase": "phase", "paused": "paused", "expected": "channel"}


def _timings(records: Sequence[Record]) -> Timings | None:
    offered = next((at for at in range(len(records) - 1, -1, -1) if records[at].event is Event.OFFER), None)
    if offered is None:
        return None
    start = records[offered]
    steps: dict[str, int] = {}
    fetched = 0
    for record in records[offered + 1 :]:
        if record.id == start.id and (step := _STEPS.get(record.event)):
            steps[step] = max(0, record.time - start.time)
            fetched = int(record.facts.get("fetched", fetched)) if record.event is Event.STAGED else fetched
    return Timings(start.id, fetched, steps)
