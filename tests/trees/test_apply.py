"""Applying where something is wrong: with the old tree, the destination, the delta, the disk."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from support.tree_delta import Delta, built, edit, frame, group, plan, varint
from support.trees import apply, plant, scan

from deltaseal.errors import (
    BaseMismatchError,
    DeltaError,
    DeltasealError,
    DigestError,
    DocumentTypeError,
    LimitError,
    SpaceError,
    StorageError,
    TreeError,
)
from deltaseal.storage import BytesSource, PowerCut, SimulatedDisk
from deltaseal.trees import Limits, diff, inspect
from deltaseal.trees import apply as apply_tree
from deltaseal.trees import scan as scan_tree

OLD = {"a/kept": b"k" * 5000, "a/text": b"some words\n" * 300, "b": b"bytes" * 40, "c/d/gone": b"", "l": "b"}
NEW = {
    "a/kept": b"k" * 5000,
    "a/text": b"some words\n" * 299 + b"more",
    "b2": b"bytes" * 40,
    "e": "b2",
    "t": b"some",
    "u": b"some",
}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, bytes]:
    old = plant(tmp_path / "old", OLD)
    return old, diff(old, plant(tmp_path / "new", NEW))


def test_the_wrong_old_tree_shows_both_digests(tmp_path: Path, made: tuple[Path, bytes]) -> None:
    old, delta = made
    expected = scan(old).digest.hex()
    (old / "b").write_bytes(b"other")
    with pytest.raises(BaseMismatchError) as caught:
        apply(old, delta, tmp_path / "dest")
    assert caught.value.facts == {"expected": expected, "found": scan(old).digest.hex()}
    assert expected in caught.value.sentence
    assert not list((tmp_path / "dest").iterdir())


def test_a_destination_with_anything_in_it(tmp_path: Path, made: tuple[Path, bytes]) -> None:
    plant(tmp_path / "dest", {"mine": b"precious"})
    with pytest.raises(TreeError, match="not empty"):
        apply(*made, tmp_path / "dest")
    assert [file.name for file in (tmp_path / "dest").iterdir()] == ["mine"]


def test_every_flipped_bit_is_found(tmp_path: Path, made: tuple[Path, bytes]) -> None:
    _, delta = made
    good = scan(tmp_path / "new")
    disk = SimulatedDisk(_content("old", OLD))
    for place in range(len(delta)):
        broken = bytearray(delta)
        broken[place] ^= 1 << (place % 8)
        top = disk.open_root("/old")
        dest = disk.make_dir(disk.open_root("/"), f"dest{place}")
        try:
            found = apply_tree(disk, top, BytesSource(broken), dest)
        except DeltasealError as error:
            assert error.exit_code in (13, 15, 16, 17, 18, 19)
        else:
            assert 80 <= place < 83  # the version of zstd is for people
            assert found == good


def test_every_truncation_is_found(made: tuple[Path, bytes]) -> None:
    _, delta = made
    for size in range(len(delta)):
        with pytest.raises((DeltaError, DocumentTypeError)):
            inspect(BytesSource(delta[:size]))
    with pytest.raises(DeltaError):
        inspect(BytesSource(delta + b"\0"))


def _content(root: str, leaves: dict[str, bytes | str]) -> dict:  # type: ignore[type-arg]
    return {
        f"{root}/{path}": ("link", leaf) if isinstance(leaf, str) else ("file", leaf, 0o644)
        for path, leaf in leaves.items()
    }


def simulated(**options: int) -> SimulatedDisk:
    """A simulated disk with an old tree, an empty destination and something beside."""
    beside = {"beside": ("file", b"mine", 0o600), "dest": ("dir", 0o700)}
    return SimulatedDisk({**_content("old", OLD), **beside}, **options)


def run(disk: SimulatedDisk, delta: bytes) -> None:
    with disk.open_root("/old") as old, disk.open_root("/dest") as dest:
        apply_tree(disk, old, BytesSource(delta), dest)


def outside(disk: SimulatedDisk) -> dict[str, object]:
    return {path: leaf for path, leaf in disk.snapshot().items() if not path.startswith("dest/")}


def test_what_was_returned_survives_a_power_cut(made: tuple[Path, bytes]) -> None:
    disk = simulated()
    run(disk, made[1])
    survivor = disk.crash("durable")
    with survivor.open_root("/dest") as dest, disk.open_root("/dest") as before:
        assert scan_tree(survivor, dest) == scan_tree(disk, before)
    assert outside(survivor) == outside(disk) == outside(simulated())


def test_a_failure_of_any_operation_is_said_and_touches_nothing_else(made: tuple[Path, bytes]) -> None:
    clean = simulated()
    run(clean, made[1])
    for operation in range(len(clean.operations)):
        for number, kind in [(errno.EIO, StorageError), (errno.ENOSPC, SpaceError)]:
            disk = simulated()
            disk.fail_at(operation, number)
            with pytest.raises(kind):
                run(disk, made[1])
            assert outside(disk) == outside(clean)


def test_a_power_cut_passes_through(made: tuple[Path, bytes]) -> None:
    disk = simulated()
    disk.cut_at(5)
    with pytest.raises(PowerCut):
        run(disk, made[1])


def test_a_full_disk(made: tuple[Path, bytes]) -> None:
    with pytest.raises(SpaceError):
        run(simulated(capacity=16_000), made[1])
    with pytest.raises(SpaceError):
        run(simulated(inodes=14), made[1])


def test_limits_just_met_and_just_missed(tmp_path: Path, made: tuple[Path, bytes]) -> None:
    size = scan(tmp_path / "new").total_bytes
    apply(*made, tmp_path / "fits", limits=Limits(output_bytes=size))
    with pytest.raises(LimitError, match=f"{size} bytes, {size - 1} are allowed"):
        apply(*made, tmp_path / "not", limits=Limits(output_bytes=size - 1))
    assert not list((tmp_path / "not").iterdir())


def test_an_image_payload_over_the_memory_limit(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"x" * 100})
    wanted = plan([edit(b"a", 10, built(b"y"))], [group(3, [0], [0], 500)])
    with pytest.raises(LimitError, match="500 bytes, 499 are allowed"):
        apply(
            old,
            bytes(Delta(scan(old).digest, bytes(32), wanted, bytes(500))),
            tmp_path / "dest",
            limits=Limits(memory_bytes=499),
        )


def test_an_image_payload_that_is_none(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"x" * 100, "b": b"y"})
    for old_files in ([0], [0, 1], [1, 0, 1]):
        wanted = plan([edit(b"a", 10, built(b"y"))], [group(3, old_files, [0], 50)])
        with pytest.raises(DeltasealError) as caught:
            apply(
                old,
                bytes(Delta(scan(old).digest, bytes(32), wanted, bytes(50))),
                tmp_path / f"dest{len(old_files)}",
            )
        assert caught.value.exit_code in (15, 18)


def test_a_new_tree_that_is_not_the_promised_one(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"x"})
    wanted = plan([edit(b"a", 10, built(b"y"))], [group(0, [], [0], 1)])
    with pytest.raises(DigestError, match="the delta promised 0000"):
        apply(old, bytes(Delta(scan(old).digest, bytes(32), wanted, b"y")), tmp_path / "dest")


def test_a_damaged_content_is_found_at_its_file(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {})
    wanted = plan([edit(b"a", 2, built(b"good")), edit(b"b", 2, built(b"fine"))], [group(0, [], [0, 0], 8)])
    with pytest.raises(DigestError, match="the new file a came out wrong"):
        apply(old, bytes(Delta(scan(old).digest, bytes(32), wanted, b"evilfine")), tmp_path / "dest")
    assert not (tmp_path / "dest/b").exists()


def test_reading_old_files_again_and_again_is_refused(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"x" * 1000})
    payload = frame(b"")
    for times, kind in [(8, DigestError), (9, LimitError)]:  # four times both trees' 1000 bytes
        edits = [edit(b"b%d" % n, 2, varint(0) + hashlib.sha256().digest()[:4]) for n in range(times)]
        groups = [group(2, [0], [n], len(payload)) for n in range(times)]
        delta = Delta(scan(old).digest, bytes(32), plan(edits, groups), payload * times)
        with pytest.raises(kind):
            apply(old, bytes(delta), tmp_path / f"dest{times}")


REFUSED_PLANS: dict[str, tuple[bytes, type[DeltasealError]]] = {
    "no lists": (b"", DeltaError),
    "no groups": (b"\x00", DeltaError),
    "something behind": (plan([], []) + b"\0", DeltaError),
    "more edits than bytes": (varint(1 << 40) + b"\0" * 9, DeltaError),
    "more groups than bytes": (b"\0" + varint(1 << 40), DeltaError),
    "a varint over 64 bits": (b"\xff" * 9 + b"\x02", DeltaError),
    "a varint without end": (b"\xff" * 12, DeltaError),
    "a varint longer than it needs": (b"\x80\x00" + b"\0", DeltaError),
    "shared bytes of nothing": (plan([b"\x01\x01a\x01"], []), DeltaError),
    "an empty rest": (plan([edit(b"", 1)], []), DeltaError),
    "paths out of order": (plan([edit(b"b", 1), edit(b"a", 1)], []), DeltaError),
    "a rest that goes on for ever": (plan([b"\x00" + varint(1 << 63)], []), DeltaError),
    "nothing becomes nothing": (plan([edit(b"x", 0)], []), DeltaError),
    "an unknown kind": (plan([edit(b"x", 5)], []), DeltaError),
    "bit 6": (plan([edit(b"x", 64 + 1)], []), DeltaError),
    "a directory with content": (plan([edit(b"x", 16 + 1)], []), DeltaError),
    "an unknown coding": (plan([edit(b"x", 2, built(b""))], [group(4, [], [0], 0)]), DeltaError),
    "a raw group with old files": (plan([edit(b"x", 2, built(b""))], [group(0, [0], [0], 0)]), DeltaError),
    "an image group without": (plan([edit(b"x", 2, built(b""))], [group(3, [], [0], 0)]), DeltaError),
    "a group that makes nothing": (plan([], [group(0, [], [], 0)]), DeltaError),
    "a file in no group": (plan([edit(b"x", 2, built(b""))], []), DeltaError),
    "a file in two groups": (
        plan([edit(b"x", 2, built(b""))], [group(0, [], [0], 0), group(0, [], [0], 0)]),
        DeltaError,
    ),
    "a built file that is none": (plan([], [group(0, [], [0], 0)]), DeltaError),
    "a built file far away": (plan([edit(b"x", 2, built(b""))], [group(0, [], [1 << 60], 0)]), DeltaError),
    "a raw payload too short": (plan([edit(b"x", 2, built(b"1"))], [group(0, [], [0], 0)]), DeltaError),
    "a payload behind the end": (plan([edit(b"x", 2, built(b"1"))], [group(1, [], [0], 1)]), DeltaError),
    "a copy of a built file that is none": (plan([edit(b"x", 2 + 48, b"\x00")], []), DeltaError),
    "content of a directory": (plan([edit(b"x", 2 + 32, b"\x00")], []), DeltaError),
    "content of an entry that is none": (plan([edit(b"x", 2 + 32, b"\x63")], []), DeltaError),
    "old content of nothing": (plan([edit(b"x", 2 + 16)], []), TreeError),
    "old content of a link": (plan([edit(b"l", 2 + 8 + 16)], []), TreeError),
    "old content of a directory": (plan([edit(b"a", 2 + 8 + 16)], []), TreeError),
    "removed, but not there": (plan([edit(b"x", 8)], []), TreeError),
    "added, but there": (plan([edit(b"b", 1)], []), TreeError),
    "removed with its directory already": (plan([edit(b"a", 8), edit(b"a/kept", 8)], []), TreeError),
    "below a file": (plan([edit(b"b/x", 1)], []), TreeError),
    "below nothing": (plan([edit(b"x/y", 1)], []), TreeError),
    "a link without target": (plan([edit(b"x", 4, b"\x00")], []), TreeError),
    "a target with a control character": (plan([edit(b"x", 4, b"\x01\x07")], []), TreeError),
}


@pytest.mark.parametrize("fault", REFUSED_PLANS)
def test_a_plan_with_one_fault(tmp_path: Path, fault: str) -> None:
    old = plant(tmp_path / "old", OLD)
    wrong, kind = REFUSED_PLANS[fault]
    with pytest.raises(kind):
        apply(old, bytes(Delta(scan(old).digest, bytes(32), wrong)), tmp_path / "dest")
    assert not list((tmp_path / "dest").iterdir())


def test_a_header_with_one_fault(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {})
    digest = scan(old).digest
    nothing = plan([], [])
    assert apply(old, bytes(Delta(digest, digest, nothing)), tmp_path / "good").digest == digest
    faults: list[tuple[bytes, type[DeltasealError]]] = [
        (b"", DocumentTypeError),
        (bytes(Delta(digest, digest, nothing, magic=b"DSTREE1")), DocumentTypeError),
        (bytes(Delta(digest, digest, nothing, revision=2)), DeltaError),
        (bytes(Delta(digest, digest, nothing, size_off=1)), DeltaError),
        (bytes(Delta(digest, digest, nothing, payload=b"x")), DeltaError),
        (bytes(Delta(digest, digest, nothing, coding=2)), DeltaError),
        (bytes(Delta(digest, digest, nothing, coding=1, stored_plan=b"")), DeltaError),
        (bytes(Delta(bytes(32), digest, nothing)), BaseMismatchError),
        (bytes(Delta(digest, bytes(32), nothing)), DigestError),
    ]
    for delta, kind in faults:
        with pytest.raises(kind):
            apply(old, delta, tmp_path / "dest")


def test_paths_that_are_short_in_the_file_and_long_written_out() -> None:
    above = b"/".join([b"n" * 255] * 15) + b"/"
    paths = [above + b"%05d" % number for number in range(70_000)]
    edits = [edit(paths[0], 1), *(edit(path, 1, shared=len(above)) for path in paths[1:])]
    wanted = Delta(bytes(32), bytes(32), plan(edits, []))
    with pytest.raises(LimitError, match="268435456"):
        inspect(BytesSource(bytes(wanted)))
    wanted.plan = plan(edits[:60_000], [])
    assert len(inspect(BytesSource(bytes(wanted))).changes) == 60_000
