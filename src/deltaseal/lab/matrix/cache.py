"""Results of jobs by their key, in a folder that several runs, and machines, may share.

Layout: docs/spec/matrix.md, section 3. What is damaged counts as absent.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from deltaseal.storage import MissingError, RealDisk, read_file, write_output

__all__ = ["Cache"]

_MAGIC = b"DSJOB\0\0\1"
_HEAD = len(_MAGIC) + 32
_MOST = 1 << 40  # bytes of a result: more than a job could hold
_KEY = re.compile(r"[0-9a-f]{64}")


class Cache:
    """A folder of results. It is made when the first one is put in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> bytes | None:
        """The result of a job; ``None`` if it is not there whole."""
        path = self._path(key)
        disk = RealDisk()
        try:
            with disk.open_root(path.parent) as directory:
                stored = read_file(disk, directory, path.name, limit=_MOST)
        except MissingError:
            return None
        result = stored[_HEAD:]
        if stored[:_HEAD] != _MAGIC + hashlib.sha256(result).digest():
            return None
        return result

    def has(self, key: str) -> bool:
        """Whether the result is there, whole: it is read and held against its digest."""
        return self.get(key) is not None

    def put(self, key: str, result: bytes) -> None:
        """Keep a result: whole, or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_output(path, [_MAGIC, hashlib.sha256(result).digest(), result], force=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"no key: {key!r}")
        return self.folder / key[:2] / key
