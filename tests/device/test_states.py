"""The state table is one: the page shows it, and recovery has an answer for every pair."""

from __future__ import annotations

import pytest
from support.state_page import PAGE, diagram, filled

from deltaseal.device.ledger import Improvement, Ledger
from deltaseal.device.recovery import classify
from deltaseal.device.states import RECOVERY, ROWS, Event, Pointer, State, allows


def test_the_page_shows_the_rows_the_answers_and_the_diagram() -> None:
    page = PAGE.read_text()
    assert page == filled(page), "make it anew: PYTHONPATH=src:tests python -m support.state_page"


def test_the_diagram_has_every_row() -> None:
    drawn = diagram().splitlines()
    for row in ROWS:
        for following in row.next:
            assert any(f"--> {following}: " in line and row.event.value in line for line in drawn), row


def test_every_pair_of_record_and_pointer_has_an_answer() -> None:
    assert set(RECOVERY) == set(State)
    assert all(set(pairs) == set(Pointer) for pairs in RECOVERY.values())


def test_every_state_can_be_entered_and_left() -> None:
    entered = {state for row in ROWS for state in row.next}
    left = {state for row in ROWS for state in row.states}
    assert entered == set(State)
    assert left == set(State)
    assert [row.event for row in ROWS if State.BROKEN in row.states] == [Event.REBASE]  # the only way out


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
