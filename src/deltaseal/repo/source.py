"""Sources of offers: catalogues, device manifests and bundles, nothing of it verified.

A source answers with bytes and documents; whoever asks verifies them.  What a
document claims before it is verified decides only whether it is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from deltaseal.bundle import is_bundle, open_bundle
from deltaseal.errors import DeltasealError, LimitError
from deltaseal.manifest import Catalogue, DeviceManifest
from deltaseal.storage import ByteSource, FileSource, RealDisk, WrongKindError
from deltaseal.trust import MAX_DOCUMENT, UnverifiedDocument, strict_json
from deltaseal.trust.documents import MAGIC

_HEAD_BYTES: Final = 16  # enough to tell every kind of file


@dataclass(frozen=True, slots=True)
class SourceFault:
    """A file of a source that cannot be used, and why."""

    name: str
    error: DeltasealError


class Source(Protocol):
    """Where a device looks for offers."""

    @property
    def name(self) -> str:
        """What to call it in sentences."""

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The newest catalogue that claims to be for a system."""

    def manifests(self, os: str | None, id: str | None = None) -> Iterable[UnverifiedDocument]:
        """The device manifests that claim to be for a system (``None``: any), in an order that stays.

        With ``id`` a person asks for that improvement: one that is meant for others is of interest too.
        """

    def bundle(self, digest: str) -> ByteSource | None:
        """The bundle whose manifest has this digest (hexadecimal), to be read by ranges."""


class DirectorySource:
    """The files of one directory, told apart by how they begin, never by their names.

    The directory is looked through once, when the source is made; subdirectories
    and names that begin with a dot (what is being written) are not.  A bundle is
    found by the digest of its manifest as it lies there, so one that was edited is
    not found under its old digest.  Files of deltaseal that
    cannot be read are listed in ``faults``, files of other kinds ignored.
    """

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._documents: list[UnverifiedDocument] = []
        self._bundles: dict[str, Path] = {}
        faults = []
        for path in _paths(directory):
            try:
                self._take(path)
            except WrongKindError:
                continue
            except DeltasealError as error:
                faults.append(SourceFault(path.name, error))
        self.faults = tuple(faults)

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The catalogue with the highest serial that claims to be for a system."""
        found = list(self._claiming(Catalogue.TYPE, os))
        return max(found, key=_claimed_serial, default=None)

    def manifests(self, os: str | None, id: str | None = None) -> Iterable[UnverifiedDocument]:
        """The device manifests that claim to be for a system (``None``: any), by their files' names."""
        return tuple(self._claiming(DeviceManifest.TYPE, os))

    def bundle(self, digest: str) -> FileSource | None:
        """The bundle whose manifest had this digest when the directory was looked through."""
        path = self._bundles.get(digest)
        return FileSource(path) if path else None

    def _take(self, path: Path) -> None:
        with FileSource(path) as source:
            head = source.read_at(0, min(source.size(), _HEAD_BYTES))
            if is_bundle(head):
                self._bundles.setdefault(open_bundle(source).digest, path)
            elif head.startswith(MAGIC):
                self._documents.append(_document(source))

    def _claiming(self, type: str, os: str | None) -> Iterator[UnverifiedDocument]:
        return (one for one in self._documents if one.type == type and os in (None, _claims(one).get("os")))


def _paths(directory: Path) -> list[Path]:
    disk = RealDisk()
    with disk.open_root(directory) as root:
        return [directory / name for name in sorted(disk.names(root)) if not name.startswith(".")]


def _document(source: ByteSource) -> UnverifiedDocument:
    if source.size() > MAX_DOCUMENT:
        raise LimitError(
            f"a signed document has at most {MAX_DOCUMENT} bytes, this file has {source.size()}",
            limit=MAX_DOCUMENT,
            found=source.size(),
        )
    return UnverifiedDocument.loads(source.read_at(0, source.size()))


def _claims(document: UnverifiedDocument) -> dict[str, Any]:
    # A body that is not strict JSON claims nothing; it would be refused in any case.
    try:
        return strict_json.loads(document.body)
    except DeltasealError:
        return {}


def _claimed_serial(document: UnverifiedDocument) -> int:
    serial = _claims(document).get("serial")
    return serial if isinstance(serial, int) else 0
