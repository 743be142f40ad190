"""Offers that a device must refuse: the reason is right, and not one byte of the device changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import (
    DAY,
    DAY_ZERO,
    MemorySource,
    World,
    base,
    bundle,
    catalogue,
    everything,
    live,
    new_device,
    permit,
    signers,
    source,
    trust,
)

from deltaseal.device import Device
from deltaseal.edge import HookResult
from deltaseal.errors import DeltasealError, NothingToDo
from deltaseal.manifest import Base, Personal, Request, Withdrawal
from deltaseal.trust import ALGORITHMS, PrivateKey, Trust, UnverifiedDocument, sign

Act = Callable[[], object]


def refused(device: Device, act: Act, reason: str) -> DeltasealError:
    """Run ``act``, which must be refused for ``reason`` and leave the device byte for byte as it was."""
    before = everything(device.path)
    with pytest.raises(DeltasealError) as caught:
        act()
    assert caught.value.reason == reason, caught.value.sentence
    assert caught.value.facts, "the fact that decided it"
    assert everything(device.path) == before
    return caught.value


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


def test_T01_arbitrary_bundle(device: Device) -> None:
    stranger = [PrivateKey.generate(algorithm) for algorithm in ALGORITHMS]
    forged = replace(bundle("a"), document=replace(bundle("a").document, signatures=())).signed(stranger)
    refused(device, lambda: device.update([source(forged)]), "E_SIG")


class Endless:
    """A bundle that never ends: its head, then as many zeros as anybody asks for."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.read = 0

    def size(self) -> int:
        return 2**62

    def read_at(self, offset: int, size: int) -> bytes:
        self.read += size
        return self._head[offset : offset + size].ljust(size, b"\0")


def test_T04_endless_data(device: Device) -> None:
    a = bundle("a")
    type_end = a.to_bytes().index(b'{"')
    head = bytearray(a.to_bytes()[:type_end])
    head[8:16] = (2**62).to_bytes(8, "little")  # the total length, and behind the type the length of the body
    head[type_end - 4 : type_end] = ((1 << 20) + 1).to_bytes(4, "little")
    endless = Endless(bytes(head))
    refused(
        device,
        lambda: device.update([MemorySource(bundles={a.digest: endless}, manifests=[permit(a)])]),
        "E_LIMIT",
    )
    assert endless.read < 4 << 20


def test_T06_T39_pushed_far_ahead_by_stolen_keys_is_undone_by_rotation(device: Device) -> None:
    far = DAY_ZERO + 20_000 * DAY
    pushed = catalogue(
        bundle("a"),
        serial=2**53 - 1,
        minimum=2**53 - 1,
        issued=far,
        expires=far + DAY,
        improvements_expire=far,
    )
    with pytest.raises(DeltasealError):
        device.update([source(bundle("a"), listed=pushed)])
    honest = [source(bundle("a"), listed=catalogue(bundle("a")))]
    refused(device, lambda: device.update(honest), "E_EXPIRED")

    fresh = [PrivateKey.generate(algorithm) for algorithm in ALGORITHMS]
    old = trust()
    release = replace(old.roles["release:macos"], keys=tuple(key.public for key in fresh))
    others = [role for name, role in old.roles.items() if name != release.name]
    rotated = Trust.of(release, *others, expires=old.expires, epoch=old.epoch + 1)
    (device.path / "trust.json").write_bytes(rotated.dumps())
    refused(device, lambda: device.update([source(bundle("a"), listed=pushed)]), "E_SIG")

    again = bundle("a").signed(fresh)
    listed = catalogue(bundle("a")).add_signatures(fresh)
    status = device.update([source(again, listed=listed)])
    assert (status.letter, status.floor) == ("a", bundle("a").manifest.sequence)
    older = catalogue(bundle("a"), serial=2).add_signatures(fresh)
    with pytest.raises(NothingToDo):
        device.update([source(again, listed=older)])
    refused(device, lambda: device.update([source(again, listed=listed)]), "E_SEQ")


def test_T07_parts_of_two_releases(device: Device) -> None:
    a, b = bundle("a"), bundle("b")
    mixed = replace(a, payloads=b.payloads).to_bytes()
    assert len(mixed) == len(a.to_bytes()), "the payloads have the same sizes: only their digests tell"
    before = live(device.path)
    with pytest.raises(DeltasealError) as caught:
        device.update([MemorySource(bundles={a.digest: mixed}, manifests=[permit(a)])])
    assert caught.value.reason == "E_DIGEST"
    assert (device.status().state, live(device.path)) == ("BASELINE", before)


def test_T07_a_catalogue_and_a_release_that_do_not_belong_together(device: Device) -> None:
    other = bundle("a", sequence=9)
    with pytest.raises(DeltasealError) as caught:
        device.update([source(other, listed=catalogue(bundle("a")))])
    assert caught.value.reason == "E_DIGEST"
    assert device.status().state == "BASELINE"


def test_T08_wrong_base_build(device: Device) -> None:
    other = source(bundle("a", build_of_base="25D2140"))
    error = refused(device, lambda: device.install("macos-26.3.1-a", [other]), "E_BASE")
    assert (error.facts["expected"], error.facts["found"]) == ("25D2140", "25D2128")


def test_T09_right_build_other_bytes(tmp_path: Path, world: World) -> None:
    device = new_device(tmp_path / "other", world, app=2)  # its trees are not those that its base declares
    assert "other bytes" in [problem.kind for problem in device.status().problems]
    error = refused(device, lambda: device.update([source(bundle("a"))]), "E_BASE")
    assert error.facts["expected"] == base().components["app"]
    assert error.facts["found"] != error.facts["expected"]


def test_T10_other_os_same_build(device: Device) -> None:
    other = source(bundle("a", os="ios"))
    error = refused(device, lambda: device.install("ios-26.3.1-a", [other]), "E_BASE")
    assert (error.facts["expected"], error.facts["found"]) == ("ios", "macos")


def test_T11_unlisted_model(tmp_path: Path, world: World) -> None:
    device = new_device(tmp_path / "neo", world, model="Mac17,5")
    error = refused(device, lambda: device.update([source(bundle("a"))]), "E_MODEL")
    assert error.facts["found"] == "Mac17,5"


def test_T12_manifest_of_another_device(device: Device, tmp_path: Path, world: World) -> None:
    theirs = new_device(tmp_path / "other", world).request()
    offer = source(bundle("a"), manifests=[permit(bundle("a"), request=theirs)])
    refused(device, lambda: device.update([offer]), "E_DEVICE")


def test_T13_own_personalised_manifest_replayed(device: Device) -> None:
    offer = source(bundle("a"), manifests=[permit(bundle("a"), request=device.request())])
    device.update([offer])
    device.remove()
    refused(device, lambda: device.install("macos-26.3.1-a", [offer]), "E_SEQ")


def test_T14_unknown_nonce(device: Device) -> None:
    invented = Request(Personal(device.identity().id, "ab" * 16), "macos", "Mac15,6", "25D2128")
    offer = source(bundle("a"), manifests=[permit(bundle("a"), request=invented)])
    refused(device, lambda: device.update([offer]), "E_DEVICE")


def test_T15_document_used_as_another_type(device: Device) -> None:
    of_another_type = sign(Base.TYPE, base().dumps(), signers("personaliser"))
    offer = source(bundle("a"), manifests=[of_another_type])
    refused(device, lambda: device.update([offer]), "E_TYPE")


def test_T16_T17_one_algorithm_only(device: Device) -> None:
    whole = permit(bundle("a"))
    for kept in whole.signatures:
        stripped = UnverifiedDocument(whole.type, whole.body, (kept,))
        refused(device, lambda one=stripped: device.update([source(bundle("a"), manifests=[one])]), "E_SIG")  # type: ignore[misc]


def test_T20_expired(device: Device, world: World) -> None:
    world.clock = DAY_ZERO + 8 * DAY
    refused(device, lambda: device.update([source(bundle("a"))]), "E_EXPIRED")


def test_T20_expired_by_the_catalogue(device: Device, world: World) -> None:
    ended = catalogue(bundle("a"), improvements_expire=DAY_ZERO + 2 * DAY)
    offer = source(bundle("a"), listed=ended)
    world.clock = DAY_ZERO + 3 * DAY
    with pytest.raises(DeltasealError) as caught:
        device.update([offer])  # takes the catalogue in, which is news
    assert caught.value.reason == "E_EXPIRED"
    refused(device, lambda: device.update([offer]), "E_EXPIRED")


def test_T02_T03_old_and_expired_catalogue(device: Device, world: World) -> None:
    a = bundle("a")
    device.update([source(a, listed=catalogue(a, serial=5))])
    refused(device, lambda: device.update([source(listed=catalogue(a, serial=4))]), "E_SEQ")
    other = catalogue(a, serial=5, minimum=1)
    refused(device, lambda: device.update([source(listed=other)]), "E_SEQ")
    world.clock = DAY_ZERO + 31 * DAY
    refused(device, lambda: device.update([source(listed=catalogue(a, serial=6))]), "E_EXPIRED")


def test_T21_clock_set_back(device: Device, world: World) -> None:
    a = bundle("a")
    late = catalogue(a, serial=2, issued=DAY_ZERO + 20 * DAY)
    world.clock = DAY_ZERO + 20 * DAY
    with pytest.raises(DeltasealError):
        device.update([source(listed=late)])  # nothing to do, but the catalogue is accepted
    world.clock = DAY_ZERO + 3_600
    refused(device, lambda: device.update([source(a)]), "E_EXPIRED")


def test_T21_clock_before_the_release_of_the_program(tmp_path: Path) -> None:
    world = World(clock=0, build_date=DAY_ZERO + 8 * DAY)
    device = new_device(tmp_path / "d", world)
    refused(device, lambda: device.update([source(bundle("a"))]), "E_EXPIRED")


def test_T27_lower_letter_of_the_base(device: Device) -> None:
    device.update([source(bundle("b"))])
    refused(device, lambda: device.update([source(bundle("a"))]), "E_SEQ")
    device.remove()
    refused(device, lambda: device.install("macos-26.3.1-a", [source(bundle("a"))]), "E_SEQ")


def test_T27_below_the_minimum_also_without_the_catalogue(device: Device) -> None:
    with pytest.raises(DeltasealError):
        device.update([source(listed=catalogue(bundle("a"), bundle("b"), minimum=2))])
    refused(device, lambda: device.update([source(bundle("a"))]), "E_SEQ")


def test_T28_withdrawn_also_without_the_catalogue(device: Device) -> None:
    a = bundle("a")
    order = Withdrawal("macos-26.3.1-a", "keep", ("CVE-2026-20643",))
    with pytest.raises(DeltasealError):
        device.update([source(listed=catalogue(a, withdrawals=(order,)))])
    refused(device, lambda: device.update([source(a)]), "E_WITHDRAWN")
    refused(device, lambda: device.install("macos-26.3.1-a", [source(a)]), "E_WITHDRAWN")


def test_T29_held(device: Device, world: World) -> None:
    hook = device.path / "health.d/probe"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    world.hooks["probe"] = HookResult(1, "no page loads")
    with pytest.raises(DeltasealError) as caught:
        device.update([source(bundle("a"))])
    assert caught.value.reason == "ROLLED_BACK"
    refused(device, lambda: device.update([source(bundle("a"))]), "E_HELD")
    refused(device, lambda: device.install("macos-26.3.1-a", [source(bundle("a"))]), "E_HELD")
    world.hooks.clear()
    assert device.install("macos-26.3.1-a", [source(bundle("a"))], retry=True).letter == "a"


def test_T30_permit_for_content_that_nobody_signed(device: Device) -> None:
    unsigned = bundle("a").document.with_signatures(())
    data = bundle("a").to_bytes()
    stripped = data[:8] + (
        len(data) - len(bundle("a").document.to_bytes()) + len(unsigned.to_bytes())
    ).to_bytes(8, "little")
    stripped += unsigned.to_bytes() + data[16 + len(bundle("a").document.to_bytes()) :]
    offer = MemorySource(bundles={bundle("a").digest: stripped}, manifests=[permit(bundle("a"))])
    refused(device, lambda: device.update([offer]), "E_SIG")


def test_T30_permit_that_names_more_models(device: Device) -> None:
    wider = permit(bundle("a"), models=("Mac15,6", "Mac17,5"))
    refused(device, lambda: device.update([source(bundle("a"), manifests=[wider])]), "E_SIG")


def test_T38_mirror_sends_another_valid_bundle(device: Device) -> None:
    offer = MemorySource(
        bundles={bundle("b").digest: bundle("a").to_bytes()}, manifests=[permit(bundle("b"))]
    )
    refused(device, lambda: device.update([offer]), "E_DIGEST")


def test_refusals_for_policy_phase_space_and_battery(tmp_path: Path) -> None:
    world = World(battery=19)
    device = new_device(tmp_path / "d", world)
    offer = source(bundle("a"))
    refused(device, lambda: device.update([offer]), "E_BATTERY")
    world.battery = 20
    refused(
        device,
        lambda: device.update([source(bundle("a"), manifests=[permit(bundle("a"), phase=0)])]),
        "E_POLICY",
    )
    refused(
        device,
        lambda: device.install(
            "macos-26.3.1-a", [source(bundle("a"), manifests=[permit(bundle("a"), paused=True)])]
        ),
        "E_POLICY",
    )
    (device.path / "policy.toml").write_text('updates = "off"\n')
    refused(device, lambda: device.update([offer]), "E_POLICY")
    (device.path / "policy.toml").chmod(0o622)
    refused(device, lambda: device.update([offer]), "E_POLICY")
    (device.path / "policy.toml").chmod(0o600)
    assert device.install("macos-26.3.1-a", [offer]).letter == "a"
    assert live(device.path)


def test_the_first_failure_decides_and_the_others_are_listed(tmp_path: Path) -> None:
    world = World(clock=DAY_ZERO + 8 * DAY)
    device = new_device(tmp_path / "neo", world, model="Mac17,5", app=2)
    error = refused(device, lambda: device.install("macos-26.3.1-a", [source(bundle("a"))]), "E_EXPIRED")
    assert [other["reason"] for other in error.facts["others"]] == ["E_MODEL", "E_MODEL", "E_BASE"]
