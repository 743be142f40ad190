"""Trust: k of each algorithm, and the only way from unverified to verified."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaseal.errors import DocumentTypeError, ExpiredError, LimitError, SignatureError
from deltaseal.trust import ALGORITHMS, Role, Trust, UnverifiedDocument, VerifiedDocument, sign, strict_json

TYPE = "deltaseal/base"
NOW, LATER = 1_000, 2_000


def role(keys, ed25519: int, mldsa: int, name: str = "release:macos") -> Role:
    public = tuple(key.public for algorithm in ALGORITHMS for key in keys[algorithm])
    return Role(name, public, {"ed25519": ed25519, "ml-dsa-65": mldsa})


@pytest.fixture(scope="module")
def trust(keys):
    return Trust.of(role(keys, 2, 2), role(keys, 1, 1, "personaliser"), expires=LATER, epoch=3)


@pytest.fixture(scope="module")
def signed(keys):
    """The same document with all six signatures: Ed25519's first, then ML-DSA's."""
    return sign(TYPE, b'{"a":1}', [*keys["ed25519"], *keys["ml-dsa-65"]])


@settings(max_examples=60)
@given(
    present=st.lists(st.integers(0, 5), max_size=8),
    needed=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_passes_exactly_when_both_counts_are_met(keys, signed, present, needed):
    document = signed.with_signatures(signed.signatures[index] for index in present)
    found = (len({i for i in present if i < 3}), len({i for i in present if i >= 3}))
    trust = Trust.of(role(keys, *needed), expires=LATER)
    if found[0] >= needed[0] and found[1] >= needed[1]:
        verified = trust.verify(document, role="release:macos", type=TYPE, now=NOW)
        assert len(verified.signed_by) == sum(found)
    else:
        with pytest.raises(SignatureError) as refusal:
            trust.verify(document, role="release:macos", type=TYPE, now=NOW)
        assert refusal.value.facts["found"] == dict(zip(ALGORITHMS, found, strict=True))


def test_a_verified_document_says_what_was_verified(trust, signed, keys):
    verified = trust.verify(signed, role="release:macos", type=TYPE, now=NOW)
    assert (verified.type, verified.body, verified.digest) == (TYPE, b'{"a":1}', signed.digest)
    assert verified.role == "release:macos"
    assert set(verified.signed_by) == {key.public for group in keys.values() for key in group}


def test_a_changed_body_or_type_is_refused(trust, signed):
    for changed in (
        UnverifiedDocument(TYPE, b'{"a":2}', signed.signatures),
        UnverifiedDocument("deltaseal/catalogue", signed.body, signed.signatures),
    ):
        with pytest.raises(SignatureError):
            trust.verify(changed, role="release:macos", type=changed.type, now=NOW)


def test_an_unknown_role_trusts_nobody(trust, signed):
    with pytest.raises(SignatureError):
        trust.verify(signed, role="release:ios", type=TYPE, now=NOW)


def test_signature_comes_before_type_before_expiry(trust, signed):
    bare = signed.with_signatures([])
    with pytest.raises(SignatureError):
        trust.verify(bare, role="release:macos", type="deltaseal/catalogue", now=LATER)
    with pytest.raises(DocumentTypeError):
        trust.verify(signed, role="release:macos", type="deltaseal/catalogue", now=LATER)
    with pytest.raises(ExpiredError):
        trust.verify(signed, role="release:macos", type=TYPE, now=LATER)
    assert trust.verify(signed, role="release:macos", type=TYPE, now=LATER - 1)


def test_nobody_else_makes_a_verified_document(trust, signed):
    with pytest.raises(TypeError):
        VerifiedDocument(TYPE, b"{}", bytes(32), "release:macos", (), None)
    verified = trust.verify(signed, role="release:macos", type=TYPE, now=NOW)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(verified, body=b"{}")
    with pytest.raises(dataclasses.FrozenInstanceError):
        verified.body = b"{}"
    assert copy.deepcopy(verified) == verified


class TestTrustFile:
    def test_round_trip(self, trust):
        assert Trust.load(trust.dumps()) == trust
        assert Trust.load(trust.dumps()).dumps() == trust.dumps()

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("kind",), "deltaseal/base"),
            (("format",), 1),
            (("more",), 1),
            (("expires",), "soon"),
            (("expires",), -1),
            (("expires",), True),
            (("expires",), None),
            (("epoch",), None),
            (("roles",), {}),
            (("roles",), []),
            (("roles", "personaliser"), []),
            (("roles", "personaliser", "more"), 1),
            (("roles", "personaliser", "keys"), []),
            (("roles", "personaliser", "keys"), {}),
            (("roles", "personaliser", "keys", 0, "algorithm"), "rsa"),
            (("roles", "personaliser", "keys", 0, "public"), "AAAA"),
            (("roles", "personaliser", "thresholds"), {"ed25519": 1}),
            (("roles", "personaliser", "thresholds", "ed25519"), 0),
            (("roles", "personaliser", "thresholds", "ed25519"), 4),
            (("roles", "personaliser", "thresholds", "ed25519"), True),
            (("roles", "personaliser", "thresholds", "ed25519"), "1"),
            (("roles", "personaliser", "thresholds", "rsa"), 1),
        ],
        ids=str,
    )
    def test_each_rule_of_the_page(self, trust, path, value):
        content = json.loads(trust.dumps())
        *above, last = path
        place = content
        for step in above:
            place = place[step]
        place[last] = value
        with pytest.raises(DocumentTypeError):
            Trust.load(strict_json.dumps(content))

    @pytest.mark.parametrize("name", ["kind", "format", "expires", "epoch", "roles"])
    def test_every_field_is_needed(self, trust, name):
        content = json.loads(trust.dumps())
        del content[name]
        with pytest.raises(DocumentTypeError):
            Trust.load(strict_json.dumps(content))

    def test_one_key_listed_twice_meets_no_threshold_of_two(self, keys):
        content = json.loads(Trust.of(role(keys, 1, 1), expires=LATER).dumps())
        place = content["roles"]["release:macos"]
        place["keys"] = [place["keys"][0]] * 2 + place["keys"][3:]
        place["thresholds"]["ed25519"] = 2
        with pytest.raises(DocumentTypeError):
            Trust.load(strict_json.dumps(content))

    def test_number_of_keys_is_bounded(self, keys):
        public = [key.public for group in keys.values() for key in group]
        thresholds = {"ed25519": 1, "ml-dsa-65": 1}
        assert len(Role("r", tuple((public * 6)[:32]), thresholds).keys) == 32
        with pytest.raises(DocumentTypeError):
            Role("r", tuple((public * 6)[:33]), thresholds)

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_are_refused(self, data):
        with pytest.raises((DocumentTypeError, LimitError)):
            Trust.load(data)
