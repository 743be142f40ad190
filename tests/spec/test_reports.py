"""The second reader of reports says of every file what the fleet says."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spec.reports_reader import Fleet as SecondFleet
from spec.reports_reader import Refused, read_batch
from support.devices import DAY
from support.fleets import NOW, device_key, enrolment, new_fleet, report, signed, take_in

from deltaseal.report import Blocked, Held, Report, Timings, read_enrolment
from deltaseal.report.signed import STEPS, WHY
from deltaseal.trust import sign

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "reports.md").read_text()

FULL = replace(
    report(0, 5),
    active="macos-26.3.1-a",
    since=NOW,
    work="macos-26.3.1-b",
    pending="relaunch",
    holds=(Held("macos-26.3.1-c", "ROLLED_BACK", NOW),),
    removed=("macos-26.3.1-d",),
    withdrawn=("macos-26.3.1-e",),
    attempts={"macos-26.3.1-b": 2},
    blocked=Blocked("E_POLICY", "phase"),
    timings=Timings("macos-26.3.1-a", 4_711, {"fetched": 1, "healthy": 90}),
)

FILES = {
    "plain": signed(0),
    "full": FULL.signed(device_key(0)).to_bytes(),
    "batch": signed(0, 1) + signed(0, 2) + signed(0, 2) + signed(0, 1),
    "stranger": signed(0) + report(1).signed(device_key(9)).to_bytes() + signed(1),
    "for another": report(1).signed(device_key(0)).to_bytes(),
    "two in one": signed(0, 3) + signed(0, 3, state="BROKEN") + signed(0, 2),
    "two bases": b"".join(
        signed(0, n, journal_n=at, build=build) for n, at, build in ((1, 4, "A"), (2, 4, "B"), (3, 5, "B"))
    ),
    "other os": signed(0, 1, os="ios") + signed(0, 1, model="Mac99,1"),
    "future": signed(0, 1, time=NOW + DAY + 1) + signed(0, 2, time=NOW + DAY),
    "huge": sign("deltaseal/report", b'{"x-a":"' + b"a" * 20_000 + b'"}', [device_key(0)]).to_bytes(),
    "bad form": sign("deltaseal/report", b'{"format":0}', [device_key(0)]).to_bytes() + signed(1),
    "twice signed": sign("deltaseal/report", b"{}", [device_key(0), device_key(1)]).to_bytes(),
    "unsigned": sign("deltaseal/report", b"{}", []).to_bytes(),
    "enrolment": enrolment(0).to_bytes(),
    "cut": signed(0) + signed(1)[:-3],
    "noise": b"noise" * 9,
}


def second() -> SecondFleet:
    fleet = SecondFleet()
    for number in range(3):
        fleet.enrol(enrolment(number).to_bytes())
    return fleet


def both(path: Path, data: bytes) -> tuple[Counter[str], Counter[str]]:
    with new_fleet(path) as fleet:
        result = take_in(fleet, data)
    said = Counter({"counted": result.counted, "duplicate": result.duplicates}) + result.refused
    return said, Counter(what for _, what in read_batch(data, second(), NOW))


@pytest.mark.parametrize("name", FILES)
def test_both_readers_say_the_same(tmp_path: Path, name: str) -> None:
    said, second_said = both(tmp_path / "fleet.db", FILES[name])
    assert said == second_said
    assert sum(said.values()) > 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2_000), st.integers(0, 255))
def test_both_readers_say_the_same_of_bent_files(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: int, value: int
) -> None:
    data = bytearray(FILES[name])
    data[at % len(data)] = value
    said, second_said = both(tmp_path_factory.mktemp("bent") / "fleet.db", bytes(data))
    assert said["counted"] == second_said["counted"]
    assert sum(said.values()) == sum(second_said.values())


def test_an_enrolment_reads_the_same() -> None:
    document = enrolment(1)
    assert SecondFleet().enrol(document.to_bytes()) == read_enrolment(document).device
    with pytest.raises(Refused):
        SecondFleet().enrol(document.with_signatures(enrolment(2).signatures).to_bytes())


def test_a_report_is_what_was_written() -> None:
    body = FULL.signed(device_key(0)).body
    assert Report.loads(body) == FULL
    assert len(body) < 1_200  # small


def test_the_page_lists_the_words() -> None:
    table = PAGE[PAGE.index("| `why` | the last look") : PAGE.index("## 4 Batches")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")][1:]
    assert re.findall(r"`([a-z]+)`", "".join(rows)) == list(WHY)
    assert all(f"`{step}`" in PAGE for step in STEPS)
