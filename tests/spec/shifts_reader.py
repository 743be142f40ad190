"""Operands that moved, from docs/spec/delta-model.md, "Shifts", and delta-format.md, "Frames that moved"."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from spec.delta_reader import MASK

FRAMES = (29, 31)


@dataclass(frozen=True)
class Operand:
    base: int
    shift: int
    size: int
    scale: int

    @property
    def mask(self) -> int:
        return (1 << self.size) - 1 << self.shift

    def of(self, w: int) -> int:
        return (w & self.mask) >> self.shift

    def moved(self, w: int, x: int) -> int:
        """By how many bytes, from w to x."""
        by = self.of(x) - self.of(w) & (1 << self.size) - 1
        by -= (by >> self.size - 1) << self.size
        return by << self.scale

    def move(self, w: int, by: int) -> int:
        moved = self.of(w) + (by >> self.scale)
        return w & ~self.mask | moved << self.shift & self.mask


def operand_of(w: int) -> Operand | None:
    base, size, vector = w >> 5 & 31, w >> 30, w >> 26 & 1
    if w & 0x3B000000 == 0x39000000:
        return Operand(base, 10, 12, 4 if vector and w >> 23 & 1 else size)
    if w & 0x3A000000 == 0x28000000:
        return Operand(base, 15, 7, 2 + (size if vector else size // 2))
    if w & 0x3FC00000 == 0x11000000:
        return Operand(base, 10, 12, 0)
    if w & 0x3B200000 == 0x38000000:
        return Operand(base, 12, 9, 0)
    return None


class Function:
    """The range of old offsets of the function at hand."""

    def __init__(self, starts: list[int]) -> None:
        self._starts = starts
        self._first = self._last = 0

    def enter(self, o: int) -> bool:
        """Whether it is another one."""
        if self._first <= o < self._last:
            return False
        number = bisect_right(self._starts, o)
        self._first = self._starts[number - 1] if number else 0
        self._last = self._starts[number] if number < len(self._starts) else MASK
        return True


class Shifts:
    """By how many bytes operands moved, for each register of a function."""

    def __init__(self, functions: list[int]) -> None:
        self._function = Function(functions)
        self._by: dict[int, int] = {}
        self.last = 0

    def enter(self, o: int) -> bool:
        if not self._function.enter(o):
            return False
        self._by = {}
        return True

    def state(self, operand: Operand | None) -> int:
        if operand is None:
            return 0
        by = self._by.get(operand.base)
        return 1 if by is None else 3 if by else 2

    def expected(self, operand: Operand) -> int:
        return self._by.get(operand.base, 0) or self.last

    def level(self, words: list[int]) -> int:
        states = [self.state(operand_of(w)) for w in words]
        return 2 * min(3, states.count(3)) + int(2 in states)

    def learn(self, w: int, x: int) -> None:
        operand = operand_of(w)
        if operand is None or (w ^ x) & ~operand.mask:
            return
        self._by[operand.base] = operand.moved(w, x)
        self.last = self._by[operand.base] or self.last


class Frames:
    """Of the stack and frame pointers alone, and by words."""

    def __init__(self, functions: list[int]) -> None:
        self._function = Function(functions)
        self._by = dict.fromkeys(FRAMES, 0)

    def predict(self, o: int, w: int) -> int:
        if self._function.enter(o):
            self._by = dict.fromkeys(FRAMES, 0)
        operand = operand_of(w)
        if operand is None or operand.base not in FRAMES:
            return w
        return operand.move(w, self._by[operand.base])

    def learn(self, w: int, x: int) -> None:
        operand = operand_of(w)
        if operand and operand.base in FRAMES and not (w ^ x) & ~operand.mask:
            self._by[operand.base] = operand.moved(w, x)
