"""What a device under torture sees: a clock that stands still, no chance, processes on demand."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from deltaseal.edge import Edge, HookResult, Mapping, Process

__all__ = ["AFTER", "World"]

AFTER = "boot after the cut"  # the machine starts again when the power is back


@dataclass(frozen=True, slots=True)
class World:
    """A world, as a value. The same world makes the same bytes each time."""

    now: int  # seconds since 1970
    boot: str = "boot before the cut"
    hook: int = 0  # with what status every health hook ends
    running: tuple[str, ...] = ()  # listed programs that run, and have mapped what was there before
    battery: int | None = None
    room: int | None = None  # bytes that are free beside what lies there at the start; None: no end of them
    sleep: Callable[[float], None] = field(default=lambda seconds: None)

    def edge(self) -> Edge:
        """The edge that shows this world to a device."""
        return Edge(
            now=lambda: self.now,
            random=_no_chance,
            uid=1000,
            boot_id=self.boot,
            build_date=0,
            battery=lambda: self.battery,
            metered=lambda: None,
            processes=self._processes,
            run_hook=lambda path, seconds: HookResult(self.hook, "as told"),
            sleep=self.sleep,
        )

    def _processes(self) -> tuple[Process, ...]:
        # They map a file of the baseline, whatever the pointer says: nobody has started them again.
        old = (Mapping(1, 1, "/d/baseline/app/lib/engine.so"),)
        return tuple(Process(100 + at, frozenset({name}), old) for at, name in enumerate(self.running))


@functools.cache
def _no_chance(size: int) -> bytes:
    """The same bytes each time, so that equal states are equal; not compressible, as the reserve wants."""
    return hashlib.shake_256(b"no chance").digest(size)
