"""The simulated disk's own rules: what survives a cut, how faults are set."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import LockedError, SpaceError, StorageError
from deltaseal.storage import PowerCut, SimulatedDisk
from deltaseal.storage.nodes import DiskState, Tear


def put(disk, at, name, data):
    with disk.create(at, name) as file:
        file.write(data)


def files(disk):
    return {path: leaf[1] for path, leaf in disk.snapshot().items() if leaf[0] == "file"}


def possible(disk, rounds=200):
    """All states that random cuts find."""
    return {tuple(sorted(files(disk.crash(random.Random(seed))).items())) for seed in range(rounds)}


def test_data_needs_its_own_sync_and_names_theirs():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    with disk.create(root, "a") as file:
        file.write(b"data")
        assert files(disk.crash()) == {}
        disk.sync_dir(root)
        assert files(disk.crash()) == {"a": b""}
        disk.sync(file)
    assert files(disk.crash()) == {"a": b"data"}
    assert files(disk.crash("visible")) == {"a": b"data"}


def test_a_synced_file_without_a_synced_name_is_lost():
    disk = SimulatedDisk()
    with disk.create(disk.open_root("/"), "a") as file:
        file.write(b"data")
        disk.sync(file)
    assert files(disk.crash()) == {}


def test_what_is_below_an_unsynced_directory_is_lost():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    with disk.make_dir(root, "d") as inner:
        put(disk, inner, "a", b"")
        disk.sync_dir(inner)
        assert disk.crash().snapshot() == {}
        disk.sync_dir(root)
    assert set(disk.crash().snapshot()) == {"d", "d/a"}


def test_pending_changes_survive_each_by_itself():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    put(disk, root, "a", b"")
    put(disk, root, "b", b"")
    assert possible(disk) == {(), (("a", b""),), (("b", b""),), (("a", b""), ("b", b""))}


def test_a_rename_survives_as_a_whole_or_not_at_all():
    disk = SimulatedDisk({"a": ("file", b"a", 0o644), "b": ("file", b"b", 0o644)})
    root = disk.open_root("/")
    disk.rename(root, "a", root, "b")
    assert possible(disk) == {(("a", b"a"), ("b", b"b")), (("b", b"a"),)}


def test_a_pending_write_may_survive_in_part():
    disk = SimulatedDisk({"a": ("file", b"....", 0o644)})
    with disk.open_append(disk.open_root("/"), "a") as file:
        file.write(b"12")
        file.write(b"34")
    found = {dict(state)["a"] for state in possible(disk)}
    assert {b"....", b"....12", b"....1", b"....1234", b"....123", b"....\0\x0034"} <= found


def test_after_a_failed_sync_a_later_one_does_not_help():
    """Linux drops the pages of a failed write-back and reports it once (fsyncgate)."""
    disk = SimulatedDisk({"a": ("file", b"old", 0o644)})
    with disk.open_append(disk.open_root("/"), "a") as file:
        file.write(b" lost")
        disk.fail_at(len(disk.operations), errno.EIO)
        with pytest.raises(StorageError):
            disk.sync(file)
        disk.sync(file)
    assert files(disk) == {"a": b"old lost"}
    assert files(disk.crash()) == files(disk.crash("visible")) == {"a": b"old"}


def test_moving_between_directories_needs_both_synced():
    disk = SimulatedDisk({"x/a": ("file", b"", 0o644), "y": ("dir", 0o755)})
    x, y = disk.open_root("/x"), disk.open_root("/y")
    disk.rename(x, "a", y, "a")
    disk.sync_dir(y)
    assert set(files(disk.crash())) == {"x/a", "y/a"}
    disk.sync_dir(x)
    assert set(files(disk.crash())) == {"y/a"}


def test_power_cut_goes_through_every_handler_and_stays():
    disk = SimulatedDisk({"a": ("file", b"", 0o644)})
    root = disk.open_root("/")
    disk.cut_at(0)
    assert disk.names(root) == ["a"]
    with pytest.raises(PowerCut):
        try:
            disk.unlink(root, "a")
        except Exception:
            pytest.fail("caught as an error")
    with pytest.raises(PowerCut):
        disk.names(root)
    assert set(files(disk.crash())) == {"a"}


def test_cut_and_fault_find_their_operation():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    put(disk, root, "a", b"x")
    assert disk.operations == ["open_root /", "create /a", "write /a"]
    assert disk.changes == 2
    disk.fail_at(6, errno.ENOSPC)
    put(disk, root, "b", b"")
    with pytest.raises(SpaceError):
        disk.open_read(root, "a").read(1)


def test_a_failing_write_leaves_a_part():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    disk.fail_at(2, errno.ENOSPC)
    with pytest.raises(SpaceError):
        put(disk, root, "a", b"12345678")
    assert files(disk) == {"a": b"1234"}


def test_capacity_and_inodes_are_given_back():
    disk = SimulatedDisk(capacity=10, inodes=2)
    root = disk.open_root("/")
    put(disk, root, "a", b"12345678")
    assert (disk.space(root).bytes_free, disk.space(root).inodes_free) == (2, 1)
    with pytest.raises(SpaceError):
        put(disk, root, "b", b"123")
    assert files(disk) == {"a": b"12345678", "b": b"12"}
    with pytest.raises(SpaceError):
        disk.symlink(root, "c", "x")
    disk.unlink(root, "b")
    disk.unlink(root, "a")
    put(disk, root, "b", b"0123456789")
    assert disk.space(root).bytes_free == 0


def test_the_room_of_what_is_removed_comes_back_when_the_removal_is_durable():
    disk = SimulatedDisk({"a": ("file", b"12345678", 0o644)}, capacity=10)
    root = disk.open_root("/")
    disk.unlink(root, "a")
    assert disk.space(root).bytes_free == 2
    disk.sync_dir(root)
    assert disk.space(root).bytes_free == 10


def test_changes_in_what_is_gone_are_no_choice_any_more():
    disk = SimulatedDisk({"a/b/f": ("file", b"1", 0o644)})
    root = disk.open_root("/")
    a = disk.open_root("/a")
    with disk.open_dir(a, "b") as b:
        disk.unlink(b, "f")
    disk.remove_dir(a, "b")
    disk.remove_dir(root, "a")
    assert len(disk.pending) == 3
    disk.sync_dir(root)
    assert disk.pending == ()
    assert disk.after_cut().leaves == disk.after_cut("visible").leaves == {}


def test_a_killed_process_leaves_what_was_pending_behind():
    disk = SimulatedDisk({"a": ("file", b"1", 0o644)})
    root = disk.open_root("/")
    with disk.open_append(root, "a") as file:
        file.write(b"2")
        left = disk.killed()
        file.write(b"3")
    assert files(left) == {"a": b"12"}
    assert files(left.crash()) == {"a": b"1"}
    with left.open_append(left.open_root("/"), "a") as file:
        left.sync(file)
    assert files(left.crash()) == {"a": b"12"}
    assert files(disk.crash()) == {"a": b"1"} and files(disk) == {"a": b"123"}


def test_locks_end_with_the_power():
    disk = SimulatedDisk()
    root = disk.open_root("/")
    held = disk.lock(root, "lock")
    held.__enter__()
    with pytest.raises(LockedError), disk.lock(root, "lock"):
        pass
    after = disk.crash("visible")
    with after.lock(after.open_root("/"), "lock"):
        pass


def test_the_disk_before_the_cut_is_not_touched():
    disk = SimulatedDisk({"a": ("file", b"a", 0o644)})
    after = disk.crash()
    put(after, after.open_root("/"), "b", b"")
    after.unlink(after.open_root("/"), "a")
    assert files(disk) == {"a": b"a"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "append", "sync", "rename", "unlink", "sync_dir"]),
        st.sampled_from("abc"),
        st.sampled_from("abc"),
        st.binary(min_size=1, max_size=3),
    ),
    max_size=15,
)


@given(STEPS, st.integers())
def test_a_cut_never_invents_and_a_full_sync_loses_nothing(steps, seed):
    disk = SimulatedDisk()
    root = disk.open_root("/")
    written = b""
    for verb, name, other, data in steps:
        try:
            if verb == "create":
                put(disk, root, name, data)
            elif verb == "append":
                with disk.open_append(root, name) as file:
                    file.write(data)
            elif verb == "sync":
                with disk.open_read(root, name) as file:
                    disk.sync(file)
            elif verb == "rename":
                disk.rename(root, name, root, other)
            elif verb == "unlink":
                disk.unlink(root, name)
            else:
                disk.sync_dir(root)
        except StorageError:
            continue
        written += data
    assert disk.crash("visible").snapshot() == disk.snapshot()
    for data in files(disk.crash(random.Random(seed))).values():
        assert set(data) <= {0, *written}
    for name in disk.names(root):
        with disk.open_read(root, name) as file:
            disk.sync(file)
    disk.sync_dir(root)
    assert disk.crash("durable").snapshot() == disk.crash(random.Random(seed)).snapshot() == disk.snapshot()


# ---- what is pending, and choices from it ---------------------------------------------------------------


def test_every_pending_change_can_survive_alone():
    disk = SimulatedDisk({"a": ("file", b"a", 0o644)})
    root = disk.open_root("/")
    disk.rename(root, "a", root, "b")
    disk.set_mode(root, "b", 0o755)
    with disk.open_append(root, "b") as file:
        file.write(b"!")
    assert [type(each).__name__ for each in disk.pending] == ["Naming", "NewMode", "Write"]
    assert disk.after_cut({0: None}).leaves == {"b": ("file", b"a", 0o644)}
    assert disk.after_cut({1: None}).leaves == {"a": ("file", b"a", 0o755)}
    assert disk.after_cut({2: None}).leaves == {"a": ("file", b"a!", 0o644)}


@pytest.mark.parametrize(
    ("tear", "data"),
    [
        (Tear(2), b"..ab"),
        (Tear(2, "zeros"), b"..ab\0\0"),
        (Tear(2, "tail"), b"..\0\0cd"),
        (Tear(0), b".."),
    ],
)
def test_a_write_is_torn_as_asked(tear, data):
    disk = SimulatedDisk({"a": ("file", b"..", 0o644)})
    with disk.open_append(disk.open_root("/"), "a") as file:
        file.write(b"abcd")
    assert disk.after_cut({0: tear}).leaves["a"] == ("file", data, 0o644)


def test_equal_states_have_equal_digests_and_others_do_not():
    disk = SimulatedDisk({"a": ("file", b"a", 0o644)})
    before = disk.after_cut()
    with disk.open_append(disk.open_root("/"), "a") as file:
        file.write(b"!")
        assert disk.after_cut().digest == before.digest == SimulatedDisk.of(before).after_cut().digest
        disk.sync(file)
    assert disk.after_cut().digest != before.digest
    assert disk.after_cut().sha256("a") == hashlib.sha256(b"a!").digest()
    for other in ({"a": ("file", b"a", 0o755)}, {"b": ("file", b"a", 0o644)}, {"a": ("link", "a")}, {}):
        assert SimulatedDisk(other).after_cut().digest != before.digest


STEPS = st.tuples(
    st.sampled_from(
        ["make", "file", "write", "mode", "dir mode", "move", "unlink", "rmdir", "sync", "sync file"]
    ),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
)


def do(disk, step, number):
    """One step in two of the directories that a process sees; what is not possible is left out."""
    action, one, other, name, new_name = step
    paths = sorted(path for path, leaf in disk.snapshot().items() if leaf[0] == "dir")
    at, to = (disk.open_root("/" + (["", *paths] * 5)[place]) for place in (one, other))
    with contextlib.suppress(StorageError):
        if action == "make":
            disk.make_dir(at, name)
        elif action == "file":
            put(disk, at, name, bytes([number]))
        elif action == "write":
            with disk.open_append(at, name) as file:
                file.write(b"more")
        elif action == "mode":
            disk.set_mode(at, name, 0o600 + number % 8)
        elif action == "dir mode" and paths:
            top = disk.open_root("/")
            disk.set_mode(top, paths[0].split("/")[0], 0o700 + number % 8)
        elif action == "move":
            disk.rename(at, name, to, new_name)
        elif action == "unlink":
            disk.unlink(at, name)
        elif action == "rmdir":
            disk.remove_dir(at, name)
        elif action == "sync":
            disk.sync_dir(at)
        elif action == "sync file":
            with disk.open_append(at, name) as file:
                disk.sync(file)


@given(st.lists(STEPS, max_size=25), st.integers(0, 1 << 30))
def test_the_digest_of_a_state_is_known_before_the_state(steps, seed):
    disk, chance = SimulatedDisk(), random.Random(seed)
    for number, step in enumerate(steps):
        do(disk, step, number)
        places = range(len(disk.pending))
        for kept in ({}, dict.fromkeys(places), {place: None for place in places if chance.random() < 0.5}):
            state = disk.after_cut(kept)
            slowly = DiskState(state.leaves).digest
            assert disk.digest_after_cut(kept) == state.digest == slowly
            assert SimulatedDisk.of(state).digest_after_cut() == slowly
        assert DiskState(disk.snapshot()).digest == disk.digest_after_cut("visible")


def test_a_directory_that_moved_by_half_keeps_one_name():
    disk = SimulatedDisk({"a/x/f": ("file", b"1", 0o644), "b": ("dir", 0o755)})
    a, b = disk.open_root("/a"), disk.open_root("/b")
    disk.rename(a, "x", b, "x")
    disk.sync_dir(b)
    state = disk.after_cut()
    assert [path for path in state.leaves if path.endswith("/f")] in (["a/x/f"], ["b/x/f"])
    assert disk.digest_after_cut() == DiskState(state.leaves).digest
    disk.sync_dir(a)
    assert set(disk.after_cut().leaves) == {"a", "b", "b/x", "b/x/f"}
    assert disk.digest_after_cut() == DiskState(disk.after_cut().leaves).digest


def test_before_each_operation_somebody_is_asked():
    asked = []

    def before(operation):
        asked.append((operation.index, str(operation), operation.change))
        return errno.EDQUOT if operation.action == "symlink" else None

    disk = SimulatedDisk(before=before)
    root = disk.open_root("/")
    put(disk, root, "a", b"x")
    with pytest.raises(SpaceError):
        disk.symlink(root, "l", "x")
    assert asked == [(0, "open_root /", None), (1, "create /a", 0), (2, "write /a", 1), (3, "symlink /l", 2)]
    assert set(disk.snapshot()) == {"a"}


def test_the_power_can_be_cut_from_there():
    disk = SimulatedDisk()
    disk.before = lambda operation: disk.cut() if operation.action == "create" else None
    root = disk.open_root("/")
    with pytest.raises(PowerCut):
        put(disk, root, "a", b"")
    disk.before = None
    with pytest.raises(PowerCut):
        disk.names(root)


def test_tampering_is_seen_through_open_handles_and_is_durable():
    disk = SimulatedDisk({"d/a": ("file", b"good", 0o644)})
    at = disk.open_dir(disk.open_root("/"), "d")
    with disk.open_read(at, "a") as file:
        disk.tamper("d/a", ("file", b"evil", 0o600))
        assert file.read(9) == b"evil"
    assert disk.crash().snapshot()["d/a"] == ("file", b"evil", 0o600)
    disk.tamper("d/a", None)
    disk.tamper("d/a", ("link", "/etc"))
    assert disk.read_link(at, "a") == "/etc"
    assert len(disk.operations) == 5 and disk.changes == 0
