"""The two sides of a pair as tools need them: trees as files for tools that know files only, and compared."""

from __future__ import annotations

import filecmp
import os
import tarfile
from pathlib import Path

from deltaseal.errors import UsageError
from deltaseal.lab.bench.corpus import Pair

__all__ = ["flattened", "pair_of", "same"]


def pair_of(old: Path, new: Path) -> Pair:
    """Two files or two directories as a pair, named for the new one. Raises UsageError for anything else."""
    for path in (old, new):
        if not path.exists():
            raise UsageError(f"there is no {path}")
    if old.is_dir() != new.is_dir():
        raise UsageError("one of the two is a directory, the other is not")
    kind = "tree" if new.is_dir() else "file"
    name = new.name if new.name == old.name else f"{old.name} → {new.name}"
    return Pair(name, "pair", kind, "", old, new, _bytes_of(old), _bytes_of(new))


def _bytes_of(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()]
    return sum(file.stat().st_size for file in files)


def flattened(pair: Pair, folder: Path) -> Pair:
    """The pair for tools that know files only: a tree becomes a plain tar."""
    if not pair.is_tree:
        return pair
    old, new = _tar(pair.old, folder / "old.tar"), _tar(pair.new, folder / "new.tar")
    return Pair(pair.name, pair.group, "file", pair.arch, old, new, old.stat().st_size, new.stat().st_size)


def _tar(tree: Path, to: Path) -> Path:
    """A tar that depends on names, modes and contents only."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _below(tree):
            archive.add(path, str(path.relative_to(tree)), recursive=False, filter=plain)
    return to


def _below(tree: Path) -> list[Path]:
    return sorted(tree.rglob("*"), key=lambda path: os.fsencode(path.relative_to(tree)))


def same(result: Path, expected: Path) -> bool:
    """Whether two files, or two trees, are equal: names, kinds, executable bits, link targets, contents."""
    if not expected.is_dir():
        return result.is_file() and filecmp.cmp(result, expected, shallow=False)
    names = [path.relative_to(expected) for path in _below(expected)]
    if names != [path.relative_to(result) for path in _below(result)]:
        return False
    return all(_same_entry(result / name, expected / name) for name in names)


def _same_entry(result: Path, expected: Path) -> bool:
    if expected.is_symlink() or result.is_symlink():
        return result.is_symlink() and expected.is_symlink() and os.readlink(result) == os.readlink(expected)
    if expected.is_dir():
        return result.is_dir()
    executable = [path.stat().st_mode & 0o100 for path in (result, expected)]
    return executable[0] == executable[1] and filecmp.cmp(result, expected, shallow=False)
