"""``deltaseal repo``: whole scenarios in one command, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import Ran, deltaseal
from support.loopback import Served, serving
from support.repository import NOW

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments: str) -> Ran:
    """Run one command today: TUF looks at the clock of this machine."""
    return deltaseal(*arguments, now=NOW)


def must(*arguments: str) -> str:
    """What a command prints that succeeds."""
    ran = run(*arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spring 2026, published day by day."""
    place = tmp_path_factory.mktemp("spring")
    toml = EXAMPLES / "spring-2026.toml"
    done = run("repo", "scenario", str(toml), "-o", str(place / "repo"), "--new-keys", str(place / "keys"))
    assert done.code == 0, done.err
    assert done.err.splitlines()[0] == f"{place / 'repo'}: 'Spring 2026', published 7 times"
    return place


def test_a_scenario_is_published_day_by_day(spring: Path) -> None:
    found = json.loads(must("repo", "status", str(spring / "repo"), "--json"))
    assert found["offers"] == 8
    assert found["waiting"] == []
    assert {one["role"]: one["version"] for one in found["roles"]}["root"] == 1
    lines = must("repo", "coverage", str(spring / "repo"), "CVE-2026-20643").splitlines()
    assert "macOS 26.4 build 25E246: fixed, the full update includes it" in lines
    assert "macOS 26.3 build 25D122: not fixed" in lines
    assert "iPadOS 26.3.1 build 23D8133: fixed from (a) on, ipados-26.3.1-a" in lines


def test_the_one_that_was_pulled_and_came_back(tmp_path: Path) -> None:
    toml = EXAMPLES / "july-2023.toml"
    found = json.loads(must("repo", "scenario", str(toml), "-o", str(tmp_path / "repo"), "--json"))
    assert [day["offers"] for day in found["days"]] == [0, 2, 0, 2]
    [covered] = json.loads(must("repo", "coverage", str(tmp_path / "repo"), "CVE-2023-37450", "--json"))[
        "bases"
    ]
    assert (covered["how"], covered["letter"]) == ("improvement", "c")
    assert must("repo", "coverage", str(tmp_path / "repo"), "CVE-1999-1") == (
        f"no catalogue of {tmp_path / 'repo'} speaks of CVE-1999-1\n"
    )


def test_it_is_kept_and_handed_on(spring: Path, tmp_path: Path) -> None:
    repo = str(spring / "repo")
    found = json.loads(must("repo", "publish", repo, "--keys", str(spring / "keys"), "--json"))
    assert found["roles"] == ["timestamp"]
    assert json.loads(must("repo", "prune", repo, "--json"))["removed"]
    must("repo", "export", repo, "-o", str(tmp_path / "mirror"))
    assert must("repo", "status", str(tmp_path / "mirror")).splitlines()[0].endswith("8 offers, 5 bundles")
    must("repo", "export", repo, "-o", str(tmp_path / "mirror"))


def test_a_device_is_made_from_the_root_and_the_url(spring: Path, tmp_path: Path) -> None:
    files = {
        str(path.relative_to(spring / "repo")): path.read_bytes()
        for path in (spring / "repo").rglob("*")
        if path.is_file()
    }
    base = next(data for name, data in files.items() if name.endswith(".25D2128"))
    (tmp_path / "macos.base").write_bytes(base)
    (tmp_path / "root.json").write_bytes(files["metadata/1.root.json"])
    (tmp_path / "from" / "app" / "lib").mkdir(parents=True)
    (tmp_path / "from" / "app" / "lib" / "engine.so").write_bytes(b"other bytes")
    given = ["--store", str(tmp_path / "device"), "--base", str(tmp_path / "macos.base")]
    given += ["--from", str(tmp_path / "from"), "--trust", str(tmp_path / "root.json"), "--model", "Mac15,6"]
    with serving(Served(files.get)) as served:
        assert run("device", "create", *given).code == 2  # a root alone says nothing of release keys
        must("device", "create", *given, "--source", served.url)
        done = run("device", "update", "--store", str(tmp_path / "device"), "--source", served.url)
        assert done.code == 13, "its bytes are not those of the base"
        served.status = 500
        done = run("device", "update", "--store", str(tmp_path / "device"), "--source", served.url)
        assert done.code == 27
    done = run("device", "update", "--store", str(tmp_path / "device"), "--source", "ftp://x/y")
    assert done.code == 2


def test_what_cannot_be(tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    for given in (
        ("init", repo),
        ("init", repo, "--new-keys", str(tmp_path / "keys")),
        ("publish", repo),
        ("status", repo + "/none/at/all"),
        ("add", "https://example.org/repo", str(EXAMPLES / "spring-2026.toml")),
        ("prune", "s3://bucket"),
    ):
        assert run("repo", *given).code in (2, 22), given
    must("repo", "init", repo, "--os", "macos", "--new-keys", str(tmp_path / "keys"))
    assert run("repo", "init", repo, "--os", "macos", "--new-keys", str(tmp_path / "more")).code == 2
    done = run("repo", "publish", repo)
    assert done.code == 10
    assert "root is not signed by enough keys" in done.err
    must("repo", "publish", repo, "--keys", str(tmp_path / "keys"))
    assert run("repo", "rotate", repo, "--role", "release:macos", str(EXAMPLES / "demo.py")).code == 15
