"""Two runs held side by side, for CI: what changed of our own deltas, and what went past its limit.

Bytes are exact: each pair is judged. Times and memory vary with the machine and the hour: their geometric
mean over the pairs is judged, and only where a limit is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.result import Result, is_ours
from deltaseal.lab.bench.summary import METRICS, Metric

__all__ = ["Comparison", "compare"]


# A comparison of nothing is not passed: names of pairs may have changed, or nothing was fetched.
_NOTHING = "no pair is in both runs, measured well with the same tool: nothing was compared"


@dataclass(frozen=True, slots=True)
class Change:
    """One pair at one effort: a figure before and after."""

    pair: str
    tool: str
    metric: str
    before: float
    after: float

    @property
    def percent(self) -> float:
        """By how much it grew, of what it was."""
        return 100 * (self.after - self.before) / self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """Changes of bytes by pair, of everything as means.

    ``past`` has a sentence for each limit passed, and one where nothing could be compared.
    """

    changes: tuple[Change, ...]
    means: dict[str, float]  # metric to its growth in percent, over the pairs that both runs have
    pairs: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    same_machine: bool
    past: tuple[str, ...]

    def lines(self) -> list[str]:
        """The comparison for people."""
        unchanged = ["no delta changed its size"] if self.pairs else []
        lines = [_line(change) for change in self.changes] or unchanged
        means = [f"{name} {growth:+.2f} %" for name, growth in self.means.items()]
        if means:
            over = f"{self.pairs} pair{'s' if self.pairs != 1 else ''}"
            lines.append(f"means over {over}: " + ", ".join(means))
        if not self.same_machine:
            lines.append("the two runs were made on different processors: times say little")
        lines += [f"only in the former run: {name}" for name in self.only_before]
        lines += [f"only in this run: {name}" for name in self.only_after]
        return lines


def _line(change: Change) -> str:
    word = "grew" if change.after > change.before else "shrank"
    who = f"{change.pair} ({change.tool})"
    return f"{who}: {word} from {change.before:,.0f} to {change.after:,.0f} bytes ({change.percent:+.2f} %)"


def compare(before: Result, after: Result, limits: Mapping[str, float]) -> Comparison:
    """``limits`` maps names of METRICS to the most that a figure may grow, in percent."""
    couples = _couples(before, after)
    shared = sorted(couples)
    changes = [
        change
        for key in shared
        if (change := _change(key, couples[key], METRICS["bytes"])).before != change.after
    ]
    means = {name: growth for name in METRICS if (growth := _growth(couples, METRICS[name])) is not None}
    past = [] if couples else [_NOTHING]
    past += [
        f"{change.pair} ({change.tool}) grew by {change.percent:.2f} %, the limit is {limits['bytes']:g} %"
        for change in changes
        if "bytes" in limits and change.percent > limits["bytes"]
    ]
    past += [
        f"{name} grew by {means[name]:.2f} % in the mean, the limit is {limit:g} %"
        for name, limit in limits.items()
        if name != "bytes" and name in means and means[name] > limit
    ]
    return Comparison(
        tuple(changes),
        means,
        len({pair for pair, _ in shared}),
        tuple(sorted(_ours(before) - _ours(after))),
        tuple(sorted(_ours(after) - _ours(before))),
        before.machine.get("processor") == after.machine.get("processor"),
        tuple(past),
    )


_Key = tuple[str, str]


def _ours(result: Result) -> set[str]:
    return {f"{r.pair} ({r.tool})" for r in result.records if r.good and is_ours(r.tool)}


def _couples(before: Result, after: Result) -> dict[_Key, tuple[Record, Record]]:
    mine = [record for record in after.records if record.good and is_ours(record.tool)]
    return {(r.pair, r.tool): (former, r) for r in mine if (former := before.good(r.pair, r.tool))}


def _change(key: _Key, couple: tuple[Record, Record], metric: Metric) -> Change:
    return Change(*key, metric.name, *(metric.value(record) for record in couple))


def _growth(couples: Mapping[_Key, tuple[Record, Record]], metric: Metric) -> float | None:
    changes = [_change(key, couple, metric) for key, couple in couples.items()]
    ratios = [c.after / c.before for c in changes if min(c.before, c.after) > metric.least]
    return 100 * (statistics.geometric_mean(ratios) - 1) if ratios else None
