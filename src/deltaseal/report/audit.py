"""The signed audit: a device's whole journal as JSON Lines, to be verified far from the device.

Format: docs/spec/audit.md. Making one needs the device; :func:`check_audit` needs nothing but the file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deltaseal.errors import DamagedError, DocumentTypeError, LimitError, SignatureError
from deltaseal.trust import PublicKey, Signer, pre_authentication_encoding, strict_json

__all__ = ["AUDIT_TYPE", "AuditSummary", "Audited", "audit_lines", "check_audit"]

AUDIT_TYPE: Final = "deltaseal/audit"
FORMAT: Final = 1
LINE_BYTES: Final = 2 << 20
AUDIT_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Audited:
    """One record of a journal: its body as JSON values, and whether it counts."""

    record: Mapping[str, Any]
    evidence: bool = False  # kept from before a damage; it proves nothing


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What an audit says of itself, verified."""

    device: str
    made: int  # seconds since 1970, by the device's clock
    records: int
    evidence: int
    head: str  # digest of the last record that counts
    state: str
    key: PublicKey

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return {
            "device": self.device,
            "made": self.made,
            "records": self.records,
            "evidence": self.evidence,
            "head": self.head,
            "state": self.state,
            "key": self.key.to_json(),
        }


def audit_lines(
    device: str, records: Iterable[Audited], *, fault: str, made: int, signer: Signer
) -> Iterator[bytes]:
    """The lines of an audit, the signature last. ``fault``: what is wrong with the journal, or nothing."""
    head = {
        "format": FORMAT,
        "type": AUDIT_TYPE,
        "device": device,
        "made": made,
        "fault": fault,
        "key": signer.public.to_json(),
    }
    hasher = hashlib.sha256()
    for line in (_line(head), *(_line(_values(each)) for each in records)):
        hasher.update(line)
        yield line
    signature = signer.sign(pre_authentication_encoding(AUDIT_TYPE, hasher.digest()))
    yield _line({"signature": base64.b64encode(signature).decode()})


def check_audit(data: bytes, *, key: PublicKey | None = None) -> AuditSummary:
    """Verify an audit: its signature, every record's place in the chain, and that the journal was whole.

    Without ``key`` the key in the audit itself is taken: that proves that nothing was changed since, not
    whose it is. Raises ``SignatureError``, ``DamagedError``, ``DocumentTypeError`` or ``LimitError``.
    """
    if len(data) > AUDIT_BYTES:
        raise LimitError(f"an audit has at most {AUDIT_BYTES:,} bytes", limit=AUDIT_BYTES, found=len(data))
    lines = data.splitlines(keepends=True)
    if len(lines) < 3:
        raise DocumentTypeError("an audit has at least three lines: its head, a record, its signature")
    head, *middle = (_loads(line) for line in lines[:-1])
    if head.get("type") != AUDIT_TYPE or head.get("format") != FORMAT:
        raise DocumentTypeError(f"the first line is not the head of a {AUDIT_TYPE} of format {FORMAT}")
    own = PublicKey.from_json(head.get("key"))
    if key is not None and own != key:
        raise SignatureError("the audit names another key than the one it must be signed with")
    digest = hashlib.sha256(b"".join(lines[:-1])).digest()
    signature = _bytes(_loads(lines[-1]).get("signature"))
    if not own.verify(pre_authentication_encoding(AUDIT_TYPE, digest), signature):
        raise SignatureError(
            "the signature of the audit does not fit: it was changed, or cut",
            hint="have the device make another with `deltaseal device audit`",
        )
    if head.get("fault"):
        raise DamagedError(f"the journal was damaged when the audit was made: {head['fault']}")
    counted = [each for each in middle if not each.get("evidence")]
    last = _check_chain(counted)
    return AuditSummary(
        device=str(head.get("device")),
        made=int(head.get("made", 0)),
        records=len(counted),
        evidence=len(middle) - len(counted),
        head=last,
        state=str(counted[-1]["record"]["state"]),
        key=own,
    )


def _check_chain(entries: list[dict[str, Any]]) -> str:
    """Every record follows the one before; a cut at a failed write leaves out what did not count."""
    before = ""
    for place, entry in enumerate(entries):
        record = entry.get("record")
        if not isinstance(record, dict) or {"n", "prev", "state", "event"} - record.keys():
            raise DocumentTypeError(f"line {place + 2} of the audit is no record", line=place + 2)
        first = place == 0 and record["event"] == "checkpoint"
        if not first and (record["prev"] != before or record["n"] != entries[place - 1]["record"]["n"] + 1):
            raise DamagedError(f"record {record['n']} does not follow the one before it", record=record["n"])
        before = hashlib.sha256(strict_json.dumps(record)).hexdigest()
        if entry.get("digest") != before:
            raise DamagedError(f"record {record['n']} does not have its digest", record=record["n"])
    if not entries:
        raise DocumentTypeError("the audit holds no record that counts")
    return before


def _values(each: Audited) -> dict[str, Any]:
    digest = hashlib.sha256(strict_json.dumps(dict(each.record))).hexdigest()
    return {"digest": digest, "evidence": each.evidence, "record": each.record}


def _line(values: dict[str, Any]) -> bytes:
    return strict_json.dumps(values) + b"\n"


def _loads(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES:
        raise LimitError(f"a line of an audit has at most {LINE_BYTES:,} bytes", limit=LINE_BYTES)
    return strict_json.loads(line.rstrip(b"\n"))


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError as error:
        raise DocumentTypeError("the last line of the audit holds no signature") from error
