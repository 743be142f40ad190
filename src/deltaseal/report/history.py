"""What happened to a device: one entry for each record of its journal, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``time`` is in seconds since 1970, by the device's clock."""

    n: int
    time: int
    event: str
    state: str
    id: str
    sentence: str
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {
            "n": self.n,
            "time": self.time,
            "event": self.event,
            "state": self.state,
            "id": self.id,
            "sentence": self.sentence,
            "facts": dict(self.facts),
        }
