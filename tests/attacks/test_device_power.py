"""The power goes at every operation of an update and of a removal: old, new, or taken up again."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.devices import (
    World,
    bundle,
    catalogue,
    component,
    new_base,
    new_device,
    signed_base,
    simulated_disk,
    source,
)

from deltaseal.device import Device
from deltaseal.errors import DeltasealError, NothingToDo
from deltaseal.storage import PowerCut, SimulatedDisk
from deltaseal.storage.simulated import Keep

ROOT = Path("/d")
Act = Callable[[Device], object]


def shown(disk: SimulatedDisk) -> dict[str, bytes]:
    """The files of ``app`` as the pointer shows them."""
    found = disk.snapshot()
    _, pointer = found["d/active"]  # type: ignore[misc]
    top = f"d/{pointer}/app/"
    return {
        path.removeprefix(top): leaf[1]
        for path, leaf in found.items()
        if path.startswith(top) and leaf[0] == "file"
    }  # type: ignore[misc]


def update(device: Device) -> object:
    a = bundle("a")
    return device.update([source(a, listed=catalogue(a))])


def at_rest(world: World) -> SimulatedDisk:
    disk = simulated_disk()
    new_device(ROOT, world, disk=disk)
    return disk.crash("visible")


def updated(world: World) -> SimulatedDisk:
    disk = at_rest(world)
    update(Device(ROOT, edge=world.edge(), disk=disk))
    return disk.crash("visible")


def raised_to_b(device: Device) -> object:
    return device.update([source(bundle("a"), bundle("b"))])


def rebased(device: Device) -> object:
    return device.rebase(signed_base(new_base()), Path("/full"))


def cuts(start: SimulatedDisk, act: Act, world: World, keep: Keep) -> Iterator[tuple[int, SimulatedDisk]]:
    """The disk as it is found after a cut before each change that ``act`` makes."""
    for number in range(10_000):
        disk = start.crash("visible")
        disk.cut_at(number)
        try:
            with contextlib.suppress(NothingToDo):
                act(Device(ROOT, edge=world.edge(), disk=disk))
        except PowerCut:
            yield number, disk.crash(keep)
        else:
            return
    raise AssertionError("the act never ends")


SCENARIOS = {
    "update": (at_rest, update, 0, 1),
    "second letter": (updated, raised_to_b, 1, 2),
    "removal": (updated, Device.remove, 1, 0),
    "rebase": (updated, rebased, 1, 2),
}


@pytest.mark.parametrize(
    "keep", ["durable", "visible", random.Random(20260317)], ids=["durable", "visible", "random"]
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_T33_power_cut_at_every_change(name: str, keep: Keep) -> None:
    start_with, act, old, new = SCENARIOS[name]
    world = World()
    start = start_with(world)
    count = 0
    for number, found in cuts(start, act, world, keep):
        count += 1
        if name == "rebase" and keep != "durable" and number % 4:
            continue  # it has the most cuts by far
        assert shown(found) in (component("app", old), component("app", new)), f"mixed after cut {number}"
        device = Device(ROOT, edge=world.edge(), disk=found)
        try:
            act(device)
        except NothingToDo:
            pass  # it was done before the cut, or recovery has finished it
        except DeltasealError as error:
            raise AssertionError(f"after cut {number}: {error.reason}: {error.sentence}") from error
        assert shown(found) == component("app", new), f"not finished after cut {number}"
        assert device.verify() == (), f"findings after cut {number}"
        assert device.status().state == ("ACTIVE" if act in (update, raised_to_b) else "BASELINE")
        _nothing_is_left_over(found)
    assert count > 20


def _nothing_is_left_over(disk: SimulatedDisk) -> None:
    paths = [PurePosixPath(path) for path in disk.snapshot()]
    assert not [path for path in paths if path.name.startswith(".new-")]
    slots = {path.parts[1] for path in paths if len(path.parts) > 1 and path.parts[1].startswith("slot-")}
    _, pointer = disk.snapshot()["d/active"]  # type: ignore[misc]
    assert slots <= {pointer}


@pytest.mark.parametrize(("name", "step"), [("update", 13), ("rebase", 37)])
def test_T33_power_cut_during_recovery_is_answered_by_recovery(name: str, step: int) -> None:
    start_with, act, _, new = SCENARIOS[name]
    world = World()
    for number, found in cuts(start_with(world), act, world, "durable"):
        if number % step:
            continue  # some are enough for the second cut
        for second, again in cuts(found, act, world, "durable"):
            if second % 11:
                continue
            device = Device(ROOT, edge=world.edge(), disk=again)
            with contextlib.suppress(NothingToDo):
                act(device)
            assert shown(again) == component("app", new), f"cut {number}, then {second}"
            assert device.verify() == ()
