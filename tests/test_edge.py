"""What is taken from outside: processes as /proc shows them, and the owner's hooks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deltaseal.edge import RELEASED, processes_from, system_edge


def test_processes_as_proc_shows_them(tmp_path: Path) -> None:
    process = tmp_path / "42"
    process.mkdir()
    (process / "comm").write_text("Web Content\n")
    (process / "exe").symlink_to("/opt/browser/bin/browser-main (deleted)")
    (process / "maps").write_text(
        "7f00-7f01 r-xp 00000000 fd:01 77 /store/slot-1/app/lib/my engine.so\n"
        "7f01-7f02 r--p 00001000 fd:01 77 /store/slot-1/app/lib/my engine.so\n"
        "7f02-7f03 r-xp 00000000 fd:01 78 /store/slot-1/app/lib/codec.so (deleted)\n"
        "7f03-7f04 rw-p 00000000 00:00 0 \n"
        "7fff-8000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    (tmp_path / "self").mkdir()
    (tmp_path / "43").mkdir()  # ended meanwhile: nothing in it
    (found,) = processes_from(tmp_path)
    assert found.pid == 42
    assert found.names == {"Web Content", "browser-main"}
    assert [(mapping.inode, mapping.path) for mapping in found.mappings] == [
        (77, "/store/slot-1/app/lib/my engine.so"),
        (78, "/store/slot-1/app/lib/codec.so"),
    ]
    assert found.mappings[0].device == os.makedev(0xFD, 1)


def test_the_system_edge_sees_this_process() -> None:
    edge = system_edge()
    mine = next(process for process in edge.processes() if process.pid == os.getpid())
    assert any("python" in name for name in mine.names)
    assert mine.mappings
    assert edge.uid == os.getuid()
    assert edge.build_date == RELEASED <= time.time()
    assert len(edge.random(16)) == 16
    assert edge.battery() is None or 0 <= edge.battery() <= 100  # type: ignore[operator]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [("echo fine", 0, "fine"), ("echo bad >&2; exit 3", 3, "bad"), ("kill -9 $$", -9, "")],
)
def test_a_hook_and_how_it_ended(tmp_path: Path, text: str, status: int, words: str) -> None:
    result = system_edge().run_hook(script(tmp_path / "hook", text), 20)
    assert (result.status, result.words) == (status, words)


def test_a_hook_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    result = system_edge().run_hook(script(tmp_path / "hook", "sleep 60 & sleep 60"), 0.3)
    assert result.status is None
    assert time.monotonic() - started < 20


def test_a_hook_that_cannot_be_run_is_bad(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    assert system_edge().run_hook(missing, 1).status == 126


def test_what_a_process_has_of_a_file_that_it_maps() -> None:
    edge = system_edge()
    mine = next(process for process in edge.processes() if process.pid == os.getpid())
    image = next(mapping for mapping in mine.mappings if mapping.path.endswith(".so"))
    assert edge.read_mapped(mine.pid, image, 0, 4) == b"\x7fELF"
    assert edge.read_mapped(2**22, image, 0, 4) == b""  # no such process


def test_a_hook_is_told_in_words(tmp_path: Path) -> None:
    result = system_edge().tell_hook(script(tmp_path / "hook", "cat; exit 4"), b"what was done", 20)
    assert (result.status, result.words) == (4, "what was done")
    assert system_edge().tell_hook(script(tmp_path / "deaf", "exit 0"), b"x" * 1_000_000, 20).status == 0


def test_unit_deletion_and_addresses(tmp_path: Path) -> None:
    process = tmp_path / "42"
    process.mkdir()
    (process / "comm").write_text("browser\n")
    (process / "cgroup").write_text("0::/user.slice/user@1.service/app.slice/browser.service/render\n")
    (process / "maps").write_text("7f02-7f03 r-xp 00000000 fd:01 78 /store/slot-1/app/x.so (deleted)\n")
    (found,) = processes_from(tmp_path)
    assert (found.unit, found.readable) == ("browser.service", True)
    (mapping,) = found.mappings
    assert (mapping.deleted, mapping.start, mapping.end) == (True, 0x7F02, 0x7F03)
