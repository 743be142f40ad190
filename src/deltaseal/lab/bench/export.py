"""Records and size tables as text for people, JSON and CSV. Nothing is computed that is not in them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.sizes import PEERS, Ratios, Row, ratios

__all__ = ["columns", "cost_table", "line", "sizes_table", "to_csv"]

_PEERS_CSV = (
    *("pair", "group", "old_bytes", "new_bytes", "peer", "settings", "delta_bytes"),
    *("create_cpu_s", "create_peak_kb", "apply_cpu_s", "apply_peak_kb", "verified"),
)

_COSTS: dict[str, Callable[[Record], float]] = {
    "create CPU": lambda record: record.create.cpu_s,
    "create memory": lambda record: record.create.peak_kb,
    "apply CPU": lambda record: record.apply.cpu_s,
    "apply memory": lambda record: record.apply.peak_kb,
}


def line(record: Record) -> str:
    """One record on one line, printed as it is finished."""
    if not record.good:
        return f"{record.pair:22} {record.tool:14} FAILED {record.failure}"
    return f"{record.pair:22} {record.tool:14} {record.delta_bytes:>12,} bytes{_cost(record)}"


def _cost(record: Record) -> str:
    create, apply = record.create, record.apply
    return (
        f"   create {create.cpu_s:8.2f} s {create.peak_kb / 1024:6.0f} MiB"
        f"   apply {apply.cpu_s:6.2f} s {apply.peak_kb / 1024:6.0f} MiB"
    )


# ---- tables for people -------------------------------------------------------------------------


def sizes_table(rows: Sequence[Row]) -> str:
    """Our bytes beside the peers' recorded ones, with geometric means by group below."""
    head = ("pair", "group", "new", "delta", "bsdiff4", "zstd -19", "best peer", "", "to bsdiff4", "to best")
    body = [
        (
            row.pair,
            row.group,
            f"{row.new_bytes:,}",
            f"{row.delta_bytes:,}",
            _bytes(row.bsdiff4_bytes),
            _bytes(row.zstd_bytes),
            row.best_peer,
            _bytes(row.best_peer_bytes),
            _ratio(row.ratio_to("bsdiff4")),
            _ratio(row.ratio_to("best")),
        )
        for row in rows
    ]
    return _columns(head, body, left={0, 1, 6}) + "\n" + _means_table(rows)


def _means_table(rows: Sequence[Row]) -> str:
    by_peer = {peer: ratios(rows, peer) for peer in PEERS}
    known = {group for found in by_peer.values() for group in found}
    groups = [*sorted(known - {"all"}), *sorted(known & {"all"})]
    head = ("geometric means (pairs, worst)", *(f"to {peer}" for peer in PEERS))
    body = [(group, *(_mean(by_peer[peer].get(group)) for peer in PEERS)) for group in groups]
    return _columns(head, body, left={0})


def _mean(found: Ratios | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:.3f} ({found.count}, {found.worst:.3f} {found.worst_pair})"


def cost_table(records: Sequence[Record]) -> str:
    """Processor time and memory of every tool, and ours as a ratio to each peer's in the same run."""
    head = ("pair", "tool", "bytes", "create s", "MiB", "apply s", "MiB", "ours/its create", "ours/its apply")
    ours = {record.pair: record for record in records if record.tool == records[0].tool and record.good}
    body = [_cost_cells(record, ours.get(record.pair)) for record in records]
    return _columns(head, body, left={0, 1}) + "\n" + _cost_means(records, ours)


def _cost_means(records: Sequence[Record], ours: Mapping[str, Record]) -> str:
    """Ours over each peer's, geometric means over new images of 1 MB and more: below, times are noise."""
    by_peer: dict[str, list[tuple[Record, Record]]] = {}
    peers = [record for record in records if record.good and record.tool != records[0].tool]
    for record in peers:
        if record.pair in ours and record.new_bytes >= 1_000_000:
            by_peer.setdefault(record.tool, []).append((ours[record.pair], record))
    if not by_peer:
        return ""
    head = ("geometric means, 1 MB and more", "pairs", *_COSTS)
    body = []
    for peer, couples in by_peer.items():
        ratios = ([_over(cost(mine), cost(its)) for mine, its in couples] for cost in _COSTS.values())
        body.append((peer, str(len(couples)), *map(_geometric, ratios)))
    return _columns(head, body, left={0})


def _over(mine: float, its: float) -> float | None:
    return mine / its if mine > 0 and its > 0 else None


def _geometric(ratios: Sequence[float | None]) -> str:
    known = [ratio for ratio in ratios if ratio is not None]
    return f"{statistics.geometric_mean(known):.2f}" if known else ""


def _cost_cells(record: Record, ours: Record | None) -> tuple[str, ...]:
    if not record.good:
        return (record.pair, record.tool, record.failure, *[""] * 6)
    times = (record.create.cpu_s, record.apply.cpu_s)
    own = (ours.create.cpu_s, ours.apply.cpu_s) if ours else (0.0, 0.0)
    return (
        record.pair,
        record.tool,
        f"{record.delta_bytes:,}",
        f"{times[0]:.2f}",
        f"{record.create.peak_kb / 1024:.0f}",
        f"{times[1]:.3f}",
        f"{record.apply.peak_kb / 1024:.0f}",
        *(f"{mine / its:.2f}" if ours and its else "" for mine, its in zip(own, times, strict=True)),
    )


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def columns(head: Sequence[str], body: Iterable[Sequence[str]], *, left: set[int]) -> list[str]:
    """Cells in columns as wide as their widest, a line each; never cut: a file of it can be read too."""
    lines = [tuple(head), *map(tuple, body)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(head))]

    def text(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [text(cells) for cells in lines]


def _columns(head: Sequence[str], body: Iterable[Sequence[str]], *, left: set[int]) -> str:
    return "\n".join(columns(head, body, left=left)) + "\n"


# ---- for programs ------------------------------------------------------------------------------


def to_csv(records: Iterable[Record]) -> str:
    """Every record in the columns of peers.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_PEERS_CSV)
    for record in records:
        writer.writerow(
            (
                record.pair,
                record.group,
                record.old_bytes,
                record.new_bytes,
                record.tool,
                record.settings,
                record.delta_bytes,
                f"{record.create.cpu_s:.2f}",
                record.create.peak_kb,
                f"{record.apply.cpu_s:.2f}",
                record.apply.peak_kb,
                "yes" if record.good else record.failure,
            )
        )
    return text.getvalue()
