"""The pieces of a simulated disk: files, links, directories, changes that are not durable yet, and states.

A directory's digest stands for everything below it and is kept until something below changes: one for what a
process sees, one for what would survive. Nodes know every directory that they were ever put in (``above``),
and so a change finds whose digest it voids.

Invariant: where a directory's digest is kept, so is that of everything in it, in the same view.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

__all__ = [
    "WHOLE",
    "DirNode",
    "DiskState",
    "Effect",
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
    "Write",
    "leaf_of",
    "names_digest",
    "saved_digest",
    "saved_line",
    "seen_digest",
    "sha256_of",
    "void_saved",
    "void_seen",
]

Leaf = tuple[Literal["file"], bytes, int] | tuple[Literal["link"], str] | tuple[Literal["dir"], int]
"""What stands at a path in a snapshot: file (bytes, mode), link (target), directory (mode)."""


# ---- what survives -------------------------------------------------------------------------------------


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


# ---- nodes ---------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class FileNode:
    """A regular file: ``data`` and ``mode`` as seen, ``saved`` and ``saved_mode`` as they survive."""

    inode: int
    mode: int
    data: bytes | bytearray = b""
    saved: bytes = b""
    saved_mode: int = 0
    digest: bytes = b""  # SHA-256 of ``data``, once asked for
    saved_digest: bytes = b""  # SHA-256 of ``saved``, once asked for
    above: list[DirNode] = field(default_factory=list)
    pending: list[Write | NewMode | NewSize] = field(default_factory=list)  # of its changes

    def write(self, offset: int, data: bytes) -> None:
        """Write, as a process sees it."""
        if not self.data and offset == 0:  # shared with who wrote it
            self.data = data
            return
        if isinstance(self.data, bytes):  # shared until now
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
    digest: bytes = b""  # of everything below, as seen, once asked for
    saved_digest: bytes = b""  # of everything below, as it survives, once asked for
    above: list[DirNode] = field(default_factory=list)
    saved_names: int = 0  # how many lead to it: two after half of a move between directories
    pending: list[Naming] = field(default_factory=list)  # those of which a name is in here

    def put(self, name: str, node: Node | None) -> None:
        """Change a name, as a process sees it."""
        _assign(self.entries, name, node)
        void_seen(self)
        if node is not None and not isinstance(node, LinkNode) and self not in node.above:
            node.above.append(self)

    def save(self, name: str, node: Node | None) -> None:
        """Make a name durable that :meth:`put` has changed."""
        before = self.saved.get(name)
        if isinstance(before, DirNode):
            before.saved_names -= 1
        if isinstance(node, DirNode):
            node.saved_names += 1
        _assign(self.saved, name, node)
        void_saved(self)


Node = FileNode | LinkNode | DirNode


def _assign(entries: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def void_seen(node: FileNode | DirNode) -> None:
    """Something of ``node`` changed, as a process sees it."""
    node.digest = b""
    todo = [each for each in node.above if each.digest]
    while todo:
        directory = todo.pop()
        directory.digest = b""
        todo += [each for each in directory.above if each.digest]


def void_saved(node: FileNode | DirNode) -> None:
    """Something of ``node`` became durable."""
    node.saved_digest = b""
    todo = [each for each in node.above if each.saved_digest]
    while todo:
        directory = todo.pop()
        directory.saved_digest = b""
        todo += [each for each in directory.above if each.saved_digest]


# ---- digests -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def _sha256_again(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha256_of(data: bytes | bytearray) -> bytes:
    """SHA-256 of a file; looked up where the same bytes were asked for lately."""
    return _sha256_again(data) if isinstance(data, bytes) else hashlib.sha256(data).digest()


def names_digest(lines: Iterable[bytes]) -> bytes:
    """The digest of a directory, from one line for each of its names."""
    return hashlib.sha256(b"".join(sorted(lines))).digest()


def _line(name: str, kind: bytes, mode: int, what: bytes) -> bytes:
    return b"%b\0%b%o\0%b\0" % (name.encode("utf-8", "surrogateescape"), kind, mode, what)


def _link_line(name: str, target: str) -> bytes:
    return _line(name, b"l", 0, target.encode("utf-8", "surrogateescape"))


def saved_line(
    name: str, node: Node, below: Callable[[DirNode], bytes], file: tuple[int, bytes] | None = None
) -> bytes:
    """The line of a name that survives; ``file``: its mode and digest, where they are not the saved ones."""
    if isinstance(node, FileNode):
        if file is None:
            node.saved_digest = node.saved_digest or sha256_of(node.saved)
            file = node.saved_mode, node.saved_digest
        return _line(name, b"f", *file)
    if isinstance(node, LinkNode):
        return _link_line(name, node.target)
    return _line(name, b"d", node.mode, below(node))


def saved_digest(directory: DirNode) -> bytes:
    """The digest of what would survive of a directory. No directory below may have two names."""
    if not directory.saved_digest:
        directory.saved_digest = names_digest(
            saved_line(name, node, saved_digest) for name, node in directory.saved.items()
        )
    return directory.saved_digest


def seen_digest(directory: DirNode) -> bytes:
    """The digest of what a process sees of a directory."""
    if not directory.digest:
        directory.digest = names_digest(_seen_line(name, node) for name, node in directory.entries.items())
    return directory.digest


def _seen_line(name: str, node: Node) -> bytes:
    if isinstance(node, FileNode):
        node.digest = node.digest or sha256_of(node.data)
        return _line(name, b"f", node.mode, node.digest)
    if isinstance(node, LinkNode):
        return _link_line(name, node.target)
    return _line(name, b"d", node.mode, seen_digest(node))


# ---- changes that are not durable ----------------------------------------------------------------------


Effect = tuple[DirNode, str, Node | None]
"""What a name in a directory holds after a change; None: nothing."""


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class Naming:
    """Names that change in one step and are not durable yet: they survive together."""

    effects: list[Effect]

    def of(self, directory: DirNode) -> list[Effect]:
        """What of it happens in one directory."""
        return [effect for effect in self.effects if effect[0] is directory]


Pending = Write | NewMode | NewSize | Naming


# ---- states --------------------------------------------------------------------------------------------


class DiskState:
    """A whole disk as it is found after a cut: every path (``a/b``) with its leaf.  Two equal ones have
    equal digests."""

    def __init__(
        self, leaves: Mapping[str, Leaf], digests: Mapping[str, bytes] | None = None, digest: bytes = b""
    ) -> None:
        self.leaves = leaves
        self._digests = (
            digests or {}
        )  # by path, of files and of directories (with all below), as far as known
        if digest:
            self.__dict__["digest"] = digest

    def sha256(self, path: str) -> bytes:
        """SHA-256 of the file at ``path``."""
        known = self._digests.get(path)
        if known is None:
            leaf = self.leaves[path]
            assert leaf[0] == "file"
            known = sha256_of(leaf[1])
        return known

    @cached_property
    def rows(self) -> list[tuple[str, str, str, Leaf, bytes]]:
        """Path, directory, name, leaf and digest of each, a directory before what lies in it.

        A directory's digest is empty if it is not known; where it is, so is that of every directory in it.
        """
        found = []
        for path in sorted(self.leaves):
            above, _, name = path.rpartition("/")
            leaf = self.leaves[path]
            found.append(
                (
                    path,
                    above,
                    name,
                    leaf,
                    self.sha256(path) if leaf[0] == "file" else self._digests.get(path, b""),
                )
            )
        return found

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over everything but inode numbers, directory by directory."""
        lines: dict[str, list[bytes]] = {"": []}
        # What lies in a directory comes before it.
        for path in sorted(_with_parents(self.leaves), reverse=True):
            leaf = self.leaves.get(path, ("dir", 0o755))  # left out where a state was put together by hand
            above, _, name = path.rpartition("/")
            if leaf[0] == "file":
                line = _line(name, b"f", leaf[2], self.sha256(path))
            elif leaf[0] == "link":
                line = _link_line(name, leaf[1])
            else:
                line = _line(name, b"d", leaf[1], names_digest(lines.pop(path, ())))
            lines.setdefault(above, []).append(line)
        return names_digest(lines[""])


def _with_parents(leaves: Mapping[str, Leaf]) -> set[str]:
    found = set(leaves)
    for path in leaves:
        while path := path.rpartition("/")[0]:
            if path in found:
                break
            found.add(path)
    return found


def leaf_of(node: Node) -> Leaf:
    """Return what a snapshot says of a node."""
    if isinstance(node, FileNode):
        return ("file", bytes(node.data), node.mode)
    if isinstance(node, LinkNode):
        return ("link", node.target)
    return ("dir", node.mode)
