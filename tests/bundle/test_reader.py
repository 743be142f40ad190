"""Reading and verifying bundles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plain_bundle import plain_bundle
from support.publisher import BASE, DAY_ZERO, MANIFEST, signers

from deltaseal.bundle import Bundle, CheckedSource, open_bundle, verify_file
from deltaseal.errors import (
    DeltasealError,
    DigestError,
    DocumentTypeError,
    ExpiredError,
    SignatureError,
    StorageError,
    UsageError,
)
from deltaseal.manifest import BundleManifest
from deltaseal.storage import BytesSource, chunks
from deltaseal.trust import Trust, UnverifiedDocument, sign

TRUST = signers().trust
PAYLOADS = [b"first payload " * 30, b"second payload " * 9]
BUNDLE = plain_bundle(PAYLOADS)
DATA = BUNDLE.to_bytes()
FIRST, SECOND = (digest for digest, _ in BUNDLE.manifest.payloads())


class Counting:
    """A source that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.source = BytesSource(data)
        self.read = 0

    def size(self) -> int:
        return self.source.size()

    def read_at(self, offset: int, size: int) -> bytes:
        self.read += size
        return self.source.read_at(offset, size)


def test_a_good_bundle_is_verified() -> None:
    verified = open_bundle(BytesSource(DATA)).verify(TRUST, now=DAY_ZERO)
    assert verified.manifest == BUNDLE.manifest
    assert verified.digest == BUNDLE.digest
    assert verified.verified.document.role == "release:macos"
    assert b"".join(chunks(verified.payload(FIRST))) == PAYLOADS[0]
    assert b"".join(chunks(verified.stored(SECOND))) == PAYLOADS[1]
    verified.check_payloads()
    with pytest.raises(UsageError):
        verified.payload("0" * 64)


def test_reading_is_by_ranges() -> None:
    big = plain_bundle([b"x" * 5_000_000, b"small payload"])
    source = Counting(big.to_bytes())
    verified = open_bundle(source).verify(TRUST, now=DAY_ZERO)
    assert source.read < 20_000
    verified.payload(big.manifest.payloads()[1][0])
    assert source.read < 20_100


def test_a_long_manifest_is_read_too() -> None:
    models = tuple(f"Model{number:06}" for number in range(9_000))
    bundle = plain_bundle([b"payload"], manifest=replace(MANIFEST, models=models))
    assert open_bundle(BytesSource(bundle.to_bytes())).verify(TRUST, now=DAY_ZERO).manifest.models == models


def test_T25_a_file_that_is_rewritten_between_check_and_use() -> None:
    payload = bytes(range(256)) * 1024
    bundle = plain_bundle([payload])
    data = bytearray(bundle.to_bytes())
    checked = (
        open_bundle(BytesSource(data)).verify(TRUST, now=DAY_ZERO).payload(bundle.manifest.payloads()[0][0])
    )
    assert checked.read_at(100, 50) == payload[100:150]
    data[-70_000] ^= 1
    assert checked.read_at(200, 50) == payload[200:250]
    with pytest.raises(DigestError, match="changed while"):
        checked.read_at(checked.size() - 70_001, 10)


def test_T37_bytes_that_no_signature_covers() -> None:
    longer = DATA[:8] + (len(DATA) + 4).to_bytes(8, "little") + DATA[16:] + b"more"
    with pytest.raises(DigestError, match="take"):
        open_bundle(BytesSource(longer)).verify(TRUST, now=DAY_ZERO)


def test_a_byte_changed_anywhere_is_found() -> None:
    for at in range(0, len(DATA), 29):
        data = bytearray(DATA)
        data[at] ^= 0x10
        try:
            bundle = open_bundle(BytesSource(data)).verify(TRUST, now=DAY_ZERO)
            bundle.check_payloads()
        except DeltasealError:
            continue
        pytest.fail(f"nobody noticed byte {at}")


@settings(max_examples=60)
@given(at=st.integers(0, len(DATA) - 1))
def test_a_cut_bundle_is_refused(at: int) -> None:
    with pytest.raises((DigestError, DocumentTypeError)):
        open_bundle(BytesSource(DATA[:at]))


def test_unsigned_and_wrongly_signed_bundles_are_refused() -> None:
    roles = signers().signers
    unsigned = plain_bundle(PAYLOADS, sign=False)
    too_few = unsigned.signed([roles["release:macos"][0], roles["release:macos"][2]])
    for bundle in (
        unsigned,
        too_few,
        unsigned.signed(roles["release:ios"]),
        unsigned.signed(roles["personaliser"]),
    ):
        with pytest.raises(SignatureError):
            open_bundle(BytesSource(bundle.to_bytes())).verify(TRUST, now=DAY_ZERO)


def test_T15_another_document_in_the_place_of_the_manifest() -> None:
    document = sign(BASE.TYPE, BASE.dumps(), signers().signers["release:macos"])
    with pytest.raises(DocumentTypeError, match=BundleManifest.TYPE):
        open_bundle(BytesSource(Bundle(document, ()).to_bytes())).verify(TRUST, now=DAY_ZERO)


def test_expired_trust() -> None:
    with pytest.raises(ExpiredError):
        open_bundle(BytesSource(DATA)).verify(TRUST, now=TRUST.expires)


def test_trust_without_a_release_role() -> None:
    only = Trust.of(TRUST.roles["personaliser"], expires=TRUST.expires)
    with pytest.raises(SignatureError, match="no release role"):
        open_bundle(BytesSource(DATA)).verify(only, now=DAY_ZERO)


def test_inspecting_needs_no_trust() -> None:
    unverified = open_bundle(BytesSource(DATA))
    assert unverified.claimed() == BUNDLE.manifest
    assert unverified.digest == BUNDLE.digest
    assert unverified.editable().to_bytes() == DATA


@pytest.mark.parametrize(
    "data",
    [b"", b"D", b"DSDOC\0" + b"\0" * 99, b"PK\3\4" * 9, UnverifiedDocument("a", b"{}").to_bytes()],
    ids=["empty", "one byte", "document", "zip", "small document"],
)
def test_foreign_files_are_no_bundle(data: bytes) -> None:
    with pytest.raises(DocumentTypeError, match="no bundle"):
        open_bundle(BytesSource(data))


def test_another_version_is_named() -> None:
    with pytest.raises(DocumentTypeError, match="version 1"):
        open_bundle(BytesSource(DATA[:7] + b"\1" + DATA[8:]))


def test_verify_a_file_offline(tmp_path: Path) -> None:
    path = tmp_path / "some.bundle"
    path.write_bytes(DATA)
    assert verify_file(path, TRUST, now=DAY_ZERO).manifest.id == MANIFEST.id
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DigestError, match="damaged"):
        verify_file(path, TRUST, now=DAY_ZERO)
    with pytest.raises(StorageError):
        verify_file(tmp_path, TRUST, now=DAY_ZERO)
    with pytest.raises(StorageError):
        verify_file(tmp_path / "missing", TRUST, now=DAY_ZERO)


@given(
    data=st.binary(max_size=300_000) | st.integers(0, 300_000).map(bytes),
    ranges=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 140_000)), max_size=5),
)
@settings(max_examples=40)
def test_a_checked_source_reads_as_the_source_does(data: bytes, ranges: list[tuple[int, int]]) -> None:
    import hashlib

    checked = CheckedSource(BytesSource(data), hashlib.sha256(data).hexdigest())
    assert checked.size() == len(data)
    for offset, size in ranges:
        if offset + size <= len(data):
            assert checked.read_at(offset, size) == data[offset : offset + size]
        else:
            with pytest.raises(StorageError):
                checked.read_at(offset, size)
