"""What proves a side of a pair: SHA-256 and bytes of a file, or of a directory."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

__all__ = ["digest_of"]


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file or a directory.

    Of a directory: the digest of a line for each file or link below it, sorted by name, ``<mode in octal>
    <SHA-256 of its content, or of its target> <relative name>``; bytes are those of its files together.
    """
    if not path.is_dir():
        return _of_file(path), path.stat().st_size
    lines, total = [], 0
    for entry in sorted(path.rglob("*"), key=lambda p: os.fsencode(p.relative_to(path))):
        status = entry.lstat()
        if stat.S_ISLNK(status.st_mode):
            digest = hashlib.sha256(os.fsencode(os.readlink(entry))).hexdigest()
        elif stat.S_ISREG(status.st_mode):
            digest, total = _of_file(entry), total + status.st_size
        else:
            continue
        lines.append(f"{status.st_mode:06o} {digest} {entry.relative_to(path).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest(), total


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
