"""What was measured: one tool on one pair. Exporters and tables are made from these alone."""

from __future__ import annotations

from dataclasses import dataclass

from deltaseal.lab.bench.process import Usage

__all__ = ["Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """One tool on one pair: bytes are exact, times are medians of ``repeats`` less the tool's start.

    ``failure`` is empty where the delta was made and gave the new side back; otherwise it says what
    went wrong and the figures mean nothing.
    """

    pair: str
    group: str
    old_bytes: int
    new_bytes: int
    tool: str
    settings: str
    delta_bytes: int
    create: Usage
    apply: Usage
    repeats: int
    failure: str
    creates: tuple[Usage, ...] = ()  # each repeat, in turn with the other tools': what spreads are taken from
    applies: tuple[Usage, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the delta gave the new side back."""
        return not self.failure
