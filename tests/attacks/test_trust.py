"""Attacks on signatures and types: T15 to T19, T37 (at the level of trust)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from deltaseal.errors import DeltasealError, SignatureError
from deltaseal.trust import (
    ALGORITHMS,
    PrivateKey,
    Role,
    Signature,
    Trust,
    UnverifiedDocument,
    pre_authentication_encoding,
    sign,
)

TYPES = ["deltaseal/base", "deltaseal/bundle-manifest", "deltaseal/device-manifest", "deltaseal/catalogue"]


def key(algorithm, holder: str) -> PrivateKey:
    return PrivateKey.generate(
        algorithm, random=lambda size: hashlib.sha256(f"{algorithm} {holder}".encode()).digest()[:size]
    )


HOLDERS = {
    name: [key(algorithm, name) for algorithm in ALGORITHMS] for name in ("ann", "ben", "cat", "mallory")
}
RELEASE = Role(
    "release:macos",
    tuple(k.public for name in ("ann", "ben", "cat") for k in HOLDERS[name]),
    {"ed25519": 2, "ml-dsa-65": 2},
)
TRUST = Trust.of(RELEASE, expires=2_000)
GOOD = sign("deltaseal/base", b'{"build":"25D2128"}', [*HOLDERS["ann"], *HOLDERS["ben"]])


def verify(document: UnverifiedDocument, type: str = "deltaseal/base"):
    return TRUST.verify(
        UnverifiedDocument.loads(document.to_bytes()), role="release:macos", type=type, now=1_000
    )


def refused(document: UnverifiedDocument, type: str = "deltaseal/base") -> DeltasealError:
    with pytest.raises(DeltasealError) as refusal:
        verify(document, type)
    return refusal.value


def test_the_honest_document_passes():
    assert len(verify(GOOD).signed_by) == 4


@pytest.mark.parametrize("made_as", TYPES)
@pytest.mark.parametrize("used_as", TYPES)
def test_T15_document_used_as_another_type(made_as, used_as):
    document = sign(made_as, b"{}", [*HOLDERS["ann"], *HOLDERS["ben"]])
    if made_as == used_as:
        assert verify(document, used_as).type == used_as
        return
    assert refused(document, used_as).reason == "E_TYPE"
    renamed = replace(document, type=used_as)
    assert refused(renamed, used_as).reason == "E_SIG"


@pytest.mark.parametrize("stolen", ALGORITHMS)
def test_T16_one_algorithm_stolen(stolen):
    """All keys of one algorithm make any content; without the other they make no document."""
    thieves = [k for name in ("ann", "ben", "cat") for k in HOLDERS[name] if k.public.algorithm == stolen]
    document = sign("deltaseal/base", b'{"build":"evil"}', thieves)
    assert refused(document).reason == "E_SIG"
    transplanted = document.with_signatures(
        [*document.signatures, *(s for s in GOOD.signatures if s not in document.signatures)]
    )
    error = refused(transplanted)
    assert error.reason == "E_SIG"
    assert error.facts["found"][stolen] == 3


@pytest.mark.parametrize("stripped", range(4))
def test_T17_one_signature_stripped(stripped):
    kept = [s for index, s in enumerate(GOOD.signatures) if index != stripped]
    assert refused(GOOD.with_signatures(kept)).reason == "E_SIG"


def test_T17_signatures_of_strangers_do_not_fill_the_gap():
    mallory = sign(GOOD.type, GOOD.body, HOLDERS["mallory"]).signatures
    assert refused(GOOD.with_signatures([*GOOD.signatures[:2], *mallory])).reason == "E_SIG"
    assert verify(GOOD.with_signatures([*mallory, *GOOD.signatures])).signed_by


def test_T18_a_key_that_signs_twice_counts_once():
    """ML-DSA's signatures of one message differ, so equal bytes are no test for equal signers."""
    message = pre_authentication_encoding(GOOD.type, GOOD.body)
    ann = [
        Signature(number, k.public.key_hint, k.sign(message)) for number, k in enumerate(HOLDERS["ann"], 1)
    ]
    again = [
        Signature(number, k.public.key_hint, k.sign(message)) for number, k in enumerate(HOLDERS["ann"], 1)
    ]
    assert ann[1].raw != again[1].raw
    error = refused(GOOD.with_signatures([*ann, *again]))
    assert error.reason == "E_SIG"
    assert error.facts["found"] == {"ed25519": 1, "ml-dsa-65": 1}


def test_T18_one_key_listed_twice_counts_once():
    ann, ben = HOLDERS["ann"], HOLDERS["ben"]
    listed = tuple(k.public for k in (*ann, *ann, *ben))
    trust = Trust.of(Role("release:macos", listed, {"ed25519": 2, "ml-dsa-65": 2}), expires=2_000)
    document = sign("deltaseal/base", b"{}", ann)
    with pytest.raises(SignatureError):
        trust.verify(document, role="release:macos", type="deltaseal/base", now=1_000)


def test_T18_a_signature_under_another_hint_does_not_count_again():
    other = [
        replace(s, key_hint=h.public.key_hint)
        for s, h in zip(GOOD.signatures[:2], HOLDERS["cat"], strict=True)
    ]
    assert refused(GOOD.with_signatures([*GOOD.signatures[:2], *other])).reason == "E_SIG"


@pytest.mark.parametrize("number", [0, 3, 255])
def test_T19_unknown_algorithm(number):
    """It counts for nothing, and it does no harm beside enough known ones."""
    unknown = [replace(s, algorithm_id=number) for s in GOOD.signatures]
    assert refused(GOOD.with_signatures(unknown)).reason == "E_SIG"
    assert refused(GOOD.with_signatures([*unknown[:2], *GOOD.signatures[2:]])).reason == "E_SIG"
    assert verify(GOOD.with_signatures([*unknown, *GOOD.signatures])).signed_by


def test_T19_a_known_algorithm_under_the_other_number():
    swapped = [replace(s, algorithm_id=3 - s.algorithm_id) for s in GOOD.signatures]
    assert refused(GOOD.with_signatures(swapped)).reason == "E_SIG"


# In GOOD's framing: where the body's length stands.
BODY_LENGTH = 8 + len("deltaseal/base")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFF0, 0x80000000, 0x7FFFFFFF, 0x00100000])
def test_T37_length_overflow(length):
    data = bytearray(GOOD.to_bytes())
    data[BODY_LENGTH : BODY_LENGTH + 4] = length.to_bytes(4, "little")
    with pytest.raises(SignatureError):
        UnverifiedDocument.loads(data)


@pytest.mark.parametrize("field", ["type", "signature"])
def test_T37_other_lengths_that_lead_out(field):
    data = bytearray(UnverifiedDocument("a", b"", (Signature(1, b"8 bytes.", b"x" * 64),)).to_bytes())
    position = {"type": 7, "signature": data.index(b"8 bytes.") + 8}[field]
    data[position] = 0xFF
    with pytest.raises(SignatureError):
        UnverifiedDocument.loads(data)


def test_T37_signature_covers_a_prefix():
    """The body grows, its signed beginning and its signatures stay."""
    longer = replace(GOOD, body=GOOD.body + b" ")
    assert longer.body.startswith(GOOD.body)
    assert refused(longer).reason == "E_SIG"


def test_T37_body_shrinks_and_the_rest_moves_into_the_signatures():
    shorter = replace(GOOD, body=GOOD.body[:-1])
    assert refused(shorter).reason == "E_SIG"


def test_T37_bytes_behind_the_document():
    with pytest.raises(SignatureError):
        UnverifiedDocument.loads(GOOD.to_bytes() + b"\0")


def test_T37_the_boundary_between_type_and_body_cannot_move():
    document = sign("a", b"b 1 c", [*HOLDERS["ann"], *HOLDERS["ben"]])
    moved = UnverifiedDocument("a", document.body[4:], document.signatures)
    assert refused(moved, "a").reason == "E_SIG"
