"""The page of a fleet: it needs nothing but itself, says what is so, and takes no words for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from support.fleets import take_in
from support.publisher import DAY, DAY_ZERO

from deltaseal.fleet import publisher_of
from deltaseal.fleet.page import fleet_page

from .vendor import BATTERY, CVE, NOW, POLICY, fleet, held, said


class Tags(HTMLParser):
    """Which tags there are, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(path: Path, devices: int = 40) -> str:
    with fleet(path, devices) as made:
        for day in range(3):
            reports = [said(n, day + 1, active=n % 3 <= day) for n in range(devices - 4)]
            take_in(made, *reports, now=DAY_ZERO + day * DAY + 3_600)
        odd = [said(0, 9, holds=held(0)), said(4, 9, holds=held(4)), said(8, 9, holds=held(8))]
        more = [said(1, 9, blocked=POLICY), said(2, 9, blocked=BATTERY), said(3, 9)[:-1] + b"?"]
        take_in(made, *odd, *more, now=NOW + DAY)
        return fleet_page(made, publisher_of(made), now=NOW + DAY + 60)


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = page(tmp_path / "fleet.db")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe", "form", "object"}
    assert not re.search(r"(src|href)=|url\(|https?://(?!www\.w3\.org)", text)


def test_the_page_says_who_is_open_and_why(tmp_path: Path) -> None:
    text = page(tmp_path / "fleet.db")
    words = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", text))
    assert f"{CVE}" in words
    assert "9 of 40 open" in words
    assert "nothing was heard for three days, or ever 4" in words
    assert "it failed there, and is held 3" in words
    assert "Pause ios-26.3.1-a : 3 of" in words
    assert "Improvements of iOS 26.3.1, build 23D8133" in words
    assert "ios-26.3.1-a ROLLED_BACK 3" in words
    assert "E_SIG 1 device" in words


def test_an_empty_fleet_has_a_page(tmp_path: Path) -> None:
    with fleet(tmp_path / "fleet.db", 0) as made:
        text = fleet_page(made, publisher_of(made), now=NOW)
    assert "0 of 0 open" in re.sub(r"<[^>]+>", "", text)
