"""What each technique gives: the delta made without it, beside the whole one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deltaseal.images.parts import Parts, Without, take_apart

__all__ = ["LEFT_OUT", "REFERENCE_KINDS", "Left", "Technique", "measure"]

# Numbers of docs/spec/delta-format.md, "Reference kinds".
REFERENCE_KINDS: dict[str, Sequence[int]] = {
    "x86-64 branches, rip-relative": (1, 2),
    "AArch64 branches": (24, 25, 26),
    "AArch64 pages and offsets": (27, 28, 29),
    "pointers, addends, RELR": (6, 7, 15),
    "chained fixups": (30, 31, 32, 33, 34, 42, 43),
    "distances from their place": (3, 4, 5),
    "distances from a base": (10, 11),
    "file offsets": (8, 9),
    "sizes": (12, 13),
    "indices and counts": (14, 37, 38, 39, 40, 41),
    "LEB128 distances and sizes": tuple(range(16, 24)),
    "unwind steps": tuple(range(44, 52)),
    "compact unwind": (35, 36),
}


@dataclass(frozen=True, slots=True)
class Technique:
    """One thing that is left out, alone. ``efforts``: where it is used at all."""

    name: str
    without: Without | None = None
    rounds: int | None = None
    efforts: tuple[str, ...] = ("default", "best")


def _kinds(numbers: Sequence[int]) -> int:
    return sum(1 << number for number in numbers)


LEFT_OUT: tuple[Technique, ...] = (
    Technique("references, all", Without(kinds=(1 << 64) - 1)),
    Technique("labels (matching as bytes)", Without(("labels",))),
    Technique("rounds: 1", rounds=1),
    Technique("rounds: 2", rounds=2),
    Technique("rounds: 3", rounds=3),
    Technique("block choice by price", Without(("prices",))),
    Technique("local prediction of branches", Without(("neighbours",))),
    Technique("learning from corrections", Without(("lessons",))),
    Technique("derivations", Without(("derivations",))),
    Technique("unwind tables by record", Without(("unwind tables",))),
    Technique("embedded deflate", Without(("deflate",))),
    Technique("renames", Without(("renames",))),
    Technique("paddings made anew", Without(("paddings",))),
    Technique("fresh bytes in blocks", Without(("fresh",))),
    Technique("numbers that see where they lead", Without(("landmarks",)), efforts=("best",)),
    Technique("old bytes beside literals", Without(("old bytes",))),
    Technique("teaching on old code", Without(("teaching",)), efforts=("best",)),
    *(Technique(f"kind: {name}", Without(kinds=_kinds(kinds))) for name, kinds in REFERENCE_KINDS.items()),
)


@dataclass(frozen=True, slots=True)
class Left:
    """One delta of a pair. ``whole`` is what is made with nothing left out. Sizes in bytes."""

    technique: str
    effort: str
    size: int
    whole: int
    cpu_s: float
    whole_cpu_s: float

    @property
    def gives(self) -> float:
        """How much larger the delta is without it, as a part of the whole one."""
        return self.size / self.whole - 1


def measure(old: bytes, new: bytes, efforts: Sequence[str], wholes: dict[str, Parts]) -> Iterator[Left]:
    """Every technique left out, alone, for each effort that uses it."""
    for technique in LEFT_OUT:
        for effort in efforts:
            if effort not in technique.efforts:
                continue
            made = take_apart(old, new, effort=effort, without=technique.without, rounds=technique.rounds)
            whole = wholes[effort]
            yield Left(technique.name, effort, made.size, whole.size, made.cpu_s, whole.cpu_s)
