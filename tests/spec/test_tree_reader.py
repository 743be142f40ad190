"""The second reader of trees and ours say the same."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from fuzz.fuzz_tree import OLD, SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import tree_reader
from support.tree_delta import Delta, built, edit, group, plan
from support.trees import Leaves, plant, scan

from deltaseal import images
from deltaseal.errors import DeltasealError
from deltaseal.storage import BytesSource, SimulatedDisk
from deltaseal.trees import Limits, Listing, apply, diff
from deltaseal.trees import scan as scan_tree

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "tree.md").read_text()
WORDS = b"".join(b"%d words of a page\n" % number for number in range(300))


def image(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def theirs(root: Path) -> tuple[tree_reader.Tree, tree_reader.Contents]:
    """A real directory as the second reader holds it, read without our code."""
    tree: tree_reader.Tree = {}
    contents: tree_reader.Contents = {}
    for place in root.rglob("*"):
        path = os.fsencode(place.relative_to(root))
        if place.is_symlink():
            tree[path] = tree_reader.Node("l", target=os.fsencode(os.readlink(place)))
        elif place.is_dir():
            tree[path] = tree_reader.Node("d")
        else:
            contents[path] = data = place.read_bytes()
            kind = "x" if place.stat().st_mode & 0o100 else "f"
            tree[path] = tree_reader.Node(kind, len(data), hashlib.sha256(data).hexdigest())
    return tree, contents


PAIRS: list[tuple[Leaves, Leaves]] = [
    ({}, {}),
    ({"a": b"1"}, {"a": (b"1", 0o755), "b": b"1", "c": "b"}),
    ({"x-1/a": WORDS, "x-1/b": b"b"}, {"x-2/a": WORDS + b"!", "x-2/b": b"b"}),
    (
        {"a/b/c": b"1", "d": "a", "e": WORDS, "out": "/etc"},
        {"a": WORDS[9:], "d/e": b"1", "e": WORDS[5:], "f": WORDS[9:], "out": "/etc"},
    ),
    (
        {f"m{n}": WORDS[n * 50 :] for n in range(9)},
        {f"m{n}": WORDS[n * 50 : -9] + b"%d" % n for n in range(9)},
    ),
]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_both_make_the_same_tree(tmp_path: Path, pair: int, whole: bool) -> None:
    old, new = PAIRS[pair]
    old_root, new_root = plant(tmp_path / "old", old), plant(tmp_path / "new", new)
    delta = tree_reader.read_delta(diff(old_root, new_root, whole=whole))
    assert delta.old_digest == scan(old_root).digest == tree_reader.tree_digest(theirs(old_root)[0])
    assert tree_reader.apply(delta, *theirs(old_root), image) == theirs(new_root)


def test_every_coding_is_read_by_both(tmp_path: Path) -> None:
    blob = hashlib.shake_256(b"seed").digest(30_000)
    moved = bytes((byte + (place % 64 == 0)) & 255 for place, byte in enumerate(blob))  # as addresses do
    seen: set[int] = set()
    cases: list[tuple[Leaves, Leaves]] = [
        ({"image": b"\x7fELF" + blob}, {"image": b"\x7fELF" + moved}),
        ({"text": WORDS}, {"text": WORDS[:90] + WORDS[99:]}),
        ({}, {"raw": blob[:100]}),
        ({}, {"words": WORDS}),
    ]
    for number, (old, new) in enumerate(cases):
        old_root, new_root = plant(tmp_path / f"old{number}", old), plant(tmp_path / f"new{number}", new)
        delta = tree_reader.read_delta(diff(old_root, new_root))
        assert tree_reader.apply(delta, *theirs(old_root), image) == theirs(new_root)
        seen |= {group.coding for group in delta.groups}
    assert seen == {0, 1, 2, 3}


def ours_on_the_seed_tree(data: bytes) -> bytes | str:
    """The digest of what our reader makes of the fuzz target's old tree, or the reason of its refusal."""
    disk = SimulatedDisk(OLD)
    try:
        with disk.open_root("old") as old, disk.open_root("dest") as dest:
            return apply(disk, old, BytesSource(data), dest, limits=Limits(output_bytes=1 << 20)).digest
    except DeltasealError as error:
        return error.reason


def theirs_on_the_seed_tree(data: bytes) -> bytes | str:
    disk = SimulatedDisk(OLD)
    with disk.open_root("old") as top:
        text = scan_tree(disk, top).dumps()
    door = {b"etc": tree_reader.Node("l", target=b"/etc")}
    tree = tree_reader.read_listing(text, old=door)
    contents = {
        path.removeprefix("old/").encode(): leaf[1]
        for path, leaf in OLD.items()
        if path.startswith("old/") and isinstance(leaf[1], bytes)
    }
    try:
        return tree_reader.tree_digest(
            tree_reader.apply(tree_reader.read_delta(data), tree, contents, image)[0]
        )  # type: ignore[arg-type]
    except tree_reader.Refused as error:
        return error.reason
    except DeltasealError as error:  # from the image delta inside
        return error.reason


@pytest.mark.parametrize("name", sorted(path.name for path in SEEDS.glob("delta-*")))
def test_both_say_the_same_of_every_seed(name: str) -> None:
    data = (SEEDS / name).read_bytes()
    assert ours_on_the_seed_tree(data) == theirs_on_the_seed_tree(data)


@settings(deadline=None)
@given(at=st.integers(84, 274), new=st.binary(max_size=3), old=st.integers(0, 3))
def test_both_take_and_refuse_the_same_damaged_deltas(at: int, new: bytes, old: int) -> None:
    good = (SEEDS / "delta-good").read_bytes()
    changed = bytearray(good[:at] + new + good[at + old :])
    changed[8:16] = len(changed).to_bytes(8, "little")
    ours, others = ours_on_the_seed_tree(bytes(changed)), theirs_on_the_seed_tree(bytes(changed))
    assert isinstance(ours, bytes) == isinstance(others, bytes)
    if isinstance(ours, bytes):
        assert ours == others


@given(st.data())
def test_both_take_and_refuse_the_same_listings(data: st.DataObject) -> None:
    name = st.sampled_from(
        [b"a", b"b", b"..", b".", b"a/b", b"a/c", b"b/a", b"c", b"", b"a\x01", b"/a", b"a/b/c"]
    )
    target = st.sampled_from([b"a", b"b", b"../a", b"..", b"a/..", b"/x", b"c/a", b"../c", b"./.", b""])
    line = st.one_of(
        st.builds(lambda path: b"d\t" + path, name),
        st.builds(lambda path, to: b"l\t%b\t%b" % (path, to), name, target),
        st.builds(
            lambda path, size: b"f\t%b\t%d\t%b" % (path, size, b"0" * 64), name, st.integers(0, 1 << 64)
        ),
    )
    lines = data.draw(st.lists(line, max_size=6, unique_by=lambda text: text.split(b"\t")[1]))
    lines.sort(key=lambda text: text.split(b"\t")[1])
    text = b"".join(part + b"\n" for part in [b"deltaseal-tree/0 %d" % len(lines), *lines])
    try:
        ours: bytes | None = Listing.loads(text).digest
    except DeltasealError:
        ours = None
    try:
        others: bytes | None = tree_reader.tree_digest(tree_reader.read_listing(text))
    except tree_reader.Refused:
        others = None
    assert ours == others


def test_the_examples_of_the_page() -> None:
    block = re.search(r"    deltaseal-tree/0 4\n(?:    .*\n)+", PAGE)
    assert block
    text = re.sub(r"^    ", "", block[0], flags=re.M).replace("→", "\t").encode()
    digest = hashlib.sha256(text).hexdigest()
    assert f"Its digest is `{digest}`" in PAGE
    assert (
        Listing.loads(text).digest.hex()
        == tree_reader.tree_digest(tree_reader.read_listing(text)).hex()
        == digest
    )
    wanted = plan([edit(b"lib/a", 2 + 8, built(b"abc"))], [group(0, [], [0], 3)])
    example = re.findall(r"^    ((?:[0-9a-f]{2} )+ *)", PAGE, flags=re.M)
    assert bytes.fromhex("".join(example)) == wanted
    whole = bytes(Delta(Listing.loads(text).digest, bytes(32), wanted, b"abc"))
    assert f"the delta has {len(whole)} bytes" in PAGE
