"""The account of one delta as values: shares that add up to its size, and functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["FORMAT", "Change", "Explanation", "FunctionCost", "Share"]

FORMAT = 1

Change = Literal["new", "changed", "moved"]


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of the delta that were spent on one thing.

    ``file`` is a path in a tree, empty for one image; ``item`` a function or a text, empty where it is
    neither; ``stream`` the delta's stream, or the model's decision.
    """

    file: str
    section: str
    item: str
    stream: str
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """One function of the new side, and what it cost.

    ``change``: ``moved`` where nothing but references in it differs, ``new`` where it has no older self,
    else ``changed``. ``literal_bytes`` of it are in no copied block. ``old_size`` is None for a new one.
    """

    file: str
    name: str
    address: int
    section: str
    old_size: int | None
    new_size: int
    change: Change
    literal_bytes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole account. ``complete`` is false without the old side: only streams, files are known."""

    kind: Literal["image delta", "tree delta"]
    size: int
    new_size: int
    coding: str
    shares: tuple[Share, ...]
    functions: tuple[FunctionCost, ...] = ()
    complete: bool = True
    notes: tuple[str, ...] = field(default=())

    def by(self, key: Callable[[Share], str]) -> dict[str, int]:
        """Bytes by some property of the shares, largest first."""
        sums: dict[str, int] = defaultdict(int)
        for share in self.shares:
            sums[key(share)] += share.bytes
        return dict(sorted(sums.items(), key=lambda entry: (-entry[1], entry[0])))

    def largest(self, count: int) -> Sequence[FunctionCost]:
        """The functions that cost most."""
        return self.functions[:count]

    def to_json(self) -> dict[str, Any]:
        """The account as plain JSON values; each table of bytes adds up to ``size``."""
        return {
            "kind": self.kind,
            "size": self.size,
            "new_size": self.new_size,
            "coding": self.coding,
            "complete": self.complete,
            "kinds": self.by(lambda share: share.kind),
            "sections": self.by(lambda share: share.section),
            "streams": self.by(lambda share: share.stream),
            "files": self.by(lambda share: share.file) if self.kind == "tree delta" else {},
            "functions": [asdict(function) for function in self.functions],
            "shares": [asdict(share) for share in self.shares],
            "notes": list(self.notes),
        }
