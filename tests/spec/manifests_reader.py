"""A second reader of the bodies in docs/spec/manifests.md, written from that page alone.

A table a body, in the page's order; a function a kind of field. ``refusal`` gives the page's
reason code, or ``None`` for a body that is well formed. JSON itself is read by the second
reader of documents.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from spec.documents_reader import Json
from spec.documents_reader import Refused as JsonRefused

MOST = 2**53

Check = Callable[[Any], bool]


def shape(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


os = shape(r"[a-z][a-z0-9]{0,31}")
version = shape(r"[0-9]{1,6}(\.[0-9]{1,6}){0,2}")
letter = shape(r"[a-z]")
build = shape(r"[!-~]{1,64}")
improvement = shape(r"[a-z0-9][a-z0-9.-]{0,63}")
component = shape(r"[a-z0-9][a-z0-9_-]{0,31}")
model = shape(r"[!-~]([ -~]{0,62}[!-~])?")
digest = shape(r"[0-9a-f]{64}")
token = shape(r"[0-9a-f]{32,64}")
cve = shape(r"[A-Z][A-Z0-9]{1,15}-[0-9A-Za-z-]{1,40}")


def text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 2000


def number(least: int = 0, most: int = MOST) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def word(*words: str) -> Check:
    return lambda value: value in words


def flag(value: Any) -> bool:
    return type(value) is bool


def different(of: Check) -> Check:
    return lambda value: (
        isinstance(value, list)
        and len(value) <= 10_000
        and all(map(of, value))
        and len(set(value)) == len(value)
    )


def listed(of: Check, *, once: str = "") -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, list) or len(value) > 10_000 or not all(map(of, value)):
            return False
        return not once or len({item[once] for item in value}) == len(value)

    return check


def named(keys: Check, values: Check) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= 10_000
        and all(map(keys, value))
        and all(map(values, value.values()))
    )


def exactly(fields: dict[str, Check], *, optional: dict[str, Check] | None = None) -> Check:
    """An object of these fields; all critical but ``x-…``."""
    known = {**fields, **(optional or {})}

    def check(value: Any) -> bool:
        if not isinstance(value, dict) or not fields.keys() <= value.keys():
            return False
        critical = {name: item for name, item in value.items() if not name.startswith("x-")}
        return critical.keys() <= known.keys() and all(known[name](item) for name, item in critical.items())

    return check


time = size = number()

base = exactly(
    {
        "format": number(0, 0),
        "os": os,
        "version": version,
        "build": build,
        "components": named(component, digest),
        "names": word("sensitive", "insensitive"),
        "exclude": different(text),
    }
)

fix = exactly(
    {"cve": cve, "component": component},
    optional={
        **dict.fromkeys(("title", "impact", "cause", "credit", "reference"), text),
        "exploitation": word("none-known", "reported", "not-stated"),
    },
)

_route = {"sha256": digest, "size": number(1), "bytes": size, "files": number()}
_plain_route = exactly({"kind": word("delta-baseline", "whole"), **_route})
_letter_route = exactly({"kind": word("delta-letter"), **_route, "letter": letter, "tree": digest})


def route(value: Any) -> bool:
    return bool(_plain_route(value) or _letter_route(value))


def _starts(routes: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(one["kind"], one.get("letter")) for one in routes]


_change = exactly(
    {"base": digest, "result": digest, "bytes": size, "entries": number(), "routes": listed(route)}
)


def change(value: Any) -> bool:
    if not _change(value):
        return False
    starts = _starts(value["routes"])
    return starts.count(("delta-baseline", None)) == 1 and len(set(starts)) == len(starts)


limits = exactly({"bytes": size, "memory": size, "seconds": number(), "entries": number()})
CAPS = {"bytes": 2**40, "memory": 2**33, "seconds": 3600, "entries": 2**20}

_bundle_manifest = exactly(
    {
        "format": number(0, 0),
        "id": improvement,
        "os": os,
        "version": version,
        "base_build": build,
        "letter": letter,
        "build": build,
        "sequence": number(1),
        "issued": time,
        "models": different(model),
        "activation": word("relaunch", "restart"),
        "processes": different(text),
        "cves": listed(fix, once="cve"),
        "components": named(component, change),
        "limits": limits,
    },
    optional={"vex": exactly({"sha256": digest, "size": number(1)})},
)


def bundle_manifest(value: Any) -> bool:
    if not _bundle_manifest(value) or not value["components"]:
        return False
    sizes = {(one["sha256"], one["size"]) for part in value["components"].values() for one in part["routes"]}
    sizes |= {(one["sha256"], one["size"]) for one in [value.get("vex")] if one}
    return len({sha256 for sha256, _ in sizes}) == len(sizes)


_permit = {
    "format": number(0, 0),
    "id": improvement,
    "os": os,
    "bundle": digest,
    "channel": word("seed", "stable"),
    "phase": number(0, 10_000),
    "paused": flag,
    "issued": time,
    "expires": time,
}
_static = exactly({**_permit, "models": different(model)})
_personal = exactly({**_permit, "personal": exactly({"device": token, "nonce": token})})


def device_manifest(value: Any) -> bool:
    return bool(_static(value) or _personal(value)) and 0 < value["expires"] - value["issued"] <= 604_800


_catalogue = exactly(
    {
        "format": number(0, 0),
        "os": os,
        "serial": number(1),
        "issued": time,
        "expires": time,
        "minimum_sequence": number(),
        "bases": listed(
            exactly({"version": version, "build": build, "includes": different(cve)}), once="build"
        ),
        "improvements": listed(
            exactly(
                {
                    "id": improvement,
                    "letter": letter,
                    "base_build": build,
                    "bundle": digest,
                    "sequence": number(1),
                    "expires": time,
                    "cves": different(cve),
                }
            ),
            once="id",
        ),
        "withdrawals": listed(
            exactly({"id": improvement, "action": word("keep", "remove", "pin"), "reopens": different(cve)}),
            once="id",
        ),
    }
)


def catalogue(value: Any) -> bool:
    return bool(_catalogue(value)) and value["expires"] > value["issued"]


request = exactly(
    {
        "kind": word("deltaseal/request"),
        "format": number(0, 0),
        "device": token,
        "nonce": token,
        "os": os,
        "model": model,
        "build": build,
    }
)


def refusal(body: bytes, of: Check) -> str | None:
    """The reason code with which a body is refused."""
    try:
        value = Json(body).object_at_the_top()
    except JsonRefused as error:
        return str(error)
    if not of(value):
        return "E_TYPE"
    if of is bundle_manifest and any(value["limits"][name] > cap for name, cap in CAPS.items()):
        return "E_LIMIT"
    return None
