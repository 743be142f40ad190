"""The framing of signed documents: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import DeltasealError, DocumentTypeError, LimitError, SignatureError, UsageError
from deltaseal.trust import (
    MAX_BODY,
    MAX_DOCUMENT,
    MAX_SIGNATURES,
    Signature,
    UnverifiedDocument,
    pre_authentication_encoding,
    sign,
)

SIGNATURES = st.builds(
    Signature, st.integers(0, 255), st.binary(min_size=8, max_size=8), st.binary(max_size=100)
)
DOCUMENTS = st.builds(
    UnverifiedDocument,
    st.from_regex(r"[a-z][a-z0-9]{0,5}([-/][a-z0-9]{1,5}){0,3}", fullmatch=True),
    st.binary(max_size=200),
    st.lists(SIGNATURES, max_size=4).map(tuple),
)
REFUSALS = (DocumentTypeError, SignatureError, LimitError)


@given(DOCUMENTS, st.binary(max_size=20))
def test_round_trip_and_the_bytes_that_follow(document, rest):
    data = document.to_bytes()
    assert UnverifiedDocument.loads(data) == document
    assert UnverifiedDocument.parse(data + rest) == (document, len(data))
    if rest:
        with pytest.raises(SignatureError):
            UnverifiedDocument.loads(data + rest)


@given(DOCUMENTS, st.data())
def test_every_cut_is_refused(document, data):
    whole = document.to_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(REFUSALS):
        UnverifiedDocument.parse(cut)


@given(DOCUMENTS, st.data())
def test_a_changed_byte_is_refused_or_seen(document, data):
    changed = bytearray(document.to_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found, _ = UnverifiedDocument.parse(changed)
    except REFUSALS:
        return
    assert found != document


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"DSDOC\0\0" + rest))
def test_arbitrary_bytes_raise_nothing_else(data):
    try:
        document, size = UnverifiedDocument.parse(data)
    except DeltasealError as error:
        assert error.reason in ("E_TYPE", "E_SIG", "E_LIMIT")
    else:
        assert document.to_bytes() == data[:size]


@given(st.tuples(st.text("ab", min_size=1), st.binary()), st.tuples(st.text("ab", min_size=1), st.binary()))
def test_no_two_documents_sign_alike(one, other):
    assert (pre_authentication_encoding(*one) == pre_authentication_encoding(*other)) == (one == other)


def test_the_encoding_is_that_of_dsse():
    """The example of DSSE's protocol.md."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_signing_leaves_type_body_and_digest(keys):
    signers = [keys["ed25519"][0], keys["ml-dsa-65"][0]]
    bare = sign("deltaseal/base", b"{}", [])
    signed = sign("deltaseal/base", b"{}", signers)
    assert bare.signatures == ()
    assert (signed.type, signed.body, signed.digest) == (bare.type, bare.body, bare.digest)
    message = pre_authentication_encoding("deltaseal/base", b"{}")
    for signature, signer in zip(signed.signatures, signers, strict=True):
        assert signer.public.verify(message, signature.raw)
        assert signature.key_hint == signer.public.key_hint


def test_signatures_are_added_and_taken_over(keys):
    first, second = keys["ed25519"][:2]
    once = sign("deltaseal/base", b"{}", [first])
    twice = once.add_signatures([second])
    assert twice.signatures[:1] == once.signatures and len(twice.signatures) == 2
    rebuilt = sign("deltaseal/base", b"{}", []).with_signatures(twice.signatures)
    assert rebuilt.to_bytes() == twice.to_bytes()
    with pytest.raises(UsageError):
        twice.add_signatures([first])


class TestLimits:
    """One just under, one just over."""

    def test_body(self):
        assert (
            len(UnverifiedDocument.loads(UnverifiedDocument("a", b"x" * MAX_BODY).to_bytes()).body)
            == MAX_BODY
        )
        with pytest.raises(LimitError):
            UnverifiedDocument("a", b"x" * (MAX_BODY + 1))
        big = b"DSDOC\0\0\x01a" + (MAX_BODY + 1).to_bytes(4, "little") + b"x" * (MAX_BODY + 1) + b"\0"
        with pytest.raises(LimitError):
            UnverifiedDocument.parse(big)

    def test_signatures(self):
        most = (Signature(9, b"8 bytes.", b""),) * MAX_SIGNATURES
        data = UnverifiedDocument("a", b"", most).to_bytes()
        assert UnverifiedDocument.loads(data).signatures == most
        with pytest.raises(LimitError):
            UnverifiedDocument("a", b"", (*most, most[0]))
        position = data.index(bytes([MAX_SIGNATURES, 9]))
        with pytest.raises(LimitError):
            UnverifiedDocument.parse(
                data[:position] + bytes([33]) + data[position + 1 :] + b"\x098 bytes.\0\0"
            )

    def test_signature(self):
        longest = UnverifiedDocument("a", b"", (Signature(9, b"8 bytes.", b"x" * 8192),))
        assert UnverifiedDocument.loads(longest.to_bytes()) == longest
        with pytest.raises(LimitError):
            Signature(9, b"8 bytes.", b"x" * 8193)

    def test_type(self):
        assert UnverifiedDocument.loads(UnverifiedDocument("a" * 64, b"").to_bytes()).type == "a" * 64
        with pytest.raises(DocumentTypeError):
            UnverifiedDocument("a" * 65, b"")

    def test_the_largest_document(self):
        most = (Signature(9, b"8 bytes.", b"x" * 8192),) * MAX_SIGNATURES
        assert len(UnverifiedDocument("a" * 64, b"x" * MAX_BODY, most).to_bytes()) == MAX_DOCUMENT


@pytest.mark.parametrize("name", ["", "A", "a b", "a//b", "a/", "/a", "a\n", "ä", "a--b", "1a", "\udc80"])
def test_malformed_types_are_refused(name):
    with pytest.raises(DocumentTypeError):
        UnverifiedDocument(name, b"")
    raw = name.encode("utf-8", "surrogatepass")
    with pytest.raises(DocumentTypeError):
        UnverifiedDocument.parse(b"DSDOC\0\0" + bytes([len(raw)]) + raw + bytes(5))


@pytest.mark.parametrize(
    ("data", "fact"),
    [(b"", "no magic number"), (b"DSDOC", "no magic number"), (b"PK\x03\x04" + bytes(20), "no magic number")],
)
def test_other_files_are_no_documents(data, fact):
    with pytest.raises(DocumentTypeError) as refusal:
        UnverifiedDocument.parse(data)
    assert refusal.value.facts["found"] == fact


def test_another_format_is_named():
    with pytest.raises(DocumentTypeError) as refusal:
        UnverifiedDocument.parse(b"DSDOC\0\x01\x01a" + bytes(5))
    assert refusal.value.facts == {"expected": 0, "found": 1}


def test_a_buffer_of_any_kind_is_read(keys):
    data = sign("deltaseal/base", b"{}", [keys["ed25519"][0]]).to_bytes()
    assert UnverifiedDocument.loads(memoryview(data)) == UnverifiedDocument.loads(bytearray(data))
