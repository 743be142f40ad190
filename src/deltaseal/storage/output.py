"""Files and directories that a person asked for with ``-o``.

The result is made under a temporary name beside the one asked for and gets
its name only when it is whole, durable and, where asked, read back.  However
the work ends, an existing output, an input, and the directory stay as they were.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from deltaseal.errors import DeltasealError, DigestError, UsageError
from deltaseal.storage.disk import Buffer, Dir, Disk, File, MissingError, PathLike, Stat, plain_path
from deltaseal.storage.ranges import chunks
from deltaseal.storage.real import RealDisk

__all__ = ["Hasher", "Output", "open_output", "open_output_dir", "write_output"]

_serial = itertools.count()


def _temporary_name() -> str:
    # Its own, not made from the output's name: that may have 255 bytes already.
    return f".deltaseal-{os.getpid()}-{next(_serial)}.part"


class Hasher(Protocol):
    """A digest in the making, as those of ``hashlib``."""

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""


def _sha256() -> Hasher:
    import hashlib

    return hashlib.sha256()


class Output:
    """An output in the making; see :func:`open_output`."""

    def __init__(self, file: File, hasher: Callable[[], Hasher]) -> None:
        self._file = file
        self._hasher = hasher
        self._written = hasher()
        self.size = 0  # bytes written so far

    def write(self, data: Buffer) -> None:
        """Write the next bytes."""
        self._file.write(data)
        self._written.update(data)
        self.size += memoryview(data).nbytes

    def read_back(self) -> None:
        """Raise ``DigestError`` unless the file holds exactly what was written."""
        found = self._hasher()
        for piece in chunks(self._file):
            found.update(piece)
        if found.digest() != self._written.digest():
            raise DigestError(
                "the output differs from what was written when it is read back",
                hint="the storage may be failing; write to another disk",
                expected=self._written.digest().hex(),
                found=found.digest().hex(),
            )


# open_output:
#  1. Until the last step the name holds what it held before; then it holds the whole new file.
#  2. After any failure (an exception of the caller's too) nothing is left beside it.
#  3. When the call returns, bytes and name are durable.
#  4. An input is never the output, under whatever name.
@contextlib.contextmanager
def open_output(
    path: PathLike,
    *,
    force: bool = False,
    inputs: Iterable[PathLike] = (),
    verify: bool = False,
    hasher: Callable[[], Hasher] = _sha256,
    mode: int | None = None,
    disk: Disk | None = None,
) -> Iterator[Output]:
    """Make the file ``path`` from what is written inside the ``with``.

    ``force`` allows replacing an existing file; ``inputs`` are the paths that
    the work reads; ``verify`` reads the file back before it gets its name,
    and compares digests of ``hasher`` (SHA-256, unless the caller has a better);
    ``mode`` are its permission bits (None: as the umask says).

    Raises ``UsageError`` for an output that exists, is no regular file, or is an input.
    """
    disk = disk or RealDisk()
    path = plain_path(path)
    refuse_inputs(path, inputs)
    with disk.open_root(os.path.dirname(path) or ".") as directory:
        _check_free(disk, directory, path, force=force, kind="file")
        part = _temporary_name()
        try:
            with disk.create(directory, part, mode) as file:
                output = Output(file, hasher)
                yield output
                disk.sync(file)
                if verify:
                    output.read_back()
            _check_free(disk, directory, path, force=force, kind="file")
            disk.rename(directory, part, directory, os.path.basename(path))
        except BaseException:
            with contextlib.suppress(DeltasealError):
                disk.unlink(directory, part)
            raise
        disk.sync_dir(directory)


def write_output(
    path: PathLike,
    pieces: Iterable[Buffer],
    force: bool = False,
    *,
    inputs: Iterable[PathLike] = (),
    verify: bool = False,
    mode: int | None = None,
    disk: Disk | None = None,
) -> int:
    """Write ``pieces`` to the file ``path`` as :func:`open_output` does; return the bytes written."""
    with open_output(path, force=force, inputs=inputs, verify=verify, mode=mode, disk=disk) as output:
        for piece in pieces:
            output.write(piece)
    return output.size


# open_output_dir: as open_output, with these differences.
#  1. The caller has made durable what it put inside; the directory's own names are synced here.
#  2. A directory cannot be renamed over a full one.  With ``force`` the old one is moved aside, the
#     new one named, and the old one removed: a cut between the two leaves the old one beside, whole,
#     with a name that ends in ``.part``; an error there puts it back.
@contextlib.contextmanager
def open_output_dir(
    path: PathLike, *, force: bool = False, inputs: Iterable[PathLike] = (), disk: Disk | None = None
) -> Iterator[Dir]:
    """Make the directory ``path`` from what is put into the yielded one inside the ``with``.

    Raises ``UsageError`` for an output that exists, is no directory, or is or lies in an input.
    """
    disk = disk or RealDisk()
    path = plain_path(path)
    refuse_inputs(path, inputs)
    with disk.open_root(os.path.dirname(path) or ".") as directory:
        _check_free(disk, directory, path, force=force, kind="dir")
        part = _temporary_name()
        try:
            with disk.make_dir(directory, part) as made:
                yield made
                disk.sync_dir(made)
            replaces = _check_free(disk, directory, path, force=force, kind="dir")
            _take_place(disk, directory, part, os.path.basename(path), replaces=replaces)
        except BaseException:
            with contextlib.suppress(DeltasealError):
                _remove(disk, directory, part)
            raise


def check_output(
    path: PathLike, *, force: bool = False, inputs: Iterable[PathLike] = (), disk: Disk | None = None
) -> None:
    """Raise at once what ``open_output`` would raise, before work whose result it is to hold."""
    disk = disk or RealDisk()
    path = plain_path(path)
    refuse_inputs(path, inputs)
    with disk.open_root(os.path.dirname(path) or ".") as directory:
        _check_free(disk, directory, path, force=force, kind="file")


def _take_place(disk: Disk, directory: Dir, part: str, name: str, *, replaces: bool) -> None:
    if not replaces:
        disk.rename(directory, part, directory, name)
        disk.sync_dir(directory)
        return
    aside = _temporary_name()
    disk.rename(directory, name, directory, aside)
    try:
        disk.rename(directory, part, directory, name)
    except DeltasealError:
        disk.rename(directory, aside, directory, name)
        raise
    disk.sync_dir(directory)
    _remove(disk, directory, aside)


def _remove(disk: Disk, directory: Dir, name: str) -> None:
    from deltaseal.storage.recipes import remove_tree  # an output that is a file needs none of them

    remove_tree(disk, directory, name)


def refuse_inputs(path: str, inputs: Iterable[PathLike]) -> None:
    """Raise ``UsageError`` if ``path`` is one of ``inputs`` by whatever name, or lies inside one."""
    if os.path.basename(path) in ("", ".", ".."):
        raise UsageError(f"{path!r} cannot be an output", hint="name a file", path=path)
    places = {_identity(place) for place in (path, *_parents(path))} - {None}
    for source in inputs:
        if _identity(source) in places:
            raise UsageError(
                f"the output {path!r} is the input {str(source)!r}, or lies in it",
                hint="choose another output",
                path=path,
                input=str(source),
            )


def _parents(path: str) -> Iterator[str]:
    """Every directory that a path lies in, the nearest first."""
    place = os.path.join(os.getcwd(), path)
    while place != os.path.dirname(place):
        place = os.path.dirname(place)
        yield place


def _identity(path: PathLike) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _check_free(disk: Disk, directory: Dir, path: str, *, force: bool, kind: str) -> bool:
    """Return whether something will be replaced; raise ``UsageError`` if it may not be."""
    try:
        found: Stat = disk.stat(directory, os.path.basename(path))
    except MissingError:
        return False
    words = {"file": "a regular file", "dir": "a directory"}[kind]
    if found.kind != kind:
        raise UsageError(
            f"{path!r} exists and is not {words}",
            hint="choose another output",
            path=path,
            kind=found.kind,
        )
    if not force:
        raise UsageError(
            f"{path!r} exists already",
            hint="choose another output, or replace it with --force",
            path=path,
        )
    return True
