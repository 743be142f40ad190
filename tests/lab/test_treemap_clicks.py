"""The treemap in a real browser: every area is where its bytes say, and a click goes in and out again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import Page, browser

import deltaseal
from deltaseal.lab.explain import Explanation, explain
from deltaseal.lab.explain.treemap import treemap

pytestmark = pytest.mark.browser

GOLDEN = Path("tests/spec/golden")
AREAS = """[...document.querySelectorAll("#map > button")].map((area) => {
  const box = area.getBoundingClientRect();
  return { says: area.getAttribute("aria-label"), leaf: area.className === "leaf",
    x: box.x, y: box.y, w: box.width, h: box.height };
})"""
PATH = """[...document.querySelectorAll("#path > button")].map((step) => {
  const box = step.getBoundingClientRect();
  return { says: step.textContent, x: box.x, y: box.y, w: box.width, h: box.height };
})"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    program = shutil.which("chromium")
    assert program, "no chromium: ./dev test --full installs it"
    with browser(program) as opened:
        yield opened


def explained(folder: Path, *, tree: bool) -> Explanation:
    """A delta of an image, or of a tree of two images in folders."""
    old, new = (GOLDEN / f"x86-64.{side}" for side in ("old", "new"))
    if tree:
        for name in ("x86-64", "aarch64"):
            for side in ("old", "new"):
                (folder / side / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(GOLDEN / f"{name}.{side}", folder / side / name / "lib<&>.so")
        old, new = folder / "old", folder / "new"
    deltaseal.diff(old, new, folder / "d")
    return explain(folder / "d", old=old)


def bytes_of(area: dict[str, Any]) -> int:
    """``name, 1,234 bytes``: the number."""
    return int(area["says"].removesuffix(" bytes").rpartition(", ")[2].replace(",", ""))


def middle(area: dict[str, Any]) -> tuple[float, float]:
    return area["x"] + area["w"] / 2, area["y"] + area["h"] / 2


def outermost(areas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that lie in no other."""

    def holds(outer: dict[str, Any], inner: dict[str, Any]) -> bool:
        return (
            outer is not inner
            and outer["x"] <= inner["x"]
            and outer["y"] <= inner["y"]
            and outer["x"] + outer["w"] >= inner["x"] + inner["w"]
            and outer["y"] + outer["h"] >= inner["y"] + inner["h"]
        )

    return [area for area in areas if not any(holds(other, area) for other in areas)]


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("tree", [False, True])
def test_one_clicks_down_to_a_leaf_and_back(page: Page, tmp_path: Path, tree: bool, width: int) -> None:
    found = explained(tmp_path, tree=tree)
    (tmp_path / "map.html").write_text(treemap(found, "some <delta>"))
    page.open(tmp_path / "map.html", width=width, height=900)
    assert page.value("document.documentElement.scrollWidth") <= width
    start = page.value(AREAS)
    whole = page.value(
        "(box => box.width * box.height)(document.getElementById('map').getBoundingClientRect())"
    )
    tops = outermost(start)
    assert sum(map(bytes_of, tops)) == found.size
    for area in tops:  # an area is as large as its bytes, but for the lines between
        assert area["w"] * area["h"] == pytest.approx(whole * bytes_of(area) / found.size, rel=0.05, abs=150)
    depth = len(page.value(PATH))
    trail = [found.size]
    while True:
        areas = page.value(AREAS)
        inner = [area for area in areas if not area["leaf"] and area["w"] > 4 and area["h"] > 4]
        if not inner:
            break
        # The corner of the first area is its own, also where it shows what is inside.
        target = max(outermost(inner), key=bytes_of)
        page.click(target["x"] + 3, target["y"] + 3)
        steps = page.value(PATH)
        assert len(steps) > depth, "a click goes in"
        depth = len(steps)
        inside = sum(map(bytes_of, outermost(page.value(AREAS))))
        assert inside == bytes_of(target) <= trail[-1]
        trail.append(inside)
    assert len(trail) > 2
    page.click(*middle(page.value(PATH)[0]))
    assert page.value(AREAS) == start, "the first step of the path leads back"


def test_the_keyboard_does_what_the_mouse_does(page: Page, tmp_path: Path) -> None:
    found = explained(tmp_path, tree=False)
    (tmp_path / "map.html").write_text(treemap(found, "a delta"))
    page.open(tmp_path / "map.html", width=1000, height=800)
    before = page.value("document.querySelectorAll('#path > button').length")
    page.value("document.querySelector('#map > button:not(.leaf)').focus()")
    said = page.value("document.getElementById('said').textContent")
    assert "bytes" in said and "%" in said
    for kind in ("keyDown", "keyUp"):
        page.ask(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            text="\r",
            windowsVirtualKeyCode=13,
        )
    assert page.value("document.querySelectorAll('#path > button').length") > before
