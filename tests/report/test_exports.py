"""What the four devices of the scenario say of themselves in the words of other tools, held against files.

    DELTASEAL_GOLDEN=new pytest tests/report/test_exports.py

writes them anew; a person reads the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import DAY, DAY_ZERO, World, bundle, new_device, source, write_tree

from deltaseal.bundle import make_signers
from deltaseal.bundle.scenario_bundles import build_scenario
from deltaseal.device import Device, create
from deltaseal.edge import HookResult
from deltaseal.errors import DamagedError, DeltasealError, DocumentTypeError, SignatureError
from deltaseal.manifest import Scenario
from deltaseal.repo import DirectorySource
from deltaseal.report import (
    Audited,
    KnownFix,
    Pending,
    Problem,
    apple,
    audit_lines,
    check_audit,
    intune_files,
    intune_values,
    jamf,
    openvex,
)
from deltaseal.trust import PrivateKey, Trust, UnverifiedDocument

from .test_values import STATUS

GOLDEN = Path(__file__).parent / "golden"
SCENARIO = Path(__file__).parents[2] / "examples/march-2026.toml"

# The four devices: what each is, what became of it.
DEVICES = {
    "iphone": ("ios", "23D8133", "iPhone17,1", "phone"),  # has the improvement
    "ipad": ("ipados", "23D8133", "iPad16,3", "pad"),  # has not looked yet
    "mac": ("macos", "25D2128", "Mac15,6", "mac"),  # a person removed it
    "neo": ("macos", "25D2140", "Mac17,5", "neo"),  # it failed its trial
}


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the scenario's publisher hands out, and the trees of its devices."""
    top = tmp_path_factory.mktemp("scenario")
    read = Scenario.loads(SCENARIO.read_text())
    trees_at = {}
    for name in read.trees:
        body = hashlib.shake_256(name.removesuffix("-fixed").encode()).digest(2_000)
        fixed = body[:700] + b"fixed" + body[705:] if name.endswith("-fixed") else body
        write_tree(top / "trees" / name / "app", {"lib/engine.so": fixed})
        trees_at[name] = top / "trees" / name / "app"
    count = iter(range(1_000))
    random = lambda size: hashlib.shake_256(b"key %d" % next(count)).digest(size)  # noqa: E731
    signers, _ = make_signers(read, day_zero=DAY_ZERO, random=random)
    built = build_scenario(read, trees_at=trees_at, day_zero=DAY_ZERO, signers=signers)
    (top / "offers").mkdir()
    built.publish(top / "offers")
    for (os_name, build), base in built.bases.items():
        (top / f"{os_name}-{build}.base").write_bytes(base.to_bytes())
    (top / "trust.json").write_bytes(signers.trust.dumps())
    return top


@pytest.fixture(scope="module")
def devices(scenario: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Device]:
    """The four, each after what happened to it."""
    stores = tmp_path_factory.mktemp("stores")
    made: dict[str, Device] = {}
    for name, (os_name, build, model, tree) in DEVICES.items():
        world = World()
        made[name] = create(
            stores / name,
            base=UnverifiedDocument.loads((scenario / f"{os_name}-{build}.base").read_bytes()),
            trees=scenario / "trees" / tree,
            trust=Trust.load((scenario / "trust.json").read_bytes()),
            model=model,
            edge=world.edge(),
        )
        offers = [DirectorySource(scenario / "offers")]
        if name == "iphone":
            made[name].update(offers)
        if name == "mac":
            made[name].update(offers)
            made[name].remove()
        if name == "neo":
            (stores / name / "health.d/pages").write_text("#!/bin/sh\n")
            (stores / name / "health.d/pages").chmod(0o755)
            world.hooks["pages"] = HookResult(1, "no page loads")
            with pytest.raises(DeltasealError, match="rolled back"):
                made[name].update(offers)
    return made


def exports(device: Device, scenario: Path) -> Iterator[tuple[str, str]]:
    status = device.status()
    yield "apple.json", apple(status)
    yield "jamf.xml", jamf(status)
    yield "intune.json", intune_values(status)
    for name, text in intune_files(status, store="/var/lib/deltaseal").items():
        yield f"intune/{name}", text
    known = device.known_fixes([DirectorySource(scenario / "offers")])
    yield "openvex.json", openvex(status, known, now=DAY_ZERO + DAY, program="deltaseal")
    yield "audit.jsonl", plain(b"".join(device.audit()).decode())


def plain(audit: str) -> str:
    """Without what differs with each change of the engine: digests, sizes, the signature over them."""
    audit = re.sub(r"[0-9a-f]{64}", "<digest>", audit)
    audit = re.sub(r'"(fetched|total)":[0-9]+', r'"\1":"<size>"', audit)
    return re.sub(r'"signature":"[^"]*"', '"signature":"<signature>"', audit)


@pytest.mark.parametrize("name", DEVICES)
def test_every_export_is_as_it_was(name: str, devices: dict[str, Device], scenario: Path) -> None:
    for file, text in exports(devices[name], scenario):
        path = GOLDEN / name / file
        if os.environ.get("DELTASEAL_GOLDEN") == "new":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{name}/{file}"


@pytest.mark.parametrize("name", DEVICES)
def test_what_each_tool_reads(name: str, devices: dict[str, Device], scenario: Path) -> None:
    files = dict(exports(devices[name], scenario))
    applied = name == "iphone"
    items = json.loads(files["apple.json"])["StatusItems"]
    supplemental = items["device"]["operating-system"]["supplemental"]
    assert supplemental["extra-version"] == ("a" if applied else "")
    assert items["softwareupdate"]["install-state"] == ("failed" if name == "neo" else "none")
    assert items["softwareupdate"]["failure-reason"]["count"] == (name == "neo")
    result = xml.fromstring(files["jamf.xml"])
    assert (result.tag, result.text) == ("result", devices[name].status().numeric)
    (line,) = files["intune.json"].splitlines()
    values = json.loads(line)
    rules = json.loads(files["intune/compliance.json"])["Rules"]
    assert {rule["SettingName"] for rule in rules} <= set(values)
    assert len(rules) <= 100
    (statement,) = json.loads(files["openvex.json"])["statements"]
    assert statement["vulnerability"]["name"] == "CVE-2026-20643"
    assert statement["status"] == ("fixed" if applied else "affected")
    assert ("action_statement" in statement) is not applied


def test_the_scripts_are_scripts(devices: dict[str, Device], tmp_path: Path) -> None:
    files = intune_files(devices["mac"].status(), store="/a folder/of 'mine'")
    for name in ("discover.sh", "attribute.sh"):
        (tmp_path / name).write_text(files[name])
        subprocess.run(["sh", "-n", tmp_path / name], check=True)
    (tmp_path / "deltaseal").write_text('#!/bin/sh\necho "<result>$6</result>"\n')
    (tmp_path / "deltaseal").chmod(0o755)
    shown = subprocess.run(
        ["sh", tmp_path / "attribute.sh"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "/a folder/of 'mine'\n"
    assert "'/a folder/of ''mine'''" in files["discover.ps1"]


def test_openvex_says_what_is_still_to_do() -> None:
    fix = KnownFix("CVE-1", "app", "Web", "x-a", "a")
    at_rest = replace(STATUS, underway=None)

    def to_do(**changes: object) -> str:
        text = openvex(replace(at_rest, **changes), [fix], now=0, program="p")  # type: ignore[arg-type]
        (found,) = json.loads(text)["statements"]
        return str(found["action_statement"])

    assert to_do() == "install x-a"
    assert "failed here and is held" in to_do(problems=(Problem("held", "x-a", "it failed"),))
    assert STATUS.underway is not None
    waiting = replace(STATUS.underway, id="x-a", stage="waiting to be used")
    assert to_do(underway=waiting, pending=Pending("restart", ())) == (
        "x-a fixes it and is waiting to be used; to do: restart"
    )


# ---- the audit ----------------------------------------------------------------------------------------


def test_an_audit_proves_itself(devices: dict[str, Device]) -> None:
    device = devices["neo"]
    data = b"".join(device.audit())
    summary = check_audit(data)
    assert (summary.device, summary.state) == (device.identity().id, "BASELINE")
    assert summary.records == len(device.history())
    assert check_audit(data, key=summary.key) == summary
    with pytest.raises(SignatureError, match="another key"):
        check_audit(data, key=PrivateKey.generate("ed25519").public)


def test_any_changed_line_is_noticed(devices: dict[str, Device]) -> None:
    data = b"".join(devices["neo"].audit())
    lines = data.splitlines(keepends=True)
    for bent in (
        data.replace(b"BASELINE", b"ACTIVE", 1),
        b"".join(lines[:-2] + lines[-1:]),  # the last record is gone
        b"".join([lines[0], *lines[2:]]),
        b"".join([*lines[:3], lines[2], *lines[3:]]),
        b"".join(lines[:-1]),  # no signature
        data[:-20],
        data + lines[-1],
        b"",
    ):
        with pytest.raises((SignatureError, DamagedError, DocumentTypeError)):
            check_audit(bent)


def test_what_a_device_signed_over_a_broken_chain_is_refused() -> None:
    signer = PrivateKey.generate("ed25519")
    first = Audited({"n": 1, "prev": "", "state": "BASELINE", "event": "checkpoint"})
    wrong = Audited({"n": 2, "prev": "0" * 64, "state": "BASELINE", "event": "request"})

    def audit(*entries: Audited, fault: str = "") -> bytes:
        return b"".join(audit_lines("d", entries, fault=fault, made=1, signer=signer))

    assert check_audit(audit(first)).records == 1
    with pytest.raises(DamagedError, match="record 2 does not follow"):
        check_audit(audit(first, wrong))
    with pytest.raises(DamagedError, match="damaged when the audit was made"):
        check_audit(audit(first, fault="torn"))


def test_a_damaged_journal_is_exported_with_its_fault(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    device.update([source(bundle("a"))])
    segment = device.path / "journal/00000001"
    segment.write_bytes(segment.read_bytes().replace(b'"staged"', b'"stagex"', 1))
    data = b"".join(device.audit())
    with pytest.raises(DamagedError):
        check_audit(data)
    assert data.count(b'"evidence":true') > 0
    with pytest.raises(DamagedError):
        device.recover()
    device.recover()
    summary = check_audit(b"".join(device.audit()))  # from the checkpoint after the damage on
    assert summary.evidence > 0
    assert summary.state == device.status().state


def test_the_key_is_read_by_its_owner_only(devices: dict[str, Device]) -> None:
    assert {(each.path / "device.key").stat().st_mode & 0o777 for each in devices.values()} == {0o600}
