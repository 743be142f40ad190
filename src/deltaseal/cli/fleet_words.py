"""What ``deltaseal fleet`` says, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deltaseal.cli.words import count, moment, share

if TYPE_CHECKING:
    from deltaseal.fleet import Exposure, Ingested, Progress, Publisher, Recommendation, Took
    from deltaseal.fleet.simulate import Played
    from deltaseal.fleet.simulation_file import Simulation

__all__ = ["advice_line", "duration", "exposure_lines", "ingested_lines", "played_lines", "status_lines"]

_BAR = 32  # characters of a whole bar
_DAYS = 21  # of the plot; with more, some are left out


def ingested_lines(result: Ingested, advice: Sequence[Recommendation]) -> list[str]:
    """What came in, what was refused and why, what is recommended."""
    refused = sum(result.refused.values())
    lines = [
        f"{count(result.counted, 'report')} counted from {count(result.files, 'file')}, "
        f"{count(result.duplicates, 'duplicate')}, {refused:,} refused"
    ]
    for one in result.refusals:
        hint = f" (hint: {one.error.hint})" if one.error.hint else ""
        lines.append(f"  {one.where}: {one.error.reason}: {one.error.sentence}{hint}")
    if refused > len(result.refusals):
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(result.refused.items()))
        lines.append(f"  and {refused - len(result.refusals):,} more; in all {reasons}")
    return [*lines, *(advice_line(one) for one in advice)]


def advice_line(one: Recommendation) -> str:
    """One recommendation in one line."""
    what = {
        "advance": f"advance to {one.phase / 100:g} %",
        "pause": "PAUSE",
        "wait": "wait",
        "decide": "decide",
        "nothing": "nothing to do",
    }[one.what]
    return f"{one.id}: {what}: {one.sentence}"


def status_lines(
    devices: int,
    heard: int,
    found: Sequence[tuple[Progress, Recommendation]],
    publisher: Publisher,
    took: Mapping[str, Took | None],
) -> list[str]:
    """The fleet, then each improvement."""
    lines = [f"{count(devices, 'enrolled device')}, {heard:,} heard of in the last three days"]
    for progress, advice in found:
        move = publisher.improvements[progress.id].now
        phase = "not offered" if move is None else f"{move.phase / 100:g} % of {move.channel}"
        paused = ", paused" if move and move.paused else ""
        lines.append(f"{progress.id} ({phase}{paused})")
        lines.append(
            f"  {progress.fitting:,} fitting devices, {progress.reached:,} in: {progress.active:,} active, "
            f"{progress.under_way:,} under way, {progress.held:,} failed and held, "
            f"{progress.removed:,} removed, {progress.silent:,} silent"
        )
        if progress.reasons:
            said = ", ".join(f"{why} {number:,}" for why, number in sorted(progress.reasons.items()))
            lines.append(f"  not begun: {said}")
        if (each := took[progress.id]) is not None:
            times = f"{duration(each.median)} in the middle, {duration(each.slow)} for nine of ten"
            lines.append(f"  from its offer until it had passed: {times}; {each.fetched:,} bytes downloaded")
        if progress.looping:
            lines.append(f"  {count(progress.looping, 'device')} tried it three times or more without an end")
        lines.append(f"  {advice_line(advice)}")
    return lines


def exposure_lines(found: Exposure) -> list[str]:
    """The answer, then its parts, then a plot of days."""
    return [*_answer(found), *_parts(found), *_plot(found)]


def _answer(found: Exposure) -> Iterator[str]:
    of = f"{count(found.total, 'enrolled device')} open ({share(found.open, found.total)})"
    yield f"{found.cve}: {found.open:,} of {of}"
    if found.waiting:
        yield f"  {found.waiting:,} of the others have programs that still use what was replaced"
    if found.published:
        yield f"  an improvement that closes it was published {moment(found.published)}"
        for percent, seconds in found.until.items():
            when = "not yet" if seconds is None else f"after {duration(seconds)}"
            yield f"  {percent} % closed: {when}"


def _parts(found: Exposure) -> Iterator[str]:
    from deltaseal.fleet import REASONS

    yield "by base"
    for base in found.bases:
        build = f" build {base.build}" if base.build else ""
        yield f"  {base.open:>9,} of {base.total:,} open on {base.name}{build}"
    if found.reasons:
        yield "why"
        for reason, number in found.reasons.items():
            yield f"  {number:>9,} {reason}: {REASONS[reason]}"


def _plot(found: Exposure) -> Iterator[str]:
    if not found.days or not found.total:
        return
    yield "open, at the end of each day since it was published, with the most frequent reasons"
    step = -(-len(found.days) // _DAYS)
    for number, day in enumerate(found.days):
        last = number == len(found.days) - 1
        if number % step and not last:
            continue
        bar = "█" * round(_BAR * day.open / found.total)
        when = "now" if last else moment(day.until - 1)[:10]
        most = sorted(day.reasons.items(), key=lambda one: -one[1])[:3]
        why = ", ".join(f"{reason} {count:,}" for reason, count in most)
        yield f"  {when:>10} {bar:<{_BAR}} {day.open:,}{f' ({why})' if why else ''}"


def duration(seconds: int) -> str:
    """``40 s``, ``3 min``, ``2.5 days``."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3_600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


_ROUTES = {
    "delta-baseline": "deltas from the baseline",
    "delta-letter": "deltas from a letter",
    "whole": "whole files",
}
_LEFT = {
    "silent": "never look",
    "phase": "not reached by the plan",
    "under way": "have it, and do not use it yet",
    "paused": "came when it was paused",
    "channel": "are on another channel",
    "policy": "their policy says no",
    "base": "have other bytes than their base",
    "expired": "their clock is ahead: every permission looks expired",
    "battery": "their battery is too low",
    "other": "another refusal",
}


def played_lines(simulation: Simulation, played: Sequence[Played]) -> list[str]:
    """Each plan, then what the first one does otherwise than the others."""
    lines = [f"{simulation.name}: {simulation.devices:,} devices, {simulation.days} days"]
    for one in played:
        lines += ["", *_plan(one)]
    first, *others = played
    for other in others:
        lines += ["", f"{first.name}, beside {other.name}"]
        lines += [f"  {line}" for line in _beside(first, other)]
    return lines


def _plan(one: Played) -> Iterator[str]:
    yield one.name
    yield f"  {'day':>4} {'phase':>8} {'protected':>10} {'failed':>8}"
    last = -1.0
    days = zip(one.active[23::24], one.held[23::24], one.phase[23::24], strict=True)
    for day, (active, held, phase) in enumerate(days, 1):
        percent = 100 * active / one.devices
        if percent - last < 0.05 and 24 * day != len(one.active):
            continue  # a day like the one before
        last = percent
        bar = "█" * round(_BAR * active / one.devices)
        yield f"  {day:>4} {phase / 100:>6g} % {percent:>8.1f} % {held:>8,}  {bar}"
    for share_of in (50, 90, 99):
        hours = one.hours_until(share_of)
        yield f"  {share_of} % protected: {'never' if hours is None else 'after ' + duration(hours * 3_600)}"
    if one.paused_at is not None:
        yield f"  paused after {duration(one.paused_at * 3_600)}"
    for route, size in sorted(one.bytes.items()):
        yield f"  {one.downloads[route]:>10,} {_ROUTES[route]:<26} {size:>18,} bytes"
    for reason, number in sorted(one.left.items(), key=lambda each: -each[1]):
        yield f"  {number:>10,} {_LEFT.get(reason, reason)}"


def _beside(first: Played, other: Played) -> Iterator[str]:
    for percent in (50, 90, 99):
        one, two = first.hours_until(percent), other.hours_until(percent)
        words = ["never" if hours is None else duration(hours * 3_600) for hours in (one, two)]
        yield f"{percent} % protected   {words[0]:>14}   beside {words[1]:>14}"
    yield f"failed             {first.broken:>14,}   beside {other.broken:>14,}"
    sizes = sum(first.bytes.values()), sum(other.bytes.values())
    yield f"bytes              {sizes[0]:>14,}   beside {sizes[1]:>14,}"
    still = [sum(one.devices - active for active in one.active) // 24 for one in (first, other)]
    yield f"device-days open   {still[0]:>14,}   beside {still[1]:>14,}"
