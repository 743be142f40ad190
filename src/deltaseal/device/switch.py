"""Changing which slot is in use: switch, roll back, remove; and waiting, trial and confirmation.

Invariants:

1. The record that announces a change of the pointer is durable before the pointer changes.
2. The record that says it has changed is written only after the pointer is durable.
3. The pointer only ever comes to lead to a tree whose digests were verified in this run, just before.
4. Nothing is wiped before the record that leaves it behind is durable.
5. Removal and rollback give up the reserve before they write, and need no other space.
6. While a new slot is not confirmed, deltaseal-rescue knows: before the pointer leads to it, until the record
   says ACTIVE. Recovery tidies up where a power cut comes between.
"""

from __future__ import annotations

from deltaseal.device.health import judge, wait_until_used
from deltaseal.device.ledger import Improvement
from deltaseal.device.states import ATTEMPTS, Event, State
from deltaseal.device.store import BASELINE, holder_of, slot_name
from deltaseal.device.updater import Updater, why
from deltaseal.errors import BrokenError, DamagedError, DeltasealError, DigestError, RolledBackError

__all__ = [
    "break_off",
    "confirm",
    "finish_removal",
    "finish_rollback",
    "finish_switch",
    "give_up_work",
    "go",
    "remove",
    "roll_back",
]


def go(up: Updater) -> None:
    """STAGED: verify the slot again, now, and switch to it; WAITING afterwards.

    Raises ``DigestError`` if the slot is no longer good, ``StorageError`` or ``SpaceError`` if the pointer
    could not be changed in ``ATTEMPTS`` attempts; the device is then where it was before the work.
    """
    while up.ledger.state is State.STAGED:
        work = up.work
        faults = up.store.slot_faults(work.slot, work.trees, up.base)
        if faults:
            error = DigestError(f"the staged {_named(faults)} changed before the switch", components=faults)
            up.record(Event.SLOT_BAD, up.ledger.former, work, **why(error))
            up.keep_slots(up.ledger.active)
            raise error
        attempt = up.ledger.attempts.get(work.id, 0) + 1
        up.record_attempt(Event.GO, State.SWITCHING, work, attempt, switch=up.switch_facts(work))
        finish_switch(up)


def finish_switch(up: Updater) -> None:
    """SWITCHING: let the pointer lead to the new slot. Also after a power cut: doing it twice is harmless."""
    work = up.work
    try:
        up.store.await_confirmation(work.slot)
        up.store.point(slot_name(work.slot))
    except DeltasealError as error:
        if up.store.pointer() == slot_name(work.slot):
            raise  # renamed, not known to be durable: recovery points again
        last = up.ledger.attempts.get(work.id, 0) >= ATTEMPTS
        up.record(Event.SWITCH_FAILED, up.ledger.former if last else State.STAGED, work, **why(error))
        if last:
            up.keep_slots(up.ledger.active)
            raise
        return
    up.record(Event.SWITCHED, State.WAITING, work)


def confirm(up: Updater) -> bool:
    """WAITING and TRIAL: see whether it is in use and healthy. Returns whether it is ACTIVE now.

    Raises ``RolledBackError`` if it was not healthy: the device is then back where it was.
    """
    if up.ledger.state is State.WAITING:
        if not wait_until_used(up):
            return False
        up.record(Event.IN_USE, State.TRIAL, up.work)
    if up.ledger.state is not State.TRIAL:
        return up.ledger.state is State.ACTIVE
    work = up.work
    verdict = judge(up)
    if not verdict.good:
        roll_back(up, Event.UNHEALTHY, "ROLLED_BACK", verdict.sentence)
        raise RolledBackError(
            f"{work.id} was rolled back: {verdict.sentence}",
            hint="it is held; a person can try again with `deltaseal device install ID --retry`",
            id=work.id,
            checks=list(verdict.checks),
        )
    up.record(Event.HEALTHY, State.ACTIVE, work, health=verdict.word, checks=list(verdict.checks))
    up.store.confirmed()
    up.keep_slots(up.ledger.active)
    up.store.clear_fetch()
    return True


def roll_back(up: Updater, event: Event, reason: str, sentence: str, *, attempt: int | None = None) -> None:
    """Enter ROLLING_BACK, which holds the improvement, and go back to the former."""
    work = up.work
    tried = up.ledger.attempts.get(work.id, 0) if attempt is None else attempt
    up.store.give_up_reserve()
    switch = up.switch_facts(work)
    up.record_attempt(event, State.ROLLING_BACK, work, tried, reason=reason, sentence=sentence, switch=switch)
    finish_rollback(up)


def finish_rollback(up: Updater) -> None:
    """ROLLING_BACK: point to the former, or to the baseline if the former is withdrawn or no longer good."""
    former = up.ledger.active
    up.store.give_up_reserve()
    if former and former.id not in up.ledger.withdrawn and _slot_is_good(up, former):
        up.store.point(slot_name(former.slot))
        up.record(Event.SWITCHED, State.ACTIVE, up.ledger.work)
    elif not up.store.baseline_faults(up.base):
        up.store.point(BASELINE)
        up.record(Event.SWITCHED, State.BASELINE, up.ledger.work)
    else:
        break_off(up, "neither the former slot nor the baseline has a good digest")
    up.store.confirmed()
    up.keep_slots(up.ledger.active)
    up.store.clear_fetch()
    up.refill_reserve()


def remove(up: Updater, event: Event, *, uid: int | None = None) -> None:
    """Point to the baseline, from any state in which something is, or is about to be, in use.

    Raises ``DamagedError``, and changes nothing but the note of it, if the baseline is not good.
    """
    about = up.ledger.work or up.ledger.active
    assert about is not None, "there is something to remove"
    up.store.give_up_reserve()
    faults = up.store.baseline_faults(up.base)
    if faults:
        note_damaged_baseline(up, faults)
        up.refill_reserve()
        raise DamagedError(
            f"the baseline is damaged ({_named(faults)}), so nothing can be removed to it",
            hint="`deltaseal device rebase` makes the baseline good again; `device verify` says what differs",
            components=faults,
        )
    up.record(event, State.REMOVING, about, uid=uid, switch=up.switch_facts(about))
    finish_removal(up)


def finish_removal(up: Updater) -> None:
    """REMOVING: the pointer goes to the baseline, everything else is wiped."""
    up.store.give_up_reserve()
    up.store.point(BASELINE)
    up.record(Event.SWITCHED, State.BASELINE, up.ledger.work or up.ledger.active)
    up.store.confirmed()
    up.keep_slots()
    up.store.clear_fetch()
    up.refill_reserve()


def give_up_work(up: Updater, event: Event, *, uid: int | None = None) -> None:
    """FETCHING, STAGING, STAGED: wipe what was made so far; the former stays in use."""
    up.record(event, up.ledger.former, up.work, uid=uid)
    up.keep_slots(up.ledger.active)
    up.store.clear_fetch()


def note_damaged_baseline(up: Updater, faults: dict[str, str]) -> None:
    """Journal once that components of the baseline are not what the device recorded."""
    news = tuple(sorted(faults)) != up.ledger.damaged
    if up.ledger.state is State.ACTIVE and news:
        up.record(Event.BASELINE_DAMAGED, State.ACTIVE, up.ledger.active, components=sorted(faults))


def break_off(up: Updater, sentence: str) -> None:
    """Nothing good is left: BROKEN, and the pointer stays where it is. Raises ``BrokenError``."""
    up.record(Event.NOTHING_GOOD, State.BROKEN, up.ledger.work or up.ledger.active, sentence=sentence)
    raise BrokenError(sentence, pointer=up.store.pointer(), expected=holder_of(up.ledger.active))


def _slot_is_good(up: Updater, improvement: Improvement) -> bool:
    return not up.store.slot_faults(improvement.slot, improvement.trees, up.base)


def _named(faults: dict[str, str]) -> str:
    return ", ".join(sorted(faults))
