"""What the publisher said, as this fleet knows it: catalogues, improvements, and every move of a rollout."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deltaseal.bundle import open_bundle
from deltaseal.errors import DeltasealError, SequenceError
from deltaseal.fleet.store import Fleet
from deltaseal.manifest import (
    BundleManifest,
    Catalogue,
    Listed,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.repo import Source
from deltaseal.trust import Trust

__all__ = ["Followed", "Improvement", "Move", "Publisher", "follow", "publisher_of"]


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a rollout, as a device manifest said it."""

    issued: int  # seconds since 1970
    channel: str
    phase: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Improvement:
    """An improvement as the fleet knows it."""

    listed: Listed
    os: str
    version: str
    published: int  # seconds since 1970
    withdrawn: int  # when the fleet first saw its withdrawal; 0: it is not
    action: str  # of the withdrawal: keep, remove, pin; empty: none
    models: frozenset[str] | None  # None: its bundle was not seen
    fixes: tuple[dict[str, Any], ...]
    moves: tuple[Move, ...]  # oldest first

    @property
    def now(self) -> Move | None:
        """The rollout as it stands."""
        return self.moves[-1] if self.moves else None


@dataclass(frozen=True, slots=True)
class Publisher:
    """All of it, by os and by id."""

    catalogues: Mapping[str, Catalogue]
    improvements: Mapping[str, Improvement]

    def on_base(self, os: str, build: str) -> list[Improvement]:
        """The improvements of one base, lowest letter first, withdrawn ones too."""
        found = (one for one in self.improvements.values() if (one.os, one.listed.base_build) == (os, build))
        return sorted(found, key=lambda one: one.listed.sequence)


@dataclass(frozen=True, slots=True)
class Followed:
    """What was news in a publisher's offers."""

    catalogues: tuple[str, ...]
    improvements: tuple[str, ...]
    moves: int
    left_out: tuple[DeltasealError, ...]

    def to_json(self) -> dict[str, Any]:
        """The news as JSON values."""
        return {
            "catalogues": list(self.catalogues),
            "improvements": list(self.improvements),
            "moves": self.moves,
            "left_out": [error.to_json() for error in self.left_out],
        }


def follow(fleet: Fleet, source: Source, *, now: int) -> Followed:
    """Take in what a publisher offers now: catalogues, improvements, phases; all of it verified.

    What cannot be verified, or is older than what is known, is left out, and told.
    """
    trust, left_out = fleet.trust(), []
    catalogues: list[Catalogue] = []
    for os in _systems(trust):
        try:
            if document := source.catalogue(os):
                catalogues.append(verify_catalogue(document, trust, now=now).value)
        except DeltasealError as error:
            left_out.append(error)
    moves: list[tuple[str, Move]] = []
    for document in source.manifests(None):
        try:
            permit = verify_device_manifest(document, trust, now=now).value
        except DeltasealError as error:
            left_out.append(error)
            continue
        if permit.personal is None:
            moves.append((permit.id, Move(permit.issued, permit.channel, permit.phase, permit.paused)))
    manifests = {
        listed.id: _manifest(source, trust, listed, now)
        for catalogue in catalogues
        for listed in catalogue.improvements
    }
    with fleet.writing() as write:
        taken = [one for one in catalogues if _take_catalogue(write, one, left_out)]
        new = [
            listed.id
            for one in taken
            for listed in one.improvements
            if _take_improvement(write, one, listed, manifests[listed.id], moves, now)
        ]
        added = sum(_take_move(write, id, move) for id, move in moves)
    return Followed(tuple(one.os for one in taken), tuple(new), added, tuple(left_out))


def publisher_of(fleet: Fleet) -> Publisher:
    """What the fleet knows of its publisher."""
    catalogues = {
        str(os): Catalogue.loads(body) for os, body in fleet.rows("SELECT os, body FROM catalogues")
    }
    moves: dict[str, list[Move]] = {}
    for id, issued, channel, phase, paused in fleet.rows("SELECT * FROM moves ORDER BY issued"):
        moves.setdefault(id, []).append(Move(issued, channel, phase, bool(paused)))
    found: dict[str, Improvement] = {}
    for os, catalogue in catalogues.items():
        versions = {base.build: base.version for base in catalogue.bases}
        for listed in catalogue.improvements:
            row = fleet.one(_IMPROVEMENT, (listed.id,))
            order = catalogue.withdrawal(listed.id)
            published, withdrawn, models, fixes = row if row else (0, 0, "", "[]")
            found[listed.id] = Improvement(
                listed=listed,
                os=os,
                version=versions.get(listed.base_build, ""),
                published=published,
                withdrawn=withdrawn,
                action=order.action if order else "",
                models=frozenset(json.loads(models)) if models else None,
                fixes=tuple(json.loads(fixes)),
                moves=tuple(moves.get(listed.id, ())),
            )
    return Publisher(catalogues, found)


_IMPROVEMENT: Final = "SELECT published, withdrawn, models, fixes FROM improvements WHERE id = ?"


def _systems(trust: Trust) -> list[str]:
    return sorted(name.partition(":")[2] for name in trust.roles if name.startswith("release:"))


def _manifest(source: Source, trust: Trust, listed: Listed, now: int) -> BundleManifest | None:
    """The bundle manifest of a listed improvement, if the source still has it whole."""
    try:
        stored = source.bundle(listed.bundle)
        return open_bundle(stored).verify(trust, now=now).manifest if stored else None
    except DeltasealError:
        return None  # devices are told why; here only its texts are missing


def _take_catalogue(write: sqlite3.Connection, one: Catalogue, left_out: list[DeltasealError]) -> bool:
    row = write.execute("SELECT serial, body FROM catalogues WHERE os = ?", (one.os,)).fetchone()
    body = one.dumps()
    if row and (one.serial < row[0] or (one.serial == row[0] and body != row[1])):
        left_out.append(
            SequenceError(
                f"catalogue {one.serial} of {one.os}: this fleet knows {row[0]}",
                floor=row[0],
                found=one.serial,
            )
        )
        return False
    write.execute("INSERT OR REPLACE INTO catalogues VALUES (?, ?, ?)", (one.os, one.serial, body))
    return not row or row[0] < one.serial


def _take_improvement(
    write: sqlite3.Connection,
    catalogue: Catalogue,
    listed: Listed,
    manifest: BundleManifest | None,
    moves: list[tuple[str, Move]],
    now: int,
) -> bool:
    known = write.execute(_IMPROVEMENT, (listed.id,)).fetchone()
    first = min((move.issued for id, move in moves if id == listed.id), default=now)
    published = known[0] if known else max(first, manifest.issued) if manifest else first
    withdrawn = (known[1] if known else 0) or (now if catalogue.withdrawal(listed.id) else 0)
    models = json.dumps(manifest.models) if manifest else known[2] if known else ""
    fixes = json.dumps([fix.to_json() for fix in manifest.cves]) if manifest else known[3] if known else "[]"
    row = (listed.id, listed.bundle, published, withdrawn, models, fixes)
    write.execute("INSERT OR REPLACE INTO improvements VALUES (?, ?, ?, ?, ?, ?)", row)
    return known is None


def _take_move(write: sqlite3.Connection, id: str, move: Move) -> int:
    row = (id, move.issued, move.channel, move.phase, int(move.paused))
    return write.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?, ?, ?)", row).rowcount
