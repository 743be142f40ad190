"""deltaseal-rescue: counts boots that nobody confirmed, goes to the baseline, and leaves a mark."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest
from support.devices import World, bundle, component, everything, live, new_device, source
from support.rescue import PROGRAM, rescue

from deltaseal.device import Device

RESTART = [source(bundle("a", activation="restart"))]
SOURCE = Path(__file__).parents[2] / "native/rescue/rescue.c"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


def pointer(device: Device) -> str:
    return str((device.path / "active").readlink())


def test_it_is_small_and_needs_no_loader() -> None:
    assert len(SOURCE.read_text().splitlines()) < 200
    headers = subprocess.run(["readelf", "-lW", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in headers
    assert "DYNAMIC" not in headers


def test_the_fourth_boot_that_nobody_confirmed_ends_on_the_baseline(device: Device, world: World) -> None:
    device.update(RESTART)
    for boot in range(1, 4):
        assert rescue(device.path).returncode == 0
        assert pointer(device) == "slot-1", f"boot {boot}"
    last = rescue(device.path)
    assert last.returncode == 0
    assert last.stderr == ("deltaseal-rescue: the device is on its baseline again; slot-1 was left (boots)\n")
    assert pointer(device) == "baseline"
    assert live(device.path) == component("app", 0)
    assert not (device.path / "reserve").exists()
    assert "deltaseal-rescue left slot-1" in device.verify()[0].sentence
    assert [problem.kind for problem in device.status().problems] == ["rescued"]

    status = device.recover()
    assert (status.state, device.verify()) == ("BASELINE", ())
    (problem,) = status.problems
    assert (problem.kind, problem.about) == ("held", "macos-26.3.1-a")
    assert problem.sentence.endswith("for the baseline: it was not confirmed in four boots")
    assert any("it was not confirmed in four boots" in entry.sentence for entry in device.history())
    assert not (device.path / "rescued").exists()
    assert not (device.path / "unconfirmed").exists()
    assert (device.path / "reserve").exists()


def test_a_confirmed_state_is_left_alone_however_often_it_boots(device: Device, world: World) -> None:
    device.update(RESTART)
    rescue(device.path)
    world.boot = "boot-2"
    assert Device(device.path, edge=world.edge()).update(RESTART).state == "ACTIVE"
    before = everything(device.path)
    for _ in range(6):
        assert rescue(device.path).returncode == 0
    assert everything(device.path) == before


def test_a_new_switch_counts_anew(device: Device, world: World) -> None:
    device.update(RESTART)
    for _ in range(3):
        rescue(device.path)
    device.remove()
    device.install("macos-26.3.1-a", RESTART)
    for _ in range(3):
        rescue(device.path)
    assert pointer(device) == "slot-2"


def test_nothing_to_do_on_the_baseline(device: Device) -> None:
    before = everything(device.path)
    assert rescue(device.path).returncode == 0
    assert rescue("--baseline", device.path).returncode == 0
    assert everything(device.path) == before


def test_a_person_may_ask_for_the_baseline(device: Device) -> None:
    device.update([source(bundle("a"))])
    assert rescue("--baseline", device.path).returncode == 0
    assert pointer(device) == "baseline"
    assert (device.path / "rescued").read_text() == "slot-1 asked\n"
    status = device.recover()
    assert status.state == "BASELINE"
    assert [problem.kind for problem in status.problems] == ["held"]
    assert "a person asked for it" in status.problems[0].sentence
    assert rescue(device.path).returncode == 0


def test_a_rescue_that_was_cut_off_is_finished_by_the_updater(device: Device) -> None:
    device.update(RESTART)
    (device.path / "rescued").write_text("slot-1 boots\n")  # the mark is durable, the pointer not yet changed
    assert device.recover().state == "BASELINE"
    assert pointer(device) == "baseline"


def test_a_switch_that_no_record_ended_is_not_done_again_after_a_rescue(device: Device) -> None:
    from deltaseal.device.journal import read_journal
    from deltaseal.storage import RealDisk

    device.update(RESTART)
    journal = device.path / "journal/00000001"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b"pointer-durable" in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))  # it never became durable
    disk = RealDisk()
    with disk.open_root(device.path / "journal") as at:
        assert read_journal(disk, at).records[-1].state == "SWITCHING"
    for _ in range(4):
        rescue(device.path)
    assert device.recover().state == "BASELINE"
    assert pointer(device) == "baseline"


def test_it_works_where_the_disk_is_read_by_nobody_else(device: Device) -> None:
    device.update([source(bundle("a"))])
    with open(device.path / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = rescue("--baseline", device.path)
    assert refused.returncode == 23
    assert "an updater is at work" in refused.stderr
    assert pointer(device) == "slot-1"


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    assert rescue(tmp_path).returncode == 22
    assert rescue(tmp_path / "missing").returncode == 22
    assert rescue().returncode == 2
    assert rescue("--help").returncode == 2


def test_without_a_baseline_the_pointer_stays(device: Device) -> None:
    device.update([source(bundle("a"))])
    (device.path / "baseline").rename(device.path / "elsewhere")
    refused = rescue("--baseline", device.path)
    assert refused.returncode == 29
    assert pointer(device) == "slot-1"
    assert (device.path / "reserve").exists()


def test_links_that_somebody_planted_are_not_followed(device: Device, tmp_path: Path) -> None:
    device.update(RESTART)
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    for name in ("unconfirmed", ".new-unconfirmed", ".new-rescued"):
        (device.path / name).unlink(missing_ok=True)
        (device.path / name).symlink_to(outside)
    assert rescue(device.path).returncode == 22
    assert rescue("--baseline", device.path).returncode == 0
    assert outside.read_text() == "untouched"
