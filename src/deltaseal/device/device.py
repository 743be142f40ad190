"""A device: the verbs. Each opens the store, does one thing, and closes it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from deltaseal.device.create import create_store
from deltaseal.device.exports import audit_of, known_fixes
from deltaseal.device.history import entries
from deltaseal.device.journal import add_up, describe, read_journal, whole_records
from deltaseal.device.ledger import Ledger
from deltaseal.device.metadata import bound_to_store, refreshed
from deltaseal.device.processes import processes_of
from deltaseal.device.rebase import start_rebase
from deltaseal.device.record import Reading
from deltaseal.device.recovery import updating
from deltaseal.device.removal import mend, take_off
from deltaseal.device.reporting import enrolment_of
from deltaseal.device.states import Event
from deltaseal.device.status import status_of
from deltaseal.device.store import JOURNAL, Identity, Store
from deltaseal.device.update import take
from deltaseal.device.updater import Progress, Updater
from deltaseal.device.verify import findings_of
from deltaseal.edge import Edge
from deltaseal.errors import DamagedError, DeltasealError
from deltaseal.manifest import Personal, Policy, Request
from deltaseal.repo import Source
from deltaseal.report import Entry, Finding, KnownFix, Processes, Status
from deltaseal.storage import Disk, RealDisk
from deltaseal.trust import Trust, UnverifiedDocument

__all__ = ["Device", "create", "open_device"]


def _silent(what: str, done: int, total: int) -> None:
    """Progress for nobody."""


class Device:
    """A device in a folder. Holds no state of its own: every verb reads the journal again.

    Verbs that write take the lock (``LockedError``), recover first, and raise ``BrokenError`` in state
    BROKEN. Every refusal is a ``DeltasealError`` with its reason, a sentence and the facts that decided it.
    """

    def __init__(
        self, path: Path, *, edge: Edge, disk: Disk | None = None, progress: Progress = _silent
    ) -> None:
        self._path = path
        self._edge = edge
        self._disk: Disk = RealDisk() if disk is None else disk
        self._progress = progress

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def identity(self) -> Identity:
        """Who the device is."""
        with self._reading() as store:
            return store.identity()

    def request(self) -> Request:
        """Make a fresh nonce, journal it, and return the request for a device manifest of its own (R7)."""
        with self._updating() as up:
            up.refuse_if_broken()
            nonce = self._edge.random(16).hex()
            up.record(Event.REQUEST, up.ledger.state, None, nonce=nonce)
            return Request(Personal(up.identity.id, nonce), up.base.os, up.identity.model, up.base.build)

    def update(self, sources: Sequence[Source]) -> Status:
        """Take the highest letter that the sources offer and the policy lets in by itself.

        Raises ``NothingToDo`` if there is none for this device or it is applied already, ``RolledBackError``
        if it failed its trial; the reason of the offer that got furthest if none passed.
        """
        with self._updating() as up:
            up, asked, failure = refreshed(up, sources)
            take(up, asked, failure=failure)
            return _status(up)

    def install(self, id: str, sources: Sequence[Source], *, retry: bool = False) -> Status:
        """Take one improvement because a person asks for it; with ``retry`` also one that is held."""
        with self._updating() as up:
            up, asked, failure = refreshed(up, sources)
            take(up, asked, id=id, retry=retry, failure=failure)
            return _status(up)

    def remove(self) -> Status:
        """Go back to the baseline; offline, and on a full disk. Raises ``NothingToDo`` on the baseline."""
        with self._updating() as up:
            take_off(up)
            return _status(up)

    def recover(self) -> Status:
        """Mend what a cut or damage left, verify what is in use, leave it if it is damaged."""
        with self._updating() as up:
            mend(up)
            return _status(up)

    def rebase(self, base: UnverifiedDocument, trees: Path) -> Status:
        """Put the device on a signed base with the components in ``trees``, also out of BROKEN.

        What is applied ends with it, and what was held or removed on another base is forgotten (R11). Raises
        as :func:`deltaseal.device.rebase.start_rebase`.
        """
        with self._updating(even_broken=True) as up:
            start_rebase(up, base, trees)
            return _status(up)

    def status(self) -> Status:
        """What the device is, has and waits for. Changes nothing."""
        with self._reading() as store:
            ledger = self._ledger(store)
            try:
                policy: Policy | DeltasealError = store.policy()
            except (
                DeltasealError
            ) as error:  # a device can say what it has even to who may not read its policy
                policy = error
            return status_of(store, ledger, self._edge, policy=policy, epoch=store.trust().epoch)

    def processes(self) -> Processes:
        """Which running processes use what was replaced, and what to start again. Changes nothing."""
        with self._reading() as store:
            reading = self._sound(store)
            return processes_of(store, reading.records, add_up(reading), self._edge)

    def history(self) -> tuple[Entry, ...]:
        """What happened, oldest first, from the journal; evidence from before a damage is part of it."""
        with self._reading() as store:
            return tuple(entries(whole_records(self._sound(store))))

    def verify(self) -> tuple[Finding, ...]:
        """Hash everything and compare it with the device's own record. Changes nothing."""
        with self._reading() as store:
            return tuple(findings_of(store))

    def audit(self) -> tuple[bytes, ...]:
        """The journal as the lines of a signed audit, what is left of a damaged one too."""
        with self._reading() as store:
            with store.inside(JOURNAL) as at:
                reading = read_journal(self._disk, at)
            return audit_of(store, reading, self._edge)

    def enrolment(self) -> bytes:
        """Who this device is and which key is its own, signed with that key: what its fleet enrols."""
        with self._reading() as store:
            return enrolment_of(store, self._edge)

    def known_fixes(self, sources: Sequence[Source] = ()) -> tuple[KnownFix, ...]:
        """The fixes that this device has heard of: in its journal, and in the catalogues of the sources.

        Raises as the check of a catalogue does: an old or foreign one says nothing here.
        """
        with self._reading() as store:
            reading = self._sound(store)
            bound = bound_to_store(store, sources, self._edge.now())
            return known_fixes(store, reading.records, add_up(reading), self._edge, bound)

    def _updating(self, *, even_broken: bool = False) -> AbstractContextManager[Updater]:
        return updating(self._path, self._disk, self._edge, progress=self._progress, even_broken=even_broken)

    def _reading(self) -> Store:
        return Store.open(self._disk, self._path)

    def _ledger(self, store: Store) -> Ledger:
        return add_up(self._sound(store))

    def _sound(self, store: Store) -> Reading:
        with store.inside(JOURNAL) as at:
            reading = read_journal(self._disk, at)
        if reading.fault is not None:
            raise DamagedError(
                describe(reading.fault),
                hint="run `deltaseal device recover`",
                segment=reading.fault.segment,
            )
        return reading


def _status(up: Updater) -> Status:
    return status_of(up.store, up.ledger, up.edge, policy=up.policy, epoch=up.trust.epoch)


def open_device(path: Path, *, edge: Edge, disk: Disk | None = None, progress: Progress = _silent) -> Device:
    """Open the device at ``path``. Raises ``UsageError`` if there is none."""
    device = Device(path, edge=edge, disk=disk, progress=progress)
    device.identity()
    return device


def create(
    path: Path,
    *,
    base: UnverifiedDocument,
    trees: Path,
    trust: Trust,
    model: str,
    channel: str = "stable",
    edge: Edge,
    disk: Disk | None = None,
    progress: Progress = _silent,
    metadata: Mapping[str, bytes] | None = None,
) -> Device:
    """Make a device on a signed base, with the trees that are found in ``trees``, and a random id.

    Trees that differ from what the base declares are recorded as they are; ``status`` says so, and every
    offer is refused with E_BASE. A device that is to believe a repository gets ``trust`` and ``metadata``
    from :func:`deltaseal.repo.first_files`. Raises as :func:`deltaseal.device.create.create_store`.
    """
    device = Device(path, edge=edge, disk=disk, progress=progress)
    create_store(
        path,
        base=base,
        trees=trees,
        trust=trust,
        model=model,
        channel=channel,
        edge=edge,
        disk=device._disk,
        metadata=metadata,
    )
    return device
