"""How numbers and times are said."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["count", "moment", "share"]


def count(number: int, one: str, many: str = "") -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: int, whole: int) -> str:
    """``part`` in percent of ``whole``: ``12.3 %``, and two digits of what is less than one."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def moment(seconds: int) -> str:
    """A time for people, UTC, of seconds since 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # a document may say any number
        return "no date of this calendar"
