"""Status, findings and history as JSON, and the words that must never be there."""

from __future__ import annotations

import json
from pathlib import Path

from support.devices import World, bundle, new_device, source

from deltaseal.report import Entry, Finding, NextStep, Pending, Problem, Status, Underway

STATUS = Status(
    device="ab" * 16,
    model="Mac15,6",
    channel="stable",
    os="macos",
    version="26.3.1",
    letter=None,
    name="macOS 26.3.1",
    numeric="26.3.1.0",
    base_build="25D2128",
    build="25D2128",
    state="FETCHING",
    applied=None,
    underway=Underway("macos-26.3.1-a", "a", "25D771280a", "downloading", 10, 100),
    pending=None,
    problems=(),
    next_step=NextStep("the next run goes on with it", "device"),
    floor=0,
    updates="automatic",
)


def test_the_json_has_a_version_and_says_what_is_outstanding() -> None:
    values = json.loads(json.dumps(STATUS.to_json()))
    assert values["format"] == 1
    assert values["outstanding"] is True
    assert values["underway"] == {
        "id": "macos-26.3.1-a",
        "letter": "a",
        "build": "25D771280a",
        "stage": "downloading",
        "fetched": 10,
        "total": 100,
    }


def test_outstanding_is_anything_that_somebody_has_to_do_or_decide() -> None:
    from dataclasses import replace

    rest = replace(STATUS, state="BASELINE", underway=None)
    assert not rest.outstanding
    assert replace(rest, pending=Pending("restart", ())).outstanding
    assert replace(rest, problems=(Problem("held", "x", "y"),)).outstanding
    assert replace(rest, state="BROKEN").outstanding


def test_every_version_string_for_tools_is_free_of_the_letter(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    values = device.update([source(bundle("a"))]).to_json()
    assert (values["version"], values["letter"], values["numeric"]) == ("26.3.1", "a", "26.3.1.1")
    text = json.dumps([values, *(entry.to_json() for entry in device.history())]).lower()
    assert "secure" not in text
    assert "up to date" not in text


def test_a_finding_has_the_exit_code_of_its_reason() -> None:
    assert Finding("E_DAMAGED", "live app", "differs").exit_code == 28
    assert Finding("BROKEN", "device", "nothing good").exit_code == 29


def test_an_entry_as_json() -> None:
    entry = Entry(3, 7, "offer", "FETCHING", "x", "x passed all checks", {"retry": False})
    assert json.loads(json.dumps(entry.to_json()))["facts"] == {"retry": False}
