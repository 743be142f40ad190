"""What is taught of old bytes before each stretch of a gap (docs/spec/delta-model.md, "Teaching")."""

from __future__ import annotations

from collections.abc import Callable

from spec.delta_reader import Block

PAGE = 64
LEAST, FREELY = 64, 2**14
# Old bytes for each of the gap, and at most.
WORDS, CODE, DATA = (1, 256), (2, 512), (0, LEAST)

Show = Callable[[int, int], None]


class Teaching:
    def __init__(self, old_size: int, new_bytes_in_gaps: int) -> None:
        self._old_size = old_size
        self._budget = min(2**20, 2 * new_bytes_in_gaps + 65_536)
        self._taught = set[int]()

    def teach(
        self, before: Block | None, block: Block | None, left: int, kind: tuple[int, int], show: Show
    ) -> None:
        """Before a stretch that begins ``left`` bytes before the end of its gap."""
        factor, most = kind
        reach = most if len(self._taught) * PAGE < FREELY else min(most, max(LEAST, factor * left))
        ends = [before.old + before.length] if before else []
        ends += [block.old] if block else []
        for end in ends:
            first, last = max(end - reach, 0), min(end + reach, self._old_size)
            row: list[int] = []
            for page in range(first // PAGE, -(-last // PAGE)):
                if page not in self._taught and self._budget >= PAGE:
                    self._taught.add(page)
                    self._budget -= PAGE
                    row.append(page)
                else:
                    self._end(row, show)
            self._end(row, show)

    def _end(self, row: list[int], show: Show) -> None:
        if row:
            show(row[0] * PAGE, min((row[-1] + 1) * PAGE, self._old_size))
        row.clear()
