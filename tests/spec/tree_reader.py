"""A second reader of listings and tree deltas, written from docs/spec/tree.md alone: no code of
deltaseal, a whole tree as a dictionary in memory, slow and plain, in the order of the page.
Image deltas inside are handed to a function that the caller gives.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import zstandard


class Refused(Exception):
    """Not what the page describes; ``reason`` is the page's code."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(f"{reason}: {why}")
        self.reason = reason


@dataclass(frozen=True)
class Node:
    """An entry: kind d, f, x or l, and the size and digest or target that go with it."""

    kind: str
    size: int = 0
    digest: str = ""
    target: bytes = b""


Tree = dict[bytes, Node]
Contents = dict[bytes, bytes]


# 2 What a tree may hold


def check_tree(tree: Tree, *, old: Tree, limit: int = 1_048_576, insensitive: bool = False) -> None:
    """Rules 1 to 7."""
    if len(tree) > limit:
        raise Refused("E_TREE", "entries")
    folded: set[str] = set()
    for path, node in tree.items():
        _check_path(path)
        parent = path[: path.rfind(b"/")] if b"/" in path else None
        if parent is not None and (parent not in tree or tree[parent].kind != "d"):
            raise Refused("E_TREE", "parent")
        if node.kind == "l":
            if not 1 <= len(node.target) <= 4095 or _has_control(node.target):
                raise Refused("E_TREE", "target")
            same = path in old and old[path] == node
            if not same and not _stays_inside(tree, path, ()):
                raise Refused("E_TREE", "link leaves")
        if insensitive:
            _check_fold(path, folded)
    if sum(node.size for node in tree.values()) > 2**63 - 1:
        raise Refused("E_TREE", "sizes")


def _check_path(path: bytes) -> None:
    names = path.split(b"/")
    if len(path) > 4095 or len(names) > 128 or _has_control(path):
        raise Refused("E_TREE", "path")
    if any(not 1 <= len(name) <= 255 or name in (b".", b"..") for name in names):
        raise Refused("E_TREE", "name")


def _has_control(text: bytes) -> bool:
    plain = any(byte < 0x20 or byte == 0x7F for byte in text)
    return plain or any(bytes([0xC2, second]) in text for second in range(0x80, 0xA0))


def _check_fold(path: bytes, seen: set[str]) -> None:
    try:
        text = unicodedata.normalize("NFD", path.decode())
    except UnicodeDecodeError:
        raise Refused("E_TREE", "not UTF-8") from None
    key = unicodedata.normalize("NFD", text.casefold())
    if key in seen:
        raise Refused("E_TREE", "twins")
    seen.add(key)


def _stays_inside(tree: Tree, path: bytes, on_the_way: tuple[bytes, ...]) -> bool:
    """Rule 4 for one link; ``on_the_way`` are the links being followed."""
    target = tree[path].target
    if target.startswith(b"/"):
        return False
    at = path.split(b"/")[:-1]
    steps = [step for step in target.split(b"/") if step not in (b"", b".")]
    names = list(itertools.dropwhile(lambda step: step == b"..", steps))
    climbs = len(steps) - len(names)
    if b".." in names or climbs > len(at):
        return False
    at = at[: len(at) - climbs]
    for step in names:
        at = [*at, step]
        hops = 0
        while (here := b"/".join(at)) in tree and tree[here].kind == "l":
            if here == path or here in on_the_way or hops > 100:
                return True  # a circle
            if not _stays_inside(tree, here, (*on_the_way, path)):
                return False
            at = _one_step(tree, here)
            hops += 1
    return True


def _one_step(tree: Tree, link: bytes) -> list[bytes]:
    at = link.split(b"/")[:-1]
    for step in tree[link].target.split(b"/"):
        if step == b"..":
            at = at[:-1]
        elif step not in (b"", b"."):
            at = [*at, step]
    return at


# 3 The listing


def write_listing(tree: Tree) -> bytes:
    """The text of a tree."""
    lines = [b"deltaseal-tree/0 " + str(len(tree)).encode()]
    for path in sorted(tree):
        node = tree[path]
        fields = {"d": [], "l": [node.target]}.get(node.kind, [str(node.size).encode(), node.digest.encode()])
        lines.append(b"\t".join([node.kind.encode(), path, *fields]))
    return b"".join(line + b"\n" for line in lines)


def read_listing(text: bytes, *, old: Tree | None = None) -> Tree:
    """The tree of a text."""
    lines = text.split(b"\n")
    if lines.pop() != b"" or not lines or len(text) > 268_435_456:
        raise Refused("E_TREE", "end")
    tree: Tree = {}
    paths: list[bytes] = []
    for line in lines[1:]:
        path, node = _read_line(line)
        tree[path] = node
        paths.append(path)
    if paths != sorted(set(paths)):
        raise Refused("E_TREE", "order")
    check_tree(tree, old=old or {})
    if write_listing(tree) != text:  # the first line, and numbers with zeros before them
        raise Refused("E_TREE", "form")
    return tree


def _read_line(line: bytes) -> tuple[bytes, Node]:
    match line.split(b"\t"):
        case [b"d", path]:
            return path, Node("d")
        case [b"l", path, target]:
            return path, Node("l", target=target)
        case [(b"f" | b"x") as kind, path, size, digest]:
            if size.isdigit() and len(digest) == 64 and not set(digest) - set(b"0123456789abcdef"):
                return path, Node(kind.decode(), int(size), digest.decode())
    raise Refused("E_TREE", "line")


def tree_digest(tree: Tree) -> bytes:
    """The SHA-256 of the listing."""
    return hashlib.sha256(write_listing(tree)).digest()


# 4 to 6 The tree delta


@dataclass
class Edit:
    """Fields of section 5; ``content`` is (bits 4 and 5, number or size, first bytes)."""

    path: bytes
    kind: int
    was_there: bool
    target: bytes = b""
    content: tuple[int, int, bytes] = (0, 0, b"")


@dataclass
class Group:
    """Fields of section 6."""

    coding: int
    old: list[int]
    new: list[int]
    payload: bytes = b""


@dataclass
class Delta:
    """A delta taken apart."""

    old_digest: bytes
    new_digest: bytes
    edits: list[Edit]
    groups: list[Group]


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise Refused("E_DELTA", "ends early")
        self.at += size
        return part

    def varint(self) -> int:
        start, value = self.at, 0
        while True:
            byte = self.take(1)[0]
            value += (byte & 127) << 7 * (self.at - start - 1)
            if byte < 128:
                break
        if value >= 2**64 or (byte == 0 and self.at - start > 1):
            raise Refused("E_DELTA", "varint")
        return value

    def counted(self) -> bytes:
        return self.take(self.varint())


def read_delta(data: bytes) -> Delta:
    """Take a delta apart."""
    if data[:7] != b"DSTREE\0":
        raise Refused("E_TYPE", "magic")
    reader = _Bytes(data)
    head = reader.take(84)
    if head[7] != 1 or int.from_bytes(head[8:16], "little") != len(data):
        raise Refused("E_DELTA", "revision or length")
    size = reader.varint()
    if size > 64 << 20:
        raise Refused("E_LIMIT", "plan")
    if head[83] == 0:
        plan = reader.take(size)
    elif head[83] == 1:
        plan = unpack(reader.take(reader.varint()), size, window=32 << 20)
    else:
        raise Refused("E_DELTA", "coding of the plan")
    delta = Delta(head[16:48], head[48:80], *_read_plan(_Bytes(plan)))
    for group in delta.groups:
        group.payload = reader.take(int.from_bytes(group.payload, "little"))
    if reader.at != len(data):
        raise Refused("E_DELTA", "payloads")
    return delta


def _read_plan(reader: _Bytes) -> tuple[list[Edit], list[Group]]:
    edits: list[Edit] = []
    before = b""
    for _ in range(reader.varint()):
        edits.append(_read_edit(reader, before))
        before = edits[-1].path
    groups = [_read_group(reader) for _ in range(reader.varint())]
    if reader.at != len(reader.data):
        raise Refused("E_DELTA", "something behind")
    built = sum(edit.kind in (2, 3) and edit.content[0] == 0 for edit in edits)
    if sorted(number for group in groups for number in group.new) != list(range(built)):
        raise Refused("E_DELTA", "each built file once")
    return edits, groups


def _read_edit(reader: _Bytes, before: bytes) -> Edit:
    shared, rest = reader.varint(), reader.counted()
    path = before[:shared] + rest
    if shared > len(before) or not rest or path <= before:
        raise Refused("E_DELTA", "path")
    action = reader.take(1)[0]
    edit = Edit(path, action & 7, bool(action & 8))
    source = action >> 4
    if edit.kind > 4 or source > 3 or (source and edit.kind not in (2, 3)) or action == 0:
        raise Refused("E_DELTA", "action")
    if edit.kind == 4:
        edit.target = reader.counted()
    elif edit.kind in (2, 3):
        number = 0 if source == 1 else reader.varint()
        edit.content = (source, number, reader.take(4) if source == 0 else b"")
    return edit


def _read_group(reader: _Bytes) -> Group:
    coding = reader.take(1)[0]
    old = [reader.varint() for _ in range(reader.varint())]
    new: list[int] = []
    for place in range(reader.varint()):
        number = reader.varint()
        new.append(number if place == 0 else new[-1] + 1 + number)
    if coding > 3 or bool(old) != (coding in (2, 3)) or not new:
        raise Refused("E_DELTA", "group")
    size = reader.varint()
    return Group(coding, old, new, size.to_bytes(8, "little"))


# 7 zstd frames


def unpack(frame: bytes, size: int, *, window: int, prefix: bytes = b"") -> bytes:
    """What one frame of the narrow form holds."""
    if len(frame) < 2 or frame[0] != 0:
        raise Refused("E_DELTA", "frame header")
    base = 1 << 10 + (frame[1] >> 3)
    if base + (base >> 3) * (frame[1] & 7) > window:
        raise Refused("E_LIMIT", "window")
    _check_blocks(frame)
    if size > 32_768 * len(frame):
        raise Refused("E_LIMIT", "ratio")
    dictionary = (
        zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    )
    decoder = zstandard.ZstdDecompressor(dict_data=dictionary, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    try:
        data = decoder.decompress(frame, max_output_size=max(size, 1) + (1 << 17))
    except zstandard.ZstdError:
        raise Refused("E_DELTA", "frame") from None
    if len(data) != size:
        raise Refused("E_LIMIT" if len(data) > size else "E_DELTA", "size")
    return data


def _check_blocks(frame: bytes) -> None:
    at, last = 2, 0
    while not last:
        header = int.from_bytes(frame[at : at + 3], "little")
        last, kind, length = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else length)
        if kind == 3 or at > len(frame):
            raise Refused("E_DELTA", "block")
    if at != len(frame):
        raise Refused("E_DELTA", "behind the frame")


# 8 Applying


def apply(
    delta: Delta, old: Tree, contents: Contents, image: Callable[[bytes, bytes], bytes]
) -> tuple[Tree, Contents]:
    """The new tree, and the contents of its files."""
    if tree_digest(old) != delta.old_digest:
        raise Refused("E_BASE", "old tree")
    old_paths = sorted(old)
    new, sources, built = _new_tree(delta, old, old_paths)
    made = _build(delta, old, old_paths, contents, built, image)
    new_contents: Contents = {}
    for path, node in new.items():
        if node.kind in "fx":
            kind, number = sources.get(path, ("old", -1))
            where = path if number < 0 else old_paths[number] if kind == "old" else b""
            data = made[number] if kind == "built" else contents[where]
            new_contents[path] = data
            new[path] = Node(node.kind, len(data), hashlib.sha256(data).hexdigest())
    if tree_digest(new) != delta.new_digest:
        raise Refused("E_DIGEST", "new tree")
    return new, new_contents


def _new_tree(
    delta: Delta, old: Tree, old_paths: list[bytes]
) -> tuple[Tree, dict[bytes, tuple[str, int]], list[Edit]]:
    new = dict(old)
    sources: dict[bytes, tuple[str, int]] = {}
    built: list[Edit] = []
    for edit in delta.edits:
        if (edit.path in new) != edit.was_there:
            raise Refused("E_TREE", "bit 3")
        if edit.was_there and new[edit.path].kind == "d" and edit.kind != 1:
            new = {path: node for path, node in new.items() if not path.startswith(edit.path + b"/")}
        before = new.pop(edit.path, None)
        if edit.kind == 0:
            continue
        new[edit.path] = Node(".dfxl"[edit.kind], target=edit.target)
        if edit.kind in (2, 3):
            source, number, _ = edit.content
            if source == 1 and (before is None or before.kind not in "fx"):
                raise Refused("E_TREE", "no file before")
            if source == 2 and (number >= len(old) or old[old_paths[number]].kind not in "fx"):
                raise Refused("E_DELTA", "old file")
            sources[edit.path] = {
                0: ("built", len(built)),
                1: ("old", -1),
                2: ("old", number),
                3: ("built", number),
            }[source]
            if source == 0:
                built.append(edit)
    if any(kind == "built" and number >= len(built) for kind, number in sources.values()):
        raise Refused("E_DELTA", "built file")
    check_tree(new, old=old)
    return new, sources, built


def _build(
    delta: Delta,
    old: Tree,
    old_paths: list[bytes],
    contents: Contents,
    built: list[Edit],
    image: Callable[[bytes, bytes], bytes],
) -> dict[int, bytes]:
    made: dict[int, bytes] = {}
    for group in delta.groups:
        if any(number >= len(old) or old[old_paths[number]].kind not in "fx" for number in group.old):
            raise Refused("E_DELTA", "old file")
        before = b"".join(contents[old_paths[number]] for number in group.old)
        size = sum(built[number].content[1] for number in group.new)
        data = _decode(group, before, size, image)
        if len(data) != size:
            raise Refused("E_DELTA", "size of a group")
        for number in group.new:
            _, length, first = built[number].content
            made[number], data = data[:length], data[length:]
            if hashlib.sha256(made[number]).digest()[:4] != first:
                raise Refused("E_DIGEST", "built file")
    return made


def _decode(group: Group, before: bytes, size: int, image: Callable[[bytes, bytes], bytes]) -> bytes:
    if group.coding == 0:
        return group.payload
    if group.coding == 1:
        return unpack(group.payload, size, window=32 << 20)
    if group.coding == 2:
        if len(before) > 16 << 20:
            raise Refused("E_LIMIT", "old bytes")
        return unpack(group.payload, size, window=16 << 20, prefix=before)
    return image(before, group.payload)
