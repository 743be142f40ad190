"""Another base, or the same one anew: the one way out of BROKEN, and what it makes a device forget."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.devices import (
    BUILD,
    NEW_BUILD,
    World,
    base,
    bundle,
    catalogue,
    component,
    everything,
    live,
    new_base,
    new_device,
    running,
    signed_base,
    simulated_disk,
    source,
    trees,
)

from deltaseal.device import Device
from deltaseal.edge import HookResult
from deltaseal.errors import (
    BaseMismatchError,
    BrokenError,
    DamagedError,
    NothingToDo,
    PolicyError,
    SignatureError,
    SpaceError,
    UsageError,
)
from deltaseal.manifest import Withdrawal
from deltaseal.report import Pending
from deltaseal.storage import SimulatedDisk


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


def full(device: Device) -> None:
    device.rebase(signed_base(new_base()), trees(app=2))


def test_a_full_update_ends_what_is_applied(device: Device) -> None:
    device.update([source(bundle("a"))])
    status = device.rebase(signed_base(new_base()), trees(app=2))
    assert (status.state, status.letter, status.base_build, status.build) == (
        "BASELINE",
        None,
        NEW_BUILD,
        NEW_BUILD,
    )
    assert status.applied is None
    assert live(device.path) == component("app", 2)
    assert sorted(path.name for path in device.path.glob("slot-*")) == []
    assert (device.path / "active").readlink() == Path("baseline")
    assert device.verify() == ()
    assert device.history()[-2].sentence == (
        f"the device is put on macos 26.3.1 build {NEW_BUILD}, asked for by uid 1000"
    )


def test_an_improvement_of_the_new_base_follows(device: Device) -> None:
    device.update([source(bundle("a"))])
    full(device)
    offer = bundle("a", build_of_base=NEW_BUILD, app=2)
    assert device.update([source(offer)]).letter == "a"
    assert live(device.path) == component("app", 3)


def test_another_base_forgets_holds_removals_and_floors(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    device.remove()
    (device.path / "health.d/probe").write_text("#!/bin/sh\n")
    (device.path / "health.d/probe").chmod(0o755)
    world.hooks["probe"] = HookResult(1, "")
    with pytest.raises(Exception, match="rolled back"):
        device.update([source(bundle("b"))])
    kinds = {problem.kind for problem in device.status().problems}
    assert (kinds, device.status().floor) == ({"held", "removed"}, 1)
    full(device)
    assert (device.status().problems, device.status().floor) == ((), 0)


def test_what_the_vendor_said_of_the_system_stays(device: Device) -> None:
    order = Withdrawal("macos-26.3.1-a", "remove", ())
    device.update(
        [source(bundle("b"), listed=catalogue(bundle("a"), bundle("b"), minimum=2, withdrawals=(order,)))]
    )
    full(device)
    status = device.status()
    assert status.floor == 2
    assert [(problem.kind, problem.about) for problem in status.problems] == [("withdrawn", order.id)]


def test_a_damaged_baseline_is_made_good_and_nothing_is_forgotten(device: Device, world: World) -> None:
    device.update([source(bundle("b"))])
    (device.path / "baseline/app/lib/engine.so").write_bytes(b"rotten")
    with pytest.raises(DamagedError) as caught:
        device.remove()
    assert "rebase" in caught.value.hint
    status = device.rebase(signed_base(), trees())
    assert (status.state, status.floor, status.problems) == ("BASELINE", 2, ())
    assert live(device.path) == component("app", 0)
    with pytest.raises(Exception, match="is below 2"):
        device.install("macos-26.3.1-a", [source(bundle("a"))])
    assert device.update([source(bundle("b"))]).letter == "b"


def broken(device: Device) -> None:
    (device.path / "baseline/app/lib/engine.so").write_bytes(b"rotten")
    with pytest.raises(BrokenError):
        device.recover()


def test_out_of_broken_only_by_a_rebase(device: Device) -> None:
    broken(device)
    for act in (device.recover, device.remove, device.request, lambda: device.update([])):
        with pytest.raises(BrokenError) as caught:
            act()
        assert caught.value.exit_code == 29
        assert "rebase" in caught.value.hint
    assert device.status().next_step.what.startswith("`device rebase`")
    assert device.verify()[0].sentence.endswith("it needs a rebase")
    assert device.rebase(signed_base(), trees()).state == "BASELINE"
    assert device.verify() == ()
    assert device.update([source(bundle("a"))]).letter == "a"


def test_what_recovery_finds_broken_is_rebased_in_the_same_run(device: Device) -> None:
    device.update([source(bundle("a"))])
    (device.path / "baseline/app/lib/engine.so").write_bytes(b"rotten")
    (device.path / "active").unlink()
    (device.path / "active").symlink_to("baseline")
    assert device.rebase(signed_base(), trees()).state == "BASELINE"
    assert device.verify() == ()


REFUSED = {
    "other bytes": (lambda: device_base(), lambda: trees(app=2), BaseMismatchError, "tree digest"),
    "other system": (
        lambda: signed_base(base("ios")),
        trees,
        BaseMismatchError,
        "the base is for ios, this device runs macos",
    ),
    "not signed": (lambda: signed_base().with_signatures(()), trees, SignatureError, "no release role"),
    "missing": (lambda: signed_base(), lambda: trees() / "app", UsageError, "has no app, os"),
    "nothing new": (lambda: signed_base(), trees, NothingToDo, "already, byte for byte"),
}


def device_base():  # type: ignore[no-untyped-def]
    return signed_base(base(build=NEW_BUILD))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_rebase_changes_nothing(device: Device, name: str) -> None:
    document, folder, kind, words = REFUSED[name]
    before = everything(device.path)
    with pytest.raises(kind, match=words):
        device.rebase(document(), folder())
    assert everything(device.path) == before


def test_who_may_not_remove_may_not_rebase(device: Device, world: World) -> None:
    (device.path / "policy.toml").write_text('remove = "admin"\n')
    (device.path / "policy.toml").chmod(0o600)
    with pytest.raises(PolicyError):
        full(device)
    world.uid = 0
    full(Device(device.path, edge=world.edge()))


def test_space_is_checked_before_the_first_byte(world: World) -> None:
    disk = simulated_disk()
    device = new_device(Path("/d"), world, disk=disk)
    used = sum(len(leaf[1]) for leaf in disk.snapshot().values() if leaf[0] == "file")
    tight = SimulatedDisk(disk.snapshot(), capacity=used + 10_000)
    before = tight.snapshot()
    with pytest.raises(SpaceError, match="the new base needs"):
        Device(device.path, edge=world.edge(), disk=tight).rebase(signed_base(new_base()), Path("/full"))
    assert tight.snapshot() == before


def test_processes_that_map_the_old_base_stay_pending(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    world.processes = [running("Browser", device.path / "slot-1/app/lib/engine.so")]
    full(device)
    assert Device(device.path, edge=world.edge()).status().pending == Pending("relaunch", ("Browser",))


def _cut_off(world: World, after: str) -> SimulatedDisk:
    """A rebase that lost power just after the first operation that begins with ``after``."""
    disk = simulated_disk()
    new_device(Path("/d"), world, disk=disk)
    for number in range(1, 1_000):
        found = disk.crash("visible")
        found.cut_at(number)
        try:
            Device(Path("/d"), edge=world.edge(), disk=found).rebase(signed_base(new_base()), Path("/full"))
        except BaseException as cut:
            if type(cut).__name__ != "PowerCut":
                raise
            if any(operation.startswith(after) for operation in found.operations):
                return found.crash("visible")
    raise AssertionError(f"no operation begins with {after}")


def test_a_staged_base_that_rots_before_it_is_in_use_is_given_up(world: World) -> None:
    disk = _cut_off(world, "symlink /d/.new-active")
    assert disk.snapshot()["d/active"] == ("link", "baseline")
    disk.tamper("d/slot-1/app/lib/engine.so", ("file", b"rotten", 0o644))
    device = Device(Path("/d"), edge=world.edge(), disk=disk)
    assert [finding.what for finding in device.verify()] == ["new base app"]
    status = device.recover()
    assert (status.state, status.base_build) == ("BASELINE", BUILD)
    assert device.verify() == ()
    assert any("given up" in entry.sentence for entry in device.history())


def test_a_base_in_use_that_rots_with_no_baseline_left_is_broken(world: World) -> None:
    disk = _cut_off(world, "remove_dir /d/.new-former")
    disk.tamper("d/slot-1/app/lib/engine.so", ("file", b"rotten", 0o644))
    device = Device(Path("/d"), edge=world.edge(), disk=disk)
    with pytest.raises(BrokenError, match="the staged base is damaged"):
        device.recover()
    assert device.rebase(signed_base(new_base()), Path("/full")).state == "BASELINE"
    assert device.verify() == ()


def test_a_rebase_is_finished_though_the_journal_was_edited(world: World) -> None:
    disk = _cut_off(world, "rename /d/.new-active")
    (kind, data, mode) = disk.snapshot()["d/journal/00000001"]  # type: ignore[misc]
    disk.tamper("d/journal/00000001", (kind, data.replace(b"rebase", b"rebasf", 1), mode))
    device = Device(Path("/d"), edge=world.edge(), disk=disk)
    with pytest.raises(DamagedError, match="stands at REBASING"):
        device.recover()
    status = device.recover()
    assert (status.state, status.base_build) == ("BASELINE", NEW_BUILD)
    assert device.verify() == ()
