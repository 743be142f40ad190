"""A second reader of reports and enrolments, written from docs/spec/reports.md (and documents.md) alone.

``read_batch`` gives the reports of a file that a fleet with these keys may count; for each other one the
reason code. It keeps what a fleet must remember from batch to batch in ``Fleet``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DAY = 86_400
WHY = [
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
]
STATES = [
    "BASELINE",
    "FETCHING",
    "STAGING",
    "STAGED",
    "SWITCHING",
    "WAITING",
    "TRIAL",
    "ACTIVE",
    "ROLLING_BACK",
    "REMOVING",
    "REBASING",
    "BROKEN",
]
EVENTS = ["fetched", "staged", "go", "in-use", "healthy", "unhealthy", "crashed"]
REQUIRED = set(
    [
        "format",
        "device",
        "sequence",
        "time",
        "os",
        "version",
        "build",
        "model",
        "channel",
        "state",
        "journal",
        "catalogue",
        "holds",
        "removed",
        "withdrawn",
        "attempts",
    ]
)
OPTIONAL = {"active", "work", "pending", "blocked", "timings"}
ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
HEX = re.compile(r"[0-9a-f]{64}")
CODE = re.compile(r"[A-Z][A-Z_]{1,31}")


class Refused(Exception):
    """With its reason code."""


@dataclass
class Known:
    """What is remembered of one enrolled device."""

    device: str
    raw: bytes
    os: str
    model: str
    sequence: int = 0
    build: str = ""
    n: int = 0
    head: str = ""
    counted: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Fleet:
    """The enrolled devices by the hint of their key."""

    by_hint: dict[bytes, Known] = field(default_factory=dict)

    def enrol(self, data: bytes) -> str:
        """Take in one enrolment that is all of ``data``."""
        kind, body, signatures, size = document(data)
        expect(size == len(data), "E_SIG")
        expect(kind == "deltaseal/enrolment", "E_TYPE")
        expect(len(signatures) == 1 and signatures[0][0] == 1, "E_SIG")
        values = strict(body)
        expect(set(values) == {"format", "device", "key", "os", "model", "made"}, "E_TYPE")
        expect(values["key"]["algorithm"] == "ed25519", "E_TYPE")
        raw = base64.b64decode(values["key"]["public"])
        signed(raw, kind, body, signatures[0][2])
        hint = hashlib.sha256(b"ed25519\0" + raw).digest()[:8]
        self.by_hint[hint] = Known(values["device"], raw, values["os"], values["model"])
        return str(values["device"])


def expect(good: object, reason: str) -> None:
    if not good:
        raise Refused(reason)


def take(data: bytes, at: int, size: int) -> bytes:
    expect(at + size <= len(data), "E_SIG")
    return data[at : at + size]


def document(data: bytes) -> tuple[str, bytes, list[tuple[int, bytes, bytes]], int]:
    """Type, body, signatures and size of the document at the start."""
    expect(data[:6] == b"DSDOC\0", "E_TYPE")
    expect(take(data, 6, 1) == b"\0", "E_TYPE")
    t = take(data, 7, 1)[0]
    name = take(data, 8, t)
    expect(len(name) <= 64 and re.fullmatch(rb"[a-z][a-z0-9]*(?:[-/][a-z0-9]+)*", name), "E_TYPE")
    kind = name.decode("ascii")
    b = int.from_bytes(take(data, 8 + t, 4), "little")
    body = take(data, 12 + t, b)
    at = 12 + t + b
    count = take(data, at, 1)[0]
    at += 1
    signatures = []
    for _ in range(count):
        algorithm, hint = take(data, at, 1)[0], take(data, at + 1, 8)
        n = int.from_bytes(take(data, at + 9, 2), "little")
        signatures.append((algorithm, hint, take(data, at + 11, n)))
        at += 11 + n
    return kind, body, signatures, at


def signed(raw: bytes, kind: str, body: bytes, signature: bytes) -> None:
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        raise Refused("E_SIG") from None


def strict(body: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        expect(len(dict(pairs)) == len(pairs), "E_TYPE")
        return dict(pairs)

    try:
        values = json.loads(body.decode(), object_pairs_hook=once)
    except ValueError:
        raise Refused("E_TYPE") from None
    expect(isinstance(values, dict), "E_TYPE")
    return dict(values)


def whole(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value <= 2**53


def check_form(values: dict[str, Any]) -> None:
    named = {name for name in values if not name.startswith("x-")}
    expect(named >= REQUIRED and named <= REQUIRED | OPTIONAL, "E_TYPE")
    expect(values["format"] == 0 and whole(values["sequence"], 1) and whole(values["time"]), "E_TYPE")
    expect(values["state"] in STATES and values["channel"] in ("seed", "stable"), "E_TYPE")
    journal = values["journal"]
    expect(
        set(journal) == {"n", "head"} and whole(journal["n"], 1) and HEX.fullmatch(journal["head"]), "E_TYPE"
    )
    for name in ("holds", "removed", "withdrawn", "attempts"):
        expect(len(values[name]) <= 64, "E_TYPE")
    for hold in values["holds"]:
        expect(set(hold) == {"id", "reason", "time"} and ID.fullmatch(hold["id"]), "E_TYPE")
        expect(CODE.fullmatch(hold["reason"]) and whole(hold["time"]), "E_TYPE")
    expect(
        all(ID.fullmatch(id) for id in [*values["removed"], *values["withdrawn"], *values["attempts"]]),
        "E_TYPE",
    )
    expect(all(whole(count) for count in values["attempts"].values()), "E_TYPE")
    if "active" in values:
        expect(set(values["active"]) == {"id", "since"} and ID.fullmatch(values["active"]["id"]), "E_TYPE")
    if "blocked" in values:
        expect(set(values["blocked"]) == {"reason", "why"} and values["blocked"]["why"] in WHY, "E_TYPE")
    if "pending" in values:
        expect(values["pending"] in ("relaunch", "restart"), "E_TYPE")
    if "timings" in values:
        timings = values["timings"]
        expect(set(timings) == {"id", "fetched", "steps"} and set(timings["steps"]) <= set(EVENTS), "E_TYPE")


def read_batch(data: bytes, fleet: Fleet, now: int) -> list[tuple[str, str]]:
    """(device, "counted", "duplicate" or reason code) for each report of a file; no device: unknown."""
    found: list[tuple[str, str]] = []
    while data:
        try:
            kind, body, signatures, size = document(data)
        except Refused as refused:
            return [*found, ("", str(refused))]
        data = data[size:]
        known = None
        try:
            expect(kind == "deltaseal/report", "E_TYPE")
            expect(len(body) <= 16_384, "E_LIMIT")
            expect(len(signatures) == 1 and signatures[0][0] == 1, "E_SIG")
            known = fleet.by_hint.get(signatures[0][1])
            expect(known, "E_SIG")
            assert known is not None
            found.append((known.device, _judged(known, kind, body, signatures[0][2], now)))
        except Refused as refused:
            found.append((known.device if known else "", str(refused)))
    return found


def _judged(known: Known, kind: str, body: bytes, signature: bytes, now: int) -> str:
    signed(known.raw, kind, body, signature)
    values = strict(body)
    check_form(values)
    expect(values["device"] == known.device, "E_DEVICE")
    expect(values["os"] == known.os, "E_BASE")
    expect(values["model"] == known.model, "E_MODEL")
    expect(values["time"] <= now + DAY, "E_LIMIT")
    if values["sequence"] <= known.sequence:
        expect(values["sequence"] in known.counted, "E_SEQ")
        expect(known.counted[values["sequence"]] == body, "E_DEVICE")
        return "duplicate"
    journal = values["journal"]
    expect(not known.build or values["build"] == known.build or journal["n"] > known.n, "E_DEVICE")
    expect(journal["n"] != known.n or journal["head"] == known.head, "E_DEVICE")
    known.sequence, known.build = values["sequence"], values["build"]
    known.counted[values["sequence"]] = body
    known.n, known.head = journal["n"], journal["head"]
    return "counted"
