"""Attacks on, and failures of, the device's own disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.devices import (
    World,
    bundle,
    component,
    everything,
    live,
    new_device,
    permit,
    simulated_disk,
    source,
)

from deltaseal.device import Device
from deltaseal.device.store import Store
from deltaseal.errors import DeltasealError
from deltaseal.repo import DirectorySource
from deltaseal.storage import Dir, RealDisk, SimulatedDisk

ROOT = Path("/d")


def reason_of(act: object) -> str:
    with pytest.raises(DeltasealError) as caught:
        act()  # type: ignore[operator]
    return caught.value.reason


def without_journal(path: Path) -> dict[str, tuple[str, bytes, int]]:
    return {name: leaf for name, leaf in everything(path).items() if not name.startswith("journal")}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return new_device(tmp_path / "d", World())


def test_T25_payload_rewritten_between_check_and_use(tmp_path: Path) -> None:
    new_device(tmp_path / "d", World())

    def rewrite(what: str, done: int, total: int) -> None:
        for payload in (tmp_path / "d/fetch").iterdir():
            data = bytearray(payload.read_bytes())
            if what == "fetch" and done == total and len(data) == total:
                data[-1] ^= 1
                payload.write_bytes(data)

    before = without_journal(tmp_path / "d")
    device = Device(tmp_path / "d", edge=World().edge(), progress=rewrite)
    with pytest.raises(DeltasealError, match="payload") as caught:
        device.update([source(bundle("a"))])
    assert caught.value.reason == "E_DIGEST"
    assert without_journal(tmp_path / "d") == before
    assert device.status().state == "BASELINE"


def test_T25_bundle_on_a_local_disk_rewritten_between_check_and_use(tmp_path: Path) -> None:
    new_device(tmp_path / "d", World())
    offered = tmp_path / "offers"
    offered.mkdir()
    (offered / "a.bundle").write_bytes(bundle("a").to_bytes())
    (offered / "a.manifest").write_bytes(permit(bundle("a")).to_bytes())

    def rewrite(what: str, done: int, total: int) -> None:
        if what == "fetch":  # it is read in place: checked, not copied
            data = bytearray((offered / "a.bundle").read_bytes())
            payloads = sum(size for _, size in bundle("a").manifest.payloads())
            for at in range(len(data) - payloads, len(data)):
                data[at] ^= 1
            with open(offered / "a.bundle", "r+b") as file:
                file.write(data)

    before = without_journal(tmp_path / "d")
    device = Device(tmp_path / "d", edge=World().edge(), progress=rewrite)
    assert reason_of(lambda: device.update([DirectorySource(offered)])) == "E_DIGEST"
    told = [entry.sentence for entry in device.history()]
    assert any("the payload was changed while it was used" in sentence for sentence in told)
    assert without_journal(tmp_path / "d") == before
    assert device.status().state == "BASELINE"


class PlantingDisk(RealDisk):
    """A disk on which somebody plants a link in each component that is being staged."""

    def make_dir(self, at: Dir, name: str, mode: int = 0o755) -> Dir:
        """Make the directory, then plant."""
        made = super().make_dir(at, name, mode)
        if name == "app":
            super().symlink(made, "lib", "/etc")
        return made


def test_T26_symlink_planted_in_staging(tmp_path: Path) -> None:
    new_device(tmp_path / "d", World())
    before = without_journal(tmp_path / "d")
    device = Device(tmp_path / "d", edge=World().edge(), disk=PlantingDisk())
    assert reason_of(lambda: device.update([source(bundle("a"))])) == "E_TREE"
    assert without_journal(tmp_path / "d") == before


def test_T31_journal_edited(device: Device) -> None:
    device.update([source(bundle("a"))])
    segment = device.path / "journal/00000001"
    data = segment.read_bytes()
    edited = data.replace(b'"health":"not checked"', b'"health":"not_checked"')
    assert edited != data
    segment.write_bytes(edited)
    before = everything(device.path)
    assert [finding.reason for finding in device.verify()][:1] == ["E_DAMAGED"]
    assert reason_of(device.status) == "E_DAMAGED"
    assert reason_of(device.history) == "E_DAMAGED"
    assert everything(device.path) == before
    assert reason_of(device.remove) == "E_DAMAGED"  # mended, and told once
    assert segment.read_bytes() == edited  # kept as evidence
    assert live(device.path) == component("app", 1)
    assert device.status().letter == "a"
    assert device.verify() == ()
    assert device.remove().state == "BASELINE"


def test_T31_damage_never_lowers_a_floor(device: Device) -> None:
    device.update([source(bundle("b"))])
    device.remove()
    segment = device.path / "journal/00000001"
    first, _, rest = segment.read_bytes().partition(b"\n")
    segment.write_bytes(first.replace(b'"n":1', b'"n":9') + b"\n" + rest)
    assert reason_of(device.recover) == "E_DAMAGED"
    assert reason_of(lambda: device.install("macos-26.3.1-a", [source(bundle("a"))])) == "E_SEQ"
    assert device.status().floor == 2


def test_T31_damage_forgets_open_nonces(device: Device) -> None:
    a = bundle("a")
    mine = permit(a, request=device.request())
    device.request()
    segment = device.path / "journal/00000001"
    data = segment.read_bytes()
    segment.write_bytes(data[:-20] + b"#" + data[-19:])  # the head; the first request is whole
    assert reason_of(device.recover) == "E_DAMAGED"
    assert reason_of(lambda: device.update([source(a, manifests=[mine])])) == "E_DEVICE"


def test_T31_journal_gone(device: Device) -> None:
    device.update([source(bundle("a"))])
    (device.path / "journal/00000001").unlink()
    assert reason_of(device.recover) == "E_DAMAGED"
    assert device.recover().letter == "a"  # proved by its slot, on trial again
    assert live(device.path) == component("app", 1)


@pytest.mark.parametrize("place", ["active/app", "baseline/app"])
def test_T32_image_edited(device: Device, place: str) -> None:
    device.update([source(bundle("a"))])
    image = device.path / place / "lib/engine.so"
    data = bytearray(image.read_bytes())
    data[5] ^= 1
    image.write_bytes(data)
    before = everything(device.path)
    findings = device.verify()
    assert [finding.reason for finding in findings] == ["E_DAMAGED"]
    assert findings[0].exit_code == 28
    assert findings[0].what == ("live app" if place.startswith("active") else "baseline app")
    assert everything(device.path) == before


def test_T32_baseline_edited_before_an_update(device: Device) -> None:
    (device.path / "baseline/app/lib/engine.so").write_bytes(b"edited")
    before = everything(device.path)
    assert reason_of(lambda: device.update([source(bundle("a"))])) == "E_DAMAGED"
    assert everything(device.path) == before


def test_T32_removal_to_a_damaged_baseline_is_refused(device: Device) -> None:
    device.update([source(bundle("a"))])
    (device.path / "baseline/app/lib/engine.so").write_bytes(b"edited")
    assert reason_of(device.remove) == "E_DAMAGED"
    assert live(device.path) == component("app", 1)
    assert device.status().state == "ACTIVE"
    assert [problem.kind for problem in device.status().problems] == ["damaged"]


def test_T32_damaged_live_image_is_left_for_the_baseline_by_recover(device: Device) -> None:
    device.update([source(bundle("a"))])
    (device.path / "active/app/lib/engine.so").write_bytes(b"edited")
    assert reason_of(device.recover) == "E_DAMAGED"
    assert live(device.path) == component("app", 0)
    assert device.update([source(bundle("a"))]).letter == "a"


def test_T32_nothing_good_is_broken_and_the_pointer_stays(device: Device) -> None:
    device.update([source(bundle("a"))])
    for place in ("active", "baseline"):
        (device.path / place / "app/lib/engine.so").write_bytes(b"edited")
    assert reason_of(device.recover) == "BROKEN"
    assert os.readlink(device.path / "active") == "slot-1"
    for verb in (device.recover, device.remove, device.request, lambda: device.update([])):
        assert reason_of(verb) == "BROKEN"
    assert device.status().next_step.what.startswith("`device rebase`")


def test_T36_two_updaters(device: Device) -> None:
    before = everything(device.path)
    with Store.open(RealDisk(), device.path) as store, store.locked():
        for verb in (device.remove, device.request, lambda: device.update([source(bundle("a"))])):
            assert reason_of(verb) == "E_LOCKED"
        assert device.status().state == "BASELINE"  # looking needs no lock
    assert everything(device.path) == before


# T34, T35: every operation of an update fails once. ------------------------------


def shown(disk: SimulatedDisk) -> dict[str, bytes]:
    found = disk.snapshot()
    _, pointer = found["d/active"]  # type: ignore[misc]
    top = f"d/{pointer}/app/"
    return {
        path.removeprefix(top): leaf[1]  # type: ignore[misc]
        for path, leaf in found.items()
        if path.startswith(top) and leaf[0] == "file"
    }


def failures(start: SimulatedDisk, number: int, step: int) -> Iterator[tuple[int, SimulatedDisk]]:
    """A fresh disk for each operation of an update, on which that operation will fail."""
    trial = start.crash("visible")
    Device(ROOT, edge=World().edge(), disk=trial).update([source(bundle("a"))])
    for at in range(0, len(trial.operations), step):
        disk = start.crash("visible")
        disk.fail_at(at, number)
        yield at, disk


@pytest.mark.parametrize(
    ("number", "reasons"),
    [
        pytest.param(errno.ENOSPC, {"E_SPACE"}, id="T34"),
        pytest.param(errno.EIO, {"E_IO"}, id="T35"),
    ],
)
def test_T34_T35_every_operation_fails_once(number: int, reasons: set[str]) -> None:
    disk = simulated_disk()
    new_device(ROOT, World(), disk=disk)
    told = set()
    for at, failing in failures(disk, number, step=5):
        device = Device(ROOT, edge=World().edge(), disk=failing)
        try:
            device.update([source(bundle("a"))])
        except DeltasealError as error:
            told.add(error.reason)
        assert shown(failing) in (component("app", 0), component("app", 1)), at
        found = failing.crash("durable")
        device = Device(ROOT, edge=World().edge(), disk=found)
        if device.status().applied is None:
            try:
                device.update([source(bundle("a"))])
            except DeltasealError as error:
                held = error.reason == "E_HELD"  # a failing disk looked like a sick trial
                assert held, f"{at}: {error.reason} {error.sentence}"
                device.install("macos-26.3.1-a", [source(bundle("a"))], retry=True)
        assert shown(found) == component("app", 1), at
        assert device.verify() == (), at
    assert reasons <= told


def test_T34_full_disk_is_refused_before_the_first_byte() -> None:
    disk = simulated_disk()
    new_device(ROOT, World(), disk=disk)
    used = sum(len(leaf[1]) for leaf in disk.snapshot().values() if leaf[0] == "file")
    full = SimulatedDisk(disk.snapshot(), capacity=used + 6_000)
    before = full.snapshot()
    device = Device(ROOT, edge=World().edge(), disk=full)
    assert reason_of(lambda: device.update([source(bundle("a"))])) == "E_SPACE"
    assert full.snapshot() == before


def test_T34_the_disk_fills_up_while_staging() -> None:
    disk = simulated_disk()
    new_device(ROOT, World(), disk=disk)
    full = SimulatedDisk(disk.snapshot(), capacity=10**9)
    steps: list[str] = []

    def fill(what: str, done: int, total: int) -> None:
        if what == "stage" and not steps:
            steps.append(what)
            used = sum(len(leaf[1]) for leaf in full.snapshot().values() if leaf[0] == "file")
            full.capacity = used + 100  # somebody else took the rest

    device = Device(ROOT, edge=World().edge(), disk=full, progress=fill)
    assert reason_of(lambda: device.update([source(bundle("a"))])) == "E_SPACE"
    assert shown(full) == component("app", 0)
    assert [(each.kind, each.reason) for each in device.status().problems] == [("retry", "E_SPACE")]
    full.capacity = 10**9
    assert device.update([source(bundle("a"))]).letter == "a"


def test_T34_removal_works_on_a_full_disk() -> None:
    disk = simulated_disk()
    new_device(ROOT, World(), disk=disk).update([source(bundle("a"))])
    used = sum(len(leaf[1]) for leaf in disk.snapshot().values() if leaf[0] == "file")
    full = SimulatedDisk(disk.snapshot(), capacity=used)
    assert Device(ROOT, edge=World().edge(), disk=full).remove().state == "BASELINE"
    assert shown(full) == component("app", 0)
