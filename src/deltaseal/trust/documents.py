"""Signed documents: exact bytes, their type, and the signatures beside them.

The framing is binary and small, the pre-authentication encoding is DSSE's
(secure-systems-lab/dsse, protocol.md, version 1), the layout is in
docs/spec/documents.md, section 4.  Nothing here looks into a body: that is
for whoever gets it verified (:mod:`deltaseal.trust.policy`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from deltaseal.errors import DocumentTypeError, LimitError, SignatureError, UsageError
from deltaseal.trust.keys import Signer, algorithm_id

__all__ = [
    "MAGIC",
    "MAX_BODY",
    "MAX_DOCUMENT",
    "MAX_SIGNATURE",
    "MAX_SIGNATURES",
    "MAX_TYPE",
    "Signature",
    "UnverifiedDocument",
    "pre_authentication_encoding",
    "sign",
]

MAGIC = b"DSDOC\0"
VERSION = 0

# The limits of the envelope, in bytes and signatures.
MAX_TYPE = 64
MAX_BODY = 1 << 20
MAX_SIGNATURES = 32
MAX_SIGNATURE = 8192
# What a reader has to fetch at most to have a whole document.
MAX_DOCUMENT = len(MAGIC) + 2 + MAX_TYPE + 4 + MAX_BODY + 1 + MAX_SIGNATURES * (1 + 8 + 2 + MAX_SIGNATURE)

_TYPE = re.compile(rb"[a-z][a-z0-9]*(?:[-/][a-z0-9]+)*")


def pre_authentication_encoding(type: str, body: bytes) -> bytes:
    """Return what is signed: DSSE's encoding of the type and the exact body, no two pairs alike."""
    name = type.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(body), body)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature as it stands in the framing; the algorithm may be one that we do not know."""

    algorithm_id: int
    key_hint: bytes
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.key_hint) != 8 or not 0 <= self.algorithm_id <= 255:
            raise ValueError("a signature has an algorithm number of one byte and a key hint of eight")
        _check_limit("a signature", "bytes", len(self.raw), MAX_SIGNATURE)


@dataclass(frozen=True, slots=True)
class UnverifiedDocument:
    """A document that nobody has vouched for yet: show its type and digest, believe neither.

    Raises ``LimitError`` beyond the envelope's limits, ``DocumentTypeError`` for a malformed type.
    """

    type: str
    body: bytes
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        _check_type(self.type.encode("utf-8", "surrogatepass"))
        _check_limit("a body", "bytes", len(self.body), MAX_BODY)
        _check_limit("a document", "signatures", len(self.signatures), MAX_SIGNATURES)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the exact body; signing again does not change it."""
        return hashlib.sha256(self.body).digest()

    def with_signatures(self, signatures: Iterable[Signature]) -> UnverifiedDocument:
        """Return the same document with these signatures instead of its own."""
        return replace(self, signatures=tuple(signatures))

    def add_signatures(self, signers: Iterable[Signer]) -> UnverifiedDocument:
        """Return the document with the signatures of ``signers`` after its own.

        Raises ``UsageError`` for a signer whose signature is there already.
        """
        message = pre_authentication_encoding(self.type, self.body)
        made = list(self.signatures)
        for signer in signers:
            number, hint = algorithm_id(signer.public.algorithm), signer.public.key_hint
            if any((old.algorithm_id, old.key_hint) == (number, hint) for old in made):
                raise UsageError(
                    f"the key {hint.hex()} has signed already",
                    hint="each key signs once; leave it out",
                    key=hint.hex(),
                )
            made.append(Signature(number, hint, signer.sign(message)))
        return self.with_signatures(made)

    def to_bytes(self) -> bytes:
        """Return the document in its framing."""
        name = self.type.encode("ascii")
        parts = [
            MAGIC,
            bytes([VERSION, len(name)]),
            name,
            len(self.body).to_bytes(4, "little"),
            self.body,
            bytes([len(self.signatures)]),
        ]
        for signature in self.signatures:
            parts += [
                bytes([signature.algorithm_id]),
                signature.key_hint,
                len(signature.raw).to_bytes(2, "little"),
                signature.raw,
            ]
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> tuple[UnverifiedDocument, int]:
        """Read the document at the start of ``data``; return it and how many bytes it takes.

        The first ``MAX_DOCUMENT`` bytes of a file are enough.  Raises
        ``DocumentTypeError`` for what is no document, ``SignatureError`` for
        one that ends too early or whose lengths lead out of ``data``,
        ``LimitError`` for one over a limit.
        """
        take = _Cursor(memoryview(data).cast("B"))
        if take.at_most(len(MAGIC)) != MAGIC:
            raise DocumentTypeError("this is not a signed document", found="no magic number")
        version = take.number(1, "version")
        if version != VERSION:
            raise DocumentTypeError(
                f"this document has format {version}; this program reads format {VERSION}",
                hint="use the deltaseal that it was made for",
                expected=VERSION,
                found=version,
            )
        name = take.counted(1, "type", 255)  # one too long is malformed, like any other bad name
        _check_type(name)
        body = take.counted(4, "body", MAX_BODY)
        count = take.number(1, "number of signatures")
        _check_limit("a document", "signatures", count, MAX_SIGNATURES)
        signatures = tuple(_take_signature(take) for _ in range(count))
        return cls(name.decode("ascii"), body, signatures), take.position

    @classmethod
    def loads(cls, data: bytes | bytearray | memoryview) -> UnverifiedDocument:
        """Read a document that is all of ``data``; bytes after it are a ``SignatureError``."""
        document, size = cls.parse(data)
        if size != len(data):
            raise SignatureError(
                f"{len(data) - size} bytes follow the document; no signature covers them",
                expected=size,
                found=len(data),
            )
        return document


def sign(type: str, body: bytes, signers: Iterable[Signer]) -> UnverifiedDocument:
    """Return a document of ``type`` with the exact ``body``, signed by each of ``signers``."""
    return UnverifiedDocument(type, body).add_signatures(signers)


def _take_signature(take: _Cursor) -> Signature:
    number = take.number(1, "algorithm")
    hint = take.exactly(8, "key hint")
    return Signature(number, hint, take.counted(2, "signature", MAX_SIGNATURE))


def _check_type(name: bytes) -> None:
    if len(name) > MAX_TYPE or not _TYPE.fullmatch(name):
        raise DocumentTypeError(
            "a document's type is words of a-z and 0-9 joined by - and /", found=ascii(name[:80])
        )


def _check_limit(what: str, unit: str, found: int, limit: int) -> None:
    if found > limit:
        raise LimitError(f"{what} may have {limit} {unit}, this one has {found}", found=found, limit=limit)


class _Cursor:
    """Takes fields off a buffer, one after another; all arithmetic on foreign lengths is here."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    def at_most(self, size: int) -> bytes:
        piece = bytes(self._view[self.position : self.position + size])
        self.position += len(piece)
        return piece

    def exactly(self, size: int, field: str) -> bytes:
        rest = len(self._view) - self.position
        if size > rest:
            raise SignatureError(
                f"the document ends inside its {field}: {size} bytes are announced, {rest} are there",
                field=field,
                expected=size,
                found=rest,
            )
        return self.at_most(size)

    def number(self, size: int, field: str) -> int:
        return int.from_bytes(self.exactly(size, field), "little")

    def counted(self, length_size: int, field: str, limit: int) -> bytes:
        size = self.number(length_size, f"{field}'s length")
        rest = len(self._view) - self.position
        if size <= rest:  # more than there is says `exactly`: no signature can cover it
            _check_limit(f"a {field}", "bytes", size, limit)
        return self.exactly(size, field)
