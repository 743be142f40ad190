"""Scanning directories as they are on real machines."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.trees import plant, scan

from deltaseal.errors import StorageError, TreeError
from deltaseal.storage import SimulatedDisk
from deltaseal.trees import Listing
from deltaseal.trees import scan as scan_tree


def test_real_and_simulated_disk_agree(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"a/b": b"x", "a/run": (b"y", 0o755), "a/l": "b", "e": None})
    disk = SimulatedDisk(
        {
            "a/b": ("file", b"x", 0o600),
            "a/run": ("file", b"y", 0o700),
            "a/l": ("link", "b"),
            "e": ("dir", 0o700),
        }
    )
    assert scan_tree(disk, disk.open_root("/")) == scan(root)


def test_only_the_owners_execute_bit_is_seen(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"a": (b"x", 0o655), "b": (b"x", 0o700), "c": (b"x", 0o444)})
    assert [entry.executable for entry in scan(root).entries] == [False, True, False]


def test_names_in_no_encoding(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {b"caf\xe9/\xff\xfe": b"x", "ünï/日本": b"y", b"caf\xe9/to": "../ünï"})
    listing = scan(root)
    assert b"caf\xe9/\xff\xfe" in listing.by_path
    assert listing.by_path[b"caf\xe9/to"].target == "../ünï".encode()
    assert Listing.loads(listing.dumps()) == listing


def test_a_baseline_keeps_its_links_out_of_the_tree(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"java/conf": "/etc/java", "x/cpp": "../../bin/cpp", "in": "x/cpp"})
    listing = scan(root)
    assert scan(root, links=listing) == listing
    with pytest.raises(TreeError) as caught:
        scan(root, links="inside")
    assert [item["path"] for item in caught.value.facts["refused"]] == ["in", "java/conf", "x/cpp"]


def test_links_are_never_followed(tmp_path: Path) -> None:
    plant(tmp_path / "outside", {"secret": b"s"})
    root = plant(tmp_path / "t", {"dir": "../outside", "file": "../outside/secret", "loop": "."})
    assert {entry.kind for entry in scan(root).entries} == {"link"}


def test_every_refused_entry_is_named_in_one_error(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "t",
        {
            "bin/su": (b"x", 0o755),
            "bin/pipe/at": b"",
            "lib/a": b"y",
            "lib/esc\x1b": b"",
            "Lib/a": b"z",
            "ok": b"w",
        },
    )
    (root / "bin/su").chmod(0o4755)
    (root / "bin/pipe").chmod(0o1777)
    os.mkfifo(root / "lib/fifo")
    os.link(root / "lib/a", root / "lib/b")
    with pytest.raises(TreeError) as caught:
        scan(root, names="insensitive")
    found = {item["path"]: item["why"] for item in caught.value.facts["refused"]}
    assert set(found) == {"bin/su", "bin/pipe", "lib/fifo", "lib/b", "lib/a", "lib", r"lib/esc\x1b"}
    assert all(path in caught.value.sentence for path in found)
    assert caught.value.hint
    assert caught.value.exit_code == 17


def test_what_the_error_names_can_be_excluded(tmp_path: Path) -> None:
    root = plant(tmp_path / "t", {"a/su": (b"x", 0o755), "b/c/d": b"y", "bc": b"z"})
    (root / "a/su").chmod(0o4755)
    assert [entry.path for entry in scan(root, exclude=["a/su", b"b/"]).entries] == [b"a", b"bc"]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimulatedDisk({"a": ("file", b"x", 0o644)})
    top = disk.open_root("/")
    disk.fail_at(len(disk.operations) + 2, 13)  # names, stat, then open_read
    with pytest.raises(StorageError, match="EACCES"):
        scan_tree(disk, top)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    disk = SimulatedDisk({"a": ("file", b"x", 0o644)})
    top = disk.open_root("/")
    look = disk.stat

    def stat_then_grow(at, name):  # type: ignore[no-untyped-def]
        found = look(at, name)
        with disk.open_append(at, name) as file:
            file.write(b"more")
        return found

    disk.stat = stat_then_grow  # type: ignore[method-assign]
    with pytest.raises(TreeError, match="it changes"):
        scan_tree(disk, top)


def test_usr_lib_of_this_machine(tmp_path: Path) -> None:
    """A part of /usr/lib, copied: entries by the thousand, all kinds of links, case twins, set-user-ID."""
    root = tmp_path / "lib"
    root.mkdir()
    budget = 3000
    for directory, below, files in os.walk("/usr/lib"):
        below.sort()
        place = root / os.path.relpath(directory, "/usr/lib")
        place.mkdir(exist_ok=True)
        for name in sorted(
            [*files, *[name for name in below if os.path.islink(os.path.join(directory, name))]]
        ):
            source = os.path.join(directory, name)
            if os.path.islink(source) or os.path.getsize(source) < 20_000:
                shutil.copy2(source, place / name, follow_symlinks=False)
                budget -= 1
        if budget < 0:
            break
    plant(root, {"iptables/xt_MARK": b"1", "iptables/xt_mark": b"2", "helper/agent": (b"x", 0o755)})
    (root / "helper/agent").chmod(0o4755)
    with pytest.raises(TreeError) as caught:
        scan(root)
    assert "helper/agent" in [item["path"] for item in caught.value.facts["refused"]]
    listing = scan(root, exclude=[item["path"] for item in caught.value.facts["refused"]])
    assert len(listing.entries) > 1000
    assert Listing.loads(listing.dumps(), links="any") == listing
    assert b"iptables/xt_MARK" in listing.by_path
