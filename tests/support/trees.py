"""Small trees for tests: planted on the real disk, read back, and taken through a delta."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deltaseal import trees
from deltaseal.storage import BytesSource, RealDisk, SimulatedDisk
from deltaseal.storage.simulated import Leaf

Leaves = Mapping[str | bytes, bytes | str | tuple[bytes, int] | None]
"""Path to what is there: bytes a file, (bytes, mode) with that mode, a string a link, None a directory."""


def plant(root: Path, leaves: Leaves) -> Path:
    """Make a tree; directories above a leaf come by themselves."""
    root.mkdir(parents=True, exist_ok=True)
    for path, leaf in leaves.items():
        place = os.path.join(os.fsencode(root), os.fsencode(path))
        os.makedirs(place if leaf is None else os.path.dirname(place), exist_ok=True)
        if isinstance(leaf, str):
            os.symlink(leaf, place)
        elif leaf is not None:
            content, mode = leaf if isinstance(leaf, tuple) else (leaf, 0o644)
            with open(place, "wb") as file:
                file.write(content)
            os.chmod(place, mode)
    return root


def scan(root: Path, **options: Any) -> trees.Listing:
    """The listing of a real directory."""
    disk = RealDisk()
    with disk.open_root(root) as top:
        return trees.scan(disk, top, **options)


def apply(old: Path, delta: bytes, dest: Path, **options: Any) -> trees.Listing:
    """Apply a delta on the real disk into ``dest``, which is made if it is missing."""
    disk = RealDisk()
    dest.mkdir(parents=True, exist_ok=True)
    with disk.open_root(old) as old_top, disk.open_root(dest) as dest_top:
        return trees.apply(disk, old_top, BytesSource(delta), dest_top, **options)


def apply_in_memory(old: Path, delta: bytes, **options: Any) -> trees.Listing:
    """Apply a delta on a simulated disk with a copy of ``old``; return what a scan of the result finds."""
    disk = SimulatedDisk({"dest": ("dir", 0o755), "old": ("dir", 0o755), **_leaves(old)})
    with disk.open_root("old") as old_top, disk.open_root("dest") as dest_top:
        returned = trees.apply(disk, old_top, BytesSource(delta), dest_top, **options)
        found = trees.scan(disk, dest_top)
    assert returned == found
    return found


def _leaves(root: Path) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for place in root.rglob("*"):
        path = f"old/{place.relative_to(root)}"
        if place.is_symlink():
            found[path] = ("link", os.readlink(place))
        elif place.is_dir():
            found[path] = ("dir", 0o755)
        else:
            found[path] = ("file", place.read_bytes(), place.stat().st_mode & 0o777)
    return found


def entries(*given: trees.Entry) -> list[trees.Entry]:
    """Entries in the order of a listing."""
    return sorted(given, key=lambda entry: entry.path)
