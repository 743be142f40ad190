"""Opening files inside a tree by their path, one name at a time and never through a link."""

from __future__ import annotations

import os

from deltaseal.storage import Dir, Disk
from deltaseal.trees.paths import name_of

__all__ = ["Places"]


class Places:
    """The directories of a tree by their path; those above the last one asked for are kept open."""

    def __init__(self, disk: Disk, top: Dir) -> None:
        self._disk = disk
        self._top = top
        self._open: list[tuple[bytes, Dir]] = []  # from the top down, each with its name

    def directory(self, path: bytes) -> Dir:
        """Return the open directory at ``path`` (empty: the top); it is good until the next call."""
        names = path.split(b"/") if path else []
        kept = 0
        while kept < min(len(names), len(self._open)) and self._open[kept][0] == names[kept]:
            kept += 1
        self._close_from(kept)
        for name in names[kept:]:
            above = self._open[-1][1] if self._open else self._top
            self._open.append((name, self._disk.open_dir(above, os.fsdecode(name))))
        return self._open[-1][1] if self._open else self._top

    def place(self, path: bytes) -> tuple[Dir, str]:
        """Return the open directory that holds ``path``, and its name there as the disk wants it."""
        return self.directory(path.rpartition(b"/")[0]), os.fsdecode(name_of(path))

    def close(self) -> None:
        """Give all directories back that were opened here."""
        self._close_from(0)

    def _close_from(self, level: int) -> None:
        while len(self._open) > level:
            self._open.pop()[1].close()
