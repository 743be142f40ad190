"""SHA-256 of images. Loading ``hashlib``, and OpenSSL with it, takes longer than a small image is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltaseal import _core

if TYPE_CHECKING:
    import hashlib

__all__ = ["Buffer", "Sha256", "sha256"]

Buffer = bytes | bytearray | memoryview

_LITTLE = 1 << 20  # bytes that the core hashes; it is the slower one where the processor cannot help


class Sha256:
    """The digest of pieces, as ``hashlib.sha256``: a little is kept until it is asked for."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._more: hashlib._Hash | None = None

    def update(self, data: Buffer) -> None:
        """The next piece."""
        if self._more is None and len(self._kept) + len(data) > _LITTLE:
            self._more = _openssl(self._kept)
            self._kept = bytearray()
        if self._more is None:
            self._kept += data
        else:
            self._more.update(data)

    def digest(self) -> bytes:
        """Of all pieces so far."""
        return _core.sha256(self._kept) if self._more is None else self._more.digest()


def sha256(data: Buffer) -> bytes:
    """The digest of a buffer."""
    return _core.sha256(data) if len(data) <= _LITTLE else _openssl(data).digest()


def _openssl(data: Buffer) -> hashlib._Hash:
    import hashlib

    return hashlib.sha256(data)
