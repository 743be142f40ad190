"""What a publisher does between publishings: look, prune, hand out a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deltaseal.errors import UsageError
from deltaseal.repo import layout, parts
from deltaseal.repo.folders import Folder, copy_all, digest_of
from deltaseal.repo.metadata import expiry, good_keys, read
from deltaseal.repo.published import Published, catalogue_in, read_published
from deltaseal.repo.publisher import Publisher
from deltaseal.storage import MissingError

__all__ = ["RoleState", "States", "export", "prune", "states"]


@dataclass(frozen=True, slots=True)
class RoleState:
    """One role file in force."""

    role: str
    version: int
    expires: int  # seconds since 1970
    size: int
    keys: dict[str, tuple[int, int, int]]  # by algorithm: how many signed, are needed, are there

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        keys = {
            name: dict(zip(("signed", "needed", "keys"), each, strict=True))
            for name, each in self.keys.items()
        }
        values = {"version": self.version, "expires": self.expires, "size": self.size, "keys": keys}
        return {"role": self.role, **values}


@dataclass(frozen=True, slots=True)
class States:
    """A repository at a glance."""

    roles: tuple[RoleState, ...]
    offers: int
    bundles: int


def states(publisher: Publisher) -> States:
    """What is in force. Raises ``UsageError`` where nothing was published."""
    published = read_published(publisher.folder)
    roles = tuple(_state(published, role) for role in published.files)
    bundles = len(publisher.folder.names(layout.BUNDLES))
    return States(roles, len(published.offers()), bundles)


def _state(published: Published, role: str) -> RoleState:
    found = read_any(role, published.files[role])
    delegator = published.root if role in parts.TOP else published.targets("targets")
    rule = parts.rule_in(delegator, role)
    good = good_keys(rule, found)
    keys: dict[str, tuple[int, int, int]] = {
        name: (
            sum(key.algorithm == name for key in good),
            needed,
            sum(key.algorithm == name for key in rule.keys),
        )
        for name, needed in rule.thresholds.items()
    }
    return RoleState(role, found.signed.version, expiry(found.signed), len(published.files[role]), keys)


def read_any(role: str, data: bytes) -> Any:
    """A role file of whatever kind its role has."""
    from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

    kinds: dict[str, Any] = {"root": Root, "snapshot": Snapshot, "timestamp": Timestamp}
    return read(data, kinds.get(role, Targets))


def prune(publisher: Publisher, *, keep: int = 1) -> list[str]:
    """Remove what neither the state in force nor the ``keep`` before it name; returns the names.

    Who began to read an earlier state can finish, as long as it is among those kept. Every root stays: a
    device that slept long goes through all of them.
    """
    with publisher.folder.locked():
        gone = _unneeded(publisher, keep)
        publisher.folder.remove(gone)
    return gone


def _unneeded(publisher: Publisher, keep: int) -> list[str]:
    folder = publisher.folder
    published = read_published(folder)
    needed = set(_names(folder, published))
    for version in range(published.snapshot.version - 1, max(0, published.snapshot.version - 1 - keep), -1):
        try:
            needed |= set(_names(folder, read_published(folder, snapshot=version)))
        except MissingError:
            break
    there = [name for top in (layout.METADATA, layout.TARGETS, layout.BUNDLES) for name in folder.names(top)]
    gone = [name for name in there if name not in needed and not name.endswith(".root.json")]
    staged = {layout.bundle_name(one.permit.bundle) for one in publisher.staged_permits()}
    for os in (role.removeprefix("release-") for role in published.releases):
        catalogue = publisher.catalogue(os)
        staged |= (
            {layout.bundle_name(entry.bundle) for entry in catalogue.improvements} if catalogue else set()
        )
    if publisher.waiting():
        staged |= {name for name in gone if name.startswith(f"{layout.TARGETS}/")}
    return [name for name in gone if name not in staged]


def export(publisher: Publisher, to: Folder) -> int:
    """Copy the state in force into another folder: a mirror that keeps its proofs; returns how many bytes.

    Every root comes along, so that a device can come from any of them. The timestamp is copied last. A mirror
    that is there is brought up to date; ``UsageError`` where it is one of another repository, or newer.
    """
    folder, have = publisher.folder, set(to.names(layout.METADATA))
    published = read_published(folder)
    if have:
        _check_is_mirror(published, folder, to)
        have |= {name for top in (layout.TARGETS, layout.BUNDLES) for name in to.names(top)}
    names = sorted(set(_names(folder, published)) | set(_roots(folder)))
    early = [name for name in names if name != layout.TIMESTAMP_NAME and not _has(name, have, folder, to)]
    return copy_all(folder, to, early) + copy_all(folder, to, [layout.TIMESTAMP_NAME])


def _check_is_mirror(published: Published, folder: Folder, to: Folder) -> None:
    there, here = (each.versions(["root", "timestamp"]) for each in (read_published(to), published))
    root = layout.metadata_name("root", min(there["root"], here["root"]))
    if folder.read(root) != to.read(root):
        raise UsageError(f"{to.name!r} holds another repository", hint="name a new folder", path=to.name)
    if there["timestamp"] > here["timestamp"]:
        raise UsageError(f"{to.name!r} is newer than {folder.name!r}", path=to.name)


def _has(name: str, have: set[str], folder: Folder, to: Folder) -> bool:
    """Whether a mirror has a file already; only a bundle's name may come to stand for other bytes."""
    if name not in have:
        return False
    return not name.startswith(layout.BUNDLES) or digest_of(folder, name) == digest_of(to, name)


def _roots(folder: Folder) -> Iterator[str]:
    return (name for name in folder.names(layout.METADATA) if name.endswith(".root.json"))


def _names(folder: Folder, published: Published) -> Iterator[str]:
    """Every file that a state leads to."""
    for role, data in published.files.items():
        yield layout.metadata_name(role, read_any(role, data).signed.version)
    for path, info in published.named():
        yield layout.target_name(path, info.hashes["sha256"])
    for role in published.releases:
        found = catalogue_in(folder, published.targets(role))
        for entry in found[1].improvements if found else ():
            yield layout.bundle_name(entry.bundle)
