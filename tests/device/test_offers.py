"""Fetching by ranges, falling through routes and sources, orders of the vendor, wishes of the owner."""

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
    bundle,
    catalogue,
    component,
    live,
    new_device,
    permit,
    source,
)

from deltaseal.bundle import Bundle
from deltaseal.device import Device
from deltaseal.errors import DeltasealError, NetworkError, NothingToDo, PolicyError
from deltaseal.manifest import Withdrawal
from deltaseal.storage import BytesSource


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


class Line:
    """A bundle behind a line: counts what is read from the payloads, and breaks after so many bytes."""

    def __init__(self, of: Bundle, *, breaks_after: int | None = None) -> None:
        self._data = BytesSource(of.to_bytes())
        self._payloads_at = of.size() - sum(one.size() for one in of.payloads)
        self.left = breaks_after
        self.read = 0

    def size(self) -> int:
        return self._data.size()

    def read_at(self, offset: int, size: int) -> bytes:
        if offset >= self._payloads_at:
            if self.left is not None and self.left < size:
                if self.left == 0:
                    raise NetworkError("the line broke")
                raise NetworkError("the line broke")
            self.read += size
            if self.left is not None:
                self.left -= size
        return self._data.read_at(offset, size)


def behind(line: Line, of: Bundle) -> MemorySource:
    return MemorySource(bundles={of.digest: line}, manifests=[permit(of)])


def payload_size(of: Bundle) -> int:
    return min(route.size for route in of.manifest.components["app"].routes)


def test_a_fetch_goes_on_where_it_ended(
    device: Device, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaseal.device.fetch.RANGE", 16)
    a = bundle("a")
    broken = Line(a, breaks_after=48)
    with pytest.raises(NetworkError) as caught:
        device.update([behind(broken, a)])
    assert caught.value.exit_code == 27
    status = device.status()
    assert status.state == "BASELINE"
    assert [(each.kind, each.reason, each.time) for each in status.problems] == [
        ("retry", "E_NET", world.clock + 3_600)
    ]
    whole = Line(a)
    assert device.update([behind(whole, a)]).letter == "a"
    assert whole.read == payload_size(a) - 48
    assert device.status().problems == ()


def test_the_wait_doubles_up_to_a_day(device: Device, world: World) -> None:
    waits = []
    for _ in range(7):
        with pytest.raises(NetworkError):
            device.update([behind(Line(bundle("a"), breaks_after=0), bundle("a"))])
        waits.append(device.status().problems[0].time - world.clock)
    assert waits == [3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 86_400]


def damaged(of: Bundle, sha256: str) -> bytes:
    """The bundle with one byte of one payload changed."""
    data = bytearray(of.to_bytes())
    at = of.size() - sum(one.size() for one in of.payloads)
    for digest, size in of.manifest.payloads():
        if digest == sha256:
            data[at + size // 2] ^= 1
        at += size
    return bytes(data)


def cheapest(of: Bundle) -> str:
    return min(of.manifest.components["app"].routes, key=lambda route: route.size).sha256


def test_bad_bytes_are_discarded_and_the_next_source_is_asked(device: Device) -> None:
    a = bundle("a")
    bad = MemorySource(bundles={a.digest: damaged(a, cheapest(a))}, manifests=[permit(a)], name="mirror")
    assert device.update([bad, source(a)]).letter == "a"
    events = [(entry.event, entry.state) for entry in device.history()]
    assert ("bad-bytes", "FETCHING") in events


def test_bad_bytes_everywhere_leave_the_device_as_it_was(device: Device) -> None:
    a = bundle("a")
    bad = MemorySource(bundles={a.digest: damaged(a, cheapest(a))}, manifests=[permit(a)])
    with pytest.raises(DeltasealError) as caught:
        device.update([bad])
    assert caught.value.reason == "E_DIGEST"
    assert device.status().state == "BASELINE"
    assert live(device.path) == component("app", 0)
    assert list((device.path / "fetch").iterdir()) == []
    assert device.update([source(a)]).letter == "a"


def test_a_route_that_cannot_be_built_gives_way_to_the_next(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltaseal.device import stage
    from deltaseal.errors import DeltaError

    a = bundle("a")
    tried: list[int] = []
    apply = stage.apply

    def failing(*args: object, **named: object) -> object:
        tried.append(1)
        if len(tried) == 1:
            raise DeltaError("planted")
        return apply(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "apply", failing)
    status = device.update([source(a)])
    assert status.letter == "a"
    told = next(entry for entry in device.history() if entry.event == "unbuilt")
    assert told.sentence == "app could not be built by delta-baseline: planted; trying the next way"
    assert status.applied is not None
    assert status.applied.fetched == max(route.size for route in a.manifest.components["app"].routes)


def test_no_route_left_is_a_hold(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltaseal.device import stage
    from deltaseal.errors import DeltaError

    def failing(*args: object, **named: object) -> object:
        raise DeltaError("planted")

    monkeypatch.setattr(stage, "apply", failing)
    with pytest.raises(DeltaError):
        device.update([source(bundle("a"))])
    assert [each.kind for each in device.status().problems] == ["held"]
    assert not (device.path / "slot-1").exists()


# Orders of the vendor ------------------------------------------------------------


def withdrawal(action: str, letter: str = "a") -> Withdrawal:
    return Withdrawal(f"macos-26.3.1-{letter}", action, ("CVE-2026-20643",))


def quietly(act: Callable[[], object]) -> None:
    with pytest.raises(NothingToDo):
        act()


def test_withdrawn_with_remove_is_carried_out_and_says_what_is_open_again(device: Device) -> None:
    a = bundle("a")
    device.update([source(a)])
    quietly(lambda: device.update([source(listed=catalogue(a, withdrawals=(withdrawal("remove"),)))]))
    status = device.status()
    assert status.state == "BASELINE"
    assert live(device.path) == component("app", 0)
    assert "open again: CVE-2026-20643" in status.problems[0].sentence


@pytest.mark.parametrize("action", ["keep", "pin"])
def test_withdrawn_with_keep_or_pin_stays(device: Device, action: str) -> None:
    a, b = bundle("a"), bundle("b")
    device.update([source(a)])
    listed = catalogue(a, b, withdrawals=(withdrawal(action),))
    if action == "pin":
        with pytest.raises(DeltasealError) as caught:
            device.update([source(b, listed=listed)])
        assert caught.value.reason == "E_WITHDRAWN"
        assert device.status().letter == "a"
    else:
        assert device.update([source(b, listed=listed)]).letter == "b"


def test_a_withdrawal_lowers_the_floor_that_the_withdrawn_one_set(device: Device) -> None:
    a, b = bundle("a"), bundle("b")
    device.update([source(b)])
    assert device.status().floor == 2
    quietly(lambda: device.update([source(listed=catalogue(a, b, withdrawals=(withdrawal("remove", "b"),)))]))
    assert device.status().floor == 0
    assert device.update([source(a)]).letter == "a"


def test_a_withdrawal_ends_what_waits_to_be_used(device: Device) -> None:
    a = bundle("a", activation="restart")
    device.update([source(a)])
    quietly(lambda: device.update([source(listed=catalogue(a, withdrawals=(withdrawal("remove"),)))]))
    assert device.status().state == "BASELINE"


# Wishes of the owner -------------------------------------------------------------


def test_what_a_person_removed_comes_back_only_by_a_person_or_a_higher_letter(device: Device) -> None:
    offer = [source(bundle("a"))]
    device.update(offer)
    device.remove()
    with pytest.raises(DeltasealError) as caught:
        device.update(offer)
    assert caught.value.reason == "E_HELD"
    assert device.update([source(bundle("a"), bundle("b"))]).letter == "b"


def test_a_passed_deadline_overrides_a_removal(device: Device, world: World) -> None:
    offer = [source(bundle("a"))]
    device.update(offer)
    device.remove()
    (device.path / "policy.toml").write_text("deadline = 2026-03-18\n")
    world.clock = DAY_ZERO + DAY
    assert device.update(offer).letter == "a"


def test_removal_can_be_the_administrators(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    (device.path / "policy.toml").write_text('remove = "admin"\n')
    with pytest.raises(PolicyError):
        device.remove()
    world.uid = 0
    assert Device(device.path, edge=world.edge()).remove().state == "BASELINE"


def test_nothing_to_remove_is_nothing_to_do(device: Device) -> None:
    with pytest.raises(NothingToDo):
        device.remove()


def test_personalised_only(device: Device) -> None:
    (device.path / "policy.toml").write_text("personalised_only = true\n")
    a = bundle("a")
    with pytest.raises(PolicyError):
        device.update([source(a)])
    mine = permit(a, request=device.request())
    assert device.update([source(a, manifests=[mine])]).letter == "a"


def test_an_id_that_no_source_offers_is_wrong_usage(device: Device) -> None:
    with pytest.raises(DeltasealError) as caught:
        device.install("macos-26.3.1-z", [source(bundle("a"))])
    assert caught.value.reason == "E_USAGE"


def test_one_bad_document_does_not_keep_good_ones_out(device: Device) -> None:
    a = bundle("a")
    strange = replace(permit(a), signatures=())
    assert device.update([source(a, manifests=[strange, permit(bundle("b")), permit(a)])]).letter == "a"


@pytest.mark.parametrize("text", ["updates = 7\n", "colour = 'blue'\n", "=\n"])
def test_a_policy_that_cannot_be_read_silences_nobody(device: Device, text: str) -> None:
    (device.path / "policy.toml").write_text(text)
    status = device.status()
    assert [(problem.kind, problem.reason) for problem in status.problems] == [("policy", "E_USAGE")]
    assert (status.updates, status.next_step.who, status.outstanding) == ("unknown", "its owner", True)
    for act in (lambda: device.update([source(bundle("a"))]), device.remove, device.request):
        with pytest.raises(DeltasealError) as caught:
            act()
        assert caught.value.reason == "E_USAGE"


def test_what_is_applied_is_known_without_its_bundle(device: Device) -> None:
    device.update([source(bundle("a"))])
    with pytest.raises(NothingToDo, match="applied already"):
        device.update([MemorySource(manifests=[permit(bundle("a"))])])


def test_the_next_step_says_what_the_next_run_does(device: Device, tmp_path: Path, world: World) -> None:
    taken = device.status().next_step
    assert taken.who == "device" and "takes what is offered" in taken.what
    device.update([source(bundle("a"))])
    removed = device.remove().next_step
    assert removed.who == "you" and "higher letter" in removed.what
    (device.path / "policy.toml").write_text('updates = "notify"\n')
    assert "install" in device.status().next_step.what
    (device.path / "policy.toml").write_text('updates = "notify"\ndeadline = 2026-03-17\n')
    assert device.status().next_step == taken  # a passed deadline overrides wish and removal
    other = new_device(tmp_path / "other", world, app=2)
    assert other.status().next_step.who == "device"  # one of its two components can still be improved
