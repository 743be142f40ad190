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
the disk (:class:`DiskState`) with a digest, so that equal ones are found.  The
digest of a choice costs far less than the state (:meth:`Volume.digest_after_cut`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from deltaseal.storage.nodes import (
    WHOLE,
    DirNode,
    DiskState,
    Effect,
    FileNode,
    Keep,
    Leaf,
    LinkNode,
    Naming,
    NewMode,
    NewSize,
    Node,
    Pending,
    Survivors,
    Tear,
    Write,
    leaf_of,
    names_digest,
    saved_digest,
    saved_line,
    seen_digest,
    sha256_of,
    void_saved,
    void_seen,
)

__all__ = ["Volume"]

_Kept = list[tuple[int, Tear | None]]  # places of writes to one file, and how each is torn


class Volume:
    """A tree of nodes and the changes that are not durable yet."""

    def __init__(self) -> None:
        self._inodes = 0
        self.root = DirNode(self.new_inode(), 0o755)
        self._pending: dict[int, Pending] = {}  # by id
        self._found: DiskState | None = None  # what after_cut gave last
        self._lost = False  # a sync failed: what is seen is more than all that may survive
        self._moved: set[DirNode] = set()  # directories that have two names where a cut comes now
        # Bytes and digest of files after a cut, by node and writes; emptied before one of these may end.
        self._contents: dict[tuple[object, ...], tuple[bytes, bytes]] = {}

    @classmethod
    def of(cls, state: DiskState) -> Volume:
        """Return a volume on which all of ``state`` is durable."""
        volume = cls()
        directories = {"": volume.root}
        # Digests are of what is going to be in a directory, so that none has to be voided.
        for path, above, name, leaf, digest in state.rows:
            if above not in directories:  # a state that was put together by hand
                made = volume.plant(above, ("dir", 0o755))
                assert isinstance(made, DirNode), "it was just made"
                directories[above] = made
            directory, node = directories[above], volume._node_of(leaf)
            directory.entries[name] = directory.saved[name] = node
            if not isinstance(node, LinkNode):
                node.above.append(directory)
            if isinstance(node, DirNode):
                node.saved_names = 1
                directories[path] = node
            if not isinstance(node, LinkNode):
                node.digest = node.saved_digest = digest
        if set(directories) - {""} <= state.leaves.keys():  # none was left out
            volume._found = state
            if all(directory.digest for path, directory in directories.items() if path):
                volume.root.digest = volume.root.saved_digest = state.digest
        return volume

    def copy(self) -> Volume:
        """Return another volume that is like this one, with all that is pending."""
        made = Volume()
        made._inodes, made._lost = self._inodes, self._lost
        twins: dict[Any, Any] = {node: _twin(node) for node in self._nodes_of_any_kind()}
        changes = {change: _twin_change(change, twins) for change in self._pending.values()}
        made.root = twins[self.root]
        made._pending = {id(change): change for change in changes.values()}
        made._moved = {twins[node] for node in self._moved}
        for node, twin in twins.items():
            if isinstance(node, LinkNode):
                continue
            twin.above = [twins[each] for each in node.above if each in twins]
            twin.pending = [changes[each] for each in node.pending]
            if isinstance(node, DirNode):
                twin.entries = {name: twins[each] for name, each in node.entries.items()}
                twin.saved = {name: twins[each] for name, each in node.saved.items()}
        return made

    def _nodes_of_any_kind(self) -> set[Node]:
        """Every node that a process sees, that is durable, or that a pending change is about."""
        todo: list[Node] = [self.root]
        for change in self._pending.values():
            if isinstance(change, Naming):
                for directory, _, value in change.effects:
                    todo += [directory] if value is None else [directory, value]
            else:
                todo.append(change.node)
        return _reachable(todo)

    def new_inode(self) -> int:
        """Return an inode number that was never used here."""
        self._inodes += 1
        return self._inodes

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The changes that are not durable, in the order in which they were asked for."""
        return tuple(self._pending.values())

    # Changes, as a process sees them ------------------------------------------

    def change(self, *effects: Effect) -> None:
        """Change names in one step."""
        naming = Naming(list(effects))
        self._pending[id(naming)] = naming
        for directory, name, value in effects:
            directory.put(name, value)
            if naming not in directory.pending[-1:]:
                directory.pending.append(naming)

    def write(self, node: FileNode, offset: int, data: bytes) -> None:
        """Write bytes."""
        node.write(offset, data)
        self._changed(node, Write(node, offset, data))

    def set_mode(self, node: FileNode, mode: int) -> None:
        """Set a file's mode."""
        node.mode = mode
        self._changed(node, NewMode(node, mode))

    def set_dir_mode(self, node: DirNode, mode: int) -> None:
        """Set a directory's mode, durably: it is none of the things that are left to chance."""
        node.mode = mode
        void_seen(node)
        void_saved(node)

    def resize(self, node: FileNode, size: int) -> None:
        """Set a file's size."""
        node.data = bytearray(_resized(bytearray(node.data), size))
        self._changed(node, NewSize(node, size))

    def _changed(self, node: FileNode, change: Write | NewMode | NewSize) -> None:
        void_seen(node)
        node.pending.append(change)
        self._pending[id(change)] = change

    def rewrite(self, node: FileNode, data: bytes, mode: int) -> None:
        """Let a file be other bytes, durably, as somebody does behind the back of whoever uses it."""
        self._forget(node)
        node.data, node.saved = data, data
        node.mode = node.saved_mode = mode
        void_seen(node)
        void_saved(node)

    # What makes them durable ----------------------------------------------------

    def sync_file(self, node: FileNode) -> None:
        """Make bytes, size and mode of a file durable."""
        writes = [each for each in node.pending if not isinstance(each, NewMode)]
        if writes:
            node.saved = _with_writes(node.saved, [(each, WHOLE) for each in writes])
        if writes or node.saved_mode != node.mode:
            void_saved(node)
        node.saved_mode = node.mode
        self._forget(node)

    def lose(self, node: FileNode) -> None:
        """Lose what is pending of a file: its sync failed."""
        self._lost = True
        self._forget(node)

    def _forget(self, node: FileNode) -> None:
        self._contents.clear()
        for each in node.pending:
            del self._pending[id(each)]
        node.pending.clear()

    def sync_names(self, directory: DirNode) -> None:
        """Make the names in ``directory`` durable, also those that are a part of a larger change."""
        gone = False
        for change in directory.pending:
            for _, name, value in change.of(directory):
                gone = gone or directory.saved.get(name) is not None
                self._save(directory, name, value)
            self._drop(change, directory)
        directory.pending.clear()
        if gone and self._pending:
            self._forget_unreachable()

    def _drop(self, change: Naming, directory: DirNode) -> None:
        change.effects[:] = [effect for effect in change.effects if effect[0] is not directory]
        if not change.effects:
            del self._pending[id(change)]

    def _forget_unreachable(self) -> None:
        """Forget changes of what no name can lead to any more: they are the same in every state."""
        reached: set[Node] = set()
        todo: list[Node] = [self.root]
        while todo:
            node = todo.pop()
            if node in reached:
                continue
            reached.add(node)
            if isinstance(node, DirNode):
                todo += node.saved.values()
                todo += [value for each in node.pending for _, _, value in each.of(node) if value is not None]
        for change in self.pending:
            if not isinstance(change, Naming):
                if change.node not in reached:
                    self._forget(change.node)
            else:
                for directory in {effect[0] for effect in change.effects} - reached:
                    directory.pending.clear()
                    self._drop(change, directory)

    def _save(self, directory: DirNode, name: str, value: Node | None) -> None:
        for node in (directory.saved.get(name), value):
            if isinstance(node, DirNode):
                self._moved.add(node)
        directory.save(name, value)
        self._moved = {node for node in self._moved if node.saved_names > 1}

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

    def kept_nodes(self) -> set[Node]:
        """Every node that a process sees, and every one that a power cut now would bring back."""
        return _reachable([self.root])

    def plant(self, path: str, leaf: Leaf) -> Node:
        """Put a durable leaf where it belongs, with the directories above it; return its node."""
        *above, name = PurePosixPath(path).parts
        directory = self.root
        for step in above:
            child = directory.entries.get(step)
            if child is None:
                child = DirNode(self.new_inode(), 0o755)
                _plant(directory, step, child)
            if not isinstance(child, DirNode):
                raise ValueError(f"{path!r} lies below something that is no directory")
            directory = child
        node = self._node_of(leaf)
        _plant(directory, name, node)
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
        _plant(directory, name, None)

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
            return dict.fromkeys(range(len(self._pending)), WHOLE)
        if isinstance(keep, random.Random):
            return self._some(keep)
        return keep

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
        digest = self._quick_digest(kept)
        if digest and self._found and self._found.digest == digest:
            return self._found
        if kept and self._is_everything(kept):
            self._found = self._seen(digest)
        else:
            self._found = self._left(kept, digest)
        return self._found

    def _left(self, kept: Survivors, digest: bytes) -> DiskState:
        """What is durable, and what else survives."""
        names, writes, modes = self._sorted_out(kept)
        touched = self._touched(kept)
        leaves: dict[str, Leaf] = {}
        digests: dict[str, bytes] = {}
        met = {self.root.inode}
        todo = [("", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, node in names.get(directory, directory.saved).items():
                path = prefix + name
                if isinstance(node, FileNode):
                    if node.inode in writes or not node.saved_digest:
                        data, digests[path] = self._content(node, writes.get(node.inode, []))
                    else:
                        data, digests[path] = node.saved, node.saved_digest
                    leaves[path] = ("file", data, modes.get(node.inode, node.saved_mode))
                elif isinstance(node, LinkNode):
                    leaves[path] = ("link", node.target)
                elif node.inode not in met:  # if half a move between directories survived, it keeps one name
                    met.add(node.inode)
                    leaves[path] = ("dir", node.mode)
                    if digest and node.inode not in touched:
                        digests[path] = node.saved_digest
                    todo.append((path + "/", node))
        return DiskState(leaves, digests, digest)

    def _seen(self, digest: bytes) -> DiskState:
        """Where everything survives: what a process sees."""
        leaves: dict[str, Leaf] = {}
        digests: dict[str, bytes] = {}
        for path, node in self.nodes():
            leaves[path] = leaf_of(node)
            if not isinstance(node, LinkNode):
                digests[path] = node.digest  # the digest of all has asked for it
        return DiskState(leaves, digests, digest)

    def digest_after_cut(self, keep: Keep) -> bytes:
        """The digest of :meth:`after_cut`'s state."""
        kept = self.survivors(keep)
        return self._quick_digest(kept) or self.after_cut(kept).digest

    def _quick_digest(self, kept: Survivors) -> bytes:
        """From the digests that directories keep; empty where a directory would have two names."""
        if self._is_everything(kept):
            return seen_digest(self.root)
        if self._moved:
            return b""
        if not kept:
            return saved_digest(self.root)
        names, writes, modes = self._sorted_out(kept)
        if _moves(names):
            return b""
        touched = self._touched(kept)

        def below(directory: DirNode) -> bytes:
            if directory.inode not in touched:
                return saved_digest(directory)
            entries = names.get(directory, directory.saved)
            return names_digest(
                saved_line(name, node, below, self._file(node, writes, modes))
                for name, node in entries.items()
            )

        return below(self.root)

    def _is_everything(self, kept: Survivors) -> bool:
        return len(kept) == len(self._pending) and not self._lost and not any(kept.values())

    def _touched(self, kept: Survivors) -> set[int]:
        """The directories (by inode) whose digest is not the saved one where these survive."""
        found: set[int] = set()
        todo: list[FileNode | DirNode] = []
        pending = self.pending
        for place in kept:
            each = pending[place]
            todo += [effect[0] for effect in each.effects] if isinstance(each, Naming) else [each.node]
        while todo:
            node = todo.pop()
            if node.inode not in found:
                found.add(node.inode)
                todo += node.above
        return found

    def _file(self, node: Node, writes: dict[int, _Kept], modes: dict[int, int]) -> tuple[int, bytes] | None:
        """Mode and digest of a file of which more survives than is saved."""
        if node.inode not in writes and node.inode not in modes:
            return None
        assert isinstance(node, FileNode), "only files are written"
        return modes.get(node.inode, node.saved_mode), self._content(node, writes.get(node.inode, []))[1]

    def _sorted_out(
        self, kept: Survivors
    ) -> tuple[dict[DirNode, dict[str, Node]], dict[int, _Kept], dict[int, int]]:
        """Names of each directory that differ from its saved ones; writes and modes of files."""
        names: dict[DirNode, dict[str, Node]] = {}
        writes: dict[int, _Kept] = {}
        modes: dict[int, int] = {}
        pending = self.pending
        for place in sorted(kept):
            each = pending[place]
            if isinstance(each, Write | NewSize):
                writes.setdefault(each.node.inode, []).append((place, kept[place]))
            elif isinstance(each, NewMode):
                modes[each.node.inode] = each.mode
            else:
                for directory, name, value in each.effects:
                    changed = names.setdefault(directory, dict(directory.saved))
                    if value is None:
                        changed.pop(name, None)
                    else:
                        changed[name] = value
        return names, writes, modes

    def _content(self, node: FileNode, kept: _Kept) -> tuple[bytes, bytes]:
        """A file's bytes with these of its pending writes, and their SHA-256."""
        if not kept:
            node.saved_digest = node.saved_digest or sha256_of(node.saved)
            return node.saved, node.saved_digest
        pending = self.pending
        key = (id(node), *((id(pending[place]), tear) for place, tear in kept))
        if key not in self._contents:
            found = ((pending[place], tear) for place, tear in kept)
            writes = [(each, tear) for each, tear in found if isinstance(each, Write | NewSize)]
            data = _with_writes(node.saved, writes)
            self._contents[key] = (data, sha256_of(data))
        return self._contents[key]


def _reachable(todo: list[Node]) -> set[Node]:
    """These nodes, and all below them, seen or durable; the list is used up."""
    found: set[Node] = set()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += [*node.entries.values(), *node.saved.values()] if isinstance(node, DirNode) else []
    return found


def _twin(node: Node) -> Node:
    """A copy that is connected with nothing yet."""
    if isinstance(node, LinkNode):
        return replace(node)
    if isinstance(node, DirNode):
        return replace(node, entries={}, saved={}, above=[], pending=[])
    data = node.data if isinstance(node.data, bytes) else bytearray(node.data)
    return replace(node, data=data, above=[], pending=[])


def _twin_change(change: Pending, twins: dict[Any, Any]) -> Pending:
    if not isinstance(change, Naming):
        return replace(change, node=twins[change.node])
    return Naming(
        [(twins[at], name, None if value is None else twins[value]) for at, name, value in change.effects]
    )


def _moves(names: dict[DirNode, dict[str, Node]]) -> bool:
    """Whether these names would give some directory a second one."""
    more: dict[DirNode, int] = {}
    for directory, entries in names.items():
        for changed, by in ((directory.saved, -1), (entries, 1)):
            for node in changed.values():
                if isinstance(node, DirNode):
                    more[node] = more.get(node, 0) + by
    return any(node.saved_names + by > 1 for node, by in more.items())


def _plant(directory: DirNode, name: str, node: Node | None) -> None:
    directory.put(name, node)
    directory.save(name, node)


def _resized(data: bytearray, size: int) -> bytearray:
    return data[:size] + bytes(max(0, size - len(data)))


def _with_writes(saved: bytes, writes: list[tuple[Write | NewSize, Tear | None]]) -> bytes:
    """Return ``saved`` after the writes; a gap before one reads as zeros."""
    if not saved and len(writes) == 1:
        only, torn = writes[0]
        if isinstance(only, Write) and only.offset == 0 and torn is WHOLE:
            return only.data
    data = bytearray(saved)
    for each, tear in writes:
        if isinstance(each, NewSize):
            data = _resized(data, each.size)
            continue
        for offset, piece in tear.of(each.offset, each.data) if tear else [(each.offset, each.data)]:
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
    return bytes(data)
