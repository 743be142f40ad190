"""A run as tables for a terminal: each pair with the best of every column marked, then geometric means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deltaseal.lab.bench.export import columns
from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.result import Result
from deltaseal.lab.bench.summary import METRICS, Metric, mean_ratio, pair_ratio

__all__ = ["figure", "is_best", "result_lines"]

BEST = "*"


def is_best(record: Record, records: Sequence[Record], metric: Metric) -> bool:
    """Whether no other good record has less. What is too short to be told from nothing is equally short."""
    least = min((metric.value(one) for one in records if one.good), default=0.0)
    return record.good and metric.value(record) <= max(least, metric.least)


def figure(record: Record, metric: Metric) -> str:
    """One value as it is printed."""
    value = metric.value(record)
    if metric.unit == "bytes":
        return f"{value:,.0f}"
    if metric.least and value <= metric.least:
        return f"<{metric.least:g}"
    return f"{value:.2f}" if metric.unit == "CPU s" and value < 100 else f"{value:,.0f}"


def result_lines(result: Result) -> list[str]:
    """The whole run: pairs, means over them, and what it was made on."""
    lines = [line for pair in result.pairs for line in _pair_lines(result, pair)]
    if len(result.pairs) > 1:
        lines += _mean_lines(result)
    return [*lines, *_facts(result)]


def _pair_lines(result: Result, pair: str) -> Iterator[str]:
    records = [record for record in result.records if record.pair == pair]
    first = records[0]
    yield f"{pair}: {first.old_bytes:,} bytes old, {first.new_bytes:,} new"
    yield from columns(_head(result.tools[0]), [_cells(result, r, records) for r in records], left={0})
    yield from (f"{record.tool} failed: {record.failure}" for record in records if not record.good)
    yield ""


def _head(mine: str) -> list[str]:
    cells = ["tool"]
    for metric in METRICS.values():
        cells += [f"{metric.name} {metric.unit}" if metric.name != "delta" else "bytes", f"{mine}/its"]
    return cells


def _cells(result: Result, record: Record, beside: Sequence[Record]) -> list[str]:
    cells = [record.tool]
    mine = result.good(record.pair, result.tools[0])
    for metric in METRICS.values():
        if not record.good:
            cells += ["failed" if metric.unit == "bytes" else "", ""]
            continue
        marked = BEST if is_best(record, beside, metric) else " "
        ratio = pair_ratio(mine, record, metric) if mine and mine is not record else None
        cells += [figure(record, metric) + marked, str(ratio or "")]
    return cells


def _mean_lines(result: Result) -> Iterator[str]:
    mine = result.tools[0]
    head = [f"geometric means, {mine}/its", "pairs", *(f"{m.name} {m.unit}" for m in METRICS.values())]
    body = []
    for tool in result.tools[1:]:
        ratios = [mean_ratio(result, mine, tool, metric) for metric in METRICS.values()]
        count = ratios[0].count if ratios[0] else 0
        body.append([tool, str(count), *(str(ratio or "") for ratio in ratios)])
    if body:
        yield from columns(head, body, left={0})
        yield ""


def _facts(result: Result) -> Iterator[str]:
    if len(result.tools) > 1:
        yield f"{BEST} best of its column; in parentheses from the lowest to the highest repeat, or pair"
    if result.machine:
        yield "made on: " + ", ".join(f"{name} {value}" for name, value in result.machine.items())
    if result.versions:
        yield "with: " + "; ".join(f"{name} {words}" for name, words in result.versions.items())
