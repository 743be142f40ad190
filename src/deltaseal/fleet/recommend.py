"""How far an improvement has come on the enrolled devices, and what a person should do next.

A recommendation is a sentence with its figures. It moves nothing: a person does (`deltaseal rollout`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deltaseal.fleet.publisher import Improvement, Publisher
from deltaseal.fleet.store import SILENT_AFTER, Fleet
from deltaseal.manifest import in_phase

__all__ = ["STEPS", "Limits", "Progress", "Recommendation", "progress_of", "recommend", "recommendations"]

STEPS: Final = (100, 1_000, 2_500, 5_000, 10_000)  # of 10,000: where a phase usually goes next


@dataclass(frozen=True, slots=True)
class Limits:
    """The shares past which something is recommended, in percent."""

    pause_at: int = 2  # failed, of all that finished
    least_failures: int = 3  # so that one odd device stops nobody
    advance_at: int = 80  # finished, of all that are in and not silent
    least_finished: int = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """One improvement on the enrolled devices of its base and models."""

    id: str
    fitting: int  # enrolled, on its base, of a listed model
    reached: int  # of them: in by the phase, on its channel
    active: int
    held: int
    removed: int
    under_way: int
    silent: int  # of those that are in and have not finished
    looping: int  # tried three times or more without an end
    reasons: Mapping[str, int]  # why those that are in have not begun, as they said it

    @property
    def finished(self) -> int:
        """Those that came to an end: applied, or failed."""
        return self.active + self.held

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"reasons": dict(self.reasons)}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, to which phase, and why."""

    id: str
    what: str  # "advance", "pause", "wait", "decide", "nothing"
    phase: int  # for "advance": to which
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The recommendation as JSON values."""
        return {"id": self.id, "what": self.what, "phase": self.phase, "sentence": self.sentence}


_QUERY: Final = (
    "SELECT device, model, heard, channel, active, work, holds, removed, loops, why FROM devices"
    " WHERE os = ? AND build = ?"
)


def progress_of(fleet: Fleet, improvement: Improvement, *, now: int) -> Progress:
    """Count the enrolled devices that this improvement is for, by how far it has come there."""
    id, move = improvement.listed.id, improvement.now
    counts = dict.fromkeys(("fitting", "reached", "active", "held", "removed", "under_way", "silent"), 0)
    looping = 0
    reasons: dict[str, int] = {}
    quoted = json.dumps(id)
    for row in fleet.rows(_QUERY, (improvement.os, improvement.listed.base_build)):
        device, model, heard, channel, active, work, holds, removed, loops, why = row
        if improvement.models is not None and model not in improvement.models:
            continue
        counts["fitting"] += 1
        inside = (
            move is not None
            and (move.channel == "stable" or channel == "seed")
            and in_phase(id, device, move.phase)
        )
        counts["reached"] += inside
        kind = _kind(active == id, quoted in holds, quoted in removed, work == id)
        if kind:
            counts[kind] += 1
        looping += loops >= 3 and work == id
        if inside and not kind:
            if now - heard > SILENT_AFTER:
                counts["silent"] += 1
            elif why:
                reasons[why] = reasons.get(why, 0) + 1
    return Progress(id=id, looping=looping, reasons=reasons, **counts)


def _kind(active: bool, held: bool, removed: bool, work: bool) -> str:
    for name, true in (("active", active), ("held", held), ("removed", removed), ("under_way", work)):
        if true:
            return name
    return ""


def recommend(progress: Progress, improvement: Improvement, limits: Limits | None = None) -> Recommendation:
    """What a person should do about one improvement."""
    limits, move, id = limits or Limits(), improvement.now, progress.id
    finished, held = progress.finished, progress.held
    failed = f"{held:,} of {finished:,} that finished failed"
    if improvement.action:
        left = progress.active if improvement.action == "remove" else 0
        words = f"withdrawn with {improvement.action}" + (f"; {left:,} still have it" if left else "")
        return Recommendation(id, "nothing", 0, words)
    if move is None:
        return Recommendation(id, "wait", 0, "no device manifest offers it")
    bad = held >= limits.least_failures and 100 * held >= limits.pause_at * finished
    if move.paused:
        words = "withdraw it or reissue a better one" if bad else "resume it where the cause is known"
        return Recommendation(id, "decide", 0, f"paused; {failed}: {words}")
    if bad:
        words = f"{failed}, {limits.pause_at} % is the limit"
        return Recommendation(id, "pause", 0, words)
    left = progress.reached - progress.silent
    if move.phase == 10_000:
        return Recommendation(id, "nothing", 0, f"it is offered to all; {failed}")
    enough = finished >= min(limits.least_finished, max(1, progress.fitting))
    if enough and 100 * finished >= limits.advance_at * left:
        step = next(step for step in STEPS if step > move.phase)
        words = f"{finished:,} of {left:,} that are in and not silent finished; {failed}"
        return Recommendation(id, "advance", step, words)
    words = f"{finished:,} of {left:,} that are in and not silent finished, {limits.advance_at} % are needed"
    return Recommendation(id, "wait", 0, words)


def recommendations(
    fleet: Fleet, publisher: Publisher, *, now: int, limits: Limits | None = None
) -> list[tuple[Progress, Recommendation]]:
    """For every improvement that the fleet knows."""
    found = []
    for improvement in publisher.improvements.values():
        progress = progress_of(fleet, improvement, now=now)
        found.append((progress, recommend(progress, improvement, limits)))
    return found
