"""The few safe ways to change a disk, each with what it promises.

They are written against :class:`~deltaseal.storage.disk.Disk`, so the tests
run them on a simulated disk and cut the power before every operation.
Temporary names begin with ``.new-``; whoever owns the directory may remove
such leftovers of a cut.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deltaseal.errors import DeltasealError, LimitError
from deltaseal.storage.disk import Buffer, Dir, Disk, MissingError, Stat

__all__ = [
    "MAX_DEPTH",
    "Found",
    "copy_tree",
    "read_file",
    "remove_tree",
    "replace_link",
    "shares_blocks",
    "temporary_name",
    "walk",
    "write_file",
]

MAX_DEPTH = 200  # directories inside each other; each one deeper holds a descriptor, and 1024 are usual


def temporary_name(name: str) -> str:
    """Return the name that a recipe uses beside ``name`` until its work is whole."""
    return f".new-{name}"


# write_file: after a power cut at any point the name holds
#  1. the whole old file or the whole new one, or nothing if there was none before;
#  2. the new one for certain once the call has returned.
# For that: the bytes are durable before the name leads to them (sync before rename),
# and the name is durable before the call returns (sync of the directory after rename).
#  3. After an error nothing is left beside it, and the old file is untouched unless the very last
#     step failed: then it is old or new.  After a cut a temporary file may be left; the next call
#     replaces it.
def write_file(disk: Disk, at: Dir, name: str, data: Buffer, *, mode: int = 0o644) -> None:
    """Put ``data`` under ``name`` at once: old or new, never a mixture."""
    part = temporary_name(name)
    _unlink_if_there(disk, at, part)
    with _removed_on_error(disk, at, part):
        with disk.create(at, part, mode) as file:
            file.write(data)
            disk.sync(file)
        disk.rename(at, part, at, name)
    disk.sync_dir(at)


# replace_link: as write_file; a link has no bytes of its own to sync, its name carries them.
#  1. At every point the name is a link, to the old target or to the new one: it is never missing,
#     since a link beside is renamed over it.
#  2. Once the call has returned it is the new one for certain.
def replace_link(disk: Disk, at: Dir, name: str, target: str) -> None:
    """Let the link ``name`` lead to ``target``, in one step."""
    part = temporary_name(name)
    _unlink_if_there(disk, at, part)
    with _removed_on_error(disk, at, part):
        disk.symlink(at, part, target)
        disk.rename(at, part, at, name)
    disk.sync_dir(at)


def read_file(disk: Disk, at: Dir, name: str, *, limit: int) -> bytes:
    """Return a whole file of at most ``limit`` bytes.  Raises ``LimitError`` over it."""
    with disk.open_read(at, name) as file:
        size = file.size()
        if size > limit:
            raise LimitError(
                f"{name!r} has {size} bytes, {limit} are allowed", path=name, size=size, limit=limit
            )
        return file.read_at(0, size)


# remove_tree: foreign trees may be deep, so there is no recursion and no pile of descriptors.
#  1. Only names inside the given one are touched; a link is removed, never followed.
#  2. Two directories are open at most: a directory's children that are directories move up to the
#     top, where their turn comes; so each pass takes one level away.
#  3. After a cut the rest still lies under the same name, and calling again finishes it.
def remove_tree(disk: Disk, at: Dir, name: str) -> None:
    """Remove whatever is under ``name``, durably; nothing there is fine."""
    try:
        kind = disk.stat(at, name).kind
    except MissingError:
        return
    if kind == "dir":
        with disk.open_dir(at, name) as top:
            while names := disk.names(top):
                _remove_level(disk, top, names)
        disk.remove_dir(at, name)
    else:
        disk.unlink(at, name)
    disk.sync_dir(at)


def _remove_level(disk: Disk, top: Dir, names: list[str]) -> None:
    taken = frozenset(names)
    fresh = (number for number in map(str, itertools.count()) if number not in taken)
    for name in names:
        if disk.stat(top, name).kind != "dir":
            disk.unlink(top, name)
            continue
        with disk.open_dir(top, name) as directory:
            for child in disk.names(directory):
                if disk.stat(directory, child).kind == "dir":
                    disk.rename(directory, child, top, next(fresh))
                else:
                    disk.unlink(directory, child)
        disk.remove_dir(top, name)


@dataclass(frozen=True, slots=True)
class Found:
    """One entry met on a walk.

    ``path`` is its way from the top (``a/b``); ``at`` is its directory, open
    until the walk goes on.
    """

    path: str
    at: Dir
    name: str
    stat: Stat


def walk(disk: Disk, top: Dir, *, enter: Callable[[Found], bool] = lambda found: True) -> Iterator[Found]:
    """Yield every entry below ``top``, a directory before its entries, names in byte order.

    Links are not followed.  A directory for which ``enter`` is false is
    yielded but not entered.  Raises ``LimitError`` over ``MAX_DEPTH``.
    """
    levels: list[tuple[str, Dir, Iterator[str]]] = [("", top, _names_lazily(disk, top))]
    try:
        while levels:
            prefix, at, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                if levels:
                    at.close()
                continue
            found = Found(prefix + name, at, name, disk.stat(at, name))
            yield found
            if found.stat.kind != "dir" or not enter(found):
                continue
            if len(levels) > MAX_DEPTH:
                raise LimitError(
                    f"{found.path!r} lies more than {MAX_DEPTH} directories deep",
                    path=found.path,
                    limit=MAX_DEPTH,
                )
            child = disk.open_dir(at, name)
            levels.append((found.path + "/", child, _names_lazily(disk, child)))
    finally:
        for _, opened, _ in levels[1:]:
            opened.close()


def _names_lazily(disk: Disk, at: Dir) -> Iterator[str]:
    yield from disk.names(at)


# copy_tree:
#  1. Nothing of the copy is a hard link to the original.
#  2. When the call returns, every file and every directory of the copy is durable, its own name too.
#  3. The copy has files, directories and links, with their permission bits; any other kind is refused.
#  4. After an error or a cut a part of the copy may be there: the caller chose a name that nothing
#     leads to yet, and wipes it with remove_tree.
def copy_tree(disk: Disk, at: Dir, name: str, to_at: Dir, to_name: str) -> None:
    """Copy the directory ``name`` to the new name ``to_name``."""
    mode = disk.stat(at, name).mode & 0o777
    with disk.open_dir(at, name) as top, disk.make_dir(to_at, to_name, mode) as copy:
        _copy_entries(disk, top, copy)
    disk.sync_dir(to_at)


def _copy_entries(disk: Disk, top: Dir, copy: Dir) -> None:
    levels: list[tuple[str, Dir]] = [("", copy)]  # the copies of the directories that the walk is in
    try:
        for found in walk(disk, top):
            prefix = found.path.removesuffix(found.name)
            while levels[-1][0] != prefix:
                _finish(disk, levels.pop()[1])
            target = levels[-1][1]
            if found.stat.kind == "dir":
                made = disk.make_dir(target, found.name, found.stat.mode & 0o777)
                levels.append((found.path + "/", made))
            elif found.stat.kind == "link":
                disk.symlink(target, found.name, disk.read_link(found.at, found.name))
            else:
                disk.clone(found.at, found.name, target, found.name)
                with disk.open_read(target, found.name) as file:
                    disk.sync(file)
        while levels:
            _finish(disk, levels.pop()[1])
    finally:
        for _, directory in levels:
            directory.close()


def _finish(disk: Disk, directory: Dir) -> None:
    disk.sync_dir(directory)
    directory.close()


def shares_blocks(disk: Disk, at: Dir) -> bool:
    """Say whether a copy in ``at`` shares its blocks with the original, by making one and removing it."""
    original, copy = temporary_name("shares-a"), temporary_name("shares-b")
    for name in (original, copy):
        _unlink_if_there(disk, at, name)
    with _removed_at_end(disk, at, original), disk.create(at, original) as file:
        file.write(bytes(4096))
        with _removed_at_end(disk, at, copy):
            return disk.clone(at, original, at, copy)


def _unlink_if_there(disk: Disk, at: Dir, name: str) -> None:
    with contextlib.suppress(MissingError):
        disk.unlink(at, name)


@contextlib.contextmanager
def _removed_on_error(disk: Disk, at: Dir, name: str) -> Iterator[None]:
    """Remove ``name`` if an error passes; the error is what the caller hears of, not a second one."""
    try:
        yield
    except Exception:
        with contextlib.suppress(DeltasealError):
            disk.unlink(at, name)
        raise


@contextlib.contextmanager
def _removed_at_end(disk: Disk, at: Dir, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        _unlink_if_there(disk, at, name)
