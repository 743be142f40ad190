"""What a tree may hold: the rules of docs/spec/tree.md, section 2, as functions of its entries.

Every entry at fault is collected, so that one error names them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deltaseal.errors import TreeError
from deltaseal.trees.links import leaving_links
from deltaseal.trees.paths import fold, parent_of, path_fault, show, target_fault

__all__ = ["MAX_ENTRIES", "MAX_TOTAL", "Entry", "Links", "Names", "Refusal", "check", "refuse"]

MAX_ENTRIES = 1 << 20
MAX_TOTAL = (1 << 63) - 1  # bytes of all files together; off_t is a signed 64-bit number

_NAMED_IN_SENTENCE = 100  # of the refused entries; all are in the facts

Names = Literal["sensitive", "insensitive"]
Links = Literal["inside", "any"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree. Use the three makers: they leave what a kind has not at its empty value."""

    path: bytes
    kind: Literal["directory", "file", "link"]
    executable: bool = False
    size: int = 0  # bytes
    sha256: bytes = b""
    target: bytes = b""

    @classmethod
    def directory(cls, path: bytes) -> Entry:
        """A directory."""
        return cls(path, "directory")

    @classmethod
    def file(cls, path: bytes, *, size: int, sha256: bytes, executable: bool = False) -> Entry:
        """A file: its size in bytes, the SHA-256 of its content, whether its owner may execute it."""
        return cls(path, "file", executable, size, sha256)

    @classmethod
    def link(cls, path: bytes, target: bytes) -> Entry:
        """A symbolic link."""
        return cls(path, "link", target=target)

    @property
    def mode(self) -> int:
        """The permission bits it is written with; links have none of their own."""
        return 0o755 if self.executable or self.kind == "directory" else 0o644


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that must not be in a tree, and why."""

    path: bytes
    why: str


def refuse(refusals: Sequence[Refusal], *, hint: str = "") -> None:
    """Raise a ``TreeError`` that names all of ``refusals``, if there are any."""
    if not refusals:
        return
    named = [f"{show(refusal.path)} ({refusal.why})" for refusal in refusals[:_NAMED_IN_SENTENCE]]
    more = len(refusals) - len(named)
    raise TreeError(
        f"{len(refusals)} {'entry' if len(refusals) == 1 else 'entries'} must not be in a tree: "
        + ", ".join(named)
        + (f", and {more} more" if more else ""),
        hint=hint,
        refused=[{"path": show(refusal.path), "why": refusal.why} for refusal in refusals],
    )


def check(
    entries: Sequence[Entry],
    *,
    names: Names,
    links: Links | Mapping[bytes, bytes],
    max_entries: int,
    found: Iterable[Refusal] = (),
    hint: str = "",
) -> None:
    """Raise ``TreeError`` unless ``entries``, in order, may form a tree.

    ``links`` is as in :meth:`Listing.checked`, a baseline's as path to target. ``found`` are refusals that
    the caller met already: they are named too.
    """
    if len(entries) > max_entries:
        raise TreeError(
            f"the tree has {len(entries)} entries, {max_entries} are allowed",
            entries=len(entries),
            limit=max_entries,
        )
    refusals = [
        *found,
        *_bad_paths(entries),
        *_bad_order(entries),
        *_orphans(entries),
        *_bad_links(entries, links),
    ]
    if names == "insensitive":
        refusals += _twins(entries)
    refuse(sorted(refusals, key=lambda refusal: refusal.path), hint=hint)
    total = sum(entry.size for entry in entries)
    if total > MAX_TOTAL:
        raise TreeError(f"the sizes of the files come to {total} bytes, over {MAX_TOTAL}", total=total)


def _bad_paths(entries: Sequence[Entry]) -> Iterator[Refusal]:
    for entry in entries:
        why = path_fault(entry.path)
        if why:
            yield Refusal(entry.path, why)


def _bad_order(entries: Sequence[Entry]) -> Iterator[Refusal]:
    previous = b""
    for entry in entries:
        if entry.path == previous:
            yield Refusal(entry.path, "there twice")
        elif entry.path < previous:
            yield Refusal(entry.path, f"out of order, behind {show(previous)}")
        previous = entry.path


def _orphans(entries: Sequence[Entry]) -> Iterator[Refusal]:
    kinds: dict[bytes, str] = {entry.path: entry.kind for entry in entries}
    for entry in entries:
        parent = parent_of(entry.path)
        kind = kinds.get(parent, "missing") if parent else "directory"
        if kind == "missing":
            yield Refusal(entry.path, "its directory is no entry")
        elif kind != "directory":
            yield Refusal(entry.path, f"a path through a {kind}")


def _bad_links(entries: Sequence[Entry], allowed: Links | Mapping[bytes, bytes]) -> Iterator[Refusal]:
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    for path, target in links.items():
        why = target_fault(target)
        if why:
            yield Refusal(path, why)
    if allowed == "any":
        return
    baseline = allowed if isinstance(allowed, Mapping) else {}
    for path in leaving_links(links):
        if baseline.get(path) != links[path]:
            yield Refusal(path, f"a link that leaves the tree, to {show(links[path])}")


def _twins(entries: Sequence[Entry]) -> Iterator[Refusal]:
    seen: dict[str, bytes] = {}
    for entry in entries:
        folded = fold(entry.path)
        if folded is None:
            yield Refusal(entry.path, "not UTF-8, where names are insensitive")
        elif folded in seen:
            yield Refusal(entry.path, f"the same as {show(seen[folded])}, where names are insensitive")
        else:
            seen[folded] = entry.path
