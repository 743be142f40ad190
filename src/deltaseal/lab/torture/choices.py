"""Which of the changes that are pending at a power cut survive it: the choices that a run goes through."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deltaseal.storage.nodes import WHOLE, Pending, Survivors, Tear, Write

__all__ = ["BOTH_ENDS", "DEFAULT", "FULL", "LIGHT", "Choice", "Choices"]

SECTOR = 512  # bytes: what a disk writes at once
BLOCK = 4_096  # bytes: what a file system writes at once


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice, and how to say it."""

    kept: Survivors

    @property
    def words(self) -> str:
        """Which changes survive, by their places in the list of what is pending."""
        whole = [place for place, tear in self.kept.items() if tear is WHOLE]
        torn = [
            f"write {place} torn at byte {tear.at} ({tear.kind})" for place, tear in self.kept.items() if tear
        ]
        said = f"pending changes {', '.join(map(str, whole))}" if whole else "no pending change"
        return " and ".join([said, *torn])


@dataclass(frozen=True, slots=True)
class Choices:
    """A rule: which choices to make out of a list of pending changes."""

    every_subset_of: int  # with at most so many changes: every subset of them
    dropped_at_once: int  # with more: every subset that lacks up to so many
    prefixes: bool  # and the first so many of them, for every number
    chance: int  # and so many random subsets
    torn: str  # writes that survive in part: "", "half" (the last one) or "sectors" (every one)

    def of(self, pending: Sequence[Pending], *, seed: int) -> Iterator[Choice]:
        """Every choice; some may be equal."""
        places = range(len(pending))
        if len(pending) <= self.every_subset_of:
            for kept in itertools.chain.from_iterable(
                itertools.combinations(places, size) for size in range(len(pending) + 1)
            ):
                yield _choice(kept)
        else:
            yield from self._some(places, seed)
        yield from self._torn(pending)

    def _some(self, places: range, seed: int) -> Iterator[Choice]:
        for count in range(self.dropped_at_once + 1):
            for dropped in itertools.combinations(places, count):
                yield _choice([place for place in places if place not in dropped])
        for size in places if self.prefixes else (0,):
            yield _choice(range(size))
        if not self.chance:
            return
        chance = random.Random(seed)
        for _ in range(self.chance):
            yield _choice([place for place in places if chance.random() < 0.5])

    def _torn(self, pending: Sequence[Pending]) -> Iterator[Choice]:
        writes = [place for place, each in enumerate(pending) if isinstance(each, Write)]
        if self.torn == "half":
            writes = writes[-1:]
        for place in writes if self.torn else ():
            each = pending[place]
            assert isinstance(each, Write)
            for tear in _half(len(each.data)) if self.torn == "half" else _sectors(len(each.data)):
                for kept in (range(place), [other for other in range(len(pending)) if other != place]):
                    yield Choice({**dict.fromkeys(kept, WHOLE), place: tear})


def _choice(kept: Sequence[int]) -> Choice:
    return Choice(dict.fromkeys(kept, WHOLE))


def _half(size: int) -> Iterator[Tear]:
    if size > 1:
        yield Tear(size // 2)
        yield Tear(size // 2, "zeros")


def _sectors(size: int) -> Iterator[Tear]:
    """At each sector of the first and of the last block, in each way; a short write at its half too."""
    first, last = (
        range(SECTOR, min(size, BLOCK), SECTOR),
        range(max(0, size - 1) // BLOCK * BLOCK, size, SECTOR),
    )
    for at in sorted({*first, *last, size // 2} - {0}):
        yield Tear(at)
        yield Tear(at, "zeros")
        yield Tear(at, "tail")


DEFAULT = Choices(every_subset_of=4, dropped_at_once=1, prefixes=True, chance=16, torn="half")
FULL = Choices(every_subset_of=10, dropped_at_once=3, prefixes=True, chance=64, torn="sectors")
LIGHT = Choices(every_subset_of=1, dropped_at_once=0, prefixes=False, chance=1, torn="half")
BOTH_ENDS = Choices(every_subset_of=0, dropped_at_once=0, prefixes=False, chance=0, torn="")
"""All or nothing."""
