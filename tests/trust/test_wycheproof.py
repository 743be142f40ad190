"""Every Wycheproof vector, through the bare signature check that all verification uses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from deltaseal.errors import DocumentTypeError
from deltaseal.trust import PublicKey

VECTORS = json.loads(gzip.decompress((Path(__file__).parent / "vectors/wycheproof.json.gz").read_bytes()))


def verdict(algorithm, public: str, test: dict) -> str:
    try:
        key = PublicKey(algorithm, bytes.fromhex(public))
    except DocumentTypeError:
        return "invalid"
    message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
    good = key.verify(message, signature, context=bytes.fromhex(test.get("ctx", "")))
    return "valid" if good else "invalid"


@pytest.mark.parametrize(("algorithm", "valid", "invalid"), [("ed25519", 88, 63), ("ml-dsa-65", 79, 131)])
def test_every_vector_gets_its_result(algorithm, valid, invalid):
    tests = [(group["public"], test) for group in VECTORS[algorithm] for test in group["tests"]]
    expected = [test["result"] for _, test in tests]
    assert (expected.count("valid"), expected.count("invalid")) == (valid, invalid)

    wrong = [test["tcId"] for public, test in tests if verdict(algorithm, public, test) != test["result"]]
    assert wrong == []


def test_a_signature_for_a_context_is_none_of_ours():
    """Documents are signed with the empty context: a signature made for another must not pass."""
    tests = [(group["public"], test) for group in VECTORS["ml-dsa-65"] for test in group["tests"]]
    public, test = next((p, t) for p, t in tests if t.get("ctx") and t["result"] == "valid")
    assert verdict("ml-dsa-65", public, test) == "valid"
    without = {name: value for name, value in test.items() if name != "ctx"}
    assert verdict("ml-dsa-65", public, without) == "invalid"


def test_the_copy_stays_small():
    assert (Path(__file__).parent / "vectors/wycheproof.json.gz").stat().st_size < 1_000_000
