"""The second reader of bodies and ours say the same of good bodies and of changed ones."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import manifests_reader as theirs
from support import bodies

from deltaseal.errors import DeltasealError
from deltaseal.manifest import Base, BundleManifest, Catalogue, DeviceManifest, Request

KINDS = {
    Base: (theirs.base, bodies.bases),
    BundleManifest: (theirs.bundle_manifest, bodies.manifests),
    DeviceManifest: (theirs.device_manifest, bodies.permits),
    Catalogue: (theirs.catalogue, bodies.catalogues),
    Request: (theirs.request, bodies.requests),
}
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

ODD: list[Any] = [
    None, True, -1, 0, 1, 10_001, 2**53, "", "a", "A", "\u00e9", "x" * 65, "0" * 32, "0" * 64, [], ["a", "a"],
    {}, {"x-a": 1}, {"a": {}}, "delta-letter", "whole", "stable", "not-stated",
]  # fmt: skip


def our_refusal(body: bytes, kind: Any) -> str | None:
    try:
        kind.loads(body)
    except DeltasealError as error:
        return error.reason
    return None


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *paths(item, (*path, key)))]


def changed(body: Any, data: st.DataObject) -> Any:
    """A body with one field removed, added, replaced, or put twice into its list."""
    body = copy.deepcopy(body)
    path = data.draw(st.sampled_from(paths(body)))
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    how = data.draw(st.sampled_from(("remove", "replace", "add", "twice")))
    if how == "remove":
        del holder[path[-1]]
    elif how == "replace":
        holder[path[-1]] = data.draw(st.sampled_from(ODD))
    elif how == "add" and isinstance(holder, dict):
        holder[data.draw(st.sampled_from(("x-note", "extra", "models", "personal", "letter")))] = data.draw(
            st.sampled_from(ODD)
        )
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[path[-1]]))
    return body


@by_kind
@given(data=st.data())
@settings(max_examples=30)
def test_both_take_what_is_well_formed(kind: Any, data: st.DataObject) -> None:
    check, values = KINDS[kind]
    body = data.draw(values).dumps()
    assert our_refusal(body, kind) is theirs.refusal(body, check) is None


@by_kind
@given(data=st.data())
@settings(max_examples=120)
def test_both_say_the_same_of_a_changed_body(kind: Any, data: st.DataObject) -> None:
    check, values = KINDS[kind]
    body = json.dumps(changed(json.loads(data.draw(values).dumps()), data)).encode()
    assert our_refusal(body, kind) == theirs.refusal(body, check)
