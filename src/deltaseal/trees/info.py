"""What a tree delta says of itself, for people and tools; needs nothing but the delta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from deltaseal.storage import ByteSource
from deltaseal.trees.container import REVISION, TreeDelta, load
from deltaseal.trees.paths import show
from deltaseal.trees.plan import Built, BuiltFile, Content, Edit, OldFile, SameFile

__all__ = ["Change", "GroupInfo", "TreeDeltaInfo", "inspect"]

Action = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """New contents made together: how many files on both sides, the new bytes, and those of the payload."""

    coding: str  # "raw", "zstd", "zstd-old" (old bytes before the frame), "image"
    old_files: int
    new_files: int
    new_bytes: int
    delta_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one path.

    ``source`` says where a file's content comes from: ``built``, ``same`` (as
    at this path in the old tree), ``old`` (another old file), ``built-copy``;
    empty for what is no file. ``size`` is that of built contents, else 0.
    ``delta_bytes`` is the payload of the file's group, its place in
    ``TreeDeltaInfo.groups`` is ``group``; files of one group share it.
    A removed or replaced directory takes all below it along.
    """

    path: bytes
    action: Action
    kind: Literal["nothing", "directory", "file", "link"]
    executable: bool
    source: str
    size: int
    group: int | None
    delta_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The change as plain JSON values."""
        return {
            "path": show(self.path),
            "action": self.action,
            "kind": self.kind,
            "executable": self.executable,
            "source": self.source,
            "size": self.size,
            "group": self.group,
            "delta_bytes": self.delta_bytes,
        }


@dataclass(frozen=True, slots=True)
class TreeDeltaInfo:
    """A tree delta's header, changes and groups. Sizes are in bytes."""

    revision: int
    size: int
    plan_bytes: int
    old_digest: bytes
    new_digest: bytes
    zstd_version: tuple[int, int, int]
    changes: tuple[Change, ...]
    groups: tuple[GroupInfo, ...]

    def paths(self, action: Action) -> list[bytes]:
        """The paths that were ``added``, ``changed`` or ``removed``."""
        return [change.path for change in self.changes if change.action == action]

    def to_json(self) -> dict[str, Any]:
        """The whole as plain JSON values."""
        return {
            "kind": "tree delta",
            "revision": self.revision,
            "size": self.size,
            "plan_bytes": self.plan_bytes,
            "old_digest": self.old_digest.hex(),
            "new_digest": self.new_digest.hex(),
            "zstd_version": ".".join(map(str, self.zstd_version)),
            "changes": [change.to_json() for change in self.changes],
            "groups": [
                {
                    "coding": group.coding,
                    "old_files": group.old_files,
                    "new_files": group.new_files,
                    "new_bytes": group.new_bytes,
                    "delta_bytes": group.delta_bytes,
                }
                for group in self.groups
            ],
        }


def inspect(delta: ByteSource) -> TreeDeltaInfo:
    """Read what a tree delta says of itself. Nothing of it is proved: that takes both trees.

    Raises ``DocumentTypeError``, ``DeltaError`` and ``LimitError`` as ``apply`` does for the delta.
    """
    read = load(delta)
    return TreeDeltaInfo(
        REVISION,
        read.size,
        read.plan_size,
        read.old_digest,
        read.new_digest,
        read.zstd_version,
        tuple(_changes(read)),
        tuple(_groups(read)),
    )


def _groups(read: TreeDelta) -> list[GroupInfo]:
    built = read.plan.built
    return [
        GroupInfo(
            group.coding.name.lower().replace("_", "-"),
            len(group.old),
            len(group.new),
            sum(built[number].size for number in group.new),
            group.size,
        )
        for group in read.plan.groups
    ]


def _changes(read: TreeDelta) -> list[Change]:
    group_of = {number: place for place, group in enumerate(read.plan.groups) for number in group.new}
    changes: list[Change] = []
    number = 0
    for edit in read.plan.edits:
        group = None
        if isinstance(edit.content, Built):
            group = group_of[number]
            number += 1
        changes.append(_change(edit, group, read))
    return changes


def _change(edit: Edit, group: int | None, read: TreeDelta) -> Change:
    return Change(
        edit.path,
        "removed" if edit.kind == "nothing" else "changed" if edit.was_there else "added",
        edit.kind,
        edit.executable,
        _SOURCES[type(edit.content)],
        edit.content.size if isinstance(edit.content, Built) else 0,
        group,
        0 if group is None else read.plan.groups[group].size,
    )


_SOURCES: dict[type[Content] | type[None], str] = {
    Built: "built",
    SameFile: "same",
    OldFile: "old",
    BuiltFile: "built-copy",
    type(None): "",
}
