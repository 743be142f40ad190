"""Paths inside a tree: their rules and how they are shown (docs/spec/tree.md, section 2).

Paths are bytes, since file systems keep bytes. They are decoded only to be
shown, or where a base says that names are insensitive.
"""

from __future__ import annotations

import functools
import re
import unicodedata

__all__ = [
    "MAX_DEPTH",
    "MAX_NAME",
    "MAX_PATH",
    "fold",
    "name_of",
    "parent_of",
    "path_fault",
    "show",
    "target_fault",
]

MAX_NAME = 255  # bytes; NAME_MAX of Linux and macOS
MAX_PATH = 4095  # bytes; PATH_MAX of Linux less its final NUL
MAX_DEPTH = 128  # names in a path; the directories above an entry are open while it is worked on

# C0, DEL, and U+0080 to U+009F in UTF-8; bytes, so that names in other encodings are judged by the same rule.
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")


@functools.lru_cache(maxsize=4096)  # one scan after another meets the same paths
def path_fault(path: bytes) -> str:
    """Say what is wrong with a path inside a tree; empty if nothing is."""
    if len(path) > MAX_PATH:
        return f"a path of {len(path)} bytes, over {MAX_PATH}"
    names = path.split(b"/")
    if len(names) > MAX_DEPTH:
        return f"{len(names)} names deep, over {MAX_DEPTH}"
    if path.startswith(b"/"):
        return "an absolute path"
    if _CONTROL.search(path):
        return "a control character in the name"
    return next(filter(None, map(_name_fault, names)), "")


def _name_fault(name: bytes) -> str:
    if not name:
        return "an empty name"
    if name in (b".", b".."):
        return f"the name {name.decode()!r}"
    return f"a name of {len(name)} bytes, over {MAX_NAME}" if len(name) > MAX_NAME else ""


def target_fault(target: bytes) -> str:
    """Say what is wrong with a link's target as text; empty if nothing is."""
    if not target:
        return "a link without a target"
    if len(target) > MAX_PATH:
        return f"a link target of {len(target)} bytes, over {MAX_PATH}"
    return "a control character in the link's target" if _CONTROL.search(target) else ""


def parent_of(path: bytes) -> bytes:
    """Return the path of the directory that holds ``path``; empty for the root."""
    return path.rpartition(b"/")[0]


def name_of(path: bytes) -> bytes:
    """Return the last name of ``path``."""
    return path.rpartition(b"/")[2]


def fold(path: bytes) -> str | None:
    """Return what two paths share that a case-insensitive file system takes for one.

    Canonical caseless matching, Unicode section 3.13 (D145). ``None`` if the path is not UTF-8.
    """
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def show(path: bytes) -> str:
    """Return ``path`` for people and JSON: what cannot be printed as a backslash escape."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
