"""The static device manifests of a repository: by system, build and model, renewed before they end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tuf.api.metadata import Delegations, SuccinctRoles, TargetFile, Targets

from deltaseal.manifest import LIFETIME, Catalogue, DeviceManifest
from deltaseal.repo import layout
from deltaseal.repo.folders import Folder, Pieces, pieces_of
from deltaseal.repo.metadata import rule_values, tuf_key
from deltaseal.repo.published import PERSONALISER_FILE, Published, documents_in
from deltaseal.trust import Role, UnverifiedDocument

_DAILY: Final = 86_400

__all__ = ["Offers", "StagedPermit", "bits_of", "bodies_of", "permits_in", "spread", "target_of"]


@dataclass(frozen=True, slots=True)
class StagedPermit:
    """A device manifest to be published, and the base build of its bundle."""

    document: UnverifiedDocument
    permit: DeviceManifest
    build: str

    def paths(self) -> list[str]:
        """Where devices of its models look for it."""
        return [layout.offers_path(self.permit.os, self.build, model) for model in self.permit.models or ()]


@dataclass(frozen=True, slots=True)
class Offers:
    """All offers of a repository, those that are read anew with their documents."""

    entries: dict[str, TargetFile]  # by path
    fresh: dict[str, bytes]  # by path: what must be written

    def set(self, path: str, documents: Sequence[UnverifiedDocument]) -> None:
        """Let a path hold these documents; none removes it."""
        self.fresh.pop(path, None)
        self.entries.pop(path, None)
        if documents:
            data = b"".join(document.to_bytes() for document in documents)
            self.fresh[path] = data
            self.entries[path] = target_of(path, data)

    def payloads(self) -> dict[str, Pieces]:
        """The files to write, by their names in the repository."""
        return {
            layout.target_name(path, self.entries[path].hashes["sha256"]): pieces_of(data)
            for path, data in self.fresh.items()
        }


def target_of(path: str, data: bytes) -> TargetFile:
    """The entry of a target with these bytes."""
    return TargetFile(len(data), {"sha256": hashlib.sha256(data).hexdigest()}, path)


def permits_in(
    folder: Folder, path: str, info: TargetFile
) -> list[tuple[UnverifiedDocument, DeviceManifest]]:
    """The device manifests of one offer, as the publisher reads them back."""
    data = folder.read(layout.target_name(path, info.hashes["sha256"]))
    return [(document, DeviceManifest.loads(document.body)) for document in documents_in(data)]


def bodies_of(
    folder: Folder,
    published: Published | None,
    staged: Iterable[StagedPermit],
    catalogues: Mapping[str, Catalogue],
    *,
    stale: frozenset[str],
    changed: frozenset[tuple[str, str]],
    now: int,
    is_good: Callable[[UnverifiedDocument], bool],
    renew: Callable[[DeviceManifest], UnverifiedDocument],
) -> Offers:
    """The offers with what is staged taken in, what is stale renewed, what may not be any more dropped.

    ``stale`` are the role files to be signed anew, ``changed`` the bases (os and build) of which a catalogue
    says something else: only their offers are read.  ``renew`` signs a device manifest, ``is_good`` says
    whether one is signed as it must be now.
    """
    offers = Offers(published.offers() if published else {}, {})
    coming: dict[str, list[StagedPermit]] = {}
    for one in staged:
        for path in one.paths():
            coming.setdefault(path, []).append(one)
    of_stale = {path for role in stale for path in (published.targets(role).targets if published else ())}
    bases = {(os, layout.escaped(build)) for os, build in changed}
    of_changed = {path for path in offers.entries if tuple(path.split("/")[1:3]) in bases}
    for path in sorted({*coming, *of_stale, *of_changed}):
        kept = permits_in(folder, path, offers.entries[path]) if path in offers.entries else []
        taken = {one.permit.id: (one.document, one.permit) for one in coming.get(path, ())}
        both = {permit.id: (document, permit) for document, permit in kept} | taken
        listed = catalogues.get(path.split("/")[1])
        documents = [
            renew(_for_another_week(permit, now))
            if _is_old(permit, now) or not is_good(document)
            else document
            for document, permit in both.values()
            if listed is None or _is_offered(listed, permit.id, now)
        ]
        if documents != [document for document, _ in kept]:
            offers.set(path, documents)
    return offers


def _is_offered(catalogue: Catalogue, id: str, now: int) -> bool:
    entry = catalogue.improvement(id)
    return entry is not None and now < entry.expires and catalogue.withdrawal(id) is None


def _is_old(permit: DeviceManifest, now: int) -> bool:
    # It is looked at again when half of its role file's life is over, by a publishing that comes daily.
    return permit.expires - now < (permit.expires - permit.issued) / 2 + _DAILY


def _for_another_week(permit: DeviceManifest, now: int) -> DeviceManifest:
    return replace(permit, issued=now, expires=now + min(LIFETIME, permit.expires - permit.issued))


def spread(offers: Mapping[str, TargetFile], rule: Role, *, bits: int) -> dict[str, Targets]:
    """The bodies of the role files that name these offers, by role: without version and expiry.

    With no bits the personaliser names them itself; else it delegates to bins of its own keys.
    """
    if bits == 0:
        return {PERSONALISER_FILE: Targets(targets=dict(offers))}
    keys = {key.keyid: key for key in map(tuf_key, rule.keys)}
    bins = SuccinctRoles(
        list(keys), sum(rule.thresholds.values()), bits, layout.BIN_PREFIX, rule_values(rule)
    )
    bodies = {PERSONALISER_FILE: Targets(delegations=Delegations(keys, succinct_roles=bins))}
    bodies.update({name: Targets() for name in bins.get_roles()})
    for path, info in offers.items():
        bodies[bins.get_role_for_target(path)].targets[path] = info
    return bodies


def bits_of(published: Published | None) -> int:
    """Over how many bins offers are spread now, as bits."""
    if published is None or PERSONALISER_FILE not in published.files:
        return 0
    delegations = published.targets(PERSONALISER_FILE).delegations
    bins = delegations.succinct_roles if delegations else None
    return bins.bit_length if bins else 0
