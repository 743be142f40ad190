"""What a tree delta says: edits of the old listing and groups of new contents, as values.

Their bytes are in :mod:`deltaseal.trees.container`; docs/spec/tree.md, sections 5 and 6.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

from deltaseal.errors import DeltaError, LimitError, TreeError
from deltaseal.trees.listing import Entry, Listing
from deltaseal.trees.paths import show

__all__ = [
    "CHECK_BYTES",
    "Built",
    "BuiltFile",
    "Coding",
    "Content",
    "Edit",
    "Group",
    "OldFile",
    "Plan",
    "Planned",
    "SameFile",
    "check_groups",
    "planned_tree",
]

CHECK_BYTES = 4  # of a built file's SHA-256 that stand in its edit

# How much of the old tree all groups may read, as a multiple of both trees' bytes: more is made to cost time.
_MAX_OLD_READS = 4


@dataclass(frozen=True, slots=True)
class Built:
    """A new content that a group makes: its size in bytes, the first bytes of its SHA-256."""

    size: int
    check: bytes


@dataclass(frozen=True, slots=True)
class SameFile:
    """The content of the old file at the same path."""


@dataclass(frozen=True, slots=True)
class OldFile:
    """The content of an old file, by its place in the old listing."""

    number: int


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """The content of a built file, by its place among the edits that have one."""

    number: int


Content = Built | SameFile | OldFile | BuiltFile


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes of one path."""

    path: bytes
    kind: Literal["nothing", "directory", "file", "link"]
    was_there: bool  # the path is in the old tree
    executable: bool = False
    target: bytes = b""
    content: Content | None = None  # of a file


class Coding(IntEnum):
    """How the payload of a group is coded; the numbers are the format's."""

    RAW = 0
    ZSTD = 1
    ZSTD_OLD = 2
    IMAGE = 3

    @property
    def reads_old(self) -> bool:
        """Whether a group of this coding has old files."""
        return self in (Coding.ZSTD_OLD, Coding.IMAGE)


@dataclass(frozen=True, slots=True)
class Group:
    """Some new contents made together, from some old ones: the numbers of both."""

    coding: Coding
    old: tuple[int, ...]
    new: tuple[int, ...]
    size: int  # bytes of the payload


@dataclass(frozen=True, slots=True)
class Plan:
    """All edits in the order of their paths, all groups in the order of their payloads."""

    edits: tuple[Edit, ...]
    groups: tuple[Group, ...]

    @property
    def built(self) -> list[Built]:
        """What is built, by the number of the built file."""
        return [edit.content for edit in self.edits if isinstance(edit.content, Built)]


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry of the new tree and where its content comes from (nowhere: directories and links).

    A built entry has no SHA-256 yet, only ``check``; a copy of a built file has neither.
    """

    entry: Entry
    content: OldFile | BuiltFile | None = None
    check: bytes = b""


def planned_tree(old: Listing, plan: Plan) -> list[Planned]:
    """Return the new tree that ``plan`` makes of ``old``, in the order of the paths.

    It is not held against the rules of a tree yet. Raises ``TreeError`` for
    edits that do not fit the old listing, ``DeltaError`` for numbers that lead nowhere.
    """
    tree = {
        entry.path: Planned(entry, OldFile(number) if entry.kind == "file" else None)
        for number, entry in enumerate(old.entries)
    }
    old_paths = [entry.path for entry in old.entries]
    sizes = [built.size for built in plan.built]
    numbers = iter(range(len(sizes)))
    for edit in plan.edits:
        before = tree.pop(edit.path, None)
        if (before is not None) != edit.was_there:
            state = "in" if before else "not in"
            raise TreeError(
                f"the delta is wrong on {show(edit.path)}: it is {state} the old tree", path=show(edit.path)
            )
        if before and before.entry.kind == "directory" and edit.kind != "directory":
            for path in _below(old_paths, edit.path):
                tree.pop(path, None)
        if edit.kind == "file":
            tree[edit.path] = _planned_file(edit, before, old, sizes, numbers)
        elif edit.kind != "nothing":
            tree[edit.path] = Planned(Entry(edit.path, edit.kind, target=edit.target))
    return [tree[path] for path in sorted(tree)]


def _below(paths: Sequence[bytes], directory: bytes) -> Iterator[bytes]:
    """The paths below ``directory``: in order they stand between its name with ``/`` and with ``0``."""
    for place in range(bisect_left(paths, directory + b"/"), bisect_left(paths, directory + b"0")):
        yield paths[place]


def _planned_file(
    edit: Edit, before: Planned | None, old: Listing, sizes: Sequence[int], numbers: Iterator[int]
) -> Planned:
    blank = Entry.file(edit.path, size=0, sha256=b"", executable=edit.executable)
    match edit.content:
        case Built(size, check):
            return Planned(replace(blank, size=size), BuiltFile(next(numbers)), check)
        case BuiltFile(number) as content:
            if number >= len(sizes):
                raise DeltaError(f"there is no built file {number}", number=number)
            return Planned(replace(blank, size=sizes[number]), content)
        case OldFile(number) as content:
            like = _old_file(old, number)
        case _:
            if before is None or not isinstance(before.content, OldFile):
                raise TreeError(
                    f"{show(edit.path)} keeps the content of a file that is none", path=show(edit.path)
                )
            content, like = before.content, before.entry
    return Planned(replace(blank, size=like.size, sha256=like.sha256), content)


def _old_file(old: Listing, number: int) -> Entry:
    if number >= len(old.entries) or old.entries[number].kind != "file":
        raise DeltaError(f"entry {number} of the old tree is not a file", number=number)
    return old.entries[number]


def check_groups(plan: Plan, old: Listing, total: int) -> None:
    """Raise unless each group's old files are files, and all reading together is in proportion.

    ``total`` is the size of the new tree in bytes. Raises ``DeltaError`` or ``LimitError``.
    """
    reads = sum(_old_file(old, number).size for group in plan.groups for number in group.old)
    limit = _MAX_OLD_READS * (old.total_bytes + total)
    if reads > limit:
        raise LimitError(
            f"the delta reads {reads} bytes of old files, {limit} are allowed", reads=reads, limit=limit
        )
