from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from deltaseal.lab.bench import Record, Usage
from deltaseal.lab.bench.page import page
from deltaseal.lab.bench.plots import overview_png
from deltaseal.lab.bench.result import Result

VOID = {"meta", "link", "br", "img", "input", "path", "use", "rect"}


def record(pair: str, tool: str, delta_bytes: int) -> Record:
    usage = Usage(0.5, 0.5, 20480)
    return Record(pair, "g", 10_000, 11_000, tool, "<set&tings>", delta_bytes, usage, usage, 1, "")


RUN = Result(
    (
        *(record(pair, tool, 500) for pair in ("one", "<two>") for tool in ("deltaseal", "zstd")),
        replace(record("one", "bad", 0), failure="create: exit 1: <script>alert(1)</script>"),
    ),
    {"processor": "some <CPU>"},
    {"zstd": "1.5"},
    "deltaseal bench a b",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_in_itself_and_well_formed() -> None:
    text = page(RUN)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert text.count("<svg") == 4
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"|url\((?!#)|<script|@import', text)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(tags.ids)


def test_what_others_say_is_shown_not_obeyed() -> None:
    text = page(RUN)
    assert "<script" not in text and "&lt;script&gt;" in text and "some &lt;CPU&gt;" in text


def test_the_same_run_gives_the_same_page() -> None:
    assert page(RUN) == page(RUN)


@pytest.mark.parametrize("count", [1, 4])
def test_a_picture_for_a_pull_request(count: int) -> None:
    data = overview_png(replace(RUN, records=RUN.records[:count]))
    assert data.startswith(b"\x89PNG") and len(data) > 5000
