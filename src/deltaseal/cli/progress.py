"""A bar for what takes over a second, where there is a terminal to draw it on; else nothing.

Work that cannot say how far it is has a bar that only moves.
"""

from __future__ import annotations

import threading
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
        self._lock = threading.Lock()  # over making and closing: the timer of `bar` has a thread of its own
        self._closed = False

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

    def appear(self) -> None:
        """Draw it, though nobody said how far the work is."""
        with self._lock:
            if not self._closed:
                self._drawing()

    def close(self) -> None:
        """Take the bar off the screen: what remains to be said is said in words."""
        with self._lock:
            self._closed = True
            if self._progress is not None:
                self._progress.stop()

    def _shown(self) -> tuple[Progress, TaskID]:
        with self._lock:
            return self._drawing()

    def _drawing(self) -> tuple[Progress, TaskID]:
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
    drawn = is_terminal() and not app.json
    shown = Bar(words, drawn=drawn)
    patience = threading.Timer(_PATIENCE, shown.appear)
    patience.daemon = True
    if drawn:
        patience.start()
    try:
        yield shown
    finally:
        patience.cancel()
        shown.close()
