"""The main road: create, update, status, history, remove, apply again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.devices import World, bundle, catalogue, component, live, new_device, source

from deltaseal.device import open_device
from deltaseal.errors import NothingToDo


def test_an_update_becomes_active_and_status_says_so(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    a = bundle("a")
    status = device.update([source(a, listed=catalogue(a))])
    assert (status.state, status.letter, status.name) == ("ACTIVE", "a", "macOS 26.3.1 (a)")
    assert status.applied is not None
    assert status.applied.health == "not checked"
    assert status.applied.fetched == a.manifest.components["app"].baseline_route.size
    assert [fix["cve"] for fix in status.applied.fixes] == ["CVE-2026-20643"]
    assert (status.build, status.base_build, status.numeric) == (a.manifest.build, "25D2128", "26.3.1.1")
    assert live(tmp_path / "d") == component("app", 1)
    assert status == device.status()


def test_untouched_components_are_links_and_touched_ones_no_hard_links(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    device.update([source(bundle("a"))])
    assert os.readlink(tmp_path / "d/active") == "slot-1"
    assert os.readlink(tmp_path / "d/active/os") == "../baseline/os"
    assert live(tmp_path / "d", "os") == component("os", 0)
    files = [each for each in (tmp_path / "d").rglob("*") if each.is_file() and not each.is_symlink()]
    assert all(each.stat().st_nlink == 1 for each in files)


def test_removal_is_byte_for_byte_the_baseline_and_a_person_applies_again(tmp_path: Path) -> None:
    world = World()
    device = new_device(tmp_path / "d", world)
    offers = [source(bundle("a"))]
    device.update(offers)
    status = device.remove()
    assert (status.state, status.letter, status.build) == ("BASELINE", None, "25D2128")
    assert os.readlink(tmp_path / "d/active") == "baseline"
    assert live(tmp_path / "d") == component("app", 0)
    assert not (tmp_path / "d/slot-1").exists()
    assert [problem.kind for problem in status.problems] == ["removed"]
    assert device.install("macos-26.3.1-a", offers).letter == "a"
    assert device.status().problems == ()


def test_history_is_the_journal_in_plain_words(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    device.update([source(bundle("a"))])
    device.remove()
    told = device.history()
    assert [entry.event for entry in told] == [
        "checkpoint",
        "offer",
        "fetched",
        "staged",
        "go",
        "pointer-durable",
        "in-use",
        "healthy",
        "remove",
        "pointer-durable",
    ]
    assert [entry.n for entry in told] == list(range(1, 11))
    assert told[0].sentence == "created on macos 26.3.1 build 25D2128"
    assert told[8].sentence == "macos-26.3.1-a is removed, asked for by uid 1000"


def test_a_higher_letter_takes_the_delta_from_the_lower_one(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    device.update([source(bundle("a"))])
    b = bundle("b")
    status = device.update([source(bundle("a"), b)])
    assert status.letter == "b"
    assert live(tmp_path / "d") == component("app", 2)
    cheapest = min(route.size for route in b.manifest.components["app"].routes)
    assert status.applied is not None
    assert status.applied.fetched == cheapest
    assert not (tmp_path / "d/slot-1").exists()


def test_what_is_applied_already_is_nothing_to_do(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    device.update([source(bundle("a"))])
    with pytest.raises(NothingToDo, match="applied already"):
        device.update([source(bundle("a"))])
    with pytest.raises(NothingToDo, match="applied already"):
        device.install("macos-26.3.1-a", [source(bundle("a"))])


def test_offers_for_other_bases_are_nothing_to_do_by_itself(tmp_path: Path) -> None:
    device = new_device(tmp_path / "d", World())
    with pytest.raises(NothingToDo) as caught:
        device.update([source(bundle("a", build_of_base="25D9999"))])
    assert "made for macOS 26.3.1 build 25D9999" in caught.value.facts["for_others"]["macos-26.3.1-a"]


def test_a_personalised_manifest_is_taken_with_its_nonce(tmp_path: Path) -> None:
    from support.devices import permit

    device = new_device(tmp_path / "d", World())
    request = device.request()
    a = bundle("a")
    assert device.update([source(a, manifests=[permit(a, request=request)])]).letter == "a"


def test_the_device_is_found_again_by_its_folder(tmp_path: Path) -> None:
    world = World()
    device = new_device(tmp_path / "d", world)
    device.update([source(bundle("a"))])
    again = open_device(tmp_path / "d", edge=world.edge())
    assert again.status() == device.status()
    assert again.verify() == ()
