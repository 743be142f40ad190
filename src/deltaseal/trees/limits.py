"""What applying a tree delta may use; the values come from a signed manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deltaseal.trees.rules import MAX_ENTRIES

__all__ = ["Limits", "Progress"]

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all; 0 where those are not known."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings for one tree; the defaults are the hard caps where no signed document says less."""

    output_bytes: int = 1 << 40  # of all files of the new tree
    memory_bytes: int = 1 << 30  # of one image delta's work, its payload, or the old bytes held for it
    seconds: int = 600  # of processor time, for one image delta
    entries: int = MAX_ENTRIES
