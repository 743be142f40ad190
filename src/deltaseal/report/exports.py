"""What a device says of itself, in the words of other people's tools. Pure: values in, text out.

Sources: Apple's declarative status items (github.com/apple/device-management, declarative/status); Jamf Pro's
extension attributes; Intune's custom compliance settings (JSON of rules, discovery scripts) and custom
attributes for macOS; OpenVEX 0.2.0.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

from deltaseal.report.status import Problem, Status
from deltaseal.report.words import rfc3339

__all__ = [
    "KnownFix",
    "apple",
    "intune_files",
    "intune_rule",
    "intune_scripts",
    "intune_values",
    "jamf",
    "openvex",
    "openvex_document",
]

INTUNE_RULES: Final = 100  # of one policy, at most

_INSTALL_STATE: Final = {
    "FETCHING": "downloading",
    "STAGING": "downloading",
    "STAGED": "prepared",
    "SWITCHING": "installing",
    "WAITING": "installing",
    "TRIAL": "installing",
    "ROLLING_BACK": "installing",
    "REMOVING": "installing",
    "REBASING": "installing",
    "BROKEN": "failed",
}


_NOT_BY_ITSELF: Final = {
    "withdrawn": "was withdrawn; a higher letter is needed",
    "held": "failed here and is held; a person can try it again, or a higher letter comes",
    "removed": "was removed by a person, who can install it again; or a higher letter comes",
}


@dataclass(frozen=True, slots=True)
class KnownFix:
    """A fix that a device has heard of: applied, offered once, or listed in a catalogue."""

    cve: str
    component: str  # empty where only the catalogue is known
    title: str
    improvement: str  # id of one that brings it
    letter: str


def apple(status: Status) -> str:
    """A status report with the items that Apple's device management knows, as JSON."""
    failures = [problem for problem in status.problems if problem.kind in ("held", "retry")]
    state = _INSTALL_STATE.get(status.state) or ("failed" if failures else "none")
    reason: dict[str, Any] = {"count": len(failures)}
    if failures:
        reason["reason"] = f"{failures[-1].reason}: {failures[-1].sentence}"
        if failures[-1].kind == "held":
            reason["timestamp"] = rfc3339(failures[-1].time)
    operating_system = {
        "build-version": status.base_build,
        "family": status.name.split(" ")[0],
        "supplemental": {"build-version": status.build, "extra-version": status.letter or ""},
        "version": status.version,
    }
    items = {
        "device": {
            "identifier": {"udid": status.device},
            "model": {"identifier": status.model},
            "operating-system": operating_system,
        },
        "softwareupdate": {"failure-reason": reason, "install-state": state},
    }
    return _json({"Errors": [], "StatusItems": items})


def jamf(status: Status) -> str:
    """The answer of an extension attribute's script: the version in numbers, which compare rightly."""
    return f"<result>{escape(status.numeric)}</result>\n"


def intune_values(status: Status) -> str:
    """What a discovery script answers: one line of JSON."""
    values = {
        "DeltasealBroken": status.state == "BROKEN",
        "DeltasealHeld": _count(status.problems, "held"),
        "DeltasealLetter": status.letter or "",
        "DeltasealPending": status.pending is not None,
        "DeltasealState": status.state,
        "DeltasealVersion": status.numeric,
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n"


def intune_files(status: Status, *, store: str) -> dict[str, str]:
    """The policy that asks for what this device has, and the scripts that answer on a device."""
    known = (
        f"https://www.cve.org/CVERecord?id={_fixes(status)[0]}" if _fixes(status) else "https://www.cve.org/"
    )
    rules = [
        intune_rule(
            "DeltasealVersion",
            "GreaterEquals",
            "Version",
            status.numeric,
            known,
            f"{status.name} or later is needed",
            "Let the device look for improvements, or install the one that it names as its next step.",
        ),
        intune_rule(
            "DeltasealPending",
            "IsEquals",
            "Boolean",
            False,
            known,
            "An improvement is not in use everywhere yet",
            "Restart the device, or the programs that its status names.",
        ),
        intune_rule(
            "DeltasealBroken",
            "IsEquals",
            "Boolean",
            False,
            known,
            "The device's components are damaged",
            "Put the device on its base again with `deltaseal device rebase`.",
        ),
    ]
    assert len(rules) <= INTUNE_RULES
    return {"compliance.json": _json({"Rules": rules}), **intune_scripts(store)}


def intune_scripts(store: str) -> dict[str, str]:
    """The scripts that answer on a device, by their names."""
    asked = f"deltaseal device export --as intune --store {shlex.quote(store)}"
    windows = store.replace("'", "''")
    return {
        "discover.sh": f"#!/bin/sh\n# Custom compliance on Linux: one line of JSON.\nexec {asked}\n",
        "discover.ps1": (
            "# Custom compliance on Windows: one line of JSON.\n"
            f"$found = deltaseal device export --as intune --store '{windows}'\n"
            "return $found | ConvertFrom-Json | ConvertTo-Json -Compress\n"
        ),
        "attribute.sh": (
            "#!/bin/sh\n# A custom attribute on macOS: the bare value.\n"
            f"deltaseal device export --as jamf --store {shlex.quote(store)} | sed 's/<[^>]*>//g'\n"
        ),
    }


def openvex(status: Status, known: Iterable[KnownFix], *, now: int, program: str) -> str:
    """One statement for each CVE that the device has heard of: ``fixed`` or ``affected``.

    The product is the pair of base and letter, as a package URL of type ``generic``.
    """
    fixed = set(_fixes(status))
    of: dict[str, KnownFix] = {}
    for each in known:
        if each.cve not in of or each.letter < of[each.cve].letter:
            of[each.cve] = each
    product = f"pkg:generic/{status.os}@{status.version}?build={status.base_build}"
    if status.letter:
        product += f"&letter={status.letter}"
    statements = [_statement(status, each, product, fixed) for _, each in sorted(of.items())]
    id = f"urn:deltaseal:vex:{status.device}:{now}"
    return openvex_document(id, f"device {status.device}", statements, now=now, program=program)


def openvex_document(
    id: str, author: str, statements: list[dict[str, Any]], *, now: int, program: str
) -> str:
    """Statements as one document of OpenVEX 0.2.0."""
    return _json(
        {
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": id,
            "author": author,
            "statements": statements,
            "timestamp": rfc3339(now),
            "tooling": program,
            "version": 1,
        }
    )


def _statement(status: Status, fix: KnownFix, product: str, fixed: set[str]) -> dict[str, Any]:
    named: dict[str, Any] = {"@id": product}
    if fix.component:
        named["subcomponents"] = [{"@id": f"{product}#{fix.component}"}]
    statement: dict[str, Any] = {"products": [named], "vulnerability": {"name": fix.cve}}
    if fix.cve not in fixed:
        return {**statement, "action_statement": _to_do(status, fix), "status": "affected"}
    if status.pending:
        users = ", ".join(status.pending.processes)
        statement["status_notes"] = f"still to do: {status.pending.what}" + (f" of {users}" if users else "")
    return {**statement, "status": "fixed"}


def _to_do(status: Status, fix: KnownFix) -> str:
    if status.underway and status.underway.id == fix.improvement:
        waiting = f"; to do: {status.pending.what}" if status.pending else ""
        return f"{fix.improvement} fixes it and is {status.underway.stage}{waiting}"
    kinds = {problem.kind for problem in status.problems if problem.about == fix.improvement}
    for kind, words in _NOT_BY_ITSELF.items():
        if kind in kinds:
            return f"{fix.improvement} fixes it, but {words}"
    return f"install {fix.improvement}"


def _fixes(status: Status) -> list[str]:
    return sorted({fix["cve"] for fix in status.applied.fixes}) if status.applied else []


def _count(problems: Iterable[Problem], kind: str) -> int:
    return sum(problem.kind == kind for problem in problems)


def intune_rule(
    name: str, operator: str, kind: str, operand: Any, more: str, title: str, description: str
) -> dict[str, Any]:
    """One rule of a custom compliance policy."""
    return {
        "SettingName": name,
        "Operator": operator,
        "DataType": kind,
        "Operand": operand,
        "MoreInfoUrl": more,
        "RemediationStrings": [{"Language": "en_US", "Title": title, "Description": description}],
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
