"""What a file is, told by how it begins; its name is for people.

The table repeats the magic numbers of the rooms, so that looking at a file
does not load them; a test holds it against theirs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Literal

from deltaseal.errors import DocumentTypeError, LimitError, UsageError
from deltaseal.storage import FileSource, PathLike
from deltaseal.storage.disk import translate

__all__ = [
    "FOREIGN",
    "MAGICS",
    "SMALL",
    "Kind",
    "PathLike",
    "Progress",
    "begin_of",
    "is_directory",
    "kind_of",
    "read_whole",
]

Kind = Literal["image delta", "tree delta", "bundle", "signed document", "private key", "JSON", "tree"]

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

MAGICS: dict[bytes, Kind] = {
    b"\xd5ds\n": "image delta",
    b"DSTREE\0": "tree delta",
    b"DSBUND\0": "bundle",
    b"DSDOC\0": "signed document",
    b"-----BEGIN": "private key",
    b"{": "JSON",
}

# What people hold by mistake, and what to do with it.
FOREIGN: dict[bytes, tuple[str, str]] = {
    b"\x7fELF": ("an ELF image", "give it and its other version to `deltaseal diff`"),
    b"\xcf\xfa\xed\xfe": ("a Mach-O image", "give it and its other version to `deltaseal diff`"),
    b"\xca\xfe\xba\xbe": ("a universal Mach-O image", "give it and its other version to `deltaseal diff`"),
    b"BSDIFF40": ("a patch of bsdiff", "make a delta of the two versions with `deltaseal diff`"),
    b"PK\x03\x04": ("a ZIP archive", "unpack it; directories can be compared with `deltaseal diff`"),
    b"\x28\xb5\x2f\xfd": ("a zstd frame", ""),
    b"\x1f\x8b": ("a gzip file", ""),
}

SMALL = 4 << 20  # bytes of a file that is read whole: documents, keys, trust files
_HEAD_BYTES = 16


def is_directory(path: PathLike) -> bool:
    """Whether a path is a directory; anything but that or a regular file is refused (``UsageError``)."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{str(path)!r} does not exist", hint="check how it is written", path=str(path)
        ) from error
    except OSError as error:
        raise translate(error, "look at", str(path)) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UsageError(f"{str(path)!r} is neither a file nor a directory", path=str(path))
    return stat.S_ISDIR(mode)


def begin_of(path: PathLike) -> bytes:
    """The first bytes of a file. Raises ``UsageError`` for a directory or nothing."""
    _check_file(path)
    with FileSource(path) as source:
        return source.read_at(0, min(source.size(), _HEAD_BYTES))


def _check_file(path: PathLike) -> None:
    if is_directory(path):
        raise UsageError(f"{str(path)!r} is a directory", hint="name a file", path=str(path))


def kind_of(path: PathLike) -> Kind:
    """What a path is. Raises ``DocumentTypeError`` for a file that is none of deltaseal's."""
    if is_directory(path):
        return "tree"
    begin = begin_of(path)
    known = next((kind for magic, kind in MAGICS.items() if begin.startswith(magic)), None)
    if known:
        return known
    if not begin:
        raise DocumentTypeError(f"{str(path)!r} is empty", hint="get the file again", path=str(path))
    what, hint = next(
        (found for magic, found in FOREIGN.items() if begin.startswith(magic)), ("of no known kind", "")
    )
    raise DocumentTypeError(
        f"{str(path)!r} is {what}, not a file of deltaseal",
        hint=hint or "check that it is the right file",
        path=str(path),
        begins=begin[:8].hex(),
    )


def read_whole(path: PathLike, *, limit: int = SMALL) -> bytes:
    """A small file, whole. Raises ``LimitError`` over ``limit`` bytes, ``UsageError`` for no file."""
    _check_file(path)
    with FileSource(path) as source:
        if source.size() > limit:
            raise LimitError(
                f"{str(path)!r} has {source.size():,} bytes, at most {limit:,} are read",
                size=source.size(),
                limit=limit,
            )
        return source.read_at(0, source.size())
