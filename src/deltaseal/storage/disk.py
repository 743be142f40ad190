"""The one door to the disk: what a disk can do, and how it says no.

Every operation takes an open directory and one name, never a path, and never
follows a link in the last step; so no name from outside can lead out of the
directory it was given for.  Semantics are those of POSIX; the two
implementations are :class:`~deltaseal.storage.real.RealDisk` and
:class:`~deltaseal.storage.simulated.SimulatedDisk`.

Foreign exceptions end here: an ``OSError`` becomes one of the classes below.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from deltaseal.errors import DeltasealError, SpaceError, StorageError

__all__ = [
    "Buffer",
    "Dir",
    "Disk",
    "ExistsError",
    "File",
    "Kind",
    "MissingError",
    "PathLike",
    "ShortReadError",
    "Space",
    "Stat",
    "WrongKindError",
    "check_name",
    "exists",
    "plain_path",
    "translate",
]

Buffer = bytes | bytearray | memoryview
Kind = Literal["file", "dir", "link", "other"]
PathLike = str | os.PathLike[str]


class MissingError(StorageError):
    """There is nothing of that name (ENOENT)."""


class ExistsError(StorageError):
    """Something of that name is there already (EEXIST, ENOTEMPTY)."""


class WrongKindError(StorageError):
    """A link, directory or special file stands where another kind was expected (ELOOP, ENOTDIR, EISDIR)."""


class ShortReadError(StorageError):
    """The file ends before the bytes that were asked for."""


# What the caller may want to tell apart; every other errno is a StorageError.
_CLASS_BY_ERRNO: dict[int, Callable[..., DeltasealError]] = {
    errno.ENOSPC: SpaceError,
    errno.EDQUOT: SpaceError,
    errno.ENOENT: MissingError,
    errno.EEXIST: ExistsError,
    errno.ENOTEMPTY: ExistsError,
    errno.ELOOP: WrongKindError,
    errno.ENOTDIR: WrongKindError,
    errno.EISDIR: WrongKindError,
}

_HINT_BY_ERRNO = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check who owns it and its permissions",
    errno.EPERM: "check who owns it and its permissions",
    errno.EROFS: "this file system is mounted read-only",
    errno.EIO: "the storage may be failing; look at the system's log",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


def translate(error: OSError, action: str, name: str) -> DeltasealError:
    """Return our exception for ``error``, which came up in ``action`` on ``name``.

    Facts: ``action``, ``path`` and ``errno`` (its symbol, such as ``ENOSPC``).
    """
    number = error.errno or 0
    symbol = errno.errorcode.get(number, "unknown")
    make: Callable[..., DeltasealError] = _CLASS_BY_ERRNO.get(number, StorageError)
    words = os.strerror(number) if number else str(error)
    return make(
        f"cannot {action} {name!r}: {words} ({symbol})",
        hint=_HINT_BY_ERRNO.get(number, ""),
        action=action,
        path=name,
        errno=symbol,
    )


def check_name(name: str) -> str:
    """Return ``name`` if it is one step inside a directory.

    Raises ``ValueError`` for an empty name, ``.``, ``..``, a slash or a NUL:
    callers check names from outside before they get here, so this is a bug.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"not a single name: {name!r}")
    return name


def plain_path(path: PathLike) -> str:
    """Return ``path`` as ``pathlib`` writes it, without a ``.`` or a slash that says nothing.

    Two slashes in front are one here: no system that this runs on tells them apart.
    Loading ``pathlib`` takes longer than a small image takes to be applied.
    """
    text = os.fspath(path)
    steps = "/".join(step for step in text.split("/") if step not in ("", "."))
    return f"/{steps}" if text.startswith("/") else steps or "."


class Stat(NamedTuple):
    """What lies under a name, the name itself not followed.

    ``mode`` holds the twelve permission bits, ``size`` is in bytes, ``inode``
    and ``dev`` together are the identity of the file.
    """

    kind: Kind
    mode: int
    size: int
    inode: int
    dev: int
    links: int = 1

    @property
    def executable(self) -> bool:
        """Whether the owner may execute it: the only mode bit that a tree listing records."""
        return bool(self.mode & 0o100)


class Space(NamedTuple):
    """What an ordinary process may still use of a file system."""

    bytes_free: int
    inodes_free: int


class _Closing(ABC):
    """An open handle: closing twice is harmless, leaving the ``with`` closes."""

    @abstractmethod
    def close(self) -> None:
        """Give the handle back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Dir(_Closing):
    """An open directory; good for operations of the disk that opened it."""


class File(_Closing):
    """An open regular file.  It is a :class:`~deltaseal.storage.ranges.ByteSource` too."""

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; fewer only at the end of the file."""

    @abstractmethod
    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly the ``size`` bytes at ``offset``.

        Raises ``ShortReadError`` where the file ends earlier.
        """

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Write all of ``data`` where the last write ended (appending: at the end of the file)."""

    @abstractmethod
    def size(self) -> int:
        """Return the file's size in bytes, now."""

    @abstractmethod
    def has_capabilities(self) -> bool:
        """Whether it carries file capabilities (capabilities(7)), which a tree may not."""

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor that reads the same bytes; it lives as long as this file is open."""


class Disk(Protocol):
    """A disk with POSIX semantics.

    Written data is durable only after :meth:`sync`, a name (made, renamed or
    removed) only after :meth:`sync_dir` of its directory.  All operations
    raise ``SpaceError`` or ``StorageError`` (with the subclasses of this
    module), ``ValueError`` for what is not a single name.
    """

    def open_root(self, path: PathLike) -> Dir:
        """Open the directory at ``path``: the only place where a path is taken and links are followed."""

    def open_dir(self, at: Dir, name: str) -> Dir:
        """Open a directory inside ``at``."""

    def make_dir(self, at: Dir, name: str, mode: int = 0o755) -> Dir:
        """Make a directory with exactly ``mode`` and open it."""

    def names(self, at: Dir) -> list[str]:
        """Return all names in ``at``, in the order of their bytes."""

    def stat(self, at: Dir, name: str) -> Stat:
        """Say what lies under ``name``; a link is described, not followed."""

    def open_read(self, at: Dir, name: str) -> File:
        """Open a regular file for reading; anything else is refused without waiting on it."""

    def create(self, at: Dir, name: str, mode: int | None = 0o644) -> File:
        """Make a new file with exactly ``mode``, open for writing and reading.

        ``None`` leaves the mode to the process's umask.  Raises ``ExistsError`` if the name is taken.
        """

    def open_append(self, at: Dir, name: str) -> File:
        """Open an existing regular file for writing at its end, and for reading."""

    def sync(self, file: File) -> None:
        """Make the file's bytes, size and mode durable.

        After an error nothing is known of the bytes written since the last
        success: never sync again and trust (write them to a new file).
        """

    def sync_dir(self, at: Dir) -> None:
        """Make the names in ``at`` durable: those made, renamed and removed."""

    def rename(self, at: Dir, name: str, to_at: Dir, to_name: str) -> None:
        """Rename in one step; a file or link in the way is replaced."""

    def unlink(self, at: Dir, name: str) -> None:
        """Remove a name that is not a directory."""

    def remove_dir(self, at: Dir, name: str) -> None:
        """Remove an empty directory."""

    def symlink(self, at: Dir, name: str, target: str) -> None:
        """Make a symbolic link; ``target`` is stored as it is."""

    def read_link(self, at: Dir, name: str) -> str:
        """Return the target of a symbolic link.  Raises ``WrongKindError`` for anything else."""

    def clone(self, at: Dir, name: str, to_at: Dir, to_name: str) -> bool:
        """Copy a regular file with its permission bits to a new name, never as a hard link.

        Returns whether the copy shares its blocks with the original until one
        of them is written (the file system has reflinks).  Like any written
        data the copy is durable only after :meth:`sync`.
        """

    def set_mode(self, at: Dir, name: str, mode: int) -> None:
        """Set the permission bits of a file or directory; a link is refused."""

    def space(self, at: Dir) -> Space:
        """Say how much room is left where ``at`` lies."""

    def lock(self, at: Dir, name: str) -> AbstractContextManager[None]:
        """Hold the lock ``name``, made if missing, while inside the ``with``.

        Raises ``LockedError`` at once if another holds it.  The lock belongs
        to an open descriptor, so the death of its holder frees it.
        """


def exists(disk: Disk, at: Dir, name: str) -> bool:
    """Say whether anything lies under ``name``; a dangling link does."""
    try:
        disk.stat(at, name)
    except MissingError:
        return False
    return True
