"""Who is still open to a hole: how many enrolled devices, by day, by base, and why.

A device is closed to a CVE where its base includes the fix, or the improvement
that it reports as applied and healthy closes it. Everything else on a system
whose catalogue names the CVE is open: a device of which nothing was heard, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deltaseal.errors import UsageError
from deltaseal.fleet.days import Day, DeviceState, days_of
from deltaseal.fleet.publisher import Improvement, Publisher
from deltaseal.fleet.store import SILENT_AFTER, Fleet
from deltaseal.manifest import full_name, in_phase

__all__ = ["REASONS", "SHARES", "BaseExposure", "Exposure", "exposure_to", "why_open"]

SHARES: Final = (50, 90, 99)  # percent protected

# Every reason, in the order in which it is looked for, in plain words.
REASONS: Final[Mapping[str, str]] = {
    "silent": "nothing was heard for three days, or ever",
    "no fix": "no improvement for its base",
    "model": "its model is not listed",
    "withdrawn": "what closes it was withdrawn",
    "held": "it failed there, and is held",
    "removed": "a person removed it",
    "under way": "it is being installed, or waits to be used",
    "paused": "the rollout is paused",
    "channel": "not offered on its channel",
    "phase": "the rollout has not reached it",
    "policy": "the policy of its owner",
    "battery": "its battery is too low",
    "space": "its disk is full",
    "network": "its network failed",
    "base": "its bytes are not those of its base",
    "expired": "its documents or its clock",
    "other": "another refusal",
    "not yet": "it has not looked since",
}


@dataclass(frozen=True, slots=True)
class BaseExposure:
    """One base: how many enrolled devices are on it, and how many of them are open."""

    os: str
    version: str
    build: str  # empty: devices that never reported
    total: int
    open: int

    @property
    def name(self) -> str:
        """For people."""
        return full_name(self.os, self.version) if self.version else f"{self.os}, base unknown"


@dataclass(frozen=True, slots=True)
class Exposure:
    """The answer for one CVE."""

    cve: str
    asked: int  # seconds since 1970
    published: int  # of the first improvement that closes it; 0: none does
    total: int  # enrolled devices that it concerns
    open: int
    waiting: int  # closed, but a program still uses what was replaced
    bases: tuple[BaseExposure, ...]
    reasons: Mapping[str, int]  # of the open ones
    days: tuple[Day, ...]  # each since publication
    until: Mapping[int, int | None]  # percent: seconds from publication until so many were closed

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "cve": self.cve,
            "asked": self.asked,
            "published": self.published,
            "total": self.total,
            "open": self.open,
            "waiting": self.waiting,
            "bases": [
                {"os": b.os, "version": b.version, "build": b.build, "total": b.total, "open": b.open}
                for b in self.bases
            ],
            "reasons": dict(self.reasons),
            "days": [day.to_json() for day in self.days],
            "seconds_until": {str(share): seconds for share, seconds in self.until.items()},
        }


@dataclass(frozen=True, slots=True)
class _Closing:
    """What closes one CVE."""

    bases: frozenset[tuple[str, str]]  # (os, build) that include the fix
    by: Mapping[tuple[str, str], tuple[Improvement, ...]]  # improvements that close it, by base
    systems: frozenset[str]

    def closed(self, os: str, build: str, active: str) -> bool:
        here = (os, build)
        return here in self.bases or any(one.listed.id == active for one in self.by.get(here, ()))


def exposure_to(fleet: Fleet, publisher: Publisher, cve: str, *, now: int) -> Exposure:
    """Who is open to ``cve``. ``UsageError`` where no catalogue that the fleet knows names it."""
    closing = _closing(publisher, cve)
    if not closing.systems:
        known = sorted({name for one in publisher.improvements.values() for name in one.listed.cves})
        none = "none; take in what the publisher offers with `fleet follow`"
        raise UsageError(
            f"no catalogue that this fleet knows names {cve}",
            hint=f"known: {', '.join(known[:8]) or none}",
            cve=cve,
        )
    improvements = [one for found in closing.by.values() for one in found]
    published = min((one.published for one in improvements), default=0)
    totals: Counter[tuple[str, str, str]] = Counter()
    opens: Counter[tuple[str, str, str]] = Counter()
    reasons: Counter[str] = Counter()
    waiting = 0
    for row in _devices(fleet, closing.systems):
        here = (row.os, row.version, row.build)
        totals[here] += 1
        state = row.state(now)
        if closing.closed(state.os, state.build, state.active):
            waiting += row.pending
        else:
            opens[here] += 1
            reasons[why_open(state, closing.by.get((state.os, state.build), ()))] += 1
    total = sum(totals.values())
    days: tuple[Day, ...] = ()
    until: dict[int, int] = {}
    if published:
        until = _shares(fleet, closing, published, total)
        days = days_of(
            fleet,
            closing.systems,
            closing.by,
            is_closed=closing.closed,
            why=why_open,
            published=published,
            now=now,
            order=tuple(REASONS),
        )
    return Exposure(
        cve=cve,
        asked=now,
        published=published,
        total=total,
        open=sum(opens.values()),
        waiting=waiting,
        bases=tuple(BaseExposure(*here, totals[here], opens[here]) for here in sorted(totals)),
        reasons={reason: reasons[reason] for reason in REASONS if reasons[reason]},
        days=days,
        until={share: until.get(share) for share in SHARES},
    )


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """What the newest report of a device says, as far as exposure asks."""

    device: str
    os: str
    model: str
    heard: int
    version: str
    build: str
    channel: str
    active: str
    work: str
    pending: bool
    holds: str  # JSON: id to reason code
    removed: str  # JSON: ids
    why: str

    def state(self, now: int) -> DeviceState:
        """The part of it that days are told by."""
        return DeviceState(
            self.device,
            self.os,
            self.model,
            now - self.heard > SILENT_AFTER,
            self.build,
            self.channel,
            self.active,
            self.work,
            self.holds,
            self.removed,
            self.why,
        )


_COLUMNS: Final = (
    "device, os, model, heard, version, build, channel, active, work, pending != '', holds, removed, why"
)


def _devices(fleet: Fleet, systems: frozenset[str]) -> Iterator[DeviceRow]:
    marks = ", ".join("?" * len(systems))
    query = f"SELECT {_COLUMNS} FROM devices WHERE os IN ({marks})"
    return (DeviceRow(*row) for row in fleet.rows(query, sorted(systems)))


def why_open(row: DeviceState, closing: tuple[Improvement, ...]) -> str:
    """Why a device is open to what ``closing`` (improvements of its base) closes: a key of ``REASONS``."""
    if row.is_silent:
        return "silent"
    if not closing:
        return "no fix"
    fitting = [one for one in closing if one.models is None or row.model in one.models]
    if not fitting:
        return "model"
    offered = [one for one in fitting if not one.action]
    if not offered:
        return "withdrawn"
    best = offered[-1]
    id, move = best.listed.id, best.now
    for reason, named in (("held", row.holds), ("removed", row.removed)):
        if f'"{id}"' in named:  # JSON, in which an id is never part of another string
            return reason
    if row.work == id:
        return "under way"
    if move is None or move.paused:
        return "paused"
    if move.channel == "seed" and row.channel != "seed":
        return "channel"
    if not in_phase(id, row.device, move.phase):
        return "phase"
    # In since then: what the device said of an earlier look no longer holds.
    return row.why if row.why in REASONS and row.why not in ("phase", "paused", "channel") else "not yet"


def _closing(publisher: Publisher, cve: str) -> _Closing:
    bases = {
        (os, base.build)
        for os, catalogue in publisher.catalogues.items()
        for base in catalogue.bases
        if cve in base.includes
    }
    by: dict[tuple[str, str], tuple[Improvement, ...]] = {}
    for os, catalogue in publisher.catalogues.items():
        for base in catalogue.bases:
            found = tuple(one for one in publisher.on_base(os, base.build) if cve in one.listed.cves)
            if found:
                by[os, base.build] = found
    return _Closing(frozenset(bases), by, frozenset(os for os, _ in (*bases, *by)))


def _shares(fleet: Fleet, closing: _Closing, published: int, total: int) -> dict[int, int]:
    """When the shares were reached: one walk through the changes, in their order."""
    (highest,) = fleet.one("SELECT coalesce(max(number), 0) FROM devices") or (0,)
    closed = bytearray(highest + 1)
    count = 0
    until: dict[int, int] = {}
    query = (
        "SELECT c.received, c.device, d.os, c.build, c.active FROM changes c JOIN devices d"
        " ON d.number = c.device ORDER BY c.received"
    )
    for received, number, os, build, active in fleet.rows(query):
        state = os in closing.systems and closing.closed(os, build, active)
        count += state - closed[number]
        closed[number] = state
        for share in SHARES:
            if share not in until and total and 100 * count >= share * total:
                until[share] = max(0, received - published)
    return until
