"""A real folder, followed change by change on the simulated volume: what of it is durable, what is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from deltaseal.lab.torture.foreign.trace import Call
from deltaseal.storage.nodes import DirNode, DiskState, Effect, FileNode, Keep, LinkNode, Node, Pending
from deltaseal.storage.volume import Volume

__all__ = ["Mirror"]


class Mirror:
    """Begins with all of the folder durable; :meth:`after` takes up what a call has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._volume = Volume()
        self._nodes: dict[int, Node] = {os.stat(folder).st_ino: self._volume.root}
        self._seen: dict[int, tuple[int, int, int]] = {}  # size, mode and time of change, by inode
        self._observe()
        self._sync_all()

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What is not durable."""
        return self._volume.pending

    def state(self, keep: Keep) -> DiskState:
        """The folder as it is found after a power cut now."""
        return self._volume.after_cut(keep)

    def after(self, call: Call) -> bool:
        """Take up what has changed; whether anything has, or has become durable."""
        changed = self._observe()
        if call.kind == "sync all":
            self._sync_all()
        elif call.kind == "sync":
            node = self._node_at(call.path)
            if isinstance(node, FileNode):
                self._volume.sync_file(node)
            elif isinstance(node, DirNode):
                self._volume.sync_names(node)
        return changed or call.kind.startswith("sync")

    def _node_at(self, path: str) -> Node | None:
        try:
            return self._nodes.get(os.stat(path).st_ino)
        except OSError:  # synced by its descriptor only, and without a name by now
            return None

    def _sync_all(self) -> None:
        for _, node in list(self._volume.nodes()):
            if isinstance(node, FileNode):
                self._volume.sync_file(node)
            elif isinstance(node, DirNode):
                self._volume.sync_names(node)
        self._volume.sync_names(self._volume.root)

    def _observe(self) -> bool:
        """Look through the folder: all names that changed did so in one step, since one call changed them."""
        before = len(self._volume.pending)
        effects: list[Effect] = []
        files: list[tuple[FileNode, Path, os.stat_result]] = []
        todo = [(self._folder, self._volume.root)]
        while todo:
            path, directory = todo.pop()
            there: set[str] = set()
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                there.add(entry.name)
                status = entry.stat(follow_symlinks=False)
                node = self._node_of(entry, status)
                if directory.entries.get(entry.name) is not node:
                    effects.append((directory, entry.name, node))
                if isinstance(node, DirNode):
                    todo.append((Path(entry.path), node))
                elif isinstance(node, FileNode):
                    files.append((node, Path(entry.path), status))
            effects += [(directory, name, None) for name in directory.entries.keys() - there]
        if effects:
            self._volume.change(*effects)
        for node, path, status in files:
            self._take_file(node, path, status)
        return len(self._volume.pending) != before

    def _node_of(self, entry: os.DirEntry[str], status: os.stat_result) -> Node:
        known = self._nodes.get(status.st_ino)  # numbers are given again: it must be the same thing still
        kind = stat.S_IFMT(status.st_mode)
        wanted = {stat.S_IFDIR: DirNode, stat.S_IFLNK: LinkNode}.get(kind, FileNode)
        same_link = not isinstance(known, LinkNode) or known.target == os.readlink(entry.path)
        if known is not None and isinstance(known, wanted) and same_link:
            return known
        self._seen.pop(status.st_ino, None)
        node: Node
        if wanted is DirNode:
            node = DirNode(self._volume.new_inode(), stat.S_IMODE(status.st_mode))
        elif wanted is LinkNode:
            node = LinkNode(self._volume.new_inode(), os.readlink(entry.path))
        else:
            mode = stat.S_IMODE(status.st_mode)
            node = FileNode(self._volume.new_inode(), mode, saved_mode=mode)
        self._nodes[status.st_ino] = node
        return node

    def _take_file(self, node: FileNode, path: Path, status: os.stat_result) -> None:
        looks = (status.st_size, status.st_mode, status.st_ctime_ns)
        if self._seen.get(status.st_ino) == looks:
            return
        self._seen[status.st_ino] = looks
        mode = stat.S_IMODE(status.st_mode)
        if mode != node.mode:
            self._volume.set_mode(node, mode)
        data, old = path.read_bytes(), bytes(node.data)
        if len(data) < len(old):
            self._volume.resize(node, len(data))
            old = old[: len(data)]
        if data != old:
            begin = _equal_bytes(data, old)
            self._volume.write(node, begin, data[begin:])


def _equal_bytes(one: bytes, other: bytes) -> int:
    """With how many equal bytes two contents begin."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
