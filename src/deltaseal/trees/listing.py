"""The listing of a tree: what it holds, as values and as text (docs/spec/tree.md, sections 2 and 3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from deltaseal.errors import TreeError
from deltaseal.trees.rules import MAX_ENTRIES, Entry, Links, Names, check

__all__ = ["MAX_LISTING_BYTES", "Entry", "Listing"]

MAX_LISTING_BYTES = 1 << 28  # of a listing that is read; 256 bytes for each of the most entries there may be

_FIRST_LINE = re.compile(rb"deltaseal-tree/0 (0|[1-9][0-9]{0,6})")
_LINE = re.compile(
    rb"(?P<directory>d)\t(?P<path>[^\t]*)"
    rb"|(?P<file>[fx])\t(?P<file_path>[^\t]*)\t(?P<size>0|[1-9][0-9]{0,18})\t(?P<sha256>[0-9a-f]{64})"
    rb"|(?P<link>l)\t(?P<link_path>[^\t]*)\t(?P<target>[^\t]*)"
)


@dataclass(frozen=True)
class Listing:
    """All entries of a tree, in the order of their paths' bytes.

    Made by :func:`~deltaseal.trees.scan`, :meth:`loads` or :meth:`checked`,
    which hold it against the rules of a tree; two listings are equal if and
    only if their digests are.
    """

    entries: tuple[Entry, ...]

    @classmethod
    def checked(
        cls,
        entries: Iterable[Entry],
        *,
        names: Names = "sensitive",
        links: Links | Listing = "inside",
        max_entries: int = MAX_ENTRIES,
    ) -> Listing:
        """Return the listing of ``entries``, which are in order, if they may form a tree.

        ``names`` is what the base says of case. ``links`` says which links
        that leave the tree are accepted: ``"inside"`` none, ``"any"`` all (the
        tree is a baseline), a listing: those that it has. Raises ``TreeError``
        that names every entry at fault.
        """
        given = tuple(entries)
        allowed = links.links if isinstance(links, Listing) else links
        check(given, names=names, links=allowed, max_entries=max_entries)
        return cls(given)

    @classmethod
    def loads(
        cls,
        data: bytes,
        *,
        names: Names = "sensitive",
        links: Links | Listing = "inside",
        max_entries: int = MAX_ENTRIES,
    ) -> Listing:
        """Read a listing from anywhere. Arguments and errors as in :meth:`checked`."""
        entries = _parse(bytes(data), max_entries)
        return cls.checked(entries, names=names, links=links, max_entries=max_entries)

    def dumps(self) -> bytes:
        """Return the listing as text: the bytes that the tree digest is made of."""
        return b"".join(self._lines())

    @cached_property
    def digest(self) -> bytes:
        """The tree digest: SHA-256 of the listing, 32 bytes."""
        hasher = hashlib.sha256()
        for line in self._lines():
            hasher.update(line)
        return hasher.digest()

    @cached_property
    def by_path(self) -> dict[bytes, Entry]:
        """Every entry by its path."""
        return {entry.path: entry for entry in self.entries}

    @cached_property
    def links(self) -> dict[bytes, bytes]:
        """Every link's target by its path."""
        return {entry.path: entry.target for entry in self.entries if entry.kind == "link"}

    @property
    def total_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(entry.size for entry in self.entries)

    def _lines(self) -> Iterator[bytes]:
        yield b"deltaseal-tree/0 %d\n" % len(self.entries)
        yield from map(_line, self.entries)


def _line(entry: Entry) -> bytes:
    if entry.kind == "directory":
        return b"d\t%b\n" % entry.path
    if entry.kind == "link":
        return b"l\t%b\t%b\n" % (entry.path, entry.target)
    letter = b"x" if entry.executable else b"f"
    return b"%b\t%b\t%d\t%b\n" % (letter, entry.path, entry.size, entry.sha256.hex().encode())


def _parse(data: bytes, max_entries: int) -> list[Entry]:
    if len(data) > MAX_LISTING_BYTES:
        raise TreeError(f"the listing has {len(data)} bytes, over {MAX_LISTING_BYTES}", size=len(data))
    first, newline, rest = data.partition(b"\n")
    count = _FIRST_LINE.fullmatch(first)
    if not count or not newline:
        raise TreeError("this is no listing of a tree: its first line is not `deltaseal-tree/0 COUNT`")
    expected = int(count[1])
    if expected > max_entries:
        raise TreeError(f"the tree has {expected} entries, {max_entries} are allowed", entries=expected)
    if rest and not rest.endswith(b"\n"):
        raise TreeError("the listing is cut short: its last line has no end")
    found = rest.count(b"\n")
    if found != expected:
        raise TreeError(
            f"the listing says {expected} entries and has {found}: it is cut short or too long",
            expected=expected,
            found=found,
        )
    return [_entry(line, number) for number, line in enumerate(rest.split(b"\n")[:-1], 2)]


def _entry(line: bytes, number: int) -> Entry:
    match = _LINE.fullmatch(line)
    if not match:
        raise TreeError(f"line {number} of the listing is not an entry of any known kind", line=number)
    if match["directory"]:
        return Entry.directory(match["path"])
    if match["link"]:
        return Entry.link(match["link_path"], match["target"])
    return Entry.file(
        match["file_path"],
        size=int(match["size"]),
        sha256=bytes.fromhex(match["sha256"].decode()),
        executable=match["file"] == b"x",
    )
