"""The state table is one: the page shows it, and recovery has an answer for every pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaseal.device.ledger import Improvement, Ledger
from deltaseal.device.recovery import classify
from deltaseal.device.states import RECOVERY, ROWS, Event, Pointer, State, allows

PAGE = (Path(__file__).parents[2] / "docs/spec/store.md").read_text()


def rows() -> str:
    """The rows as the page shows them."""
    lines = ["| state | event | action after the record | next | after a crash |", "|---|---|---|---|---|"]
    for row in ROWS:
        cells = (", ".join(row.states), f"`{row.event}`", row.action, ", ".join(row.next), row.after_crash)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def answers() -> str:
    """The answers of recovery as the page shows them."""
    lines = ["| last record | " + " | ".join(Pointer) + " |", "|---|" + "---|" * len(Pointer)]
    for state, pairs in RECOVERY.items():
        lines.append(f"| {state} | " + " | ".join(pairs[pointer].name for pointer in Pointer) + " |")
    return "\n".join(lines)


def test_the_page_shows_the_rows() -> None:
    assert rows() in PAGE, f"docs/spec/store.md must hold:\n{rows()}"


def test_the_page_shows_the_answers() -> None:
    assert answers() in PAGE, f"docs/spec/store.md must hold:\n{answers()}"


def test_every_pair_of_record_and_pointer_has_an_answer() -> None:
    assert set(RECOVERY) == set(State)
    assert all(set(pairs) == set(Pointer) for pairs in RECOVERY.values())


def test_every_state_can_be_entered_and_left() -> None:
    entered = {state for row in ROWS for state in row.next}
    left = {state for row in ROWS for state in row.states}
    assert entered == set(State)
    assert left == set(State) - {State.BROKEN}  # nothing but a rebase leads out of it


def test_what_no_row_allows_is_not_allowed() -> None:
    assert allows(State.STAGED, Event.GO, State.SWITCHING)
    assert not allows(State.STAGING, Event.GO, State.SWITCHING)
    assert not allows(State.STAGED, Event.GO, State.ACTIVE)
    assert not allows(State.BROKEN, Event.OFFER, State.FETCHING)
    assert allows(State.TRIAL, Event.REQUEST, State.TRIAL)
    assert not allows(State.TRIAL, Event.REQUEST, State.ACTIVE)


A = Improvement("a", "", "1", "a", "", 1, "relaunch", [], {}, [], 1)
B = Improvement("b", "", "1", "b", "", 2, "relaunch", [], {}, [], 2)


@pytest.mark.parametrize(
    ("active", "work", "pointer", "seen"),
    [
        (None, None, "baseline", Pointer.FORMER),
        (None, A, "baseline", Pointer.FORMER),
        (None, A, "slot-1", Pointer.NEW),
        (A, None, "slot-1", Pointer.FORMER),
        (A, B, "slot-1", Pointer.FORMER),
        (A, B, "slot-2", Pointer.NEW),
        (A, B, "baseline", Pointer.BASELINE),
        (A, B, "slot-3", Pointer.OTHER),
        (None, None, "slot-1", Pointer.OTHER),
        (A, B, None, Pointer.GONE),
    ],
)
def test_the_pointer_is_seen_as_the_records_see_it(
    active: Improvement | None, work: Improvement | None, pointer: str | None, seen: Pointer
) -> None:
    assert classify(Ledger(active=active, work=work), pointer) is seen
