from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from deltaseal import trees
from deltaseal.storage import BytesSource, RealDisk

from .conftest import cpu_seconds

pytestmark = pytest.mark.benchmark(timer=cpu_seconds)

FILES = 2000


def _plant(root: Path, *, changed: int) -> Path:
    """A tree of small texts and a few large files; the first ``changed`` files have other words."""
    for number in range(FILES):
        folder = root / f"part{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        chance = random.Random(number)
        size = 200_000 if number % 100 == 0 else 500
        content = chance.randbytes(size)
        (folder / f"file{number}").write_bytes(content[:100] + bytes(number < changed) + content[100:])
    return root


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("trees")
    return _plant(place / "old", changed=0), _plant(place / "new", changed=50)


def _scan(root: Path) -> trees.Listing:
    disk = RealDisk()
    with disk.open_root(root) as top:
        return trees.scan(disk, top)


def test_tree_scan(benchmark: Any, pair: tuple[Path, Path]) -> None:
    listing = benchmark(_scan, pair[0])
    benchmark.extra_info.update(entries=len(listing.entries), bytes=listing.total_bytes)


def test_tree_digest(benchmark: Any, pair: tuple[Path, Path]) -> None:
    listing = _scan(pair[0])

    def digest() -> bytes:
        return trees.Listing(listing.entries).digest

    assert benchmark(digest) == listing.digest


def test_tree_listing(benchmark: Any, pair: tuple[Path, Path]) -> None:
    data = _scan(pair[0]).dumps()
    assert benchmark(trees.Listing.loads, data).dumps() == data


def test_tree_diff(benchmark: Any, pair: tuple[Path, Path]) -> None:
    delta = benchmark.pedantic(trees.diff, args=pair, rounds=3)
    benchmark.extra_info.update(delta_bytes=len(delta))


def test_tree_apply(benchmark: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = pair
    delta = trees.diff(old, new)
    disk = RealDisk()
    places = iter(range(1_000_000))

    def fresh() -> tuple[tuple[Path], dict[str, object]]:
        dest = tmp_path / str(next(places))
        dest.mkdir()
        return (dest,), {}

    def apply(dest: Path) -> trees.Listing:
        with disk.open_root(old) as old_top, disk.open_root(dest) as dest_top:
            return trees.apply(disk, old_top, BytesSource(delta), dest_top)

    listing = benchmark.pedantic(apply, setup=fresh, rounds=3)
    assert listing.digest == _scan(new).digest
