"""Making a listing from a directory: everything is hashed, everything refused is named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator

from deltaseal.storage import Dir, Disk, File, Found, Stat, walk
from deltaseal.trees.limits import Progress
from deltaseal.trees.listing import Listing
from deltaseal.trees.paths import path_fault, show
from deltaseal.trees.rules import MAX_ENTRIES, Entry, Links, Names, Refusal, check

__all__ = ["PIECE", "pieces", "scan"]

PIECE = 1 << 20  # bytes read and hashed at once

_SPECIAL_BITS = {0o4000: "set-user-ID", 0o2000: "set-group-ID", 0o1000: "sticky"}

_HINT = "take these entries out of the tree, or leave them out with --exclude (of a base: its `exclude`)"


def scan(
    disk: Disk,
    directory: Dir,
    *,
    exclude: Collection[str | bytes] = (),
    names: Names = "sensitive",
    links: Links | Listing = "any",
    progress: Progress | None = None,
) -> Listing:
    """Return the listing of ``directory``; every file is read and hashed.

    ``exclude`` are paths left out, each with all below it. ``names`` and
    ``links`` are as in :meth:`Listing.checked`; by default the tree is taken
    for a baseline, which may have links that leave it. ``progress`` is called
    with the bytes hashed so far, and 0: how many there are is not known. Raises ``TreeError``
    that names every entry which must not be in a tree (its facts: ``refused``,
    a list of ``path`` and ``why``), ``StorageError`` where something cannot
    be read.
    """
    excluded = frozenset(os.fsencode(path).rstrip(b"/") for path in exclude)
    visit = _Visit(disk, excluded, progress)
    for found in walk(disk, directory, enter=visit.enter):
        visit.meet(found)
    visit.entries.sort(key=lambda entry: entry.path)
    check(
        visit.entries,
        names=names,
        links=links.links if isinstance(links, Listing) else links,
        max_entries=MAX_ENTRIES,
        found=[*visit.refusals, *visit.hard_links()],
        hint=_HINT,
    )
    return Listing(tuple(visit.entries))


class _Visit:
    """What a walk through a tree has met so far."""

    def __init__(self, disk: Disk, excluded: frozenset[bytes], progress: Progress | None) -> None:
        self.entries: list[Entry] = []
        self.refusals: list[Refusal] = []
        self._disk = disk
        self._excluded = excluded
        self._progress = progress
        self._misnamed: set[bytes] = set()
        self._hashed = 0  # bytes
        self._same_file: dict[tuple[int, int], list[bytes]] = {}

    def enter(self, found: Found) -> bool:
        """Whether to go into a directory: not if it is excluded, or refused for its name."""
        path = os.fsencode(found.path)
        return path not in self._excluded and path not in self._misnamed

    def meet(self, found: Found) -> None:
        """Take down one entry, or why it is refused."""
        path = os.fsencode(found.path)
        if path in self._excluded:
            return
        misnamed = path_fault(path)
        why = misnamed or _kind_fault(found.stat)
        if why:
            self.refusals.append(Refusal(path, why))
        if misnamed:
            self._misnamed.add(path)
        elif not why or found.stat.kind == "dir":
            self._take(path, found)

    def hard_links(self) -> Iterator[Refusal]:
        """Every file that is another name of an entry before it."""
        for paths in self._same_file.values():
            first, *others = sorted(paths)
            for path in others:
                yield Refusal(path, f"a hard link to {show(first)}")

    def _take(self, path: bytes, found: Found) -> None:
        if found.stat.kind == "dir":
            self.entries.append(Entry.directory(path))
        elif found.stat.kind == "link":
            target = os.fsencode(self._disk.read_link(found.at, found.name))
            self.entries.append(Entry.link(path, target))
        else:
            self._take_file(path, found)

    def _take_file(self, path: bytes, found: Found) -> None:
        hasher = hashlib.sha256()
        size = 0
        with self._disk.open_read(found.at, found.name) as file:
            if file.has_capabilities():
                self.refusals.append(Refusal(path, "file capabilities"))
                return
            for piece in pieces(file):
                hasher.update(piece)
                size += len(piece)
                self._advance(len(piece))
        if size != found.stat.size:
            self.refusals.append(
                Refusal(path, f"{size} bytes where {found.stat.size} were declared: it changes")
            )
            return
        if found.stat.links > 1:
            self._same_file.setdefault((found.stat.dev, found.stat.inode), []).append(path)
        self.entries.append(
            Entry.file(path, size=size, sha256=hasher.digest(), executable=found.stat.executable)
        )

    def _advance(self, size: int) -> None:
        self._hashed += size
        if self._progress:
            self._progress(self._hashed, 0)


def pieces(file: File) -> Iterator[bytes]:
    """Read ``file`` from where it stands to its end."""
    while piece := file.read(PIECE):
        yield piece


def _kind_fault(stat: Stat) -> str:
    if stat.kind == "other":
        return "a device, FIFO or socket"
    if stat.kind == "link":
        return ""  # its mode bits mean nothing
    bits = [name for bit, name in _SPECIAL_BITS.items() if stat.mode & bit]
    return " and ".join(bits)
