"""A second reader of bundles, written from docs/spec/bundle.md (and section 4 of
documents.md, section 4 of manifests.md) alone: no code of deltaseal, no signatures
checked, everything in memory, in the order of the page.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


class Refused(Exception):
    """The file is not what the page describes; ``reason`` is the page's code."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason


@dataclass
class Read:
    """What lies in a bundle."""

    type: str
    body: bytes
    signatures: list[tuple[int, bytes, bytes]]  # algorithm, key hint, signature
    manifest: dict[str, Any]
    payloads: list[tuple[str, bytes]]  # digest as the body says, bytes as they lie

    @property
    def digest(self) -> str:
        """The bundle digest."""
        return hashlib.sha256(self.body).hexdigest()

    def damaged(self) -> list[str]:
        """The digests of payloads whose bytes are others."""
        return [digest for digest, data in self.payloads if hashlib.sha256(data).hexdigest() != digest]


def read(data: bytes) -> Read:
    """Take a bundle apart."""
    if len(data) < 16 or data[:7] != b"DSBUND\0" or data[7] != 0:
        raise Refused("E_TYPE", "no bundle of version 0")
    if int.from_bytes(data[8:16], "little") != len(data):
        raise Refused("E_DIGEST", "total length")
    type, body, signatures, end = _document(data, 16)
    if type != "deltaseal/bundle-manifest":
        raise Refused("E_TYPE", "another document")
    manifest = _body(body)
    payloads = []
    for digest, size in _listed(manifest):
        payloads.append((digest, data[end : end + size]))
        end += size
    if end != len(data):
        raise Refused("E_DIGEST", "sizes do not add up")
    return Read(type, body, signatures, manifest, payloads)


def _document(data: bytes, at: int) -> tuple[str, bytes, list[tuple[int, bytes, bytes]], int]:
    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(data):
            raise Refused("E_SIG", "the document is cut short")
        at += size
        return data[at - size : at]

    def number(size: int) -> int:
        return int.from_bytes(take(size), "little")

    if take(7) != b"DSDOC\0\0":
        raise Refused("E_TYPE", "no document of format 0")
    type = take(number(1)).decode("ascii")
    length = number(4)
    if length > 1_048_576 and at + length <= len(data):
        raise Refused("E_LIMIT", "body")
    body = take(length)
    count = number(1)
    if count > 32:
        raise Refused("E_LIMIT", "signatures")
    signatures = [(number(1), take(8), take(number(2))) for _ in range(count)]
    return type, body, signatures, at


def _body(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refused("E_TYPE", "no JSON") from error
    if not isinstance(value, dict):
        raise Refused("E_TYPE", "no object")
    return value


def _listed(manifest: dict[str, Any]) -> list[tuple[str, int]]:
    listed: list[tuple[str, int]] = []
    for _, change in sorted(manifest["components"].items(), key=lambda item: item[0].encode()):
        for route in change["routes"]:
            if route["sha256"] not in [digest for digest, _ in listed]:
                listed.append((route["sha256"], route["size"]))
    if (vex := manifest.get("vex")) and vex["sha256"] not in [digest for digest, _ in listed]:
        listed.append((vex["sha256"], vex["size"]))
    return listed
