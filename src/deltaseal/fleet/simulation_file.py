"""A simulation in a TOML file: how many devices in which world, and which plans to play. As values.

``examples/rollout.toml`` is one, with comments.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deltaseal.errors import UsageError

__all__ = ["WORLD", "Person", "Plan", "Simulation"]

FORMAT: Final = 1
MOST_DEVICES: Final = 10_000_000

# What a world is made of: default, least, most. Shares are percent of the devices.
WORLD: Final[Mapping[str, tuple[float, float, float]]] = {
    "looks_every": (6, 1, 168),  # hours between two looks of a device
    "use_after": (8, 0, 720),  # hours until what was replaced is in use, on average
    "silent": (2, 0, 100),  # never look
    "metered": (10, 0, 100),  # network that costs by the byte
    "low_battery": (5, 0, 100),  # of the looks
    "clock_ahead": (0.5, 0, 100),  # by two weeks
    "clock_behind": (0.5, 0, 100),  # by more than a year
    "other_bytes": (0.2, 0, 100),  # the base's build, other bytes
    "on_seed": (1, 0, 100),  # take offers of channel seed too
    "have_letter": (20, 0, 100),  # have the letter before: a smaller delta
    "delta_fails": (0.1, 0, 100),  # no delta can be applied: the next route
    "fails": (0.05, 0, 100),  # the trial ends badly: rolled back and held
    "notify": (3, 0, 100),  # policy: a person installs; after the deadline by itself
    "off": (1, 0, 100),  # policy: nothing by itself
    "unmetered_only": (25, 0, 100),  # policy: whole files on networks only that cost nothing
    "deadline_day": (0, 0, 365),  # of the devices with notify; 0: none
}
_IMPROVEMENT: Final = {"delta": 7_018, "delta_letter": 2_500, "whole": 1_750_104}
_TOP: Final = {"format", "name", "devices", "days", "seed", "improvement", "world", "person", "plans"}


@dataclass(frozen=True, slots=True)
class Plan:
    """When the phase is raised: hours after the release, each with a phase of 0 to 10,000."""

    name: str
    steps: tuple[tuple[int, int], ...]
    channel: str = "stable"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who pauses when it is recommended."""

    pause_at: int  # percent that failed, of those that finished
    reacts_after: int  # hours


@dataclass(frozen=True, slots=True)
class Simulation:
    """One world and the plans to play in it."""

    name: str
    devices: int
    days: int
    seed: int
    sizes: Mapping[str, int]  # bytes by route
    world: Mapping[str, float]
    person: Person | None
    plans: tuple[Plan, ...]

    @classmethod
    def loads(cls, text: str) -> Simulation:
        """Read one; ``UsageError`` names what is wrong in it."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"the simulation is not TOML: {error}") from error
        unknown = sorted(values.keys() - _TOP)
        if unknown:
            raise UsageError(f"the simulation has an unknown key {unknown[0]}", hint=_known(_TOP))
        if values.get("format") != FORMAT:
            raise UsageError(f"a simulation begins with format = {FORMAT}")
        plans = tuple(_plan(value, at) for at, value in enumerate(_list(values, "plans")))
        if not plans:
            raise UsageError("the simulation has no plan", hint="add one with [[plans]]")
        return cls(
            name=str(values.get("name", "a rollout")),
            devices=_whole(values, "devices", 10_000, 1, MOST_DEVICES),
            days=_whole(values, "days", 21, 1, 365),
            seed=_whole(values, "seed", 1, 0, 2**63),
            sizes=_sizes(_table(values, "improvement")),
            world=_world(_table(values, "world")),
            person=_person(_table(values, "person")) if "person" in values else None,
            plans=plans,
        )


def _sizes(values: Mapping[str, Any]) -> dict[str, int]:
    _only(values, "improvement", set(_IMPROVEMENT))
    return {name: _whole(values, name, size, 1, 2**40) for name, size in _IMPROVEMENT.items()}


def _world(values: Mapping[str, Any]) -> dict[str, float]:
    _only(values, "world", set(WORLD))
    found = {}
    for name, (default, least, most) in WORLD.items():
        value = values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise UsageError(f"world: {name} = {value!r} must be a number from {least:g} to {most:g}")
        found[name] = float(value)
    if found["notify"] + found["off"] > 100:
        raise UsageError("world: notify and off are together over 100 percent")
    return found


def _person(values: Mapping[str, Any]) -> Person:
    _only(values, "person", {"pause_at", "reacts_after"})
    return Person(_whole(values, "pause_at", 2, 1, 100), _whole(values, "reacts_after", 4, 0, 720))


def _plan(values: Any, at: int) -> Plan:
    if not isinstance(values, dict):
        raise UsageError("a plan is a table with a name and steps", hint="write it as [[plans]]")
    _only(values, "plans", {"name", "steps", "channel"})
    steps = []
    for step in _list(values, "steps"):
        if not isinstance(step, dict):
            raise UsageError("plans: a step is { hour = 0, phase = 100 }")
        _only(step, "plans: steps", {"hour", "phase"})
        steps.append((_whole(step, "hour", None, 0, 8_760), _whole(step, "phase", None, 0, 10_000)))
    hours, phases = [hour for hour, _ in steps], [phase for _, phase in steps]
    if not steps or hours != sorted(set(hours)) or phases != sorted(phases):
        raise UsageError("plans: steps need rising hours, and phases that never fall")
    channel = values.get("channel", "stable")
    if channel not in ("seed", "stable"):
        raise UsageError(f"plans: channel = {channel!r} is neither seed nor stable")
    return Plan(str(values.get("name", f"plan {at + 1}")), tuple(steps), channel)


def _whole(values: Mapping[str, Any], name: str, default: int | None, least: int, most: int) -> int:
    value = values.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"{name} = {value!r} must be a whole number from {least:,} to {most:,}")
    return value


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise UsageError(f"{name} is a table: [{name}]")
    return value


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    value = values.get(name, [])
    if not isinstance(value, list):
        raise UsageError(f"{name} is a list")
    return value


def _only(values: Mapping[str, Any], where: str, known: set[str]) -> None:
    unknown = sorted(values.keys() - known)
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]}", hint=_known(known))


def _known(known: set[str]) -> str:
    return f"known: {', '.join(sorted(known))}"
