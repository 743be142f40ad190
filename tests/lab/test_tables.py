from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from deltaseal.lab.bench import Record, Usage, export, sizes
from deltaseal.lab.bench.machine import machine
from deltaseal.lab.bench.result import Result
from deltaseal.lab.bench.sizes import Bar

RECORDED = {
    "a": {"bsdiff4": 1000, "zstd19patch": 3000, "zucchini+xz": 400},
    "b": {"bsdiff4": 1000},
    "c": {"bsdiff4": 100, "hdiffz-lzma2": 50},
}


def record(pair: str, delta_bytes: int, *, group: str = "security", tool: str = "deltaseal") -> Record:
    create, apply = Usage(2.0, 1.0, 20480), Usage(0.5, 0.5, 10240)
    return Record(pair, group, 10_000, 11_000, tool, "default", delta_bytes, create, apply, 3, "")


def row(pair: str, delta_bytes: int, group: str = "security") -> sizes.Row:
    return sizes.row(record(pair, delta_bytes, group=group), RECORDED)


def test_a_row_stands_beside_the_smallest_peer() -> None:
    found = row("a", 800)
    assert (found.best_peer, found.best_peer_bytes, found.bsdiff4_bytes, found.zstd_bytes) == (
        "zucchini+xz",
        400,
        1000,
        3000,
    )
    assert (found.ratio_to("best"), found.ratio_to("bsdiff4")) == (2.0, 0.8)


def test_a_pair_without_peers_has_no_ratio() -> None:
    found = row("new", 800)
    assert (found.best_peer, found.ratio_to("best")) == ("", None)


def test_means_are_geometric_and_by_group() -> None:
    found = sizes.ratios([row("a", 500), row("b", 2000), row("c", 300, "rebuild"), row("new", 1)], "bsdiff4")
    assert found["security"].mean == pytest.approx(1.0)
    assert (found["security"].worst, found["security"].worst_pair, found["security"].count) == (2.0, "b", 2)
    assert found["rebuild"].mean == pytest.approx(3.0)
    assert found["all"].count == 2


@pytest.mark.parametrize(
    ("means", "worst", "expected"),
    [
        ([Bar("bsdiff4", "security", 1.0)], [], []),
        ([Bar("bsdiff4", "security", 0.99)], [], ["security: mean 1.000 of bsdiff4, the bar is 0.99"]),
        ([], [Bar("bsdiff4", "all", 1.9)], ["all: b is 2.000 of bsdiff4, the bar is 1.9"]),
        ([Bar("best", "macho", 9.0)], [], ["macho: mean inf of best, the bar is 9.0"]),
    ],
)
def test_bars(means: list[Bar], worst: list[Bar], expected: list[str]) -> None:
    assert sizes.above([row("a", 500), row("b", 2000)], means=means, worst=worst) == expected


def test_the_table_keeps_what_was_not_measured(tmp_path: Path) -> None:
    table = tmp_path / "results" / "sizes.csv"
    order = ["a", "b", "new"]
    first = sizes.update(table, [row("b", 900), row("new", 5), row("gone", 1)], order=order)
    assert [str(change) for change in first] == ["b: new, 900 bytes", "new: new, 5 bytes"]
    changes = sizes.update(table, [row("a", 500), row("b", 901)], order=order)
    assert [(str(change), change.grew) for change in changes] == [
        ("a: new, 500 bytes", False),
        ("b: grew from 900 to 901 bytes (+0.11 %)", True),
    ]
    assert list(sizes.read(table)) == order
    assert sizes.read(table)["b"] == row("b", 901)


def test_the_same_sizes_give_the_same_bytes(tmp_path: Path) -> None:
    table = tmp_path / "sizes.csv"
    sizes.update(table, [row("a", 500)], order=["a"])
    before = table.read_bytes()
    assert sizes.update(table, [row("a", 500)], order=["a"]) == []
    assert table.read_bytes() == before
    assert before.decode().splitlines() == [
        "pair,group,old_bytes,new_bytes,bsdiff4_bytes,zstd_bytes,best_peer,best_peer_bytes,delta_bytes,"
        "ratio,bsdiff4_ratio",
        "a,security,10000,11000,1000,3000,zucchini+xz,400,500,1.2500,0.5000",
    ]


def test_json_holds_every_figure_and_the_machine() -> None:
    made = Result((record("a", 500),), machine(), {"zstd": "1.5"}, "bench a")
    value = json.loads(made.to_json())
    assert value["format"] == 2 and value["machine"]["python"] and value["machine"]["processor"]
    assert value["records"][0]["create"] == {"cpu_s": 2.0, "wall_s": 1.0, "peak_kb": 20480}


def test_csv_has_the_columns_of_the_recorded_peers() -> None:
    with Path("benchmarks/corpus/peers.csv").open() as file:
        columns = csv.DictReader(file).fieldnames
    text = export.to_csv([record("a", 500), replace(record("b", 0), failure="create: exit 1: no")])
    read = csv.DictReader(io.StringIO(text))
    assert read.fieldnames == columns
    assert [line["verified"] for line in read] == ["yes", "create: exit 1: no"]


def test_costs_are_shown_as_a_ratio_to_each_peer() -> None:
    peer = replace(record("a", 700, tool="bsdiff4"), create=Usage(4.0, 4.0, 99), apply=Usage(0.0, 0.0, 99))
    failed = replace(record("a", 0, tool="xdelta3"), failure="create: out of time")
    lines = export.cost_table([record("a", 500), peer, failed]).splitlines()
    assert lines[1].split() == ["a", "deltaseal", "500", "2.00", "20", "0.500", "10", "1.00", "1.00"]
    assert lines[2].split() == ["a", "bsdiff4", "700", "4.00", "0", "0.000", "0", "0.50"]
    assert lines[3].split(maxsplit=2) == ["a", "xdelta3", "create: out of time"]


def test_costs_have_means_over_pairs_of_a_megabyte_and_more() -> None:
    sizes_of = {"a": 2_000_000, "b": 4_000_000, "c": 999_999}
    pairs = [replace(record(name, 500), new_bytes=size) for name, size in sizes_of.items()]
    peer = Usage(1.0, 1.0, 10240), Usage(8.0, 1.0, 10240), Usage(9e9, 1.0, 1)
    theirs = [
        replace(ours, tool="bsdiff4", create=its, apply=its) for ours, its in zip(pairs, peer, strict=True)
    ]
    *_, head, means = export.cost_table([*pairs, *theirs]).splitlines()
    assert head.split("  ")[-1] == "apply memory"
    assert means.split() == ["bsdiff4", "2", "0.71", "2.00", "0.18", "1.00"]


def test_the_sizes_table_shows_ratios_and_means() -> None:
    text = export.sizes_table([row("a", 500), row("b", 2000)])
    assert text.splitlines()[1].split()[-2:] == ["0.500", "1.250"]
    assert "1.000 (2, 2.000 b)" in text
