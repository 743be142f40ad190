"""Which device takes what, rule by rule; the attacks on these rules are in tests/attacks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publisher import (
    BUNDLE_DIGEST,
    CATALOGUE,
    CHANGE,
    DAY,
    DAY_ZERO,
    DEVICE,
    FACTS,
    MANIFEST,
    NONCE,
    OFFER,
    PERMIT,
    PERSONAL,
    digest,
)

from deltaseal.manifest import (
    Applied,
    DeviceFacts,
    Free,
    Need,
    Offer,
    Personal,
    Policy,
    Withdrawal,
    check_offer,
    effective_now,
    in_phase,
    phase_place,
    sequence_floor,
)

PLACE = phase_place(MANIFEST.id, DEVICE)


def offer(**changes: Any) -> Offer:
    """The good offer; keywords of permit_ and bundle_ change those documents."""
    permit = {name[7:]: value for name, value in changes.items() if name.startswith("permit_")}
    bundle = {name[7:]: value for name, value in changes.items() if name.startswith("bundle_")}
    rest = {name: value for name, value in changes.items() if not name.startswith(("permit_", "bundle_"))}
    return replace(
        OFFER, permit=replace(OFFER.permit, **permit), bundle=replace(OFFER.bundle, **bundle), **rest
    )


def facts(**changes: Any) -> DeviceFacts:
    return replace(FACTS, **changes)


def answers(what: Offer, who: DeviceFacts) -> list[tuple[str, str]]:
    return [(finding.step, finding.reason) for finding in check_offer(what, who)]


def test_a_good_offer_is_taken() -> None:
    assert check_offer(OFFER, FACTS) == ()


def test_without_a_catalogue_the_device_manifest_bounds_the_offer() -> None:
    alone = offer(catalogue=None)
    assert check_offer(alone, FACTS) == ()
    assert answers(alone, facts(now=PERMIT.expires)) == [("expiry", "E_EXPIRED")]


EVERYTHING_WRONG = (
    offer(
        permit_bundle=digest("another bundle"),
        permit_models=None,
        permit_personal=Personal(digest("other device")[:32], NONCE),
        permit_paused=True,
        permit_channel="seed",
        permit_phase=0,
        catalogue=replace(
            CATALOGUE, minimum_sequence=9, withdrawals=(Withdrawal(MANIFEST.id, "remove", ()),)
        ),
        need=Need(1000, 10),
    ),
    facts(
        now=PERMIT.expires,
        os="ios",
        build="23D8133",
        model="iPhone17,1",
        holds=frozenset({MANIFEST.id}),
        removed=frozenset({MANIFEST.id}),
        policy=Policy(updates="off"),
        components={"app": digest("something else")},
        found={"app": digest("edited")},
        free=Free(999, 9),
        battery=19,
    ),
)


def test_R18_the_order_of_checks_and_all_findings_listed() -> None:
    assert answers(*EVERYTHING_WRONG) == [
        ("content", "E_DIGEST"),
        ("expiry", "E_EXPIRED"),
        ("os", "E_BASE"),
        ("base build", "E_BASE"),
        ("model", "E_MODEL"),
        ("device", "E_DEVICE"),
        ("nonce", "E_DEVICE"),
        ("sequence", "E_SEQ"),
        ("withdrawn", "E_WITHDRAWN"),
        ("held", "E_HELD"),
        ("held", "E_HELD"),
        ("policy and phase", "E_POLICY"),
        ("policy and phase", "E_POLICY"),
        ("policy and phase", "E_POLICY"),
        ("policy and phase", "E_POLICY"),
        ("base digests", "E_DAMAGED"),
        ("base digests", "E_BASE"),
        ("space", "E_SPACE"),
        ("space", "E_SPACE"),
        ("battery", "E_BATTERY"),
    ]


def test_R18_every_finding_has_a_sentence_a_fact_and_an_error_of_its_reason() -> None:
    for finding in check_offer(*EVERYTHING_WRONG):
        assert len(finding.sentence) > 20
        assert finding.facts
        error = finding.error()
        assert (error.reason, error.sentence, error.facts) == (
            finding.reason,
            finding.sentence,
            finding.facts,
        )
        assert error.hint


def test_R6_an_empty_list_of_models_means_nobody() -> None:
    nobody = offer(bundle_models=(), permit_models=())
    assert answers(nobody, FACTS) == [("model", "E_MODEL"), ("model", "E_MODEL")]
    assert "nobody" in check_offer(nobody, FACTS)[0].sentence


def test_R6_a_device_manifest_narrows() -> None:
    narrow = offer(permit_models=("Mac16,8",))
    assert answers(narrow, FACTS) == [("model", "E_MODEL")]
    assert answers(narrow, facts(model="Mac16,8")) == []


def test_R7_a_personalised_manifest_needs_its_open_nonce() -> None:
    mine = offer(permit_models=None, permit_personal=PERSONAL)
    assert answers(mine, facts(open_nonces=frozenset({NONCE}))) == []
    assert answers(mine, facts(spent_nonces=frozenset({NONCE}))) == [("nonce", "E_SEQ")]


def test_R7_personalised_only() -> None:
    strict = facts(policy=Policy(personalised_only=True), open_nonces=frozenset({NONCE}))
    assert answers(OFFER, strict) == [("policy and phase", "E_POLICY")]
    assert answers(replace(OFFER, by_person=True), strict) == [("policy and phase", "E_POLICY")]
    assert answers(offer(permit_models=None, permit_personal=PERSONAL), strict) == []


REACHED = Applied("macos-26.3.1-b", "b", 7, digest("bundle b"))


def test_R8_the_floor_is_the_larger_of_minimum_and_reached() -> None:
    assert sequence_floor(FACTS, None) == 0
    assert sequence_floor(FACTS, CATALOGUE) == 1
    assert sequence_floor(facts(reached=REACHED), CATALOGUE) == 7
    assert sequence_floor(facts(reached=REACHED), replace(CATALOGUE, minimum_sequence=9)) == 9


def test_R8_equal_takes_only_the_same_bundle() -> None:
    same = Applied(MANIFEST.id, "a", MANIFEST.sequence, BUNDLE_DIGEST)
    assert answers(OFFER, facts(reached=same)) == []
    other = replace(same, bundle=digest("other bytes"))
    assert answers(OFFER, facts(reached=other)) == [("sequence", "E_SEQ")]


def test_R8_withdrawing_what_set_the_floor_lowers_it_to_the_minimum() -> None:
    after = replace(CATALOGUE, withdrawals=(Withdrawal(REACHED.id, "remove", ()),))
    assert answers(OFFER, facts(reached=REACHED)) == [("sequence", "E_SEQ")]
    assert answers(offer(catalogue=after), facts(reached=REACHED)) == []
    assert answers(OFFER, facts(reached=REACHED, withdrawn={REACHED.id: "remove"})) == []


def test_R8_a_lower_letter_does_not_replace_one_that_was_withdrawn_with_keep() -> None:
    kept = facts(reached=REACHED, active=REACHED, withdrawn={REACHED.id: "keep"})
    assert answers(OFFER, kept) == [("sequence", "E_SEQ")]


@given(clock=st.integers(0, 2**40), build_date=st.integers(0, 2**40), issued=st.lists(st.integers(0, 2**40)))
def test_R9_now_is_never_before_the_floor(clock: int, build_date: int, issued: list[int]) -> None:
    now = effective_now(clock, build_date=build_date, catalogues_issued=issued)
    assert now == max([clock, build_date, *issued])


def test_R9_the_catalogue_moves_the_expiry_of_an_improvement() -> None:
    entry = replace(CATALOGUE.improvements[0], expires=DAY_ZERO + 60)
    moved = replace(CATALOGUE, improvements=(entry,))
    assert answers(offer(catalogue=moved), facts(now=DAY_ZERO + 59)) == []
    assert answers(offer(catalogue=moved), facts(now=DAY_ZERO + 60)) == [("expiry", "E_EXPIRED")]


def test_R10_removed_by_a_person_stays_removed_until_a_person_asks() -> None:
    removed = facts(removed=frozenset({MANIFEST.id}))
    assert answers(OFFER, removed) == [("held", "E_HELD")]
    assert answers(replace(OFFER, by_person=True), removed) == []


def test_R12_a_hold_yields_only_to_retry() -> None:
    held = facts(holds=frozenset({MANIFEST.id}))
    assert answers(replace(OFFER, by_person=True), held) == [("held", "E_HELD")]
    assert answers(replace(OFFER, by_person=True, retry=True), held) == []
    assert answers(offer(bundle_id="macos-26.3.1-b", permit_id="macos-26.3.1-b", catalogue=None), held) == []


def test_R14_space_and_battery() -> None:
    needing = offer(need=Need(1000, 10))
    assert answers(needing, facts(free=Free(1000, 10), battery=20)) == []
    assert answers(needing, facts(free=Free(999, 10))) == [("space", "E_SPACE")]
    assert answers(needing, facts(free=Free(1000, 9))) == [("space", "E_SPACE")]
    assert answers(needing, facts(free=None, battery=None)) == []
    assert answers(needing, facts(battery=19)) == [("battery", "E_BATTERY")]


def test_R17_a_passed_deadline_overrides_removal_and_notify_but_no_hold() -> None:
    id = frozenset({MANIFEST.id})
    before = Policy(updates="notify", deadline=FACTS.now + 1)
    passed = Policy(updates="notify", deadline=FACTS.now)
    assert answers(OFFER, facts(policy=before, removed=id)) == [
        ("held", "E_HELD"),
        ("policy and phase", "E_POLICY"),
    ]
    assert answers(OFFER, facts(policy=passed, removed=id)) == []
    assert answers(OFFER, facts(policy=passed, holds=id)) == [("held", "E_HELD")]


@pytest.mark.parametrize("updates", ["notify", "off"])
def test_R17_a_person_installs_where_nothing_is_automatic(updates: str) -> None:
    wishes = facts(policy=Policy(updates=updates))
    assert answers(OFFER, wishes) == [("policy and phase", "E_POLICY")]
    assert answers(replace(OFFER, by_person=True), wishes) == []


def test_channels() -> None:
    seed = offer(permit_channel="seed")
    assert answers(seed, FACTS) == [("policy and phase", "E_POLICY")]
    assert answers(seed, facts(channel="seed")) == []
    assert answers(OFFER, facts(channel="seed")) == []


def test_a_pause_stops_people_too() -> None:
    paused = offer(permit_paused=True)
    assert answers(paused, FACTS) == [("policy and phase", "E_POLICY")]
    assert answers(replace(paused, by_person=True), FACTS) == [("policy and phase", "E_POLICY")]


def test_the_phase_counts_for_automatic_starts_only() -> None:
    assert answers(offer(permit_phase=PLACE + 1), FACTS) == []
    assert answers(offer(permit_phase=PLACE), FACTS) == [("policy and phase", "E_POLICY")]
    assert answers(offer(permit_phase=PLACE, by_person=True), FACTS) == []


def test_the_worked_example_of_the_phase() -> None:
    assert phase_place("macos-26.3.1-a", "00112233445566778899aabbccddeeff") == 2223


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10_000), st.integers(0, 10_000))
def test_nobody_leaves_as_the_phase_grows(id: str, device: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert in_phase(id, device, high) or not in_phase(id, device, low)
    assert in_phase(id, device, 10_000)
    assert not in_phase(id, device, 0)


def test_phases_are_shares_of_devices_and_their_order_differs_per_improvement() -> None:
    devices = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(4000)]
    first = {device for device in devices if in_phase("one", device, 2500)}
    second = {device for device in devices if in_phase("two", device, 2500)}
    assert 850 < len(first) < 1150
    assert 850 < len(second) < 1150
    assert 150 < len(first & second) < 350


def test_a_pinned_improvement_lets_nothing_else_in() -> None:
    applied = Applied("macos-26.3.1-0", "a", 1, digest("first"))
    pinned = facts(active=applied, withdrawn={applied.id: "pin"})
    assert answers(OFFER, pinned) == [("withdrawn", "E_WITHDRAWN")]
    assert answers(OFFER, facts(active=applied, withdrawn={applied.id: "keep"})) == []


def test_damage_and_another_base_are_told_apart() -> None:
    edited = facts(found={"app": digest("edited")})
    assert answers(OFFER, edited) == [("base digests", "E_DAMAGED")]
    other = facts(components={"app": digest("other")}, found={"app": digest("other")})
    assert answers(OFFER, other) == [("base digests", "E_BASE")]


def test_only_components_that_the_base_declares() -> None:
    both = offer(bundle_components={"app": CHANGE, "os": CHANGE})
    found = check_offer(both, FACTS)
    assert [(one.reason, one.facts["component"]) for one in found] == [("E_BASE", "os")]


def test_a_catalogue_of_other_content_for_the_id_is_refused() -> None:
    entry = replace(CATALOGUE.improvements[0], bundle=digest("other"))
    other = replace(CATALOGUE, improvements=(entry,))
    assert answers(offer(catalogue=other), FACTS) == [("content", "E_DIGEST")]


def test_a_device_manifest_lives_to_its_last_second() -> None:
    assert answers(offer(catalogue=None), facts(now=DAY_ZERO + 7 * DAY - 1)) == []
    assert answers(offer(catalogue=None), facts(now=DAY_ZERO + 7 * DAY)) == [("expiry", "E_EXPIRED")]
