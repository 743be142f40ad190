"""T25 and T26 at the level of trees: files exchanged and links planted while a tree delta is applied."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.trees import apply, plant, scan

from deltaseal.errors import DigestError, TreeError
from deltaseal.storage import BytesSource, RealDisk
from deltaseal.trees import apply as apply_tree
from deltaseal.trees import diff

IMAGE = random.Random(25).randbytes(60_000)


def pair(tmp_path: Path) -> tuple[Path, bytes]:
    old = plant(tmp_path / "old", {"kept/a": b"kept", "built": IMAGE, "sub/moved": b"moved"})
    changed = IMAGE[:9000] + b"!" + IMAGE[9000:]
    new = plant(tmp_path / "new", {"kept/a": b"kept", "built": changed, "moved": b"moved"})
    return old, diff(old, new)


def rewrite(old: Path, name: str) -> None:
    (old / name).write_bytes(b"x" * (old / name).stat().st_size)


def exchange(old: Path, name: str) -> None:
    (old / name).rename(old / "aside")
    (old / name).symlink_to(old / "aside")


def grow(old: Path, name: str) -> None:
    with (old / name).open("ab") as file:
        file.write(b"more")


def cut(old: Path, name: str) -> None:
    os.truncate(old / name, 1)


def remove(old: Path, name: str) -> None:
    (old / name).unlink()


@pytest.mark.parametrize("name", ["kept/a", "built", "sub/moved"])
@pytest.mark.parametrize("attack", [rewrite, exchange, grow, cut, remove])
@pytest.mark.parametrize("unchanged", ["clone", "copy"])
def test_T25_old_file_changed_between_check_and_use(
    tmp_path: Path, attack: Callable[[Path, str], None], name: str, unchanged: str
) -> None:
    old, delta = pair(tmp_path)
    listing = scan(old)
    attack(old, name)
    with pytest.raises(DigestError, match=name):
        apply(old, delta, tmp_path / "dest", listing=listing, unchanged=unchanged)


def test_T25_directory_exchanged_for_a_link(tmp_path: Path) -> None:
    old, delta = pair(tmp_path)
    listing = scan(old)
    (old / "kept").rename(tmp_path / "kept")
    (old / "kept").symlink_to(tmp_path / "kept")
    with pytest.raises(DigestError, match="kept/a"):
        apply(old, delta, tmp_path / "dest", listing=listing)


class PlantingDisk(RealDisk):
    """Another process at work: after so many names are made, it plants something in the destination."""

    def __init__(self, plant_it: Callable[[], None], after: int) -> None:
        self._plant_it = plant_it
        self._left = after

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._plant_it()

    def make_dir(self, at, name, mode=0o755):  # type: ignore[no-untyped-def]
        made = super().make_dir(at, name, mode)
        self._count()
        return made

    def clone(self, at, name, to_at, to_name):  # type: ignore[no-untyped-def]
        shared = super().clone(at, name, to_at, to_name)
        self._count()
        return shared


def attempt(tmp_path: Path, disk: RealDisk) -> None:
    old, delta = pair(tmp_path)
    with (
        disk.open_root(old) as old_top,
        disk.open_root(tmp_path / "dest") as dest_top,
        pytest.raises(TreeError),
    ):
        apply_tree(disk, old_top, BytesSource(delta), dest_top)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "dest").mkdir()
    return plant(tmp_path / "outside", {"victim": b"untouched"})


@pytest.mark.parametrize("name", ["built", "moved", "kept"])
def test_T26_link_planted_before(tmp_path: Path, outside: Path, name: str) -> None:
    (tmp_path / "dest" / name).symlink_to(outside / "victim")
    attempt(tmp_path, RealDisk())
    assert (outside / "victim").read_bytes() == b"untouched"


@pytest.mark.parametrize("name", ["built", "moved"])
def test_T26_link_planted_in_the_way_of_a_file(tmp_path: Path, outside: Path, name: str) -> None:
    attempt(tmp_path, PlantingDisk(lambda: (tmp_path / "dest" / name).symlink_to(outside / "victim"), 1))
    assert (outside / "victim").read_bytes() == b"untouched"


@pytest.mark.parametrize("name", ["built", "moved"])
def test_T26_dangling_link_planted_in_the_way(tmp_path: Path, outside: Path, name: str) -> None:
    attempt(tmp_path, PlantingDisk(lambda: (tmp_path / "dest" / name).symlink_to(outside / "made"), 1))
    assert [file.name for file in outside.iterdir()] == ["victim"]


def test_T26_directory_exchanged_for_a_link(tmp_path: Path, outside: Path) -> None:
    def exchange_directory() -> None:
        (tmp_path / "dest/kept").rmdir()
        (tmp_path / "dest/kept").symlink_to(outside)

    attempt(tmp_path, PlantingDisk(exchange_directory, 1))
    assert [file.name for file in outside.iterdir()] == ["victim"]
