"""Which deltas are worth keeping, and what that saves: docs/spec/matrix.md, sections 6 and 7.

Whole numbers only: the choice decides bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deltaseal.lab.matrix.releases import BASELINE, WHOLE, Population

__all__ = ["NOTHING_SERVED", "Choice", "Served", "choose", "served"]

Sizes = Mapping[str, int]  # start: bytes of the delta from there


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether one cell is kept and why; ``saves``: bytes for all devices together, 0 where none are known."""

    kept: bool
    why: str
    saves: int = 0


@dataclass(frozen=True, slots=True)
class Served:
    """Bytes served to all devices: as chosen, with deltas from baselines alone, with whole files alone.

    ``stored`` are the bytes of what is kept, once.
    """

    chosen: int
    baselines: int
    whole: int
    stored: int

    def __add__(self, other: Served) -> Served:
        return Served(
            self.chosen + other.chosen,
            self.baselines + other.baselines,
            self.whole + other.whole,
            self.stored + other.stored,
        )


NOTHING_SERVED = Served(0, 0, 0, 0)


def choose(
    sizes: Sizes, least_saving_percent: int, population: Population | None, base: str
) -> dict[str, Choice]:
    """Judge the cells of one component of one base; the same starts come back."""
    choices: dict[str, Choice] = {}
    whole = sizes.get(WHOLE)
    best = whole
    for start in sorted(sizes, key=lambda start: (start != BASELINE, start)):
        size = sizes[start]
        if start == WHOLE:
            choices[start] = Choice(True, "always")
        elif whole is not None and 100 * size > (100 - least_saving_percent) * whole:
            choices[start] = Choice(False, "no-saving")
        elif start == BASELINE:
            choices[start] = Choice(True, "always")
            best = size
        else:
            choices[start] = _letter(size, best, start, population, base)
    return _with_savings(choices, sizes, population, base)


def _letter(size: int, best: int | None, start: str, population: Population | None, base: str) -> Choice:
    assert best is not None, "whole files are always there"
    if population is None:
        return Choice(True, "smaller") if size < best else Choice(False, "not-smaller")
    pays = population.count(base, start) * (best - size) > population.mirrors * size
    return Choice(True, "pays") if pays else Choice(False, "does-not-pay")


def _with_savings(
    choices: dict[str, Choice], sizes: Sizes, population: Population | None, base: str
) -> dict[str, Choice]:
    if population is None:
        return choices
    kept = {start for start, choice in choices.items() if choice.kept}
    all_served = served(sizes, kept, population, base).chosen
    return {
        start: Choice(
            choice.kept,
            choice.why,
            served(sizes, kept - {start}, population, base).chosen - all_served
            if choice.kept and start != WHOLE
            else 0,
        )
        for start, choice in choices.items()
    }


def served(
    sizes: Sizes, kept: set[str], population: Population, base: str, *, done: frozenset[str] = frozenset()
) -> Served:
    """Bytes served in one component of one base. A letter without a size is served as the baseline.

    ``done`` are letters that have the result already: nothing is served to them.
    """
    chosen = baselines = whole = 0
    for start, devices in population.devices.get(base, {}).items():
        if start in done:
            continue
        chosen += devices * _smallest(sizes, kept & {start, BASELINE, WHOLE})
        baselines += devices * _smallest(sizes, kept & {BASELINE, WHOLE})
        whole += devices * _smallest(sizes, {WHOLE})
    return Served(chosen, baselines, whole, sum(sizes[start] for start in kept))


def _smallest(sizes: Sizes, starts: set[str]) -> int:
    return min((sizes[start] for start in starts if start in sizes), default=0)
