"""A repository as a rollout and a fleet see it.

A move is prepared, signed and published in one go: devices see it when the timestamp is replaced, and nothing
of it before. What fails on the way is taken out again, so a repository in which others prepare something is
left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

from deltaseal.errors import UsageError
from deltaseal.fleet.places import Writes
from deltaseal.manifest import BundleManifest, Catalogue, DeviceManifest, release_role
from deltaseal.repo import Folder, Publisher, layout
from deltaseal.repo.permits import permits_in
from deltaseal.repo.published import catalogue_in, read_published
from deltaseal.storage import ByteSource, BytesSource, MissingError
from deltaseal.trust import Signer, Trust, UnverifiedDocument

__all__ = ["RepositoryPlace", "RepositorySource"]


class RepositorySource:
    """What a repository offers to all its devices: a source whose documents whoever asks verifies."""

    def __init__(self, folder: Folder) -> None:
        self.name = folder.name
        self._folder = folder

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The catalogue in force of a system."""
        published = read_published(self._folder)
        role = layout.role_name(release_role(os))
        found = catalogue_in(self._folder, published.targets(role)) if role in published.releases else None
        return found[0] if found else None

    def manifests(self, os: str | None, id: str | None = None) -> Iterable[UnverifiedDocument]:
        """Every static device manifest in force, each once."""
        seen: dict[bytes, UnverifiedDocument] = {}
        for path, info in read_published(self._folder).offers().items():
            for document, permit in permits_in(self._folder, path, info):
                if os in (None, permit.os):
                    seen.setdefault(document.digest, document)
        return list(seen.values())

    def bundle(self, digest: str) -> ByteSource | None:
        """A bundle, by its digest."""
        try:
            return self._folder.open(layout.bundle_name(digest))
        except MissingError:
            return None


class RepositoryPlace:
    """A repository whose rollouts are moved."""

    def __init__(self, folder: Folder, *, now: int) -> None:
        self.name = folder.name
        self._folder = folder
        self._publisher = Publisher(folder, now)

    def trust(self) -> Trust:
        """Whose documents count, as the repository itself says."""
        return self._publisher.trust()

    def catalogues(self) -> dict[str, Catalogue]:
        """Those in force, by system."""
        published = read_published(self._folder)
        found = [catalogue_in(self._folder, published.targets(role)) for role in published.releases]
        return {each[1].os: each[1] for each in found if each}

    def permits(self) -> Sequence[DeviceManifest]:
        """Every static device manifest in force."""
        return list(self._publisher.permits())

    def manifest(self, digest: str) -> BundleManifest:
        """The verified manifest of a bundle."""
        return self._publisher.manifest(digest)

    def state(self) -> str:
        """SHA-256 over the catalogues and device manifests in force: renewing a timestamp moves nothing."""
        bodies = [one.dumps() for one in self.catalogues().values()]
        bodies += [one.dumps() for one in self.permits()]
        return hashlib.sha256(b"\n".join(sorted(bodies))).hexdigest()

    def locked(self) -> AbstractContextManager[None]:
        """The lock of all who publish here."""
        return self._folder.locked()

    def write(self, writes: Writes, signers: Sequence[Signer]) -> None:
        """Prepare, sign, publish; whatever stops it, nothing stays prepared.

        ``UsageError`` where somebody prepares something already, ``SignatureError`` naming what is missing.
        """
        if self._folder.names(layout.STAGED):
            raise UsageError(
                f"something is being prepared in {self.name!r} already",
                hint="finish it with `deltaseal repo publish`, then decide anew",
            )
        try:
            for source in self._sources(writes):
                self._publisher.add(source)
            self._publisher.publish(signers)
        except BaseException:
            self._folder.remove(self._folder.names(layout.STAGED))
            raise

    def _sources(self, writes: Writes) -> Iterable[ByteSource]:
        if writes.bundle is not None:
            yield writes.bundle
        for document in (writes.catalogue, writes.permit):
            if document is not None:
                yield BytesSource(document.to_bytes())
