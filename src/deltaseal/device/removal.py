"""Removing what is applied, and mending what is damaged."""

from __future__ import annotations

from deltaseal.device.states import SWITCHED, UNDER_WAY, Event, State
from deltaseal.device.switch import break_off, finish_removal, give_up_work, note_damaged_baseline, remove
from deltaseal.device.updater import Updater
from deltaseal.errors import DamagedError, NothingToDo, PolicyError

__all__ = ["mend", "take_off"]


def take_off(up: Updater) -> None:
    """Back to the baseline because a person asks: not to the former letter (R10).

    Raises ``PolicyError`` if only an administrator may, ``NothingToDo`` if nothing is applied or on its way,
    ``DamagedError`` if the baseline is not good.
    """
    uid = up.edge.uid
    up.refuse_if_broken()
    if up.policy.remove == "admin" and uid != 0:
        raise PolicyError(
            "the policy of this device lets only an administrator remove", remove=up.policy.remove, uid=uid
        )
    if up.ledger.state is State.BASELINE:
        raise NothingToDo("no improvement is applied", base=up.base.build)
    if up.ledger.state in UNDER_WAY:
        give_up_work(up, Event.REMOVE, uid=uid)
    if up.ledger.state in (*SWITCHED, State.ACTIVE):
        remove(up, Event.REMOVE, uid=uid)


def mend(up: Updater) -> None:
    """Verify what is in use; leave a damaged slot for the baseline, say so of a damaged baseline.

    Raises ``DamagedError`` after it left, or if the baseline is damaged; ``BrokenError`` if nothing is good.
    """
    up.refuse_if_broken()
    active = up.ledger.active
    baseline = up.store.baseline_faults(up.base)
    live = up.store.slot_faults(active.slot, active.trees, up.base) if active else {}
    if (live and baseline) or (baseline and active is None):
        break_off(up, f"damaged: {', '.join(sorted({*live, *baseline}))}; nothing good is left")
    if baseline:
        note_damaged_baseline(up, baseline)
        raise DamagedError(
            f"the baseline is damaged ({', '.join(sorted(baseline))}); what is in use is good",
            hint="removal is refused until `deltaseal device rebase` makes the baseline good again",
            components=baseline,
        )
    if live and active and up.ledger.state is State.ACTIVE:
        sentence = f"damaged: {', '.join(sorted(live))}"
        up.record(
            Event.LIVE_DAMAGED,
            State.REMOVING,
            active,
            reason="E_DAMAGED",
            sentence=sentence,
            switch=up.switch_facts(active),
        )
        finish_removal(up)
        raise DamagedError(
            f"{active.id} was {sentence}; the device is on its baseline again", components=live
        )
