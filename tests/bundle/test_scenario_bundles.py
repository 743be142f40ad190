"""The example scenario, built on small trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.publisher import (
    DAY,
    DAY_ZERO,
    DEVICE,
    NONCE,
    PERSONAL,
    built_scenario,
    scenario,
    scenario_trees,
    signers,
)

from deltaseal.bundle import BuiltScenario, build_scenario, verify_file
from deltaseal.errors import UsageError
from deltaseal.manifest import (
    DeviceFacts,
    DeviceManifest,
    Offer,
    Personal,
    Request,
    check_offer,
    verify_base,
    verify_bundle_manifest,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.trust import UnverifiedDocument

NOW = DAY_ZERO + 3600
TRUST = signers().trust
MACS = {"macos-26.3.1-a": "Mac15,6", "macos-26.3.2-a": "Mac17,5"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltScenario:
    return built_scenario(tmp_path_factory.mktemp("scenario"))


def facts(built: BuiltScenario, os: str, build: str, model: str, **changes: object) -> DeviceFacts:
    base = verify_base(built.bases[os, build], TRUST, now=NOW).value
    values = {
        "now": NOW,
        "os": os,
        "version": base.version,
        "build": build,
        "model": model,
        "device": DEVICE,
        "channel": "stable",
        "components": base.components,
    }
    return DeviceFacts(**(values | changes))  # type: ignore[arg-type]


def offer(built: BuiltScenario, id: str, permit: UnverifiedDocument) -> Offer:
    bundle = verify_bundle_manifest(built.bundles[id].document, TRUST, now=NOW)
    return Offer(
        bundle.value,
        bundle.digest,
        verify_device_manifest(permit, TRUST, now=NOW).value,
        verify_catalogue(built.catalogues[bundle.value.os], TRUST, now=NOW).value,
    )


def reasons(built: BuiltScenario, id: str, model: str, who: DeviceFacts) -> list[tuple[str, str]]:
    found = check_offer(offer(built, id, built.permits[id, model]), who)
    return [(one.step, one.reason) for one in found]


def test_every_device_of_the_story_takes_its_improvement(built: BuiltScenario) -> None:
    for one in scenario().improvements:
        for model in one.models:
            assert reasons(built, one.id, model, facts(built, one.os, one.base_build, model)) == []


def test_the_neo_offered_the_improvement_of_the_other_macs(built: BuiltScenario) -> None:
    neo = facts(built, "macos", "25D2140", "Mac17,5")
    found = reasons(built, "macos-26.3.1-a", "Mac15,6", neo)
    assert found[0] == ("base build", "E_BASE")
    assert ("base digests", "E_BASE") in found


def test_a_neo_of_other_bytes(built: BuiltScenario) -> None:
    mac = verify_base(built.bases["macos", "25D2128"], TRUST, now=NOW).value
    neo = facts(built, "macos", "25D2140", "Mac17,5", components=mac.components)
    assert reasons(built, "macos-26.3.2-a", "Mac17,5", neo) == [("base digests", "E_BASE")]


def test_a_restored_mac_is_not_listed(built: BuiltScenario) -> None:
    restored = facts(built, "macos", "25D2140", "Mac15,6")
    found = reasons(built, "macos-26.3.2-a", "Mac17,5", restored)
    assert {reason for _, reason in found} == {"E_MODEL"}


def test_ios_and_ipados_share_a_build_and_nothing_else(built: BuiltScenario) -> None:
    phone = facts(built, "ios", "23D8133", "iPhone17,1")
    found = reasons(built, "ipados-26.3.1-a", "iPad16,3", phone)
    assert found[0] == ("os", "E_BASE")
    assert "base build" not in dict(found)


def test_dates_are_days_from_day_zero(tmp_path: Path, built: BuiltScenario) -> None:
    another = build_scenario(
        scenario(), trees_at=scenario_trees(tmp_path), day_zero=DAY_ZERO + 100 * DAY, signers=signers()
    )
    for id, bundle in another.bundles.items():
        assert bundle.manifest.issued == built.bundles[id].manifest.issued + 100 * DAY
        assert bundle.manifest.components == built.bundles[id].manifest.components
    catalogue = verify_catalogue(built.catalogues["macos"], TRUST, now=NOW).value
    assert catalogue.improvements[0].expires == DAY_ZERO + 250 * DAY
    assert [base.build for base in catalogue.bases] == ["25D2128", "25D2140"]


def test_a_personalised_manifest_answers_one_request(built: BuiltScenario) -> None:
    request = Request(PERSONAL, "macos", "Mac15,6", "25D2128")
    permit = built.personalise("macos-26.3.1-a", request)
    mine = facts(built, "macos", "25D2128", "Mac15,6", open_nonces=frozenset({NONCE}))
    assert check_offer(offer(built, "macos-26.3.1-a", permit), mine) == ()
    other = built.personalise("macos-26.3.1-a", Request(Personal("0" * 32, NONCE), "macos", "x", "y"))
    assert check_offer(offer(built, "macos-26.3.1-a", other), mine)[0].reason == "E_DEVICE"
    with pytest.raises(UsageError):
        built.personalise("macos-9-z", request)


def test_everything_is_handed_out_as_files(built: BuiltScenario, tmp_path: Path) -> None:
    written = built.publish(tmp_path)
    assert sorted(path.name for path in written) == sorted(path.name for path in tmp_path.iterdir())
    by_kind = {
        kind: sum(path.suffix == kind for path in written) for kind in {path.suffix for path in written}
    }
    assert by_kind == {".json": 1, ".base": 4, ".bundle": 4, ".catalogue": 3, ".manifest": 6}
    for id in MACS:
        assert verify_file(tmp_path / f"{id}.bundle", TRUST, now=NOW).manifest.id == id
    name = "macos-26.3.2-a.Mac17,5.manifest"
    read = UnverifiedDocument.loads((tmp_path / name).read_bytes())
    assert DeviceManifest.loads(read.body).models == ("Mac17,5",)


def test_a_tree_without_a_directory_is_named(tmp_path: Path) -> None:
    found = scenario_trees(tmp_path)
    del found["neo"]
    with pytest.raises(UsageError, match="neo"):
        build_scenario(scenario(), trees_at=found, day_zero=DAY_ZERO, signers=signers())
