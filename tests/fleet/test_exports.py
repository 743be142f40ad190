"""What a fleet says in the words of other tools, held against files.

    DELTASEAL_GOLDEN=new pytest tests/fleet/test_exports.py

writes them anew; a person reads the difference.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.devices import signers, trust
from support.fleets import take_in
from support.publisher import DAY_ZERO

from deltaseal.errors import SignatureError, UsageError
from deltaseal.fleet import Fleet, create_fleet, exports, publisher_of
from deltaseal.manifest import PERSONALISER

from .vendor import BATTERY, NOW, POLICY, fleet, held, said

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def eight(tmp_path: Path) -> Iterator[Fleet]:
    """Two devices of each kind: the first four have it; others wait, failed, are silent."""
    with fleet(tmp_path / "fleet.db", 8) as made:
        reports = [said(number, active=True) for number in range(4)]
        reports += [said(4, blocked=POLICY), said(5, blocked=BATTERY), said(6, holds=held(6))]
        take_in(made, *reports, said(6)[:-1] + b"?", now=NOW - 3_600)
        yield made


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("DELTASEAL_GOLDEN") == "new":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_jamf(eight: Fleet) -> None:
    files = exports.jamf(eight, publisher_of(eight), store="/var/lib/deltaseal")
    for name, text in files.items():
        xml.fromstring(text)
        golden(f"jamf-{name}", text)
    values = [one.text for one in xml.fromstring(files["computers.xml"]).iter("value")]
    assert sorted(values) == ["26.3.1.0", "26.3.1.1", "26.3.2.1"]


def test_intune(eight: Fleet) -> None:
    files = exports.intune(publisher_of(eight), store="/var/lib/deltaseal")
    for name, text in files.items():
        golden(f"intune-{name}", text)
    neo = json.loads(files["compliance-macos-25D2140.json"])["Rules"]
    assert [rule["Operand"] for rule in neo if rule["DataType"] == "Version"] == ["26.3.2.1"]
    assert len(files) == 4 + 3


def test_openvex(eight: Fleet) -> None:
    text = exports.openvex(eight, publisher_of(eight), now=NOW, program="deltaseal 0")
    golden("openvex.json", text)
    statements = json.loads(text)["statements"]
    assert {one["status"] for one in statements} == {"fixed", "affected"}
    assert all(one["products"] and one["vulnerability"] for one in statements)


def test_openvex_needs_a_statement(tmp_path: Path) -> None:
    with (
        create_fleet(tmp_path / "empty.db", trust()) as empty,
        pytest.raises(UsageError, match="needs a statement"),
    ):
        exports.openvex(empty, publisher_of(empty), now=NOW, program="deltaseal 0")


def test_audit(eight: Fleet) -> None:
    key = signers(PERSONALISER)[0]
    lines = list(exports.audit_lines(eight, made=NOW, signer=key))
    golden("audit.jsonl", b"".join(lines).decode())
    assert exports.check_audit(lines, key.public) == {"devices": 8, "reports": 7}
    assert json.loads(lines[-2]) == {
        "day": DAY_ZERO // 86_400 * 86_400 + 86_400,
        "reason": "E_SIG",
        "refused": 1,
    }


def test_an_audit_that_was_edited_or_cut_does_not_verify(eight: Fleet) -> None:
    key = signers(PERSONALISER)[0]
    lines = list(exports.audit_lines(eight, made=NOW, signer=key))
    for bad in (
        [*lines[:3], *lines[4:]],
        [lines[0], lines[1].replace(b'"heard":1', b'"heard":2'), *lines[2:]],
    ):
        with pytest.raises(SignatureError):
            exports.check_audit(bad)
    with pytest.raises(SignatureError):
        exports.check_audit(lines, signers("release:macos")[0].public)
