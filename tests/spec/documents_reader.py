"""A second reader of signed documents, written from docs/spec/documents.md alone.

It shares no code with the program, is meant to be read beside the page, and takes no care of speed.
``Refused`` carries the page's reason code.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey


class Refused(Exception):
    """The page says: refuse; the argument is the reason code."""


# Section 3: JSON ------------------------------------------------------------------------------

ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


class Json:
    """One JSON text, read character by character."""

    def __init__(self, data: bytes) -> None:
        if len(data) > 1_048_576:
            raise Refused("E_LIMIT")
        try:
            self.text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("E_TYPE") from error
        self.at = 0

    def object_at_the_top(self) -> dict:
        self.space()
        self.need(self.peek() == "{")
        value = self.value(0)
        self.space()
        self.need(self.at == len(self.text))
        return value

    def need(self, condition: object) -> None:
        if not condition:
            raise Refused("E_TYPE")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        found = self.text.startswith(expected, self.at)
        self.at += len(expected) * found
        return found

    def space(self) -> None:
        while self.peek() and self.peek() in " \t\n\r":
            self.at += 1

    def value(self, depth: int):
        for word, meaning in (("true", True), ("false", False), ("null", None)):
            if self.take(word):
                return meaning
        if self.take("{"):
            self.need(depth < 16)
            return self.members(depth + 1)
        if self.take("["):
            self.need(depth < 16)
            return self.elements(depth + 1)
        if self.peek() == '"':
            return self.string()
        return self.number()

    def members(self, depth: int) -> dict:
        found: dict = {}
        self.space()
        if self.take("}"):
            return found
        while True:
            self.space()
            key = self.string()
            self.need(key not in found)
            self.space()
            self.need(self.take(":"))
            self.space()
            found[key] = self.value(depth)
            self.space()
            if self.take("}"):
                return found
            self.need(self.take(","))

    def elements(self, depth: int) -> list:
        found: list = []
        self.space()
        if self.take("]"):
            return found
        while True:
            self.space()
            found.append(self.value(depth))
            self.space()
            if self.take("]"):
                return found
            self.need(self.take(","))

    def number(self) -> int:
        match = re.compile(r"-?(?:0|[1-9][0-9]*)(?![0-9.eE])", re.ASCII).match(self.text, self.at)
        self.need(match and len(match.group()) <= 17)
        self.at = match.end()
        self.need(-(2**53) <= int(match.group()) <= 2**53)
        return int(match.group())

    def string(self) -> str:
        self.need(self.take('"'))
        units: list[int] = []
        while not self.take('"'):
            self.need(self.peek())
            units += self.character()
        return self.checked(units)

    def character(self) -> list[int]:
        if not self.take("\\"):
            self.at += 1
            return [ord(self.text[self.at - 1])]
        if self.take("u"):
            digits = self.text[self.at : self.at + 4]
            self.need(re.fullmatch("[0-9a-fA-F]{4}", digits))
            self.at += 4
            return [int(digits, 16)]
        self.need(self.peek() in ESCAPES and self.peek())
        self.at += 1
        return [ord(ESCAPES[self.text[self.at - 1]])]

    def checked(self, units: list[int]) -> str:
        characters: list[str] = []
        rest = iter(units)
        for unit in rest:
            if 0xD800 <= unit < 0xDC00:
                low = next(rest, 0)
                self.need(0xDC00 <= low < 0xE000)
                unit = 0x10000 + (unit - 0xD800) * 0x400 + low - 0xDC00
            self.need(not 0xDC00 <= unit < 0xE000)
            self.need(unit > 0x1F and not 0x7F <= unit <= 0x9F and unit not in BIDI)
            characters.append(chr(unit))
        return "".join(characters)


# Section 4: framing ---------------------------------------------------------------------------


@dataclass
class Document:
    type: str
    body: bytes
    signatures: list[tuple[int, bytes, bytes]]  # algorithm, hint, raw

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def document(data: bytes) -> tuple[Document, int]:
    """Read the document in front; return it and its length."""
    if data[:6] != b"DSDOC\0":
        raise Refused("E_TYPE")
    at = 6

    def take(size: int) -> bytes:
        nonlocal at
        if size > len(data) - at:
            raise Refused("E_SIG")
        at += size
        return data[at - size : at]

    def number(size: int) -> int:
        return sum(byte << 8 * index for index, byte in enumerate(take(size)))

    def limited(size: int, limit: int) -> bytes:
        piece = take(size)
        if size > limit:
            raise Refused("E_LIMIT")
        return piece

    if number(1) != 0:
        raise Refused("E_TYPE")
    name = take(number(1))
    if not 1 <= len(name) <= 64 or not re.fullmatch(rb"[a-z][a-z0-9]*([-/][a-z0-9]+)*", name):
        raise Refused("E_TYPE")
    body = limited(number(4), 1_048_576)
    count = number(1)
    if count > 32:
        raise Refused("E_LIMIT")
    signatures = []
    for _ in range(count):
        algorithm, hint = number(1), take(8)
        signatures.append((algorithm, hint, limited(number(2), 8_192)))
    return Document(name.decode("ascii"), body, signatures), at


# Section 5: what is signed --------------------------------------------------------------------


def signed_bytes(document: Document) -> bytes:
    parts = [b"DSSEv1", str(len(document.type)), document.type, str(len(document.body)), document.body]
    return b" ".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def good(algorithm: int, raw_key: bytes, message: bytes, signature: bytes) -> bool:
    key = {1: Ed25519PublicKey, 2: MLDSA65PublicKey}[algorithm].from_public_bytes(raw_key)
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


# Section 6: trust -----------------------------------------------------------------------------

NUMBERS = {"ed25519": 1, "ml-dsa-65": 2}
KEY_SIZES = {"ed25519": 32, "ml-dsa-65": 1952}


def trust(data: bytes) -> dict:
    """Read a trust file: ``expires``, and ``roles`` as name to (keys as (algorithm, raw), thresholds)."""
    content = Json(data).object_at_the_top()

    def need(condition: object) -> None:
        if not condition:
            raise Refused("E_TYPE")

    def count(value: object) -> bool:
        return type(value) is int and value >= 0

    need(set(content) == {"kind", "format", "expires", "epoch", "roles"})
    need(content["kind"] == "deltaseal/trust" and content["format"] == 0 and type(content["format"]) is int)
    need(count(content["expires"]) and count(content["epoch"]))
    need(type(content["roles"]) is dict and 1 <= len(content["roles"]) <= 256)
    roles = {}
    for name, role in content["roles"].items():
        need(type(role) is dict and set(role) == {"keys", "thresholds"})
        need(type(role["keys"]) is list and len(role["keys"]) <= 32)
        keys = []
        for key in role["keys"]:
            need(type(key) is dict and set(key) == {"algorithm", "public"})
            need(
                type(key["algorithm"]) is str and key["algorithm"] in KEY_SIZES and type(key["public"]) is str
            )
            try:
                raw = base64.b64decode(key["public"])
            except ValueError as error:
                raise Refused("E_TYPE") from error
            need(base64.b64encode(raw).decode() == key["public"] and len(raw) == KEY_SIZES[key["algorithm"]])
            keys.append((key["algorithm"], raw))
        need(type(role["thresholds"]) is dict and set(role["thresholds"]) == set(KEY_SIZES))
        for algorithm, k in role["thresholds"].items():
            need(type(k) is int and 1 <= k <= len({raw for name, raw in keys if name == algorithm}))
        roles[name] = (keys, role["thresholds"])
    return {"expires": content["expires"], "roles": roles}


def verify(data: bytes, trusted: dict, *, role: str, type: str, now: int) -> Document:
    """Read a document that stands alone and verify it; the body is then to be believed."""
    found, size = document(data)
    if size != len(data) or role not in trusted["roles"]:
        raise Refused("E_SIG")
    keys, thresholds = trusted["roles"][role]
    message = signed_bytes(found)
    for algorithm, k in thresholds.items():
        signers = {
            raw
            for name, raw in keys
            for number, _hint, signature in found.signatures
            if name == algorithm and number == NUMBERS[name] and good(number, raw, message, signature)
        }
        if len(signers) < k:
            raise Refused("E_SIG")
    if found.type != type:
        raise Refused("E_TYPE")
    if now >= trusted["expires"]:
        raise Refused("E_EXPIRED")
    return found
