"""``fleet``: from a device's enrolment to the answer who is still exposed."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import TODAY, deltaseal, must

from deltaseal.fleet.receive import receiver

from .conftest import ONLINE, create

CVE = "CVE-2026-20643"
HOUR = 3_600


@pytest.fixture
def fleet(here: Path) -> Path:
    """A fleet of two devices, which follows the publisher's folder; reports go to ``inbox``."""
    must(*create("second"))
    for name in ("device", "second"):
        must("device", "enrolment", "--store", name, "-o", f"{name}.enrolment")
    must("fleet", "create", "--trust", "trust.json")
    must("fleet", "enroll", "device.enrolment", "second.enrolment")
    must("fleet", "follow", "offers")
    Path("inbox").mkdir()
    return here


def watch(store: str, *, now: int = TODAY, to: str = "inbox") -> None:
    deltaseal("device", "watch", "--once", "--store", store, "--source", "offers", "--report-to", to, now=now)


def test_enrolled_devices_report_and_are_counted(fleet: Path) -> None:
    watch("device", now=TODAY + HOUR)
    ran = must("fleet", "ingest", "inbox", "--consume", now=TODAY + 2 * HOUR)
    assert ran.out.startswith("1 report counted from 1 file, 0 duplicates, 0 refused\n")
    assert not list(Path("inbox").iterdir())
    said = must("fleet", "exposure", CVE, now=TODAY + 3 * HOUR)
    assert said.out.startswith(f"{CVE}: 1 of 2 enrolled devices open (50.0 %)\n")
    assert "50 % closed: after 2.0 h" in said.out
    assert "90 % closed: not yet" in said.out
    assert "1 silent: nothing was heard" in said.out
    status = must("fleet", "status", now=TODAY + 3 * HOUR)
    assert "2 enrolled devices, 1 heard of in the last three days" in status.out
    assert "macos-26.3.1-a (100 % of stable)" in status.out
    assert "from its offer until it had passed: 0 s in the middle, 0 s for nine of ten; " in status.out


def test_json_has_the_same(fleet: Path) -> None:
    for store in ("device", "second"):
        watch(store)
    assert must("fleet", "ingest", "inbox", "--json").json["counted"] == 2
    found = must("fleet", "exposure", CVE, "--json").json
    assert (found["total"], found["open"]) == (2, 0)
    assert found["seconds_until"] == {"50": 0, "90": 0, "99": 0}
    (one,) = must("fleet", "status", "--json").json["improvements"]
    assert (one["active"], one["recommendation"]["what"]) == (2, "nothing")


def test_refusals_are_told_and_strict_exits_with_them(fleet: Path) -> None:
    Path("inbox/bad.reports").write_bytes(b"noise")
    ran = must("fleet", "ingest", "inbox")
    assert "inbox/bad.reports: E_TYPE: this is not a signed document" in ran.out
    assert deltaseal("fleet", "ingest", "inbox", "--strict").code == 15


def test_a_cve_that_nobody_named(fleet: Path) -> None:
    ran = deltaseal("fleet", "exposure", "CVE-2020-1")
    assert ran.code == 2
    assert f"known: {CVE}" in ran.err


def test_a_plot_is_a_picture(fleet: Path) -> None:
    must("fleet", "exposure", CVE, "--plot", "plot.svg")
    assert Path("plot.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert deltaseal("fleet", "exposure", CVE, "--plot", "plot.svg").code == 2


def test_a_paused_rollout_is_the_reason(fleet: Path) -> None:
    paused = ["manifest", "issue", "a.bundle", "--trust", "trust.json", *ONLINE, "--paused"]
    must(*paused, "-o", "offers/a.manifest", "--force", now=TODAY + HOUR)
    must("fleet", "follow", "offers", now=TODAY + HOUR)
    watch("device", now=TODAY + HOUR)
    must("fleet", "ingest", "inbox", now=TODAY + HOUR)
    said = must("fleet", "exposure", CVE, now=TODAY + HOUR)
    assert "1 paused: the rollout is paused" in said.out
    assert "decide: paused" in must("fleet", "status", now=TODAY + HOUR).out


def test_an_older_catalogue_is_left_out(fleet: Path) -> None:
    shutil.copytree("offers", "older")
    arguments = ["manifest", "catalogue", "--os", "macos", "--serial", "2", "--trust", "trust.json"]
    arguments += ["--base", "macos.base", "--bundle", "a.bundle", "250"]
    keys = ["--key", "release.ed25519.pem", "--key", "release.ml-dsa-65.pem"]
    must(*arguments, *keys, "-o", "offers/macos.catalogue", "--force")
    assert "1 new catalogue" in must("fleet", "follow", "offers").err
    assert "left out: E_SEQ" in must("fleet", "follow", "older").err


# ---- by HTTP ---------------------------------------------------------------------------------------------


@pytest.fixture
def port(fleet: Path) -> Iterator[int]:
    server = receiver("127.0.0.1", 0, fleet=fleet / "fleet.db", inbox=fleet / "inbox")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def post(port: int, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/", body, headers)
    return connection.getresponse().status


def test_reports_come_in_by_http(fleet: Path, port: int) -> None:
    watch("device", to=f"http://127.0.0.1:{port}/")
    assert len(list(Path("inbox").iterdir())) == 1
    assert must("fleet", "ingest", "inbox", "--json").json["counted"] == 1


def test_what_no_enrolled_device_signed_is_not_stored(fleet: Path, port: int) -> None:
    watch("device", to="inbox")
    (batch,) = Path("inbox").iterdir()
    data = batch.read_bytes()
    batch.unlink()
    assert post(port, data[:-1] + bytes([data[-1] ^ 1])) == 403
    assert post(port, b"noise") == 400
    assert post(port, b"") == 400
    assert post(port, b"x", **{"Content-Length": "9999999"}) == 413
    assert post(port, data * 65) == 413
    assert not list(Path("inbox").iterdir())
    assert post(port, data) == post(port, data) == 204
    assert len(list(Path("inbox").iterdir())) == 1
