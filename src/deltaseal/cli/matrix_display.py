"""What runs, for how long, how much is done and when it ends: drawn on a terminal, else nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from deltaseal.cli.app import App, is_terminal, printable
from deltaseal.cli.words import count
from deltaseal.lab.matrix.schedule import Watch

if TYPE_CHECKING:
    from rich.live import Live

    from deltaseal.lab.matrix import Task

__all__ = ["Display", "display"]


class Display(Watch):
    """Follows a run. ``lines`` is what a person sees; times come from a clock that only goes forward."""

    def __init__(self) -> None:
        self.peak = 0  # bytes: of the largest process
        self._words = "reading the releases"
        self._tasks: dict[int, tuple[Task, str, float]] = {}  # running: the task, where, since when
        self._weight = self._done_weight = 0
        self._planned = self._done = self._cached = 0
        self._began = time.monotonic()

    def say(self, words: str) -> None:
        """What is under way beside the tasks."""
        self._words = words
        self.tick()

    def planned(self, tasks: Sequence[Task], cached: int) -> None:
        """The tasks are known."""
        self._planned, self._cached = len(tasks), cached
        self._weight = sum(task.weight for task in tasks)
        self._began = time.monotonic()

    def began(self, task: Task, host: str) -> None:
        """A task runs now."""
        self._tasks[id(task)] = (task, host, time.monotonic())

    def ended(self, task: Task, peak: int) -> None:
        """A task is done."""
        self._tasks.pop(id(task))
        self._done += 1
        self._done_weight += task.weight
        self.peak = max(self.peak, peak)

    def lost(self, task: Task, words: str) -> None:
        """A task will be tried again."""
        self._tasks.pop(id(task))

    def seconds_left(self, now: float) -> float | None:
        """At the speed so far; ``None`` before anything is done."""
        if not self._done_weight:
            return None
        # Of what runs, half is taken as done: neither nothing nor all.
        half = sum(task.weight for task, _, _ in self._tasks.values()) / 2
        spent = now - self._began
        return spent * (self._weight - self._done_weight - half) / (self._done_weight + half)

    def lines(self, now: float, clock: datetime) -> list[str]:
        """The state in words, the running tasks below."""
        if not self._tasks:
            return [self._words]
        left = self.seconds_left(now)
        ends = f", ends about {(clock + timedelta(seconds=left)):%H:%M:%S}" if left is not None else ""
        cached = f", {count(self._cached, 'job')} from the cache" if self._cached else ""
        head = f"{self._done:,} of {count(self._planned, 'task')} done{cached}{ends}"
        running = [
            f"  {now - since:5.0f} s  {task.name}" + ("" if host == "here" else f"  on {host}")
            for task, host, since in self._tasks.values()
        ]
        return [head, *running]


class _Drawn(Display):
    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def tick(self) -> None:
        """Draw again."""
        from rich.text import Text

        lines = self.lines(time.monotonic(), datetime.now())
        self._live.update(Text("\n".join(map(printable, lines))), refresh=True)


@contextmanager
def display(app: App) -> Iterator[Display]:
    """A display for the run inside the ``with``; nothing of it stays."""
    if app.json or not is_terminal():
        yield Display()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield _Drawn(live)
