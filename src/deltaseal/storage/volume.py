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

What is pending is one list in the order in which it was asked for; a power cut
is a choice from that list (:data:`Survivors`), and every choice is a state of
the disk (:class:`DiskState`) with a digest, so that equal ones are found.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

__all__ = [
    "WHOLE",
    "DirNode",
    "DiskState",
    "FileNode",
    "Keep",
    "Leaf",
    "LinkNode",
    "Naming",
    "NewMode",
    "NewSize",
    "Node",
    "Pending",
    "Survivors",
    "Tear",
    "Volume",
    "Write",
    "leaf_of",
]

Leaf = tuple[Literal["file"], bytes, int] | tuple[Literal["link"], str] | tuple[Literal["dir"], int]
"""What stands at a path in a snapshot: file (bytes, mode), link (target), directory (mode)."""


@dataclass(frozen=True, slots=True)
class Tear:
    """How a write survives in part: up to byte ``at`` of it, or from there on.

    ``short``: what was before, and the file is no longer for it.  ``zeros``: the same, but the file has
    its new size; what is missing reads as zeros.  ``tail``: only what comes from ``at`` on.
    """

    at: int
    kind: Literal["short", "zeros", "tail"] = "short"

    def of(self, offset: int, data: bytes) -> list[tuple[int, bytes]]:
        """The writes that are left of one."""
        if self.kind == "tail":
            return [(offset + self.at, data[self.at :])]
        rest = bytes(len(data) - self.at) if self.kind == "zeros" else b""
        return [(offset, data[: self.at] + rest)]


WHOLE = None  # as a tear: nothing is missing

Survivors = Mapping[int, Tear | None]
"""What survives a cut: places in the list of pending changes, and how writes among them are torn."""

Keep = Literal["durable", "visible"] | random.Random | Survivors
"""The same in words: no pending change, all of them, a random choice, or just these."""


@dataclass(slots=True, eq=False)
class FileNode:
    """A regular file: ``data`` and ``mode`` as seen, ``saved`` and ``saved_mode`` as they survive."""

    inode: int
    mode: int
    data: bytes | bytearray = b""
    saved: bytes = b""
    saved_mode: int = 0
    saved_digest: bytes = b""  # SHA-256 of ``saved``, once asked for

    def write(self, offset: int, data: bytes) -> None:
        """Write, as a process sees it."""
        if isinstance(self.data, bytes):  # shared with a state until now
            self.data = bytearray(self.data)
        self.data[offset : offset + len(data)] = data


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


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """Bytes of a file that are not durable yet."""

    node: FileNode
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class NewMode:
    """A file's mode that is not durable yet."""

    node: FileNode
    mode: int


@dataclass(frozen=True, slots=True, eq=False)
class NewSize:
    """A file's size that was set and is not durable yet: it is cut short, or gets zeros."""

    node: FileNode
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """Names that change in one step and are not durable yet: they survive together."""

    effects: list[Effect]


Pending = Write | NewMode | NewSize | Naming


class DiskState:
    """A whole disk as it is found after a cut: every path (``a/b``) with its leaf.  Two equal ones have
    equal digests."""

    def __init__(self, leaves: Mapping[str, Leaf], digests: Mapping[str, bytes] | None = None) -> None:
        self.leaves = leaves
        self._digests = digests or {}  # of files, by path, as far as known

    def sha256(self, path: str) -> bytes:
        """SHA-256 of the file at ``path``."""
        known = self._digests.get(path)
        if known is None:
            leaf = self.leaves[path]
            assert leaf[0] == "file"
            known = hashlib.sha256(leaf[1]).digest()
        return known

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over everything but inode numbers."""
        digests = self._digests
        lines = [
            f"{path}\0{leaf[2]}\0{(digests.get(path) or self.sha256(path)).hex()}"
            if leaf[0] == "file"
            else f"{path}\0{leaf[0]}\0{leaf[1]}"
            for path, leaf in self.leaves.items()
        ]
        lines.sort()
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).digest()


class Volume:
    """A tree of nodes and the changes that are not durable yet."""

    def __init__(self) -> None:
        self._inodes = itertools.count(1)
        self.root = DirNode(self.new_inode(), 0o755)
        self.pending: list[Pending] = []
        self._durable = 0  # how often what is durable has changed
        # Bytes and digest of files after a cut, by node and writes; emptied before one of these may end.
        self._contents: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    @classmethod
    def of(cls, state: DiskState) -> Volume:
        """Return a volume on which all of ``state`` is durable."""
        volume = cls()
        directories = {"": volume.root}
        for path in sorted(state.leaves):
            above, _, name = path.rpartition("/")
            if above not in directories:  # a state that was put together by hand
                made = volume.plant(above, ("dir", 0o755))
                assert isinstance(made, DirNode), "it was just made"
                directories[above] = made
            node = volume._node_of(state.leaves[path])
            directories[above].entries[name] = directories[above].saved[name] = node
            if isinstance(node, DirNode):
                directories[path] = node
            elif isinstance(node, FileNode):
                node.saved_digest = state.sha256(path)
        return volume

    def new_inode(self) -> int:
        """Return an inode number that was never used here."""
        return next(self._inodes)

    # Changes, as a process sees them ------------------------------------------

    def change(self, *effects: Effect) -> None:
        """Change names in one step."""
        for directory, name, value in effects:
            _assign(directory.entries, name, value)
        self.pending.append(Naming(list(effects)))

    def write(self, node: FileNode, offset: int, data: bytes) -> None:
        """Write bytes."""
        node.write(offset, data)
        self.pending.append(Write(node, offset, data))

    def set_mode(self, node: FileNode, mode: int) -> None:
        """Set a file's mode."""
        node.mode = mode
        self.pending.append(NewMode(node, mode))

    def resize(self, node: FileNode, size: int) -> None:
        """Set a file's size."""
        node.data = bytearray(_resized(bytearray(node.data), size))
        self.pending.append(NewSize(node, size))

    # What makes them durable ----------------------------------------------------

    def sync_file(self, node: FileNode) -> None:
        """Make bytes, size and mode of a file durable."""
        writes = [each for each in self.pending if isinstance(each, Write | NewSize) and each.node is node]
        if writes:
            node.saved = _with_writes(node.saved, [(each, WHOLE) for each in writes])
            node.saved_digest = b""
        node.saved_mode = node.mode
        self.forget(node)

    def forget(self, node: FileNode) -> None:
        """Lose what is pending of a file: its sync failed."""
        self._contents.clear()
        self._durable += 1
        self.pending = [each for each in self.pending if isinstance(each, Naming) or each.node is not node]

    def sync_names(self, directory: DirNode) -> None:
        """Make the names in ``directory`` durable, also those that are a part of a larger change."""
        self._durable += 1
        for change in self.pending:
            if not isinstance(change, Naming):
                continue
            for _, name, value in (effect for effect in change.effects if effect[0] is directory):
                _assign(directory.saved, name, value)
            change.effects[:] = [effect for effect in change.effects if effect[0] is not directory]
        self.pending = [each for each in self.pending if not isinstance(each, Naming) or each.effects]

    # What is there ----------------------------------------------------------------

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Yield every path (``a/b``) that a process sees, with its node."""
        todo: list[tuple[str, DirNode]] = [("", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in directory.entries.items():
                yield prefix + name, node
                if isinstance(node, DirNode):
                    todo.append((f"{prefix}{name}/", node))

    def plant(self, path: str, leaf: Leaf) -> Node:
        """Put a durable leaf where it belongs, with the directories above it; return its node."""
        *above, name = PurePosixPath(path).parts
        directory = self.root
        for step in above:
            child = directory.entries.get(step)
            if child is None:
                child = directory.entries[step] = directory.saved[step] = DirNode(self.new_inode(), 0o755)
            if not isinstance(child, DirNode):
                raise ValueError(f"{path!r} lies below something that is no directory")
            directory = child
        node = directory.entries[name] = directory.saved[name] = self._node_of(leaf)
        return node

    def uproot(self, path: str) -> None:
        """Remove whatever is at ``path``, durably."""
        *above, name = PurePosixPath(path).parts
        directory = self.root
        for step in above:
            child = directory.entries.get(step)
            if not isinstance(child, DirNode):
                return
            directory = child
        directory.entries.pop(name, None)
        directory.saved.pop(name, None)

    def _node_of(self, leaf: Leaf) -> Node:
        inode = self.new_inode()
        if leaf[0] == "file":
            return FileNode(inode, leaf[2], leaf[1], leaf[1], leaf[2])
        if leaf[0] == "link":
            return LinkNode(inode, leaf[1])
        return DirNode(inode, leaf[1])

    # Power cuts ---------------------------------------------------------------------

    def survivors(self, keep: Keep) -> Survivors:
        """Return which pending changes ``keep`` means."""
        if keep == "durable":
            return {}
        if keep == "visible":
            return dict.fromkeys(range(len(self.pending)), WHOLE)
        if isinstance(keep, random.Random):
            return self._some(keep)
        return keep

    def key(self, kept: Survivors) -> tuple[object, ...]:
        """A value that is the same for two cuts of this volume only if they leave the same state.

        It costs less than the state.  It holds as long as the volume does.
        """
        return (self._durable, *((id(self.pending[place]), tear) for place, tear in sorted(kept.items())))

    def _some(self, chance: random.Random) -> dict[int, Tear | None]:
        kept: dict[int, Tear | None] = {}
        for place, each in enumerate(self.pending):
            if chance.random() < 0.5:
                torn = isinstance(each, Write) and chance.random() < 0.25
                size = len(each.data) if isinstance(each, Write) else 0
                kept[place] = Tear(chance.randrange(size + 1)) if torn else WHOLE
        return kept

    def after_cut(self, keep: Keep) -> DiskState:
        """Return what is found after a power cut now; this volume stays as it is."""
        kept = self.survivors(keep)
        names, writes, modes = self._sorted_out(kept)
        leaves: dict[str, Leaf] = {}
        digests: dict[str, bytes] = {}
        seen = {self.root.inode}
        todo = [("", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in names.get(directory.inode, directory.saved).items():
                path = prefix + name
                if isinstance(node, FileNode):
                    if node.inode in writes or not node.saved_digest:
                        data, digests[path] = self._content(node, writes.get(node.inode, []))
                    else:
                        data, digests[path] = node.saved, node.saved_digest
                    leaves[path] = ("file", data, modes.get(node.inode, node.saved_mode))
                elif isinstance(node, LinkNode):
                    leaves[path] = ("link", node.target)
                elif node.inode not in seen:  # if half a move between directories survived, it keeps one name
                    seen.add(node.inode)
                    leaves[path] = ("dir", node.mode)
                    todo.append((path + "/", node))
        return DiskState(leaves, digests)

    def _sorted_out(
        self, kept: Survivors
    ) -> tuple[dict[int, dict[str, Node]], dict[int, list[tuple[int, Tear | None]]], dict[int, int]]:
        """Names of each directory (by inode) that differ from its saved ones; writes and modes of files."""
        names: dict[int, dict[str, Node]] = {}
        writes: dict[int, list[tuple[int, Tear | None]]] = {}
        modes: dict[int, int] = {}
        for place in sorted(kept):
            each = self.pending[place]
            if isinstance(each, Write | NewSize):
                writes.setdefault(each.node.inode, []).append((place, kept[place]))
            elif isinstance(each, NewMode):
                modes[each.node.inode] = each.mode
            else:
                for directory, name, value in each.effects:
                    _assign(names.setdefault(directory.inode, dict(directory.saved)), name, value)
        return names, writes, modes

    def _content(self, node: FileNode, kept: list[tuple[int, Tear | None]]) -> tuple[bytes, bytes]:
        """A file's bytes with these of its pending writes, and their SHA-256."""
        if not kept:
            node.saved_digest = node.saved_digest or hashlib.sha256(node.saved).digest()
            return node.saved, node.saved_digest
        key = (id(node), *((id(self.pending[place]), tear) for place, tear in kept))
        if key not in self._contents:
            found = ((self.pending[place], tear) for place, tear in kept)
            writes = [(each, tear) for each, tear in found if isinstance(each, Write | NewSize)]
            data = _with_writes(node.saved, writes)
            self._contents[key] = (data, hashlib.sha256(data).digest())
        return self._contents[key]


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


def _resized(data: bytearray, size: int) -> bytearray:
    return data[:size] + bytes(max(0, size - len(data)))


def _with_writes(saved: bytes, writes: list[tuple[Write | NewSize, Tear | None]]) -> bytes:
    """Return ``saved`` after the writes; a gap before one reads as zeros."""
    data = bytearray(saved)
    for each, tear in writes:
        if isinstance(each, NewSize):
            data = _resized(data, each.size)
            continue
        for offset, piece in tear.of(each.offset, each.data) if tear else [(each.offset, each.data)]:
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
    return bytes(data)
