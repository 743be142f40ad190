"""A scanned tree as the source of contents: what is used is what was hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deltaseal.errors import DeltasealError, DigestError
from deltaseal.storage import Dir, Disk, File, MissingError, Stat, WrongKindError
from deltaseal.trees.listing import Entry, Listing
from deltaseal.trees.paths import show
from deltaseal.trees.places import Places
from deltaseal.trees.scanner import PIECE

__all__ = ["ScannedTree"]


class ScannedTree:
    """A tree on a disk together with its listing; every file that is read is held against it."""

    def __init__(self, disk: Disk, top: Dir, listing: Listing) -> None:
        self.listing = listing
        self.places = Places(disk, top)
        self._disk = disk

    def close(self) -> None:
        """Give all directories back that were opened here."""
        self.places.close()

    def size(self, numbers: Sequence[int]) -> int:
        """Return the bytes of these files together."""
        return sum(self.listing.entries[number].size for number in numbers)

    def pieces(self, number: int) -> Iterator[bytes]:
        """Yield the content of a file in pieces; ``DigestError`` at its end if it is another."""
        entry = self.listing.entries[number]
        with self._opened(entry) as file:
            yield from checked_pieces(file, entry)

    def content(self, numbers: Sequence[int]) -> bytes:
        """Return the contents of these files, one after the other."""
        return b"".join(piece for number in numbers for piece in self.pieces(number))

    def entry_content(self, entry: Entry) -> bytes:
        """Return the content of one of the tree's files by its entry."""
        with self._opened(entry) as file:
            return b"".join(checked_pieces(file, entry))

    @contextmanager
    def verified(self, number: int) -> Iterator[File]:
        """Open a file whose content was hashed through the same descriptor."""
        entry = self.listing.entries[number]
        with self._opened(entry) as file:
            for _ in checked_pieces(file, entry):
                pass
            yield file

    def look_at(self, number: int) -> Stat:
        """Describe a file; ``DigestError`` if it is no file any more."""
        entry = self.listing.entries[number]
        with _still_there(entry):
            at, name = self.places.place(entry.path)
            found = self._disk.stat(at, name)
        if found.kind != "file":
            raise _changed(entry, "it is no longer a file")
        return found

    @contextmanager
    def _opened(self, entry: Entry) -> Iterator[File]:
        with _still_there(entry):
            at, name = self.places.place(entry.path)
            file = self._disk.open_read(at, name)
        with file:
            yield file


@contextmanager
def _still_there(entry: Entry) -> Iterator[None]:
    try:
        yield
    except (MissingError, WrongKindError) as error:
        raise _changed(entry, "it is no longer a file") from error


def checked_pieces(file: File, entry: Entry) -> Iterator[bytes]:
    """Yield what is in ``file``; ``DigestError`` at the first sign that it is not what ``entry`` says."""
    hasher = hashlib.sha256()
    offset = 0
    while offset < entry.size:
        piece = file.read(min(PIECE, entry.size - offset))
        if not piece:
            raise _changed(entry, f"it has {offset} bytes where {entry.size} were listed")
        hasher.update(piece)
        offset += len(piece)
        yield piece
    if file.read(1):
        raise _changed(entry, f"it has more than the {entry.size} bytes listed")
    if hasher.digest() != entry.sha256:
        raise _changed(entry, "its SHA-256 differs", expected=entry.sha256.hex(), found=hasher.hexdigest())


def _changed(entry: Entry, how: str, **facts: str) -> DeltasealError:
    return DigestError(
        f"the file {show(entry.path)} is not what its tree's listing says: {how}",
        hint="it was changed meanwhile, or the storage is failing; nothing of it was used",
        path=show(entry.path),
        **facts,
    )
