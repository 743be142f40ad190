"""Attacks on the rules of offers: T02, T03, T08 to T15, T20, T21, T23, T27 to T30, T38, H55."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.publisher import (
    BASE,
    BUNDLE_DIGEST,
    CATALOGUE,
    DAY,
    DAY_ZERO,
    FACTS,
    MANIFEST,
    NONCE,
    OFFER,
    PERMIT,
    PERSONAL,
    digest,
    signers,
)

from deltaseal.errors import DeltasealError, DocumentTypeError, ExpiredError, SequenceError, SignatureError
from deltaseal.manifest import (
    Applied,
    Base,
    BundleManifest,
    Catalogue,
    DeviceFacts,
    DeviceManifest,
    Finding,
    Offer,
    Personal,
    Withdrawal,
    accept_catalogue,
    check_offer,
    effective_now,
    verify_bundle_manifest,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.trust import sign

Verify = Callable[..., object]


def decided(offer: Offer, facts: DeviceFacts) -> Finding:
    """The finding that decides."""
    return check_offer(offer, facts)[0]


def signed(type: str, body: bytes, role: str):
    return sign(type, body, signers().signers[role])


def accepted(catalogue: Catalogue, *, now: int = DAY_ZERO, last: tuple[int, str] | None = None) -> str:
    """Verify and accept as a device does; returns the digest."""
    document = signed(Catalogue.TYPE, catalogue.dumps(), f"release:{catalogue.os}")
    verified = verify_catalogue(document, signers().trust, now=now)
    accept_catalogue(verified, os="macos", now=now, last=last)
    return verified.digest


def test_T02_old_catalogue() -> None:
    newest = accepted(CATALOGUE)
    assert accepted(CATALOGUE, last=(3, newest)) == newest
    with pytest.raises(SequenceError):
        accepted(replace(CATALOGUE, serial=2), last=(3, newest))
    with pytest.raises(SequenceError):
        accepted(replace(CATALOGUE, minimum_sequence=0), last=(3, newest))


def test_T03_frozen_catalogue() -> None:
    accepted(CATALOGUE, now=CATALOGUE.expires - 1)
    with pytest.raises(ExpiredError):
        accepted(CATALOGUE, now=CATALOGUE.expires)


def test_T08_wrong_base_build() -> None:
    finding = decided(OFFER, replace(FACTS, build="25D2140", version="26.3.2"))
    assert (finding.reason, finding.step) == ("E_BASE", "base build")
    assert finding.facts == {"expected": "25D2128", "found": "25D2140"}
    assert "macOS 26.3.1 build 25D2128" in finding.sentence


def test_T09_right_build_other_bytes() -> None:
    finding = decided(OFFER, replace(FACTS, components={"app": digest("other bytes")}))
    assert (finding.reason, finding.step) == ("E_BASE", "base digests")
    assert finding.facts["expected"] == digest("mac app")
    assert finding.facts["found"] == digest("other bytes")


def test_T10_other_os_same_build() -> None:
    ios = replace(MANIFEST, os="ios", base_build="23D8133")
    offer = replace(OFFER, bundle=ios, permit=replace(PERMIT, os="ios"), catalogue=None)
    finding = decided(offer, replace(FACTS, os="ipados", build="23D8133"))
    assert (finding.reason, finding.step) == ("E_BASE", "os")
    assert "iPadOS" in finding.sentence


def test_T11_unlisted_model() -> None:
    finding = decided(OFFER, replace(FACTS, model="Mac17,5"))
    assert finding.reason == "E_MODEL"
    assert finding.facts["found"] == "Mac17,5"


def test_T12_manifest_of_another_device() -> None:
    other = Personal(digest("another device")[:32], NONCE)
    permit = replace(PERMIT, models=None, personal=other)
    finding = decided(replace(OFFER, permit=permit), replace(FACTS, open_nonces=frozenset({NONCE})))
    assert (finding.reason, finding.step) == ("E_DEVICE", "device")


def test_T13_own_personalised_manifest_replayed() -> None:
    permit = replace(PERMIT, models=None, personal=PERSONAL)
    spent = replace(FACTS, spent_nonces=frozenset({NONCE}))
    assert decided(replace(OFFER, permit=permit), spent).reason == "E_SEQ"


def test_T14_unknown_nonce() -> None:
    permit = replace(PERMIT, models=None, personal=PERSONAL)
    finding = decided(replace(OFFER, permit=permit), FACTS)
    assert (finding.reason, finding.step) == ("E_DEVICE", "nonce")


def test_T20_expired() -> None:
    assert decided(OFFER, replace(FACTS, now=PERMIT.expires)).reason == "E_EXPIRED"
    late = replace(PERMIT, issued=DAY_ZERO + 250 * DAY, expires=DAY_ZERO + 251 * DAY)
    assert (
        decided(replace(OFFER, permit=late), replace(FACTS, now=late.issued)).facts["document"]
        == "improvement"
    )


def test_T21_clock_set_back() -> None:
    now = effective_now(0, build_date=DAY_ZERO - DAY, catalogues_issued=[PERMIT.expires + DAY])
    assert decided(OFFER, replace(FACTS, now=now)).reason == "E_EXPIRED"


def test_T23_release_role_outside_its_system() -> None:
    foreign = signed(BundleManifest.TYPE, MANIFEST.dumps(), "release:ios")
    with pytest.raises(SignatureError, match="speaks of macos"):
        verify_bundle_manifest(foreign, signers().trust, now=DAY_ZERO)


def test_T27_lower_letter_of_the_base() -> None:
    b = Applied("macos-26.3.1-b", "b", 6, digest("bundle b"))
    finding = decided(OFFER, replace(FACTS, active=b, reached=b))
    assert (finding.reason, finding.facts) == ("E_SEQ", {"floor": 6, "found": 5})


def test_T28_withdrawn() -> None:
    order = Withdrawal(MANIFEST.id, "keep", ("CVE-2026-20643",))
    catalogue = replace(CATALOGUE, withdrawals=(order,))
    assert decided(replace(OFFER, catalogue=catalogue), FACTS).reason == "E_WITHDRAWN"
    person = replace(OFFER, by_person=True, retry=True)
    assert decided(person, replace(FACTS, withdrawn={MANIFEST.id: "remove"})).reason == "E_WITHDRAWN"


def test_T29_held() -> None:
    held = replace(FACTS, holds=frozenset({MANIFEST.id}))
    assert decided(OFFER, held).reason == "E_HELD"


def test_T30_personaliser_widens() -> None:
    wide = replace(PERMIT, models=("Mac15,6", "Mac17,5"))
    finding = decided(replace(OFFER, permit=wide), replace(FACTS, model="Mac17,5"))
    assert (finding.reason, finding.facts["added"]) == ("E_SIG", ["Mac17,5"])
    renamed = replace(PERMIT, id="macos-26.3.1-z")
    assert decided(replace(OFFER, permit=renamed), FACTS).reason == "E_SIG"


def test_T30_personaliser_signs_content() -> None:
    for type, body, verify in (
        (BundleManifest.TYPE, MANIFEST.dumps(), verify_bundle_manifest),
        (Catalogue.TYPE, CATALOGUE.dumps(), verify_catalogue),
    ):
        with pytest.raises(SignatureError):
            verify(signed(type, body, "personaliser"), signers().trust, now=DAY_ZERO)


def test_T15_release_signs_a_permission() -> None:
    document = signed(PERMIT.TYPE, PERMIT.dumps(), "release:macos")
    with pytest.raises(DeltasealError) as refusal:
        verify_device_manifest(document, signers().trust, now=DAY_ZERO)
    assert refusal.value.reason == "E_SIG"


def test_T38_mirror_sends_another_valid_bundle() -> None:
    finding = decided(replace(OFFER, bundle_digest=digest("another valid bundle")), FACTS)
    assert (finding.reason, finding.facts["expected"]) == ("E_DIGEST", BUNDLE_DIGEST)


@pytest.mark.parametrize("value", [BASE, MANIFEST, PERMIT, CATALOGUE], ids=lambda value: type(value).__name__)
def test_H55_unknown_critical_field_of_a_body(
    value: Base | BundleManifest | DeviceManifest | Catalogue,
) -> None:
    longer = value.dumps()[:-1] + b',"zzz":0}'
    with pytest.raises(DocumentTypeError, match="zzz"):
        type(value).loads(longer)
