"""Curves as SVG, written by hand: no script, no other file, colours of the page around."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

from deltaseal.fleet.exposure import Exposure

if TYPE_CHECKING:
    from deltaseal.fleet.simulate import Played

__all__ = ["curve", "exposure_plot", "played_plot", "protected_plot"]

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

Points = Sequence[tuple[float, float]]


def exposure_plot(found: Exposure, *, alone: bool = False) -> str:
    """Open devices over the days since publication, as stairs."""
    start = [(float(found.published), float(found.total))] if found.published else []
    points = [*start, *((float(end), float(count)) for end, count in found.days)]
    title = f"Devices open to {found.cve}: {found.open:,} of {found.total:,}"
    return curve(points, title=title, most=float(max(found.total, 1)), alone=alone)


def protected_plot(found: Exposure) -> str:
    """Protected devices over the days since publication."""
    start = [(float(found.published), 0.0)] if found.published else []
    points = [*start, *((float(end), float(found.total - count)) for end, count in found.days)]
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
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    span = max(last - first, 1.0)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (point[0] - first) / span
        y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - min(point[1], most) / most)
        return x, y

    base = HEIGHT - _BOTTOM
    parts = [f"<title>{escape(title)}</title>", f"<style>{_STYLE}{_DARK if alone else ''}</style>"]
    for share in (0.0, 0.5, 1.0):
        y = at((first, most * share))[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        value = f"{most * share:,.0f}{unit}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    if points:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
        left, right = at(points[0])[0], at(points[-1])[0]
        parts.append(f'<polygon class="area" points="{left:.1f},{base} {path} {right:.1f},{base}"/>')
        parts.append(f'<polyline class="line" points="{path}"/>')
    if second:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, second))
        parts.append(f'<polyline class="second" points="{path}"/>')
    begin, end = labels or (_day(first), _day(last))
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 8}">{escape(begin)}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(end)}</text>')
    name = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    return f'<svg{name} viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>\n'


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
