"""What a look at the whole device finds: each thing that is not as its record says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deltaseal.errors import EXIT_CODES

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: reason code, what it is, what was expected and found."""

    reason: str
    what: str  # such as "live app", "journal"
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code of the reason."""
        return next(row.code for row in EXIT_CODES if self.reason in row.reasons)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "reason": self.reason,
            "what": self.what,
            "sentence": self.sentence,
            "facts": dict(self.facts),
        }
