"""Where a device under torture gets its offers: memory, and bad networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from deltaseal.storage import ByteSource, BytesSource
from deltaseal.trust import UnverifiedDocument

__all__ = ["MemorySource", "Spoil"]

Spoil = Callable[[int, bytes], bytes]
"""What becomes of the bytes that are read at an offset of a bundle; it may raise."""


class MemorySource:
    """Bundles, permissions and a catalogue; with ``spoil`` the bundles come over a bad line.

    ``reads`` lists what was read of bundles so far.
    """

    def __init__(
        self,
        *,
        bundles: Mapping[str, bytes],
        manifests: Iterable[UnverifiedDocument],
        catalogue: UnverifiedDocument | None = None,
        spoil: Spoil | None = None,
        name: str = "memory",
    ) -> None:
        self.name = name
        self.reads: list[tuple[int, int]] = []  # offset and size of every read of a bundle
        self._bundles = dict(bundles)
        self._manifests = tuple(manifests)
        self._catalogue = catalogue
        self._spoil = spoil

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The one there is."""
        return self._catalogue

    def manifests(self, os: str | None, id: str | None = None) -> tuple[UnverifiedDocument, ...]:
        """All of them."""
        return self._manifests

    def bundle(self, digest: str) -> ByteSource | None:
        """What was put in under that digest."""
        data = self._bundles.get(digest)
        return None if data is None else _Line(self, data, self._spoil)


class _Line:
    """The bytes of a bundle as they arrive."""

    def __init__(self, source: MemorySource, data: bytes, spoil: Spoil | None) -> None:
        self._source = source
        self._data = BytesSource(data)
        self._spoil = spoil

    def size(self) -> int:
        return self._data.size()

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._data.read_at(offset, size)
        self._source.reads.append((offset, size))
        return self._spoil(offset, data) if self._spoil else data
