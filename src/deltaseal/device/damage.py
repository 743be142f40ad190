"""A journal that was edited or cut: kept as evidence, and the device proved anew by its bytes.

Invariants:

1. No byte of the old segments is changed.
2. The new segment starts with the larger floors: the highest that any whole record names, also of those that
   no longer count, so that damage never lets an older improvement in. Open nonces are forgotten: one of them
   may have been spent by a record that was lost.
3. What is in use is only believed after its digests were verified, by the slot's own signed manifest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NoReturn

from deltaseal.device.create import base_of
from deltaseal.device.journal import Journal, describe, whole_records
from deltaseal.device.ledger import Base, Improvement, Ledger, Reached, Rebase, Switch, fold
from deltaseal.device.record import Opened, Reading, Record
from deltaseal.device.states import State
from deltaseal.device.store import BASE_DOCUMENT, BASELINE, Store
from deltaseal.device.taken import base_from_slot, taken_from_slot
from deltaseal.edge import Edge
from deltaseal.errors import DamagedError, DeltasealError
from deltaseal.manifest import verify_base
from deltaseal.storage import Dir
from deltaseal.trust import Trust, UnverifiedDocument

__all__ = ["mend_journal"]


def mend_journal(store: Store, at: Dir, edge: Edge, trust: Trust, reading: Reading) -> NoReturn:
    """Open a new segment with what can still be proved. Raises ``DamagedError``, this once."""
    assert reading.fault is not None, "there is damage"
    fault = describe(reading.fault)
    before = _lenient(reading.records)
    known = _larger(before, [before, *_states(whole_records(reading))])
    base = known.base or _base_of_document(store, trust)
    proved = _proved(store, edge, trust, replace(known, base=base), base, before)
    journal = Journal(store.disk, at, now=edge.now, reading=reading, ledger=proved)
    journal.start(Opened.DAMAGE, proved, fault=fault)
    raise DamagedError(
        f"{fault}; it was kept as evidence, the device was verified and stands at {proved.state}",
        hint="run the same command again; look at `deltaseal device history`",
        segment=reading.fault.segment,
        state=proved.state.value,
    )


def _states(records: Iterable[Record]) -> Iterable[Ledger]:
    """The ledger after each whole record, as far as it adds up."""
    ledger = Ledger()
    for record in records:
        ledger = _folded(ledger, record)
        yield ledger


def _lenient(records: Iterable[Record]) -> Ledger:
    ledger = Ledger()
    for record in records:
        ledger = _folded(ledger, record)
    return ledger


def _folded(ledger: Ledger, record: Record) -> Ledger:
    try:
        return fold(ledger, record)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ledger


def _larger(before: Ledger, ledgers: list[Ledger]) -> Ledger:
    reached: dict[str, Reached] = {}
    for ledger in ledgers:
        for epoch, each in ledger.reached.items():
            if epoch not in reached or each.sequence > reached[epoch].sequence:
                reached[epoch] = each
    newest = max(ledgers, key=lambda ledger: (ledger.epoch, ledger.serial))
    binding = [ledger for ledger in ledgers if ledger.epoch == newest.epoch]
    return replace(
        before,
        base=next((ledger.base for ledger in ledgers if ledger.base), None),
        reached=reached,
        minimum=max(ledger.minimum for ledger in binding),
        clock_floor=max(ledger.clock_floor for ledger in binding),
        epoch=newest.epoch,
        serial=newest.serial,
        catalogue=newest.catalogue,
        withdrawn={name: order for ledger in ledgers for name, order in ledger.withdrawn.items()},
        holds={name: hold for ledger in ledgers for name, hold in ledger.holds.items()},
        removed={name: time for ledger in ledgers for name, time in ledger.removed.items()},
        spent=tuple(dict.fromkeys(nonce for ledger in ledgers for nonce in ledger.spent)),
        nonces=(),
        slots=max(ledger.slots for ledger in ledgers),
        retry=None,
    )


def _base_of_document(store: Store, trust: Trust) -> Base:
    """For want of any record: the signed base, and what it declares as what was found."""
    document = UnverifiedDocument.loads(store.read(BASE_DOCUMENT))
    base = verify_base(document, trust, now=0).value
    return base_of(base, dict(base.components))


def _proved(store: Store, edge: Edge, trust: Trust, known: Ledger, base: Base, before: Ledger) -> Ledger:
    """Where the device stands, by its pointer and its bytes."""
    known = replace(known, slots=max([known.slots, *store.slots()]), active=None, work=None, rebase=None)
    baseline_good = not store.baseline_faults(base)
    pointer = store.pointer()
    if pointer == BASELINE:
        return replace(known, state=State.BASELINE if baseline_good else State.BROKEN)
    switch = known.switch or Switch(edge.boot_id, edge.now(), "relaunch", [])
    if pointer is not None:
        try:
            number = int(pointer.rpartition("-")[2])
            rebased = base_from_slot(store, trust, number)
            if rebased is not None:
                rebase = Rebase(rebased, number)
                return replace(known, state=State.REBASING, rebase=rebase, switch=switch)
            found = taken_from_slot(store, trust, base, number)
            return _in_use(known, found, before, edge)
        except DeltasealError:
            pass  # not provable: the baseline, if that is good
    return replace(known, state=State.REMOVING if baseline_good else State.BROKEN, switch=switch)


def _in_use(known: Ledger, found: Improvement, before: Ledger, edge: Edge) -> Ledger:
    """Confirmed, if the records before the damage say so of the same bundle; else to be tried anew."""
    confirmed = before.active
    if confirmed is not None and (confirmed.bundle, confirmed.slot) == (found.bundle, found.slot):
        return replace(known, state=State.ACTIVE, active=confirmed)
    switch = Switch(edge.boot_id, edge.now(), found.activation, found.processes)
    return replace(known, state=State.WAITING, work=found, switch=switch)
