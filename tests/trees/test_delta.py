"""Tree deltas made and applied: every change round-trips, and costs what it should."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trees import Leaves, apply, apply_in_memory, plant, scan

from deltaseal.errors import BaseMismatchError, TreeError, UsageError
from deltaseal.storage import BytesSource
from deltaseal.trees import diff, inspect

RANDOM = random.Random(8)
BLOB = RANDOM.randbytes(40_000)
TEXT = "\n".join(f"line {n} {RANDOM.random()}" for n in range(400)).encode()


def round_trip(tmp_path: Path, old: Leaves, new: Leaves, **options: object) -> bytes:
    """Make the delta, apply it, compare everything; return it."""
    number = len(list(tmp_path.iterdir()))
    old_root = plant(tmp_path / f"old{number}", old)
    new_root = plant(tmp_path / f"new{number}", new)
    delta = diff(old_root, new_root, **options)  # type: ignore[arg-type]
    assert apply_in_memory(old_root, delta) == scan(new_root)
    return delta


CHANGES: dict[str, tuple[Leaves, Leaves]] = {
    "nothing": ({"a": b"x"}, {"a": b"x"}),
    "empty trees": ({}, {}),
    "first file": ({}, {"a": b"x"}),
    "last file": ({"a": b"x"}, {}),
    "empty file": ({}, {"a": b"", "b": b""}),
    "executable bit": ({"a": b"x"}, {"a": (b"x", 0o755)}),
    "executable bit and content": ({"a": b"x"}, {"a": (b"y", 0o755)}),
    "renamed": ({"a": BLOB}, {"b": BLOB}),
    "swapped": ({"a": BLOB, "b": TEXT}, {"a": TEXT, "b": BLOB}),
    "copied": ({"a": BLOB}, {"a": BLOB, "b": BLOB, "c/d": BLOB}),
    "same new content twice": ({}, {"a": TEXT, "b": (TEXT, 0o755), "c": TEXT}),
    "directory removed": ({"a/b/c": b"x", "a/d": b"y", "a-b": b"z"}, {"a-b": b"z"}),
    "directory becomes file": ({"a/b/c": b"x"}, {"a": b"x"}),
    "directory becomes link": ({"a/b": b"x", "c": None}, {"a": "c", "c": None}),
    "file becomes directory": ({"a": b"x"}, {"a/b/c": b"x"}),
    "file becomes link": ({"a": b"x", "b": b"y"}, {"a": "b", "b": b"y"}),
    "link becomes file": ({"a": "b", "b": b"y"}, {"a": b"y", "b": b"y"}),
    "link moves": ({"a": "b", "b": b"", "c": b""}, {"a": "c", "b": b"", "c": b""}),
    "no encoding": ({b"\xff/\xfe": TEXT}, {b"\xff/\xfe": TEXT + b"!", b"\xff/\xfd": "\udcfe"}),
    "names in the way of sorting": (
        {"a": b"1", "a-": b"2", "a0": b"3"},
        {"a/x": b"1", "a-": b"3", "a0": b"2"},
    ),
    "baseline's own outward link": ({"etc": "/etc", "a": b"1"}, {"etc": "/etc", "a": b"2"}),
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_change(tmp_path: Path, change: str, whole: bool) -> None:
    round_trip(tmp_path, *CHANGES[change], whole=whole)


LEAF = st.one_of(
    st.none(),
    st.sampled_from([b"", b"x", TEXT, TEXT[:3000] + TEXT[3100:], BLOB[:5000], BLOB[2500:7500]]),
    st.tuples(st.sampled_from([b"x", TEXT]), st.just(0o755)),
    st.sampled_from(["a", "b/c", "."]),
)


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in draw(st.lists(st.sampled_from(["a", "b", "b/c", "b/d", "d/e/f", "d/e", "d-"]), unique=True)):
        inside = any(path.startswith(other + "/") or other.startswith(path + "/") for other in found)
        if not inside:
            found[path] = draw(LEAF)
    return found


@settings(max_examples=40, deadline=None)
@given(leaves(), leaves())
def test_any_tree_becomes_any_other(old: Leaves, new: Leaves) -> None:
    with tempfile.TemporaryDirectory() as folder:
        round_trip(Path(folder), old, new)


def test_one_small_change_in_a_large_tree_costs_little(tmp_path: Path) -> None:
    unchanged = {f"lib/module{n:03}/file{m}.py": b"%d %d" % (n, m) for n in range(100) for m in range(5)}
    path = "lib/x86_64-linux-gnu/libexample.so.1.2.3"
    changed = BLOB[:20_000] + b"fixed" + BLOB[20_005:]
    delta = round_trip(tmp_path, {**unchanged, path: BLOB}, {**unchanged, path: changed})
    (group,) = inspect(BytesSource(delta)).groups
    assert len(delta) - group.delta_bytes < 160
    assert len(delta) < 400


def test_equal_trees_cost_a_header(tmp_path: Path) -> None:
    assert len(round_trip(tmp_path, {"a": BLOB}, {"a": BLOB})) == 87


def test_moved_content_costs_its_name(tmp_path: Path) -> None:
    old: dict[str, bytes] = {f"pkg-1.2/{n}": RANDOM.randbytes(3000) for n in range(20)}
    delta = round_trip(tmp_path, old, {path.replace("1.2", "1.3"): content for path, content in old.items()})
    assert len(delta) < 84 + 20 * 6 + 40


def test_a_renamed_and_changed_file_is_made_from_the_old_one(tmp_path: Path) -> None:
    changed = BLOB + b"tail"
    for old, new in [("libx.so.1.2", "libx.so.1.3"), ("a/libx.so", "b/libx.so"), ("one", "other")]:
        assert len(round_trip(tmp_path, {old: BLOB, "z": TEXT}, {new: changed, "z": TEXT})) < 400


def test_new_code_split_off_an_old_file_is_found_by_its_content(tmp_path: Path) -> None:
    old = {"big": TEXT * 2, "far": BLOB}
    delta = round_trip(tmp_path, old, {"rest": TEXT[:4000] + b"new words that nobody knew", "far": BLOB})
    assert len(delta) < 500


def test_small_texts_share_a_group(tmp_path: Path) -> None:
    def page(n: int, version: bytes) -> bytes:
        return b"Version: %b\nName: page %d\n" % (version, n) + TEXT[n * 20 : n * 20 + 400]

    old = {f"doc/{n}": page(n, b"6.1.2") for n in range(30)}
    new = {f"doc/{n}": page(n, b"6.1.3, the one that fixes it") for n in range(30)}
    delta = round_trip(tmp_path, old, new)
    info = inspect(BytesSource(delta))
    assert len(info.groups) == 1
    assert info.groups[0].new_files == 30
    apart = sum(len(round_trip(tmp_path, {path: old[path]}, {path: new[path]})) - 120 for path in old)
    assert len(delta) < apart


def test_whole_files_need_no_old_content(tmp_path: Path) -> None:
    delta = round_trip(tmp_path, {"a": TEXT, "b": BLOB}, {"a": TEXT + b"!", "b": BLOB}, whole=True)
    info = inspect(BytesSource(delta))
    assert [group.old_files for group in info.groups] == [0]
    assert len(delta) > 2000


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_same_inputs_same_bytes(tmp_path: Path, effort: str) -> None:
    old = plant(tmp_path / "old", {"a": TEXT, "b": BLOB, "c/d": b"1"})
    new = plant(tmp_path / "new", {"a": TEXT[:5000], "b": BLOB[10:], "c/e": b"1", "f": TEXT[::-1]})
    first = diff(old, new, effort=effort)
    os.utime(new / "a", (1, 1))
    assert first == diff(old, new, effort=effort, threads=2)


def test_an_unknown_effort_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="heroic"):
        diff(tmp_path, tmp_path, effort="heroic")


def test_exclude_and_names_are_the_bases(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"1", "cache/x": b"2", "skip": b"3"})
    new = plant(tmp_path / "new", {"a": b"1!", "cache/y": b"4", "skip": b"5"})
    delta = diff(old, new, exclude=["cache", "skip"])
    listed = scan(old, exclude=["cache", "skip"])
    assert apply(old, delta, tmp_path / "dest", listing=listed) == scan(new, exclude=["cache", "skip"])
    with pytest.raises(BaseMismatchError) as caught:
        apply(old, delta, tmp_path / "other")
    assert caught.value.facts["expected"] == listed.digest.hex()
    assert caught.value.facts["found"] == scan(old).digest.hex()
    plant(new, {"A": b"twin"})
    with pytest.raises(TreeError):
        diff(old, new, names="insensitive")


def test_new_links_out_of_the_tree_are_refused(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"1"})
    with pytest.raises(TreeError, match="leaves the tree"):
        diff(old, plant(tmp_path / "new", {"a": b"1", "etc": "/etc"}))


@pytest.mark.parametrize("unchanged", ["clone", "copy"])
def test_what_is_written_shares_no_inode_and_has_plain_modes(tmp_path: Path, unchanged: str) -> None:
    old = plant(tmp_path / "old", {"a": (b"1", 0o600), "b": (b"2", 0o711), "c": None, "m": (b"3", 0o444)})
    (old / "c").chmod(0o700)
    new = plant(tmp_path / "new", {"a": b"1", "b": (b"2!", 0o755), "c": None, "m": (b"3", 0o700)})
    dest = tmp_path / "dest"
    mask = os.umask(0o077)
    try:
        apply(old, diff(old, new), dest, unchanged=unchanged)
    finally:
        os.umask(mask)
    modes = {file.name: file.stat().st_mode & 0o7777 for file in dest.iterdir()}
    assert modes == {"a": 0o644, "b": 0o755, "c": 0o755, "m": 0o755}
    assert all(file.stat().st_nlink == 1 for file in dest.iterdir() if file.is_file())
    assert (old / "a").stat().st_ino != (dest / "a").stat().st_ino


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": TEXT, "b": BLOB})
    new = plant(tmp_path / "new", {"a": TEXT + b"!", "b": BLOB, "c": TEXT[9:], "d": TEXT + b"!"})
    made: list[tuple[int, int]] = []
    delta = diff(old, new, progress=lambda done, total: made.append((done, total)))
    assert made[-1][0] == made[-1][1] == 2 * len(TEXT) - 8
    applied: list[tuple[int, int]] = []
    apply(old, delta, tmp_path / "dest", progress=lambda done, total: applied.append((done, total)))
    assert applied == sorted(applied)
    assert applied[-1][0] == applied[-1][1] == 3 * len(TEXT) - 7 + len(BLOB)


def test_progress_goes_on_within_a_large_file(tmp_path: Path) -> None:
    image = b"\x7fELF" + RANDOM.randbytes(1_500_000)
    old, new = plant(tmp_path / "old", {"a": image}), plant(tmp_path / "new", {"a": image[:700_000] + image})
    made: list[tuple[int, int]] = []
    diff(old, new, progress=lambda done, total: made.append((done, total)))
    scanned = [told for told in made if not told[1]]
    coded = made[len(scanned) :]
    assert len(scanned) > 2 and coded == sorted(coded)
    assert any(0 < done < total for done, total in coded)


def test_a_signal_stops_the_making_of_a_large_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    image = b"\x7fELF" + RANDOM.randbytes(8_000_000)
    old, new = plant(tmp_path / "old", {"a": image}), plant(tmp_path / "new", {"a": image[::-1]})
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0)
        with pytest.raises(Stop):
            diff(old, new)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert capfd.readouterr().err == ""


def test_inspect_names_what_changes(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"gone/x": b"1", "kept": BLOB, "run": b"2", "text": TEXT})
    new = plant(tmp_path / "new", {"kept": BLOB, "more": BLOB, "run": (b"2", 0o755), "text": TEXT + b"!"})
    info = inspect(BytesSource(diff(old, new)))
    assert (info.old_digest, info.new_digest) == (scan(old).digest, scan(new).digest)
    assert info.paths("removed") == [b"gone"]
    assert info.paths("added") == [b"more"]
    assert info.paths("changed") == [b"run", b"text"]
    assert [change.source for change in info.changes] == ["", "old", "same", "built"]
    text = info.changes[-1].to_json()
    assert text["size"] == len(TEXT) + 1
    assert text["delta_bytes"] == info.groups[text["group"]].delta_bytes
    assert info.to_json()["size"] == info.size


def test_the_delta_is_smaller_than_the_digests_of_what_did_not_change(tmp_path: Path) -> None:
    files = {f"{n:04}": hashlib.sha256(b"%d" % n).digest() for n in range(600)}
    delta = round_trip(tmp_path, files, {**files, "0300": b"changed"})
    assert len(delta) < 150
