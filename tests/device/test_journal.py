"""The journal on the disk: what is durable when, and what ends a segment."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from deltaseal.device.journal import Journal, add_up, read_journal
from deltaseal.device.ledger import Ledger
from deltaseal.device.record import SEGMENT_RECORDS, Opened, Reading
from deltaseal.device.states import Event, State
from deltaseal.errors import DeltasealError, LimitError
from deltaseal.storage import Dir, SimulatedDisk

NOTHING = Reading((), 0, 0, False, None, ())


def fresh(disk: SimulatedDisk) -> tuple[Journal, Dir]:
    at = disk.open_root("/")
    journal = Journal(disk, at, now=lambda: 7, reading=NOTHING, ledger=Ledger())
    journal.start(Opened.FIRST, Ledger())
    return journal, at


def again(disk: SimulatedDisk) -> Journal:
    at = disk.open_root("/")
    reading = read_journal(disk, at)
    assert reading.fault is None
    return Journal(disk, at, now=lambda: 7, reading=reading, ledger=add_up(reading))


def note(journal: Journal, nonce: str) -> None:
    journal.append(Event.REQUEST, journal.ledger.state, facts={"nonce": nonce})


def segments(disk: SimulatedDisk) -> list[str]:
    return sorted(disk.snapshot())


def test_a_record_is_durable_when_append_returns() -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    for number in range(5):
        note(journal, f"n{number}")
        kept = again(disk.crash("durable"))
        assert kept.ledger == journal.ledger
        assert kept.ledger.nonces[-1] == f"n{number}"


def test_a_segment_ends_at_1000_records_and_nothing_is_lost() -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    for number in range(SEGMENT_RECORDS):
        note(journal, f"n{number}")
    assert segments(disk) == ["00000001", "00000002"]
    found = again(disk)
    assert found.ledger == journal.ledger
    assert found.ledger.nonces[-1] == f"n{SEGMENT_RECORDS - 1}"
    reading = read_journal(disk, disk.open_root("/"))
    assert [record.n for record in reading.records] == list(range(1, SEGMENT_RECORDS + 3))
    assert [record.opened for record in reading.records if record.opened] == [Opened.FIRST, Opened.FULL]


def test_after_a_torn_write_a_new_segment_goes_on() -> None:
    disk = SimulatedDisk()
    journal, at = fresh(disk)
    note(journal, "kept")
    with disk.open_append(at, "00000001") as file:
        file.write(b"0123 half a rec")
    reopened = again(disk)
    assert segments(disk) == ["00000001"]  # nothing is written without news
    note(reopened, "next")
    assert segments(disk) == ["00000001", "00000002"]
    assert again(disk).ledger.nonces == ("kept", "next")


# The operations of one record: the segment is opened, written, synced.
WRITE, SYNC = 1, 2


def test_a_failed_sync_is_never_trusted_the_record_goes_to_a_new_segment() -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    note(journal, "first")
    disk.fail_at(len(disk.operations) + SYNC, errno.EIO)
    note(journal, "second")
    assert segments(disk) == ["00000001", "00000002"]
    kept = again(disk.crash("durable"))
    assert kept.ledger.nonces == ("first", "second")
    reading = read_journal(disk, disk.open_root("/"))
    assert Opened.UNSYNCED in [record.opened for record in reading.records]
    note(journal, "third")
    assert again(disk.crash("durable")).ledger.nonces == ("first", "second", "third")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_is_refused_and_what_it_left_counts_for_nothing(number: int) -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    note(journal, "first")
    disk.fail_at(len(disk.operations) + WRITE, number)
    with pytest.raises(DeltasealError) as caught:
        note(journal, "lost")
    assert caught.value.reason == {errno.ENOSPC: "E_SPACE", errno.EIO: "E_IO"}[number]
    assert journal.ledger.nonces == ("first",)
    note(journal, "second")
    assert journal.ledger.nonces == ("first", "second")
    assert again(disk.crash("durable")).ledger.nonces == ("first", "second")


def test_a_record_without_a_row_is_never_written() -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    before = disk.snapshot()
    with pytest.raises(AssertionError, match="no row"):
        journal.append(Event.GO, State.SWITCHING)
    assert disk.snapshot() == before


def test_a_record_over_the_limit_is_refused_just_under_it_written() -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    with pytest.raises(LimitError):
        note(journal, "x" * (1 << 20))
    note(journal, "x" * ((1 << 20) - 400))
    assert len(again(disk).ledger.nonces[0]) == (1 << 20) - 400


@pytest.mark.parametrize("opened", ["torn", "full"])
def test_T31_a_segment_that_is_missing_or_cut_is_damage(opened: str) -> None:
    disk = SimulatedDisk()
    journal, at = fresh(disk)
    for number in range(3):
        note(journal, f"n{number}")
    if opened == "torn":
        with disk.open_append(at, "00000001") as file:
            file.write(b"half")
        journal = again(disk)
    else:
        for number in range(SEGMENT_RECORDS):
            note(journal, f"m{number}")
    note(journal, "last")
    whole = disk.snapshot()["00000001"]
    assert whole[0] == "file"
    lines = whole[1].split(b"\n")
    cut = b"\n".join(lines[:-3]) + b"\n"
    for edited in (None, cut, b""):
        content = {
            path: leaf for path, leaf in disk.snapshot().items() if edited is not None or path != "00000001"
        }
        if edited is not None:
            content["00000001"] = ("file", edited, 0o644)
        other = SimulatedDisk(content)
        reading = read_journal(other, other.open_root("/"))
        assert reading.fault is not None, edited


def test_T31_any_edited_byte_before_the_head_is_damage(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    journal, _ = fresh(disk)
    for number in range(3):
        note(journal, f"n{number}")
    leaf = disk.snapshot()["00000001"]
    assert leaf[0] == "file"
    data = leaf[1]
    head = data.rindex(b"\n", 0, len(data) - 1) + 1
    for at in range(0, head, 7):
        edited = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        other = SimulatedDisk({"00000001": ("file", edited, 0o644)})
        assert read_journal(other, other.open_root("/")).fault is not None, at
