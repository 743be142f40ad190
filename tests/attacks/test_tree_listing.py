"""H01 to H14: a tree listing, a directory or a tree delta that makes a tree which must not be."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from support.tree_delta import Delta, built, edit, group, plan, varint
from support.trees import apply, plant, scan

from deltaseal.errors import DeltaError, DigestError, LimitError, TreeError
from deltaseal.storage import BytesSource
from deltaseal.trees import Entry, Limits, Listing, inspect

SHA = "ab" * 32


def listing(*lines: str | bytes, count: int | None = None) -> bytes:
    encoded = [line.encode() if isinstance(line, str) else line for line in lines]
    first = b"deltaseal-tree/0 %d" % (len(lines) if count is None else count)
    return b"".join(line + b"\n" for line in [first, *encoded])


def refused(data: bytes, **options: object) -> TreeError:
    with pytest.raises(TreeError) as caught:
        Listing.loads(data, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("path", ["..", "../x", "a/../x", "a/..", "/etc", "a//b", "a/", "a/./b"])
def test_H01_H02_a_path_that_steps_up_or_begins_at_the_root(path: str) -> None:
    assert path in str(refused(listing("d\ta", f"f\t{path}\t1\t{SHA}")))


def test_H01_a_delta_that_writes_outside_its_destination(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"x"})
    delta = Delta(
        scan(old).digest, bytes(32), plan([edit(b"../out", 2, built(b"no"))], [group(0, [], [0], 2)]), b"no"
    )
    with pytest.raises(TreeError, match=r"\.\./out"):
        apply(old, bytes(delta), tmp_path / "dest")
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "dest").iterdir())


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "..", "../x", "sub/../../x", "sub/..", "../sub/../../x", "./../x"]
)
def test_H03_link_leaves_the_tree(target: str) -> None:
    assert "link" in str(refused(listing("l\tlink\t" + target)))


@pytest.mark.parametrize("target", ["x", "./x", "a/b", "../sub/x", "..", ".", "sub", "no//where/"])
def test_H03_link_that_stays_inside(target: str) -> None:
    assert Listing.loads(listing("d\tsub", "l\tsub/link\t" + target)).entries[1].target == target.encode()


def test_H03_link_that_leaves_through_another_one() -> None:
    baseline = Listing.loads(listing("l\tdoor\t/etc"), links="any")
    both = listing("l\tdoor\t/etc", "l\twindow\tdoor/passwd")
    assert "window" in str(refused(both, links=baseline))
    assert "door (" not in str(refused(both, links=baseline))


def test_H03_link_as_in_the_baseline() -> None:
    data = listing("l\tdoor\t/etc")
    baseline = Listing.loads(data, links="any")
    assert Listing.loads(data, links=baseline) == baseline
    refused(listing("l\tdoor\t/usr"), links=baseline)
    refused(listing("l\tgate\t/etc"), links=baseline)


def test_H03_links_in_a_circle_lead_nowhere() -> None:
    assert len(Listing.loads(listing("l\ta\tb", "l\tb\tc/d", "l\tc\ta")).entries) == 3


def test_H03_a_long_chain_of_links_is_no_deep_recursion() -> None:
    count = 5000
    lines = [f"l\t{n:05}\t{n + 1:05}" for n in range(count)]
    assert len(Listing.loads(listing(*lines)).entries) == count
    assert "00000" in str(refused(listing(*lines, f"l\t{count:05}\t/out")))


def test_H03_path_through_a_link() -> None:
    assert "through a link" in str(refused(listing("d\ta", "l\tb\ta", f"f\tb/c\t1\t{SHA}")))


def test_H03_path_through_a_file() -> None:
    assert "through a file" in str(refused(listing(f"f\tb\t1\t{SHA}", "d\tb/c")))


def test_H03_delta_that_turns_a_directory_into_a_link(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a/b": b"x"})
    (tmp_path / "target").mkdir()
    outward = plan(
        [edit(b"a", 4 + 8, b"\x09../target"), edit(b"a/b", 2, built(b"no"))], [group(0, [], [0], 2)]
    )
    with pytest.raises(TreeError, match="leaves the tree"):
        apply(old, bytes(Delta(scan(old).digest, bytes(32), outward, b"no")), tmp_path / "dest")
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize("line", ["c\tnull\t1\t3", "p\tpipe", "s\tsock", "h\tb\ta", "b\tdisk\t8\t0", "", "f"])
def test_H04_any_other_kind_in_a_listing(line: str) -> None:
    refused(listing(line))


def test_H04_any_other_kind_on_the_disk(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"good": b"x", "sub/first": b"y"})
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "sock"))
    os.link(root / "sub/first", root / "sub/second")
    with pytest.raises(TreeError) as caught:
        scan(root)
    named = {item["path"]: item["why"] for item in caught.value.facts["refused"]}
    assert named == {
        "pipe": "a device, FIFO or socket",
        "sock": "a device, FIFO or socket",
        "sub/second": "a hard link to sub/first",
    }


def test_H06_duplicate() -> None:
    assert "twice" in str(refused(listing("d\ta", f"f\ta\t1\t{SHA}")))


def test_H06_duplicate_in_a_delta(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {})
    twice = plan([edit(b"a", 1), edit(b"a", 1)], [])
    with pytest.raises(DeltaError, match="order"):
        inspect(BytesSource(bytes(Delta(scan(old).digest, bytes(32), twice))))


def test_H06_out_of_order() -> None:
    assert "order" in str(refused(listing("d\tb", "d\ta")))


@pytest.mark.parametrize(("one", "other"), [("Lib", "lib"), ("STRASSE", "straße"), ("Ⅷ", "ⅷ")])
def test_H07_equal_after_case_folding(one: str, other: str) -> None:
    data = listing(*sorted([f"d\t{one}", f"d\t{other}"], key=str.encode))
    assert len(Listing.loads(data).entries) == 2
    refused(data, names="insensitive")


def test_H07_twins_on_the_disk(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"include/xt_MARK.h": b"1", "include/xt_mark.h": b"2"})
    assert len(scan(root).entries) == 3
    with pytest.raises(TreeError, match="xt_mark"):
        scan(root, names="insensitive")


def test_H08_equal_after_nfc() -> None:
    data = listing("d\te\u0301", "d\té")
    assert len(Listing.loads(data).entries) == 2
    refused(data, names="insensitive")


def test_H08_names_that_cannot_be_folded() -> None:
    data = listing(b"d\tcaf\xe9")
    assert Listing.loads(data).entries[0].path == b"caf\xe9"
    refused(data, names="insensitive")


@pytest.mark.parametrize(
    "name", ["", ".", "a\0b", "a\x01b", "a\x1bb", "a\x7fb", "a\u0085b", "a\rb", "n" * 256, "é" * 128]
)
def test_H09_names(name: str) -> None:
    refused(listing(f"d\t{name}"))


def test_H09_the_longest_name() -> None:
    assert Listing.loads(listing("d\t" + "n" * 255)).entries


def test_H09_control_character_on_the_disk_is_shown_escaped(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"bad\nname": b"", "worse\x1b[31m/below": b"", "good": b""})
    with pytest.raises(TreeError) as caught:
        scan(root)
    assert [item["path"] for item in caught.value.facts["refused"]] == [r"bad\nname", r"worse\x1b[31m"]


def test_H09_a_path_that_is_too_deep_or_too_long() -> None:
    deep = [("d\t" + "/".join("a" * n)) for n in range(1, 130)]
    assert Listing.loads(listing(*deep[:128])).entries
    refused(listing(*deep))
    long = ["d\t" + "/".join(["n" * 255] * n) for n in range(1, 17)]
    assert Listing.loads(listing(*long[:15])).entries
    refused(listing(*long, "d\t" + "/".join([*["n" * 255] * 16, "x"])))


def test_H10_sizes_whose_sum_overflows() -> None:
    half = (1 << 62) - 1
    fits = [f"f\ta\t{half}\t{SHA}", f"f\tb\t{half + 1}\t{SHA}", f"f\tc\t0\t{SHA}"]
    assert Listing.loads(listing(*fits)).total_bytes == (1 << 63) - 1
    refused(listing(*fits[:2], f"f\tc\t1\t{SHA}"))
    refused(listing(f"f\ta\t{1 << 64}\t{SHA}"))


@pytest.mark.parametrize("payload", [b"abcd", b"ab"])
def test_H11_declared_size_is_not_the_real_one(tmp_path: Path, payload: bytes) -> None:
    old = plant(tmp_path / "old", {})
    fields = varint(3) + hashlib.sha256(payload).digest()[:4]
    digest = hashlib.sha256(payload).digest()
    new = Listing.checked([Entry.file(b"a", size=len(payload), sha256=digest)])
    stored = bytes([0, 56]) + (len(payload) << 3 | 1).to_bytes(3, "little") + payload  # one raw block
    wrong = plan([edit(b"a", 2, fields)], [group(1, [], [0], len(stored))])
    delta = bytes(Delta(scan(old).digest, new.digest, wrong, stored))
    with pytest.raises((DeltaError, LimitError), match="3"):
        apply(old, delta, tmp_path / "dest")


def test_H11_old_file_has_another_size_than_listed(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": b"abc"})
    listed = scan(old)
    for content in (b"ab", b"abcd", b"abd"):
        (old / "a").write_bytes(content)
        with pytest.raises(DigestError, match="a is not what its tree's listing says"):
            apply(
                old,
                bytes(Delta(listed.digest, listed.digest, plan([], []))),
                tmp_path / content.decode(),
                listing=listed,
            )


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o1755])
@pytest.mark.parametrize("place", ["a", "sub"])
def test_H12_special_mode_bits(tmp_path: Path, bits: int, place: str) -> None:
    root = plant(tmp_path / "t", {"a": b"x", "b": b"y", "sub/c": b"z"})
    (root / place).chmod(bits)
    with pytest.raises(TreeError) as caught:
        scan(root)
    assert [item["path"] for item in caught.value.facts["refused"]] == [place]
    assert place.encode() not in scan(root, exclude=[place]).by_path


def test_H12_file_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(tmp_path / "t", {"ping": (b"x", 0o755), "plain": b"y"})
    inode = (root / "ping").stat().st_ino
    real = os.getxattr

    def getxattr(fd: int, name: str) -> bytes:
        if name == "security.capability" and os.fstat(fd).st_ino == inode:
            return bytes(20)
        return real(fd, name)

    monkeypatch.setattr(os, "getxattr", getxattr)
    with pytest.raises(TreeError, match=r"ping \(file capabilities\)"):
        scan(root)
    assert [entry.path for entry in scan(root, exclude=["ping"]).entries] == [b"plain"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"deltaseal-tree/0 0",
        b"deltaseal-tree/0 1\n",
        b"deltaseal-tree/0 1\nd\ta",
        b"deltaseal-tree/0 0\nd\ta\n",
        b"deltaseal-tree/0 1\nd\ta\n\n",
        b"deltaseal-tree/0 01\nd\ta\n",
        b"deltaseal-tree/0 1\r\nd\ta\r\n",
        b"deltaseal-tree/1 0\n",
        b"\xef\xbb\xbfdeltaseal-tree/0 0\n",
    ],
)
def test_H13_trailing_or_missing_data(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize(
    "line", ["d\ta\t", "l\ta", "l\ta\tb\tc", f"f\ta\t01\t{SHA}", f"f\ta\t1\t{SHA.upper()}"]
)
def test_H13_a_field_too_many_or_too_few(line: str) -> None:
    refused(listing(line))


def test_H14_too_many_entries() -> None:
    assert "1048577" in str(refused(b"deltaseal-tree/0 1048577\n"))
    data = listing("d\ta", "d\tb", "d\tc")
    assert len(Listing.loads(data, max_entries=3).entries) == 3
    refused(data, max_entries=2)


def test_H14_delta_that_makes_more_entries_than_signed(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"a": None, "b": None})
    new = plant(tmp_path / "new", {"a": None, "b": None, "c": None})
    delta = bytes(Delta(scan(old).digest, scan(new).digest, plan([edit(b"c", 1)], [])))
    assert apply(old, delta, tmp_path / "fits", limits=Limits(entries=3)) == scan(new)
    with pytest.raises(TreeError, match="3 entries, 2 are allowed"):
        apply(old, delta, tmp_path / "not", limits=Limits(entries=2))
