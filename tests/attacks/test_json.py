"""Hostile JSON in documents: H50 to H55 (at the level of trust)."""

from __future__ import annotations

import json

import pytest

from deltaseal.errors import DocumentTypeError
from deltaseal.trust import PrivateKey, Role, Trust, strict_json


def refused(data: bytes) -> None:
    with pytest.raises(DocumentTypeError) as refusal:
        strict_json.loads(data)
    assert refusal.value.exit_code == 15


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"a":2}}',
        b'{"x":[{"a":1},{"b":[{"a":null,"a":null}]}]}',
        b'{"":1,"":2}',
    ],
)
def test_H50_duplicate_key(data):
    refused(data)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_H51_depth(opening, closing):
    def nested(levels: int) -> bytes:
        return b'{"a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"

    assert strict_json.loads(nested(16)) == json.loads(nested(16))
    for levels in (17, 100, 900, 1_100, 50_000):
        refused(nested(levels))


@pytest.mark.parametrize(
    "number",
    [
        b"1.0",
        b"1e3",
        b"1E0",
        b"-0.0",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740993",
        b"-9007199254740993",
        b"9" * 5000,
        b"1" + b"0" * 400,
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
    ],
)
def test_H52_numbers(number):
    refused(b'{"a":' + number + b"}")
    refused(b'{"a":[[' + number + b"]]}")


@pytest.mark.parametrize("number", [0, 1, -1, 2**53, -(2**53)])
def test_H52_every_whole_number_up_to_the_limit_is_read(number):
    assert strict_json.loads(b'{"a":%d}' % number) == {"a": number}


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\\ud800",
        b"\\udc00",
        b"\\udc00\\ud800",
        b"\\ud800x",
        b"\\u0000",
        b"\x00",
        b"\n",
        b"\\n",
        b"\\t",
        b"\\u001f",
        b"\x7f",
        b"\\u0085",
        "\u009f".encode(),
        b"\\u202e",
        "\u202e".encode(),
        "\u2066".encode(),
        "\u200f".encode(),
        "\u061c".encode(),
    ],
)
def test_H54_text(text):
    refused(b'{"a":"' + text + b'"}')
    refused(b'{"' + text + b'":1}')
    refused(b'{"a":["x","' + text + b'"]}')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_H54_other_encodings(encoding):
    refused('{"a":1}'.encode(encoding))


def test_H54_text_of_all_scripts_is_read():
    words = {"a": 'עברית العربية 中文 🙂 \\ " é', "b": "e\u0301"}
    assert strict_json.loads(json.dumps(words).encode()) == words
    assert strict_json.loads(strict_json.dumps(words)) == words


@pytest.mark.parametrize(
    "path", [(), ("roles", "r"), ("roles", "r", "thresholds"), ("roles", "r", "keys", 0)]
)
def test_H55_unknown_field_of_a_trust_file(path):
    keys = tuple(PrivateKey.generate(a, random=bytes).public for a in ("ed25519", "ml-dsa-65"))
    trust = Trust.of(Role("r", keys, {"ed25519": 1, "ml-dsa-65": 1}), expires=1)
    content = json.loads(trust.dumps())
    assert Trust.load(strict_json.dumps(content)) == trust
    place = content
    for step in path:
        place = place[step]
    place["unheard-of"] = 1
    with pytest.raises(DocumentTypeError):
        Trust.load(strict_json.dumps(content))
