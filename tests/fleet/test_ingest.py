"""Reports taken in: enrolled devices count once; what is forged, replayed, cut, ahead or huge does not."""

from __future__ import annotations

import importlib
import sqlite3
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import DAY, trust
from support.fleets import (
    NOW,
    device_id,
    device_key,
    enrolment,
    new_fleet,
    report,
    signed,
    take_in,
)

from deltaseal.errors import (
    DeviceError,
    DocumentTypeError,
    LockedError,
    SignatureError,
    SpaceError,
    UsageError,
)
from deltaseal.fleet import Fleet, Took, create_fleet, enroll, ingest, open_fleet, timings_of
from deltaseal.fleet.schema import STEPS, VERSION, migrate
from deltaseal.report import Timings, read_enrolment
from deltaseal.trust import UnverifiedDocument, sign

INGEST = importlib.import_module("deltaseal.fleet.ingest")  # the module: its function has the same name


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with new_fleet(tmp_path / "fleet.db") as made:
        yield made


def count(fleet: Fleet, table: str) -> int:
    row = fleet.one(f"SELECT count(*) FROM {table}")
    assert row is not None
    return int(row[0])


def known(fleet: Fleet, number: int, column: str) -> object:
    row = fleet.one(f"SELECT {column} FROM devices WHERE device = ?", (device_id(number),))
    assert row is not None
    return row[0]


# ---- what counts -----------------------------------------------------------------------------------------


def test_an_enrolled_device_counts_once_by_its_newest_report(fleet: Fleet) -> None:
    result = take_in(fleet, signed(0, 1), signed(0, 2, active="macos-26.3.1-a") + signed(1))
    assert (result.counted, result.duplicates, dict(result.refused)) == (3, 0, {})
    assert known(fleet, 0, "active") == "macos-26.3.1-a"
    assert known(fleet, 2, "heard") == 0
    assert count(fleet, "devices") == 3


def test_the_same_report_again_is_a_duplicate(fleet: Fleet) -> None:
    batch = signed(0, 1) + signed(0, 2)
    take_in(fleet, batch)
    again = take_in(fleet, batch, batch)
    assert (again.counted, again.duplicates, sum(again.refused.values())) == (0, 4, 0)
    assert count(fleet, "reports") == 2


def test_what_was_signed_is_kept(fleet: Fleet) -> None:
    take_in(fleet, signed(0))
    row = fleet.one("SELECT body, signature FROM reports")
    assert row is not None
    document = UnverifiedDocument.loads(signed(0))
    assert row == (document.body, document.signatures[0].raw)


def test_how_long_it_took_is_counted(fleet: Fleet) -> None:
    for number, seconds in enumerate((10, 20, 400)):
        timings = Timings("macos-26.3.1-a", 1_000, {"healthy": seconds})
        take_in(fleet, signed(number, 1, timings=timings))
    assert timings_of(fleet, "macos-26.3.1-a") == Took(3, 20, 400, 3_000)
    assert timings_of(fleet, "macos-26.3.1-b") is None


# ---- what does not ---------------------------------------------------------------------------------------


def refused(fleet: Fleet, data: bytes, *, now: int = NOW) -> tuple[str, str]:
    result = take_in(fleet, data, now=now)
    assert result.counted == 0
    (one,) = result.refusals
    return one.error.reason, one.error.sentence


def test_a_forged_report_is_refused(fleet: Fleet) -> None:
    stranger = report(0).signed(device_key(9)).to_bytes()
    assert refused(fleet, stranger)[0] == "E_SIG"
    bent = bytearray(signed(0))
    bent[-1] ^= 1
    assert refused(fleet, bytes(bent)) == ("E_SIG", f"device {device_id(0)} did not sign this report")
    other = UnverifiedDocument.loads(signed(0))
    moved = UnverifiedDocument(other.type, UnverifiedDocument.loads(signed(1)).body, other.signatures)
    assert refused(fleet, moved.to_bytes())[0] == "E_SIG"


def test_a_device_cannot_speak_for_another(fleet: Fleet) -> None:
    reason, sentence = refused(fleet, report(1).signed(device_key(0)).to_bytes())
    assert reason == "E_DEVICE"
    assert f"speaks for {device_id(1)}" in sentence


def test_a_replayed_report_is_refused(fleet: Fleet) -> None:
    take_in(fleet, signed(0, 7))
    assert refused(fleet, signed(0, 3))[0] == "E_SEQ"
    assert known(fleet, 0, "sequence") == 7


def test_two_reports_of_one_number_are_two_devices_with_one_key(fleet: Fleet) -> None:
    take_in(fleet, signed(0, 7))
    assert refused(fleet, signed(0, 7, state="BROKEN"))[0] == "E_DEVICE"


def test_a_truncated_file_counts_up_to_the_cut(fleet: Fleet) -> None:
    whole = signed(0) + signed(1)
    for size in range(len(signed(0)) + 1, len(whole)):
        with_cut = take_in(fleet, whole[:size])
        assert with_cut.refused in ({"E_SIG": 1}, {"E_TYPE": 1}), size
    assert (known(fleet, 0, "sequence"), known(fleet, 1, "sequence")) == (1, 0)
    assert take_in(fleet, whole).counted == 1


def test_a_report_from_the_future_is_refused(fleet: Fleet) -> None:
    reason, sentence = refused(fleet, signed(0, 1, time=NOW + 3 * DAY))
    assert (reason, "72 hours ahead" in sentence) == ("E_LIMIT", True)
    assert take_in(fleet, signed(0, 1, time=NOW + DAY)).counted == 1


def test_a_huge_report_is_refused_and_what_follows_counts(fleet: Fleet) -> None:
    held = replace(report(0), removed=tuple(f"{'x' * 60}-{n}" for n in range(64)), attempts={"y" * 64: 1})
    assert take_in(fleet, held.signed(device_key(0)).to_bytes()).counted == 1
    body = b'{"x-more":"' + b"z" * 20_000 + b'"}'
    huge = sign("deltaseal/report", body, [device_key(1)]).to_bytes()
    result = take_in(fleet, huge + signed(2))
    assert (result.counted, dict(result.refused)) == (1, {"E_LIMIT": 1})


def test_what_is_no_report_is_refused(fleet: Fleet) -> None:
    assert refused(fleet, b"<html>413</html>")[0] == "E_TYPE"
    assert refused(fleet, enrolment(0).to_bytes())[0] == "E_TYPE"
    odd = sign("deltaseal/report", b'{"format":0}', [device_key(0)])
    assert refused(fleet, odd.to_bytes())[0] == "E_TYPE"
    assert take_in(fleet, b"").counted == 0


def test_a_device_that_claims_two_bases_is_told(fleet: Fleet) -> None:
    take_in(fleet, signed(0, 1, journal_n=10))
    beside = signed(0, 2, build="25E246", version="26.4", journal_n=10)
    reason, sentence = refused(fleet, beside)
    assert (reason, "25E246 beside 25D2128" in sentence) == ("E_DEVICE", True)
    assert known(fleet, 0, "build") == "25D2128"
    assert take_in(fleet, signed(0, 3, build="25E246", version="26.4", journal_n=11)).counted == 1
    assert refused(fleet, signed(0, 4, os="ios"))[0] == "E_BASE"
    assert refused(fleet, signed(0, 4, model="Mac16,8"))[0] == "E_MODEL"


def test_one_journal_has_one_record_of_a_number(fleet: Fleet) -> None:
    take_in(fleet, signed(0, 1, journal_n=10))
    assert refused(fleet, signed(0, 2, journal_n=10))[0] == "E_DEVICE"


def test_refusals_are_counted_not_kept(fleet: Fleet) -> None:
    bad = report(0).signed(device_key(9)).to_bytes()
    result = take_in(fleet, *[bad] * 50)
    assert (result.refused["E_SIG"], len(result.refusals)) == (50, 20)
    assert list(fleet.rows("SELECT reason, count FROM refusals")) == [("E_SIG", 50)]


# ---- the file --------------------------------------------------------------------------------------------


def test_a_full_disk_counts_nothing_and_loses_nothing(fleet: Fleet) -> None:
    batch = b"".join(signed(0, number) for number in range(1, 2_000))
    (pages,) = fleet.one("PRAGMA page_count") or (0,)
    fleet.one(f"PRAGMA max_page_count = {pages + 8}")
    with pytest.raises(SpaceError) as caught:
        take_in(fleet, batch)
    assert "nothing of what was being written is kept" in caught.value.hint
    assert (count(fleet, "reports"), known(fleet, 0, "sequence")) == (0, 0)
    fleet.one("PRAGMA max_page_count = 1073741823")
    assert take_in(fleet, batch).counted == 1_999


def test_a_file_is_done_only_when_its_reports_are_durable(tmp_path: Path) -> None:
    files = {str(at): signed(at) for at in range(40)}
    done: list[str] = []
    with new_fleet(tmp_path / "fleet.db", range(40)) as fleet:

        def reads() -> Iterator[tuple[str, object]]:
            for name, data in files.items():
                yield name, lambda data=data: iter([UnverifiedDocument.loads(data)])

        def look(name: str) -> None:
            with open_fleet(tmp_path / "fleet.db") as other:
                sequence = known(other, int(name), "sequence")
            assert sequence == 1
            done.append(name)

        ingest(fleet, reads(), now=NOW, done=look)  # type: ignore[arg-type]
    assert done == list(files)


def test_a_second_writer_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaseal.fleet.store.WAIT_MILLISECONDS", 10)
    with open_fleet(fleet.path) as other, fleet.writing():
        with pytest.raises(LockedError):
            take_in(other, signed(0))
        assert known(other, 0, "sequence") == 0  # a reader does not wait


def test_memory_does_not_grow_with_what_comes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INGEST, "IN_ONE", 100)
    document = UnverifiedDocument.loads(signed(0))

    def peak(files: int) -> int:
        with new_fleet(tmp_path / f"{files}.db", [0]) as fleet:
            many = ((str(at), lambda: iter([document])) for at in range(files))
            tracemalloc.start()
            assert ingest(fleet, many, now=NOW).files == files
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    assert peak(4_000) < peak(500) + (64 << 10)


def test_a_spool_is_read_in_windows(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INGEST, "MAX_DOCUMENT", 2_000)
    monkeypatch.setattr(INGEST, "_WINDOW", 5_000)
    assert take_in(fleet, b"".join(signed(0, number) for number in range(1, 101))).counted == 100


def test_an_older_file_is_brought_to_this_version(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with new_fleet(path) as fleet:
        take_in(fleet, signed(0))
    steps = (*STEPS, ("ALTER TABLE devices ADD COLUMN shelf TEXT NOT NULL DEFAULT 'none'",))
    connection = sqlite3.connect(path, isolation_level=None)
    assert migrate(connection, steps=steps) == VERSION
    assert connection.execute("SELECT shelf, sequence FROM devices").fetchone() == ("none", 1)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    connection.close()
    with pytest.raises(DocumentTypeError, match=f"version {VERSION + 1}; this program knows {VERSION}"):
        open_fleet(path)


def test_a_step_that_fails_leaves_the_older_version(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    new_fleet(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.Error):
        migrate(connection, steps=(*STEPS, ("ALTER TABLE devices ADD COLUMN shelf TEXT", "no SQL")))
    connection.close()
    with open_fleet(path) as fleet:
        assert "shelf" not in {row[1] for row in fleet.rows("PRAGMA table_info(devices)")}


def test_other_files_are_no_fleet(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words " * 500)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    for name in ("text", "other.db"):
        with pytest.raises(DocumentTypeError):
            open_fleet(tmp_path / name)
    with pytest.raises(UsageError, match="is no fleet"):
        open_fleet(tmp_path / "nothing")
    with pytest.raises(UsageError, match="exists already"):
        create_fleet(tmp_path / "text", trust())


# ---- enrolling -------------------------------------------------------------------------------------------


def test_enrolling_twice_changes_nothing(fleet: Fleet) -> None:
    done = enroll(fleet, [read_enrolment(enrolment(number)) for number in (2, 3)], now=NOW)
    assert (done.new, done.known, done.changed) == (1, 1, 0)


def test_a_device_made_anew_is_enrolled_again_only_when_told(fleet: Fleet) -> None:
    take_in(fleet, signed(0, 9))
    anew = replace(read_enrolment(enrolment(0)), key=device_key(7).public)
    with pytest.raises(DeviceError, match="enrolled already"):
        enroll(fleet, [read_enrolment(enrolment(5)), anew], now=NOW)
    assert count(fleet, "devices") == 3  # all or none
    assert enroll(fleet, [anew], now=NOW, again=True).changed == 1
    assert take_in(fleet, report(0, 1).signed(device_key(7)).to_bytes()).counted == 1
    assert refused(fleet, signed(0, 10))[0] == "E_SIG"


def test_two_devices_do_not_share_a_key(fleet: Fleet) -> None:
    with pytest.raises(DeviceError, match="names the key of device"):
        enroll(fleet, [replace(read_enrolment(enrolment(5)), key=device_key(0).public)], now=NOW)


def test_an_enrolment_is_signed_by_its_own_key() -> None:
    with pytest.raises(SignatureError):
        read_enrolment(UnverifiedDocument("deltaseal/enrolment", enrolment(0).body, enrolment(1).signatures))
