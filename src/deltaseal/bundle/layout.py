"""The head of a bundle and the value of one that is being made (docs/spec/bundle.md, section 3)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from deltaseal.errors import DigestError, DocumentTypeError
from deltaseal.manifest import BundleManifest
from deltaseal.storage import ByteSource, chunks
from deltaseal.trust import Signer, UnverifiedDocument

MAGIC: Final = b"DSBUND\0"
VERSION: Final = 0
_HEAD: Final = struct.Struct("<7sBQ")  # magic, version, total length
HEAD_BYTES: Final = _HEAD.size

# What a bundle without its payloads may take, bytes (product definition, section 6).
_FIXED_BYTES: Final = 2048
_SIGNATURE_BYTES: Final = {"ml-dsa-65": 3400, "ed25519": 100}
_CHANGED_FILE_BYTES: Final = 150


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as its publisher holds it: the document and the payloads in their order.

    Nothing about it is verified: it was just built, or opened to be signed.
    """

    document: UnverifiedDocument
    payloads: tuple[ByteSource, ...]

    @property
    def manifest(self) -> BundleManifest:
        """The body, parsed; not verified."""
        return BundleManifest.loads(self.document.body)

    @property
    def digest(self) -> str:
        """The bundle digest, hexadecimal."""
        return self.document.digest.hex()

    def signed(self, signers: Sequence[Signer]) -> Bundle:
        """The same bundle with more signatures; ``UsageError`` for a key that signed already."""
        return replace(self, document=self.document.add_signatures(signers))

    def size(self) -> int:
        """The size of the file, bytes."""
        return HEAD_BYTES + len(self.document.to_bytes()) + sum(one.size() for one in self.payloads)

    def check_payloads(self) -> None:
        """Read every payload; ``DigestError`` for the first that is not what the manifest names."""
        for (sha256, _), payload in zip(self.manifest.payloads(), self.payloads, strict=True):
            hasher = hashlib.sha256()
            for piece in chunks(payload):
                hasher.update(piece)
            if hasher.hexdigest() != sha256:
                raise DigestError(
                    f"a payload is not what the manifest names: expected SHA-256 {sha256}, "
                    f"found {hasher.hexdigest()}",
                    expected=sha256,
                    found=hasher.hexdigest(),
                )

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the file, in pieces."""
        yield _HEAD.pack(MAGIC, VERSION, self.size())
        yield self.document.to_bytes()
        for payload in self.payloads:
            yield from chunks(payload)

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return b"".join(self.chunks())


def read_head(source: ByteSource) -> int:
    """Check magic, version and total length; returns the total length.

    ``DocumentTypeError`` where this is no bundle of this version, ``DigestError``
    where it is cut short or has bytes too many.
    """
    size = source.size()
    data = source.read_at(0, min(size, HEAD_BYTES))
    if len(data) < HEAD_BYTES or not is_bundle(data):
        raise DocumentTypeError("this is no bundle: it does not begin like one")
    _, version, total = _HEAD.unpack(data)
    if version != VERSION:
        raise DocumentTypeError(
            f"this is a bundle of version {version}; only version {VERSION} can be read",
            hint="use the deltaseal that made it",
            expected=VERSION,
            found=version,
        )
    if total != size:
        raise DigestError(
            f"the bundle says that it has {total} bytes, there are {size}", expected=total, found=size
        )
    return int(total)


def is_bundle(head: bytes) -> bool:
    """Whether a file that begins with ``head`` says that it is a bundle."""
    return head.startswith(MAGIC)


def bare_size_allowed(*, changed_files: int, algorithms: Iterable[str] = ()) -> int:
    """What a bundle without its payloads may take, bytes, with signatures of these algorithms."""
    signatures = sum(_SIGNATURE_BYTES[algorithm] for algorithm in algorithms)
    return _FIXED_BYTES + signatures + _CHANGED_FILE_BYTES * changed_files
