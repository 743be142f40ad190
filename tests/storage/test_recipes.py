"""The recipes keep their promises at every cut, every fault, every full disk."""

from __future__ import annotations

import errno
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaseal.errors import DeltasealError, LimitError, SpaceError, StorageError
from deltaseal.storage import (
    PowerCut,
    SimulatedDisk,
    copy_tree,
    read_file,
    remove_tree,
    replace_link,
    shares_blocks,
    walk,
    write_file,
)
from deltaseal.storage.recipes import MAX_DEPTH

NAMES = st.sampled_from(["a", "b", "0", "1", "file", ".hidden"])
TREES = st.recursive(
    st.binary(max_size=6) | st.sampled_from(["link to nowhere", "../up"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def content(tree, prefix: str) -> dict:
    """A nested tree as a simulated disk's content."""
    found = {prefix: ("dir", 0o755)}
    for name, value in tree.items():
        path = f"{prefix}/{name}"
        if isinstance(value, dict):
            found.update(content(value, path))
        elif isinstance(value, bytes):
            found[path] = ("file", value, 0o755 if len(value) % 2 else 0o644)
        else:
            found[path] = ("link", value)
    return found


def below(snapshot: dict, top: str) -> dict:
    return {
        path.removeprefix(top): leaf for path, leaf in snapshot.items() if f"{path}/".startswith(f"{top}/")
    }


def after_every_cut(before: dict, act, *, seeds: int = 4):
    """Run ``act`` with the power cut before each change in turn; yield each disk that may be found then.

    The last round has no cut inside ``act``: the power fails right after it.  Yields (returned, disk).
    """
    for change in itertools.count():
        disk = SimulatedDisk(before)
        disk.cut_at(change)
        returned = True
        try:
            act(disk)
        except PowerCut:
            returned = False
        for keep in ("durable", "visible", *(random.Random(f"{change} {seed}") for seed in range(seeds))):
            yield returned, disk.crash(keep)
        if returned:
            return


def after_every_fault(before: dict, act, number: int):
    """Run ``act`` with each operation failing in turn; yield the disk and the error."""
    for operation in itertools.count():
        disk = SimulatedDisk(before)
        disk.fail_at(operation, number)
        try:
            act(disk)
        except DeltasealError as error:
            yield disk, error
        if len(disk.operations) <= operation:
            return


# write_file ---------------------------------------------------------------------------------------

OLD = {"store/name": ("file", b"old " * 50, 0o644), "store/other": ("file", b"other", 0o644)}
NEW = b"new " * 70


def put(disk):
    write_file(disk, disk.open_root("/store"), "name", NEW)


def file_at(disk, path="store/name"):
    return disk.snapshot().get(path, (None, None))[1]


@pytest.mark.parametrize("before", [OLD, {"store/other": OLD["store/other"]}], ids=["replaces", "makes"])
def test_write_file_is_old_or_new_after_every_cut(before):
    old = before.get("store/name", (None, None))[1]
    outcomes = set()
    for returned, disk in after_every_cut(before, put, seeds=40):
        found = file_at(disk)
        assert found in (old, NEW)
        assert found == NEW or not returned
        assert file_at(disk, "store/other") == b"other"
        outcomes.add(found == NEW)
        put(disk)  # whatever the cut has left, the next call succeeds and cleans up
        assert file_at(disk) == NEW
        assert set(below(disk.snapshot(), "store")) == {"", "/name", "/other"}
    assert outcomes == {False, True}


def test_without_the_syncs_the_simulated_disk_would_show_it():
    """The proof that the test above can fail: each sync left out gives a mixture or a loss somewhere."""

    class NoFileSync(SimulatedDisk):
        def sync(self, file):
            pass

    class NoDirSync(SimulatedDisk):
        def sync_dir(self, at):
            pass

    def states(kind):
        for seed in range(200):
            disk = kind(OLD)
            put(disk)
            yield file_at(disk.crash(random.Random(seed)))

    assert any(found not in (OLD["store/name"][1], NEW) for found in states(NoFileSync))
    assert any(found == OLD["store/name"][1] for found in states(NoDirSync))
    assert all(found == NEW for found in states(SimulatedDisk))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_write_file_leaves_old_or_new_and_nothing_beside_after_every_fault(number):
    faults = 0
    for disk, error in after_every_fault(OLD, put, number):
        faults += 1
        assert isinstance(error, SpaceError if number in (errno.ENOSPC, errno.EDQUOT) else StorageError)
        assert error.facts["errno"] == errno.errorcode[number]
        assert file_at(disk) in (OLD["store/name"][1], NEW)
        last = disk.operations[-1].startswith("sync_dir")
        assert file_at(disk) == OLD["store/name"][1] or last
        assert set(below(disk.snapshot(), "store")) == {"", "/name", "/other"}
    assert faults >= 6


def test_after_a_failed_sync_nothing_is_trusted():
    for disk, _ in after_every_fault(OLD, put, errno.EIO):
        assert file_at(disk.crash("durable")) in (OLD["store/name"][1], NEW)
        assert file_at(disk.crash("visible")) in (OLD["store/name"][1], NEW)


def test_write_file_on_a_full_disk():
    for capacity in range(0, 600, 7):
        disk = SimulatedDisk(OLD, capacity=capacity)
        try:
            put(disk)
        except SpaceError:
            assert disk.snapshot() == SimulatedDisk(OLD).snapshot()
        else:
            assert file_at(disk) == NEW
            assert capacity >= 200 + 5 + 280
    disk = SimulatedDisk(OLD, inodes=3)
    with pytest.raises(SpaceError):
        put(disk)
    assert disk.snapshot() == SimulatedDisk(OLD).snapshot()


# replace_link -------------------------------------------------------------------------------------


def switch(disk):
    replace_link(disk, disk.open_root("/store"), "active", "slot-2")


@pytest.mark.parametrize("target", ["baseline", None])
def test_replace_link_is_old_or_new_after_every_cut(target):
    before = {"store/active": ("link", target)} if target else {"store/x": ("dir", 0o755)}
    outcomes = set()
    for returned, disk in after_every_cut(before, switch, seeds=20):
        found = file_at(disk, "store/active")
        assert found in (target, "slot-2")
        assert found == "slot-2" or not returned
        outcomes.add(found)
        switch(disk)
        assert file_at(disk, "store/active") == "slot-2"
    assert outcomes == {target, "slot-2"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_replace_link_after_every_fault(number):
    before = {"store/active": ("link", "baseline")}
    for disk, _ in after_every_fault(before, switch, number):
        assert file_at(disk, "store/active") in ("baseline", "slot-2")
        assert set(disk.snapshot()) == {"store", "store/active"}


# copy_tree, remove_tree, walk ----------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_copy_tree_is_whole_and_durable_when_it_returns(tree):
    before = content(tree, "from")
    disk = SimulatedDisk(before)
    root = disk.open_root("/")
    copy_tree(disk, root, "from", root, "to")
    for keep in ("durable", "visible", random.Random(1)):
        after = disk.crash(keep).snapshot()
        assert below(after, "to") == below(after, "from") == below(SimulatedDisk(before).snapshot(), "from")


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_remove_tree_removes_it_and_nothing_else(tree):
    before = {**content(tree, "gone"), **content(tree, "kept"), "gone-not": ("link", "gone")}
    disk = SimulatedDisk(before)
    remove_tree(disk, disk.open_root("/"), "gone")
    for keep in ("durable", "visible", random.Random(1)):
        after = disk.crash(keep).snapshot()
        assert below(after, "gone") == {}
        assert below(after, "kept") == below(SimulatedDisk(before).snapshot(), "kept")
        assert after["gone-not"] == ("link", "gone")


TREE = {"a": {"0": {"1": {"deep": b"x"}}, "f": b"1"}, "0": {"1": b"", "0": {}}, "l": "a", "f": b"2"}


def test_remove_tree_can_be_finished_after_every_cut():
    before = {**content(TREE, "gone"), **content(TREE, "kept")}
    kept = below(SimulatedDisk(before).snapshot(), "kept")
    for returned, disk in after_every_cut(before, lambda d: remove_tree(d, d.open_root("/"), "gone")):
        assert below(disk.snapshot(), "kept") == kept
        assert not (returned and below(disk.snapshot(), "gone"))
        remove_tree(disk, disk.open_root("/"), "gone")
        assert set(disk.snapshot()) == {f"kept{path}" for path in kept}


def test_an_unfinished_copy_is_wiped_after_every_cut_and_fault():
    before = content(TREE, "from")
    original = below(SimulatedDisk(before).snapshot(), "from")

    def act(disk):
        copy_tree(disk, disk.open_root("/"), "from", disk.open_root("/"), "to")

    disks = [disk for _, disk in after_every_cut(before, act)]
    disks += [
        disk for number in (errno.EIO, errno.ENOSPC) for disk, _ in after_every_fault(before, act, number)
    ]
    for disk in disks:
        assert below(disk.snapshot(), "from") == original
        remove_tree(disk, disk.open_root("/"), "to")
        act(disk)
        assert below(disk.snapshot(), "to") == original


def test_remove_tree_of_a_file_a_link_and_nothing():
    disk = SimulatedDisk({"f": ("file", b"", 0o644), "l": ("link", "d"), "d/x": ("file", b"", 0o644)})
    root = disk.open_root("/")
    for name in ("f", "l", "nothing"):
        remove_tree(disk, root, name)
    assert set(disk.crash().snapshot()) == {"d", "d/x"}


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_walk_meets_everything_once_in_order(tree):
    disk = SimulatedDisk(content(tree, "top"))
    with disk.open_root("/top") as top:
        found = [(entry.path, entry.stat.kind) for entry in walk(disk, top)]
    kinds = {path[1:]: leaf[0] for path, leaf in below(disk.snapshot(), "top").items() if path}
    assert dict(found) == kinds and len(found) == len(kinds)
    steps = [path.split("/") for path, _ in found]
    assert steps == sorted(steps)


def test_walk_enters_only_what_it_should():
    disk = SimulatedDisk(content(TREE, "top"))
    entered = walk(disk, disk.open_root("/top"), enter=lambda found: found.path != "a")
    assert [found.path for found in entered] == ["0", "0/0", "0/1", "a", "f", "l"]


def test_walk_gives_the_directory_that_an_entry_lies_in():
    disk = SimulatedDisk(content(TREE, "top"))
    read = {}
    for found in walk(disk, disk.open_root("/top")):
        if found.stat.kind == "file":
            with disk.open_read(found.at, found.name) as file:
                read[found.path] = file.read(10)
    assert read == {"a/0/1/deep": b"x", "a/f": b"1", "0/1": b"", "f": b"2"}


@pytest.mark.parametrize(("levels", "fine"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_depth_is_limited(levels, fine):
    disk = SimulatedDisk({"top" + "/d" * levels: ("dir", 0o755)})
    walking = walk(disk, disk.open_root("/top"))
    if fine:
        assert len(list(walking)) == levels
    else:
        with pytest.raises(LimitError):
            list(walking)


# The others ----------------------------------------------------------------------------------------


def test_read_file_holds_its_limit(place):
    disk, root = place
    write_file(disk, root, "a", b"12345")
    assert read_file(disk, root, "a", limit=5) == b"12345"
    with pytest.raises(LimitError):
        read_file(disk, root, "a", limit=4)


def test_recipes_on_both_disks(place):
    disk, root = place
    with disk.make_dir(root, "from") as top, disk.make_dir(top, "sub") as sub:
        write_file(disk, sub, "x", b"1", mode=0o755)
        replace_link(disk, top, "link", "sub/x")
    copy_tree(disk, root, "from", root, "to")
    remove_tree(disk, root, "from")
    found = {
        entry.path: (entry.stat.kind, entry.stat.mode)
        for entry in walk(disk, root)
        if entry.stat.kind != "link"
    }
    assert found == {"to": ("dir", 0o755), "to/sub": ("dir", 0o755), "to/sub/x": ("file", 0o755)}
    with disk.open_dir(root, "to") as to:
        assert disk.read_link(to, "link") == "sub/x"


def test_shares_blocks_leaves_nothing(place):
    disk, root = place
    assert shares_blocks(disk, root) in (True, False)
    assert disk.names(root) == []
