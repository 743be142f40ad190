"""What is done before anything else: mend what a power cut, damage or a rescue left behind.

(State of the last whole record, where the pointer leads) is looked up in
:data:`deltaseal.device.states.RECOVERY`; each answer there is a function here.

Invariants:

1. What was seen in the journal is made durable before anything is done because of it: a killed process may
   have left a record that is visible and not yet kept.
2. Nothing is wiped before the answer is carried out.
3. Doing it twice is the same as doing it once: a power cut during recovery is answered by recovery.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from deltaseal.device.damage import mend_journal
from deltaseal.device.journal import Journal, add_up, read_journal
from deltaseal.device.ledger import Ledger, Rebase
from deltaseal.device.rebase import NO_IMPROVEMENT, finish_rebase
from deltaseal.device.states import ATTEMPTS, RECOVERY, SWITCHED, UNDER_WAY, Answer, Event, Pointer, State
from deltaseal.device.store import BASELINE, JOURNAL, Store, holder_of, slot_name
from deltaseal.device.switch import (
    break_off,
    finish_removal,
    finish_rollback,
    finish_switch,
    give_up_work,
    remove,
    roll_back,
)
from deltaseal.device.taken import base_from_slot, taken_from_slot
from deltaseal.device.updater import Progress, Updater
from deltaseal.edge import Edge
from deltaseal.errors import BrokenError, DeltasealError
from deltaseal.storage import Disk

__all__ = ["classify", "updating"]


@contextlib.contextmanager
def updating(
    path: Path, disk: Disk, edge: Edge, *, progress: Progress, even_broken: bool = False
) -> Iterator[Updater]:
    """Open a store for writing: lock, read, mend, carry out the vendor's orders.

    Raises ``LockedError``; ``DamagedError`` once, after a damaged journal was mended; ``BrokenError`` where
    mending finds nothing good, unless ``even_broken``: who brings a new base goes on then.
    """
    with Store.open(disk, path) as store, store.locked(), store.inside(JOURNAL) as at:
        store.clear_leftovers()
        reading = read_journal(disk, at)
        identity, trust, policy = store.identity(), store.trust(), store.policy()
        if reading.fault is not None:
            mend_journal(store, at, edge, trust, reading)
        journal = Journal(disk, at, now=edge.now, reading=reading, ledger=add_up(reading))
        up = Updater(store, journal, edge, identity, trust, policy, progress)
        try:
            recover(up)
        except BrokenError:
            if not even_broken:
                raise
        obey(up)
        yield up


def recover(up: Updater) -> None:
    """Carry out the answer for the last record and the pointer, then tidy up."""
    up.journal.settle()
    rescued = up.store.rescued()
    if rescued:
        up.store.point(BASELINE)  # it was cut off between its mark and the pointer; or it is there already
    answer = RECOVERY[up.ledger.state][classify(up.ledger, up.store.pointer())]
    if rescued and up.ledger.state in SWITCHED:
        answer = Answer.TO_BASELINE  # also where the switch would be done again: it would not start again
    _ANSWERS[answer](up)
    up.store.journaled()
    if up.ledger.state is State.BROKEN:
        return
    if up.ledger.state in SWITCHED:
        up.store.await_confirmation(up.work.slot)
    else:
        up.store.confirmed()
    under_way = up.ledger.work if up.ledger.state not in (State.FETCHING, State.STAGING) else None
    up.keep_slots(up.ledger.active, under_way)
    if up.ledger.work is None and up.ledger.retry is None:
        up.store.clear_fetch()  # nothing goes on with it
    up.refill_reserve()


def obey(up: Updater) -> None:
    """Carry out withdrawals that the journal knows of and that were not carried out yet."""
    ledger = up.ledger
    in_use = ledger.work if ledger.state in SWITCHED else ledger.active
    order = ledger.withdrawn.get(in_use.id) if in_use else None
    leave = order is not None and order.action == "remove"
    if ledger.state in UNDER_WAY and (leave or up.work.id in ledger.withdrawn):
        give_up_work(up, Event.WITHDRAWN)
    if leave and up.ledger.state in (*SWITCHED, State.ACTIVE):
        remove(up, Event.WITHDRAWN)


def classify(ledger: Ledger, pointer: str | None) -> Pointer:
    """Where the pointer leads, as the ledger sees it."""
    if pointer is None:
        return Pointer.GONE
    if pointer == holder_of(ledger.active):
        return Pointer.FORMER
    if ledger.work is not None and pointer == slot_name(ledger.work.slot):
        return Pointer.NEW
    return Pointer.BASELINE if pointer == BASELINE else Pointer.OTHER


def _stay(up: Updater) -> None:
    pass


def _stage_again(up: Updater) -> None:
    up.keep_slots(up.ledger.active)


def _switch_again(up: Updater) -> None:
    work = up.work
    faults = up.store.slot_faults(work.slot, work.trees, up.base)
    if faults:
        sentence = f"the staged {', '.join(sorted(faults))} changed before the switch"
        up.record(Event.SWITCH_FAILED, up.ledger.former, work, reason="E_DIGEST", sentence=sentence)
    else:
        finish_switch(up)


def _trial_again(up: Updater) -> None:
    attempt = up.ledger.attempts.get(up.work.id, 0) + 1
    if attempt > ATTEMPTS:
        sentence = f"{up.work.id} was not confirmed in {ATTEMPTS} attempts"
        roll_back(up, Event.CRASHED, "ROLLED_BACK", sentence, attempt=attempt)
    else:
        up.record_attempt(Event.CRASHED, State.TRIAL, up.work, attempt)


def _back_again(up: Updater) -> None:
    if up.ledger.state is State.ROLLING_BACK:
        finish_rollback(up)
    else:
        roll_back(
            up,
            Event.POINTER_WON,
            "ROLLED_BACK",
            f"the pointer was found off {up.work.id} before it was confirmed",
        )


def _to_baseline(up: Updater) -> None:
    about = up.ledger.work if up.ledger.state in SWITCHED else up.ledger.active
    faults = up.store.baseline_faults(up.base)
    if faults:
        break_off(up, f"the pointer was found on the baseline, which is damaged: {', '.join(sorted(faults))}")
    up.record(
        Event.POINTER_WON,
        State.BASELINE,
        about,
        hold=True,
        reason="ROLLED_BACK",
        sentence=up.store.rescued() or "the pointer was found on the baseline; what was applied is held",
    )


def _adopt(up: Updater) -> None:
    """The pointer leads to a slot that no record names: a record was lost, and the pointer wins."""
    pointer = up.store.pointer()
    assert pointer is not None, "the pointer was classified as leading to a slot"
    number = int(pointer.rpartition("-")[2])
    try:
        base = base_from_slot(up.store, up.trust, number)
        found = NO_IMPROVEMENT if base else taken_from_slot(up.store, up.trust, up.base, number)
    except DeltasealError as error:
        _away_from(up, f"the slot in use cannot be proved: {error.sentence}")
        return
    if base:
        rebase = Rebase(base, number).to_json()
        switch = up.switch_facts(NO_IMPROVEMENT)
        up.record(Event.POINTER_WON, State.REBASING, None, rebase=rebase, switch=switch)
        finish_rebase(up)
        return
    attempt = up.ledger.attempts.get(found.id, 0) + 1
    up.record_attempt(
        Event.POINTER_WON,
        State.WAITING,
        found,
        attempt,
        improvement=found.to_json(),
        switch=up.switch_facts(found),
    )


def _repair(up: Updater) -> None:
    """There is no pointer: restore it to where the records say, if that is good."""
    wanted = up.ledger.work if up.ledger.state in SWITCHED else up.ledger.active
    if wanted is not None and not up.store.slot_faults(wanted.slot, wanted.trees, up.base):
        up.store.point(slot_name(wanted.slot))
    elif wanted is None and not up.store.baseline_faults(up.base):
        up.store.point(BASELINE)
    else:
        _away_from(up, "the pointer was gone, and what it should lead to is damaged")


def _away_from(up: Updater, sentence: str) -> None:
    """Leave what is in use for the baseline, or say that nothing is good."""
    if up.store.baseline_faults(up.base):
        break_off(up, f"{sentence}; the baseline is damaged too")
    about = up.ledger.work or up.ledger.active
    switch = up.switch_facts(about or NO_IMPROVEMENT)
    up.record(Event.POINTER_WON, State.REMOVING, about, sentence=sentence, switch=switch)
    finish_removal(up)


_ANSWERS: Final[dict[Answer, Callable[[Updater], None]]] = {
    Answer.STAY: _stay,
    Answer.STAGE_AGAIN: _stage_again,
    Answer.SWITCH_AGAIN: _switch_again,
    Answer.SWITCHED: finish_switch,
    Answer.TRIAL_AGAIN: _trial_again,
    Answer.BACK_AGAIN: _back_again,
    Answer.REMOVE_AGAIN: finish_removal,
    Answer.REBASE_AGAIN: finish_rebase,
    Answer.TO_BASELINE: _to_baseline,
    Answer.ADOPT: _adopt,
    Answer.REPAIR: _repair,
}
