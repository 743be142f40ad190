"""What each payload of a tree delta is made from, and makes: for whoever accounts for its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from deltaseal.errors import BaseMismatchError
from deltaseal.storage import ByteSource
from deltaseal.trees.container import load
from deltaseal.trees.listing import Listing
from deltaseal.trees.plan import Built

__all__ = ["Payload", "TreePayloads", "payloads"]


@dataclass(frozen=True, slots=True)
class Payload:
    """One group: its coding (raw, zstd, zstd-old, image), old paths, new paths with sizes, and its bytes."""

    coding: str
    old: tuple[bytes, ...]
    new: tuple[tuple[bytes, int], ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class TreePayloads:
    """A tree delta: its size, the bytes that are no payload (header and plan), and its payloads."""

    size: int
    plan_bytes: int
    payloads: tuple[Payload, ...]


def payloads(delta: ByteSource, old: Listing) -> TreePayloads:
    """Read them. Raises what ``apply`` raises for the delta, BaseMismatchError for another old tree."""
    read = load(delta)
    if read.old_digest != old.digest:
        raise BaseMismatchError(
            f"the delta is for a tree with digest {read.old_digest.hex()}, this one has {old.digest.hex()}",
            expected=read.old_digest.hex(),
            found=old.digest.hex(),
        )
    built = [(edit.path, edit.content.size) for edit in read.plan.edits if isinstance(edit.content, Built)]
    found = tuple(
        Payload(
            group.coding.name.lower().replace("_", "-"),
            tuple(old.entries[number].path for number in group.old),
            tuple(built[number] for number in group.new),
            payload.read_at(0, payload.size()),
        )
        for group, payload in zip(read.plan.groups, read.payloads, strict=True)
    )
    return TreePayloads(read.size, read.size - sum(len(payload.data) for payload in found), found)
