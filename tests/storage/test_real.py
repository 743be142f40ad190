"""What only a real disk has: special files, permissions, descriptors, a full file system."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from deltaseal.errors import LockedError, SpaceError, StorageError
from deltaseal.storage import MissingError, RealDisk, WrongKindError, copy_tree, remove_tree, walk, write_file
from deltaseal.storage.real import _RealFile

DISK = RealDisk()


@pytest.fixture
def root(tmp_path):
    with DISK.open_root(tmp_path) as opened:
        yield opened


def test_special_files_are_refused_without_waiting(root, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        start = time.monotonic()
        for name in ("pipe", "socket"):
            assert DISK.stat(root, name).kind == "other"
            for attempt in (DISK.open_read, DISK.open_append):
                with pytest.raises(StorageError):
                    attempt(root, name)
            with pytest.raises(StorageError):
                DISK.clone(root, name, root, "copy")
        assert time.monotonic() - start < 1
    assert DISK.names(root) == ["pipe", "socket"]


def test_special_mode_bits_are_told(root, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o6755)
    assert DISK.stat(root, "file").mode == 0o6755
    assert DISK.clone(root, "file", root, "copy") in (True, False)
    assert DISK.stat(root, "copy").mode == 0o755


def test_a_new_directory_takes_nothing_from_its_parent(root, tmp_path):
    tmp_path.chmod(0o2755)
    DISK.make_dir(root, "d").close()
    assert DISK.stat(root, "d").mode == 0o755


def test_umask_decides_where_no_mode_is_given(root):
    before = os.umask(0o027)
    try:
        DISK.create(root, "a", None).close()
    finally:
        os.umask(before)
    assert DISK.stat(root, "a").mode == 0o640


def test_a_root_that_is_a_file_or_missing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WrongKindError):
        DISK.open_root(tmp_path / "file")
    with pytest.raises(MissingError):
        DISK.open_root(tmp_path / "gone")


# Run in a process of its own, as a user who owns nothing here: root's powers would hide every permission.
# The imports come first, since that user may not even read the interpreter's library.
AS_NOBODY = """
import os, sys
from deltaseal.errors import StorageError
from deltaseal.storage import RealDisk, write_file
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
disk = RealDisk()
try:
    root = disk.open_root(sys.argv[1])
    {act}
except StorageError as error:
    print(error.facts["errno"], error.exit_code, bool(error.hint))
"""


@pytest.mark.parametrize("act", ["write_file(disk, root, 'old', b'new')", "disk.open_read(root, 'secret')"])
def test_no_permission(act):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        for name, mode in (("old", 0o644), ("secret", 0o000)):
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(b"old")
            os.chmod(path, mode)
        os.chmod(folder, 0o555)
        code = AS_NOBODY.format(act=act)
        done = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == ("EACCES 22 True\n", "")
        assert sorted(os.listdir(folder)) == ["old", "secret"]
        os.chmod(folder, 0o755)


def test_a_write_that_cannot_go_on_leaves_the_old_file(root):
    """RLIMIT_FSIZE makes the kernel stop a write in the middle, as a full disk does."""
    write_file(DISK, root, "a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError) as error:
            write_file(DISK, root, "a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.facts["errno"] == "EFBIG"
    with DISK.open_read(root, "a") as file:
        assert file.read(10) == b"old"
    assert DISK.names(root) == ["a"]


def test_a_full_device_is_a_lack_of_space():
    """/dev/full is what the kernel offers for this; it is no regular file, so it is opened by hand."""
    with (
        _RealFile(os.open("/dev/full", os.O_WRONLY), "/dev/full") as file,
        pytest.raises(SpaceError) as error,
    ):
        file.write(b"x")
    assert error.value.exit_code == 21


def test_lock_holds_against_another_process_and_ends_with_it(root, tmp_path):
    code = (
        "import sys\nfrom deltaseal.storage import RealDisk\n"
        "disk = RealDisk()\n"
        "with disk.lock(disk.open_root(sys.argv[1]), 'lock'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockedError), DISK.lock(root, "lock"):
            pass
        other.kill()
        other.wait()
    with DISK.lock(root, "lock"):
        pass


def test_deep_and_wide_trees_need_few_descriptors(root, tmp_path):
    """Deeper than there are descriptors: remove_tree must not hold one a level."""
    at = DISK.make_dir(root, "deep")
    for number in range(600):
        below = DISK.make_dir(at, f"level {number}")
        DISK.create(below, "file").close()
        at.close()
        at = below
    at.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # of whatever ran in this process before
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 64, hard))
    try:
        remove_tree(DISK, root, "deep")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert DISK.names(root) == []


def test_no_descriptor_is_left_open(root, tmp_path):
    before = sorted(os.listdir("/proc/self/fd"))
    (tmp_path / "t/a/b").mkdir(parents=True)
    (tmp_path / "t/a/b/file").write_bytes(b"x")
    copy_tree(DISK, root, "t", root, "copy")
    list(walk(DISK, root))
    next(iter(walk(DISK, root)))
    os.mkfifo(tmp_path / "t/pipe")
    with pytest.raises(StorageError):
        copy_tree(DISK, root, "t", root, "other")
    remove_tree(DISK, root, "t")
    assert sorted(os.listdir("/proc/self/fd")) == before
