"""Exposure by day: what a day says is what was said on that day, and an older file has a history too."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.devices import BUILD, DAY, DAY_ZERO, MODEL
from support.fleets import new_fleet, signed, take_in

from deltaseal.fleet import Exposure, Fleet, exposure_to, open_fleet, publisher_of
from deltaseal.fleet.plot import exposure_plot
from deltaseal.fleet.schema import STEPS, migrate
from deltaseal.manifest import Catalogue, CatalogueBase, Listed, Withdrawal
from deltaseal.report import Blocked, Held

CVE = "CVE-2026-20643"
ID = "macos-26.3.1-a"
OTHER = "25E246"
PUBLISHED = DAY_ZERO + 7_000


def says(fleet: Fleet, *, withdrawn: int = 0) -> None:
    """What the publisher says of one improvement from now on."""
    listed = Listed(ID, "a", BUILD, "b" * 64, 1, DAY_ZERO * 2, (CVE,))
    orders = (Withdrawal(ID, "remove", (CVE,)),) if withdrawn else ()
    bases = (CatalogueBase("26.3.1", BUILD), CatalogueBase("26.4", OTHER, (CVE,)))
    serial = 2 if withdrawn else 1
    made = Catalogue("macos", serial, DAY_ZERO, DAY_ZERO * 2, 0, bases, (listed,), orders)
    with fleet.writing() as write:
        write.execute("INSERT OR REPLACE INTO catalogues VALUES (?, ?, ?)", ("macos", serial, made.dumps()))
        row = (ID, "b" * 64, PUBLISHED, withdrawn, f'["{MODEL}"]', "[]")
        write.execute("INSERT OR REPLACE INTO improvements VALUES (?, ?, ?, ?, ?, ?)", row)


def moves(fleet: Fleet, issued: int, *, phase: int, paused: bool = False, channel: str = "stable") -> None:
    with fleet.writing() as write:
        write.execute("INSERT INTO moves VALUES (?, ?, ?, ?, ?)", (ID, issued, channel, phase, paused))


def ask(fleet: Fleet, now: int) -> Exposure:
    return exposure_to(fleet, publisher_of(fleet), CVE, now=now)


TURNS: tuple[dict[str, object], ...] = (
    {},
    {"active": ID, "state": "ACTIVE"},
    {"blocked": Blocked("E_BATTERY", "battery")},
    {"blocked": Blocked("E_POLICY", "policy")},
    {"holds": (Held(ID, "ROLLED_BACK", DAY_ZERO),)},
    {"removed": (ID,)},
    {"work": ID, "state": "FETCHING"},
    {"channel": "seed"},
    {"build": OTHER, "version": "26.4"},
)
SCHEDULE: dict[int, Callable[[Fleet, int], None]] = {
    0: lambda fleet, at: moves(fleet, at, phase=0),
    1: lambda fleet, at: moves(fleet, at, phase=4_000),
    2: lambda fleet, at: moves(fleet, at, phase=4_000, paused=True),
    4: lambda fleet, at: moves(fleet, at, phase=10_000, channel="seed"),
    5: lambda fleet, at: moves(fleet, at, phase=10_000),
    8: lambda fleet, at: says(fleet, withdrawn=at),
}


def play(fleet: Fleet, days: int, *, seed: int = 1) -> list[Exposure]:
    """A rollout with a pause and a withdrawal; what was asked at the end of each day."""
    chance = random.Random(seed)
    said = []
    sequences = [0] * 30
    says(fleet)
    for day in range(days):
        begin = PUBLISHED + day * DAY
        if day in SCHEDULE:
            SCHEDULE[day](fleet, begin + 500)
        for device in chance.sample(range(30), 8):
            sequences[device] += 1
            changes = {"journal_n": 100 * sequences[device], **chance.choice(TURNS)}
            at = begin + chance.randrange(1, DAY - 1)
            take_in(fleet, signed(device, sequences[device], **changes), now=at)
        said.append(ask(fleet, begin + DAY - 1))
    return said


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_says_what_was_said_on_that_day(tmp_path: Path, seed: int) -> None:
    with new_fleet(tmp_path / "fleet.db", range(30)) as fleet:
        said = play(fleet, 12, seed=seed)
        later = ask(fleet, PUBLISHED + 12 * DAY + 40)
    assert len(later.days) == 13
    for day, then in zip(later.days, said, strict=False):
        assert (day.open, dict(day.reasons)) == (then.open, dict(then.reasons))
        bases: dict[tuple[str, str], int] = {}
        for base in then.bases:
            if base.open:
                bases[base.os, base.build] = bases.get((base.os, base.build), 0) + base.open
        assert dict(day.bases) == bases
    told = {reason for day in later.days for reason in day.reasons}
    assert told >= {"silent", "phase", "paused", "withdrawn", "channel", "held"}


def test_the_last_day_is_what_is_asked_now(tmp_path: Path) -> None:
    with new_fleet(tmp_path / "fleet.db", range(30)) as fleet:
        *_, last = play(fleet, 5)
    day = last.days[-1]
    assert (day.until, day.open, dict(day.reasons)) == (last.asked, last.open, dict(last.reasons))
    assert sum(day.bases.values()) == last.open


def test_a_silence_that_is_over_is_remembered(tmp_path: Path) -> None:
    with new_fleet(tmp_path / "fleet.db", range(1)) as fleet:
        says(fleet)
        moves(fleet, PUBLISHED, phase=0)
        take_in(fleet, signed(0, 1), now=PUBLISHED + 10)
        take_in(fleet, signed(0, 2), now=PUBLISHED + 5 * DAY + 10)
        days = ask(fleet, PUBLISHED + 6 * DAY).days
    assert [next(iter(day.reasons)) for day in days] == ["phase"] * 3 + ["silent"] * 2 + ["phase"] * 2


def test_an_older_file_gets_its_history_from_the_reports_that_it_kept(tmp_path: Path) -> None:
    path, old = tmp_path / "fleet.db", tmp_path / "old.db"
    with new_fleet(path, range(30)) as fleet:
        play(fleet, 12)
        now = PUBLISHED + 12 * DAY
        tables = {name: list(fleet.rows(f"SELECT * FROM {name}")) for name in ("changes", "silences")}
        expected = ask(fleet, now)
    connection = sqlite3.connect(old, isolation_level=None)
    migrate(connection, steps=STEPS[:1])
    connection.execute("ATTACH DATABASE ? AS new", (str(path),))
    for name in ("meta", "devices", "reports", "catalogues", "improvements", "moves"):
        connection.execute(f"INSERT INTO main.{name} SELECT * FROM new.{name}")
    connection.close()
    with open_fleet(old) as fleet:
        assert {name: list(fleet.rows(f"SELECT * FROM {name}")) for name in tables} == tables
        assert ask(fleet, now) == expected
    assert len(tables["changes"]) > 50
    assert tables["silences"]


def test_the_picture_has_a_layer_for_each_reason(tmp_path: Path) -> None:
    with new_fleet(tmp_path / "fleet.db", range(30)) as fleet:
        play(fleet, 12)
        found = ask(fleet, PUBLISHED + 12 * DAY)
    picture = ElementTree.fromstring(exposure_plot(found, alone=True))
    layers = picture.findall("{http://www.w3.org/2000/svg}polygon")
    reasons = {reason for day in found.days for reason in day.reasons}
    assert len(layers) == min(8, len(reasons)) > 4
    for layer in layers:
        assert len(layer.attrib["points"].split()) == 4 * len(found.days)
