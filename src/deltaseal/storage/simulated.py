"""A disk in memory that can fail any operation, fill up, and lose power.

It keeps what a process sees and what would survive a power cut apart, with no
more promises than POSIX makes:

1. Bytes, size and mode of a file survive once :meth:`SimulatedDisk.sync` of
   that file has succeeded; bytes pending at a *failed* sync never survive, also
   not through a later sync (the kernel has dropped them).
2. A name (made, renamed, removed) survives once :meth:`SimulatedDisk.sync_dir`
   of its directory has succeeded; syncing a file says nothing of its name.
3. What is pending at the cut may survive or not, each change by itself and in
   no order; a pending write may survive in part.  A rename inside one
   directory survives as a whole or not at all.

It is for one thread, and for trees that fit in memory.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from deltaseal.errors import LockedError
from deltaseal.storage.disk import Buffer, Dir, File, Space, Stat, WrongKindError, check_name, translate
from deltaseal.storage.ranges import check_range

__all__ = ["Keep", "Leaf", "PowerCut", "SimulatedDisk"]

Keep = Literal["durable", "visible"] | random.Random
"""What survives of the changes that are pending at a power cut: none, all, or a random choice."""

Leaf = tuple[Literal["file"], bytes, int] | tuple[Literal["link"], str] | tuple[Literal["dir"], int]
"""What stands at a path in a snapshot: file (bytes, mode), link (target), directory (mode)."""

_UNLIMITED = 1 << 50  # bytes and inodes of a disk that was given no limit


class PowerCut(BaseException):
    """The power is gone.  No handler of errors may catch it; every later operation raises it again."""


@dataclass(slots=True, eq=False)
class _FileNode:
    inode: int
    mode: int
    data: bytearray = field(default_factory=bytearray)  # what a process sees
    saved: bytes = b""  # what survives
    saved_mode: int = 0
    pending: list[tuple[int, bytes]] = field(default_factory=list)  # writes since the last sync


@dataclass(slots=True, eq=False)
class _LinkNode:
    inode: int
    target: str


@dataclass(slots=True, eq=False)
class _DirNode:
    inode: int
    mode: int
    entries: dict[str, _Node] = field(default_factory=dict)
    saved: dict[str, _Node] = field(default_factory=dict)


_Node = _FileNode | _LinkNode | _DirNode


@dataclass(slots=True, eq=False)
class _Change:
    """One change of names that is not durable yet: what each name holds afterwards (None: nothing)."""

    effects: list[tuple[_DirNode, str, _Node | None]]


class _SimulatedDir(Dir):
    def __init__(self, disk: SimulatedDisk, node: _DirNode, label: str) -> None:
        self.disk = disk
        self.node = node
        self.label = label

    def close(self) -> None:
        """Nothing to give back."""


class _SimulatedFile(File):
    def __init__(
        self, disk: SimulatedDisk, node: _FileNode, label: str, mode: Literal["read", "write", "append"]
    ) -> None:
        self.disk = disk
        self.node = node
        self.label = label
        self._mode = mode
        self._read_position = 0
        self._write_position = 0
        self._fd = -1

    def read(self, size: int) -> bytes:
        piece = self.disk._read(self, self._read_position, size)
        self._read_position += len(piece)
        return piece

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(offset, size, len(self.node.data), self.label)
        return self.disk._read(self, offset, size)

    def write(self, data: Buffer) -> None:
        if self._mode == "read":
            raise translate(OSError(errno.EBADF, ""), "write", self.label)
        if self._mode == "append":
            self._write_position = self.size()
        self.disk._write(self, self._write_position, bytes(data))
        self._write_position += memoryview(data).nbytes

    def size(self) -> int:
        return len(self.node.data)

    def fileno(self) -> int:
        """Return a descriptor of an unnamed file with the bytes as they are now."""
        if self._fd < 0:
            self._fd = os.memfd_create("simulated", os.MFD_CLOEXEC)
            view = memoryview(bytes(self.node.data))
            while view:
                view = view[os.write(self._fd, view) :]
            os.lseek(self._fd, 0, os.SEEK_SET)
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SimulatedDisk:
    """A disk in memory; see the module for what survives a power cut.

    ``capacity`` limits the bytes of all files, ``inodes`` the number of files,
    links and directories; both are enforced with ``ENOSPC``.  ``operations``
    lists every operation so far, ``changes`` counts those that change or sync
    something: the points where a power cut makes a difference.
    """

    def __init__(
        self,
        content: Mapping[str, Leaf] | None = None,
        *,
        capacity: int = _UNLIMITED,
        inodes: int = _UNLIMITED,
    ) -> None:
        self.capacity = capacity
        self.inodes = inodes
        self.operations: list[str] = []
        self.changes = 0
        self._inode_numbers = itertools.count(1)
        self._root = _DirNode(next(self._inode_numbers), 0o755)
        self._pending: list[_Change] = []
        self._locks: set[int] = set()
        self._failures: dict[int, int] = {}
        self._cut_at: int | None = None
        self._dead = False
        for path, leaf in sorted((content or {}).items()):
            self._plant(path, leaf)

    # Faults ---------------------------------------------------------------

    def fail_at(self, operation: int, number: int) -> None:
        """Let the operation with this index (as in ``operations``, from 0) fail with errno ``number``.

        A failing write leaves its first half behind, as a full disk does.
        """
        self._failures[operation] = number

    def cut_at(self, change: int) -> None:
        """Cut the power just before the change with this index (from 0): ``PowerCut`` is raised."""
        self._cut_at = change

    def crash(self, keep: Keep = "durable") -> SimulatedDisk:
        """Return the disk as it is found after a power cut now; locks are gone.

        ``keep`` says what survives of the pending changes.  This disk stays as it is.
        """
        return _after_cut(self, keep)

    # What a test compares --------------------------------------------------

    def snapshot(self) -> dict[str, Leaf]:
        """Return everything a process sees: path (``a/b``) to leaf, directories included."""
        found: dict[str, Leaf] = {}
        todo: list[tuple[str, _DirNode]] = [("", self._root)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in directory.entries.items():
                path = prefix + name
                if isinstance(node, _DirNode):
                    found[path] = ("dir", node.mode)
                    todo.append((path + "/", node))
                else:
                    found[path] = _leaf(node)
        return dict(sorted(found.items()))

    def _plant(self, path: str, leaf: Leaf) -> None:
        """Put a durable leaf where it belongs, with the directories above it."""
        *above, name = PurePosixPath(path).parts
        directory = self._root
        for step in above:
            child = directory.entries.get(step)
            if child is None:
                child = _DirNode(next(self._inode_numbers), 0o755)
                directory.entries[step] = directory.saved[step] = child
            if not isinstance(child, _DirNode):
                raise ValueError(f"{path!r} lies below something that is no directory")
            directory = child
        directory.entries[name] = directory.saved[name] = self._node_of(leaf)

    def _node_of(self, leaf: Leaf) -> _Node:
        inode = next(self._inode_numbers)
        if leaf[0] == "file":
            return _FileNode(inode, leaf[2], bytearray(leaf[1]), leaf[1], leaf[2])
        if leaf[0] == "link":
            return _LinkNode(inode, leaf[1])
        return _DirNode(inode, leaf[1])

    # The operations ---------------------------------------------------------

    def open_root(self, path: Path | str) -> Dir:
        """Open the directory at ``path``, read from this disk's root; links in it are refused."""
        self._step("open_root", str(path))
        node: _Node | None = self._root
        for step in PurePosixPath(path).parts:
            if step == "/":
                continue
            if not isinstance(node, _DirNode):
                break
            node = node.entries.get(step)
        return _SimulatedDir(self, self._directory(node, str(path)), str(path))

    def open_dir(self, at: Dir, name: str) -> Dir:
        """Open a directory inside ``at``."""
        directory, label = self._at("open_dir", at, name)
        return _SimulatedDir(self, self._directory(directory.entries.get(name), label), label)

    def make_dir(self, at: Dir, name: str, mode: int = 0o755) -> Dir:
        """Make a directory with exactly ``mode`` and open it."""
        directory, label = self._at("make_dir", at, name, changes=True)
        made = _DirNode(self._new_inode(label), mode)
        self._add(directory, name, made, label)
        return _SimulatedDir(self, made, label)

    def names(self, at: Dir) -> list[str]:
        """Return all names in ``at``, in the order of their bytes."""
        directory, _ = self._at("names", at)
        return sorted(directory.entries, key=os.fsencode)

    def stat(self, at: Dir, name: str) -> Stat:
        """Say what lies under ``name``."""
        directory, label = self._at("stat", at, name)
        node = self._present(directory, name, label)
        if isinstance(node, _FileNode):
            return Stat("file", node.mode, len(node.data), node.inode, 1)
        if isinstance(node, _LinkNode):
            return Stat("link", 0o777, len(os.fsencode(node.target)), node.inode, 1)
        return Stat("dir", node.mode, 0, node.inode, 1)

    def open_read(self, at: Dir, name: str) -> File:
        """Open a regular file for reading."""
        directory, label = self._at("open_read", at, name)
        return _SimulatedFile(self, self._file(directory, name, label), label, "read")

    def create(self, at: Dir, name: str, mode: int | None = 0o644) -> File:
        """Make a new file, open for writing and reading; the umask of this disk is 022."""
        directory, label = self._at("create", at, name, changes=True)
        node = _FileNode(self._new_inode(label), 0o644 if mode is None else mode)
        node.saved_mode = node.mode
        self._add(directory, name, node, label)
        return _SimulatedFile(self, node, label, "write")

    def open_append(self, at: Dir, name: str) -> File:
        """Open an existing regular file for writing at its end."""
        directory, label = self._at("open_append", at, name)
        return _SimulatedFile(self, self._file(directory, name, label), label, "append")

    def sync(self, file: File) -> None:
        """Make the file's bytes, size and mode durable."""
        if not isinstance(file, _SimulatedFile):
            raise TypeError("this handle was opened by another disk")
        node = file.node
        self._step("sync", file.label, changes=True, on_failure=node.pending.clear)
        node.saved = _with_writes(node.saved, node.pending)
        node.saved_mode = node.mode
        node.pending.clear()

    def sync_dir(self, at: Dir) -> None:
        """Make the names in ``at`` durable."""
        directory, _ = self._at("sync_dir", at, changes=True)
        for change in self._pending:
            for node, name, value in change.effects:
                if node is directory:
                    _assign(directory.saved, name, value)
            change.effects = [effect for effect in change.effects if effect[0] is not directory]
        self._pending = [change for change in self._pending if change.effects]

    def rename(self, at: Dir, name: str, to_at: Dir, to_name: str) -> None:
        """Rename in one step; a file or link in the way is replaced."""
        directory, label = self._at("rename", at, name, changes=True)
        to_directory = self._node(to_at)
        node = self._present(directory, name, label)
        in_the_way = to_directory.entries.get(check_name(to_name))
        if in_the_way is node:
            return
        if in_the_way is not None:
            self._check_replaceable(node, in_the_way, label)
        if isinstance(node, _DirNode) and self._inside(to_directory, node):
            raise translate(OSError(errno.EINVAL, ""), "rename", label)
        self._change((to_directory, to_name, node), (directory, name, None))

    def unlink(self, at: Dir, name: str) -> None:
        """Remove a name that is not a directory."""
        directory, label = self._at("unlink", at, name, changes=True)
        if isinstance(self._present(directory, name, label), _DirNode):
            raise translate(OSError(errno.EISDIR, ""), "remove", label)
        self._change((directory, name, None))

    def remove_dir(self, at: Dir, name: str) -> None:
        """Remove an empty directory."""
        directory, label = self._at("remove_dir", at, name, changes=True)
        if self._directory(directory.entries.get(name), label).entries:
            raise translate(OSError(errno.ENOTEMPTY, ""), "remove the directory", label)
        self._change((directory, name, None))

    def symlink(self, at: Dir, name: str, target: str) -> None:
        """Make a symbolic link."""
        directory, label = self._at("symlink", at, name, changes=True)
        self._add(directory, name, _LinkNode(self._new_inode(label), target), label)

    def read_link(self, at: Dir, name: str) -> str:
        """Return the target of a symbolic link."""
        directory, label = self._at("read_link", at, name)
        node = self._present(directory, name, label)
        if not isinstance(node, _LinkNode):
            raise WrongKindError(f"{label!r} is not a link", action="read the link", path=label)
        return node.target

    def clone(self, at: Dir, name: str, to_at: Dir, to_name: str) -> bool:
        """Copy a regular file to a new name; this disk shares no blocks."""
        with self.open_read(at, name) as source:
            mode = self.stat(at, name).mode & 0o777
            with self.create(to_at, to_name, mode) as copy:
                copy.write(source.read_at(0, source.size()))
        return False

    def set_mode(self, at: Dir, name: str, mode: int) -> None:
        """Set the permission bits of a file or directory."""
        directory, label = self._at("set_mode", at, name, changes=True)
        node = self._present(directory, name, label)
        if isinstance(node, _LinkNode):
            raise translate(OSError(errno.ELOOP, ""), "set the mode of", label)
        node.mode = mode

    def space(self, at: Dir) -> Space:
        """Say how much room is left."""
        self._at("space", at)
        used_bytes, used_inodes = self._used()
        return Space(max(0, self.capacity - used_bytes), max(0, self.inodes - used_inodes))

    @contextlib.contextmanager
    def lock(self, at: Dir, name: str) -> Iterator[None]:
        """Hold the lock ``name`` while inside the ``with``."""
        directory, label = self._at("lock", at, name)
        if name not in directory.entries:
            self.create(at, name, 0o600).close()
        node = self._file(directory, name, label)
        if node.inode in self._locks:
            raise LockedError(f"another deltaseal holds the lock {label!r}", path=label)
        self._locks.add(node.inode)
        try:
            yield
        finally:
            self._locks.discard(node.inode)

    # Behind the operations --------------------------------------------------

    def _step(
        self,
        action: str,
        label: str,
        *,
        changes: bool = False,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        """Count an operation; raise where a fault was asked for."""
        if self._dead:
            raise PowerCut
        if changes:
            if self.changes == self._cut_at:
                self._dead = True
                raise PowerCut
            self.changes += 1
        index = len(self.operations)
        self.operations.append(f"{action} {label}")
        if index in self._failures:
            on_failure()
            raise translate(OSError(self._failures[index], ""), action, label)

    def _at(
        self, action: str, at: Dir, name: str | None = None, *, changes: bool = False
    ) -> tuple[_DirNode, str]:
        node = self._node(at)
        label = at.label if isinstance(at, _SimulatedDir) else ""
        if name is not None:
            label = os.path.join(label, check_name(name))
        self._step(action, label, changes=changes)
        return node, label

    def _node(self, at: Dir) -> _DirNode:
        if not isinstance(at, _SimulatedDir) or at.disk is not self:
            raise TypeError("this handle was opened by another disk")
        return at.node

    def _present(self, directory: _DirNode, name: str, label: str) -> _Node:
        node = directory.entries.get(name)
        if node is None:
            raise translate(OSError(errno.ENOENT, ""), "look at", label)
        return node

    def _directory(self, node: _Node | None, label: str) -> _DirNode:
        if isinstance(node, _DirNode):
            return node
        number = errno.ENOENT if node is None else errno.ENOTDIR
        raise translate(OSError(number, ""), "open the directory", label)

    def _file(self, directory: _DirNode, name: str, label: str) -> _FileNode:
        node = self._present(directory, name, label)
        if isinstance(node, _LinkNode):
            raise translate(OSError(errno.ELOOP, ""), "open", label)
        if isinstance(node, _DirNode):
            raise translate(OSError(errno.EISDIR, ""), "open", label)
        return node

    def _check_replaceable(self, node: _Node, in_the_way: _Node, label: str) -> None:
        number = 0
        if isinstance(in_the_way, _DirNode):
            if not isinstance(node, _DirNode):
                number = errno.EISDIR
            elif in_the_way.entries:
                number = errno.ENOTEMPTY
        elif isinstance(node, _DirNode):
            number = errno.ENOTDIR
        if number:
            raise translate(OSError(number, ""), "rename", label)

    def _inside(self, directory: _DirNode, above: _DirNode) -> bool:
        todo = [above]
        while todo:
            node = todo.pop()
            if node is directory:
                return True
            todo.extend(child for child in node.entries.values() if isinstance(child, _DirNode))
        return False

    def _new_inode(self, label: str) -> int:
        if self._used()[1] >= self.inodes:
            raise translate(OSError(errno.ENOSPC, ""), "create", label)
        return next(self._inode_numbers)

    def _add(self, directory: _DirNode, name: str, node: _Node, label: str) -> None:
        if name in directory.entries:
            raise translate(OSError(errno.EEXIST, ""), "create", label)
        self._change((directory, name, node))

    def _change(self, *effects: tuple[_DirNode, str, _Node | None]) -> None:
        for directory, name, value in effects:
            _assign(directory.entries, name, value)
        self._pending.append(_Change(list(effects)))

    def _used(self) -> tuple[int, int]:
        if self.capacity == self.inodes == _UNLIMITED:
            return 0, 0
        used_bytes = used_inodes = 0
        todo = [self._root]
        while todo:
            for node in todo.pop().entries.values():
                used_inodes += 1
                if isinstance(node, _FileNode):
                    used_bytes += len(node.data)
                elif isinstance(node, _DirNode):
                    todo.append(node)
        return used_bytes, used_inodes

    def _read(self, file: _SimulatedFile, offset: int, size: int) -> bytes:
        self._step("read", file.label)
        return bytes(file.node.data[offset : offset + size])

    def _write(self, file: _SimulatedFile, offset: int, data: bytes) -> None:
        half = data[: len(data) // 2]
        self._step("write", file.label, changes=True, on_failure=lambda: _put(file.node, offset, half))
        room = self.capacity - self._used()[0]
        _put(file.node, offset, data[: max(0, room)])
        if room < len(data):
            raise translate(OSError(errno.ENOSPC, ""), "write", file.label)


def _put(node: _FileNode, offset: int, data: bytes) -> None:
    node.data[offset : offset + len(data)] = data
    node.pending.append((offset, data))


def _assign(entries: dict[str, _Node], name: str, value: _Node | None) -> None:
    if value is None:
        entries.pop(name, None)
    else:
        entries[name] = value


def _with_writes(saved: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    """Return ``saved`` after the writes; a gap before one reads as zeros."""
    data = bytearray(saved)
    for offset, piece in writes:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(piece)] = piece
    return bytes(data)


def _leaf(node: _FileNode | _LinkNode) -> Leaf:
    if isinstance(node, _FileNode):
        return ("file", bytes(node.data), node.mode)
    return ("link", node.target)


def _surviving_writes(node: _FileNode, keep: Keep) -> list[tuple[int, bytes]]:
    if keep == "durable":
        return []
    if isinstance(keep, random.Random):
        kept = [write for write in node.pending if keep.random() < 0.5]
        if kept and keep.random() < 0.5:
            offset, data = kept[-1]
            kept[-1] = (offset, data[: keep.randrange(len(data) + 1)])
        return kept
    return node.pending


def _after_cut(disk: SimulatedDisk, keep: Keep) -> SimulatedDisk:
    """Build the disk that is found after the cut: surviving names first, then what they lead to."""
    names: dict[int, dict[str, _Node]] = {}

    def names_of(directory: _DirNode) -> dict[str, _Node]:
        return names.setdefault(directory.inode, dict(directory.saved))

    for change in disk._pending:
        survives = keep.random() < 0.5 if isinstance(keep, random.Random) else keep == "visible"
        if survives:
            for directory, name, value in change.effects:
                _assign(names_of(directory), name, value)

    found = SimulatedDisk(capacity=disk.capacity, inodes=disk.inodes)
    seen = {disk._root.inode}
    todo: list[tuple[_DirNode, _DirNode]] = [(disk._root, found._root)]
    while todo:
        before, after = todo.pop()
        for name, node in names_of(before).items():
            copy: _Node
            if isinstance(node, _DirNode):
                if node.inode in seen:  # half a move between directories survived: it keeps one name
                    continue
                seen.add(node.inode)
                copy = _DirNode(next(found._inode_numbers), node.mode)
                todo.append((node, copy))
            elif isinstance(node, _LinkNode):
                copy = found._node_of(("link", node.target))
            else:
                mode = node.mode if keep == "visible" else node.saved_mode
                data = _with_writes(node.saved, _surviving_writes(node, keep))
                copy = found._node_of(("file", data, mode))
            after.entries[name] = after.saved[name] = copy
    return found
