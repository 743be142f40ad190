"""How times and states are said in pages and exports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = ["STATE_WORDS", "UPDATES_WORDS", "moment", "rfc3339"]

STATE_WORDS: Final = {
    "BASELINE": "No improvement is applied",
    "FETCHING": "An improvement is being downloaded",
    "STAGING": "An improvement is being prepared, beside what is in use",
    "STAGED": "An improvement is ready to be switched to",
    "SWITCHING": "The device is switching to an improvement",
    "WAITING": "An improvement waits to be used",
    "TRIAL": "An improvement is on trial",
    "ACTIVE": "An improvement is applied",
    "ROLLING_BACK": "An improvement did not pass its trial and is being taken back",
    "REMOVING": "An improvement is being removed",
    "REBASING": "The device is being put on another base",
    "BROKEN": "Nothing on this device has the bytes that it must have",
}

UPDATES_WORDS: Final = {
    "automatic": "Improvements are installed by themselves when this device looks for them.",
    "notify": "Improvements are only announced; a person installs them.",
    "off": "This device takes no improvements by itself.",
    "unknown": "What the owner of this device wants cannot be read.",
}


def moment(seconds: int) -> str:
    """A time for people, UTC, of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def rfc3339(seconds: int) -> str:
    """A time for programs, UTC (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
