"""Bodies of documents: what is written is read back, and nothing else is read."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import bodies
from support.publisher import BASE, CATALOGUE, MANIFEST, PERMIT, PERSONAL, digest

from deltaseal.errors import DeltasealError, DocumentTypeError, LimitError
from deltaseal.manifest import (
    HARD_CAP,
    LIFETIME,
    Base,
    BundleManifest,
    Catalogue,
    DeviceManifest,
    Request,
    Withdrawal,
)
from deltaseal.trust import strict_json

REQUEST = Request(PERSONAL, "macos", "Mac15,6", "25D2128")
EXAMPLES = (BASE, MANIFEST, PERMIT, CATALOGUE, REQUEST)
by_kind = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: type(one).__name__)


def body_of(example: Any) -> dict[str, Any]:
    return json.loads(example.dumps())


def read(kind: type[Any], body: dict[str, Any]) -> Any:
    return kind.loads(strict_json.dumps(body))


@given(st.one_of(bodies.bases, bodies.manifests, bodies.permits, bodies.catalogues, bodies.requests))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert type(value).loads(value.dumps()) == value


@given(st.one_of(bodies.bases, bodies.manifests, bodies.permits, bodies.catalogues))
def test_the_order_of_fields_means_nothing(value: Any) -> None:
    backwards = dict(reversed(list(body_of(value).items())))
    assert type(value).loads(json.dumps(backwards).encode()) == value


def objects_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every object with fixed fields: not those whose keys are names of components."""
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in objects_in(item, (*path, index))]
    if not isinstance(value, dict):
        return []
    here = [] if path and path[-1] == "components" else [path]
    return here + [found for key, item in value.items() for found in objects_in(item, (*path, key))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


WITHDRAWN = replace(CATALOGUE, withdrawals=(Withdrawal(MANIFEST.id, "remove", ("CVE-2026-20643",)),))
PLACES = [(example, path) for example in (*EXAMPLES, WITHDRAWN) for path in objects_in(body_of(example))]
by_place = pytest.mark.parametrize(
    ("example", "path"), PLACES, ids=lambda one: "/".join(map(str, one)) if isinstance(one, tuple) else ""
)


@by_place
def test_H55_unknown_critical_field(example: Any, path: tuple[Any, ...]) -> None:
    body = body_of(example)
    at(body, path)["surprise"] = 1
    with pytest.raises(DocumentTypeError, match="surprise"):
        read(type(example), body)


@by_place
def test_a_field_of_notes_may_be_ignored(example: Any, path: tuple[Any, ...]) -> None:
    body = body_of(example)
    at(body, path)["x-note"] = {"any": ["thing"]}
    assert read(type(example), body) == example


@by_place
def test_every_field_is_needed(example: Any, path: tuple[Any, ...]) -> None:
    optional = {"title", "impact", "cause", "credit", "reference", "exploitation"}
    for name in set(at(body_of(example), path)) - optional:
        body = body_of(example)
        del at(body, path)[name]
        with pytest.raises(DocumentTypeError):
            read(type(example), body)


@by_place
def test_no_field_takes_a_value_of_another_kind(example: Any, path: tuple[Any, ...]) -> None:
    for name, value in at(body_of(example), path).items():
        for other in ({"a": 1}, [[]], "\u00e9" * 3000, -1, True, None):
            if isinstance(value, bool) and isinstance(other, bool):
                continue
            body = body_of(example)
            at(body, path)[name] = other
            with pytest.raises(DeltasealError):
                read(type(example), body)


FAULTS: list[tuple[Any, tuple[Any, ...], Any]] = [
    (MANIFEST, ("format",), 1),
    (MANIFEST, ("id",), "Upper"),
    (MANIFEST, ("id",), "../up"),
    (MANIFEST, ("os",), "mac os"),
    (MANIFEST, ("version",), "26.3.1 (a)"),
    (MANIFEST, ("version",), "26.3.1.1"),
    (MANIFEST, ("letter",), "aa"),
    (MANIFEST, ("letter",), "A"),
    (MANIFEST, ("build",), ""),
    (MANIFEST, ("build",), "25D 1"),
    (MANIFEST, ("sequence",), 0),
    (MANIFEST, ("models",), ["Mac15,6", "Mac15,6"]),
    (MANIFEST, ("activation",), "now"),
    (MANIFEST, ("components",), {}),
    (MANIFEST, ("components", "../app"), {}),
    (MANIFEST, ("components", "app", "base"), "0" * 63),
    (MANIFEST, ("components", "app", "base"), "A" * 64),
    (MANIFEST, ("components", "app", "routes"), []),
    (MANIFEST, ("components", "app", "routes", 0, "size"), 0),
    (MANIFEST, ("components", "app", "routes", 0, "kind"), "magic"),
    (MANIFEST, ("components", "app", "routes", 1, "kind"), "delta-baseline"),
    (MANIFEST, ("components", "app", "routes", 1, "kind"), "delta-letter"),
    (MANIFEST, ("components", "app", "routes", 1, "sha256"), digest("baseline payload")),
    (MANIFEST, ("cves",), [{"cve": "CVE-1-1", "component": "app"}] * 2),
    (MANIFEST, ("cves",), [{"cve": "CVE-1-1", "component": "app", "title": ""}]),
    (PERMIT, ("expires",), PERMIT.issued),
    (PERMIT, ("expires",), PERMIT.issued + LIFETIME + 1),
    (PERMIT, ("phase",), 10_001),
    (PERMIT, ("channel",), "beta"),
    (PERMIT, ("personal",), {"device": "0" * 32, "nonce": "0" * 32}),
    (CATALOGUE, ("expires",), CATALOGUE.issued),
    (CATALOGUE, ("serial",), 0),
    (CATALOGUE, ("bases",), [{"version": "1", "build": "x", "includes": []}] * 2),
    (CATALOGUE, ("withdrawals",), [{"id": "a", "action": "hide", "reopens": []}]),
    (BASE, ("names",), "both"),
    (BASE, ("components",), {"app": "short"}),
    (REQUEST, ("kind",), "deltaseal/base"),
    (REQUEST, ("nonce",), "xyz"),
]


@pytest.mark.parametrize(("example", "path", "value"), FAULTS)
def test_a_malformed_field_is_refused(example: Any, path: tuple[Any, ...], value: Any) -> None:
    body = copy.deepcopy(body_of(example))
    at(body, path[:-1])[path[-1]] = value
    with pytest.raises(DocumentTypeError):
        read(type(example), body)


def test_the_longest_life_of_a_device_manifest_is_seven_days() -> None:
    body = body_of(PERMIT)
    body["expires"] = body["issued"] + LIFETIME
    assert read(DeviceManifest, body).expires - PERMIT.issued == 7 * 86_400


@pytest.mark.parametrize("name", ["bytes", "entries", "memory", "seconds"])
def test_limits_stop_at_the_hard_cap(name: str) -> None:
    body = body_of(MANIFEST)
    body["limits"][name] = HARD_CAP.to_json()[name]
    assert read(BundleManifest, body).limits.to_json()[name] == HARD_CAP.to_json()[name]
    body["limits"][name] += 1
    with pytest.raises(LimitError):
        read(BundleManifest, body)


def test_an_empty_list_of_models_can_be_said() -> None:
    body = body_of(MANIFEST)
    body["models"] = []
    assert read(BundleManifest, body).models == ()


def test_payloads_lie_in_order_each_once() -> None:
    body = body_of(MANIFEST)
    change = body["components"]["app"]
    body["components"] = {"os": copy.deepcopy(change), "app": change}
    body["components"]["os"]["routes"][0] |= {"sha256": digest("another"), "size": 7}
    manifest = read(BundleManifest, body)
    assert manifest.payloads() == (
        (digest("baseline payload"), 5_000),
        (digest("whole payload"), 200_000),
        (digest("another"), 7),
    )


def test_a_request_has_a_limit() -> None:
    with pytest.raises(DocumentTypeError, match="at most"):
        Request.loads(REQUEST.dumps() + b" " * 4096)


@by_kind
def test_a_body_of_one_kind_is_none_of_another(example: Any) -> None:
    for kind in (Base, BundleManifest, DeviceManifest, Catalogue, Request):
        if kind is not type(example):
            with pytest.raises(DocumentTypeError):
                kind.loads(example.dumps())
