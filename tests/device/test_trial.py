"""WAITING and TRIAL: when a new state is in use, and what makes it stay or go back."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.devices import World, bundle, component, live, new_device, running, source

from deltaseal.device import Device
from deltaseal.edge import HookResult
from deltaseal.errors import NothingToDo, RolledBackError
from deltaseal.report import Pending


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


def edge_of(device: Device, world: World) -> Device:
    """The same device after the world has changed: a new process would take the edge anew."""
    return Device(device.path, edge=world.edge())


def image(device: Device, holder: str) -> Path:
    return device.path / holder / "app/lib/engine.so"


def test_restart_waits_for_another_boot(device: Device, world: World) -> None:
    offer = [source(bundle("a", activation="restart"))]
    status = device.update(offer)
    assert (status.state, status.letter, status.applied) == ("WAITING", "a", None)
    assert status.pending == Pending("restart", ())
    assert (status.next_step.what, status.next_step.who) == ("restart", "you")
    with pytest.raises(NothingToDo, match="waits for a restart"):
        device.update(offer)
    world.boot = "boot-2"
    status = edge_of(device, world).update(offer)
    assert (status.state, status.pending) == ("ACTIVE", None)


def test_relaunch_waits_until_a_listed_process_maps_the_new_image(device: Device, world: World) -> None:
    world.processes = [running("Browser", image(device, "baseline"))]
    offer = [source(bundle("a"))]
    status = device.update(offer)
    assert status.state == "WAITING"
    assert status.pending == Pending("relaunch", ("Browser",))
    assert world.slept == 0
    world.processes = [running("Browser", image(device, "slot-1"), pid=43)]
    status = device.update(offer)
    assert (status.state, status.pending) == ("ACTIVE", None)
    assert status.applied is not None
    assert status.applied.health == "good"  # a listed process lived through it
    assert world.slept == 60


def test_processes_are_found_though_the_store_is_named_by_a_link(device: Device, world: World) -> None:
    link = device.path.parent / "link"
    link.symlink_to(device.path)
    world.processes = [running("Browser", image(device, "baseline"))]
    status = Device(link, edge=world.edge()).update([source(bundle("a"))])
    assert (status.state, status.pending) == ("WAITING", Pending("relaunch", ("Browser",)))


def test_relaunch_is_in_use_at_once_where_no_listed_process_runs(device: Device, world: World) -> None:
    world.processes = [running("Editor", image(device, "baseline"))]
    status = device.update([source(bundle("a"))])
    assert (status.state, status.pending) == ("ACTIVE", Pending("relaunch", ("Editor",)))  # R13


def test_pending_is_shown_after_removal_too(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    world.processes = [running("Browser", image(device, "slot-1"))]
    status = device.remove()
    assert status.pending == Pending("relaunch", ("Browser",))
    world.processes = [running("Browser", image(device, "baseline"))]
    assert device.status().pending is None


def test_a_process_that_dies_on_trial_rolls_back(device: Device, world: World) -> None:
    world.processes = [running("Browser", image(device, "slot-1"))]
    world.on_sleep = [[]]
    with pytest.raises(RolledBackError, match="did not live through the trial") as caught:
        device.update([source(bundle("a"))])
    assert caught.value.exit_code == 25
    assert live(device.path) == component("app", 0)
    status = device.status()
    assert status.state == "BASELINE"
    assert [(each.kind, each.about, each.reason) for each in status.problems] == [
        ("held", "macos-26.3.1-a", "ROLLED_BACK")
    ]


def hook(device: Device, name: str, mode: int = 0o755) -> None:
    path = device.path / "health.d" / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)


def test_hooks_decide_and_their_words_are_kept(device: Device, world: World) -> None:
    hook(device, "10-good")
    hook(device, "20-bad")
    world.hooks["20-bad"] = HookResult(3, "no page loads\x1b[31m")
    with pytest.raises(RolledBackError) as caught:
        device.update([source(bundle("a"))])
    assert caught.value.facts["checks"] == ["digests: good", "10-good: good", "20-bad: bad"]
    assert "health hook 20-bad ended with 3: no page loads" in device.history()[-2].sentence


def test_a_hook_that_does_not_end_is_bad(device: Device, world: World) -> None:
    hook(device, "slow")
    world.hooks["slow"] = HookResult(None, "")
    with pytest.raises(RolledBackError, match="did not end in time"):
        device.update([source(bundle("a"))])


def test_only_executable_files_are_hooks(device: Device, world: World) -> None:
    hook(device, "notes.txt", mode=0o644)
    (device.path / "health.d/link").symlink_to("/bin/false")
    world.hooks = {"notes.txt": HookResult(1, ""), "link": HookResult(1, "")}
    status = device.update([source(bundle("a"))])
    assert status.applied is not None
    assert status.applied.health == "not checked"


def test_good_hooks_make_health_good(device: Device) -> None:
    hook(device, "probe")
    status = device.update([source(bundle("a"))])
    assert status.applied is not None
    assert status.applied.health == "good"


def test_a_bad_second_letter_goes_back_to_the_first(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    hook(device, "probe")
    world.hooks["probe"] = HookResult(1, "")
    with pytest.raises(RolledBackError):
        device.update([source(bundle("b"))])
    assert device.status().letter == "a"
    assert live(device.path) == component("app", 1)
    assert device.verify() == ()


def test_a_higher_letter_is_tried_though_a_lower_one_is_held(device: Device, world: World) -> None:
    hook(device, "probe")
    world.hooks["probe"] = HookResult(1, "")
    with pytest.raises(RolledBackError):
        device.update([source(bundle("a"))])
    world.hooks.clear()
    assert device.update([source(bundle("a"), bundle("b"))]).letter == "b"


def test_an_image_changed_after_the_switch_is_not_confirmed(device: Device, world: World) -> None:
    offer = [source(bundle("a", activation="restart"))]
    device.update(offer)
    image(device, "slot-1").write_bytes(b"changed")
    world.boot = "boot-2"
    with pytest.raises(RolledBackError, match="changed after the switch"):
        edge_of(device, world).update(offer)
    assert live(device.path) == component("app", 0)
