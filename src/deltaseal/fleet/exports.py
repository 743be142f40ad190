"""What a fleet knows, in the words of other people's tools. Values in, text out.

Sources: Jamf Pro's extension attributes and the computer records of its classic API; Intune's custom
compliance settings; OpenVEX 0.2.0. Each is one file, or a folder of files by name.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from deltaseal.errors import DocumentTypeError, SignatureError, UsageError
from deltaseal.fleet.publisher import Improvement, Publisher
from deltaseal.fleet.store import Fleet
from deltaseal.manifest import full_name, numeric
from deltaseal.report import intune_rule, intune_scripts, openvex_document
from deltaseal.trust import PublicKey, Signer, pre_authentication_encoding, strict_json

__all__ = ["AUDIT_TYPE", "audit_lines", "check_audit", "intune", "jamf", "openvex"]

AUDIT_TYPE: Final = "deltaseal/fleet-audit"
FORMAT: Final = 1

_ATTRIBUTE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<computer_extension_attribute>
  <name>deltaseal version</name>
  <description>The system's version with its improvement, in numbers that compare rightly</description>
  <data_type>String</data_type>
  <input_type>
    <type>script</type>
    <platform>Mac</platform>
    <script>{script}</script>
  </input_type>
  <inventory_display>Operating System</inventory_display>
</computer_extension_attribute>
"""


def jamf(fleet: Fleet, publisher: Publisher, *, store: str) -> dict[str, str]:
    """The extension attribute to create, and its value for every Mac that was heard of."""
    script = f"#!/bin/sh\ndeltaseal device export --as jamf --store {store}\n"
    computers = "".join(_computers(fleet, publisher))
    return {
        "extension-attribute.xml": _ATTRIBUTE.format(script=escape(script)),
        "computers.xml": f'<?xml version="1.0" encoding="UTF-8"?>\n<computers>\n{computers}</computers>\n',
    }


def _computers(fleet: Fleet, publisher: Publisher) -> Iterator[str]:
    rows = fleet.rows(
        "SELECT device, model, version, active FROM devices WHERE os = 'macos' AND heard > 0 ORDER BY device"
    )
    for device, model, version, active in rows:
        yield (
            f"  <computer><general><udid>{escape(device)}</udid></general>"
            f"<hardware><model_identifier>{escape(model)}</model_identifier></hardware>"
            "<extension_attributes><extension_attribute><name>deltaseal version</name>"
            f"<value>{escape(numeric(version, _letter(publisher, active)))}</value>"
            "</extension_attribute></extension_attributes></computer>\n"
        )


def intune(publisher: Publisher, *, store: str) -> dict[str, str]:
    """One policy for each base, to be assigned to the devices that are on it, and the scripts that answer.

    A version compares rightly only within a base: 26.3.2 without its improvement is above 26.3.1 with it.
    """
    files = dict(intune_scripts(store))
    for os, catalogue in sorted(publisher.catalogues.items()):
        for base in catalogue.bases:
            offered = [one for one in publisher.on_base(os, base.build) if not one.action]
            rules = [*_version_rule(os, base.version, base.build, offered), *_state_rules()]
            files[f"compliance-{os}-{base.build}.json"] = _json({"Rules": rules})
    return files


def _version_rule(os: str, version: str, build: str, offered: list[Improvement]) -> Iterator[dict[str, Any]]:
    if not offered:
        return
    letter, cves = offered[-1].listed.letter, sorted({cve for one in offered for cve in one.listed.cves})
    more = f"https://www.cve.org/CVERecord?id={cves[0]}" if cves else "https://www.cve.org/"
    yield intune_rule(
        "DeltasealVersion",
        "GreaterEquals",
        "Version",
        numeric(version, letter),
        more,
        f"{full_name(os, version, letter)} is needed on build {build}",
        f"It closes {', '.join(cves) or 'no named vulnerability'}. Let the device look for improvements.",
    )


def _state_rules() -> Iterator[dict[str, Any]]:
    for name, title, words in (
        ("DeltasealPending", "An improvement is not in use everywhere yet", "Restart what its status names."),
        ("DeltasealBroken", "The device's components are damaged", "Run `deltaseal device rebase` on it."),
    ):
        yield intune_rule(name, "IsEquals", "Boolean", False, "https://www.cve.org/", title, words)


def openvex(fleet: Fleet, publisher: Publisher, *, now: int, program: str) -> str:
    """A statement for each CVE on each pair of base and letter that enrolled devices report."""
    rows = fleet.rows(
        "SELECT os, version, build, active, count(*) FROM devices WHERE heard > 0"
        " GROUP BY os, version, build, active ORDER BY os, version, build, active"
    )
    statements = [
        statement
        for os, version, build, active, count in rows
        for statement in _statements(publisher, os, version, build, active, count)
    ]
    if not statements:
        raise UsageError(
            "no enrolled device has reported, or no catalogue is known: OpenVEX needs a statement",
            hint="take both in with `deltaseal fleet follow` and `deltaseal fleet ingest`",
        )
    return openvex_document(f"urn:deltaseal:vex:fleet:{now}", "fleet", statements, now=now, program=program)


def _statements(
    publisher: Publisher, os: str, version: str, build: str, active: str, count: int
) -> Iterator[dict[str, Any]]:
    catalogue = publisher.catalogues.get(os)
    if catalogue is None:
        return
    letter = _letter(publisher, active)
    product = f"pkg:generic/{os}@{version}?build={build}" + (f"&letter={letter}" if letter else "")
    here = publisher.on_base(os, build)
    included = {cve for base in catalogue.bases if base.build == build for cve in base.includes}
    closed = {cve for one in here if one.listed.id == active for cve in one.listed.cves}
    for cve in sorted(included | {cve for one in here for cve in one.listed.cves}):
        statement: dict[str, Any] = {
            "products": [{"@id": product}],
            "status_notes": f"{count} enrolled {'device' if count == 1 else 'devices'}",
            "vulnerability": {"name": cve},
        }
        if cve in included | closed:
            yield {**statement, "status": "fixed"}
        else:
            offered = [one.listed.id for one in here if cve in one.listed.cves and not one.action]
            action = (
                f"install {offered[-1]}"
                if offered
                else "wait for a higher letter, what fixed it was withdrawn"
            )
            yield {**statement, "action_statement": action, "status": "affected"}


def audit_lines(fleet: Fleet, *, made: int, signer: Signer) -> Iterator[bytes]:
    """The newest report of every enrolled device, as it signed it, and what was refused; signed whole.

    JSON Lines: a head, a line a device, a line for each day and reason of refusals, the signature.
    """
    head = {"format": FORMAT, "type": AUDIT_TYPE, "made": made, "key": signer.public.to_json()}
    hasher = hashlib.sha256()
    for values in (head, *_devices(fleet), *_refusals(fleet)):
        line = strict_json.dumps(values) + b"\n"
        hasher.update(line)
        yield line
    signature = signer.sign(pre_authentication_encoding(AUDIT_TYPE, hasher.digest()))
    yield strict_json.dumps({"signature": base64.b64encode(signature).decode()}) + b"\n"


def _devices(fleet: Fleet) -> Iterator[dict[str, Any]]:
    rows = fleet.rows(
        "SELECT d.device, d.key, d.enrolled, d.heard, r.body, r.signature FROM devices d LEFT JOIN reports r"
        " ON r.device = d.number AND r.sequence = d.sequence AND r.received = d.heard ORDER BY d.device"
    )
    for device, key, enrolled, heard, body, signature in rows:
        values = {
            "device": device,
            "enrolled": enrolled,
            "heard": heard,
            "key": PublicKey("ed25519", key).to_json(),
        }
        if body is not None:
            values["report"] = base64.b64encode(body).decode()
            values["signature"] = base64.b64encode(signature).decode()
        yield values


def _refusals(fleet: Fleet) -> Iterator[dict[str, Any]]:
    rows = fleet.rows(
        "SELECT day, reason, sum(count) FROM refusals GROUP BY day, reason ORDER BY day, reason"
    )
    for day, reason, count in rows:
        yield {"day": day * 86_400, "refused": count, "reason": reason}


def check_audit(lines: list[bytes], key: PublicKey | None = None) -> Mapping[str, int]:
    """Verify an audit of a fleet: its own signature, and each device's under its report. Returns counts."""
    head = strict_json.loads(lines[0])
    if head.get("type") != AUDIT_TYPE or head.get("format") != FORMAT:
        raise DocumentTypeError(f"the first line is not the head of a {AUDIT_TYPE} of format {FORMAT}")
    own = PublicKey.from_json(head["key"])
    message = pre_authentication_encoding(AUDIT_TYPE, hashlib.sha256(b"".join(lines[:-1])).digest())
    signature = base64.b64decode(strict_json.loads(lines[-1])["signature"])
    if (key is not None and key != own) or not own.verify(message, signature):
        raise SignatureError("the signature of the audit does not fit: it was changed, or cut")
    counts = {"devices": 0, "reports": 0}
    for line in lines[1:-1]:
        values = strict_json.loads(line)
        if "device" not in values:
            continue
        counts["devices"] += 1
        if "report" in values:
            body, raw = base64.b64decode(values["report"]), base64.b64decode(values["signature"])
            device = PublicKey.from_json(values["key"])
            if not device.verify(pre_authentication_encoding("deltaseal/report", body), raw):
                raise SignatureError(f"the report of device {values['device']} is not signed by its key")
            counts["reports"] += 1
    return counts


def _letter(publisher: Publisher, active: str) -> str | None:
    known = publisher.improvements.get(active)
    return known.listed.letter if known else None


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
