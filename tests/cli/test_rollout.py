"""``rollout``: it says what it will do, asks, and does it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from support.command import TODAY, deltaseal, must, snapshot

from .conftest import ONLINE, RELEASE, build, create

ID = "macos-26.3.1-a"
PLACE = ("--publisher", "offers", "--trust", "trust.json")


@pytest.fixture
def fleet(here: Path) -> Path:
    """Two enrolled devices that have reported."""
    must(*create("second"))
    for name in ("device", "second"):
        must("device", "enrolment", "--store", name, "-o", f"{name}.enrolment")
    must("fleet", "create", "--trust", "trust.json")
    must("fleet", "enroll", "device.enrolment", "second.enrolment")
    Path("inbox").mkdir()
    report("device", "offers")
    report("second", "tree")  # nothing is offered there
    return here


def report(store: str, source: str, now: int = TODAY) -> None:
    look = ["device", "watch", "--once", "--store", store, "--source", source]
    deltaseal(*look, "--report-to", "inbox", now=now)
    must("fleet", "ingest", "inbox", "--consume", now=now)


def test_status_says_how_each_stands(fleet: Path) -> None:
    said = must("rollout", "status", *PLACE, "--fleet", "fleet.db")
    assert said.out.splitlines() == [
        f"{ID}: macOS 26.3.1 (a), build 25D2128",
        "  100 % of stable, until 2026-12-30 04:26 UTC",
        "  closes CVE-2026-20643",
        "  2 enrolled devices fit, 2 are in, 1 has it",
    ]
    (one,) = must("rollout", "status", *PLACE, "--json").json["improvements"]
    assert (one["phase"], one["paused"], one["withdrawn"], one["devices"]) == (10_000, False, None, None)


def test_a_move_says_what_it_will_do_and_needs_a_yes(fleet: Path) -> None:
    before = snapshot(Path("offers"))
    ran = deltaseal("rollout", "set", ID, "--phase", "0", *PLACE, "--fleet", "fleet.db", *ONLINE)
    assert ran.code == 20
    assert ran.err.splitlines()[:2] == [
        f"{ID}: from 100 % to 0 % of stable",
        "  of 2 enrolled devices that it fits, 2 are in now, 0 will be",
    ]
    assert "nobody is there to be asked, and nothing was changed" in ran.err
    assert snapshot(Path("offers")) == before


def test_pause_and_resume(fleet: Path) -> None:
    said = must("rollout", "pause", ID, *PLACE, *ONLINE, "--yes", "--fleet", "fleet.db")
    assert "of 2 enrolled devices that are in, 1 has it, 1 will have to wait" in said.err
    assert ", paused," in must("rollout", "status", *PLACE).out
    report("second", "offers")
    assert must("device", "status", "--store", "second", "--json").json["letter"] is None
    must("rollout", "resume", ID, *PLACE, *ONLINE, "--yes")
    report("second", "offers")
    assert must("device", "status", "--store", "second", "--json").json["letter"] == "a"


def test_withdraw_names_what_is_open_again(fleet: Path) -> None:
    said = must(
        "rollout", "withdraw", ID, "remove", *PLACE, *RELEASE, "--yes", "--fleet", "fleet.db", "--json"
    )
    assert said.json["reopens"] == ["CVE-2026-20643"]
    assert said.json["devices"]["active"] == 1
    assert "open again where it is removed: CVE-2026-20643" in said.err
    report("device", "offers", TODAY + 60)
    assert must("device", "status", "--store", "device", "--json").json["letter"] is None
    assert deltaseal("rollout", "set", ID, "--phase", "1", *PLACE, *ONLINE, "--yes").code == 20


def test_reissue_brings_a_higher_letter(fleet: Path) -> None:
    (fleet / "tree-fixed" / "app" / "more.txt").write_text("more")
    arguments = build("b.unsigned", "--withdrawn", ID)
    for old, new in ((ID, "macos-26.3.1-b"), ("25D771280a", "25D771280b")):
        arguments[arguments.index(old)] = new
    arguments[arguments.index("--letter") + 1] = "b"
    arguments[arguments.index("--sequence") + 1] = "2"
    must(*arguments)
    must("bundle", "sign", "b.unsigned", *RELEASE, "-o", "b.bundle")
    move = ["rollout", "reissue", "b.bundle", *PLACE, "--yes", "--phase", "10000"]
    assert deltaseal(*move, *ONLINE).code == 10
    said = must(*move, *RELEASE, *ONLINE)
    assert f"letter b after a ({ID}, still offered), offered to 100 % of stable" in said.err
    report("second", "offers", TODAY + 60)
    assert must("device", "status", "--store", "second", "--json").json["letter"] == "b"


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("n", 20), ("", 20), ("y", 0)])
def test_a_person_is_asked(fleet: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    before = snapshot(Path("offers"))
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    ran = deltaseal("rollout", "pause", ID, *PLACE, *ONLINE)
    assert ran.code == code, ran.err
    assert "Do it? [y/N]" in ran.err
    assert (snapshot(Path("offers")) == before) is bool(code)
