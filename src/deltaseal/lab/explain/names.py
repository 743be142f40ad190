"""Names of C++ and Rust functions as a person writes them: namespaces, classes and the name.

For tables and pages only: accounts and JSON keep the symbols, by which other tools find them. Symbols are
foreign, and a full demangler may take time without bound (each substitution can double what it stands for).
So parameters are left out, and symbols with templates or substitutions in the name stay as they are.
"""

from __future__ import annotations

import re

__all__ = ["readable"]

# <encoding> of the Itanium C++ ABI, section 5.1: _Z N [qualifiers] <prefix>... E, or one name.
_SYMBOL = re.compile(r"\b_Z(N[rVK]*[RO]?)?(?=[1-9])")
_LENGTH = re.compile(r"[1-9][0-9]{0,3}")
_RUST = re.compile(r"h[0-9a-f]{16}")  # the last part of a path of Rust's: a hash
_OWN = {"C": "", "D": "~"}  # constructors and destructors are named for their class


def readable(text: str) -> str:
    """The text with its symbols as names; ``(…)`` stands for parameters that are not told."""
    found = _SYMBOL.search(text)
    if found is None:
        return text
    parts, end = _parts(text, found.end(), nested=found[1] is not None)
    if not parts:
        return text
    rest = re.match(r"\w*", text[end:])
    assert rest is not None
    if _RUST.fullmatch(parts[-1]):
        parts, told = parts[:-1], ""
    else:
        told = "()" if rest[0] == "v" else "(…)" if rest[0] else ""
    return text[: found.start()] + "::".join(parts) + told + text[end + rest.end() :]


def _parts(text: str, at: int, *, nested: bool) -> tuple[list[str], int]:
    """The parts of a name and where it ends; none where it holds anything but names."""
    parts: list[str] = []
    while (found := _LENGTH.match(text, at)) is not None:
        at = found.end() + int(found[0])
        name = text[found.end() : at]
        if len(name) < int(found[0]) or not name.replace("$", "_").replace(".", "_").isidentifier():
            return [], at
        parts.append("(anonymous namespace)" if name.startswith("_GLOBAL__N_") else name)
        if not nested:
            return (parts, at) if text[at : at + 1] != "I" else ([], at)
    if parts and text[at : at + 1] in _OWN and text[at + 1 : at + 2].isdigit():
        parts.append(_OWN[text[at]] + parts[-1])
        at += 2
    return (parts, at + 1) if text[at : at + 1] == "E" else ([], at)
