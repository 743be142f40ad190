"""What a run found, as values: one part for each thing that was tried, and the whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deltaseal.lab.torture.seen import Crossing

__all__ = ["FORMAT", "Ended", "Finding", "Part", "Report"]

FORMAT = 1
_FINDINGS_KEPT = 20  # of one part, in full; the others are counted
_ALIKE_KEPT = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """How a verb ended: empty where it returned, else a reason code; ``BUG`` for any other exception."""

    reason: str = ""
    sentence: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.sentence}" if self.reason else "done"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be, and how to see it again."""

    what: str  # a name for the kind of finding
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {"what": self.what, "sentence": self.sentence, "facts": self.facts}


@dataclass(slots=True)
class Part:
    """One thing that was tried: what it took, how it ended, what was found."""

    kind: str  # power, faults, kill, bent, swap, hostile
    name: str
    words: str
    operations: int = 0
    cuts: int = 0  # points at which the power was cut, faults that were set, inputs that were tried
    states: int = 0  # that these cuts may leave
    distinct: int = 0  # of these, not equal to another one
    ended: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0  # not kept
    crossed: set[Crossing] = field(default_factory=set)
    seconds: float = 0.0

    def find(self, what: str, sentence: str, **facts: Any) -> None:
        """Note a finding; of those that say the same, the first few are kept."""
        alike = sum((each.what, each.sentence) == (what, sentence) for each in self.findings)
        if len(self.findings) < _FINDINGS_KEPT and alike < _ALIKE_KEPT:
            self.findings.append(Finding(what, sentence, facts))
        else:
            self.more_findings += 1

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds spent inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def to_json(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "words": self.words,
            "operations": self.operations,
            "cuts": self.cuts,
            "states": self.states,
            "distinct": self.distinct,
            "ended": dict(sorted(self.ended.items())),
            "findings": [each.to_json() for each in self.findings],
            "more_findings": self.more_findings,
            "seconds": round(self.seconds, 3),
            "good": self.good,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    subject: str
    mode: str  # default or full
    parts: Sequence[Part]
    shortcomings: Sequence[Finding]  # of the run as a whole: too few cut points, rows not crossed
    rows: int  # of the state table
    crossed: int  # of these

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.shortcomings and all(part.good for part in self.parts)

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """Every finding, with the part that it is of."""
        own = [("the run", each) for each in self.shortcomings]
        return [*((f"{part.kind}: {part.name}", each) for part in self.parts for each in part.findings), *own]

    @property
    def found(self) -> int:
        """How many findings there are, those that were only counted too."""
        return len(self.findings) + sum(part.more_findings for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "format": FORMAT,
            "subject": self.subject,
            "mode": self.mode,
            "good": self.good,
            "parts": [part.to_json() for part in self.parts],
            "shortcomings": [each.to_json() for each in self.shortcomings],
            "state_table": {"rows": self.rows, "crossed": self.crossed},
            "total": {
                name: sum(getattr(part, name) for part in self.parts)
                for name in ("operations", "cuts", "states", "distinct")
            },
        }
