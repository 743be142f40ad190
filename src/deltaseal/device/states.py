"""The device's states: which event leads where, and what is done after a power cut.

This is the one table. The updater may only write a record that a row allows
(:func:`allows`); recovery looks up (state of the last whole record, where the
pointer leads) in :data:`RECOVERY`, in which every pair has an answer; the page
docs/spec/store.md and the tests are held against both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "ATTEMPTS",
    "RECOVERY",
    "ROWS",
    "SWITCHED",
    "UNDER_WAY",
    "Answer",
    "Event",
    "Pointer",
    "Row",
    "State",
    "allows",
]

ATTEMPTS = 3  # of one improvement's switch or trial; a crash or an error beyond that ends it


class State(StrEnum):
    """Where a device stands. "Former" in the rows is ACTIVE with the earlier letter, else BASELINE."""

    BASELINE = "BASELINE"
    FETCHING = "FETCHING"
    STAGING = "STAGING"
    STAGED = "STAGED"
    SWITCHING = "SWITCHING"
    WAITING = "WAITING"
    TRIAL = "TRIAL"
    ACTIVE = "ACTIVE"
    ROLLING_BACK = "ROLLING_BACK"
    REMOVING = "REMOVING"
    REBASING = "REBASING"
    BROKEN = "BROKEN"


class Event(StrEnum):
    """What happened, as the journal names it."""

    OFFER = "offer"
    FETCHED = "fetched"
    BAD_BYTES = "bad-bytes"
    STAGED = "staged"
    UNBUILT = "unbuilt"
    INTERRUPTED = "interrupted"
    HIGHER = "higher-letter"
    GO = "go"
    SLOT_BAD = "slot-bad"
    SWITCHED = "pointer-durable"
    SWITCH_FAILED = "switch-failed"
    IN_USE = "in-use"
    HEALTHY = "healthy"
    CRASHED = "crashed"
    UNHEALTHY = "unhealthy"
    REMOVE = "remove"
    WITHDRAWN = "withdrawn"
    LIVE_DAMAGED = "live-damaged"
    BASELINE_DAMAGED = "baseline-damaged"
    POINTER_WON = "pointer-won"
    NOTHING_GOOD = "nothing-good"
    REBASE = "rebase"
    CHECKPOINT = "checkpoint"
    REQUEST = "request"
    CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class Row:
    """In one of ``states`` comes ``event``: ``action`` follows its record, which enters one of ``next``."""

    states: tuple[State, ...]
    event: Event
    action: str
    next: tuple[State, ...]
    after_crash: str


_S = State
_FORMER = (_S.BASELINE, _S.ACTIVE)
_LIVE = tuple(state for state in State if state is not _S.BROKEN)
UNDER_WAY = (_S.FETCHING, _S.STAGING, _S.STAGED)  # the former is still in use
SWITCHED = (_S.SWITCHING, _S.WAITING, _S.TRIAL)  # the new slot is, or is about to be, in use

ROWS: tuple[Row, ...] = (
    Row((_S.BASELINE, _S.ACTIVE), Event.OFFER, "fetch", (_S.FETCHING,), "stay"),
    Row((_S.FETCHING,), Event.FETCHED, "stage", (_S.STAGING,), "resume by range"),
    Row((_S.FETCHING,), Event.BAD_BYTES, "discard all bytes, next source", (_S.FETCHING, *_FORMER), "same"),
    Row((_S.STAGING,), Event.STAGED, "ready", (_S.STAGED,), "wipe slot, stage again"),
    Row((_S.STAGING,), Event.UNBUILT, "next route; none left: hold", (_S.STAGING, *_FORMER), "same"),
    Row((_S.FETCHING, _S.STAGING), Event.INTERRUPTED, "retry time", _FORMER, "same"),
    Row(UNDER_WAY, Event.REMOVE, "wipe slot, then that event's row", _FORMER, "same"),
    Row(UNDER_WAY, Event.WITHDRAWN, "wipe slot, then that event's row", _FORMER, "same"),
    Row(UNDER_WAY, Event.HIGHER, "wipe slot, then that event's row", _FORMER, "same"),
    Row((_S.STAGED,), Event.GO, "switch pointer", (_S.SWITCHING,), "same"),
    Row((_S.STAGED,), Event.SLOT_BAD, "wipe slot", _FORMER, "same"),
    Row((_S.SWITCHING,), Event.SWITCHED, "wait for use", (_S.WAITING,), "old: switch again; new: WAITING"),
    Row((_S.SWITCHING,), Event.SWITCH_FAILED, "third time: wipe slot", (_S.STAGED, *_FORMER), "same"),
    Row((_S.WAITING,), Event.IN_USE, "start trial", (_S.TRIAL,), "same"),
    Row((_S.TRIAL,), Event.HEALTHY, "commit, prune old slots", (_S.ACTIVE,), "attempt + 1"),
    Row((_S.TRIAL,), Event.CRASHED, "trial again; above 3: back", (_S.TRIAL, _S.ROLLING_BACK), "attempt + 1"),
    Row((_S.TRIAL,), Event.UNHEALTHY, "hold, pointer back", (_S.ROLLING_BACK,), "same"),
    Row((*SWITCHED, _S.ACTIVE), Event.REMOVE, "pointer to baseline", (_S.REMOVING,), "same"),
    Row((*SWITCHED, _S.ACTIVE), Event.WITHDRAWN, "pointer to baseline", (_S.REMOVING,), "same"),
    Row((_S.ROLLING_BACK,), Event.SWITCHED, "wipe", _FORMER, "do it again"),
    Row((_S.ACTIVE,), Event.LIVE_DAMAGED, "pointer to baseline", (_S.REMOVING,), "same"),
    Row((_S.REMOVING,), Event.SWITCHED, "wipe", (_S.BASELINE,), "do it again"),
    Row((_S.ACTIVE,), Event.BASELINE_DAMAGED, "say so", (_S.ACTIVE,), "same"),
    Row(
        tuple(state for state in State if state is not _S.REBASING),
        Event.REBASE,
        "pointer to the new base, its baseline beside, void slots",
        (_S.REBASING,),
        "do it again",
    ),
    Row((_S.REBASING,), Event.SWITCHED, "wipe", (_S.BASELINE,), "do it again"),
    Row((_S.REBASING,), Event.SLOT_BAD, "pointer to the baseline as it was", (_S.REMOVING,), "same"),
    Row(_LIVE, Event.NOTHING_GOOD, "pointer stays", (_S.BROKEN,), "same"),
    # What recovery writes when the pointer leads elsewhere than the last record says: the pointer wins.
    Row(
        _LIVE,
        Event.POINTER_WON,
        "as RECOVERY says",
        (_S.WAITING, _S.REMOVING, _S.ROLLING_BACK, _S.REBASING, _S.BASELINE),
        "same",
    ),
)

# Events that change what the device knows, never where it stands.
_NOTES = frozenset({Event.REQUEST, Event.CATALOGUE})


def allows(state: State, event: Event, following: State) -> bool:
    """Whether a row lets ``event`` lead from ``state`` to ``following``."""
    if event in _NOTES and state is following:
        return True
    return any(state in row.states and event is row.event and following in row.next for row in ROWS)


class Pointer(StrEnum):
    """Where ``active`` leads, as the last whole record sees it."""

    FORMER = "former"  # the slot in use before the work under way, or the baseline if there was none
    NEW = "new"  # the slot of the work under way
    BASELINE = "baseline"  # the baseline, where that is not the former
    OTHER = "other"  # a slot that the records do not name
    GONE = "gone"  # no link, or one that leads nowhere


class Answer(StrEnum):
    """What recovery does."""

    STAY = "stay"
    STAGE_AGAIN = "wipe the slot; the next run stages again"
    SWITCH_AGAIN = "switch again"
    SWITCHED = "the switch is done: WAITING"
    TRIAL_AGAIN = "attempt + 1; above 3: ROLLING_BACK"
    BACK_AGAIN = "roll back again"
    REMOVE_AGAIN = "remove again"
    REBASE_AGAIN = "rebase again, from the trees that are in the store"
    TO_BASELINE = "somebody pointed to the baseline: accept it as a rollback"
    ADOPT = "verify the slot by its own signed manifest: WAITING; else remove"
    REPAIR = "point to where the record says, if that is good; else the baseline; else BROKEN"


_A = Answer


def _answers(
    former: Answer, new: Answer, baseline: Answer, other: Answer, gone: Answer
) -> dict[Pointer, Answer]:
    return dict(zip(Pointer, (former, new, baseline, other, gone), strict=True))


RECOVERY: dict[State, dict[Pointer, Answer]] = {
    #                         former          new              baseline         other      gone
    _S.BASELINE: _answers(_A.STAY, _A.ADOPT, _A.STAY, _A.ADOPT, _A.REPAIR),
    _S.ACTIVE: _answers(_A.STAY, _A.ADOPT, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.FETCHING: _answers(_A.STAY, _A.ADOPT, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.STAGING: _answers(_A.STAGE_AGAIN, _A.ADOPT, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.STAGED: _answers(_A.STAY, _A.ADOPT, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.SWITCHING: _answers(_A.SWITCH_AGAIN, _A.SWITCHED, _A.TO_BASELINE, _A.ADOPT, _A.SWITCH_AGAIN),
    _S.WAITING: _answers(_A.BACK_AGAIN, _A.STAY, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.TRIAL: _answers(_A.BACK_AGAIN, _A.TRIAL_AGAIN, _A.TO_BASELINE, _A.ADOPT, _A.REPAIR),
    _S.ROLLING_BACK: _answers(*(_A.BACK_AGAIN,) * 5),
    _S.REMOVING: _answers(*(_A.REMOVE_AGAIN,) * 5),
    _S.REBASING: _answers(*(_A.REBASE_AGAIN,) * 5),
    _S.BROKEN: _answers(*(_A.STAY,) * 5),
}
