"""The second reader of bundles and ours say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec import bundle_reader
from support.plain_bundle import plain_bundle

from deltaseal.bundle import bare_size_allowed, open_bundle
from deltaseal.errors import DeltasealError
from deltaseal.storage import BytesSource, chunks

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "bundle.md").read_text()
payloads = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4)
SIGNED = plain_bundle([b"first payload", b"second payload"]).to_bytes()


@given(payloads)
def test_both_find_the_same_things_at_the_same_places(contents: list[bytes]) -> None:
    data = plain_bundle(contents, sign=False).to_bytes()
    ours, theirs = open_bundle(BytesSource(data)), bundle_reader.read(data)
    assert ours.digest == theirs.digest
    assert ours.claimed().to_json() == theirs.manifest
    found = [b"".join(chunks(payload)) for payload in ours.editable().payloads]
    assert found == [data for _, data in theirs.payloads]
    assert theirs.damaged() == []
    assert set(found) == set(contents)


def test_both_find_the_signatures() -> None:
    ours, theirs = open_bundle(BytesSource(SIGNED)), bundle_reader.read(SIGNED)
    assert [
        (one.algorithm_id, one.key_hint, one.raw) for one in ours.document.signatures
    ] == theirs.signatures
    assert sorted(algorithm for algorithm, _, _ in theirs.signatures) == [1, 1, 2, 2]


def outcome(data: bytes) -> str:
    try:
        unverified = open_bundle(BytesSource(data))
        unverified.claimed()
        unverified.editable()
    except DeltasealError as error:
        return error.reason
    return "read"


@pytest.mark.parametrize("size", [0, 6, 7, 15, 16, 30, 200, len(SIGNED) - 1])
def test_both_refuse_what_is_cut_short(size: int) -> None:
    with pytest.raises(bundle_reader.Refused) as refused:
        bundle_reader.read(SIGNED[:size])
    assert outcome(SIGNED[:size]) == refused.value.reason


@given(at=st.integers(0, 15), value=st.integers(0, 255))
def test_both_refuse_another_head(at: int, value: int) -> None:
    data = bytearray(SIGNED)
    data[at] = value
    if data == SIGNED:
        assert outcome(bytes(data)) == "read"
        return
    with pytest.raises(bundle_reader.Refused) as refused:
        bundle_reader.read(bytes(data))
    assert outcome(bytes(data)) == refused.value.reason


def test_the_size_on_the_page_is_the_size_in_the_code() -> None:
    row = next(line for line in PAGE.splitlines() if "everything but the payloads" in line)
    fixed, mldsa, ed25519, changed = (
        int(number.replace(",", "")) for number in re.findall(r"(\d[\d,]*) (?:\+|per (?:changed|ML|Ed))", row)
    )
    assert bare_size_allowed(changed_files=0) == fixed
    assert bare_size_allowed(changed_files=1) - fixed == changed
    assert bare_size_allowed(changed_files=0, algorithms=["ml-dsa-65"]) - fixed == mldsa
    assert bare_size_allowed(changed_files=0, algorithms=["ed25519"]) - fixed == ed25519
