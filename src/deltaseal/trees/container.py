"""The bytes of a tree delta: header, plan, payloads (docs/spec/tree.md, sections 4 to 6 and 9).

The reader takes bytes from anywhere. It checks all that can be known without
the old tree, and allocates nothing from a number that the rest could not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from deltaseal.errors import DeltaError, DocumentTypeError, LimitError
from deltaseal.storage import ByteSource, SliceSource
from deltaseal.trees.frames import LIBRARY_VERSION, compress, decompress
from deltaseal.trees.plan import (
    CHECK_BYTES,
    Built,
    BuiltFile,
    Coding,
    Content,
    Edit,
    Group,
    OldFile,
    Plan,
    SameFile,
)
from deltaseal.trees.rules import MAX_ENTRIES

__all__ = ["MAGIC", "REVISION", "TreeDelta", "dump", "load"]

MAGIC = b"DSTREE\0"
REVISION = 1

MAX_PLAN = 1 << 26  # bytes of the plan as it is
MAX_EDIT_PATHS = 1 << 28  # bytes of all edits' paths, written out
MAX_EDITS = 2 * MAX_ENTRIES  # each old entry removed, each new one added

_HEADER = 84  # bytes before the plan's sizes
_SIZES = 20  # bytes of two varints at most
_MIN_EDIT, _MIN_GROUP = 3, 5  # bytes
_PLAN_LEVEL = 22  # zstd's best; a plan is small

_KINDS = ("nothing", "directory", "file", "file", "link")
_EXECUTABLE = 3
_WAS_THERE = 8


@dataclass(frozen=True, slots=True)
class TreeDelta:
    """A tree delta that has been read: what it says, and where its payloads lie."""

    size: int
    old_digest: bytes
    new_digest: bytes
    zstd_version: tuple[int, int, int]
    plan_size: int  # bytes of the plan as stored
    plan: Plan
    payloads: tuple[ByteSource, ...]  # one for each group


def dump(old_digest: bytes, new_digest: bytes, plan: Plan, payloads: Sequence[bytes]) -> bytes:
    """Return the tree delta of ``plan``, whose groups have these ``payloads``."""
    written = _write_plan(plan)
    packed = compress(written, level=_PLAN_LEVEL)
    if len(packed) + len(_varint(len(packed))) < len(written):
        coding, stored = 1, _varint(len(written)) + _varint(len(packed)) + packed
    else:
        coding, stored = 0, _varint(len(written)) + written
    size = _HEADER + len(stored) + sum(map(len, payloads))
    head = b"".join(
        (
            MAGIC,
            bytes([REVISION]),
            size.to_bytes(8, "little"),
            old_digest,
            new_digest,
            bytes([*LIBRARY_VERSION, coding]),
        )
    )
    return b"".join((head, stored, *payloads))


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _counted(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _write_plan(plan: Plan) -> bytes:
    parts = [_varint(len(plan.edits))]
    previous = b""
    for edit in plan.edits:
        shared = _shared(previous, edit.path)
        parts += (_varint(shared), _counted(edit.path[shared:]), _write_action(edit))
        previous = edit.path
    parts.append(_varint(len(plan.groups)))
    parts += map(_write_group, plan.groups)
    return b"".join(parts)


def _shared(previous: bytes, path: bytes) -> int:
    """How many bytes ``path`` begins with as ``previous`` does."""
    length = min(len(previous), len(path))
    return next((place for place in range(length) if previous[place] != path[place]), length)


def _write_action(edit: Edit) -> bytes:
    action = (_EXECUTABLE if edit.executable else _KINDS.index(edit.kind)) | _WAS_THERE * edit.was_there
    match edit.content:
        case Built(size, check):
            return bytes([action]) + _varint(size) + check
        case SameFile():
            return bytes([action | 1 << 4])
        case OldFile(number):
            return bytes([action | 2 << 4]) + _varint(number)
        case BuiltFile(number):
            return bytes([action | 3 << 4]) + _varint(number)
    return bytes([action]) + (_counted(edit.target) if edit.kind == "link" else b"")


def _write_group(group: Group) -> bytes:
    gaps = [new - before - 1 for before, new in zip((-1, *group.new), group.new, strict=False)]
    numbers = (len(group.old), *group.old, len(gaps), *gaps, group.size)
    return bytes([group.coding]) + b"".join(map(_varint, numbers))


def load(source: ByteSource) -> TreeDelta:
    """Read a tree delta: header and plan, not the payloads.

    Raises ``DocumentTypeError`` if it is something else, ``DeltaError`` if it
    is damaged or of another revision, ``LimitError`` over a limit.
    """
    total = source.size()
    head = source.read_at(0, min(total, _HEADER + _SIZES))
    if not head.startswith(MAGIC):
        raise DocumentTypeError("this is no tree delta", found=head[: len(MAGIC)].hex())
    if len(head) < _HEADER:
        raise DeltaError(f"the delta is cut short: {total} bytes", size=total)
    if head[7] != REVISION:
        raise DeltaError(
            f"the delta has revision {head[7]}, this program reads revision {REVISION}",
            hint="apply it with the version of deltaseal that made it, or make it again",
            found=head[7],
            expected=REVISION,
        )
    declared = int.from_bytes(head[8:16], "little")
    if declared != total:
        raise DeltaError(f"the delta has {total} bytes and says {declared}", found=total, expected=declared)
    sizes = _Cursor(head, _HEADER)
    written, offset, stored = _read_plan(source, head[83], sizes)
    plan = _parse_plan(_Cursor(written, 0))
    ends = [offset + stored]
    for group in plan.groups:
        ends.append(ends[-1] + group.size)
    if ends[-1] != total:
        raise DeltaError(f"the payloads end at byte {ends[-1]} of {total}", found=total, expected=ends[-1])
    payloads = tuple(SliceSource(source, start, end - start) for start, end in pairwise(ends))
    major, minor, patch = head[80:83]
    return TreeDelta(total, head[16:48], head[48:80], (major, minor, patch), stored, plan, payloads)


def _read_plan(source: ByteSource, coding: int, sizes: _Cursor) -> tuple[bytes, int, int]:
    """Return the plan as it is, and where and how long it is stored."""
    size = sizes.varint()
    if size > MAX_PLAN:
        raise LimitError(f"the delta's plan has {size} bytes, over {MAX_PLAN}", size=size, limit=MAX_PLAN)
    if coding > 1:
        raise DeltaError(f"the delta's plan has an unknown coding, {coding}", coding=coding)
    stored = sizes.varint() if coding else size
    if sizes.at + stored > source.size():
        raise DeltaError("the delta ends inside its plan", size=source.size())
    part = SliceSource(source, sizes.at, stored)
    if coding == 0:
        return part.read_at(0, stored), sizes.at, stored
    return b"".join(decompress(part, size)), sizes.at, stored


class _Cursor:
    """Reads a buffer from front to end; whatever is missing is a ``DeltaError``."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def byte(self) -> int:
        if not self.left:
            raise DeltaError("the delta ends inside a field")
        self.at += 1
        return self._data[self.at - 1]

    def varint(self) -> int:
        number = shift = 0
        while True:
            group = self.byte()
            number |= (group & 0x7F) << shift
            shift += 7
            if group < 0x80:
                break
            if shift >= 70:
                raise DeltaError("a number in the delta has over ten bytes")
        if number >> 64 or (group == 0 and shift > 7):
            raise DeltaError("a number in the delta is over 64 bits, or longer than it needs to be")
        return number

    def bytes(self, size: int) -> bytes:
        if size > self.left:
            raise DeltaError("the delta ends inside a field")
        self.at += size
        return self._data[self.at - size : self.at]

    def count(self, smallest: int, what: str) -> int:
        """A number of things of at least ``smallest`` bytes each, that still have room."""
        number = self.varint()
        if number * smallest > self.left:
            raise DeltaError(f"the delta has no room for {number} {what}", count=number)
        return number


def _parse_plan(cursor: _Cursor) -> Plan:
    edits = _parse_edits(cursor)
    built = sum(isinstance(edit.content, Built) for edit in edits)
    groups = tuple(_parse_group(cursor) for _ in range(cursor.count(_MIN_GROUP, "groups")))
    if cursor.left:
        raise DeltaError(f"the delta's plan has {cursor.left} bytes too many", left=cursor.left)
    _check_partition((number for group in groups for number in group.new), built)
    plan = Plan(edits, groups)
    _check_raw_sizes(plan)
    return plan


def _parse_edits(cursor: _Cursor) -> tuple[Edit, ...]:
    count = cursor.count(_MIN_EDIT, "edits")
    if count > MAX_EDITS:
        raise LimitError(f"the delta has {count} edits, over {MAX_EDITS}", edits=count, limit=MAX_EDITS)
    edits: list[Edit] = []
    previous, written_out = b"", 0
    for _ in range(count):
        edit = _parse_edit(cursor, previous)
        written_out += len(edit.path)
        if written_out > MAX_EDIT_PATHS:
            raise LimitError(f"the paths in the delta are over {MAX_EDIT_PATHS} bytes", limit=MAX_EDIT_PATHS)
        edits.append(edit)
        previous = edit.path
    return tuple(edits)


def _parse_edit(cursor: _Cursor, previous: bytes) -> Edit:
    shared = cursor.varint()
    rest = cursor.bytes(cursor.varint())
    path = previous[:shared] + rest
    if shared > len(previous) or not rest or path <= previous:
        raise DeltaError("the paths in the delta are not in order")
    action = cursor.byte()
    kind, content = action & 7, action >> 4
    if kind >= len(_KINDS) or content > 3 or (content and _KINDS[kind] != "file") or action == 0:
        raise DeltaError(f"an edit in the delta has unknown bits: {action:#04x}", action=action)
    return Edit(
        path,
        kind=_KINDS[kind],  # type: ignore[arg-type]  # the table holds nothing else
        was_there=bool(action & _WAS_THERE),
        executable=kind == _EXECUTABLE,
        target=cursor.bytes(cursor.varint()) if _KINDS[kind] == "link" else b"",
        content=_parse_content(cursor, content) if _KINDS[kind] == "file" else None,
    )


def _parse_content(cursor: _Cursor, source: int) -> Content:
    if source == 0:
        return Built(cursor.varint(), cursor.bytes(CHECK_BYTES))
    if source == 1:
        return SameFile()
    return (OldFile if source == 2 else BuiltFile)(cursor.varint())


def _parse_group(cursor: _Cursor) -> Group:
    code = cursor.byte()
    if code > max(Coding):
        raise DeltaError(f"a group in the delta has an unknown coding, {code}", coding=code)
    coding = Coding(code)
    old = tuple(cursor.varint() for _ in range(cursor.count(1, "old files")))
    if bool(old) != coding.reads_old:
        raise DeltaError(f"a group of coding {code} has {len(old)} old files", coding=code, old=len(old))
    new: list[int] = []
    for _ in range(cursor.count(1, "new files")):
        new.append(cursor.varint() + (new[-1] + 1 if new else 0))
    if not new:
        raise DeltaError("a group in the delta makes nothing")
    return Group(coding, old, tuple(new), cursor.varint())


def _check_partition(numbers: Iterable[int], count: int) -> None:
    """Raise unless ``numbers`` are those below ``count``, each once."""
    if sorted(numbers) != list(range(count)):
        raise DeltaError("a new file in the delta is in no group, or in two, or is none")


def _check_raw_sizes(plan: Plan) -> None:
    built = plan.built
    for group in plan.groups:
        size = sum(built[number].size for number in group.new)
        if group.coding is Coding.RAW and group.size != size:
            raise DeltaError(
                f"a payload has {group.size} bytes and stands for {size}", found=group.size, expected=size
            )
