"""Mirrors: where a repository is served from. A mirror is asked, never believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deltaseal.errors import LimitError, UsageError
from deltaseal.storage import ByteSource, FileSource, chunks
from deltaseal.trust import UnverifiedDocument

__all__ = ["DirectoryTransport", "Repository", "Transport", "is_repository", "needs_root", "transport_of"]


class Transport(Protocol):
    """A way to the files of a repository, by their names in it."""

    @property
    def name(self) -> str:
        """What to call it in sentences."""

    def read(self, name: str, limit: int) -> bytes:
        """A whole file.

        Raises ``MissingError`` where it is not there, ``LimitError`` over ``limit`` bytes, else
        ``NetworkError`` or ``StorageError``.
        """

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        """As :meth:`read`, in pieces."""

    def open(self, name: str) -> ByteSource:
        """A file to be read by ranges; raises as :meth:`read`."""


@dataclass(frozen=True, slots=True)
class DirectoryTransport:
    """A repository in a folder: a mirror on a disk, or one that was exported."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self, name: str, limit: int) -> bytes:
        """A whole file."""
        return b"".join(self.stream(name, limit))

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        """A whole file, in pieces."""
        source = self.open(name)
        if source.size() > limit:
            source.close()
            raise LimitError(f"{name} has {source.size()} bytes, {limit} are allowed", limit=limit, path=name)
        return _pieces(source)

    def open(self, name: str) -> FileSource:
        """A file to be read by ranges."""
        return FileSource(self.folder / name)


def _pieces(source: FileSource) -> Iterator[bytes]:
    with source:
        yield from chunks(source)


@dataclass(frozen=True, slots=True)
class Repository:
    """A mirror of the repository that a device believes in; as a source it is empty until it is bound."""

    transport: Transport

    @property
    def name(self) -> str:
        """What to call it in sentences."""
        return self.transport.name

    @classmethod
    def at(cls, place: str, *, proxy_for: Callable[[str], str | None] = lambda url: None) -> Repository:
        """The mirror at a URL or in a folder. Raises ``UsageError`` for another kind of URL."""
        return cls(transport_of(place, proxy_for=proxy_for))

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """Nothing."""
        return None

    def manifests(self, os: str | None, id: str | None = None) -> Iterable[UnverifiedDocument]:
        """Nothing."""
        return ()

    def bundle(self, digest: str) -> ByteSource | None:
        """Nothing."""
        return None


def is_repository(folder: Path) -> bool:
    """Whether a folder holds a repository, not just offers."""
    return (folder / "metadata" / "timestamp.json").is_file()


def transport_of(place: str, *, proxy_for: Callable[[str], str | None] = lambda url: None) -> Transport:
    """The way to a repository at a URL or in a folder. Raises ``UsageError`` for another kind of URL."""
    scheme, separator, _ = place.partition("://")
    if not separator:
        return DirectoryTransport(Path(place))
    if scheme.lower() not in ("http", "https"):
        raise UsageError(
            f"{place!r} is no place to fetch from", hint="use http:// or https://, or a folder", url=place
        )
    from deltaseal.repo.http import HttpTransport

    return HttpTransport(place, proxy_for)


def needs_root(name: str) -> UsageError:
    """A device that was made with a trust file cannot believe a repository."""
    return UsageError(
        f"{name} is a repository, but this device was made with a trust file",
        hint="make it with `--trust ROOT`, the root.json of the repository",
        source=name,
    )
