"""Playing a rollout over many devices before it is done, by the very rules that devices go by.

Each device is a handful of draws from SHA-256(seed, number): nothing of it is kept, so memory is a number for
each look that is still to come. Time goes by the hour. Every answer of a device is that of
:func:`deltaseal.manifest.check_offer`; its routes are those of :func:`deltaseal.manifest.usable_routes`; when
to pause, :func:`deltaseal.fleet.recommend.recommend` says. What is simulated is the world: clocks, networks,
batteries, people.
"""

from __future__ import annotations

import hashlib
import math
import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from deltaseal.fleet.publisher import Improvement, Move
from deltaseal.fleet.recommend import Limits, Progress, recommend
from deltaseal.fleet.simulation_file import Plan, Simulation
from deltaseal.manifest import (
    LIFETIME,
    ROUTE_BASELINE,
    ROUTE_LETTER,
    ROUTE_WHOLE,
    Applied,
    BundleManifest,
    Catalogue,
    CatalogueBase,
    ComponentChange,
    DeviceFacts,
    DeviceManifest,
    Fix,
    Listed,
    Offer,
    Policy,
    Route,
    check_offer,
    effective_now,
    phase_place,
    usable_routes,
)
from deltaseal.manifest import Limits as ByteLimits

__all__ = ["SHARES", "Played", "play"]

HOUR: Final = 3_600
DAY: Final = 24  # hours
START: Final = 1_773_705_600  # 2026-03-17T00:00:00Z: any day would do
SHARES: Final = (50, 90, 99)

_OS, _VERSION, _BUILD, _MODEL = "macos", "26.3.1", "25D2128", "Mac15,6"
_OLD, _NEW, _ODD, _LETTER_TREE = "1" * 64, "2" * 64, "3" * 64, "4" * 64
_FOUND, _FOUND_ODD = {"app": _OLD}, {"app": _ODD}
_BUNDLE: Final = "b" * 64
_ID: Final = "macos-26.3.1-b"
_BEFORE: Final = Applied("macos-26.3.1-a", "a", 1, "a" * 64)
_PERCENT: Final = 65_536 / 100  # of a draw
_LOW_BATTERY: Final = 10
_DRAWS: Final = struct.Struct("<8H")
_AGAIN: Final = frozenset({"E_BATTERY"})  # goes away by itself


@dataclass(slots=True)
class Played:
    """What a plan came to. Lists are by the hour, from the hour of the release."""

    name: str
    devices: int
    active: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    bytes: dict[str, int] = field(default_factory=dict)  # by route
    downloads: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)  # those without it at the end, by reason
    paused_at: int | None = None  # hour
    broken: int = 0  # devices that failed, and are held
    looks: int = 0  # offers that were judged

    def hours_until(self, percent: int) -> int | None:
        """Hours until so many of all devices have it; ``None``: never in this time."""
        return next((hour for hour, n in enumerate(self.active) if 100 * n >= percent * self.devices), None)

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values; curves by the day."""
        return {
            "plan": self.name,
            "devices": self.devices,
            "active": self.active[::DAY],
            "held": self.held[::DAY],
            "phase": self.phase[::DAY],
            "bytes": self.bytes,
            "downloads": self.downloads,
            "left": self.left,
            "paused_at_hour": self.paused_at,
            "hours_until": {str(share): self.hours_until(share) for share in SHARES},
        }


def play(simulation: Simulation, plan: Plan, *, progress: Callable[[int, int], None] | None = None) -> Played:
    """Play one plan. The devices of a simulation are the same under every plan."""
    return _Play(simulation, plan).run(progress or (lambda done, total: None))


@dataclass(frozen=True, slots=True)
class _Device:
    """One device, as its draws say."""

    id: str
    first: int  # hour of its first look
    silent: bool
    metered: bool
    policy: Policy
    skew: int  # seconds that its clock is ahead
    odd: bool  # its baseline has other bytes
    seed: bool  # on channel seed
    bad_delta: bool  # the delta cannot be applied there
    fails: bool  # the trial ends badly there
    has_letter: bool  # the letter before is applied
    use_after: int  # hours until what was replaced is in use
    power: int  # where its battery begins


class _Play:
    def __init__(self, simulation: Simulation, plan: Plan) -> None:
        self.simulation = simulation
        self.plan = plan
        self.hours = simulation.days * DAY
        self.starts = [hour for hour, _ in plan.steps]
        self.offer = _offer(simulation, plan.channel)
        self.change = self.offer.bundle.components["app"]
        self.paused_at: int | None = None
        self.to_pause: int | None = None
        self.becomes_active = array("l", bytes(8 * (self.hours + 1)))
        self.becomes_held = array("l", bytes(8 * (self.hours + 1)))
        self.looks: list[array[int]] = [array("L") for _ in range(self.hours + 1)]
        self.bytes: Counter[str] = Counter()
        self.downloads: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.judged = 0
        self.edges, self.policies = _policies(simulation)

    def run(self, progress: Callable[[int, int], None]) -> Played:
        for number in range(self.simulation.devices):
            self._begin(number)
        active = held = 0
        curves: tuple[list[int], list[int], list[int]] = ([], [], [])
        for hour in range(self.hours):
            self._pause_if_due(hour)
            offer, permit_phase = self._offer_at(hour)
            for number in self.looks[hour]:
                self._look(number, hour, offer)
            self.looks[hour] = array("L")
            active += self.becomes_active[hour]
            held += self.becomes_held[hour]
            for curve, value in zip(curves, (active, held, permit_phase), strict=True):
                curve.append(value)
            self._watch(hour, active, held)
            progress(hour + 1, self.hours)
        rest = self.simulation.devices - active - held - sum(self.left.values())
        self.left["under way"] += rest
        return Played(
            self.plan.name,
            self.simulation.devices,
            *curves,
            dict(self.bytes),
            dict(self.downloads),
            {reason: count for reason, count in sorted(self.left.items()) if count},
            self.paused_at,
            held,
            self.judged,
        )

    def _device(self, number: int) -> _Device:
        """The device again, from its number alone."""
        world = self.simulation.world
        digest = hashlib.sha256(b"%d|%d" % (self.simulation.seed, number)).digest()
        a, b, c, d, e, f, g, power = _DRAWS.unpack_from(digest, 16)
        # One draw serves two rare properties from its two ends: they are then never on one device.
        ahead, behind = world["clock_ahead"] * _PERCENT, 65_536 - world["clock_behind"] * _PERCENT
        return _Device(
            id=digest[:16].hex(),
            first=a % int(world["looks_every"]),
            silent=b < world["silent"] * _PERCENT,
            metered=b >= 65_536 - world["metered"] * _PERCENT,
            policy=self.policies[bisect_right(self.edges, c)],
            skew=14 * DAY * HOUR if d < ahead else -400 * DAY * HOUR if d >= behind else 0,
            odd=e < world["other_bytes"] * _PERCENT,
            seed=e >= 65_536 - world["on_seed"] * _PERCENT,
            bad_delta=f < world["delta_fails"] * _PERCENT,
            fails=g < world["fails"] * _PERCENT,
            has_letter=g >= 65_536 - world["have_letter"] * _PERCENT,
            use_after=int(-math.log((f + 1) / 65_537) * world["use_after"]),
            power=power,
        )

    def _begin(self, number: int) -> None:
        device = self._device(number)
        if device.silent:
            self.left["silent"] += 1
            return
        self._look_again(number, device, self._reached(device), "phase")

    def _reached(self, device: _Device) -> int:
        """The hour in which the plan reaches a device; after the end: never. No look before brings news."""
        place = phase_place(self.offer.permit.id, device.id)
        return next((hour for hour, phase in self.plan.steps if phase > place), self.hours)

    def _look_again(self, number: int, device: _Device, earliest: int, otherwise: str) -> None:
        every = int(self.simulation.world["looks_every"])
        hour = device.first + max(0, -(-(earliest - device.first) // every)) * every
        if hour < self.hours:
            self.looks[hour].append(number)
        else:
            self.left[otherwise] += 1

    def _offer_at(self, hour: int) -> tuple[Offer, int]:
        """The offer of that hour: its permission is signed anew each day."""
        at = bisect_right(self.starts, hour) - 1
        phase = self.plan.steps[at][1] if at >= 0 else 0
        issued = START + hour // DAY * DAY * HOUR
        permit = replace(
            self.offer.permit,
            phase=phase,
            paused=self.paused_at is not None,
            issued=issued,
            expires=issued + LIFETIME,
        )
        return replace(self.offer, permit=permit), phase

    def _look(self, number: int, hour: int, offer: Offer) -> None:
        device = self._device(number)
        now = effective_now(
            START + hour * HOUR + device.skew, build_date=START - 90 * DAY * HOUR, catalogues_issued=(START,)
        )
        facts = DeviceFacts(
            now=now,
            os=_OS,
            version=_VERSION,
            build=_BUILD,
            model=_MODEL,
            device=device.id,
            channel="seed" if device.seed else "stable",
            components=_FOUND_ODD if device.odd else _FOUND,
            active=_BEFORE if device.has_letter else None,
            policy=device.policy,
            battery=self._battery(device, hour),
        )
        self.judged += 1
        findings = check_offer(offer, facts)
        if not findings:
            self._take(device, hour)
        elif findings[0].reason in _AGAIN:
            self._look_again(number, device, hour + 1, "battery")
        elif device.policy.deadline is not None and findings[0].facts.get("updates") == "notify":
            self._look_again(number, device, -(-(device.policy.deadline - START) // HOUR), "policy")
        else:
            self.left[_reason(findings[0].reason, findings[0].facts)] += 1

    def _battery(self, device: _Device, hour: int) -> int:
        # A Weyl sequence: each look draws anew, and the same whatever else happens.
        drawn = (device.power + 40_503 * (hour + 1)) & 0xFFFF
        return _LOW_BATTERY if drawn < self.simulation.world["low_battery"] * _PERCENT else 90

    def _take(self, device: _Device, hour: int) -> None:
        tree = _LETTER_TREE if device.has_letter else None
        routes = usable_routes(self.change, active_tree=tree, policy=device.policy, metered=device.metered)
        for route in routes:
            self.bytes[route.kind] += route.size
            self.downloads[route.kind] += 1
            if route.kind == ROUTE_WHOLE or not device.bad_delta:
                break
        else:  # no way was left: held, as a device does it
            self.becomes_held[min(hour, self.hours)] += 1
            return
        done = min(hour + device.use_after, self.hours)
        (self.becomes_held if device.fails else self.becomes_active)[done] += 1

    def _watch(self, hour: int, active: int, held: int) -> None:
        """A person who reads the recommendations."""
        person = self.simulation.person
        if person is None or self.to_pause is not None:
            return
        move = Move(START, "stable", self.plan.steps[-1][1], False)
        counts = dict.fromkeys(("removed", "under_way", "silent", "looping"), 0)
        progress = Progress(
            id=self.offer.permit.id,
            fitting=self.simulation.devices,
            reached=self.simulation.devices,
            active=active,
            held=held,
            reasons={},
            **counts,
        )
        improvement = Improvement(
            self.offer.catalogue.improvements[0],  # type: ignore[union-attr]
            _OS,
            _VERSION,
            START,
            0,
            "",
            None,
            (),
            (move,),
        )
        limits = Limits(pause_at=person.pause_at)
        if recommend(progress, improvement, limits).what == "pause":
            self.to_pause = hour + person.reacts_after

    def _pause_if_due(self, hour: int) -> None:
        if self.to_pause is not None and self.paused_at is None and hour >= self.to_pause:
            self.paused_at = hour


def _offer(simulation: Simulation, channel: str) -> Offer:
    sizes = simulation.sizes
    whole = sizes["whole"]
    routes = (
        Route(ROUTE_BASELINE, "c" * 64, sizes["delta"], whole, 1),
        Route(ROUTE_LETTER, "d" * 64, sizes["delta_letter"], whole, 1, "a", _LETTER_TREE),
        Route(ROUTE_WHOLE, "e" * 64, whole, whole, 1),
    )
    bundle = BundleManifest(
        id=_ID,
        os=_OS,
        version=_VERSION,
        letter="b",
        build="25D771280b",
        base_build=_BUILD,
        sequence=2,
        issued=START,
        models=(_MODEL,),
        activation="relaunch",
        processes=("Browser",),
        cves=(Fix("CVE-2026-20643", "app"),),
        components={"app": ComponentChange(_OLD, _NEW, whole, 1, routes)},
        limits=ByteLimits(2 * whole, 1 << 28, 60, 16),
    )
    far = START + 365 * DAY * HOUR
    listed = Listed(_ID, "b", _BUILD, _BUNDLE, 2, far, ("CVE-2026-20643",))
    catalogue = Catalogue(_OS, 1, START, far, 0, (CatalogueBase(_VERSION, _BUILD),), (listed,))
    permit = DeviceManifest(_ID, _OS, _BUNDLE, (_MODEL,), None, channel, 0, START, START + LIFETIME)
    return Offer(bundle, _BUNDLE, permit, catalogue)


def _policies(simulation: Simulation) -> tuple[list[float], list[Policy]]:
    """The draws at which one policy gives way to the next, and the policies."""
    world = simulation.world
    days = world["deadline_day"]
    deadline = START + int(days * DAY * HOUR) if days else None
    policies = [
        Policy(updates="off"),
        Policy(updates="notify", deadline=deadline),
        Policy(full_download="unmetered"),
        Policy(),
    ]
    shares = [
        world["off"],
        world["notify"],
        (100 - world["off"] - world["notify"]) * world["unmetered_only"] / 100,
    ]
    return [sum(shares[: at + 1]) * _PERCENT for at in range(3)], policies


def _reason(reason: str, facts: Mapping[str, Any]) -> str:
    """A refusal in the words of reports (docs/spec/reports.md, section 3)."""
    if reason == "E_POLICY":
        return next((word for fact, word in _BY_FACT.items() if fact in facts), "policy")
    return _WORDS.get(reason, "other")


_BY_FACT: Final = {"phase": "phase", "paused": "paused", "expected": "channel"}
_WORDS: Final = {"E_BASE": "base", "E_EXPIRED": "expired", "E_BATTERY": "battery", "E_SEQ": "other"}
