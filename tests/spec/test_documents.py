"""The program and the second reader agree, and both agree with the page's worked example."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import documents_reader as reader

from deltaseal.errors import DeltasealError
from deltaseal.trust import (
    ALGORITHMS,
    PrivateKey,
    Role,
    Signature,
    Trust,
    UnverifiedDocument,
    pre_authentication_encoding,
    sign,
    strict_json,
)

PAGE = Path(__file__).parents[2] / "docs/spec/documents.md"


def verdicts(ours, theirs):
    """What each of two readers says: a value or a reason code."""
    said = []
    for read in (ours, theirs):
        try:
            said.append(read())
        except DeltasealError as error:
            said.append(error.reason)
        except reader.Refused as error:
            said.append(str(error))
    return said


def key(algorithm, number: int) -> PrivateKey:
    return PrivateKey.generate(
        algorithm, random=lambda size: hashlib.sha256(f"{algorithm}{number}".encode()).digest()[:size]
    )


KEYS = {algorithm: [key(algorithm, number) for number in range(2)] for algorithm in ALGORITHMS}
ROLE = Role("r", tuple(k.public for group in KEYS.values() for k in group), {"ed25519": 2, "ml-dsa-65": 1})
TRUST = Trust.of(ROLE, expires=2_000)
THEIR_TRUST = reader.trust(TRUST.dumps())
SIGNED = sign("deltaseal/base", b'{"a":1}', [k for group in KEYS.values() for k in group])


def test_worked_example():
    text = PAGE.read_text()
    example = text[text.index("**Worked example.**") :]
    data = bytes.fromhex(
        "".join(re.findall(r"^    ((?:[0-9a-f]{2}(?: |$))+)$", example, re.MULTILINE)).replace(" ", "")
    )
    public, fingerprint, digest = re.findall(r"\b[0-9a-f]{64}\b", example)[:3]
    private = PrivateKey.generate("ed25519", random=lambda size: b"\x01" * size)

    assert len(data) == 109
    assert sign("deltaseal/base", b'{"a":1}', [private]).to_bytes() == data
    assert (private.public.raw.hex(), private.public.fingerprint.hex()) == (public, fingerprint)
    document, size = reader.document(data)
    assert (document.type, document.body, size) == ("deltaseal/base", b'{"a":1}', 109)
    assert document.digest.hex() == digest
    assert f"`{reader.signed_bytes(document).decode()}`" in example
    [(algorithm, hint, signature)] = document.signatures
    assert reader.good(algorithm, bytes.fromhex(public), reader.signed_bytes(document), signature)
    assert hint.hex() == fingerprint[:16]


# JSON -------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '"a"',
        '"b":',
        '{"a":',
        "1",
        "-0",
        "0",
        "1.5",
        "1e2",
        "true",
        "null",
        " ",
        "\n",
        '"\\u0061"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\n"',
        '"\u202e"',
        "9007199254740992",
        "9007199254740993",
        "\ufeff",
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.lists(PIECES, max_size=10).map(
    lambda p: '{"a":' + "".join(p) + "}"
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(TEXTS | VALUES.map(lambda value: json.dumps({"a": value})) | st.text(max_size=30))
def test_both_read_json_alike(text):
    data = text.encode("utf-8", "surrogatepass")
    ours, theirs = verdicts(lambda: strict_json.loads(data), lambda: reader.Json(data).object_at_the_top())
    assert ours == theirs
    assert repr(ours) == repr(theirs)  # True is not 1


@pytest.mark.parametrize("levels", [15, 16, 17])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_both_count_levels_alike(levels, opening, closing):
    data = ('{"a":' + opening * (levels - 1) + "1" + closing * (levels - 1) + "}").encode()
    ours, theirs = verdicts(lambda: strict_json.loads(data), lambda: reader.Json(data).object_at_the_top())
    assert ours == theirs
    assert (ours == "E_TYPE") == (levels > 16)


# Framing ----------------------------------------------------------------------------------------


def ours_as_plain(data: bytes):
    document, size = UnverifiedDocument.parse(data)
    signatures = [(s.algorithm_id, s.key_hint, s.raw) for s in document.signatures]
    return document.type, document.body, signatures, size


def theirs_as_plain(data: bytes):
    document, size = reader.document(data)
    return document.type, document.body, document.signatures, size


SIGNATURES = st.builds(
    Signature, st.integers(0, 255), st.binary(min_size=8, max_size=8), st.binary(max_size=20)
)
FRAMED = st.builds(
    lambda name, body, signatures, rest: UnverifiedDocument(name, body, tuple(signatures)).to_bytes() + rest,
    st.sampled_from(["a", "deltaseal/base", "a" * 64]),
    st.binary(max_size=20),
    st.lists(SIGNATURES, max_size=3),
    st.binary(max_size=3),
)


@st.composite
def damaged(draw):
    data = bytearray(draw(FRAMED))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@settings(max_examples=300)
@given(damaged())
def test_both_read_the_framing_alike(data):
    ours, theirs = verdicts(lambda: ours_as_plain(data), lambda: theirs_as_plain(data))
    assert ours == theirs


LARGE = [
    b"DSDOC\0\0\x01a" + size.to_bytes(4, "little") + bytes(there)
    for size in (1_048_576, 1_048_577, 0xFFFFFFFF)
    for there in (1_048_576, 1_048_577, 1_048_578)
]


@pytest.mark.parametrize("data", LARGE, ids=range(len(LARGE)))
def test_both_hold_the_limits_alike(data):
    ours, theirs = verdicts(lambda: ours_as_plain(data), lambda: theirs_as_plain(data))
    assert ours == theirs


# Verification -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    present=st.lists(st.integers(0, 3), max_size=5),
    number=st.sampled_from([None, 1, 2, 3]),
    changes=st.fixed_dictionaries(
        {},
        optional={"body": st.just(b"{}"), "type": st.sampled_from(["deltaseal/catalogue", "deltaseal/base"])},
    ),
    rest=st.sampled_from([b"", b"\0"]),
    role=st.sampled_from(["r", "r", "r", "s"]),
    now=st.sampled_from([0, 1_999, 2_000]),
)
def test_both_verify_alike(present, number, changes, rest, role, now):
    signatures = [SIGNED.signatures[index] for index in present]
    if number and signatures:
        signatures[0] = replace(signatures[0], algorithm_id=number)
    data = replace(SIGNED, signatures=tuple(signatures), **changes).to_bytes() + rest

    def ours():
        document = UnverifiedDocument.loads(data)
        return TRUST.verify(document, role=role, type="deltaseal/base", now=now).digest

    def theirs():
        return reader.verify(data, THEIR_TRUST, role=role, type="deltaseal/base", now=now).digest

    said = verdicts(ours, theirs)
    assert said[0] == said[1]


@pytest.mark.parametrize("present", [(0, 1, 2), (0, 1, 3), (3, 1, 0), (0, 0, 1, 2), (0, 1, 2, 3)])
def test_both_accept(present):
    data = SIGNED.with_signatures(SIGNED.signatures[index] for index in present).to_bytes()
    found = reader.verify(data, THEIR_TRUST, role="r", type="deltaseal/base", now=0)
    ours = TRUST.verify(UnverifiedDocument.loads(data), role="r", type="deltaseal/base", now=0)
    assert (found.type, found.body, found.digest) == (ours.type, ours.body, ours.digest)


def test_both_encode_alike():
    assert reader.signed_bytes(reader.Document("a/b", b"\0\xff", [])) == pre_authentication_encoding(
        "a/b", b"\0\xff"
    )
