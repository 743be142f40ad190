"""What a publisher may release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publisher import BUNDLE_DIGEST, DAY, DAY_ZERO, MANIFEST, PERSONAL, digest

from deltaseal.errors import SequenceError, UsageError
from deltaseal.manifest import (
    LIFETIME,
    BundleManifest,
    Catalogue,
    CatalogueBase,
    Fix,
    Published,
    Withdrawal,
    check_release,
    lost_fixes,
    make_catalogue,
    make_permit,
)


def release(
    letter: str, sequence: int, *cves: str, base: str = "25D2128", os: str = "macos"
) -> BundleManifest:
    return replace(
        MANIFEST,
        id=f"{os}-{base.lower()}-{letter}",
        os=os,
        base_build=base,
        letter=letter,
        sequence=sequence,
        cves=tuple(Fix(cve, "app") for cve in cves),
    )


def test_R3_letters_rise_and_may_skip() -> None:
    check_release(release("c", 3), [release("a", 1), release("b", 2)])
    check_release(release("d", 3), [release("a", 1)])


@pytest.mark.parametrize("letter", ["a", "b"])
def test_R3_letters_are_never_reused_even_after_withdrawal(letter: str) -> None:
    b = release("b", 2)
    again = replace(release(letter, 3), id="macos-again")
    with pytest.raises(SequenceError, match="letter"):
        check_release(again, [b], withdrawn=[b.id])


def test_R3_other_bases_have_letters_of_their_own() -> None:
    check_release(release("a", 3, base="25D2140"), [release("b", 2, "CVE-2026-1")])
    check_release(release("a", 1, os="ios"), [release("b", 2, "CVE-2026-1")])


def test_R3_a_lost_fix_is_refused_and_the_CVE_named() -> None:
    earlier = [release("a", 1, "CVE-2026-1", "CVE-2026-2"), release("b", 2, "CVE-2026-1", "CVE-2026-3")]
    check_release(release("c", 3, "CVE-2026-1", "CVE-2026-2", "CVE-2026-3"), earlier)
    with pytest.raises(UsageError, match="CVE-2026-2") as refusal:
        check_release(release("c", 3, "CVE-2026-1", "CVE-2026-3"), earlier)
    assert refusal.value.facts["lost"] == ["CVE-2026-2"]


def test_R3_a_withdrawn_letter_takes_its_fixes_along() -> None:
    a = release("a", 1, "CVE-2026-1")
    check_release(release("b", 2), [a], withdrawn=[a.id])


def test_the_sequence_rises_over_all_bases_of_a_system() -> None:
    with pytest.raises(SequenceError, match="sequence"):
        check_release(release("a", 2, base="25D2140"), [release("a", 2)])


def test_an_id_is_released_once() -> None:
    with pytest.raises(UsageError, match="already released"):
        check_release(replace(release("b", 2), id="macos-25d2128-a"), [release("a", 1)])


BASES = (CatalogueBase("26.3.1", "25D2128"), CatalogueBase("26.3.2", "25D2140"))


def published(*manifests: BundleManifest) -> list[Published]:
    return [Published(one, digest(one.id), DAY_ZERO + 250 * DAY) for one in manifests]


def catalogue(improvements: list[Published], **changes: Any) -> Catalogue:
    values: dict[str, Any] = {
        "os": "macos",
        "serial": 1,
        "issued": DAY_ZERO,
        "expires": DAY_ZERO + DAY,
        "bases": BASES,
    }
    return make_catalogue(improvements=improvements, **(values | changes))


def test_R11_a_fix_must_not_get_lost_on_a_later_base() -> None:
    a = release("a", 1, "CVE-2026-1")
    with pytest.raises(UsageError, match="CVE-2026-1, closed on 25D2128, is open on 25D2140") as refusal:
        catalogue(published(a))
    assert refusal.value.facts["lost"][0]["cve"] == "CVE-2026-1"


def test_R11_a_later_base_includes_a_fix_or_has_an_improvement_for_it() -> None:
    a = release("a", 1, "CVE-2026-1")
    neo = release("a", 2, "CVE-2026-1", base="25D2140")
    assert len(catalogue(published(a, neo)).improvements) == 2
    including = (BASES[0], replace(BASES[1], includes=("CVE-2026-1",)))
    assert catalogue(published(a), bases=including).bases == including


def test_R11_what_a_base_includes_must_not_get_lost_either() -> None:
    including = (replace(BASES[0], includes=("CVE-2026-9",)), BASES[1])
    with pytest.raises(UsageError, match="CVE-2026-9"):
        catalogue([], bases=including)


def test_R11_a_withdrawal_says_what_it_reopens() -> None:
    a = release("a", 1, "CVE-2026-1")
    neo = release("a", 2, "CVE-2026-1", base="25D2140")
    silent = [Withdrawal(neo.id, "remove", ())]
    with pytest.raises(UsageError, match="CVE-2026-1"):
        catalogue(published(a, neo), withdrawals=silent)
    said = [Withdrawal(neo.id, "remove", ("CVE-2026-1",))]
    assert catalogue(published(a, neo), withdrawals=said).withdrawals == tuple(said)


def test_R11_every_lost_fix_is_found() -> None:
    bases = (*BASES, CatalogueBase("26.4", "25E246"))
    lost = lost_fixes(
        replace(
            catalogue([], bases=bases),
            bases=(replace(bases[0], includes=("CVE-2026-1", "CVE-2026-2")), *bases[1:]),
        )
    )
    assert sorted((one.cve, one.lost_on) for one in lost) == [
        ("CVE-2026-1", "25D2140"),
        ("CVE-2026-1", "25E246"),
        ("CVE-2026-2", "25D2140"),
        ("CVE-2026-2", "25E246"),
    ]


def test_a_catalogue_is_of_one_system_and_of_known_bases() -> None:
    with pytest.raises(UsageError, match="for ios"):
        catalogue(published(release("a", 1, os="ios")))
    with pytest.raises(UsageError, match="25X1"):
        catalogue(published(release("a", 1, base="25X1")))
    with pytest.raises(UsageError, match="not among the improvements"):
        catalogue([], withdrawals=[Withdrawal("macos-never", "keep", ())])
    with pytest.raises(SequenceError):
        catalogue(published(release("b", 1), release("a", 2)))


@given(st.permutations([1, 2, 3]))
def test_a_catalogue_does_not_depend_on_the_order_given(order: list[int]) -> None:
    manifests = [release("abc"[number - 1], number, base="25D2140") for number in order]
    assert (
        catalogue(published(*manifests)).dumps()
        == catalogue(published(*sorted(manifests, key=lambda one: one.sequence))).dumps()
    )


def test_R7_a_permit_has_the_longest_life_by_default() -> None:
    permit = make_permit(MANIFEST, BUNDLE_DIGEST, issued=DAY_ZERO)
    assert (permit.models, permit.expires) == (MANIFEST.models, DAY_ZERO + LIFETIME)
    with pytest.raises(UsageError, match="7 days"):
        make_permit(MANIFEST, BUNDLE_DIGEST, issued=DAY_ZERO, expires=DAY_ZERO + LIFETIME + 1)


def test_R6_a_permit_only_narrows() -> None:
    assert make_permit(MANIFEST, BUNDLE_DIGEST, issued=0, models=["Mac16,8"]).models == ("Mac16,8",)
    with pytest.raises(UsageError, match="Mac17,5"):
        make_permit(MANIFEST, BUNDLE_DIGEST, issued=0, models=["Mac16,8", "Mac17,5"])


def test_a_permit_is_for_models_or_for_one_device() -> None:
    permit = make_permit(MANIFEST, BUNDLE_DIGEST, issued=0, personal=PERSONAL, phase=1, channel="seed")
    assert (permit.models, permit.personal, permit.phase, permit.channel) == (None, PERSONAL, 1, "seed")
    with pytest.raises(UsageError, match="not for both"):
        make_permit(MANIFEST, BUNDLE_DIGEST, issued=0, personal=PERSONAL, models=["Mac16,8"])
    with pytest.raises(UsageError):
        make_permit(MANIFEST, BUNDLE_DIGEST, issued=0, phase=10_001)
