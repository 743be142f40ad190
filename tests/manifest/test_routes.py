"""Routes and the space that they need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publisher import CHANGE, MANIFEST, digest

from deltaseal.manifest import ROUTE_LETTER, Policy, Route, need, usable_routes

LETTER = Route(ROUTE_LETTER, digest("letter payload"), 900, 600_000, 3, "a", digest("result of a"))
BASELINE, WHOLE = CHANGE.routes
THREE = replace(CHANGE, routes=(BASELINE, LETTER, WHOLE))


def kinds(active_tree: str | None = None, *, metered: bool | None = None, **policy: str) -> list[str]:
    routes = usable_routes(THREE, active_tree=active_tree, policy=Policy(**policy), metered=metered)
    return [route.kind for route in routes]


def test_R15_routes_by_bytes() -> None:
    assert kinds() == ["delta-baseline", "whole"]
    assert kinds(digest("result of a")) == ["delta-letter", "delta-baseline", "whole"]
    assert kinds(digest("result of b")) == ["delta-baseline", "whole"]


@pytest.mark.parametrize(
    ("full_download", "metered", "whole"),
    [
        ("always", True, True),
        ("always", None, True),
        ("unmetered", False, True),
        ("unmetered", True, False),
        ("unmetered", None, False),
        ("never", False, False),
    ],
)
def test_R17_whole_files_only_where_the_policy_allows_the_bytes(
    full_download: str, metered: bool | None, whole: bool
) -> None:
    assert ("whole" in kinds(metered=metered, full_download=full_download)) is whole


def test_R14_what_counts() -> None:
    shared = need(MANIFEST, {"app": BASELINE}, reflinks=True)
    assert shared.bytes == -(-(5_000 + 600_000) * 110 // 100)
    copied = need(MANIFEST, {"app": BASELINE}, reflinks=False)
    assert copied.bytes == -(-(5_000 + 1_000_000) * 110 // 100)
    assert shared.inodes == copied.inodes == -(-(40 + 1) * 110 // 100)


@given(size=st.integers(1, 2**50), written=st.integers(0, 2**50), result=st.integers(0, 2**50))
def test_R14_the_margin_is_never_rounded_away(size: int, written: int, result: int) -> None:
    route = replace(BASELINE, size=size, written_bytes=written)
    bundle = replace(MANIFEST, components={"app": replace(CHANGE, routes=(route,), result_bytes=result)})
    found = need(bundle, {"app": route}, reflinks=False).bytes
    assert found * 10 >= (size + max(written, result)) * 11
    assert (found - 1) * 10 < (size + max(written, result)) * 11
