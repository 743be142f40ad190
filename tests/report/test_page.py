"""The page: what a person finds there, what never stands there, and that it needs nothing but itself."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.devices import World, bundle, new_device, running, source

from deltaseal.device import Device
from deltaseal.edge import HookResult
from deltaseal.report import Entry, NextStep, Pending, Problem, Status, Underway, status_page

from .test_values import STATUS

VOID = {"meta"}


class Page(HTMLParser):
    """Reads a page, and insists that every element is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: dict[str, str] = {}
        self.loads: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it; nothing may load anything."""
        names = dict(attrs)
        self.loads += [f"{tag} {name}" for name in ("src", "href", "action", "data") if name in names]
        assert tag not in ("script", "link", "iframe", "img", "object")
        assert not [name for name in names if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.now = str(names["id"])
            self.sections[self.now] = ""

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect a section's words."""
        if "section" in self.open:
            self.sections[self.now] += data


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    return new_device(tmp_path / "d", world)


def page_of(device: Device) -> Page:
    return Page(text_of(device))


def text_of(device: Device) -> str:
    return status_page(device.status(), device.history(), store="/var/lib/deltaseal", now=1_773_800_000)


def of(status: Status) -> Page:
    return Page(status_page(status, (), store="/d", now=0))


def test_a_device_with_an_improvement_says_all_of_it(device: Device) -> None:
    device.update([source(bundle("a"))])
    page = page_of(device)
    assert page.loads == []
    assert page.sections["what"].strip().startswith("macOS 26.3.1 (a)")  # F7
    assert "since 2026-03-17 01:00 UTC; it was installed by itself" in page.sections["what"]
    assert "CVE-2026-20643" in page.sections["fixes"]
    assert "may bypass Same Origin Policy" in page.sections["fixes"]
    assert "nothing to check" in page.sections["fixes"]
    removal = page.sections["remove"]  # F6: not behind a button; the effect first
    assert removal.index("open again: CVE-2026-20643") < removal.index("deltaseal device remove")
    assert "not installed again by itself" in removal  # F11
    assert "macos-26.3.1-a is active" in page.sections["history"]  # F12
    assert "26.3.1.1" in page.sections["about"]  # F10
    assert "release role of macos" in page.sections["about"]
    assert "--as openvex" in page.sections["export"]
    assert "in phases" in page.sections["next"]  # F8


def test_what_is_waiting_names_programs_and_restarts_nothing(device: Device, world: World) -> None:
    world.processes = [running("Browser", device.path / "baseline/app/lib/engine.so")]
    device.update([source(bundle("a"))])
    page = page_of(device)
    assert "relaunch" in page.sections["to-do"]
    assert "Browser" in page.sections["to-do"]
    assert "Nothing is restarted by itself" in page.sections["to-do"]  # F5
    assert "waiting to be used" in page.sections["on-its-way"]


def test_progress_is_shown_in_bytes() -> None:  # F4
    page = of(replace(STATUS, underway=Underway("x-a", "a", "1", "downloading", 250, 1_000)))
    assert "250 of 1,000 bytes downloaded (25 %)" in page.sections["on-its-way"]


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ("automatic", "installed by themselves"),
        ("notify", "only announced; a person installs"),
        ("off", "takes no improvements by itself"),
        ("unknown", "cannot be read"),
    ],
)
def test_one_plain_sentence_says_what_happens_by_itself(updates: str, words: str) -> None:  # F2, F3
    assert words in of(replace(STATUS, updates=updates)).sections["next"]


def test_held_and_removed_say_why_and_how_to_try_again(device: Device, world: World) -> None:
    (device.path / "health.d/probe").write_text("#!/bin/sh\n")
    (device.path / "health.d/probe").chmod(0o755)
    world.hooks["probe"] = HookResult(3, "no page loads")
    with pytest.raises(Exception, match="rolled back"):
        device.update([source(bundle("a"))])
    held = page_of(device).sections["outstanding"]
    assert "no page loads" in held
    assert "device install macos-26.3.1-a --retry" in held
    world.hooks.clear()
    device.install("macos-26.3.1-a", [source(bundle("a"))], retry=True)
    device.remove()
    removed = page_of(device).sections["outstanding"]
    assert "Removed by a person" in removed
    assert "--retry" not in removed


@pytest.mark.parametrize("state", ["BROKEN", "TRIAL", "REBASING", "ROLLING_BACK"])
def test_every_state_has_words(state: str) -> None:
    words = of(replace(STATUS, state=state, underway=None)).sections["what"]
    assert state not in words


def test_it_never_says_too_much(device: Device, world: World) -> None:
    texts = [text_of(device)]
    device.update([source(bundle("a"))])
    texts.append(text_of(device))
    device.remove()
    texts.append(text_of(device))
    for text in texts:
        words = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL).lower()
        words = words.replace("content-security-policy", "")
        assert "secur" not in words
        assert "up to date" not in words


def test_foreign_words_stay_words() -> None:
    evil = "<script>alert(1)</script>\"'&\x1b[31m"
    status = replace(
        STATUS,
        name=evil,
        model=evil,
        pending=Pending("relaunch", (evil,)),
        problems=(Problem("held", evil, evil, evil, 1),),
        next_step=NextStep(evil, evil),
    )
    entry = Entry(1, 1, "offer", "FETCHING", evil, evil, {})
    text = status_page(status, (entry,), store=evil, now=0)
    Page(text)
    assert "<script" not in text
    assert "\x1b" not in text


def test_a_long_history_is_folded_away(device: Device) -> None:
    entries = tuple(Entry(n, n, "offer", "FETCHING", "x", f"entry {n}", {}) for n in range(1, 40))
    text = status_page(STATUS, entries, store="/d", now=0)
    Page(text)
    assert "<summary>27 earlier entries</summary>" in text
    assert text.index("entry 39") < text.index("entry 2<")
