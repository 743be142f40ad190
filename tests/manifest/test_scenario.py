"""Scenario files."""

from __future__ import annotations

import pytest
from support.publisher import EXAMPLE, scenario

from deltaseal.errors import UsageError
from deltaseal.manifest import Scenario
from deltaseal.manifest.scenario import KeyCount

TEXT = EXAMPLE.read_text()


def test_the_story_of_17_march_2026() -> None:
    told = [
        (one.id, scenario().base_of(one).version, one.base_build, one.build, one.models)
        for one in scenario().improvements
    ]
    assert told == [
        ("ios-26.3.1-a", "26.3.1", "23D8133", "23D771330a", ("iPhone17,1", "iPhone16,2")),
        ("ipados-26.3.1-a", "26.3.1", "23D8133", "23D771330a", ("iPad16,3",)),
        ("macos-26.3.1-a", "26.3.1", "25D2128", "25D771280a", ("Mac15,6", "Mac16,8")),
        ("macos-26.3.2-a", "26.3.2", "25D2140", "25D771400a", ("Mac17,5",)),
    ]
    assert scenario().systems == ("ios", "ipados", "macos")
    assert scenario().cves[0].cve == "CVE-2026-20643"
    assert scenario().cves[0].exploitation == "not-stated"
    assert {one.expires_after for one in scenario().improvements} == {250}
    assert scenario().roles["release"]["ml-dsa-65"] == KeyCount(needed=2, keys=3)


def test_trees_are_names_that_the_caller_maps() -> None:
    assert scenario().trees == (
        "mac", "mac-fixed", "neo", "neo-fixed", "pad", "pad-fixed", "phone", "phone-fixed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("format = 1", "format = 2", "format"),
        ("format = 1", "format = 1\nsurprise = 1", "surprise"),
        ("format = 1", "format = ", "TOML"),
        ("day = -13", "day = 2026-03-04", "day"),
        ("day = -13", "day = -13.5", "day"),
        ('base_build = "25D2140"', 'base_build = "25D2141"', "25D2141"),
        ('components = { app = "neo-fixed" }', 'components = { os = "neo-fixed" }', "no component os"),
        ('cves = ["CVE-2026-20643"]', 'cves = ["CVE-2026-1"]', "CVE-2026-1"),
        ("needed = 2, keys = 3", "needed = 4, keys = 3", "needed"),
        ("expires_after = 7", "expires_after = 8", "expires_after"),
        ('build = "25D2140"', 'build = "25D2128"', "twice"),
        ('os = "ipados"', 'os = "ios"', "twice"),
    ],
)
def test_a_fault_is_named(old: str, new: str, named: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError, match=named):
        Scenario.loads(TEXT.replace(old, new, 1))
