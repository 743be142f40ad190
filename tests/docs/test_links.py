"""Every relative link of the pages leads somewhere: to a file that is there, to a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]\[]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    rooms = ("docs", "examples", "benchmarks", "native")
    return sorted([*ROOT.glob("*.md"), *(page for room in rooms for page in (ROOT / room).rglob("*.md"))])


def anchors(page: Path) -> set[str]:
    """The names that headings get on the usual forges: lower case, signs dropped, spaces as dashes."""
    without_blocks = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    names = (heading.lower() for heading in HEADING.findall(without_blocks))
    return {re.sub(r"[^\w\- ]", "", name).replace(" ", "-") for name in names}


def broken(page: Path) -> list[str]:
    found = []
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One, two\n[good](#one-two) [good](page.md) [web](https://example.org/x) `[code](nowhere)`\n"
        "[bad](none.md) [bad](page.md#three)\n"
    )
    assert broken(page) == ["none.md", "page.md#three"]
