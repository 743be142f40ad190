"""The scenario's publisher, and a fleet of its devices at one moment of the rollout."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from support.fleets import device_id, device_key
from support.publisher import DAY, DAY_ZERO, scenario, scenario_trees, signers

from deltaseal.bundle import build_scenario
from deltaseal.fleet import Fleet, create_fleet, enroll, follow
from deltaseal.repo import DirectorySource
from deltaseal.report import Blocked, Enrolment, Held, Report, read_enrolment

NOW = DAY_ZERO + 2 * DAY
CVE = "CVE-2026-20643"
KINDS = (
    ("ios", "26.3.1", "23D8133", "iPhone17,1", "ios-26.3.1-a"),
    ("ipados", "26.3.1", "23D8133", "iPad16,3", "ipados-26.3.1-a"),
    ("macos", "26.3.1", "25D2128", "Mac15,6", "macos-26.3.1-a"),
    ("macos", "26.3.2", "25D2140", "Mac17,5", "macos-26.3.2-a"),
)


@functools.cache
def offers() -> Path:
    """The publisher's folder, on small trees."""
    keep = tempfile.TemporaryDirectory(prefix="deltaseal-tests-")
    _KEPT.append(keep)
    root = Path(keep.name)
    (root / "trees").mkdir()
    (root / "offers").mkdir()
    trees = scenario_trees(root / "trees")
    built = build_scenario(scenario(), trees_at=trees, day_zero=DAY_ZERO, signers=signers())
    built.publish(root / "offers")
    return root / "offers"


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def fleet(path: Path, devices: int) -> Fleet:
    """Enrolled devices, in turn of each kind, which follows the publisher."""
    made = create_fleet(path, signers().trust)
    enrolments = []
    for number in range(devices):
        os, _, _, model, _ = KINDS[number % len(KINDS)]
        key = device_key(number)
        enrolments.append(
            read_enrolment(Enrolment(device_id(number), key.public, os, model, DAY_ZERO).signed(key))
        )
    enroll(made, enrolments, now=DAY_ZERO)
    follow(made, DirectorySource(offers()), now=NOW)
    return made


def said(number: int, sequence: int = 1, *, active: bool = False, **changes: object) -> bytes:
    """A signed report of one of them."""
    os, version, build, model, id = KINDS[number % len(KINDS)]
    fields: dict[str, object] = {
        "device": device_id(number),
        "sequence": sequence,
        "time": DAY_ZERO + sequence,
        "os": os,
        "version": version,
        "build": build,
        "model": model,
        "channel": "stable",
        "state": "ACTIVE" if active else "BASELINE",
        "journal_n": 10 * sequence,
        "journal_head": f"{number:032x}{sequence:032x}",
        "catalogue": 1,
        "active": id if active else "",
        "since": DAY_ZERO + 3_600 if active else 0,
        **changes,
    }
    return Report(**fields).signed(device_key(number)).to_bytes()  # type: ignore[arg-type]


def held(number: int) -> tuple[Held, ...]:
    """A hold of the improvement of a device's kind."""
    return (Held(KINDS[number % len(KINDS)][4], "ROLLED_BACK", DAY_ZERO + 7_200),)


POLICY = Blocked("E_POLICY", "policy")
BATTERY = Blocked("E_BATTERY", "battery")
