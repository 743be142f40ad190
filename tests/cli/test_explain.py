"""``deltaseal explain`` by hand: words, JSON, exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import deltaseal, must

GOLDEN = Path("tests/spec/golden")


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    must("diff", GOLDEN / "x86-64.old", GOLDEN / "x86-64.new", "-o", tmp_path / "d")
    return tmp_path / "d"


def test_tables_for_people(delta: Path, tmp_path: Path) -> None:
    ran = must("explain", delta, "--old", GOLDEN / "x86-64.old", "--html", tmp_path / "map.html")
    size = f"{delta.stat().st_size:,}"
    assert ran.out.startswith(f"{size} bytes, ")
    assert all(f"by {name}" in ran.out for name in ("kind", "section", "stream"))
    totals = [line.split() for line in ran.out.splitlines() if line.startswith("all ")]
    assert totals == [["all", size]] * 3
    assert "functions that cost anything: " in ran.out
    assert (tmp_path / "map.html").read_text().startswith("<!doctype html>")


def test_one_json_object(delta: Path) -> None:
    value = must("explain", delta, "--old", GOLDEN / "x86-64.old", "--json").json
    assert value["size"] == delta.stat().st_size == sum(share["bytes"] for share in value["shares"])
    assert value["complete"] and value["functions"][0]["change"] in ("new", "changed", "moved")


def test_a_directory_of_which_paths_were_left_out(tmp_path: Path) -> None:
    for side in ("old", "new"):
        (tmp_path / side / "cache").mkdir(parents=True)
        (tmp_path / side / "lib.so").write_bytes((GOLDEN / f"x86-64.{side}").read_bytes())
        (tmp_path / side / "cache" / "log").write_text(side)
    old, new, delta = tmp_path / "old", tmp_path / "new", tmp_path / "d"
    must("diff", old, new, "-o", delta, "--exclude", "cache")
    assert deltaseal("explain", delta, "--old", old).code == 13
    value = must("explain", delta, "--old", old, "--new", new, "--exclude", "cache", "--json").json
    assert value["size"] == delta.stat().st_size == sum(share["bytes"] for share in value["shares"])
    assert set(value["files"]) == {"", "lib.so"}


def test_without_the_old_side_it_says_what_it_cannot_know(delta: Path) -> None:
    ran = must("explain", delta)
    assert "without --old only streams are known" in ran.out and "by stream" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--old", GOLDEN / "x86-64.new"), 13),
        (("--old", GOLDEN / "x86-64.old", "--new", GOLDEN / "x86-64.old"), 16),
        (("--new", GOLDEN / "x86-64.new"), 2),
        (("--old", GOLDEN), 2),
    ],
)
def test_refusals(delta: Path, arguments: tuple[object, ...], code: int) -> None:
    assert deltaseal("explain", delta, *arguments).code == code


def test_what_is_no_delta(tmp_path: Path) -> None:
    assert deltaseal("explain", GOLDEN / "x86-64.old").code == 15
