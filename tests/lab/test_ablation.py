"""Ablation: bytes by stream under each coder, and deltas with one technique left out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from spec.delta_reader import KINDS
from support.old_images import build_library, library_source

from deltaseal import images
from deltaseal._core import TECHNIQUES
from deltaseal.images.parts import take_apart
from deltaseal.lab.ablation import LEFT_OUT, code_streams, measure
from deltaseal.lab.ablation.command import run
from deltaseal.lab.ablation.techniques import REFERENCE_KINDS
from deltaseal.lab.bench.sides import pair_of


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    made = (
        build_library(library_source(80, changed=n), folder / name) for n, name in ((0, "old"), (3, "new"))
    )
    old, new = made
    return old, new


def test_the_parts_are_those_of_the_delta(pair: tuple[Path, Path]) -> None:
    old, new = (path.read_bytes() for path in pair)
    for effort in ("default", "best"):
        made = images.diff_bytes(old, new, effort=effort, digests=False)
        assert take_apart(old, new, effort=effort).size == len(made)


def test_every_stream_is_coded_and_every_decision_counted(pair: tuple[Path, Path]) -> None:
    old, new = (path.read_bytes() for path in pair)
    default, best = (take_apart(old, new, effort=effort) for effort in ("default", "best"))
    rows = code_streams(default)
    assert {row.stream for row in rows} >= set(default.streams) and sum(row.raw for row in rows) > 0
    assert all(row.sizes["zstd"] > 0 for row in rows if row.raw)
    assert sum(best.decisions.values()) == pytest.approx(best.size, rel=0.1, abs=40)


def test_what_is_left_out_costs(pair: tuple[Path, Path]) -> None:
    old, new = (path.read_bytes() for path in pair)
    wholes = {effort: take_apart(old, new, effort=effort) for effort in ("default", "best")}
    left = {(one.technique, one.effort): one for one in measure(old, new, ("default", "best"), wholes)}
    assert {name for name, _ in left} == {technique.name for technique in LEFT_OUT}
    for effort in ("default", "best"):
        assert left["references, all", effort].gives > 0.5
        assert left["labels (matching as bytes)", effort].gives > 0.1
        assert left["block choice by price", effort].gives > 0.1
        assert left["kind: x86-64 branches, rip-relative", effort].gives > 0.3
        assert left["kind: AArch64 branches", effort].gives == 0
    assert left["teaching on old code", "best"].gives > 0


def test_every_kind_and_technique_is_left_out_once() -> None:
    numbers = [number for kinds in REFERENCE_KINDS.values() for number in kinds]
    assert sorted(numbers) == list(range(1, len(KINDS) + 1))
    named = [name for technique in LEFT_OUT if technique.without for name in technique.without.techniques]
    assert sorted(named) == sorted(TECHNIQUES)


def test_the_command_prints_and_keeps_its_rows(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ablation.csv", "streams.csv"):
        (tmp_path / name).write_text("pair,rest\nanother,1\n")
    for _ in range(2):
        run([pair_of(*pair)], tmp_path)
    shown = capsys.readouterr().out
    assert "reference wrong" in shown and "references, all" in shown and "all joined" in shown
    with (tmp_path / "ablation.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["another", "1"]
    assert len(rows) == 2 + sum(len(technique.efforts) for technique in LEFT_OUT)
