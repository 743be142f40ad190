"""A look at the whole device that changes nothing: journal, pointer, live slot, baseline."""

from __future__ import annotations

from collections.abc import Iterator

from deltaseal.device.journal import add_up, describe, read_journal
from deltaseal.device.ledger import Base, Improvement, Ledger, Rebase
from deltaseal.device.record import Reading
from deltaseal.device.recovery import classify
from deltaseal.device.states import RECOVERY, SWITCHED, Answer, State
from deltaseal.device.store import BASELINE, JOURNAL, Store, slot_name
from deltaseal.errors import DamagedError
from deltaseal.report import Finding

__all__ = ["findings_of"]


def findings_of(store: Store) -> Iterator[Finding]:
    """Everything that is not as the device's own record says, the journal first."""
    with store.inside(JOURNAL) as at:
        reading = read_journal(store.disk, at)
    if reading.fault is not None:
        yield Finding("E_DAMAGED", "journal", describe(reading.fault), {"segment": reading.fault.segment})
    yield from _by_record(store, reading)


def _by_record(store: Store, reading: Reading) -> Iterator[Finding]:
    """Held against what the whole records before any damage say; nothing, if there is none."""
    try:
        ledger = add_up(reading)
    except DamagedError as error:
        yield Finding(error.reason, "journal", error.sentence, error.facts)
        return
    if ledger.base is None:
        return
    if ledger.state is State.BROKEN:
        yield Finding("BROKEN", "device", "no slot of this device has a good digest; it needs a rebase")
    if ledger.rebase is not None:
        yield from _rebase(store, ledger.rebase)
        return
    yield from _pointer(store, ledger)
    live = ledger.work if ledger.state in SWITCHED else ledger.active
    if live is not None:
        yield from _live(store, live, ledger.base)
    for name, found in store.baseline_faults(ledger.base).items():
        expected = ledger.base.found[name]
        yield _damaged(f"baseline {name}", BASELINE, name, expected, found)


def _pointer(store: Store, ledger: Ledger) -> Iterator[Finding]:
    pointer = store.pointer()
    answer = RECOVERY[ledger.state][classify(ledger, pointer)]
    moved = answer is Answer.BACK_AGAIN and ledger.state is not State.ROLLING_BACK
    if moved or answer in (Answer.ADOPT, Answer.REPAIR, Answer.TO_BASELINE):
        where = pointer or "nowhere"
        sentence = store.rescued() or f"the pointer leads to {where}, which the journal does not say"
        yield Finding("E_DAMAGED", "pointer", sentence, {"pointer": pointer, "state": ledger.state.value})


def _rebase(store: Store, rebase: Rebase) -> Iterator[Finding]:
    """A rebase that was cut off: what it goes on from, not what it is about to replace."""
    place = slot_name(rebase.slot)
    for name, found in store.slot_faults(rebase.slot, rebase.base.found, rebase.base).items():
        yield _damaged(f"new base {name}", place, name, rebase.base.found[name], found)


def _live(store: Store, live: Improvement, base: Base) -> Iterator[Finding]:
    for name, found in store.slot_faults(live.slot, live.trees, base).items():
        expected = live.trees.get(name, "the link to the baseline")
        yield _damaged(f"live {name}", slot_name(live.slot), name, expected, found)


def _damaged(what: str, holder: str, component: str, expected: str, found: str) -> Finding:
    sentence = f"{what} differs from the device's record: expected {expected[:12]}…, found {found[:80]}"
    facts = {"component": component, "expected": expected, "found": found, "place": holder}
    return Finding("E_DAMAGED", what, sentence, facts)
