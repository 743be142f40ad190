"""How numbers and times are said."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["count", "moment", "share"]


def count(number: int, one: str, many: str = "") -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(part: int, whole: int) -> str:
    """``part`` in percent of ``whole``."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def moment(seconds: int) -> str:
    """A time for people, UTC, of seconds since 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # a document may say any number
        return "no date of this calendar"
