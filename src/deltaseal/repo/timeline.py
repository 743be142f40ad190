"""A scenario as a repository: published day by day, as its publisher would have done it.

On each day on which something changes, the bases, bundles and catalogues of that day are added, improvements
are offered to the channel that they are for by then, and the whole is published.  The last publishing is now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltaseal.bundle import BuiltScenario
from deltaseal.manifest import PERSONALISER, Scenario
from deltaseal.manifest.scenario import DAY
from deltaseal.repo.folders import Folder
from deltaseal.repo.publisher import Publisher, Report
from deltaseal.storage import BytesSource
from deltaseal.trust import ALGORITHMS, Algorithm, PrivateKey, Role

__all__ = ["STANDARD", "make_roles", "publish_scenario", "stand_in_trees"]

# How many signatures of each algorithm a role needs, out of how many keys.
STANDARD: Final[Mapping[str, tuple[int, int]]] = {
    "root": (2, 3),
    "targets": (1, 2),
    "snapshot": (1, 1),
    "timestamp": (1, 1),
    "release": (2, 3),
    PERSONALISER: (1, 1),
}
CATALOGUE_DAYS: Final = 30
_PIECE: Final = 24_000  # bytes of a stand-in file


@dataclass(frozen=True, slots=True)
class Published:
    """One day of a scenario that was published."""

    day: int
    report: Report


def make_roles(
    names: Sequence[str], *, random: Callable[[int], bytes]
) -> tuple[list[Role], dict[str, list[PrivateKey]]]:
    """Fresh keys for roles, in the standard numbers: the rules, and the private keys by role."""
    roles, private = [], {}
    for name in names:
        needed, count = STANDARD[name.partition(":")[0]]
        keys = [
            PrivateKey.generate(algorithm, random=random) for algorithm in ALGORITHMS for _ in range(count)
        ]
        thresholds: dict[Algorithm, int] = dict.fromkeys(ALGORITHMS, needed)
        roles.append(Role(name, tuple(key.public for key in keys), thresholds))
        private[name] = keys
    return roles, private


def publish_scenario(
    folder: Folder, built: BuiltScenario, *, random: Callable[[int], bytes], now: int
) -> tuple[list[Published], dict[str, list[PrivateKey]]]:
    """Publish a scenario that was built, into a new repository, up to ``now`` (seconds since 1970).

    Returns each day that was published, and the private keys of the roles that the scenario does not have.
    """
    scenario, day_zero = built.scenario, built.day_zero
    roles, private = make_roles(["root", "targets", "snapshot", "timestamp"], random=random)
    signers = [key for keys in private.values() for key in keys]
    everybody = [*signers, *(signer for group in built.signers.signers.values() for signer in group)]
    days = [day for day in scenario.days if day_zero + day * DAY <= now]
    first = day_zero + days[0] * DAY if days else now
    publisher = Publisher.create(folder, [*roles, *built.signers.trust.roles.values()], now=first)
    done: list[Published] = []
    for serial, day in enumerate(days, 1):
        publisher.now = now if day == days[-1] else day_zero + day * DAY
        _add_day(publisher, built, day, serial)
        for one in scenario.in_order():
            if one.first_day <= day and one.id not in scenario.withdrawn_by(day):
                channel = one.channel if one.day <= day else "seed"
                if _is_listed(publisher, one.os, one.id):
                    publisher.offer(one.id, signers=everybody, channel=channel, phase=scenario.phase)
        done.append(Published(day, publisher.publish(everybody)))
    return done, private


def _add_day(publisher: Publisher, built: BuiltScenario, day: int, serial: int) -> None:
    for base in built.scenario.bases:
        if base.day == day:
            publisher.add(BytesSource(built.bases[base.os, base.build].to_bytes()))
    for one in built.scenario.improvements:
        if one.first_day == day:
            publisher.add(BytesSource(built.bundles[one.id].to_bytes()))
    for os in built.scenario.systems:
        if any(base.os == os and base.day <= day for base in built.scenario.bases):
            catalogue = built.catalogue_on(os, day, serial=serial, expires_after=CATALOGUE_DAYS)
            publisher.add(BytesSource(catalogue.to_bytes()))


def _is_listed(publisher: Publisher, os: str, id: str) -> bool:
    catalogue = publisher.catalogue(os)
    listed = catalogue.improvement(id) if catalogue else None
    return listed is not None and publisher.now < listed.expires


def stand_in_trees(scenario: Scenario, folder: Path) -> dict[str, Path]:
    """A small directory of made-up, repeatable bytes for each tree of a scenario.

    Trees whose names begin alike up to the first ``-`` are versions of one thing.
    """
    found = {}
    for tree in scenario.trees:
        stem = tree.partition("-")[0]
        body = hashlib.shake_256(stem.encode()).digest(_PIECE)
        path = folder / tree
        (path / "lib").mkdir(parents=True)
        (path / "lib" / "engine.so").write_bytes(body[:7_000] + tree.encode() + body[7_000:])
        (path / "lib" / "codec.so").write_bytes(body[::-1])
        found[tree] = path
    return found
