"""Outputs that a person asked for: whole or not there, never over an input, nothing left behind."""

from __future__ import annotations

import errno
import itertools
import os
import random
import stat
from pathlib import Path

import pytest

from deltaseal.errors import DigestError, SpaceError, StorageError, UsageError
from deltaseal.storage import (
    PowerCut,
    RealDisk,
    SimulatedDisk,
    open_output,
    open_output_dir,
    write_file,
    write_output,
)

PIECES = [b"one ", bytearray(b"two "), memoryview(b"three")]
WHOLE = b"one two three"


def listing(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.mark.parametrize("verify", [False, True])
def test_write_output(tmp_path, verify):
    assert write_output(tmp_path / "out", PIECES, verify=verify) == len(WHOLE)
    assert listing(tmp_path) == {"out": WHOLE}


def test_the_umask_decides_unless_a_mode_is_given(tmp_path):
    before = os.umask(0o077)
    try:
        write_output(tmp_path / "a", PIECES)
        write_output(tmp_path / "b", PIECES, mode=0o755)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o755


def test_an_existing_output_needs_force(tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(UsageError) as refusal:
        write_output(tmp_path / "out", PIECES)
    assert refusal.value.exit_code == 2 and "--force" in refusal.value.hint
    assert listing(tmp_path) == {"out": b"old"}
    write_output(tmp_path / "out", PIECES, True)
    assert listing(tmp_path) == {"out": WHOLE}


def test_an_output_that_appears_meanwhile_is_not_lost(tmp_path):
    with pytest.raises(UsageError), open_output(tmp_path / "out") as output:
        output.write(b"x")
        (tmp_path / "out").write_bytes(b"somebody's")
    assert listing(tmp_path) == {"out": b"somebody's"}


@pytest.mark.parametrize("force", [False, True])
def test_an_output_that_is_an_input_is_refused(tmp_path, force):
    (tmp_path / "in").write_bytes(b"input")
    os.link(tmp_path / "in", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("in")
    (tmp_path / "sub").mkdir()
    for name in ("in", "hard", "soft", "sub/../in", "./in"):
        with pytest.raises(UsageError):
            write_output(tmp_path / name, PIECES, force, inputs=[tmp_path / "other", tmp_path / "in"])
    assert (tmp_path / "in").read_bytes() == b"input"
    assert sorted(listing(tmp_path)) == ["hard", "in", "soft", "sub"]


def test_an_output_inside_an_input_is_refused(tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    for name in ("tree/out", "tree/sub/out", "tree/sub/../out"):
        with pytest.raises(UsageError):
            write_output(tmp_path / name, PIECES, inputs=[tmp_path / "tree"])
    write_output(tmp_path / "tree-out", PIECES, inputs=[tmp_path / "tree"])


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_never_replaced(tmp_path, force):
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for path in (
        tmp_path / "dir",
        tmp_path / "pipe",
        tmp_path / "link",
        Path("/dev/null"),
        Path("/"),
        Path("."),
    ):
        with pytest.raises(UsageError):
            write_output(path, PIECES, force)
    with pytest.raises(UsageError):
        write_output(tmp_path / "dir" / "..", PIECES, force)
    assert sorted(listing(tmp_path)) == ["dir", "link", "pipe"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        write_output(tmp_path / "missing" / "out", PIECES)


@pytest.mark.parametrize("error", [RuntimeError("reader failed"), KeyboardInterrupt()])
def test_a_failure_of_the_work_leaves_nothing(tmp_path, error):
    (tmp_path / "old").write_bytes(b"old")

    def pieces():
        yield b"half"
        raise error

    for name in ("new", "old"):
        with pytest.raises(type(error)):
            write_output(tmp_path / name, pieces(), True)
    assert listing(tmp_path) == {"old": b"old"}


def test_the_longest_name_there_is(tmp_path):
    write_output(tmp_path / ("n" * 255), PIECES)
    assert listing(tmp_path) == {"n" * 255: WHOLE}
    with pytest.raises(StorageError):
        write_output(tmp_path / ("n" * 256), PIECES)
    assert len(listing(tmp_path)) == 1


def test_reading_back_finds_what_was_changed(tmp_path):
    with pytest.raises(DigestError), open_output(tmp_path / "out", verify=True) as output:
        output.write(b"right")
        [part] = tmp_path.iterdir()
        with open(part, "r+b") as file:
            file.write(b"wrong")
    assert listing(tmp_path) == {}


BEFORE = {"dir/out": ("file", b"old", 0o644), "dir/other": ("file", b"", 0o644)}


def out(disk):
    write_output(Path("/dir/out"), PIECES, True, verify=True, disk=disk)


def test_old_or_new_after_every_cut():
    outcomes = set()
    for change in itertools.count():
        disk = SimulatedDisk(BEFORE)
        disk.cut_at(change)
        returned = True
        try:
            out(disk)
        except PowerCut:
            returned = False
        for keep in ("durable", "visible", *map(random.Random, range(20))):
            found = disk.crash(keep).snapshot()["dir/out"][1]
            assert found in (b"old", WHOLE)
            assert found == WHOLE or not returned
            outcomes.add(found)
        if returned:
            break
    assert outcomes == {b"old", WHOLE}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_nothing_is_left_after_every_fault(number):
    faults = 0
    for operation in itertools.count():
        disk = SimulatedDisk(BEFORE)
        disk.fail_at(operation, number)
        try:
            out(disk)
        except (SpaceError, StorageError):
            faults += 1
            assert set(disk.snapshot()) == {"dir", *BEFORE}
            last = disk.operations[-1].startswith("sync_dir")
            assert disk.snapshot()["dir/out"][1] == (WHOLE if last else b"old")
        if len(disk.operations) <= operation:
            break
    assert faults > 6


class TestDirectory:
    def fill(self, path, **options):
        with open_output_dir(path, **options) as made:
            write_file(RealDisk(), made, "x", b"new")

    def test_appears_whole(self, tmp_path):
        with open_output_dir(tmp_path / "out") as made:
            write_file(RealDisk(), made, "x", b"new")
            assert not (tmp_path / "out").exists()
        assert listing(tmp_path / "out") == {"x": b"new"}
        assert os.listdir(tmp_path) == ["out"]

    def test_existing_needs_force_and_is_replaced_whole(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/old").write_bytes(b"old")
        with pytest.raises(UsageError):
            self.fill(tmp_path / "out")
        assert listing(tmp_path / "out") == {"old": b"old"}
        self.fill(tmp_path / "out", force=True)
        assert listing(tmp_path / "out") == {"x": b"new"}
        assert os.listdir(tmp_path) == ["out"]

    def test_a_file_is_never_replaced(self, tmp_path):
        (tmp_path / "out").write_bytes(b"file")
        for force in (False, True):
            with pytest.raises(UsageError):
                self.fill(tmp_path / "out", force=force)
        assert listing(tmp_path) == {"out": b"file"}

    def test_a_failure_leaves_nothing(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), open_output_dir(tmp_path / "out") as made:
            RealDisk().make_dir(made, "sub").close()
            raise KeyboardInterrupt
        assert os.listdir(tmp_path) == []

    def test_an_input_and_its_inside_are_refused(self, tmp_path):
        (tmp_path / "in").mkdir()
        for name in ("in", "in/out"):
            with pytest.raises(UsageError):
                self.fill(tmp_path / name, force=True, inputs=[tmp_path / "in"])
        assert os.listdir(tmp_path / "in") == []

    def test_the_old_or_the_new_one_is_there_after_every_fault(self):
        before = {"dir/out/old": ("file", b"old", 0o644)}
        for operation in itertools.count():
            disk = SimulatedDisk(before)
            disk.fail_at(operation, errno.EIO)
            try:
                with open_output_dir(Path("/dir/out"), force=True, disk=disk) as made:
                    write_file(disk, made, "x", b"new")
            except StorageError:
                found = {path for path in disk.snapshot() if path.startswith("dir/out/")}
                assert found in ({"dir/out/old"}, {"dir/out/x"})
            if len(disk.operations) <= operation:
                break

    def test_the_old_or_the_new_one_is_whole_somewhere_after_every_cut(self):
        before = {"dir/out/old": ("file", b"old", 0o644)}
        for change in itertools.count():
            disk = SimulatedDisk(before)
            disk.cut_at(change)
            try:
                with open_output_dir(Path("/dir/out"), force=True, disk=disk) as made:
                    write_file(disk, made, "x", b"new")
            except PowerCut:
                pass
            else:
                break
            for keep in ("durable", "visible", *map(random.Random, range(10))):
                files = [leaf[1] for leaf in disk.crash(keep).snapshot().values() if leaf[0] == "file"]
                assert b"old" in files or b"new" in files
