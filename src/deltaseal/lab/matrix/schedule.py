"""Which task runs when and where: as many at a time as there are places, while their memory fits.

The order changes nothing but the time: results are found by their keys. Executors only start tasks and
say how they ended (``local``, ``cluster``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deltaseal.errors import LimitError, WillResumeError
from deltaseal.lab.matrix.jobs import Task

__all__ = ["Ended", "Executor", "Host", "LostError", "Watch", "run"]

_TRIES = 3  # a task whose process is ended from outside is tried again


@dataclass(frozen=True, slots=True)
class Host:
    """Where tasks can run: so many at a time, with so many bytes of memory together."""

    name: str
    places: int
    memory: int


class LostError(Exception):
    """The process that did a task went away; the words say how."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a started task ended; without an error its results are in the cache.

    ``peak`` is the most memory (resident bytes) that its process held meanwhile, 0 where nobody knows.
    """

    task: Task
    peak: int = 0
    error: BaseException | None = None


class Executor(Protocol):
    """Starts tasks on hosts."""

    def hosts(self) -> Sequence[Host]:
        """The hosts that there are now, in an order that lasts."""

    def start(self, task: Task, host: str, threads: int) -> None:
        """Begin a task; it comes out of ``wait``, once."""

    def wait(self, seconds: float) -> Sequence[Ended]:
        """The tasks that ended; after so many seconds, none."""

    def close(self) -> None:
        """End everything that still runs."""


class Watch:
    """What is told while tasks run; every method may be left as it is."""

    def planned(self, tasks: Sequence[Task], cached: int) -> None:
        """What is to be done, and how many jobs the cache had."""

    def began(self, task: Task, host: str) -> None:
        """A task runs now."""

    def ended(self, task: Task, peak: int) -> None:
        """A task is done."""

    def lost(self, task: Task, words: str) -> None:
        """A task's process went away; it is tried again."""

    def tick(self) -> None:
        """Some time has passed."""


@dataclass(slots=True)
class _Run:
    executor: Executor
    watch: Watch
    waiting: list[Task]
    have: set[str]
    running: dict[str, list[Task]] = field(default_factory=dict)  # by host
    tries: dict[int, int] = field(default_factory=dict)  # by identity of the task

    @property
    def active(self) -> int:
        return sum(len(tasks) for tasks in self.running.values())

    def start_what_fits(self) -> None:
        """The longest first: so the last ones to end are short."""
        hosts = self.executor.hosts()
        places = sum(host.places for host in hosts)
        threads = max(1, places // max(1, len(self.waiting) + self.active))
        for task in [task for task in self.waiting if task.needs <= self.have]:
            host = next((host for host in hosts if self._fits(task, host)), None)
            if host is not None:
                self.waiting.remove(task)
                self.running.setdefault(host.name, []).append(task)
                self.watch.began(task, host.name)
                self.executor.start(task, host.name, threads)

    def _fits(self, task: Task, host: Host) -> bool:
        here = self.running.get(host.name, [])
        used = sum(one.memory for one in here)
        return len(here) < host.places and used + task.memory <= host.memory

    def end(self, ended: Ended) -> None:
        for tasks in self.running.values():
            tasks[:] = [task for task in tasks if task is not ended.task]
        if ended.error is None:
            self.have.update(key for key, _ in ended.task.jobs)
            self.watch.ended(ended.task, ended.peak)
        elif isinstance(ended.error, LostError):
            self._again(ended.task, str(ended.error))
        else:
            raise ended.error

    def _again(self, task: Task, words: str) -> None:
        tries = self.tries[id(task)] = self.tries.get(id(task), 1) + 1
        if tries > _TRIES:
            raise WillResumeError(
                f"{task.name}: its process was ended {_TRIES} times: {words}",
                hint="is there memory enough? allow less with --memory, and run the same command again",
            )
        self.watch.lost(task, words)
        self.waiting.insert(0, task)


def run(
    tasks: Sequence[Task], have: Collection[str], executor: Executor, watch: Watch, *, step: float = 0.25
) -> None:
    """Run all tasks, each once what it needs is there. ``have`` are keys that are in the cache already.

    Raises ``LimitError`` before the first task if one needs more memory than any host has, the first error
    of a task, and ``WillResumeError`` where processes go away again and again, or all hosts have gone.
    """
    _check_memory(tasks, executor.hosts())
    ordered = sorted(tasks, key=lambda task: (-task.weight, task.name, task.jobs[0][0]))
    state = _Run(executor, watch, ordered, set(have))
    while state.waiting or state.active:
        state.start_what_fits()
        if not state.active:
            raise WillResumeError("nothing is left that could run the remaining jobs")
        for ended in executor.wait(step):
            state.end(ended)
        watch.tick()


def _check_memory(tasks: Sequence[Task], hosts: Sequence[Host]) -> None:
    most = max((host.memory for host in hosts), default=0)
    for task in sorted(tasks, key=lambda task: -task.memory)[:1]:
        if task.memory > most:
            raise LimitError(
                f"{task.name} may take {task.memory:,} bytes of memory, {most:,} are allowed",
                hint="allow more with --memory, or use a machine that has it",
                needed=task.memory,
                allowed=most,
            )
