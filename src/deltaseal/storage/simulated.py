"""A disk in memory that can fail any operation, fill up, and lose power.

What survives a power cut is :mod:`deltaseal.storage.volume`'s business; here
are the operations, with the errors that a real disk gives.  It is for one
thread, and for trees that fit in memory.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, NoReturn

from deltaseal.errors import LockedError
from deltaseal.storage.disk import (
    Buffer,
    Dir,
    File,
    PathLike,
    Space,
    Stat,
    WrongKindError,
    check_name,
    translate,
)
from deltaseal.storage.nodes import (
    DirNode,
    DiskState,
    FileNode,
    Keep,
    Leaf,
    LinkNode,
    Node,
    Pending,
    leaf_of,
)
from deltaseal.storage.ranges import check_range
from deltaseal.storage.volume import Volume

__all__ = ["Operation", "PowerCut", "SimulatedDisk"]

_stat = functools.lru_cache(maxsize=4096)(Stat)  # the same again and again; to look one up is quicker

_UNLIMITED = 1 << 50  # bytes and inodes of a disk that was given no limit


def _fail(number: int, action: str, label: str) -> NoReturn:
    """Raise what a real disk's errno becomes."""
    raise translate(OSError(number, ""), action, label)


class PowerCut(BaseException):
    """The power is gone.  No handler of errors may catch it; every later operation raises it again."""


@dataclass(slots=True)  # not frozen, since there are very many
class Operation:
    """One operation that is about to be done."""

    index: int  # among all, from 0
    action: str  # its name, such as ``rename``
    label: str  # the path it is done to
    change: int | None  # its index among those that change or sync something; ``None``: it only reads

    def __str__(self) -> str:
        return f"{self.action} {self.label}"


class _SimulatedDir(Dir):
    def __init__(self, disk: SimulatedDisk, node: DirNode, label: str) -> None:
        self.disk = disk
        self.node = node
        self.label = label

    def close(self) -> None:
        """Nothing to give back."""


class _SimulatedFile(File):
    def __init__(
        self, disk: SimulatedDisk, node: FileNode, label: str, mode: Literal["read", "write", "append"]
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
            _fail(errno.EBADF, "write", self.label)
        if self._mode == "append":
            self._write_position = self.size()
        self.disk._write(self, self._write_position, bytes(data))
        self._write_position += memoryview(data).nbytes

    def size(self) -> int:
        return len(self.node.data)

    def has_capabilities(self) -> bool:
        return False

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
    links and directories; both are enforced with ``ENOSPC``, and what is removed gives its room back once the
    removal is durable, as a journaling file system does.  ``changes`` counts the
    operations that change or sync something: the points where a power cut makes a difference.  ``before`` is
    asked before each operation; the errno that it returns, if any, is how the
    operation fails.
    """

    def __init__(
        self,
        content: Mapping[str, Leaf] | None = None,
        *,
        capacity: int = _UNLIMITED,
        inodes: int = _UNLIMITED,
        before: Callable[[Operation], int | None] | None = None,
    ) -> None:
        self.before = before
        self.capacity = capacity
        self.inodes = inodes
        self._operations: list[tuple[str, str]] = []
        self.changes = 0
        self._volume = Volume()
        self._locks: set[int] = set()
        self._failures: dict[int, int] = {}
        self._cut_at: int | None = None
        self._dead = False
        for path, leaf in sorted((content or {}).items()):
            self._volume.plant(path, leaf)

    @property
    def operations(self) -> list[str]:
        """Every operation so far, each with the path it was done to."""
        return [f"{action} {label}" for action, label in self._operations]

    @property
    def steps(self) -> Sequence[tuple[str, str]]:
        """Every operation so far: what was done, and the path it was done to."""
        return self._operations

    # Faults ---------------------------------------------------------------

    def fail_at(self, operation: int, number: int) -> None:
        """Let the operation with this index (as in ``operations``, from 0) fail with errno ``number``.

        A failing write leaves its first half behind, as a full disk does.
        """
        self._failures[operation] = number

    def cut_at(self, change: int) -> None:
        """Cut the power just before the change with this index (from 0): ``PowerCut`` is raised."""
        self._cut_at = change

    def cut(self) -> NoReturn:
        """Cut the power now: for :attr:`before`, which is asked before each operation."""
        self._dead = True
        raise PowerCut

    def revive(self) -> None:
        """Go on after :class:`PowerCut` as if only the process had died: nothing is lost but its locks."""
        self._dead = False
        self._cut_at = None
        self._locks.clear()

    def crash(self, keep: Keep = "durable") -> SimulatedDisk:
        """Return the disk as it is found after a power cut now; locks are gone.

        ``keep`` says what survives of the pending changes.  This disk stays as it is.
        """
        return SimulatedDisk.of(self.after_cut(keep), capacity=self.capacity, inodes=self.inodes)

    def killed(self) -> SimulatedDisk:
        """Return the disk as it is found if the process is killed now: nothing is lost but its locks.

        What is pending stays so.  This disk stays as it is.
        """
        found = SimulatedDisk(capacity=self.capacity, inodes=self.inodes)
        found._volume = self._volume.copy()
        return found

    @classmethod
    def of(cls, state: DiskState, *, capacity: int = _UNLIMITED, inodes: int = _UNLIMITED) -> SimulatedDisk:
        """Return a disk in this state, all of it durable."""
        found = cls(capacity=capacity, inodes=inodes)
        found._volume = Volume.of(state)
        return found

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The changes that are not durable yet, oldest first."""
        return self._volume.pending

    def after_cut(self, keep: Keep = "durable") -> DiskState:
        """Return the state that is found after a power cut now, as a value."""
        return self._volume.after_cut(keep)

    def digest_after_cut(self, keep: Keep = "durable") -> bytes:
        """The digest of that state, which is found quicker than the state."""
        return self._volume.digest_after_cut(keep)

    def tamper(self, path: str, leaf: Leaf | None) -> None:
        """Put something at ``path``, or remove it: as somebody does behind the back of whoever uses the disk.

        It is durable at once and no operation.  A file's bytes change under open handles (it is rewritten,
        not replaced); ``None`` first to replace it.
        """
        node = dict(self._volume.nodes()).get(path)
        if leaf is None:
            self._volume.uproot(path)
        elif leaf[0] == "file" and isinstance(node, FileNode):
            self._volume.rewrite(node, leaf[1], leaf[2])
        else:
            self._volume.plant(path, leaf)

    def snapshot(self) -> dict[str, Leaf]:
        """Return everything a process sees: path (``a/b``) to leaf, directories included."""
        return {
            path: leaf_of(node) for path, node in sorted(self._volume.nodes(), key=lambda found: found[0])
        }

    # The operations ---------------------------------------------------------

    def open_root(self, path: PathLike) -> Dir:
        """Open the directory at ``path``, read from this disk's root; links in it are refused."""
        self._step("open_root", str(path))
        node: Node | None = self._volume.root
        for step in PurePosixPath(path).parts:
            if step == "/":
                continue
            if not isinstance(node, DirNode):
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
        made = DirNode(self._new_inode(label), mode)
        self._add(directory, name, made, label)
        return _SimulatedDir(self, made, label)

    def names(self, at: Dir) -> list[str]:
        """Return all names in ``at``, in the order of their bytes."""
        directory, _ = self._at("names", at)
        names = directory.entries
        return sorted(names) if all(map(str.isascii, names)) else sorted(names, key=os.fsencode)

    def stat(self, at: Dir, name: str) -> Stat:
        """Say what lies under ``name``."""
        directory, label = self._at("stat", at, name)
        node = self._present(directory, name, label)
        if isinstance(node, FileNode):
            return _stat("file", node.mode, len(node.data), node.inode, 1)
        if isinstance(node, LinkNode):
            return _stat("link", 0o777, len(os.fsencode(node.target)), node.inode, 1)
        return _stat("dir", node.mode, 0, node.inode, 1)

    def open_read(self, at: Dir, name: str) -> File:
        """Open a regular file for reading."""
        directory, label = self._at("open_read", at, name)
        return _SimulatedFile(self, self._file(directory, name, label), label, "read")

    def create(self, at: Dir, name: str, mode: int | None = 0o644) -> File:
        """Make a new file, open for writing and reading; the umask of this disk is 022."""
        directory, label = self._at("create", at, name, changes=True)
        node = FileNode(self._new_inode(label), 0o644 if mode is None else mode)
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
        self._step("sync", file.label, changes=True, on_failure=lambda: self._volume.lose(node))
        self._volume.sync_file(node)

    def sync_dir(self, at: Dir) -> None:
        """Make the names in ``at`` durable."""
        directory, _ = self._at("sync_dir", at, changes=True)
        self._volume.sync_names(directory)

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
        if isinstance(node, DirNode) and self._inside(to_directory, node):
            _fail(errno.EINVAL, "rename", label)
        self._volume.change((to_directory, to_name, node), (directory, name, None))

    def unlink(self, at: Dir, name: str) -> None:
        """Remove a name that is not a directory."""
        directory, label = self._at("unlink", at, name, changes=True)
        if isinstance(self._present(directory, name, label), DirNode):
            _fail(errno.EISDIR, "remove", label)
        self._volume.change((directory, name, None))

    def remove_dir(self, at: Dir, name: str) -> None:
        """Remove an empty directory."""
        directory, label = self._at("remove_dir", at, name, changes=True)
        if self._directory(directory.entries.get(name), label).entries:
            _fail(errno.ENOTEMPTY, "remove the directory", label)
        self._volume.change((directory, name, None))

    def symlink(self, at: Dir, name: str, target: str) -> None:
        """Make a symbolic link."""
        directory, label = self._at("symlink", at, name, changes=True)
        self._add(directory, name, LinkNode(self._new_inode(label), target), label)

    def read_link(self, at: Dir, name: str) -> str:
        """Return the target of a symbolic link."""
        directory, label = self._at("read_link", at, name)
        node = self._present(directory, name, label)
        if not isinstance(node, LinkNode):
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
        if isinstance(node, LinkNode):
            _fail(errno.ELOOP, "set the mode of", label)
        if isinstance(node, FileNode):
            self._volume.set_mode(node, mode)
        else:
            self._volume.set_dir_mode(node, mode)

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
        change = self.changes if changes else None
        if changes:
            if self.changes == self._cut_at:
                self.cut()
            self.changes += 1
        index = len(self._operations)
        self._operations.append((action, label))
        number = self.before(Operation(index, action, label, change)) if self.before else None
        if self._failures and not number:
            number = self._failures.get(index)
        if number:
            on_failure()
            _fail(number, action, label)

    def _at(
        self, action: str, at: Dir, name: str | None = None, *, changes: bool = False
    ) -> tuple[DirNode, str]:
        if not isinstance(at, _SimulatedDir) or at.disk is not self:
            raise TypeError("this handle was opened by another disk")
        label = at.label
        if name is not None:
            label = f"{label}/{check_name(name)}" if label != "/" else f"/{check_name(name)}"
        self._step(action, label, changes=changes)
        return at.node, label

    def _node(self, at: Dir) -> DirNode:
        if not isinstance(at, _SimulatedDir) or at.disk is not self:
            raise TypeError("this handle was opened by another disk")
        return at.node

    def _present(self, directory: DirNode, name: str, label: str) -> Node:
        node = directory.entries.get(name)
        if node is None:
            _fail(errno.ENOENT, "look at", label)
        return node

    def _directory(self, node: Node | None, label: str) -> DirNode:
        if isinstance(node, DirNode):
            return node
        number = errno.ENOENT if node is None else errno.ENOTDIR
        _fail(number, "open the directory", label)

    def _file(self, directory: DirNode, name: str, label: str) -> FileNode:
        node = self._present(directory, name, label)
        if isinstance(node, LinkNode):
            _fail(errno.ELOOP, "open", label)
        if isinstance(node, DirNode):
            _fail(errno.EISDIR, "open", label)
        return node

    def _check_replaceable(self, node: Node, in_the_way: Node, label: str) -> None:
        number = 0
        if isinstance(in_the_way, DirNode):
            if not isinstance(node, DirNode):
                number = errno.EISDIR
            elif in_the_way.entries:
                number = errno.ENOTEMPTY
        elif isinstance(node, DirNode):
            number = errno.ENOTDIR
        if number:
            _fail(number, "rename", label)

    def _inside(self, directory: DirNode, above: DirNode) -> bool:
        todo = [above]
        while todo:
            node = todo.pop()
            if node is directory:
                return True
            todo.extend(child for child in node.entries.values() if isinstance(child, DirNode))
        return False

    def _new_inode(self, label: str) -> int:
        if self._used()[1] >= self.inodes:
            _fail(errno.ENOSPC, "create", label)
        return self._volume.new_inode()

    def _add(self, directory: DirNode, name: str, node: Node, label: str) -> None:
        if name in directory.entries:
            _fail(errno.EEXIST, "create", label)
        self._volume.change((directory, name, node))

    def _used(self) -> tuple[int, int]:
        if self.capacity == self.inodes == _UNLIMITED:
            return 0, 0
        nodes = self._volume.kept_nodes()
        sizes = (max(len(node.data), len(node.saved)) for node in nodes if isinstance(node, FileNode))
        return sum(sizes), len(nodes) - 1  # the root was there before

    def _read(self, file: _SimulatedFile, offset: int, size: int) -> bytes:
        self._step("read", file.label)
        return bytes(file.node.data[offset : offset + size])

    def _write(self, file: _SimulatedFile, offset: int, data: bytes) -> None:
        half = data[: len(data) // 2]
        self._step("write", file.label, changes=True, on_failure=lambda: self._put(file, offset, half))
        room = self.capacity - self._used()[0]
        self._put(file, offset, data[: max(0, room)])
        if room < len(data):
            _fail(errno.ENOSPC, "write", file.label)

    def _put(self, file: _SimulatedFile, offset: int, data: bytes) -> None:
        self._volume.write(file.node, offset, data)
