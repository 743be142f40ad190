"""benchmarks/results/sizes.csv: the committed table of delta sizes, whose history is the engine's story.

It holds exact bytes only, no times, so that a line changes only where a delta did. A run over some pairs
changes the lines of those pairs only.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from deltaseal.lab.bench.record import Record

__all__ = ["PEERS", "Bar", "Change", "Ratios", "Row", "above", "ratios", "read", "row", "update"]

PEERS = ("bsdiff4", "zstd", "best")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Peers' bytes are those recorded in peers.csv; None where there are none.

    ``ratio`` is our delta over the best peer's, ``bsdiff4_ratio`` over bsdiff4's.
    """

    pair: str
    group: str
    old_bytes: int
    new_bytes: int
    bsdiff4_bytes: int | None
    zstd_bytes: int | None
    best_peer: str
    best_peer_bytes: int | None
    delta_bytes: int

    def ratio_to(self, peer: str) -> float | None:
        """Our bytes over those of ``bsdiff4``, ``zstd`` or ``best``; None where the peer has none."""
        theirs = {"bsdiff4": self.bsdiff4_bytes, "zstd": self.zstd_bytes, "best": self.best_peer_bytes}[peer]
        return self.delta_bytes / theirs if theirs else None


_COLUMNS = (*(field.name for field in fields(Row)), "ratio", "bsdiff4_ratio")


def row(record: Record, recorded: Mapping[str, Mapping[str, int]]) -> Row:
    """A record of ours beside what peers.csv has for its pair."""
    theirs = recorded.get(record.pair, {})
    best = min(theirs, key=lambda peer: (theirs[peer], peer), default="")
    return Row(
        pair=record.pair,
        group=record.group,
        old_bytes=record.old_bytes,
        new_bytes=record.new_bytes,
        bsdiff4_bytes=theirs.get("bsdiff4"),
        zstd_bytes=theirs.get("zstd19patch"),
        best_peer=best,
        best_peer_bytes=theirs.get(best),
        delta_bytes=record.delta_bytes,
    )


@dataclass(frozen=True, slots=True)
class Ratios:
    """Our bytes over a peer's on the pairs of one group: geometric mean, and the worst with its pair."""

    mean: float
    worst: float
    worst_pair: str
    count: int


def ratios(rows: Iterable[Row], peer: str) -> dict[str, Ratios]:
    """Group to its ratios to a peer, over the pairs that have that peer.

    ``all`` is every group but ``rebuild``: a rebuild's delta is the fixed cost of a format, which says
    nothing as a ratio.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for each in rows:
        ratio = each.ratio_to(peer)
        if ratio is not None:
            found[each.group][each.pair] = ratio
            if each.group != "rebuild":
                found["all"][each.pair] = ratio
    return {group: _summary(by_pair) for group, by_pair in found.items()}


def _summary(by_pair: Mapping[str, float]) -> Ratios:
    worst = max(by_pair, key=lambda pair: by_pair[pair])
    return Ratios(statistics.geometric_mean(by_pair.values()), by_pair[worst], worst, len(by_pair))


@dataclass(frozen=True, slots=True)
class Bar:
    """The most that our bytes may be, as a ratio to a peer's, over a group or ``all``."""

    peer: str
    group: str
    ratio: float


def above(rows: Sequence[Row], *, means: Iterable[Bar] = (), worst: Iterable[Bar] = ()) -> list[str]:
    """A sentence for each bar that a group's mean, or its worst pair, is above; or that has no pairs."""
    nothing = Ratios(math.inf, math.inf, "no pair", 0)
    sentences = []
    for bar in means:
        mean = ratios(rows, bar.peer).get(bar.group, nothing).mean
        if mean > bar.ratio:
            sentences.append(f"{bar.group}: mean {mean:.3f} of {bar.peer}, the bar is {bar.ratio}")
    for bar in worst:
        found = ratios(rows, bar.peer).get(bar.group, nothing)
        if found.worst > bar.ratio:
            sentences.append(
                f"{bar.group}: {found.worst_pair} is {found.worst:.3f} of {bar.peer}, the bar is {bar.ratio}"
            )
    return sentences


# ---- the file ----------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Row]:
    """The rows of a table by pair; none where there is no file yet."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {line["pair"]: _parse(line) for line in csv.DictReader(file)}


@dataclass(frozen=True, slots=True)
class Change:
    """A pair whose delta is new in the table (``before`` is None), or has another size."""

    pair: str
    before: int | None
    after: int

    @property
    def grew(self) -> bool:
        """Whether the delta is larger than it was."""
        return self.before is not None and self.after > self.before

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.pair}: new, {self.after:,} bytes"
        percent = 100 * (self.after - self.before) / self.before
        verb = "grew" if self.grew else "shrank"
        return f"{self.pair}: {verb} from {self.before:,} to {self.after:,} bytes ({percent:+.2f} %)"


def update(path: Path, rows: Iterable[Row], *, order: Sequence[str]) -> list[Change]:
    """Write rows into the table, keep the others, and say what changed.

    Lines stand in the order of the list of pairs; pairs that have left the list leave the table.
    """
    before = read(path)
    after = before | {each.pair: each for each in rows}
    kept = [after[name] for name in order if name in after]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_dump(kept))
    sizes = {name: each.delta_bytes for name, each in before.items()}
    changes = [Change(each.pair, sizes.get(each.pair), each.delta_bytes) for each in kept]
    return [change for change in changes if change.before != change.after]


def _parse(line: Mapping[str, str]) -> Row:
    def number(name: str) -> int | None:
        return int(line[name]) if line[name] else None

    return Row(
        pair=line["pair"],
        group=line["group"],
        old_bytes=int(line["old_bytes"]),
        new_bytes=int(line["new_bytes"]),
        bsdiff4_bytes=number("bsdiff4_bytes"),
        zstd_bytes=number("zstd_bytes"),
        best_peer=line["best_peer"],
        best_peer_bytes=number("best_peer_bytes"),
        delta_bytes=int(line["delta_bytes"]),
    )


def _dump(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in rows:
        ratios = {"ratio": _show(each.ratio_to("best")), "bsdiff4_ratio": _show(each.ratio_to("bsdiff4"))}
        writer.writerow(asdict(each) | ratios)
    return text.getvalue()


def _show(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.4f}"
