"""Which changes survive a cut: the rules of the default and of the full run, counted."""

from __future__ import annotations

from math import comb

import pytest

from deltaseal.lab.torture.choices import BOTH_ENDS, DEFAULT, FULL
from deltaseal.storage import SimulatedDisk
from deltaseal.storage.nodes import Write


def made(names: int, size: int = 0) -> SimulatedDisk:
    """A disk with so many unsynced names, and an unsynced write of so many bytes."""
    disk = SimulatedDisk({"f": ("file", b"", 0o644)})
    root = disk.open_root("/")
    for number in range(names):
        disk.symlink(root, f"n{number}", "x")
    if size:
        with disk.open_append(root, "f") as file:
            file.write(b"a" * size)
    return disk


def kept(choices, disk, seed=0):
    return [choice.kept for choice in choices.of(disk.pending, seed=seed)]


@pytest.mark.parametrize("count", range(5))
def test_the_default_run_takes_every_subset_of_up_to_four(count: int) -> None:
    found = kept(DEFAULT, made(count))
    assert len(found) == len({frozenset(each) for each in found}) == 2**count


def test_of_more_the_default_run_drops_one_takes_prefixes_and_sixteen_by_chance() -> None:
    found = [frozenset(each) for each in kept(DEFAULT, made(9))]
    everything = frozenset(range(9))
    assert {everything - {each} for each in range(9)} <= set(found)
    assert {frozenset(range(each)) for each in range(9)} <= set(found)
    assert everything in found
    assert len(found) == 1 + 9 + 9 + 16


def test_the_full_run_takes_every_subset_of_up_to_ten() -> None:
    assert len({frozenset(each) for each in kept(FULL, made(10))}) == 1024


def test_of_more_the_full_run_drops_up_to_three_and_takes_64_by_chance() -> None:
    found = kept(FULL, made(12))
    dropped = {12 - len(each) for each in found[: 1 + 12 + comb(12, 2) + comb(12, 3)]}
    assert dropped == {0, 1, 2, 3}
    assert len(found) == 1 + 12 + comb(12, 2) + comb(12, 3) + 12 + 64


def test_the_full_run_tears_at_each_sector_of_the_first_and_last_block() -> None:
    disk = made(0, size=20_000)
    assert isinstance(disk.pending[0], Write)
    torn = {tear.at for each in kept(FULL, disk) for tear in each.values() if tear}
    first, last = set(range(512, 4_096, 512)), set(range(16_384, 20_000, 512))
    assert first | last <= torn
    kinds = {tear.kind for each in kept(FULL, disk) for tear in each.values() if tear}
    assert kinds == {"short", "zeros", "tail"}


def test_all_or_nothing() -> None:
    assert [len(each) for each in kept(BOTH_ENDS, made(7))] == [7, 0]


def test_chance_is_seeded() -> None:
    disk = made(9)
    assert kept(DEFAULT, disk, seed=3) == kept(DEFAULT, disk, seed=3) != kept(DEFAULT, disk, seed=4)
