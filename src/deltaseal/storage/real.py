"""The real disk: the operations of :class:`~deltaseal.storage.disk.Disk` as system calls.

The calls are the ``…at`` family with ``O_NOFOLLOW``.  Nothing but this module
and ``ranges`` (which only reads) talks to the operating system's files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator

from deltaseal.errors import LockedError
from deltaseal.storage.disk import (
    Buffer,
    Dir,
    File,
    Kind,
    PathLike,
    Space,
    Stat,
    WrongKindError,
    check_name,
    translate,
)
from deltaseal.storage.ranges import CHUNK, check_range, read_descriptor

__all__ = ["RealDisk"]

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO planted under the name must not make us wait; a regular file ignores it.
_OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

# A file system without reflinks, or files on two of them: copying will do.
_CANNOT_CLONE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EBADF, errno.EPERM}
)

# What getxattr answers where there is no such attribute, or the file system has none at all.
_NO_ATTRIBUTE = frozenset({errno.ENODATA, errno.ENOTSUP})

_KIND_BY_FORMAT: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


def _describe(status: os.stat_result) -> Stat:
    return Stat(
        kind=_KIND_BY_FORMAT.get(stat.S_IFMT(status.st_mode), "other"),
        mode=stat.S_IMODE(status.st_mode),
        size=status.st_size,
        inode=status.st_ino,
        dev=status.st_dev,
        links=status.st_nlink,
    )


@contextlib.contextmanager
def _translated(action: str, name: str) -> Iterator[None]:
    """Turn an OSError into one of ours: the seam."""
    try:
        yield
    except OSError as error:
        raise translate(error, action, name) from error


class _Handle:
    """An owned descriptor and the name it is called by in messages."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _RealDir(_Handle, Dir):
    """A directory by its descriptor."""


class _RealFile(_Handle, File):
    """A regular file by its descriptor; writes go where the kernel's offset stands."""

    def read(self, size: int) -> bytes:
        with _translated("read", self.name):
            return os.read(self.fd, size)

    def read_at(self, offset: int, size: int) -> bytes:
        check_range(offset, size, self.size(), self.name)
        return read_descriptor(self.fd, offset, size, self.name)

    def write(self, data: Buffer) -> None:
        rest = memoryview(data).cast("B")
        with _translated("write", self.name):
            while rest:
                rest = rest[os.write(self.fd, rest) :]

    def size(self) -> int:
        with _translated("look at", self.name):
            return os.fstat(self.fd).st_size

    def has_capabilities(self) -> bool:
        if not sys.platform.startswith("linux"):
            return False
        try:
            os.getxattr(self.fd, "security.capability")
        except OSError as error:
            if error.errno in _NO_ATTRIBUTE:
                return False
            raise translate(error, "look at", self.name) from error
        return True

    def fileno(self) -> int:
        return self.fd


def _fd(handle: Dir | File) -> int:
    if not isinstance(handle, _Handle):
        raise TypeError("this handle was opened by another disk")
    return handle.fd


def _label(at: Dir, name: str) -> str:
    """How a name is called in messages: with the directory, as far as it is known."""
    return os.path.join(at.name, name) if isinstance(at, _Handle) else name


class RealDisk:
    """The disk of the machine.  Holds no state; every value of it is the same disk."""

    def open_root(self, path: PathLike) -> Dir:
        """Open the directory at ``path``; links in it are followed."""
        name = os.fspath(path)
        with _translated("open the directory", name):
            return _RealDir(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), name)

    def open_dir(self, at: Dir, name: str) -> Dir:
        """Open a directory inside ``at``."""
        label = _label(at, name)
        with _translated("open the directory", label):
            return _RealDir(os.open(check_name(name), _OPEN_DIR, dir_fd=_fd(at)), label)

    def make_dir(self, at: Dir, name: str, mode: int = 0o755) -> Dir:
        """Make a directory with exactly ``mode`` and open it."""
        with _translated("make the directory", _label(at, name)):
            os.mkdir(check_name(name), 0o700, dir_fd=_fd(at))
        made = self.open_dir(at, name)
        with _translated("set the mode of", _label(at, name)):
            os.fchmod(_fd(made), mode)  # mkdir's own mode is cut by the umask, and set-group-id inherited
        return made

    def names(self, at: Dir) -> list[str]:
        """Return all names in ``at``, in the order of their bytes."""
        with _translated("list", _label(at, "")):
            return sorted(os.listdir(_fd(at)), key=os.fsencode)

    def stat(self, at: Dir, name: str) -> Stat:
        """Say what lies under ``name``."""
        with _translated("look at", _label(at, name)):
            return _describe(os.stat(check_name(name), dir_fd=_fd(at), follow_symlinks=False))

    def open_read(self, at: Dir, name: str) -> File:
        """Open a regular file for reading."""
        return self._open_file(at, name, os.O_RDONLY)

    def create(self, at: Dir, name: str, mode: int | None = 0o644) -> File:
        """Make a new file, open for writing and reading."""
        label = _label(at, name)
        flags = _OPEN_FILE | os.O_RDWR | os.O_CREAT | os.O_EXCL
        with _translated("create", label), contextlib.ExitStack() as undo:
            file = _RealFile(
                os.open(check_name(name), flags, 0o666 if mode is None else mode, dir_fd=_fd(at)), label
            )
            undo.callback(file.close)
            if mode is not None:
                os.fchmod(file.fd, mode)  # the umask has cut the one above
            undo.pop_all()
        return file

    def open_append(self, at: Dir, name: str) -> File:
        """Open an existing regular file for writing at its end."""
        return self._open_file(at, name, os.O_RDWR | os.O_APPEND)

    def _open_file(self, at: Dir, name: str, flags: int) -> _RealFile:
        label = _label(at, name)
        with _translated("open", label):
            file = _RealFile(os.open(check_name(name), flags | _OPEN_FILE, dir_fd=_fd(at)), label)
            if stat.S_ISREG(os.fstat(file.fd).st_mode):
                return file
        file.close()
        raise WrongKindError(f"cannot open {label!r}: not a regular file", action="open", path=label)

    def sync(self, file: File) -> None:
        """Make the file's bytes, size and mode durable."""
        fd = _fd(file)
        with _translated("sync", file.name if isinstance(file, _Handle) else ""):
            _full_sync(fd)

    def sync_dir(self, at: Dir) -> None:
        """Make the names in ``at`` durable."""
        with _translated("sync the directory", _label(at, "")):
            _full_sync(_fd(at))

    def rename(self, at: Dir, name: str, to_at: Dir, to_name: str) -> None:
        """Rename in one step; a file or link in the way is replaced."""
        with _translated("rename", _label(at, name)):
            os.rename(check_name(name), check_name(to_name), src_dir_fd=_fd(at), dst_dir_fd=_fd(to_at))

    def unlink(self, at: Dir, name: str) -> None:
        """Remove a name that is not a directory."""
        with _translated("remove", _label(at, name)):
            os.unlink(check_name(name), dir_fd=_fd(at))

    def remove_dir(self, at: Dir, name: str) -> None:
        """Remove an empty directory."""
        with _translated("remove the directory", _label(at, name)):
            os.rmdir(check_name(name), dir_fd=_fd(at))

    def symlink(self, at: Dir, name: str, target: str) -> None:
        """Make a symbolic link."""
        with _translated("make the link", _label(at, name)):
            os.symlink(target, check_name(name), dir_fd=_fd(at))

    def read_link(self, at: Dir, name: str) -> str:
        """Return the target of a symbolic link."""
        label = _label(at, name)
        try:
            return os.readlink(check_name(name), dir_fd=_fd(at))
        except OSError as error:
            if error.errno == errno.EINVAL:  # readlink(2): the file is no symbolic link
                raise WrongKindError(
                    f"{label!r} is not a link", action="read the link", path=label
                ) from error
            raise translate(error, "read the link", label) from error

    def clone(self, at: Dir, name: str, to_at: Dir, to_name: str) -> bool:
        """Copy a regular file to a new name; returns whether the blocks are shared."""
        with self._open_file(at, name, os.O_RDONLY) as source:
            mode = stat.S_IMODE(os.fstat(source.fd).st_mode) & 0o777
            with self.create(to_at, to_name, mode) as copy, _translated("copy", source.name):
                return _share(source.fd, _fd(copy)) or _copy(source.fd, copy)

    def set_mode(self, at: Dir, name: str, mode: int) -> None:
        """Set the permission bits of a file or directory."""
        label = _label(at, name)
        with _translated("set the mode of", label):
            fd = os.open(check_name(name), os.O_RDONLY | _OPEN_FILE, dir_fd=_fd(at))
            try:
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

    def space(self, at: Dir) -> Space:
        """Say how much room is left where ``at`` lies."""
        with _translated("measure the space of", _label(at, "")):
            status = os.fstatvfs(_fd(at))
        # Some file systems (btrfs) count no inodes and report 0 in all: then they never run out.
        inodes = status.f_favail if status.f_files else sys.maxsize
        return Space(bytes_free=status.f_bavail * status.f_frsize, inodes_free=inodes)

    @contextlib.contextmanager
    def lock(self, at: Dir, name: str) -> Iterator[None]:
        """Hold the lock ``name`` while inside the ``with``."""
        label = _label(at, name)
        with _translated("open the lock", label):
            fd = os.open(check_name(name), _OPEN_FILE | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=_fd(at))
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(f"another deltaseal holds the lock {label!r}", path=label) from error
            except OSError as error:
                raise translate(error, "lock", label) from error
            yield
        finally:
            os.close(fd)


def _full_sync(fd: int) -> None:
    if sys.platform == "darwin":  # fsync(2) there does not empty the drive's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _share(source: int, copy: int) -> bool:
    """Let ``copy`` share the blocks of ``source``, where the file system can."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT_CLONE:
            return False
        raise
    return True


def _copy(source: int, copy: File) -> bool:
    while piece := os.read(source, CHUNK):
        copy.write(piece)
    return False
