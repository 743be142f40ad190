"""Where a publisher keeps a repository: a directory, or an object store.

A folder holds files by names with slashes.  Each appears whole or not at all, and :meth:`Folder.put` returns
only when all of them are durable, so that what is put afterwards may rely on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from deltaseal.errors import LockedError, StorageError, UsageError
from deltaseal.storage import (
    ByteSource,
    BytesSource,
    Dir,
    Disk,
    File,
    MissingError,
    RealDisk,
    chunks,
    read_file,
)
from deltaseal.storage.recipes import temporary_name

__all__ = [
    "LOCK",
    "DiskFolder",
    "Folder",
    "FsspecFolder",
    "Pieces",
    "copy_all",
    "digest_of",
    "open_folder",
    "pieces_of",
]

LOCK: Final = ".publisher.lock"

Pieces = Callable[[], Iterable[bytes]]  # a file's bytes, asked for once when it is written

_WHOLE = 1 << 40  # bytes; what is read whole here was bounded when it was put


def pieces_of(data: bytes) -> Pieces:
    """Bytes at hand, to be put."""
    return lambda: [data]


class Folder(Protocol):
    """Files by name."""

    @property
    def name(self) -> str:
        """What to call it in sentences."""

    def read(self, name: str) -> bytes:
        """A whole file. Raises ``MissingError``."""

    def open(self, name: str) -> ByteSource:
        """A file to be read by ranges. Raises ``MissingError``."""

    def put(self, files: Mapping[str, Pieces]) -> None:
        """Write files, each whole, in place of former ones; durable when it returns."""

    def names(self, under: str) -> list[str]:
        """Every file under a folder of it, sorted; nothing where there is no such folder."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is fine."""

    def locked(self) -> AbstractContextManager[None]:
        """Alone with it among publishers, also inside another ``with`` of the same object.

        Raises ``LockedError`` at once where another publisher is at work.
        """


class DiskFolder:
    """A directory of a disk, made if it is not there."""

    def __init__(self, path: Path | str, *, disk: Disk | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._disk: Disk = RealDisk() if disk is None else disk
        self._is_locked = False

    def read(self, name: str) -> bytes:
        """A whole file."""
        with self._inside(name) as (at, last):
            return read_file(self._disk, at, last, limit=_WHOLE)

    def open(self, name: str) -> ByteSource:
        """A file, held open until nobody has it any more."""
        with self._inside(name) as (at, last):
            return self._disk.open_read(at, last)

    def put(self, files: Mapping[str, Pieces]) -> None:
        """Write, sync, then rename; each directory is synced once, after all names in it."""
        by_folder: dict[str, list[tuple[str, Pieces]]] = {}
        for name, pieces in files.items():
            folder, _, last = name.rpartition("/")
            by_folder.setdefault(folder, []).append((last, pieces))
        for folder, group in by_folder.items():
            with ExitStack() as opened:
                at = self._opened(opened, folder, make=True)
                for last, pieces in group:
                    self._write(at, last, pieces)
                self._disk.sync_dir(at)

    def _write(self, at: Dir, name: str, pieces: Pieces) -> None:
        part = temporary_name(name)
        self._unlink(at, part)
        with self._disk.create(at, part) as file:
            for piece in pieces():
                file.write(piece)
            self._disk.sync(file)
        self._disk.rename(at, part, at, name)

    def names(self, under: str) -> list[str]:
        """Every file under a folder."""
        found: list[str] = []
        todo = [under]
        while todo:
            folder = todo.pop()
            with ExitStack() as opened:
                try:
                    at = self._opened(opened, folder)
                except MissingError:
                    continue
                for name in self._disk.names(at):
                    path = f"{folder}/{name}"
                    if self._disk.stat(at, name).kind == "dir":
                        todo.append(path)
                    elif not name.startswith(temporary_name("")):
                        found.append(path)
        return sorted(found)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, durably."""
        for name in names:
            try:
                with self._inside(name) as (at, last):
                    self._unlink(at, last)
                    self._disk.sync_dir(at)
            except MissingError:
                continue

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A lock that the system frees when its holder dies."""
        if self._is_locked:
            yield
            return
        with self._root(make=True) as at, ExitStack() as held:
            try:
                held.enter_context(self._disk.lock(at, LOCK))
            except LockedError as error:
                raise _another(self.name, "wait until it has ended, then run the same again") from error
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def _unlink(self, at: Dir, name: str) -> None:
        try:
            self._disk.unlink(at, name)
        except MissingError:
            return

    def _inside(self, name: str) -> _Inside:
        return _Inside(self, name)

    def _opened(self, opened: ExitStack, folder: str, *, make: bool = False) -> Dir:
        at = opened.enter_context(self._root(make=make))
        for step in folder.split("/") if folder else ():
            try:
                at = opened.enter_context(self._disk.open_dir(at, step))
            except MissingError:
                if not make:
                    raise
                made = opened.enter_context(self._disk.make_dir(at, step))
                self._disk.sync_dir(at)
                at = made
        return at

    def _root(self, *, make: bool) -> Dir:
        try:
            return self._disk.open_root(self._path)
        except MissingError:
            if not make:
                raise
        path = Path(self._path)
        with self._disk.open_root(path.parent) as parent:
            self._disk.make_dir(parent, path.name).close()
            self._disk.sync_dir(parent)
        return self._disk.open_root(self._path)


def _another(name: str, hint: str) -> LockedError:
    return LockedError(f"another publisher is at work in {name!r}; nothing was changed", hint=hint, path=name)


class _Inside:
    """A file's open directory, and its last name."""

    def __init__(self, folder: DiskFolder, name: str) -> None:
        self._opened = ExitStack()
        self._folder, self._name = folder, name

    def __enter__(self) -> tuple[Dir, str]:
        way, _, last = self._name.rpartition("/")
        try:
            return self._folder._opened(self._opened, way), last
        except BaseException:
            self._opened.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._opened.close()


class FsspecFolder:
    """A folder of an object store, by a URL that fsspec knows, such as ``s3://bucket/repository``.

    An object appears whole when it is written (that is what object stores do); there is no rename.  Its lock
    is an object that is written only where there is none, which a publisher that was killed leaves behind.
    """

    def __init__(self, url: str, **options: Any) -> None:
        try:
            import fsspec  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise UsageError(
                f"{url!r} is an object store, which needs another package",
                hint="pip install 'deltaseal[store]'",
            ) from error
        self.name = url
        self._is_locked = False
        try:
            self._files, self._top = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url!r}: {error}", hint="pip install 'deltaseal[store]'", url=url) from error

    def read(self, name: str) -> bytes:
        """A whole object."""
        return bytes(self._tried("read", name, self._files.cat_file))

    def open(self, name: str) -> ByteSource:
        """An object to be read by ranges."""
        return _StoredFile(self, name, int(self._tried("look at", name, self._files.size)))

    def range(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of an object."""
        return bytes(self._tried("read", name, partial(self._files.cat_file, start=start, end=end)))

    def put(self, files: Mapping[str, Pieces]) -> None:
        """Write objects, one after another."""
        for name, pieces in files.items():
            self._tried("write", name, self._files.pipe_file, b"".join(pieces()))

    def names(self, under: str) -> list[str]:
        """Every object under a folder."""
        self._files.invalidate_cache()
        found = self._tried("list", under, self._files.find)
        return sorted(path[len(self._top.rstrip("/")) + 1 :] for path in found)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects."""
        for name in names:
            try:
                self._tried("remove", name, self._files.rm_file)
            except MissingError:
                continue

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A lock that stays where its holder dies: whoever knows that it did removes the object."""
        if self._is_locked:
            yield
            return
        try:
            self._tried("write", LOCK, partial(self._files.pipe_file, mode="create"), b"")
        except LockedError as error:
            hint = f"wait until it has ended; if it was killed, remove the object {LOCK} from the store"
            raise _another(self.name, hint) from error
        self._is_locked = True
        try:
            yield
        finally:
            self._is_locked = False
            self.remove([LOCK])

    def _tried(self, what: str, name: str, act: Callable[..., Any], *rest: Any) -> Any:
        try:
            return act(f"{self._top.rstrip('/')}/{name}", *rest)
        except FileNotFoundError as error:
            raise MissingError(f"{self.name} has no {name}", path=name) from error
        except FileExistsError as error:
            raise LockedError(f"{self.name} has a {name} already", path=name) from error
        except Exception as error:  # each store has exceptions of its own
            raise StorageError(f"cannot {what} {name} in {self.name}: {error}", path=name) from error


class _StoredFile:
    """An object as a byte source."""

    def __init__(self, folder: FsspecFolder, name: str, size: int) -> None:
        self._folder, self._name, self._size = folder, name, size

    def size(self) -> int:
        """Its size when it was opened."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly the bytes at ``offset``."""
        piece = self._folder.range(self._name, offset, offset + size) if size else b""
        return BytesSource(piece).read_at(0, size)


def open_folder(place: str) -> Folder:
    """The folder at a path, or at a URL of an object store. Raises ``UsageError`` for one that cannot be."""
    scheme, separator, _ = place.partition("://")
    if not separator:
        return DiskFolder(Path(place))
    if scheme.lower() in ("http", "https"):
        raise UsageError(
            f"{place!r} can be read, but not published to",
            hint="name a folder, or an object store such as s3://bucket/folder",
            url=place,
        )
    return FsspecFolder(place)


def copy_all(origin: Folder, to: Folder, names: Iterable[str]) -> int:
    """Copy files from folder to folder; returns how many bytes."""
    copied = 0

    def counted(name: str) -> Iterator[bytes]:
        nonlocal copied
        for piece in _pieces(origin, name):
            copied += len(piece)
            yield piece

    to.put({name: partial(counted, name) for name in names})
    return copied


def digest_of(folder: Folder, name: str) -> bytes:
    """SHA-256 of a file of whatever size."""
    hasher = hashlib.sha256()
    for piece in _pieces(folder, name):
        hasher.update(piece)
    return hasher.digest()


def _pieces(folder: Folder, name: str) -> Iterator[bytes]:
    source = folder.open(name)
    try:
        yield from chunks(source)
    finally:
        if isinstance(source, File):
            source.close()
