"""A bar for what takes over a second, where there is a terminal to draw it on; else nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deltaseal.cli.app import App, is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar", "bar"]

_PATIENCE = 1.0  # seconds before a bar is worth drawing


class Bar:
    """Takes "done" and "in all" (bytes, or any unit) and draws them once it has taken long enough."""

    def __init__(self, words: str, *, drawn: bool) -> None:
        self._words = words
        self._drawn = drawn
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        """So much is done."""
        if not self._drawn or (self._progress is None and time.monotonic() - self._began < _PATIENCE):
            return
        progress, task = self._shown()
        progress.update(task, completed=done, total=total or None, description=self._words)

    def step(self, words: str, done: int, total: int) -> None:
        """So much is done, of a step with a name of its own."""
        self._words = words
        self(done, total)

    def close(self) -> None:
        """Take the bar off the screen: what remains to be said is said in words."""
        if self._progress is not None:
            self._progress.stop()

    def _shown(self) -> tuple[Progress, TaskID]:
        if self._progress is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
            self._task = self._progress.add_task(self._words, total=None)
        return self._progress, self._task


@contextmanager
def bar(app: App, words: str) -> Iterator[Bar]:
    """A bar for the work inside the ``with``; nothing of it stays."""
    shown = Bar(words, drawn=is_terminal() and not app.json)
    try:
        yield shown
    finally:
        shown.close()
