"""Figures and ratios of a run: of one pair with the spread of its repeats, over pairs as geometric means."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltaseal.lab.bench.process import Usage
from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.result import Result

__all__ = ["METRICS", "Metric", "Ratio", "mean_ratio", "pair_ratio"]

_LEAST_SECONDS = 0.005  # below, what is left of a start is noise and no ratio is taken


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a record: name, unit, value, and the values of its repeats (none: it has no spread)."""

    name: str
    unit: str
    value: Callable[[Record], float]
    repeats: Callable[[Record], Sequence[float]]
    least: float = 0.0  # a ratio is taken of values above


def _seconds(usages: Sequence[Usage]) -> list[float]:
    return [usage.cpu_s for usage in usages]


def _memory(usages: Sequence[Usage]) -> list[float]:
    return [usage.peak_kb / 1024 for usage in usages]


METRICS: dict[str, Metric] = {
    "bytes": Metric("delta", "bytes", lambda r: r.delta_bytes, lambda r: ()),
    "create": Metric(
        "create", "CPU s", lambda r: r.create.cpu_s, lambda r: _seconds(r.creates), _LEAST_SECONDS
    ),
    "create-memory": Metric("create", "MiB", lambda r: r.create.peak_kb / 1024, lambda r: _memory(r.creates)),
    "apply": Metric("apply", "CPU s", lambda r: r.apply.cpu_s, lambda r: _seconds(r.applies), _LEAST_SECONDS),
    "apply-memory": Metric("apply", "MiB", lambda r: r.apply.peak_kb / 1024, lambda r: _memory(r.applies)),
}


@dataclass(frozen=True, slots=True)
class Ratio:
    """One value over another, and between which it lay; ``count`` repeats, or pairs, are behind it."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        spread = f" ({_short(self.low)}–{_short(self.high)})" if self.count > 1 else ""
        return _short(self.value) + spread


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def pair_ratio(mine: Record, its: Record, metric: Metric) -> Ratio | None:
    """Mine over its on one pair; the spread is that of the rounds, in each of which both had their turn."""
    value = _over(metric.value(mine), metric.value(its), metric)
    if value is None:
        return None
    rounds = zip(metric.repeats(mine), metric.repeats(its), strict=False)
    ratios = [ratio for a, b in rounds if (ratio := _over(a, b, metric)) is not None] or [value]
    return Ratio(value, min(value, *ratios), max(value, *ratios), len(ratios))


def mean_ratio(result: Result, mine: str, its: str, metric: Metric) -> Ratio | None:
    """The geometric mean over the pairs that both could do; the spread is that of the pairs."""
    ratios = []
    for pair in result.pairs:
        first, second = result.good(pair, mine), result.good(pair, its)
        if first and second and (ratio := _over(metric.value(first), metric.value(second), metric)):
            ratios.append(ratio)
    if not ratios:
        return None
    return Ratio(statistics.geometric_mean(ratios), min(ratios), max(ratios), len(ratios))


def _over(mine: float, its: float, metric: Metric) -> float | None:
    return mine / its if mine > metric.least and its > metric.least else None
