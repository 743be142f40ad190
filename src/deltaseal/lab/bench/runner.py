"""The measuring runner: makes, applies and checks deltas of real pairs, deltaseal's and its peers'.

What holds for every figure:

1. each call is a process of its own; its processor time includes all its threads and children;
2. what merely starting the tool takes is subtracted, measured the same way;
3. with repeats the tools take turns, so that a change of the machine's pace meets all alike; times are
   medians, memory is the largest seen;
4. a delta counts only if applying it gives the new side back, byte for byte.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal.lab.bench.corpus import Pair
from deltaseal.lab.bench.process import Usage, measure
from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.sides import flattened, same
from deltaseal.lab.bench.tools import Tool

__all__ = ["run"]

_STARTS = 5  # calls of a tool's start; the median counts


def run(
    pairs: Sequence[Pair],
    tools: Sequence[Tool],
    *,
    repeats: int = 1,
    timeout: float | None = None,
    scratch: Path | None = None,
    done: Callable[[Record], None] = lambda record: None,
) -> list[Record]:
    """Measure every tool on every pair; a tool that fails on a pair gives a record that says so.

    ``timeout`` is in seconds for each call, ``scratch`` a folder for deltas and results (temporary files
    there are removed), ``done`` is called with each record as it is finished.
    """
    starts = {tool.name: _start(tool) for tool in tools}
    records = []
    for pair in pairs:
        with tempfile.TemporaryDirectory(prefix="deltaseal-bench.", dir=scratch) as folder:
            for record in _measure_pair(pair, tools, starts, repeats, timeout, Path(folder)):
                done(record)
                records.append(record)
    return records


def _start(tool: Tool) -> Usage:
    runs = [measure(tool.argv(tool.start)).usage for _ in range(_STARTS)]
    return _typical(runs)


def _typical(usages: Sequence[Usage]) -> Usage:
    return Usage(
        statistics.median(usage.cpu_s for usage in usages),
        statistics.median(usage.wall_s for usage in usages),
        max(usage.peak_kb for usage in usages),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """One tool, one pair, once."""

    delta_bytes: int
    create: Usage
    apply: Usage
    failure: str


def _measure_pair(
    pair: Pair,
    tools: Sequence[Tool],
    starts: dict[str, Usage],
    repeats: int,
    timeout: float | None,
    folder: Path,
) -> Iterator[Record]:
    samples: dict[str, list[_Sample]] = {tool.name: [] for tool in tools}
    flat = flattened(pair, folder) if any(not tool.takes_trees for tool in tools) else pair
    for _ in range(repeats):
        for tool in tools:
            taken = samples[tool.name]
            if not any(sample.failure for sample in taken):
                taken.append(_once(tool, pair if tool.takes_trees else flat, folder, timeout))
    for tool in tools:
        yield _record(pair, tool, samples[tool.name], starts[tool.name])


def _once(tool: Tool, pair: Pair, folder: Path, timeout: float | None) -> _Sample:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        delta, result = Path(place, "delta"), Path(place, "new")
        created = measure(tool.argv(tool.create, old=pair.old, new=pair.new, delta=delta), timeout=timeout)
        if not created.good or not delta.is_file():
            return _Sample(0, created.usage, created.usage, f"create: {created.failure or 'no delta'}")
        applied = measure(tool.argv(tool.apply, old=pair.old, new=result, delta=delta), timeout=timeout)
        failure = f"apply: {applied.failure}" if not applied.good else ""
        if applied.good and not same(result, pair.new):
            failure = "apply: the result is not the new side"
        return _Sample(delta.stat().st_size, created.usage, applied.usage, failure)


def _record(pair: Pair, tool: Tool, samples: Sequence[_Sample], start: Usage) -> Record:
    creates, applies = [sample.create for sample in samples], [sample.apply for sample in samples]
    return Record(
        pair=pair.name,
        group=pair.group,
        old_bytes=pair.old_bytes,
        new_bytes=pair.new_bytes,
        tool=tool.name,
        settings=tool.settings,
        delta_bytes=samples[-1].delta_bytes,
        create=_typical(creates).beyond(start),
        apply=_typical(applies).beyond(start),
        repeats=len(samples),
        failure=samples[-1].failure,
        creates=tuple(usage.beyond(start) for usage in creates),
        applies=tuple(usage.beyond(start) for usage in applies),
    )
