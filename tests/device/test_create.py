"""Making a device: whole or not at all."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import World, base, new_device, signed_base, simulated_disk, tree, trees, trust
from support.publisher import write_tree

from deltaseal.device import Device, create, open_device
from deltaseal.device.store import RESERVE_BYTES
from deltaseal.errors import DeltasealError, UsageError
from deltaseal.storage import PowerCut, SimulatedDisk


def reason_of(act: object) -> str:
    with pytest.raises(DeltasealError) as caught:
        act()  # type: ignore[operator]
    return caught.value.reason


def test_a_new_device_is_on_its_baseline(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    status = device.status()
    assert (status.state, status.letter, status.name, status.outstanding) == (
        "BASELINE",
        None,
        "macOS 26.3.1",
        False,
    )
    assert device.verify() == ()
    reserve = tmp_path / "d/reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES
    assert len(set(reserve.read_bytes())) == 256
    assert (tmp_path / "d/policy.toml").stat().st_mode & 0o777 == 0o600


def test_a_folder_named_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    new_device(Path("."), World())
    assert open_device(Path("../here"), edge=World().edge()).verify() == ()


def test_ids_are_random(tmp_path: Path) -> None:
    world = World()
    ids = {new_device(tmp_path / name, world).identity().id for name in "abc"}
    assert len(ids) == 3
    assert all(len(one) == 32 for one in ids)


def test_what_is_in_the_way_or_missing_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    assert reason_of(lambda: new_device(tmp_path / "full", World())) == "E_USAGE"
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["file"]
    only_app = write_tree(tmp_path / "trees", {"app/file": b"x"})

    def without_os() -> object:
        return create(
            tmp_path / "d",
            base=signed_base(),
            trees=only_app,
            trust=trust(),
            model="M",
            edge=World().edge(),
        )

    assert reason_of(without_os) == "E_USAGE"
    assert not (tmp_path / "d").exists()
    assert reason_of(lambda: open_device(tmp_path / "d", edge=World().edge())) == "E_USAGE"
    assert reason_of(lambda: open_device(tmp_path / "full", edge=World().edge())) == "E_USAGE"


def test_a_base_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    unsigned = replace(signed_base(), signatures=())

    def make() -> object:
        return create(
            tmp_path / "d", base=unsigned, trees=trees(), trust=trust(), model="M", edge=World().edge()
        )

    assert reason_of(make) == "E_SIG"
    assert not (tmp_path / "d").exists()


def test_a_tree_that_must_not_be_leaves_nothing(tmp_path: Path) -> None:
    planted = tmp_path / "trees"
    write_tree(planted, {"app/a": b"x", "os/b": b"y"})
    (planted / "app/setuid").write_bytes(b"z")
    (planted / "app/setuid").chmod(0o4755)

    def make() -> object:
        return create(
            tmp_path / "d", base=signed_base(), trees=planted, trust=trust(), model="M", edge=World().edge()
        )

    assert reason_of(make) == "E_TREE"
    assert not (tmp_path / "d").exists()


def test_the_baseline_is_recorded_as_found(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World(), app=2)
    assert device.verify() == ()  # it is what the device recorded
    assert [(each.kind, each.about) for each in device.status().problems] == [("other bytes", "app")]
    assert base().components["app"] == base(app=0).components["app"]
    assert tree("app", 2) != tree("app", 0)


def test_a_creation_that_was_cut_off_makes_no_device() -> None:
    whole = 0
    for number in range(10_000):
        disk = simulated_disk()
        disk.cut_at(number)
        try:
            new_device(Path("/d"), World(), disk=disk)
        except PowerCut:
            found = disk.crash("durable")
            device = Device(Path("/d"), edge=World().edge(), disk=found)
            try:
                device.identity()
            except UsageError:
                continue
            whole += 1
            assert device.verify() == ()
            assert device.status().state == "BASELINE"
        else:
            break
    assert number > 20
    assert whole <= 2


@pytest.mark.parametrize("there", [False, True])
def test_a_creation_that_fails_leaves_the_folder_as_it_was(there: bool) -> None:
    def prepared() -> SimulatedDisk:
        disk = simulated_disk()
        if there:
            with disk.open_root(Path("/")) as root:
                disk.make_dir(root, "d").close()
        return disk

    before = prepared()
    whole = prepared()
    new_device(Path("/d"), World(), disk=whole)
    for at in range(len(before.operations), len(whole.operations), 3):
        disk = prepared()
        disk.fail_at(at, errno.EIO)
        try:
            new_device(Path("/d"), World(), disk=disk)
        except DeltasealError as error:
            assert error.reason == "E_IO"
            assert disk.snapshot() == before.snapshot(), whole.operations[at]


def test_a_creation_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(size: int) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(
            tmp_path / "d",
            base=signed_base(),
            trees=trees(),
            trust=trust(),
            model="M",
            edge=replace(World().edge(), random=interrupted),
        )
    assert not (tmp_path / "d").exists()
