"""Where a publisher's offers lie, as a rollout sees it: a folder of files that devices take as a source.

Invariants of a write into a folder:

1. A file gets its name only when it is whole and durable, so a device sees the old or the new document.
2. The order is bundle, catalogue, device manifest: nothing is offered before what it leads to is there, and a
   withdrawal holds from the moment its catalogue has its name.
3. One file holds the device manifest of an improvement for all its models, so a move is one rename. Those
   that it takes the place of are removed afterwards; devices go by the one issued last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from deltaseal.bundle import VerifiedBundle, is_bundle, open_bundle
from deltaseal.errors import DeltasealError, UsageError
from deltaseal.manifest import (
    BundleManifest,
    Catalogue,
    DeviceManifest,
    Verified,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.storage import ByteSource, Dir, Disk, RealDisk, chunks, read_file, write_file, write_output
from deltaseal.trust import MAGIC, MAX_DOCUMENT, Signer, Trust, UnverifiedDocument

__all__ = ["FolderLock", "FolderPlace", "Place", "Writes"]

LOCK: Final = ".rollout.lock"
_HEAD: Final = 16
T = TypeVar("T", Catalogue, DeviceManifest)


@dataclass(frozen=True, slots=True)
class Writes:
    """What one move writes, all of it signed."""

    catalogue: UnverifiedDocument | None = None
    permit: UnverifiedDocument | None = None
    bundle: ByteSource | None = None


class Place(Protocol):
    """Where offers lie. What it returns is verified."""

    @property
    def name(self) -> str:
        """What to call it in sentences."""

    def trust(self) -> Trust:
        """Whose documents count here."""

    def catalogues(self) -> Mapping[str, Catalogue]:
        """The catalogue in force of each system."""

    def permits(self) -> Sequence[DeviceManifest]:
        """Every static device manifest that lies there."""

    def manifest(self, digest: str) -> BundleManifest:
        """The manifest of a bundle. ``UsageError`` if it is not there."""

    def state(self) -> str:
        """A digest of what is in force: it changes whenever anybody moves anything."""

    def locked(self) -> AbstractContextManager[None]:
        """Alone with it. ``LockedError`` if another rollout is at work."""

    def write(self, writes: Writes, signers: Sequence[Signer]) -> None:
        """Bring a move into force; ``signers`` sign what the place itself needs beside it."""


class FolderPlace:
    """A folder that devices take as a source."""

    def __init__(self, path: Path, trust: Trust, *, now: int, disk: Disk | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._trust = trust
        self._now = now
        self._disk: Disk = disk or RealDisk()

    def trust(self) -> Trust:
        """The trust file that was given."""
        return self._trust

    def catalogues(self) -> dict[str, Catalogue]:
        """The newest of each system."""
        found: dict[str, Catalogue] = {}
        for _, one in self._verified(Catalogue.TYPE):
            catalogue = verify_catalogue(one, self._trust, now=self._now).value
            if catalogue.os not in found or found[catalogue.os].serial < catalogue.serial:
                found[catalogue.os] = catalogue
        return found

    def permits(self) -> list[DeviceManifest]:
        """The static ones, by their files' names."""
        return [one.value for _, one in self._permits()]

    def manifest(self, digest: str) -> BundleManifest:
        """The manifest of a bundle in the folder."""
        with self._disk.open_root(self._path) as at:
            for name in self._disk.names(at):
                if (found := self._bundle(at, name)) and found.digest == digest:
                    return found.manifest
        raise UsageError(
            f"the bundle {digest[:12]}… is not in {self.name!r}",
            hint="put it there: its models are needed",
            bundle=digest,
        )

    def state(self) -> str:
        """SHA-256 over the names and digests of all catalogues and device manifests."""
        hasher = hashlib.sha256()
        for name, document in self._documents():
            if document.type in (Catalogue.TYPE, DeviceManifest.TYPE):
                hasher.update(f"{name}\0{document.digest.hex()}\0".encode())
        return hasher.hexdigest()

    def locked(self) -> AbstractContextManager[None]:
        """The lock of rollouts in this folder."""
        return FolderLock(self._disk, self._path)

    def write(self, writes: Writes, signers: Sequence[Signer]) -> None:
        """Bundle, catalogue, device manifest, in this order; then remove what they took the place of."""
        with self._disk.open_root(self._path) as at:
            if writes.bundle is not None:
                bundle = open_bundle(writes.bundle).verify(self._trust, now=self._now)
                if not self._holds(at, bundle.digest):
                    path = self._path / f"{bundle.manifest.id}.bundle"
                    write_output(path, chunks(writes.bundle), True, verify=True, disk=self._disk)
            if writes.catalogue is not None:
                catalogue = verify_catalogue(writes.catalogue, self._trust, now=self._now).value
                write_file(self._disk, at, self._catalogue_name(catalogue), writes.catalogue.to_bytes())
            if writes.permit is not None:
                permit = verify_device_manifest(writes.permit, self._trust, now=self._now).value
                write_file(self._disk, at, f"{permit.id}.manifest", writes.permit.to_bytes())
            self._tidy(at)

    def _catalogue_name(self, catalogue: Catalogue) -> str:
        """The name of the one in force, which is replaced; a new one is named by its system."""
        newest: tuple[int, str] = (-1, f"{catalogue.os}.catalogue")
        for name, document in self._verified(Catalogue.TYPE):
            found = verify_catalogue(document, self._trust, now=self._now).value
            if found.os == catalogue.os:
                newest = max(newest, (found.serial, name))
        return newest[1]

    def _tidy(self, at: Dir) -> None:
        """Remove static device manifests of which nothing counts any more."""
        withdrawn = {order.id for one in self.catalogues().values() for order in one.withdrawals}
        permits = self._permits()
        for name, found in permits:
            permit = found.value
            newer = (
                other.value
                for other_name, other in permits
                if other_name != name
                and other.value.bundle == permit.bundle
                and other.value.issued > permit.issued
            )
            replaced = any(set(permit.models or ()) <= set(other.models or ()) for other in newer)
            if replaced or permit.id in withdrawn:
                self._disk.unlink(at, name)
        self._disk.sync_dir(at)

    def _permits(self) -> list[tuple[str, Verified[DeviceManifest]]]:
        found = []
        for name, document in self._verified(DeviceManifest.TYPE):
            permit = verify_device_manifest(document, self._trust, now=self._now)
            if permit.value.personal is None:
                found.append((name, permit))
        return found

    def _verified(self, type: str) -> Iterator[tuple[str, UnverifiedDocument]]:
        """The documents of a type, those that verify: others are nothing to devices either."""
        check = verify_catalogue if type == Catalogue.TYPE else verify_device_manifest
        for name, document in self._documents():
            if document.type != type:
                continue
            try:
                check(document, self._trust, now=self._now)
            except DeltasealError:
                continue
            yield name, document

    def _documents(self) -> Iterator[tuple[str, UnverifiedDocument]]:
        with self._disk.open_root(self._path) as at:
            for name in self._disk.names(at):
                if name.startswith(".") or self._disk.stat(at, name).kind != "file":
                    continue
                with self._disk.open_read(at, name) as file:
                    head = file.read_at(0, min(file.size(), _HEAD))
                if not head.startswith(MAGIC):
                    continue
                try:
                    data = read_file(self._disk, at, name, limit=MAX_DOCUMENT)
                    yield name, UnverifiedDocument.loads(data)
                except DeltasealError:
                    continue

    def _bundle(self, at: Dir, name: str) -> VerifiedBundle | None:
        if name.startswith(".") or self._disk.stat(at, name).kind != "file":
            return None
        with self._disk.open_read(at, name) as file:
            if not is_bundle(file.read_at(0, min(file.size(), _HEAD))):
                return None
            try:
                return open_bundle(file).verify(self._trust, now=self._now)
            except DeltasealError:
                return None

    def _holds(self, at: Dir, digest: str) -> bool:
        return any(
            found.digest == digest for name in self._disk.names(at) if (found := self._bundle(at, name))
        )


class FolderLock:
    """The lock of a folder, with the folder open as long as it is held."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path

    def __enter__(self) -> None:
        self._at = self._disk.open_root(self._path)
        self._lock = self._disk.lock(self._at, LOCK)
        try:
            self._lock.__enter__()
        except BaseException:
            self._at.close()
            raise

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)
        self._at.close()


def newest(permits: Iterable[DeviceManifest], id: str) -> DeviceManifest | None:
    """The static device manifest of an improvement that was issued last."""
    return max((one for one in permits if one.id == id), key=lambda one: one.issued, default=None)
