"""What lies in a publisher's folder: the role files in force, those being prepared, and what they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from deltaseal.errors import UsageError
from deltaseal.manifest import Catalogue
from deltaseal.repo import layout
from deltaseal.repo.folders import Folder
from deltaseal.repo.metadata import read
from deltaseal.storage import MissingError
from deltaseal.trust import UnverifiedDocument

__all__ = ["PERSONALISER_FILE", "Published", "catalogue_in", "documents_in", "read_published", "staged_roles"]

PERSONALISER_FILE: Final = "personaliser"
T = TypeVar("T", Root, Timestamp, Snapshot, Targets)
_ROOT_NAME: Final = re.compile(r"metadata/([1-9][0-9]{0,8})\.root\.json")


@dataclass(frozen=True, slots=True)
class Published:
    """One consistent state of a repository: the bytes of every role file that the timestamp leads to."""

    files: Mapping[str, bytes]  # by role

    def metadata(self, role: str, kind: type[T]) -> Metadata[T]:
        """A role file, parsed anew."""
        return read(self.files[role], kind)

    def versions(self, roles: Iterable[str]) -> dict[str, int]:
        """The versions of those of these role files that are there."""
        return {
            role: int(Metadata.from_bytes(self.files[role]).signed.version)
            for role in roles
            if role in self.files
        }

    @property
    def root(self) -> Root:
        """The newest root."""
        return self.metadata("root", Root).signed

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot."""
        return self.metadata("snapshot", Snapshot).signed

    def targets(self, role: str) -> Targets:
        """A targets role file."""
        return self.metadata(role, Targets).signed

    @property
    def releases(self) -> list[str]:
        """The release roles that have files."""
        return sorted(role for role in self.files if role.startswith("release-"))

    @property
    def holders_of_offers(self) -> list[str]:
        """The role files that offers stand in: the personaliser's, or its bins."""
        bins = sorted(role for role in self.files if role.startswith(f"{layout.BIN_PREFIX}-"))
        return bins or [role for role in (PERSONALISER_FILE,) if role in self.files]

    def offers(self) -> dict[str, TargetFile]:
        """Every offer that is published, by its path."""
        return {
            path: info for role in self.holders_of_offers for path, info in self.targets(role).targets.items()
        }

    def named(self) -> Iterator[tuple[str, TargetFile]]:
        """Every target of every role file, by its path."""
        for role in (*self.releases, *self.holders_of_offers):
            yield from self.targets(role).targets.items()

    def by_file_name(self) -> dict[str, bytes]:
        """As a client keeps them."""
        return {f"{role}.json": data for role, data in self.files.items()}


def read_published(folder: Folder, *, snapshot: int | None = None) -> Published:
    """The state in force; or an earlier one, by the version of its snapshot.

    Raises ``UsageError`` where nothing was published.
    """
    names = folder.names(layout.METADATA)
    versions = [int(found[1]) for name in names if (found := _ROOT_NAME.fullmatch(name))]
    try:
        timestamp = folder.read(layout.TIMESTAMP_NAME)
        root = folder.read(layout.metadata_name("root", max(versions)))
    except (MissingError, ValueError) as error:
        raise UsageError(
            f"nothing has been published in {folder.name!r}",
            hint="`deltaseal repo init` makes a repository, `deltaseal repo publish` publishes it",
            path=folder.name,
        ) from error
    files = {"root": root, "timestamp": timestamp}
    version = snapshot or read(timestamp, Timestamp).signed.snapshot_meta.version
    files["snapshot"] = folder.read(layout.metadata_name("snapshot", version))
    for name, meta in read(files["snapshot"], Snapshot).signed.meta.items():
        role = name.removesuffix(".json")
        files[role] = folder.read(layout.metadata_name(role, meta.version))
    return Published(files)


def staged_roles(folder: Folder) -> dict[str, Metadata[Any]]:
    """The role files that are being prepared, by role."""
    found: dict[str, Metadata[Any]] = {}
    for name in folder.names(layout.STAGED):
        if name.endswith(".json"):
            role = name.removeprefix(f"{layout.STAGED}/").removesuffix(".json")
            data = folder.read(name)
            found[role] = read(data, Root) if role == "root" else read(data, Targets)
    return found


def documents_in(data: bytes) -> list[UnverifiedDocument]:
    """The documents of offers, one after another."""
    documents, rest = [], memoryview(data)
    while rest:
        document, used = UnverifiedDocument.parse(rest)
        documents.append(document)
        rest = rest[used:]
    return documents


def catalogue_in(folder: Folder, targets: Targets) -> tuple[UnverifiedDocument, Catalogue] | None:
    """The catalogue that a release role file names, as the publisher reads it back; ``None`` if none."""
    for path, info in targets.targets.items():
        if path.endswith("/catalogue"):
            data = folder.read(layout.target_name(path, info.hashes["sha256"]))
            document = UnverifiedDocument.loads(data)
            return document, Catalogue.loads(document.body)
    return None
