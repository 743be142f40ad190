"""Looking by itself: what one look does, honours and tells, and the units that start it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import DAY, MemorySource, World, bundle, catalogue, live, new_device, running, source
from support.devices import component as component_of

from deltaseal.device import Device, Look, look, systemd_units, tell, watching_edge
from deltaseal.edge import HookResult, system_edge
from deltaseal.errors import NetworkError
from deltaseal.storage import BytesSource


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


class Dropping(BytesSource):
    """A network that goes away before the payloads."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Read, or fail."""
        if offset > 1_000:  # behind the manifest: a payload
            raise NetworkError("the connection was lost")
        return super().read_at(offset, size)


def once(device: Device, world: World, *sources: MemorySource) -> Look:
    edge = watching_edge(device.path, world.edge())
    return look(Device(device.path, edge=edge), lambda: sources, edge)


def program(device: Device, name: str) -> None:
    (device.path / "watch.d").mkdir(exist_ok=True)
    (device.path / "watch.d" / name).write_text("#!/bin/sh\n")
    (device.path / "watch.d" / name).chmod(0o755)


def policy(device: Device, text: str) -> None:
    (device.path / "policy.toml").write_text(text)
    (device.path / "policy.toml").chmod(0o600)


def test_a_look_takes_what_is_offered_and_then_finds_nothing(device: Device, world: World) -> None:
    first = once(device, world, source(bundle("a")))
    assert (first.outcome, first.sentence, first.exit_code) == ("applied", "macOS 26.3.1 (a) is applied", 0)
    assert first.status is not None
    assert first.status.letter == "a"
    again = once(device, world, source(bundle("a")))
    assert (again.outcome, again.sentence) == ("nothing", "macOS 26.3.1 (a) is applied already")


def test_what_is_unknown_is_shown_as_unknown(device: Device, world: World) -> None:
    found = once(device, world)
    assert (found.battery, found.metered) == (None, None)
    assert found.to_json()["battery"] is None


def test_a_low_battery_makes_it_wait(device: Device, world: World) -> None:
    world.battery = 12
    found = once(device, world, source(bundle("a")))
    assert (found.outcome, found.exit_code, found.battery) == ("refused", 24, 12)
    world.battery = 80
    assert once(device, world, source(bundle("a"))).outcome == "applied"


def test_the_owners_programs_say_what_the_system_does_not(device: Device, world: World) -> None:
    program(device, "battery")
    program(device, "metered")
    for words, percent in ((" 12 %", 12), ("100", 100), ("101", None), ("full", None), ("", None)):
        world.hooks["battery"] = HookResult(0, words)
        assert watching_edge(device.path, world.edge()).battery() == percent
    for status, said in ((0, True), (1, False), (2, None), (None, None), (126, None)):
        world.hooks["metered"] = HookResult(status, "")
        assert watching_edge(device.path, world.edge()).metered() is said
    world.battery = 90  # the system knows better
    assert watching_edge(device.path, world.edge()).battery() == 90
    world.battery = None
    world.hooks["battery"] = HookResult(0, "5")
    assert once(device, world, source(bundle("a"))).exit_code == 24


def test_policy_is_honoured_until_its_deadline(device: Device, world: World) -> None:
    policy(device, 'updates = "notify"\ndeadline = 2026-03-20\n')
    found = once(device, world, source(bundle("a")))
    assert (found.outcome, found.exit_code) == ("refused", 20)
    assert found.error is not None
    assert found.error.reason == "E_POLICY"
    world.clock += 3 * DAY
    assert once(device, world, source(bundle("a"))).outcome == "applied"


def test_a_hold_is_honoured_and_a_higher_letter_taken(device: Device, world: World) -> None:
    (device.path / "health.d/probe").write_text("#!/bin/sh\n")
    (device.path / "health.d/probe").chmod(0o755)
    world.hooks["probe"] = HookResult(1, "")
    first = once(device, world, source(bundle("a")))
    assert (first.outcome, first.exit_code) == ("rolled back", 25)
    world.hooks.clear()
    held = once(device, world, source(bundle("a")))
    assert (held.outcome, held.error and held.error.reason) == ("refused", "E_HELD")
    assert once(device, world, source(bundle("a"), bundle("b"))).outcome == "applied"


def test_a_removal_by_a_person_is_honoured(device: Device, world: World) -> None:
    device.update([source(bundle("a"))])
    device.remove()
    assert once(device, world, source(bundle("a"))).exit_code == 20
    assert live(device.path) == component_of("app", 0)


def test_it_waits_for_the_retry_time_and_looks_at_no_source_before(device: Device, world: World) -> None:
    a = bundle("a")
    cut = source(a)
    cut.bundles[a.digest] = Dropping(a.to_bytes())
    assert once(device, world, cut).exit_code == 27
    retries = [problem for problem in device.status().problems if problem.kind == "retry"]
    assert [retry.time for retry in retries] == [world.clock + 3_600]

    def none() -> list[MemorySource]:
        raise AssertionError("no source may be looked at")

    edge = world.edge()
    early = look(Device(device.path, edge=edge), none, edge)
    assert (early.outcome, early.exit_code) == ("later", 0)
    world.clock = retries[0].time
    assert once(device, world, source(a)).outcome == "applied"


def test_it_confirms_after_the_restart(device: Device, world: World) -> None:
    offer = source(bundle("a", activation="restart"))
    waiting = once(device, world, offer)
    assert (waiting.outcome, waiting.sentence) == ("waiting", "macOS 26.3.1 (a) waits for a restart")
    world.boot = "boot-2"
    assert once(device, world, offer).outcome == "applied"


def test_an_order_of_the_vendor_is_carried_out(device: Device, world: World) -> None:
    from deltaseal.manifest import Withdrawal

    a = bundle("a")
    once(device, world, source(a, listed=catalogue(a)))
    order = Withdrawal(a.manifest.id, "remove", ("CVE-2026-20643",))
    once(device, world, MemorySource(catalogue=catalogue(a, serial=2, withdrawals=(order,))))
    assert live(device.path) == component_of("app", 0)


def test_another_updater_is_left_alone(device: Device, world: World) -> None:
    import fcntl

    with open(device.path / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = once(device, world, source(bundle("a")))
    assert (found.outcome, found.exit_code) == ("later", 23)


def test_the_owners_program_is_told_what_was_done(device: Device, world: World) -> None:
    heard: list[bytes] = []

    def hear(path: Path, words: bytes, seconds: float) -> HookResult:
        heard.append(words)
        return HookResult(3, "no mail today")

    edge = replace(world.edge(), tell_hook=hear)
    found = once(device, world, source(bundle("a")))
    assert tell(found, device.path, edge) == ""
    assert heard == []
    program(device, "report")
    assert tell(found, device.path, edge) == "watch.d/report ended with 3: no mail today"
    values = json.loads(heard[0])
    assert (values["format"], values["outcome"]) == (1, "applied")
    assert values["status"]["letter"] == "a"


def test_a_real_program_is_told(device: Device, world: World, tmp_path: Path) -> None:
    program(device, "report")
    (device.path / "watch.d/report").write_text(f"#!/bin/sh\ncat > {tmp_path}/heard\n")
    found = once(device, world, source(bundle("a")))
    assert tell(found, device.path, system_edge()) == ""
    assert json.loads((tmp_path / "heard").read_text())["outcome"] == "applied"


def test_programs_still_on_the_old_files_are_part_of_the_answer(device: Device, world: World) -> None:
    world.processes = [running("Browser", device.path / "baseline/app/lib/engine.so")]
    found = once(device, world, source(bundle("a")))
    assert (found.outcome, found.sentence) == ("waiting", "macOS 26.3.1 (a) waits for a relaunch")


# ---- the units ------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("folder", ["plain", 'a folder, 100 % $mine "quoted"'])
def test_systemd_takes_the_units(tmp_path: Path, folder: str) -> None:
    store = tmp_path / folder
    store.mkdir()
    units = systemd_units(
        program=Path("/bin/true"),
        rescue=Path("/bin/true"),
        store=store,
        sources=[str(store / "offers")],
        every=90,
    )
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in told.stderr.splitlines() if "deltaseal" in line]
    assert (told.returncode, ours) == (0, [])


def test_the_units_say_what_they_must() -> None:
    units = systemd_units(
        program=Path("/usr/bin/deltaseal"),
        rescue=Path("/usr/lib/deltaseal-rescue"),
        store=Path("/var/lib/deltaseal"),
        sources=["/srv/offers"],
        every=60,
    )
    rescue = units["deltaseal-rescue.service"]
    assert "ExecStart=/usr/lib/deltaseal-rescue /var/lib/deltaseal\n" in rescue
    assert "Before=sysinit.target" in rescue  # before any user of a component
    watch = units["deltaseal-watch.service"]
    assert (
        "ExecStart=/usr/bin/deltaseal device watch --once --store /var/lib/deltaseal --source /srv/offers\n"
        in watch
    )
    assert "OnUnitActiveSec=60min" in units["deltaseal-watch.timer"]


def test_the_units_report_to_a_fleet() -> None:
    units = systemd_units(
        program=Path("/usr/bin/deltaseal"),
        rescue=Path("/usr/lib/deltaseal-rescue"),
        store=Path("/var/lib/deltaseal"),
        sources=["/srv/offers"],
        every=60,
        report_to=["https://fleet.example/in", "/srv/in box"],
    )
    watch = units["deltaseal-watch.service"]
    assert ' --report-to https://fleet.example/in --report-to "/srv/in box"\n' in watch
    assert '\nReadWritePaths=/var/lib/deltaseal "/srv/in box"\n' in watch
