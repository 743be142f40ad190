"""Reading a bundle: one of the doors through which bytes from outside come in.

What is not verified is ``UnverifiedBundle``; it becomes ``VerifiedBundle`` by
passing, and only that has a manifest and payloads.  Limits: the envelope's are
in :mod:`deltaseal.trust.documents`, the body's in
:mod:`deltaseal.manifest.releases`; this module holds at most one document in
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltaseal.bundle.checked import CheckedSource
from deltaseal.bundle.layout import HEAD_BYTES, Bundle, read_head
from deltaseal.errors import DigestError, SignatureError, UsageError
from deltaseal.manifest import BundleManifest, Verified, verify_bundle_manifest
from deltaseal.storage import ByteSource, FileSource, SliceSource
from deltaseal.trust import MAX_DOCUMENT, Trust, UnverifiedDocument

_FIRST_READ: Final = 16_384  # bytes; holds an ordinary document, so that a range is fetched once


@dataclass(frozen=True, slots=True)
class UnverifiedBundle:
    """A bundle whose head and envelope are well formed, and no more."""

    source: ByteSource
    document: UnverifiedDocument
    payloads_at: int  # offset of the first payload

    @property
    def digest(self) -> str:
        """The bundle digest, hexadecimal: what a device manifest must name."""
        return self.document.digest.hex()

    def claimed(self) -> BundleManifest:
        """What the body says, for people who inspect it: nobody vouches for it."""
        return BundleManifest.loads(self.document.body)

    def verify(self, trust: Trust, *, now: int) -> VerifiedBundle:
        """The bundle, if a release role of its own system signed it."""
        verified = verify_bundle_manifest(self.document, trust, now=now)
        return VerifiedBundle(self.source, verified, _places(self, verified.value), self.document)

    def editable(self) -> Bundle:
        """The bundle to sign, or to compare with one that was built again; payloads are not checked."""
        places = _places(self, self.claimed())
        return Bundle(
            self.document,
            tuple(SliceSource(self.source, offset, size) for offset, size in places.values()),
        )


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle whose manifest the release role signed; payloads are checked when they are used."""

    source: ByteSource
    verified: Verified[BundleManifest]
    places: dict[str, tuple[int, int]]  # payload digest: offset, size
    signed: UnverifiedDocument  # as it came, to be kept and verified again

    @property
    def manifest(self) -> BundleManifest:
        """The verified manifest."""
        return self.verified.value

    @property
    def digest(self) -> str:
        """The bundle digest, hexadecimal."""
        return self.verified.digest

    def stored(self, sha256: str) -> ByteSource:
        """The bytes where a payload lies, not checked: for a fetch that can be resumed.

        Who fetches checks the whole with :class:`CheckedSource` before use.
        """
        if sha256 not in self.places:
            raise UsageError(f"the bundle has no payload {sha256}", sha256=sha256)
        offset, size = self.places[sha256]
        return SliceSource(self.source, offset, size)

    def payload(self, sha256: str) -> CheckedSource:
        """A payload, hashed as it is consumed; ``DigestError`` where it is not what was signed."""
        return CheckedSource(self.stored(sha256), sha256)

    def check_payloads(self) -> None:
        """Read every payload and compare its digest; ``DigestError`` names the first that differs."""
        for sha256 in self.places:
            self.payload(sha256)


def open_bundle(source: ByteSource) -> UnverifiedBundle:
    """Read head and envelope of a bundle by ranges.

    ``DocumentTypeError``, ``LimitError`` or ``DigestError`` as docs/spec/bundle.md,
    section 5, says.
    """
    total = read_head(source)
    document, used = _document(source, total)
    return UnverifiedBundle(source, document, HEAD_BYTES + used)


def verify_file(path: Path, trust: Trust, *, now: int) -> VerifiedBundle:
    """Verify a bundle file offline: signatures, manifest and every payload."""
    bundle = open_bundle(FileSource(path)).verify(trust, now=now)
    bundle.check_payloads()
    return bundle


def _document(source: ByteSource, total: int) -> tuple[UnverifiedDocument, int]:
    rest = total - HEAD_BYTES
    try:
        return UnverifiedDocument.parse(source.read_at(HEAD_BYTES, min(rest, _FIRST_READ)))
    except SignatureError:  # it does not end within these bytes: then within the most that it may have
        if rest <= _FIRST_READ:
            raise
    return UnverifiedDocument.parse(source.read_at(HEAD_BYTES, min(rest, MAX_DOCUMENT)))


def _places(bundle: UnverifiedBundle, manifest: BundleManifest) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    offset = bundle.payloads_at
    for sha256, size in manifest.payloads():
        places[sha256] = (offset, size)
        offset += size
    if offset != bundle.source.size():
        raise DigestError(
            f"the manifest and its payloads take {offset} bytes, the bundle has {bundle.source.size()}",
            expected=offset,
            found=bundle.source.size(),
        )
    return places
