"""What a simulated disk holds: what a process sees, and what would survive a power cut.

The two are kept apart with no more promises than POSIX makes:

1. Bytes, size and mode of a file survive once a sync of that file has
   succeeded; bytes pending at a *failed* sync never survive, also not through a
   later one (the kernel has dropped them).
2. A name (made, renamed, removed) survives once a sync of its directory has
   succeeded; syncing a file says nothing of its name.
3. What is pending at the cut may survive or not, each change by itself and in
   no order; a pending write may survive in part.  A rename inside one
   directory survives as a whole or not at all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

__all__ = ["DirNode", "FileNode", "Keep", "Leaf", "LinkNode", "Node", "Volume", "leaf_of"]

Keep = Literal["durable", "visible"] | random.Random
"""What survives of the changes that are pending at a power cut: none, all, or a random choice."""

Leaf = tuple[Literal["file"], bytes, int] | tuple[Literal["link"], str] | tuple[Literal["dir"], int]
"""What stands at a path in a snapshot: file (bytes, mode), link (target), directory (mode)."""


@dataclass(slots=True, eq=False)
class FileNode:
    """A regular file: ``data`` and ``mode`` as seen, ``saved`` and ``saved_mode`` as they survive."""

    inode: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    saved: bytes = b""
    saved_mode: int = 0
    pending: list[tuple[int, bytes]] = field(default_factory=list)  # writes since the last sync

    def put(self, offset: int, data: bytes) -> None:
        """Write, as a process sees it."""
        self.data[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def sync(self) -> None:
        """Make what is pending durable."""
        self.saved = _with_writes(self.saved, self.pending)
        self.saved_mode = self.mode
        self.pending.clear()

    def surviving(self, keep: Keep) -> FileNode:
        """Return the file as it is found after a cut."""
        if keep == "durable":
            kept = []
        elif keep == "visible":
            kept = self.pending
        else:
            kept = _some_writes(self.pending, keep)
        mode = self.mode if keep == "visible" else self.saved_mode
        data = _with_writes(self.saved, kept)
        return FileNode(self.inode, mode, bytearray(data), data, mode)


@dataclass(slots=True, eq=False)
class LinkNode:
    """A symbolic link; its target comes and goes with its name."""

    inode: int
    target: str


@dataclass(slots=True, eq=False)
class DirNode:
    """A directory: its ``entries`` as seen, its ``saved`` entries as they survive."""

    inode: int
    mode: int
    entries: dict[str, Node] = field(default_factory=dict)
    saved: dict[str, Node] = field(default_factory=dict)


Node = FileNode | LinkNode | DirNode

Effect = tuple[DirNode, str, Node | None]
"""What a name in a directory holds after a change; None: nothing."""


class Volume:
    """A tree of nodes and the changes of names that are not durable yet."""

    def __init__(self) -> None:
        self._inodes = itertools.count(1)
        self.root = DirNode(self.new_inode(), 0o755)
        self._pending: list[list[Effect]] = []  # one list a change: it survives as a whole

    def new_inode(self) -> int:
        """Return an inode number that was never used here."""
        return next(self._inodes)

    def change(self, *effects: Effect) -> None:
        """Change names in one step, as a process sees it."""
        for directory, name, value in effects:
            _assign(directory.entries, name, value)
        self._pending.append(list(effects))

    def sync_names(self, directory: DirNode) -> None:
        """Make the names in ``directory`` durable, also those that are a part of a larger change."""
        for change in self._pending:
            for _, name, value in (effect for effect in change if effect[0] is directory):
                _assign(directory.saved, name, value)
            change[:] = [effect for effect in change if effect[0] is not directory]
        self._pending = [change for change in self._pending if change]

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Yield every path (``a/b``) that a process sees, with its node."""
        todo: list[tuple[str, DirNode]] = [("", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in directory.entries.items():
                yield prefix + name, node
                if isinstance(node, DirNode):
                    todo.append((f"{prefix}{name}/", node))

    def plant(self, path: str, leaf: Leaf) -> None:
        """Put a durable leaf where it belongs, with the directories above it."""
        *above, name = PurePosixPath(path).parts
        directory = self.root
        for step in above:
            child = directory.entries.get(step)
            if child is None:
                child = directory.entries[step] = directory.saved[step] = DirNode(self.new_inode(), 0o755)
            if not isinstance(child, DirNode):
                raise ValueError(f"{path!r} lies below something that is no directory")
            directory = child
        directory.entries[name] = directory.saved[name] = self._node_of(leaf)

    def _node_of(self, leaf: Leaf) -> Node:
        inode = self.new_inode()
        if leaf[0] == "file":
            return FileNode(inode, leaf[2], bytearray(leaf[1]), leaf[1], leaf[2])
        if leaf[0] == "link":
            return LinkNode(inode, leaf[1])
        return DirNode(inode, leaf[1])

    def after_cut(self, keep: Keep) -> Volume:
        """Return what is found after a power cut now; this volume stays as it is."""
        names = self._surviving_names(keep)
        found = Volume()
        found._inodes = itertools.count(self.new_inode())
        seen = {self.root.inode}
        todo = [(self.root, found.root)]
        while todo:
            before, after = todo.pop()
            for name, node in names.get(before.inode, before.saved).items():
                copy: Node
                if isinstance(node, DirNode):
                    if node.inode in seen:  # half a move between directories survived: it keeps one name
                        continue
                    seen.add(node.inode)
                    copy = DirNode(node.inode, node.mode)
                    todo.append((node, copy))
                elif isinstance(node, LinkNode):
                    copy = LinkNode(node.inode, node.target)
                else:
                    copy = node.surviving(keep)
                after.entries[name] = after.saved[name] = copy
        return found

    def _surviving_names(self, keep: Keep) -> dict[int, dict[str, Node]]:
        """Return the entries of each directory (by inode) that differ from its saved ones after a cut."""
        names: dict[int, dict[str, Node]] = {}
        for change in self._pending:
            survives = keep.random() < 0.5 if isinstance(keep, random.Random) else keep == "visible"
            for directory, name, value in change if survives else ():
                _assign(names.setdefault(directory.inode, dict(directory.saved)), name, value)
        return names


def leaf_of(node: Node) -> Leaf:
    """Return what a snapshot says of a node."""
    if isinstance(node, FileNode):
        return ("file", bytes(node.data), node.mode)
    if isinstance(node, LinkNode):
        return ("link", node.target)
    return ("dir", node.mode)


def _assign(entries: dict[str, Node], name: str, value: Node | None) -> None:
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


def _some_writes(writes: list[tuple[int, bytes]], chance: random.Random) -> list[tuple[int, bytes]]:
    """Return a random part of the writes, the last of them perhaps cut short."""
    kept = [write for write in writes if chance.random() < 0.5]
    if kept and chance.random() < 0.5:
        offset, data = kept[-1]
        kept[-1] = (offset, data[: chance.randrange(len(data) + 1)])
    return kept
