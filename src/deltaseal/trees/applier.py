"""Applying a tree delta: from an old tree and a delta to a new tree in an empty directory.

What holds, in this order:

1. The whole plan is read and the new listing judged before anything is written.
2. Every byte of the old tree that is used is hashed as it is read; every byte
   written is hashed as it is written. The first difference ends the work.
3. Names are made new, one directory at a time, never through a link; nothing
   outside the destination is named.
4. Every file is synced once it is whole, every directory once all its names are made.
5. The listing that is returned is that of the bytes written, and its digest is
   the one the delta names. After an error the destination holds a part; its
   owner wipes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Literal

from deltaseal import images
from deltaseal.errors import BaseMismatchError, DeltaError, DigestError, LimitError, TreeError
from deltaseal.storage import ByteSource, Dir, Disk, ExistsError, File, MissingError, WrongKindError, chunks
from deltaseal.trees.container import TreeDelta, load
from deltaseal.trees.frames import MAX_PREFIX, decompress
from deltaseal.trees.limits import Limits, Progress
from deltaseal.trees.listing import Listing
from deltaseal.trees.paths import show
from deltaseal.trees.places import Places
from deltaseal.trees.plan import (
    CHECK_BYTES,
    BuiltFile,
    Coding,
    Group,
    OldFile,
    Planned,
    check_groups,
    planned_tree,
)
from deltaseal.trees.rules import Names, check
from deltaseal.trees.scanned import ScannedTree, checked_pieces
from deltaseal.trees.scanner import scan

__all__ = ["apply", "judged_tree"]


def apply(
    disk: Disk,
    old: Dir,
    delta: ByteSource,
    dest: Dir,
    *,
    listing: Listing | None = None,
    names: Names = "sensitive",
    unchanged: Literal["clone", "copy"] = "clone",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Listing:
    """Write the new tree that ``delta`` makes of ``old`` into the empty ``dest``; return its listing.

    ``listing`` is that of ``old`` if it is known already (or was made with an
    ``exclude`` list); else ``old`` is scanned. Whatever is used of ``old`` is
    hashed in either case. ``names`` is what the base says of case.
    ``unchanged`` files share blocks with the old ones where the disk can
    (``clone``), or are written anew (``copy``); they are never hard links.

    Raises ``DocumentTypeError``, ``DeltaError`` and ``LimitError`` for the
    delta, ``BaseMismatchError`` if ``old`` is not the tree it was made for,
    ``TreeError`` if the new tree must not be or ``dest`` holds anything,
    ``DigestError`` where bytes differ, ``SpaceError`` and ``StorageError``
    from the disk.
    """
    limits = limits or Limits()
    read = load(delta)
    before = scan(disk, old, names=names) if listing is None else listing
    planned = judged_tree(read, before, names=names, limits=limits)
    if disk.names(dest):
        raise TreeError("the destination is not empty", hint="give an empty directory")
    with closing(ScannedTree(disk, old, before)) as source, closing(Places(disk, dest)) as places:
        work = _Work(disk, source, dest, places, planned, limits, progress)
        work.make_directories_and_links()
        work.keep_old_contents(clone=unchanged == "clone")
        for group, payload in zip(read.plan.groups, read.payloads, strict=True):
            work.build(group, payload)
        work.copy_built_contents()
        work.sync_directories()
    after = Listing(tuple(entry.entry for entry in work.planned))
    if after.digest != read.new_digest:
        raise DigestError(
            f"the new tree has digest {after.digest.hex()}, the delta promised {read.new_digest.hex()}",
            found=after.digest.hex(),
            expected=read.new_digest.hex(),
        )
    return after


def judged_tree(read: TreeDelta, old: Listing, *, names: Names, limits: Limits) -> list[Planned]:
    """Return the new tree of a delta, held against the old tree, the rules of a tree and the limits."""
    if old.digest != read.old_digest:
        raise BaseMismatchError(
            f"the delta is for a tree with digest {read.old_digest.hex()}, this one has {old.digest.hex()}",
            expected=read.old_digest.hex(),
            found=old.digest.hex(),
        )
    planned = planned_tree(old, read.plan)
    check([entry.entry for entry in planned], names=names, links=old.links, max_entries=limits.entries)
    total = sum(entry.entry.size for entry in planned)
    if total > limits.output_bytes:
        raise LimitError(
            f"the new tree has {total} bytes, {limits.output_bytes} are allowed",
            size=total,
            limit=limits.output_bytes,
        )
    check_groups(read.plan, old, total)
    return planned


class _Work:
    """The destination while it is filled. ``planned`` is completed with digests as files are built."""

    def __init__(
        self,
        disk: Disk,
        old: ScannedTree,
        dest: Dir,
        places: Places,
        planned: list[Planned],
        limits: Limits,
        progress: Progress | None,
    ) -> None:
        self.planned = planned
        self._disk = disk
        self._old = old
        self._dest = dest
        self._places = places
        self._limits = limits
        self._progress = progress
        self._done = 0
        self._total = sum(entry.entry.size for entry in planned)
        self._built = {  # built files by their number: place in ``planned``
            entry.content.number: place
            for place, entry in enumerate(planned)
            if isinstance(entry.content, BuiltFile) and entry.check
        }

    def make_directories_and_links(self) -> None:
        for planned in self.planned:
            entry = planned.entry
            if entry.kind == "file":
                continue
            with self._writing(entry.path) as (at, name):
                if entry.kind == "directory":
                    self._disk.make_dir(at, name, entry.mode).close()
                else:
                    self._disk.symlink(at, name, os.fsdecode(entry.target))

    def keep_old_contents(self, *, clone: bool) -> None:
        for planned in self.planned:
            if isinstance(planned.content, OldFile):
                (self._clone if clone else self._copy)(planned, planned.content.number)
                self._advance(planned.entry.size)

    def _clone(self, planned: Planned, number: int) -> None:
        old = self._old.listing.entries[number]
        found = self._old.look_at(number)
        old_at, old_name = self._old.places.place(old.path)
        with self._writing(planned.entry.path) as (at, name):
            self._disk.clone(old_at, old_name, at, name)
            if found.mode & 0o777 != planned.entry.mode:
                self._disk.set_mode(at, name, planned.entry.mode)
            with self._disk.open_read(at, name) as copy:
                for _ in checked_pieces(copy, old):
                    pass
                self._disk.sync(copy)

    def _copy(self, planned: Planned, number: int) -> None:
        with self._created(planned) as file:
            for piece in self._old.pieces(number):
                file.write(piece)

    def build(self, group: Group, payload: ByteSource) -> None:
        """Make the new files of one group."""
        places = [self._built[number] for number in group.new]
        size = sum(self.planned[place].entry.size for place in places)
        with closing(_NewFiles(self, places)) as sink:
            if group.coding is Coding.IMAGE:
                self._build_image(group, payload, size, sink)
            else:
                for piece in self._unpacked(group, payload, size):
                    sink.take(piece)
            sink.finish()

    def _unpacked(self, group: Group, payload: ByteSource, size: int) -> Iterator[bytes]:
        if group.coding is Coding.RAW:
            return chunks(payload)
        if self._old.size(group.old) > MAX_PREFIX:
            raise LimitError(f"a group reads more than {MAX_PREFIX} bytes before its frame", limit=MAX_PREFIX)
        return decompress(payload, size, prefix=self._old.content(group.old))

    def _build_image(self, group: Group, payload: ByteSource, size: int, sink: _NewFiles) -> None:
        memory = self._limits.memory_bytes
        if payload.size() > memory:
            raise LimitError(f"a payload has {payload.size()} bytes, {memory} are allowed", limit=memory)
        limits = images.Limits(output_bytes=size, memory_bytes=memory, seconds=self._limits.seconds)
        with self._old_bytes(group.old) as file:
            try:
                images.apply(file.fileno(), payload.read_at(0, payload.size()), sink.take, limits=limits)
            except BaseMismatchError as error:  # the old files are proved: it is the delta that is wrong
                raise DeltaError("an image delta in the tree delta was made for other old bytes") from error

    @contextmanager
    def _old_bytes(self, numbers: Sequence[int]) -> Iterator[File]:
        """The old bytes of a group as one file; several old files are put together in one without a name."""
        if len(numbers) == 1:
            with self._old.verified(numbers[0]) as file:
                yield file
            return
        taken = {os.fsdecode(planned.entry.path) for planned in self.planned}
        name = next(name for n in range(len(taken) + 1) if (name := f".old-{n}.part") not in taken)
        with self._in_destination(name), self._disk.create(self._dest, name, 0o600) as file:
            self._disk.unlink(self._dest, name)
            for number in numbers:
                for piece in self._old.pieces(number):
                    file.write(piece)
            yield file

    def copy_built_contents(self) -> None:
        """Write the files that have the content of a built one, which is read back and hashed."""
        for place, planned in enumerate(self.planned):
            if isinstance(planned.content, BuiltFile) and not planned.check:
                like = self.planned[self._built[planned.content.number]].entry
                with self._writing(like.path) as (at, name):
                    source = self._disk.open_read(at, name)
                with source, self._created(planned) as file:
                    for piece in checked_pieces(source, like):
                        file.write(piece)
                self.planned[place] = replace(planned, entry=replace(planned.entry, sha256=like.sha256))
                self._advance(like.size)

    def sync_directories(self) -> None:
        directories = [planned.entry.path for planned in self.planned if planned.entry.kind == "directory"]
        for path in reversed(directories):
            with self._in_destination(show(path)):
                self._disk.sync_dir(self._places.directory(path))
        self._disk.sync_dir(self._dest)

    def finish_built(self, place: int, file: File, digest: bytes) -> None:
        """A built file is whole: sync it and complete its entry, if it is what was planned."""
        planned = self.planned[place]
        if digest[:CHECK_BYTES] != planned.check:
            raise DigestError(
                f"the new file {show(planned.entry.path)} came out wrong: its SHA-256 begins "
                f"{digest[:CHECK_BYTES].hex()}, {planned.check.hex()} was promised",
                path=show(planned.entry.path),
                found=digest.hex(),
                expected=planned.check.hex(),
            )
        self._disk.sync(file)
        self.planned[place] = replace(planned, entry=replace(planned.entry, sha256=digest))
        self._advance(planned.entry.size)

    def create(self, place: int) -> File:
        """Make the new file of ``planned[place]``."""
        entry = self.planned[place].entry
        with self._writing(entry.path) as (at, name):
            return self._disk.create(at, name, entry.mode)

    @contextmanager
    def _created(self, planned: Planned) -> Iterator[File]:
        with self._writing(planned.entry.path) as (at, name):
            file = self._disk.create(at, name, planned.entry.mode)
        with file:
            yield file
            self._disk.sync(file)

    @contextmanager
    def _writing(self, path: bytes) -> Iterator[tuple[Dir, str]]:
        with self._in_destination(show(path)):
            yield self._places.place(path)

    @contextmanager
    def _in_destination(self, path: str) -> Iterator[None]:
        """Nobody else may put anything into the destination: a name that is taken, or a link on the way."""
        try:
            yield
        except (ExistsError, MissingError, WrongKindError) as error:
            raise TreeError(
                f"something else was put into, or taken out of, the destination at {path}",
                hint="nobody else may write there; begin again in an empty directory",
                path=path,
            ) from error

    def _advance(self, size: int) -> None:
        self._done += size
        if self._progress:
            self._progress(self._done, self._total)


class _NewFiles:
    """Takes the new bytes of a group and parts them into its files."""

    def __init__(self, work: _Work, places: Sequence[int]) -> None:
        self._work = work
        self._places = list(reversed(places))  # still to come; the one under way is last
        self._file: File | None = None
        self._hasher = hashlib.sha256()
        self._left = 0  # bytes of the file under way
        self._start()
        self._end_whole_files()

    def take(self, piece: bytes | memoryview) -> None:
        """The next new bytes."""
        view = memoryview(piece).cast("B")
        while view:
            if self._file is None:
                raise DeltaError("a payload gives more bytes than its files have")
            part = view[: self._left]
            self._file.write(part)
            self._hasher.update(part)
            self._left -= len(part)
            view = view[len(part) :]
            self._end_whole_files()

    def finish(self) -> None:
        """The payload has ended."""
        if self._file is not None:
            raise DeltaError(
                f"a payload ends {self._left} bytes before the end of a file", missing=self._left
            )

    def close(self) -> None:
        """Give the file under way back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self) -> None:
        self._file = self._work.create(self._places[-1])
        self._hasher = hashlib.sha256()
        self._left = self._work.planned[self._places[-1]].entry.size

    def _end_whole_files(self) -> None:
        while self._file is not None and self._left == 0:
            place = self._places.pop()
            self._work.finish_built(place, self._file, self._hasher.digest())
            self.close()
            if self._places:
                self._start()
