"""Reports that a device makes of itself: when, of what, and what becomes of those that nobody takes over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.devices import DAY, MemorySource, World, bundle, catalogue, new_device, permit, source

from deltaseal.device import Device, look, report_look
from deltaseal.edge import HookResult, system_edge
from deltaseal.errors import NetworkError
from deltaseal.manifest import Withdrawal
from deltaseal.report import Report, read_enrolment, split_documents, verify_report
from deltaseal.trust import UnverifiedDocument


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def once(device: Device, world: World, inbox: Path | str, *sources: MemorySource) -> str:
    found = look(device, lambda: sources, world.edge())
    return report_look(device.path, found, [str(inbox)], world.edge())


def received(device: Device, inbox: Path) -> list[Report]:
    """The reports in the inbox, verified with the key that the device says is its own."""
    enrolled = read_enrolment(UnverifiedDocument.loads(device.enrolment()))
    return [
        verify_report(document, enrolled.key, enrolled.device)
        for path in sorted(inbox.glob("*.reports"))
        for document in split_documents(path.read_bytes())
    ]


def test_a_device_enrols_with_its_own_key(device: Device) -> None:
    enrolled = read_enrolment(UnverifiedDocument.loads(device.enrolment()))
    assert (enrolled.device, enrolled.os, enrolled.model) == (device.identity().id, "macos", "Mac15,6")
    assert (device.path / "device.key").stat().st_mode & 0o777 == 0o600


def test_a_report_says_what_is_applied_and_how_long_it_took(
    device: Device, world: World, inbox: Path
) -> None:
    assert once(device, world, inbox, source(bundle("a"), listed=catalogue(bundle("a")))) == ""
    (report,) = received(device, inbox)
    assert (report.sequence, report.state, report.active, report.catalogue) == (
        1,
        "ACTIVE",
        "macos-26.3.1-a",
        1,
    )
    assert report.blocked is None
    assert report.timings is not None
    assert report.timings.steps.keys() >= {"fetched", "staged", "go", "in-use", "healthy"}
    assert report.timings.fetched > 0


def test_nothing_new_is_said_again_after_a_day(device: Device, world: World, inbox: Path) -> None:
    for _ in range(3):
        once(device, world, inbox)
        world.clock += 3_600
    assert [one.sequence for one in received(device, inbox)] == [1]
    world.clock += DAY
    once(device, world, inbox)
    assert [one.sequence for one in received(device, inbox)] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"phase": 0}, "phase"), ({"paused": True}, "paused"), ({"channel": "seed"}, "channel")],
)
def test_a_report_says_what_the_rollout_does(
    device: Device, world: World, inbox: Path, changes: dict[str, object], why: str
) -> None:
    once(device, world, inbox, source(bundle("a"), manifests=[permit(bundle("a"), **changes)]))
    (report,) = received(device, inbox)
    assert report.blocked is not None
    assert (report.blocked.reason, report.blocked.why) == ("E_POLICY", why)


def test_a_report_says_what_stops_this_device(device: Device, world: World, inbox: Path) -> None:
    world.battery = 5
    once(device, world, inbox, source(bundle("a")))
    world.battery = 80
    (device.path / "policy.toml").write_text('updates = "off"\n')
    once(device, world, inbox, source(bundle("a")))
    (device.path / "policy.toml").write_text("")
    (device.path / "health.d/probe").write_text("#!/bin/sh\n")
    (device.path / "health.d/probe").chmod(0o755)
    world.hooks["probe"] = HookResult(1, "")
    once(device, world, inbox, source(bundle("a")))
    reports = received(device, inbox)
    assert [one.blocked and one.blocked.why for one in reports] == ["battery", "policy", "held"]
    assert [hold.id for hold in reports[-1].holds] == ["macos-26.3.1-a"]


def test_a_report_says_what_was_withdrawn(device: Device, world: World, inbox: Path) -> None:
    device.update([source(bundle("a"), listed=catalogue(bundle("a")))])
    order = Withdrawal("macos-26.3.1-a", "remove", ("CVE-2026-20643",))
    once(
        device,
        world,
        inbox,
        source(bundle("a"), listed=catalogue(bundle("a"), serial=2, withdrawals=(order,))),
    )
    (report,) = received(device, inbox)
    assert (report.active, report.withdrawn, report.state) == ("", ("macos-26.3.1-a",), "BASELINE")


def test_what_nobody_takes_over_waits_and_goes_out_as_one_batch(
    device: Device, world: World, inbox: Path
) -> None:
    gone = inbox / "gone"
    for battery in (90, 5, 90):
        world.battery = battery
        failed = once(device, world, gone, source(bundle("a"), manifests=[permit(bundle("a"), phase=0)]))
        assert "reports wait" in failed
        world.clock += 60
    gone.mkdir()
    assert once(device, world, gone) == ""
    (batch,) = gone.glob("*.reports")
    assert [one.sequence for one in received(device, gone)] == list(range(1, len(received(device, gone)) + 1))
    assert batch.stat().st_size < 4_096
    assert once(device, world, gone) == ""  # nothing waits any more


def test_the_queue_is_bounded(device: Device, world: World, inbox: Path) -> None:
    for _ in range(70):
        once(device, world, inbox / "gone")
        world.clock += DAY
    waiting = sorted(path.name for path in (device.path / "reports").iterdir() if path.name.isdigit())
    assert (len(waiting), waiting[-1]) == (64, f"{70:012d}")
    once(device, world, inbox)
    assert len(received(device, inbox)) == 64


def test_a_number_is_never_given_twice(device: Device, world: World, inbox: Path) -> None:
    once(device, world, inbox / "gone")
    for path in (device.path / "reports").iterdir():
        if path.name.isdigit():
            path.unlink()  # as a power cut between the number and the report leaves it
    world.clock += DAY
    once(device, world, inbox)
    assert [one.sequence for one in received(device, inbox)] == [2]


def test_reporting_harms_nothing(device: Device, world: World, inbox: Path) -> None:
    journal = device.path / "journal" / "00000001"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:40] + b"?" + whole[41:])
    assert once(device, world, inbox) == ""  # a damaged journal says nothing
    journal.write_bytes(whole)
    (device.path / "device.key").write_bytes(b"short")
    assert once(device, world, inbox).startswith("no report: device.key is no key")


# ---- by HTTP ---------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers every POST with one status, and keeps what it got."""

    status = 204
    bodies: list[bytes]


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert isinstance(self.server, Server)
            self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(self.server.status)
            if self.server.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            pass

    made = Server(("127.0.0.1", 0), Handler)
    made.bodies = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_reports_go_out_by_post(device: Device, world: World, server: Server) -> None:
    edge = replace(world.edge(), post=system_edge().post)
    address = f"http://127.0.0.1:{server.server_address[1]}/reports"
    found = look(device, lambda: [], world.edge())
    for status, words in ((302, "answered 302"), (503, "answered 503"), (204, "")):
        server.status = status
        assert words in (failed := report_look(device.path, found, [address], edge))
        assert bool(failed) == bool(words)
    assert len(server.bodies) == 3
    assert len(set(server.bodies)) == 1
    assert report_look(device.path, found, [address], edge) == ""
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://[", "http://127.0.0.1:99999/", "https://"]
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(NetworkError, match="cannot be reached"):
        system_edge().post(address, b"x", 2)
