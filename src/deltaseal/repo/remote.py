"""A repository as a source of offers: a mirror, bound to the files that a device believes.

Nothing here is loaded before a device names a repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from deltaseal.bundle import open_bundle
from deltaseal.errors import DeltasealError
from deltaseal.manifest import Catalogue
from deltaseal.repo import layout
from deltaseal.repo.client import Refreshed, Wanted, refresh, refresh_from_any
from deltaseal.repo.mirrors import Repository, Transport
from deltaseal.repo.published import documents_in
from deltaseal.repo.trusted import trust_of
from deltaseal.storage import ByteSource, MissingError
from deltaseal.trust import Trust, UnverifiedDocument

__all__ = ["BoundRepository", "bring_up_to_date", "first_files"]

CATALOGUE: Final = "catalogue"  # names of kept targets, beside the role files
OFFERS: Final = "offers"
TRUST: Final = "trust.json"

# The time that counts under an epoch of the release role of a device's system, seconds since 1970.
NowByEpoch = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class For:
    """For whom offers are looked for."""

    os: str
    build: str
    model: str

    def wanted(self) -> list[Wanted]:
        """The targets that such a device needs."""
        return [
            Wanted(layout.catalogue_path(self.os), CATALOGUE, layout.MAX_CATALOGUE),
            Wanted(layout.offers_path(self.os, self.build, self.model), OFFERS, layout.MAX_OFFERS),
        ]


def bring_up_to_date(
    mirrors: Iterable[Repository],
    had: Mapping[str, bytes],
    *,
    os: str,
    build: str,
    model: str,
    now: NowByEpoch,
) -> Refreshed:
    """Bring a device's files up to date from the first mirror that can, with the trust that follows."""
    who = For(os, build, model)

    def moment(files: Mapping[str, bytes]) -> int:
        return now(trust_of(files, os).epoch if "targets.json" in files else 0)

    done = refresh_from_any((mirror.transport for mirror in mirrors), had, wanted=who.wanted(), now=moment)
    if done.files is had:
        return done
    try:
        trust = trust_of(done.files, os)
    except DeltasealError as error:
        return Refreshed(had, done.failure or error)
    return Refreshed({**done.files, TRUST: trust.dumps()}, done.failure)


def first_files(
    root: bytes, mirrors: Iterable[Repository], *, os: str, build: str, model: str, now: int
) -> tuple[Trust, Mapping[str, bytes]]:
    """What a new device believes of a repository, from nothing but its root. Raises what stops it."""
    had = {"root.json": root}
    done = bring_up_to_date(mirrors, had, os=os, build=build, model=model, now=lambda epoch: now)
    files = done.whole()
    return Trust.load(files[TRUST]), files


@dataclass(frozen=True, slots=True)
class BoundRepository:
    """A mirror with the files that a device believes: a source of offers."""

    transport: Transport
    files: Mapping[str, bytes]
    now: int
    _opened: dict[str, ByteSource] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it in sentences."""
        return self.transport.name

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The catalogue that the release role names."""
        return UnverifiedDocument.loads(self.files[CATALOGUE]) if CATALOGUE in self.files else None

    def manifests(self, os: str | None, id: str | None = None) -> Iterable[UnverifiedDocument]:
        """The offers for the device; and, where a person asks, one for another base or model."""
        found = documents_in(self.files.get(OFFERS, b""))
        return [*found, *(self._for_others(id) if id is not None else ())]

    def _for_others(self, id: str) -> list[UnverifiedDocument]:
        if CATALOGUE not in self.files:
            return []
        catalogue = Catalogue.loads(UnverifiedDocument.loads(self.files[CATALOGUE]).body)
        listed = catalogue.improvement(id)
        source = self.bundle(listed.bundle) if listed else None
        if listed is None or source is None:
            return []
        # What the bundle claims only says where to look; who asked verifies it.
        for model in open_bundle(source).claimed().models[:1]:
            path = layout.offers_path(catalogue.os, listed.base_build, model)
            wanted = Wanted(path, OFFERS, layout.MAX_OFFERS)
            done = refresh(self.transport, self.files, wanted=[wanted], now=lambda files: self.now)
            if done.failure is None and OFFERS in done.files:
                return documents_in(done.files[OFFERS])
        return []

    def bundle(self, digest: str) -> ByteSource | None:
        """The bundle of a digest, to be read by ranges."""
        if digest not in self._opened:
            try:
                self._opened[digest] = self.transport.open(layout.bundle_name(digest))
            except MissingError:
                return None
        return self._opened[digest]
