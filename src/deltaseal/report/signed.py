"""Signed reports: what a device says of itself to its fleet. Pure: values and bytes, no files, no clock.

Format: docs/spec/reports.md. A body is read only after the signature of the
device's enrolled key was verified; which key to try, the signature's hint says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deltaseal.errors import DeviceError, DocumentTypeError, LimitError, SignatureError
from deltaseal.manifest import fields
from deltaseal.manifest.device_manifest import CHANNELS
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.report.words import STATE_WORDS
from deltaseal.trust import (
    PublicKey,
    Signature,
    Signer,
    UnverifiedDocument,
    pre_authentication_encoding,
    sign,
    strict_json,
)

__all__ = [
    "BATCH_BYTES",
    "BATCH_REPORTS",
    "WHY",
    "Blocked",
    "Enrolment",
    "Held",
    "Report",
    "Timings",
    "only_signature",
    "read_enrolment",
    "split_documents",
    "verify_report",
]

BATCH_REPORTS: Final = 64
BATCH_BYTES: Final = 1 << 20
REPORT_BYTES: Final = 16 << 10  # of one body
ENTRIES: Final = 64  # of each list and map in a report
FORMAT: Final = 0

WHY: Final = (
    "phase",
    "paused",
    "channel",
    "policy",
    "held",
    "removed",
    "withdrawn",
    "battery",
    "space",
    "network",
    "base",
    "model",
    "expired",
    "other",
)
STEPS: Final = ("fetched", "staged", "go", "in-use", "healthy", "unhealthy", "crashed")
PENDING: Final = ("relaunch", "restart")

_STATES: Final = tuple(STATE_WORDS)
_REASON: Final = re.compile(r"[A-Z][A-Z_]{1,31}")
_ED25519: Final = 1  # its number in the framing (docs/spec/documents.md, section 4)


@dataclass(frozen=True, slots=True)
class Held:
    """An improvement that failed on the device, why, and when (seconds since 1970)."""

    id: str
    reason: str
    time: int

    @classmethod
    def read(cls, source: Fields) -> Held:
        """Read one hold."""
        return cls(
            source.text("id", fields.IMPROVEMENT), source.text("reason", _REASON), source.number("time")
        )


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why the last look took nothing: a reason code, and one word of ``WHY``."""

    reason: str
    why: str

    @classmethod
    def read(cls, source: Fields) -> Blocked:
        """Read it."""
        return cls(source.text("reason", _REASON), source.choice("why", WHY))


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the last improvement took: seconds from its offer to each step, and bytes fetched."""

    id: str
    fetched: int
    steps: Mapping[str, int]

    @classmethod
    def read(cls, source: Fields) -> Timings:
        """Read them."""
        return cls(source.text("id", fields.IMPROVEMENT), source.number("fetched"), _steps(source))


@dataclass(frozen=True, slots=True)
class Report:
    """One report, field by field as on the page of its format."""

    TYPE: ClassVar[str] = "deltaseal/report"

    device: str
    sequence: int
    time: int
    os: str
    version: str
    build: str
    model: str
    channel: str
    state: str
    journal_n: int
    journal_head: str
    catalogue: int = 0
    active: str = ""  # id; empty: none
    since: int = 0
    work: str = ""
    pending: str = ""
    holds: tuple[Held, ...] = ()
    removed: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    blocked: Blocked | None = None
    timings: Timings | None = None

    def to_json(self) -> dict[str, Any]:
        """The body as JSON values; of more than 64 entries the last count."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "device": self.device,
            "sequence": self.sequence,
            "time": self.time,
            "journal": {"n": self.journal_n, "head": self.journal_head},
            **self.news(),
        }
        return values

    def news(self) -> dict[str, Any]:
        """What is worth another report where it changes: all but number, time and journal."""
        values: dict[str, Any] = {
            "os": self.os,
            "version": self.version,
            "build": self.build,
            "model": self.model,
            "channel": self.channel,
            "state": self.state,
            "catalogue": self.catalogue,
            "holds": [{"id": h.id, "reason": h.reason, "time": h.time} for h in self.holds[-ENTRIES:]],
            "removed": list(self.removed[-ENTRIES:]),
            "withdrawn": list(self.withdrawn[-ENTRIES:]),
            "attempts": dict(list(self.attempts.items())[-ENTRIES:]),
        }
        values |= {"active": {"id": self.active, "since": self.since}} if self.active else {}
        values |= {"work": self.work} if self.work else {}
        values |= {"pending": self.pending} if self.pending else {}
        if self.blocked:
            values["blocked"] = {"reason": self.blocked.reason, "why": self.blocked.why}
        if self.timings:
            timings = self.timings
            values["timings"] = {
                "id": timings.id,
                "fetched": timings.fetched,
                "steps": dict(timings.steps),
            }
        return values

    def signed(self, signer: Signer) -> UnverifiedDocument:
        """The report, signed by its device."""
        return sign(self.TYPE, strict_json.dumps(self.to_json()), [signer])

    @classmethod
    def loads(cls, body: bytes) -> Report:
        """Read a body; E_LIMIT where it is too long, E_TYPE where it is not of this form."""
        if len(body) > REPORT_BYTES:
            raise LimitError(
                f"a report has at most {REPORT_BYTES:,} bytes, this one {len(body):,}",
                limit=REPORT_BYTES,
                found=len(body),
            )
        return read_object(strict_json.loads(body), "report", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> Report:
        source.number("format", most=FORMAT)
        n, head = source.nested("journal", _journal)
        active, since = source.nested("active", _active) if source.has("active") else ("", 0)
        return cls(
            device=source.text("device", fields.TOKEN),
            sequence=source.number("sequence", least=1),
            time=source.number("time"),
            os=source.text("os", fields.OS),
            version=source.text("version", fields.VERSION),
            build=source.text("build", fields.BUILD),
            model=source.text("model", fields.MODEL),
            channel=source.choice("channel", CHANNELS),
            state=source.choice("state", _STATES),
            journal_n=n,
            journal_head=head,
            catalogue=source.number("catalogue"),
            active=active,
            since=since,
            work=source.text("work", fields.IMPROVEMENT) if source.has("work") else "",
            pending=source.choice("pending", PENDING) if source.has("pending") else "",
            holds=_few("holds", source, source.list_of("holds", Held.read)),
            removed=_few("removed", source, source.texts("removed", fields.IMPROVEMENT)),
            withdrawn=_few("withdrawn", source, source.texts("withdrawn", fields.IMPROVEMENT)),
            attempts=_attempts(source),
            blocked=source.nested("blocked", Blocked.read) if source.has("blocked") else None,
            timings=source.nested("timings", Timings.read) if source.has("timings") else None,
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device's own word on who it is and which key is its own."""

    TYPE: ClassVar[str] = "deltaseal/enrolment"

    device: str
    key: PublicKey
    os: str
    model: str
    made: int

    def signed(self, signer: Signer) -> UnverifiedDocument:
        """The enrolment, signed by the key that it names."""
        values = {
            "format": FORMAT,
            "device": self.device,
            "key": self.key.to_json(),
            "os": self.os,
            "model": self.model,
            "made": self.made,
        }
        return sign(self.TYPE, strict_json.dumps(values), [signer])

    @classmethod
    def _read(cls, source: Fields) -> Enrolment:
        source.number("format", most=FORMAT)
        return cls(
            device=source.text("device", fields.TOKEN),
            key=source.nested("key", _key),
            os=source.text("os", fields.OS),
            model=source.text("model", fields.MODEL),
            made=source.number("made"),
        )


def read_enrolment(document: UnverifiedDocument) -> Enrolment:
    """The enrolment that a document is. ``DocumentTypeError`` for another kind, ``SignatureError`` if the
    key that it names did not sign it.
    """
    signature = only_signature(document, Enrolment.TYPE)
    # The one body that is read before it is verified: it holds the key to verify it with.
    found = read_object(strict_json.loads(document.body), "enrolment", Enrolment._read)
    if not _signs(found.key, document, signature):
        raise SignatureError("the key that the enrolment names did not sign it", device=found.device)
    return found


def verify_report(document: UnverifiedDocument, key: PublicKey, device: str) -> Report:
    """The report of one enrolled device, verified with its key. Raises as section 5 of its format says."""
    signature = only_signature(document, Report.TYPE)
    if not _signs(key, document, signature):
        raise SignatureError(f"device {device} did not sign this report", device=device)
    report = Report.loads(document.body)
    if report.device != device:
        raise DeviceError(
            f"signed with the key of device {device}, it speaks for {report.device}",
            hint="two devices must not share a key; make one of them anew",
            expected=device,
            found=report.device,
        )
    return report


def _signs(key: PublicKey, document: UnverifiedDocument, signature: Signature) -> bool:
    return key.verify(pre_authentication_encoding(document.type, document.body), signature.raw)


def only_signature(document: UnverifiedDocument, type: str) -> Signature:
    """The one signature that a document of a device has. ``DocumentTypeError``, ``SignatureError``."""
    if document.type != type:
        raise DocumentTypeError(
            f"expected a document of type {type}, found {document.type}", expected=type, found=document.type
        )
    if len(document.signatures) != 1 or document.signatures[0].algorithm_id != _ED25519:
        raise SignatureError(
            f"a {type} has exactly one signature, of Ed25519; this one has {len(document.signatures)}"
        )
    return document.signatures[0]


def split_documents(data: bytes) -> Iterator[UnverifiedDocument]:
    """The documents that stand one after another in ``data``; where the framing ends, its error."""
    rest = memoryview(data)
    while rest:
        document, size = UnverifiedDocument.parse(rest)
        yield document
        rest = rest[size:]


def _journal(source: Fields) -> tuple[int, str]:
    return source.number("n", least=1), source.text("head", fields.DIGEST)


def _active(source: Fields) -> tuple[str, int]:
    return source.text("id", fields.IMPROVEMENT), source.number("since")


def _attempts(source: Fields) -> dict[str, int]:
    found = source.named_numbers("attempts", fields.IMPROVEMENT)
    if len(found) > ENTRIES:
        raise source.refuse("attempts", f"has at most {ENTRIES} entries")
    return found


def _steps(source: Fields) -> dict[str, int]:
    def read(inner: Fields) -> dict[str, int]:
        return {step: inner.number(step) for step in STEPS if inner.has(step)}

    return source.nested("steps", read)


def _key(source: Fields) -> PublicKey:
    values = {"algorithm": source.choice("algorithm", ("ed25519",)), "public": source.text("public")}
    return PublicKey.from_json(values)


def _few(name: str, source: Fields, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) > ENTRIES:
        raise source.refuse(name, f"has at most {ENTRIES} entries")
    return values
