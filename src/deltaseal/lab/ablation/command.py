"""``./dev bench --streams``: the tables of some pairs, printed, and kept in benchmarks/results."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deltaseal.images.parts import Parts, take_apart
from deltaseal.lab.ablation.entropy import CODERS, Coded, code_streams, joined
from deltaseal.lab.ablation.techniques import Left, measure
from deltaseal.lab.bench.corpus import Pair
from deltaseal.lab.bench.export import columns

__all__ = ["EFFORTS", "STREAMS_CSV", "TECHNIQUES_CSV", "run"]

EFFORTS = ("default", "best")
TECHNIQUES_CSV = (
    "pair",
    "technique",
    "effort",
    "whole_bytes",
    "bytes_without",
    "gives",
    "whole_cpu_s",
    "cpu_s",
)
STREAMS_CSV = ("pair", "part", "raw_bytes", *(f"{c}_{what}" for c in CODERS for what in ("bytes", "cpu_s")))


def run(pairs: Sequence[Pair], results: Path) -> None:
    """Measure, print, and put the rows of these pairs into ``results``/ablation.csv and streams.csv."""
    for pair in pairs:
        old, new = pair.old.read_bytes(), pair.new.read_bytes()
        wholes = {effort: take_apart(old, new, effort=effort) for effort in EFFORTS}
        streams = [*code_streams(wholes["default"]), joined(wholes["default"])]
        print(_streams_table(pair.name, streams, wholes))
        left = list(measure(old, new, EFFORTS, wholes))
        print(_techniques_table(pair.name, left))
        _keep(results / "streams.csv", STREAMS_CSV, pair.name, _stream_rows(pair.name, streams, wholes))
        _keep(results / "ablation.csv", TECHNIQUES_CSV, pair.name, _technique_rows(pair.name, left))


# ---- tables for people -------------------------------------------------------------------------


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    return "\n".join(columns(head, body, left={0})) + "\n"


def _streams_table(pair: str, rows: Sequence[Coded], wholes: Mapping[str, Parts]) -> str:
    default, best = wholes["default"], wholes["best"]
    head = (
        f"{pair}: stream",
        "raw",
        *(f"{coder}" for coder in CODERS),
        *(f"{coder} CPU s" for coder in CODERS),
    )
    body = [
        (
            row.stream,
            f"{row.raw:,}",
            *(f"{row.sizes[coder]:,}" if coder in row.sizes else "" for coder in CODERS),
            *(f"{row.cpu_s[coder]:.3f}" if coder in row.cpu_s else "" for coder in CODERS),
        )
        for row in rows
    ]
    decisions = [
        (name, f"{size:,.0f}", f"{size / best.size:.1%}")
        for name, size in best.decisions.items()
        if size >= 1
    ]
    return (
        _table(head, body)
        + f"effort default, as it is stored: {default.size:,} bytes, {default.cpu_s:.2f} CPU s\n"
        + f"effort best: {best.size:,} bytes, {best.cpu_s:.2f} CPU s\n\n"
        + _table((f"{pair}: decision of the model", "bytes", "share"), decisions)
    )


def _techniques_table(pair: str, left: Sequence[Left]) -> str:
    head = (
        f"{pair}: without",
        *(f"{effort} {what}" for effort in EFFORTS for what in ("bytes", "", "CPU s")),
    )
    names = dict.fromkeys(one.technique for one in left)
    by_name = {(one.technique, one.effort): one for one in left}
    body = []
    for name in names:
        cells = [name]
        for effort in EFFORTS:
            one = by_name.get((name, effort))
            cells += (
                [f"{one.size:,}", f"{one.gives:+.1%}", f"{one.cpu_s - one.whole_cpu_s:+.2f}"]
                if one
                else [""] * 3
            )
        body.append(cells)
    return _table(head, body)


# ---- tables that are kept ----------------------------------------------------------------------


def _stream_rows(pair: str, rows: Sequence[Coded], wholes: Mapping[str, Parts]) -> list[list[str]]:
    made = [[pair, f"stream {row.stream}", str(row.raw), *_coder_cells(row)] for row in rows]
    blank = [""] * (len(STREAMS_CSV) - 3)
    made += [
        [pair, f"decision {name}", f"{size:.0f}", *blank] for name, size in wholes["best"].decisions.items()
    ]
    return made + [[pair, f"delta {effort}", str(wholes[effort].size), *blank] for effort in EFFORTS]


def _coder_cells(row: Coded) -> list[str]:
    cells = []
    for coder in CODERS:
        cells += [str(row.sizes[coder]), f"{row.cpu_s[coder]:.3f}"] if coder in row.sizes else ["", ""]
    return cells


def _technique_rows(pair: str, left: Sequence[Left]) -> list[list[str]]:
    return [
        [
            pair,
            one.technique,
            one.effort,
            str(one.whole),
            str(one.size),
            f"{one.gives:.4f}",
            f"{one.whole_cpu_s:.2f}",
            f"{one.cpu_s:.2f}",
        ]
        for one in left
    ]


def _keep(path: Path, head: Sequence[str], pair: str, rows: Sequence[Sequence[str]]) -> None:
    """The rows of other pairs stay where they are."""
    kept: list[list[str]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = list(csv.reader(file))[1:]
    before = next((number for number, row in enumerate(kept) if row[0] == pair), len(kept))
    others = [row for row in kept if row[0] != pair]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *others[:before], *rows, *others[before:]])
