"""Curves as SVG, written by hand: no script, no other file, colours of the page around."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from deltaseal.fleet.exposure import Exposure

if TYPE_CHECKING:
    from deltaseal.fleet.simulate import Played

__all__ = ["curve", "exposure_plot", "legend", "played_plot", "protected_plot", "stacked"]

WIDTH: Final = 640
HEIGHT: Final = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 26
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:var(--soft,#57534e)}"
    ".grid{stroke:var(--line,#e7e5e4)}"
    ".area{fill:var(--bar,#dbeafe)}"
    ".line{fill:none;stroke:var(--mark,#1d4ed8);stroke-width:2}"
    ".second{fill:none;stroke:var(--warn,#9a3412);stroke-width:2;stroke-dasharray:5 4}"
)
_DARK: Final = (
    "@media(prefers-color-scheme:dark){svg{--soft:#a8a29e;--line:#44403c;--bar:#1e3a8a;--mark:#93c5fd;"
    "--warn:#fdba74;background:#1c1917}}"
)

# Told apart by those who do not see all colours, on light and on dark.
_LAYERS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_COLUMNS: Final = 4

Points = Sequence[tuple[float, float]]


def exposure_plot(found: Exposure, *, alone: bool = False) -> str:
    """Open devices at the end of each day since publication, one layer for each reason, as stairs.

    Alone it has the names of its layers below; on a page :func:`legend` says them.
    """
    layers = _layers(found)
    title = f"Devices open to {found.cve}, by reason: {found.open:,} of {found.total:,}"
    times = [float(found.published), *(float(day.until) for day in found.days)]
    return stacked(times, layers, title=title, most=float(max(found.total, 1)), alone=alone)


def legend(found: Exposure) -> list[tuple[str, str]]:
    """The colour and the name of each layer."""
    return list(zip(_LAYERS, _layers(found), strict=False))


def _layers(found: Exposure) -> dict[str, list[int]]:
    """The most frequent reasons, day by day; what is left, in one layer."""
    counts: Counter[str] = Counter()
    for day in found.days:
        counts.update(day.reasons)
    shown = [reason for reason, _ in counts.most_common(len(_LAYERS) - 1)]
    layers = {reason: [day.reasons.get(reason, 0) for day in found.days] for reason in shown}
    if rest := [reason for reason in counts if reason not in shown]:
        layers["the rest"] = [sum(day.reasons.get(one, 0) for one in rest) for day in found.days]
    return layers


def protected_plot(found: Exposure) -> str:
    """Protected devices over the days since publication."""
    start = [(float(found.published), 0.0)] if found.published else []
    points = [*start, *((float(day.until), float(found.total - day.open)) for day in found.days)]
    title = f"Devices protected from {found.cve}: {found.total - found.open:,} of {found.total:,}"
    return curve(points, title=title, most=float(max(found.total, 1)))


def played_plot(played: Sequence[Played]) -> str:
    """Protected devices by the hour under a plan, and under a second one."""
    first, *others = played
    sides = [[(float(hour), float(n)) for hour, n in enumerate(one.active)] for one in (first, *others[:1])]
    title = "Protected devices: " + ", dashed: ".join(one.name for one in (first, *others[:1]))
    days = f"day {len(first.active) // 24}"
    return curve(
        sides[0],
        second=sides[1] if others else (),
        title=title,
        most=float(first.devices),
        alone=True,
        labels=("release", days),
    )


def curve(
    points: Points,
    *,
    title: str,
    most: float,
    second: Points = (),
    unit: str = "",
    alone: bool = False,
    labels: tuple[str, str] | None = None,
) -> str:
    """One curve, or two, as an ``svg`` element; x in seconds since 1970, or with ``labels`` anything."""
    every = [*points, *second] or [(0.0, 0.0)]
    frame = _Frame(min(x for x, _ in every), max(x for x, _ in every), most)
    at, base = frame.at, HEIGHT - _BOTTOM
    parts = [*_head(title, alone), *frame.grid(unit)]
    if points:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
        left, right = at(points[0])[0], at(points[-1])[0]
        parts.append(f'<polygon class="area" points="{left:.1f},{base} {path} {right:.1f},{base}"/>')
        parts.append(f'<polyline class="line" points="{path}"/>')
    if second:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, second))
        parts.append(f'<polyline class="second" points="{path}"/>')
    return _svg([*parts, *frame.ends(labels)], HEIGHT, alone)


def stacked(
    times: Sequence[float],
    layers: Mapping[str, Sequence[float]],
    *,
    title: str,
    most: float,
    alone: bool = False,
) -> str:
    """Layers one upon the other, the first one lowest; ``times`` has one more entry than each layer."""
    frame = _Frame(times[0], times[-1], most)
    parts = [*_head(title, alone), *frame.grid("")]
    below = [0.0] * (len(times) - 1)
    for colour, (name, values) in zip(_LAYERS, layers.items(), strict=False):
        above = [low + value for low, value in zip(below, values, strict=True)]
        way = [*_stairs(times, above), *reversed(_stairs(times, below))]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.at, way))
        parts.append(f'<polygon fill="{colour}" points="{points}"><title>{escape(name)}</title></polygon>')
        below = above
    height = HEIGHT
    if alone:
        parts += _names_below(list(layers))
        height += 18 * -(-len(layers) // _COLUMNS)
    return _svg([*parts, *frame.ends(None)], height, alone)


def _stairs(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    spans = zip(pairwise(times), values, strict=True)
    return [(time, value) for span, value in spans for time in span]


def _names_below(names: Sequence[str]) -> Iterator[str]:
    for number, (colour, name) in enumerate(zip(_LAYERS, names, strict=False)):
        x = _LEFT + (number % _COLUMNS) * (WIDTH - _LEFT) // _COLUMNS
        y = HEIGHT + 12 + 18 * (number // _COLUMNS)
        yield f'<rect fill="{colour}" x="{x}" y="{y - 10}" width="11" height="11"/>'
        yield f'<text x="{x + 16}" y="{y}">{escape(name)}</text>'


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to places in the picture."""

    first: float
    last: float
    most: float

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """The place of a point."""
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (point[0] - self.first) / max(self.last - self.first, 1.0)
        y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - min(point[1], self.most) / self.most)
        return x, y

    def grid(self, unit: str) -> Iterator[str]:
        """Three lines, with their values."""
        for share in (0.0, 0.5, 1.0):
            y = self.at((self.first, self.most * share))[1]
            yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            value = f"{self.most * share:,.0f}{unit}"
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'

    def ends(self, labels: tuple[str, str] | None) -> Iterator[str]:
        """Where it begins and ends."""
        begin, end = labels or (_day(self.first), _day(self.last))
        yield f'<text x="{_LEFT}" y="{HEIGHT - 8}">{escape(begin)}</text>'
        yield f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(end)}</text>'


def _head(title: str, alone: bool) -> list[str]:
    return [f"<title>{escape(title)}</title>", f"<style>{_STYLE}{_DARK if alone else ''}</style>"]


def _svg(parts: Sequence[str], height: int, alone: bool) -> str:
    name = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    return f'<svg{name} viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>\n'


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
