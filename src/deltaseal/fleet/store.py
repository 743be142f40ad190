"""A fleet: one SQLite file with its devices, their reports, and what its publisher said.

Invariants:

1. Every change is one transaction: after a cut or a full disk a batch is counted whole or not at all.
2. A reader never waits for a writer (write-ahead log); of two writers the second is told E_LOCKED.
3. No error of SQLite gets out untranslated.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from deltaseal.errors import (
    DamagedError,
    DeltasealError,
    DocumentTypeError,
    LockedError,
    SpaceError,
    StorageError,
    UsageError,
)
from deltaseal.fleet.schema import migrate
from deltaseal.trust import Trust

__all__ = ["SILENT_AFTER", "Fleet", "create_fleet", "open_fleet"]

WAIT_MILLISECONDS: Final = 2_000  # for another writer
CACHE_KIB: Final = 32 << 10
SILENT_AFTER: Final = 3 * 86_400  # seconds without a report: a well device sends one each day

_CLASS_BY_CODE: Final[dict[int, type[DeltasealError]]] = {
    sqlite3.SQLITE_FULL: SpaceError,
    sqlite3.SQLITE_BUSY: LockedError,
    sqlite3.SQLITE_LOCKED: LockedError,
    sqlite3.SQLITE_CORRUPT: DamagedError,
    sqlite3.SQLITE_NOTADB: DocumentTypeError,
}
_HINTS: Final = {
    SpaceError: "nothing of what was being written is kept; free some space and run the same command again",
    LockedError: "another deltaseal is writing to this fleet; wait until it has ended",
    DamagedError: "restore the file from a backup",
    DocumentTypeError: "name the file that `deltaseal fleet create` made",
}


class Fleet:
    """An open fleet. Close it, or use it in a ``with``."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing where anything is raised inside."""
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one after another."""
        with _translated(self.path):
            yield from self._connection.execute(query, values)

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query."""
        return next(self.rows(query, values), None)

    def trust(self) -> Trust:
        """Whose catalogues and device manifests this fleet believes."""
        row = self.one("SELECT value FROM meta WHERE name = 'trust'")
        if row is None:
            raise DamagedError("this fleet has lost its trust file", hint=_HINTS[DamagedError])
        return Trust.load(row[0])


def create_fleet(path: Path, trust: Trust) -> Fleet:
    """Make a new fleet in the file ``path``, which must not exist."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{str(path)!r} exists already", hint="choose a new file", path=str(path))
    fleet = _connected(path)
    with fleet.writing() as write:
        write.execute("INSERT INTO meta VALUES ('trust', ?)", (trust.dumps(),))
    return fleet


def open_fleet(path: Path) -> Fleet:
    """Open the fleet at ``path``, brought to this version. ``UsageError`` if there is none."""
    if not path.is_file():
        raise UsageError(
            f"{str(path)!r} is no fleet",
            hint="make one with `deltaseal fleet create`, or name it with --fleet",
            path=str(path),
        )
    return _connected(path)


def _connected(path: Path) -> Fleet:
    with _translated(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {WAIT_MILLISECONDS}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            # A transaction that returned survives a power cut: the log is synced with each.
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    return Fleet(connection, path)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest are details of it
        kind = _CLASS_BY_CODE.get(code, StorageError)
        raise kind(f"the fleet {str(path)!r}: {error}", hint=_HINTS.get(kind, ""), path=str(path)) from error
