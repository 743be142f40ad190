"""Versions, letters and builds: three fields, never one string (rules R1 and R2).

The display form is for people and is never parsed.  The numeric form is for
tools that compare dotted numbers.  Builds compare by equality only.
"""

from __future__ import annotations

from typing import Final

_OS_NAMES: Final = {
    "ios": "iOS",
    "ipados": "iPadOS",
    "linux": "Linux",
    "macos": "macOS",
    "visionos": "visionOS",
    "watchos": "watchOS",
    "windows": "Windows",
}
_NUMERIC_PARTS: Final = 3


def os_name(os: str) -> str:
    """The name people know: ``macos`` is macOS; an unknown one is shown as it is."""
    return _OS_NAMES.get(os, os)


def display(version: str, letter: str | None = None) -> str:
    """The form for people: ``26.3.1 (a)``, or ``26.3.1`` where nothing is applied."""
    return f"{version} ({letter})" if letter else version


def full_name(os: str, version: str, letter: str | None = None) -> str:
    """System and version for people: ``macOS 26.3.1 (a)``."""
    return f"{os_name(os)} {display(version, letter)}"


def numeric(version: str, letter: str | None = None) -> str:
    """The form for tools: always four numbers, the letter as the last (a = 1, none = 0).

    ``26.3.1`` with letter ``a`` is ``26.3.1.1``; ``26.4`` is ``26.4.0.0``, so that
    dotted numbers of any two releases of one system compare rightly.
    """
    parts = [int(part) for part in version.split(".")]
    parts += [0] * (_NUMERIC_PARTS - len(parts))
    return ".".join(str(part) for part in (*parts, letter_rank(letter)))


def letter_rank(letter: str | None) -> int:
    """The place of a letter within its base: none is 0, ``a`` is 1, ``z`` is 26."""
    return 0 if letter is None else ord(letter) - ord("a") + 1
