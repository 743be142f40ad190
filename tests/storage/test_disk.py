"""What a disk can do: the same on the real and on the simulated one."""

from __future__ import annotations

import errno
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import LockedError, SpaceError, StorageError
from deltaseal.storage import (
    ExistsError,
    MissingError,
    RealDisk,
    ShortReadError,
    SimulatedDisk,
    WrongKindError,
    exists,
    plain_path,
)
from deltaseal.storage.disk import translate


def put(disk, at, name, data=b"data", mode=0o644):
    with disk.create(at, name, mode) as file:
        file.write(data)


def get(disk, at, name):
    with disk.open_read(at, name) as file:
        return file.read_at(0, file.size())


def test_write_and_read(place):
    disk, root = place
    with disk.create(root, "a") as file:
        file.write(b"one")
        file.write(bytearray(b"two"))
        file.write(memoryview(b"three")[:2])
        assert file.size() == 8
        assert file.read_at(3, 3) == b"two"
        disk.sync(file)
    disk.sync_dir(root)
    with disk.open_read(root, "a") as file:
        assert (file.read(5), file.read(5), file.read(5)) == (b"onetw", b"oth", b"")
        assert os.pread(file.fileno(), 100, 0) == b"onetwoth"


def test_reading_beyond_the_end(place):
    disk, root = place
    put(disk, root, "a", b"12345")
    with disk.open_read(root, "a") as file:
        assert file.read_at(5, 0) == b""
        for offset, size in [(0, 6), (5, 1), (1 << 60, 1), (0, 1 << 40)]:
            with pytest.raises(ShortReadError):
                file.read_at(offset, size)
        for offset, size in [(-1, 1), (0, -1)]:
            with pytest.raises(ValueError, match="negative"):
                file.read_at(offset, size)


def test_a_file_opened_for_reading_is_not_written(place):
    disk, root = place
    put(disk, root, "a")
    with disk.open_read(root, "a") as file, pytest.raises(StorageError) as error:
        file.write(b"x")
    assert error.value.facts["errno"] == "EBADF"
    assert get(disk, root, "a") == b"data"


def test_appending(place):
    disk, root = place
    put(disk, root, "a", b"12")
    with disk.open_append(root, "a") as one, disk.open_append(root, "a") as other:
        one.write(b"34")
        other.write(b"56")
        one.write(b"78")
        assert one.read_at(0, 8) == b"12345678"
    with pytest.raises(MissingError):
        disk.open_append(root, "b")


def test_handles_close_twice(place):
    disk, root = place
    put(disk, root, "a")
    file = disk.open_read(root, "a")
    file.fileno()
    file.close()
    file.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "/etc", "../a", "a/", "a\0b"])
def test_only_single_names(place, name):
    disk, root = place
    disk.make_dir(root, "a").close()
    put(disk, root, "file")
    attempts = [
        lambda: disk.open_dir(root, name),
        lambda: disk.make_dir(root, name),
        lambda: disk.stat(root, name),
        lambda: disk.open_read(root, name),
        lambda: disk.create(root, name),
        lambda: disk.open_append(root, name),
        lambda: disk.rename(root, name, root, "x"),
        lambda: disk.rename(root, "file", root, name),
        lambda: disk.unlink(root, name),
        lambda: disk.remove_dir(root, name),
        lambda: disk.symlink(root, name, "x"),
        lambda: disk.read_link(root, name),
        lambda: disk.clone(root, name, root, "x"),
        lambda: disk.clone(root, "file", root, name),
        lambda: disk.set_mode(root, name, 0o600),
        lambda: disk.lock(root, name).__enter__(),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="not a single name"):
            attempt()
    assert disk.names(root) == ["a", "file"]


def test_links_are_described_and_never_followed(place):
    disk, root = place
    disk.make_dir(root, "dir").close()
    put(disk, root, "file")
    disk.symlink(root, "to-dir", "dir")
    disk.symlink(root, "to-file", "file")
    disk.symlink(root, "dangling", "nowhere/../\N{SNOWMAN}")
    assert [disk.stat(root, name).kind for name in disk.names(root)] == [
        "link",
        "dir",
        "file",
        "link",
        "link",
    ]
    assert disk.read_link(root, "dangling") == "nowhere/../\N{SNOWMAN}"
    assert exists(disk, root, "dangling") and not exists(disk, root, "nowhere")
    for attempt in (
        lambda: disk.open_dir(root, "to-dir"),
        lambda: disk.open_read(root, "to-file"),
        lambda: disk.open_append(root, "to-file"),
        lambda: disk.clone(root, "to-file", root, "copy"),
        lambda: disk.set_mode(root, "to-file", 0o600),
        lambda: disk.lock(root, "to-file").__enter__(),
        lambda: disk.read_link(root, "file"),
        lambda: disk.remove_dir(root, "file"),
    ):
        with pytest.raises(WrongKindError):
            attempt()
    for attempt in (lambda: disk.create(root, "dangling"), lambda: disk.make_dir(root, "to-dir")):
        with pytest.raises(ExistsError):
            attempt()
    assert disk.stat(root, "file").mode == 0o644
    disk.unlink(root, "to-file")
    assert get(disk, root, "file") == b"data"


def test_directories(place):
    disk, root = place
    with disk.make_dir(root, "a") as made, disk.make_dir(made, "b", 0o700) as inner:
        put(disk, inner, "c")
        assert disk.stat(root, "a").mode == 0o755
        assert disk.stat(made, "b").mode == 0o700
    with pytest.raises(ExistsError):
        disk.make_dir(root, "a")
    with pytest.raises(ExistsError):
        disk.remove_dir(root, "a")
    with pytest.raises(WrongKindError):
        disk.open_read(root, "a")
    with disk.open_dir(root, "a") as again, disk.open_dir(again, "b") as inner:
        disk.unlink(inner, "c")
        disk.remove_dir(again, "b")
    disk.remove_dir(root, "a")
    assert disk.names(root) == []
    with pytest.raises(MissingError):
        disk.open_dir(root, "a")


def test_names_are_in_byte_order(place):
    disk, root = place
    for name in ("b", "B", "é", "a", "\U0001f642", "\uffff", "ab", "\udcff"):
        put(disk, root, name)
    found = disk.names(root)
    assert [os.fsencode(name) for name in found] == sorted(os.fsencode(name) for name in found)
    assert len(found) == 8


def test_rename(place):
    disk, root = place
    put(disk, root, "a", b"a")
    put(disk, root, "b", b"b")
    disk.symlink(root, "link", "a")
    disk.rename(root, "a", root, "b")
    assert (disk.names(root), get(disk, root, "b")) == (["b", "link"], b"a")
    disk.rename(root, "link", root, "b")
    assert disk.read_link(root, "b") == "a"
    with disk.make_dir(root, "d") as inner:
        disk.rename(root, "b", inner, "c")
        disk.make_dir(inner, "full").close()
        assert disk.names(inner) == ["c", "full"]
        with pytest.raises(StorageError):
            disk.rename(root, "d", inner, "self")
    disk.make_dir(root, "e").close()
    put(disk, root, "f")
    with pytest.raises(WrongKindError):
        disk.rename(root, "d", root, "f")
    with pytest.raises(WrongKindError):
        disk.rename(root, "f", root, "d")
    with pytest.raises(ExistsError):
        disk.rename(root, "e", root, "d")
    disk.rename(root, "d", root, "e")
    assert disk.names(root) == ["e", "f"]
    with pytest.raises(MissingError):
        disk.rename(root, "gone", root, "x")
    disk.rename(root, "f", root, "f")
    assert get(disk, root, "f") == b"data"


def test_removing_the_wrong_kind(place):
    disk, root = place
    disk.make_dir(root, "d").close()
    put(disk, root, "f")
    with pytest.raises(StorageError):
        disk.unlink(root, "d")
    with pytest.raises(WrongKindError):
        disk.remove_dir(root, "f")
    with pytest.raises(MissingError):
        disk.unlink(root, "gone")
    with pytest.raises(MissingError):
        disk.remove_dir(root, "gone")
    assert disk.names(root) == ["d", "f"]


def test_modes_are_exact_whatever_the_umask(place):
    disk, root = place
    before = os.umask(0o077)
    try:
        put(disk, root, "x", mode=0o755)
        disk.make_dir(root, "d").close()
    finally:
        os.umask(before)
    assert disk.stat(root, "x").mode == disk.stat(root, "d").mode == 0o755
    assert disk.stat(root, "x").executable
    disk.set_mode(root, "x", 0o644)
    disk.set_mode(root, "d", 0o700)
    assert (disk.stat(root, "x").mode, disk.stat(root, "d").mode) == (0o644, 0o700)
    assert not disk.stat(root, "x").executable


def test_clone_is_a_file_of_its_own(place):
    disk, root = place
    data = os.urandom(3_000_000)
    put(disk, root, "a", data, mode=0o755)
    with disk.make_dir(root, "d") as inner:
        shares = disk.clone(root, "a", inner, "b")
        assert isinstance(shares, bool)
        one, other = disk.stat(root, "a"), disk.stat(inner, "b")
        assert (one.inode, one.dev) != (other.inode, other.dev)
        assert one.links == other.links == 1
        assert (other.mode, other.size) == (0o755, len(data))
        with disk.open_append(inner, "b") as file:
            file.write(b"more")
        assert get(disk, root, "a") == data
        assert get(disk, inner, "b") == data + b"more"
        with pytest.raises(ExistsError):
            disk.clone(root, "a", inner, "b")


def test_lock_is_held_by_one(place):
    disk, root = place
    with disk.lock(root, "lock"):
        with pytest.raises(LockedError) as refusal, disk.lock(root, "lock"):
            pass
        assert refusal.value.exit_code == 23
    with pytest.raises(KeyError), disk.lock(root, "lock"):
        raise KeyError
    with disk.lock(root, "lock"):
        pass


def test_space(place):
    disk, root = place
    space = disk.space(root)
    assert space.bytes_free > 0 and space.inodes_free > 0


def test_messages_name_action_path_and_errno(place):
    disk, root = place
    with pytest.raises(MissingError) as error:
        disk.open_read(root, "gone")
    assert "gone" in error.value.sentence and "ENOENT" in error.value.sentence
    assert error.value.facts["errno"] == "ENOENT"
    assert error.value.exit_code == 22


def test_handles_of_another_disk_are_refused(tmp_path):
    real, simulated = RealDisk(), SimulatedDisk()
    with real.open_root(tmp_path) as root:
        with pytest.raises(TypeError):
            simulated.names(root)
        with pytest.raises(TypeError):
            real.names(simulated.open_root("/"))
        with pytest.raises(TypeError):
            real.sync(simulated.create(simulated.open_root("/"), "a"))
        with pytest.raises(TypeError), real.create(root, "a") as file:
            simulated.sync(file)


@pytest.mark.parametrize(
    ("symbol", "kind", "code"),
    [
        ("ENOSPC", SpaceError, 21),
        ("EDQUOT", SpaceError, 21),
        ("ENOENT", MissingError, 22),
        ("EEXIST", ExistsError, 22),
        ("ELOOP", WrongKindError, 22),
        ("EIO", StorageError, 22),
        ("EROFS", StorageError, 22),
        ("EACCES", StorageError, 22),
    ],
)
def test_errno_to_error(symbol, kind, code):
    error = translate(OSError(getattr(errno, symbol), "words"), "write", "name")
    assert isinstance(error, kind)
    assert (error.exit_code, error.facts["errno"]) == (code, symbol)


@given(st.lists(st.sampled_from(["", ".", "..", "a", ".b"])).map("/".join))
def test_a_plain_path_is_the_one_of_pathlib(path):
    plain = str(PurePosixPath(path))
    # Two slashes at the beginning pathlib keeps: POSIX lets a system give them a meaning, ours give none.
    assert plain_path(path) == (plain[1:] if plain.startswith("//") else plain)
    assert plain_path(PurePosixPath(path)) == plain_path(path)
