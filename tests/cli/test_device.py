"""``device``: what people see of a device."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.command import deltaseal, edge, must, snapshot

from deltaseal.cli.app import App
from deltaseal.cli.entry import run

from .conftest import create

DEVICE = ("--store", "device")
OFFERS = ("--source", "offers")


def test_a_new_device_is_on_its_baseline(here: Path) -> None:
    ran = must("device", "status", *DEVICE)
    assert ran.out.splitlines()[:3] == [
        "macOS 26.3.1",
        "  build       25D2128",
        "  state       BASELINE: no improvement is applied",
    ]
    assert ran.err == ""


def test_an_update_shows_what_it_fixed_and_cost(here: Path) -> None:
    ran = must("device", "update", *DEVICE, *OFFERS)
    lines = ran.out.splitlines()
    assert lines[0] == "macOS 26.3.1 (a)"
    assert lines[1] == "  build       25D771280a on base 25D2128"
    assert lines[2].startswith("  state       ACTIVE: macos-26.3.1-a since 2026-12-23 ")
    assert "  fixed       CVE-2026-20643 in WebKit (component app)" in lines
    assert any(line.startswith("  downloaded  ") for line in lines)
    assert "  health      not checked" in lines
    assert "up to date" not in ran.out
    assert snapshot(Path("device/active/app")) == snapshot(Path("tree-fixed/app"))


def test_the_store_may_come_from_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTASEAL_STORE", "device")
    assert must("device", "status").out == must("device", "status", *DEVICE).out


def test_nothing_to_do_is_no_failure(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    again = must("device", "update", *DEVICE, *OFFERS)
    assert (again.out, again.err) == ("", "nothing to do: macOS 26.3.1 (a) is applied already\n")
    asked = deltaseal("device", "update", *DEVICE, *OFFERS, "--exit-code", "--json")
    assert asked.code == 3
    assert asked.json["nothing"]["sentence"] == "macOS 26.3.1 (a) is applied already"
    Path("none").mkdir()
    assert deltaseal("device", "update", *DEVICE, "--source", "none", "--exit-code").code == 3


def test_removal_and_a_person_who_applies_again(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    removed = must("device", "remove", *DEVICE)
    assert removed.out.startswith("macOS 26.3.1\n")
    assert snapshot(Path("device/active/app")) == snapshot(Path("tree/app"))
    held = deltaseal("device", "update", *DEVICE, *OFFERS, "--json")
    assert held.code == held.json["error"]["exit_code"] == 20
    assert held.json["error"]["facts"]["why"] == "removed"
    assert held.err.startswith("deltaseal: E_HELD: macos-26.3.1-a was removed by a person")
    installed = must("device", "install", "macos-26.3.1-a", *DEVICE, *OFFERS)
    assert "asked for by uid" in installed.out
    assert must("device", "remove", *DEVICE).code == 0
    assert deltaseal("device", "remove", *DEVICE, "--exit-code").code == 3


def test_history_tells_it_all_oldest_first(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    lines = must("device", "history", *DEVICE).out.splitlines()
    assert lines[0].endswith("BASELINE      created on macos 26.3.1 build 25D2128")
    assert lines[-1].endswith("macos-26.3.1-a is active; health: not checked")
    entries = must("device", "history", *DEVICE, "--json").json["entries"]
    assert [entry["n"] for entry in entries] == sorted(entry["n"] for entry in entries)
    assert len(entries) == len(lines)


def test_status_as_json_has_what_tools_compare(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    values = must("device", "status", *DEVICE, "--json").json
    assert (values["format"], values["numeric"], values["letter"]) == (1, "26.3.1.1", "a")
    assert values["outstanding"] is False


def test_verify_finds_a_changed_byte_and_changes_nothing(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    sound = must("device", "verify", *DEVICE)
    assert sound.out == "device: every byte is as the device's record says\n"
    image = Path("device/active/app/lib/engine.so")
    data = bytearray(image.read_bytes())
    data[100] ^= 1
    image.write_bytes(data)
    before = snapshot(here)
    ran = deltaseal("device", "verify", *DEVICE)
    assert ran.code == 28
    assert ran.out.startswith("E_DAMAGED: live app differs from the device's record: expected ")
    findings = deltaseal("device", "verify", *DEVICE, "--json").json
    assert findings["good"] is False
    assert findings["findings"][0]["what"] == "live app"
    assert snapshot(here) == before
    assert deltaseal("device", "recover", *DEVICE).code == 28
    assert snapshot(Path("device/active/app")) == snapshot(Path("tree/app"))


def test_T09_a_device_of_other_bytes_says_so_and_takes_nothing(here: Path) -> None:
    arguments = create("strange")
    arguments[arguments.index("tree")] = "tree-fixed"
    made = must(*arguments)
    assert "other bytes app: these are not the bytes of the signed base" in made.out
    ran = deltaseal("device", "update", "--store", "strange", *OFFERS, "--json")
    assert ran.code == 13
    assert ran.json["error"]["facts"]["step"] == "base digests"


def test_T38_a_broken_bundle_is_refused_and_nothing_changes(here: Path) -> None:
    data = bytearray(Path("offers/a.bundle").read_bytes())
    body = must("inspect", "a.bundle", "--json").json["body"]
    stored = sum(route["size"] for route in body["components"]["app"]["routes"]) + body["vex"]["size"]
    data[len(data) - stored + 10] ^= 1
    Path("offers/a.bundle").write_bytes(data)
    ran = deltaseal("device", "update", *DEVICE, *OFFERS)
    assert ran.code == 16
    assert must("device", "status", *DEVICE).out.startswith("macOS 26.3.1\n")
    assert snapshot(Path("device/active/app")) == snapshot(Path("tree/app"))


def test_an_offer_that_is_cut_is_named_and_left_out(here: Path) -> None:
    Path("offers/cut.bundle").write_bytes(Path("a.bundle").read_bytes()[:1000])
    ran = must("device", "update", *DEVICE, *OFFERS)
    assert ran.err.startswith("deltaseal: offers/cut.bundle is left out: ")
    assert ran.out.startswith("macOS 26.3.1 (a)\n")


def test_a_personalised_manifest_works_once(here: Path) -> None:
    online = ("--key", "online.ed25519.pem", "--key", "online.ml-dsa-65.pem")
    Path("mine").mkdir()
    for name in ("a.bundle", "macos.catalogue"):
        shutil.copy(f"offers/{name}", "mine")
    issue = ("manifest", "issue", "a.bundle", "--trust", "trust.json", "--request", "request.json")
    must(*issue, *online, "-o", "mine/mine.manifest")
    must("device", "update", *DEVICE, "--source", "mine")
    must("device", "remove", *DEVICE)
    again = deltaseal("device", "install", "macos-26.3.1-a", *DEVICE, "--source", "mine")
    assert again.code == 12
    assert "its nonce is spent" in again.err


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["history"],
        ["verify"],
        ["remove"],
        ["recover"],
        ["update", *OFFERS],
        ["request", "-o", "r"],
    ],
)
@pytest.mark.parametrize("store", ["nothing", "tree", "old"])
def test_a_store_that_is_none(here: Path, verb: list[str], store: str) -> None:
    before = snapshot(here)
    ran = deltaseal("device", *verb, "--store", store)
    assert (ran.code, ran.out) == (2, "")
    assert f"'{store}'" in ran.err
    assert snapshot(here) == before


def test_an_unknown_improvement_is_wrong_usage(here: Path) -> None:
    ran = deltaseal("device", "install", "macos-9-z", *DEVICE, *OFFERS)
    assert ran.code == 2
    assert "no source offers macos-9-z" in ran.err


def test_interrupted_it_will_resume(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deltaseal.device.install.find_bundle", interrupt)
        ran = deltaseal("device", "update", *DEVICE, *OFFERS)
    assert ran.code == 26
    assert ran.err == (
        "deltaseal: WILL_RESUME: interrupted; what was begun goes on with the next run "
        "(hint: run the same command again)\n"
    )
    assert "on its way  macos-26.3.1-a (downloading, " in must("device", "status", *DEVICE).out
    assert must("device", "update", *DEVICE, *OFFERS).out.startswith("macOS 26.3.1 (a)\n")


def test_two_at_once_are_one_too_many(here: Path) -> None:
    from deltaseal.storage import RealDisk

    disk = RealDisk()
    with disk.open_root(Path("device")) as root, disk.lock(root, "lock"):
        assert deltaseal("device", "update", *DEVICE, *OFFERS).code == 23
        assert must("device", "status", *DEVICE).code == 0


def test_the_page_is_written_and_replaced_only_by_force(here: Path) -> None:
    ran = must("device", "status", *DEVICE, "--html", "page.html")
    assert (ran.out, ran.err) == ("", "page.html: the status of macOS 26.3.1\n")
    assert "macOS 26.3.1" in Path("page.html").read_text()
    assert deltaseal("device", "status", *DEVICE, "--html", "page.html").code == 2
    assert must("device", "status", *DEVICE, "--html", "page.html", "--force", "--json").json["page"]


def test_exports_go_to_standard_output_or_to_a_file(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    assert must("device", "export", *DEVICE, "--as", "jamf").out == "<result>26.3.1.1</result>\n"
    assert '"extra-version": "a"' in must("device", "export", *DEVICE, "--as", "apple").out
    must("device", "export", *DEVICE, "--as", "openvex", "-o", "vex.json")
    assert '"status": "fixed"' in Path("vex.json").read_text()
    ran = must("device", "export", *DEVICE, "--as", "intune", "-o", "intune")
    assert ran.err == "intune: attribute.sh, compliance.json, discover.ps1, discover.sh\n"
    assert Path("intune/discover.sh").stat().st_mode & 0o100
    assert deltaseal("device", "export", *DEVICE, "--as", "jamf", *OFFERS).code == 2


def test_openvex_of_a_new_device_needs_the_catalogue(here: Path) -> None:
    refused = deltaseal("device", "export", *DEVICE, "--as", "openvex")
    assert refused.code == 2
    assert "--source" in refused.err
    told = must("device", "export", *DEVICE, "--as", "openvex", *OFFERS)
    assert '"status": "affected"' in told.out


def test_an_audit_is_verified_where_the_device_is_not(here: Path) -> None:
    must("device", "update", *DEVICE, *OFFERS)
    made = must("device", "audit", *DEVICE, "-o", "audit.jsonl")
    assert made.err.startswith("audit.jsonl: the chain of 10 records holds; device ")
    assert (
        must("device", "audit", *DEVICE).out.splitlines()[:-1]
        == (Path("audit.jsonl").read_text().splitlines()[:-1])
    )
    checked = must("device", "audit", "--check", "audit.jsonl", "--json").json
    assert (checked["records"], checked["state"]) == (10, "ACTIVE")
    other = deltaseal("device", "audit", "--check", "audit.jsonl", "--key", "online.ed25519.pub")
    assert other.code == 10
    Path("audit.jsonl").write_text(Path("audit.jsonl").read_text().replace("ACTIVE", "ACTIVF", 1))
    assert deltaseal("device", "audit", "--check", "audit.jsonl").code == 10


def test_a_damaged_journal_is_written_as_an_audit_and_said(here: Path) -> None:
    segment = Path("device/journal/00000001")
    segment.write_bytes(segment.read_bytes().replace(b"BASELINE", b"BASELINF", 1))
    ran = deltaseal("device", "audit", *DEVICE, "-o", "audit.jsonl")
    assert ran.code == 28
    assert Path("audit.jsonl").exists()


def test_a_rebase_brings_a_broken_device_back(here: Path) -> None:
    engine = Path("device/baseline/app/lib/engine.so")
    engine.write_bytes(b"rotten")
    assert deltaseal("device", "recover", *DEVICE).code == 29
    refused = deltaseal("device", "update", *DEVICE, *OFFERS)
    assert refused.code == 29
    assert "device rebase" in refused.err
    ran = must("device", "rebase", *DEVICE, "--base", "macos.base", "--from", "tree")
    assert ran.out.splitlines()[2] == "  state       BASELINE: no improvement is applied"
    assert must("device", "verify", *DEVICE).code == 0
    again = must("device", "rebase", *DEVICE, "--base", "macos.base", "--from", "tree")
    assert again.err.startswith("nothing to do: the device is on macos 26.3.1 build 25D2128 already")
    assert deltaseal("device", "rebase", *DEVICE, "--base", "macos.base", "--from", "tree-fixed").code == 13


def test_processes_of_a_device_that_nobody_uses(here: Path) -> None:
    assert must("device", "processes", *DEVICE).out.splitlines() == [
        "in use: macOS 26.3.1",
        "no program that can be seen uses anything that was replaced",
    ]
    assert must("device", "processes", *DEVICE, "--json").json["replaced"] == []


def test_watch_looks_once_and_says_what_it_does_not_know(here: Path) -> None:
    ran = must("device", "watch", *DEVICE, *OFFERS, "--once")
    words, _, known = ran.out.rstrip().partition(" (battery ")
    assert words.endswith("  applied: macOS 26.3.1 (a) is applied")
    assert known.startswith("unknown, network ")
    again = must("device", "watch", *DEVICE, *OFFERS, "--once", "--json")
    assert len(again.out.splitlines()) == 1
    assert again.json["outcome"] == "nothing"
    must("device", "remove", *DEVICE)
    held = deltaseal("device", "watch", *DEVICE, *OFFERS, "--once")
    assert held.code == 20
    assert "refused: E_HELD: macos-26.3.1-a was removed by a person" in held.out


def test_watch_goes_on_looking(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(KeyboardInterrupt):
        run(
            ["device", "watch", *DEVICE, *OFFERS, "--every", "5"],
            App(make_edge=lambda: replace(edge(), sleep=sleep)),
        )
    assert looks == [300, 300, 300]
    assert [line.split("  ")[1].split(":")[0] for line in out.getvalue().splitlines()] == [
        "applied",
        "nothing",
        "nothing",
    ]


def test_units_are_written(here: Path) -> None:
    ran = must("device", "units", *DEVICE, *OFFERS, "-o", "units")
    assert ran.err == "units: deltaseal-rescue.service, deltaseal-watch.service, deltaseal-watch.timer\n"
    text = Path("units/deltaseal-rescue.service").read_text()
    (program,) = (
        line.split()[0].removeprefix("ExecStart=") for line in text.splitlines() if "ExecStart" in line
    )
    assert Path(program).name == "deltaseal-rescue"
    assert Path(program).exists()


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGTERM, "ended by SIGTERM"), (signal.SIGINT, "interrupted")],
)
def test_who_ends_an_update_is_told_that_it_goes_on(here: Path, number: int, words: str) -> None:
    hook = Path("device/health.d/slow")
    hook.write_text(f"#!/bin/sh\ntouch {here}/started\nsleep 60\n")
    hook.chmod(0o755)
    program = Path(sys.executable).with_name("deltaseal")
    updating = subprocess.Popen(
        [program, "device", "update", *DEVICE, *OFFERS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not Path("started").exists():
        assert time.monotonic() < until, updating.communicate()
        time.sleep(0.05)
    updating.send_signal(number)
    _, said = updating.communicate(timeout=20)
    assert f"{words}; what was begun goes on with the next run" in said
    assert updating.returncode == 26
    hook.unlink()
    assert must("device", "update", *DEVICE, *OFFERS).out.startswith("macOS 26.3.1 (a)\n")
