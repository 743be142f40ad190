"""Exposure by day: how many were open at the end of each day since publication, on which base, and why.

One walk through the devices, each with what was known of it then: its changes, the times in which nothing was
heard of it, and the moves of rollouts.  Memory grows with days, bases and reasons, not with devices.

Invariants:

1. A day says what ``exposure_to`` would have said at its last second, of the devices that are enrolled now;
   one that was not enrolled yet, or had not reported, was silent.
2. Times are the fleet's: when a report came in, when the publisher issued a move, when a withdrawal was seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Final

from deltaseal.fleet.publisher import Improvement
from deltaseal.fleet.store import SILENT_AFTER, Fleet

__all__ = ["DAY", "Day", "DeviceState", "days_of"]

DAY: Final = 86_400
By = Mapping[tuple[str, str], tuple[Improvement, ...]]  # by os and build
_MOST_OF_BOTH: Final = ("os", "build")

_CHANGES: Final = (
    "SELECT device, received, build, channel, active, work, holds, removed, why FROM changes"
    " ORDER BY device, received"
)
_SILENCES: Final = "SELECT device, since, until FROM silences ORDER BY device, since"


@dataclass(frozen=True, slots=True)
class Day:
    """One day, or what of it is over."""

    until: int  # its last moment, seconds since 1970
    open: int
    bases: Mapping[tuple[str, str], int]  # open devices by os and build; build empty: they never reported
    reasons: Mapping[str, int]  # of the open ones

    def to_json(self) -> dict[str, Any]:
        """The day as JSON values."""
        bases = [dict(zip(_MOST_OF_BOTH, base, strict=True), open=n) for base, n in self.bases.items()]
        return {"until": self.until, "open": self.open, "bases": bases, "reasons": dict(self.reasons)}


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What was known of a device at a time, as far as exposure asks."""

    device: str
    os: str
    model: str
    is_silent: bool
    build: str
    channel: str
    active: str
    work: str
    holds: str  # JSON that names ids
    removed: str  # JSON that names ids
    why: str


Why = Callable[[DeviceState, tuple[Improvement, ...]], str]


def days_of(
    fleet: Fleet,
    systems: frozenset[str],
    by: By,
    *,
    is_closed: Callable[[str, str, str], bool],
    why: Why,
    published: int,
    now: int,
    order: Sequence[str],
) -> tuple[Day, ...]:
    """Each day from ``published`` to ``now``, the last one as far as it has come.

    ``by`` holds the improvements that close the hole; ``is_closed`` says of os, build and active improvement
    whether it is closed, ``why`` why a device is open; reasons come out in ``order``.
    """
    ends = [*range(published + DAY, now + 1, DAY), now + 1]
    known = [_known_at(by, end - 1) for end in ends]
    moved = _moved(by, ends)
    counted: dict[tuple[str, str, str], Counter[int]] = {}  # by os, build, reason: how many more, by day
    for device in _devices(fleet, systems):
        places = sorted({0, *moved, *device.places(ends)})
        for first, last in pairwise([*places, len(ends)]):
            state = device.at(ends[first] - 1)
            if is_closed(state.os, state.build, state.active):
                continue
            reason = why(state, known[first].get((state.os, state.build), ()))
            steps = counted.setdefault((state.os, state.build, reason), Counter())
            steps[first] += 1
            steps[last] -= 1
    return _summed(counted, ends, order)


def _known_at(by: By, moment: int) -> By:
    """The improvements as they stood at a moment."""
    return {
        base: tuple(_as_of(one, moment) for one in found if one.published <= moment)
        for base, found in by.items()
    }


def _as_of(one: Improvement, moment: int) -> Improvement:
    moves = tuple(move for move in one.moves if move.issued <= moment)
    return replace(one, moves=moves, action=one.action if one.withdrawn <= moment else "")


def _moved(by: By, ends: Sequence[int]) -> set[int]:
    """The days in which a publisher did something."""
    times = {
        time
        for found in by.values()
        for one in found
        for time in (one.published, one.withdrawn, *(move.issued for move in one.moves))
    }
    return {place for time in times if (place := bisect_right(ends, time)) < len(ends)}


def _summed(
    counted: Mapping[tuple[str, str, str], Counter[int]], ends: Sequence[int], order: Sequence[str]
) -> tuple[Day, ...]:
    curves = {
        key: list(accumulate(steps[place] for place in range(len(ends)))) for key, steps in counted.items()
    }
    days = []
    for place, end in enumerate(ends):
        bases: Counter[tuple[str, str]] = Counter()
        reasons: Counter[str] = Counter()
        for (os, build, reason), curve in sorted(curves.items()):
            bases[os, build] += curve[place]
            reasons[reason] += curve[place]
        days.append(
            Day(
                until=end - 1 if place == len(ends) - 1 else end,
                open=sum(reasons.values()),
                bases={base: n for base, n in bases.items() if n},
                reasons={reason: reasons[reason] for reason in order if reasons[reason]},
            )
        )
    return tuple(days)


# ---- one device after another ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Device:
    """A device with all that was known of it."""

    device: str
    os: str
    model: str
    heard: int
    changes: Sequence[tuple[Any, ...]]  # oldest first
    silences: Sequence[tuple[Any, ...]]

    def places(self, ends: Sequence[int]) -> Iterator[int]:
        """The days in which it changed."""
        times = [change[1] for change in self.changes]
        times += [self.heard + SILENT_AFTER + 1] if self.heard else []
        for _, since, until in self.silences:
            times += [since + 1, until]
        return (place for time in times if (place := bisect_right(ends, time)) < len(ends))

    def at(self, moment: int) -> DeviceState:
        """As it was known at a moment."""
        last = next((one for one in reversed(self.changes) if one[1] <= moment), None)
        who = (self.device, self.os, self.model)
        if last is None:
            return DeviceState(*who, True, "", "", "", "", "{}", "[]", "")
        silent = moment - self.heard > SILENT_AFTER or any(
            since < moment < until for _, since, until in self.silences
        )
        return DeviceState(*who, silent, *last[2:])


def _devices(fleet: Fleet, systems: frozenset[str]) -> Iterator[_Device]:
    changes, silences = _Behind(fleet.rows(_CHANGES)), _Behind(fleet.rows(_SILENCES))
    marks = ", ".join("?" * len(systems))
    query = f"SELECT number, device, os, model, heard FROM devices WHERE os IN ({marks}) ORDER BY number"
    for number, device, os, model, heard in fleet.rows(query, sorted(systems)):
        yield _Device(device, os, model, heard, changes.of(number), silences.of(number))


class _Behind:
    """Rows in the order of their devices, taken up as devices are asked for in that order."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, number: int) -> list[tuple[Any, ...]]:
        found = []
        while self._next is not None and self._next[0] <= number:
            if self._next[0] == number:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found
