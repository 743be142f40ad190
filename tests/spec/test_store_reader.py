"""Two readers of one page: the journal as the program and as the second reader read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec.store_reader import Damaged, read
from support.devices import World, bundle, catalogue, new_device, source

from deltaseal.device.record import Record, follow


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = tmp_path_factory.mktemp("device") / "d"
    device = new_device(root, World())
    device.update([source(bundle("a"), listed=catalogue(bundle("a")))])
    device.remove()
    return (root / "journal/00000001").read_bytes()


def ours(data: bytes) -> list[int] | None:
    reading = follow([(1, data)])
    return None if reading.fault else [record.n for record in reading.records]


def theirs(data: bytes, folder: Path) -> list[int] | None:
    (folder / "00000001").write_bytes(data)
    try:
        return [values["n"] for values in read(folder)]
    except Damaged:
        return None


def test_both_read_all_records(journal: bytes, tmp_path: Path) -> None:
    assert theirs(journal, tmp_path) == ours(journal) == list(range(1, 12))


def test_both_follow_many_segments(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    for _ in range(12):
        device.request()
    segment = tmp_path / "d/journal/00000001"
    segment.write_bytes(segment.read_bytes()[:-10])  # torn: the next record opens a new segment
    device.request()
    folder = tmp_path / "d/journal"
    data = [(int(path.name), path.read_bytes()) for path in sorted(folder.iterdir())]
    reading = follow(data)
    assert len(data) == 2
    assert reading.fault is None
    assert [values["n"] for values in read(folder)] == [record.n for record in reading.records]
    assert read(folder)[-1]["event"] == "request"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_both_judge_every_edit_alike(
    journal: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(journal) - 1))
    edit = data.draw(st.sampled_from(["flip", "cut", "drop", "double", "zero"]))
    edited = {
        "flip": journal[:at] + bytes([journal[at] ^ 1]) + journal[at + 1 :],
        "cut": journal[:at],
        "drop": journal[:at] + journal[at + 1 :],
        "double": journal[:at] + journal[at : at + 40] + journal[at:],
        "zero": journal[:at] + bytes(len(journal) - at),
    }[edit]
    folder = tmp_path_factory.mktemp("journal")
    assert theirs(edited, folder) == ours(edited)


@settings(max_examples=60)
@given(
    numbers=st.lists(st.integers(0, 2**40), min_size=1, max_size=8),
    text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
)
def test_what_is_written_is_read(numbers: list[int], text: str) -> None:
    before: Record | None = None
    lines = b""
    for number in numbers:
        facts = {"opened": "first", "x": number, "y": text} if before is None else {"y": text}
        record = Record(
            n=before.n + 1 if before else 1,
            prev=before.digest if before else "",
            time=number,
            state="BASELINE",  # type: ignore[arg-type]
            event="request" if before else "checkpoint",  # type: ignore[arg-type]
            facts=facts,
        )
        lines += record.line
        before = record
    reading = follow([(1, lines)])
    assert reading.fault is None
    assert [record.time for record in reading.records] == numbers
    assert {record.facts["y"] for record in reading.records} == {text}
