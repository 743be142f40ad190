"""Tasks run when what they need is there and while their memory fits, on whatever hosts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from deltaseal.errors import LimitError, WillResumeError
from deltaseal.lab.matrix.jobs import ImageJob, Task
from deltaseal.lab.matrix.schedule import Ended, Host, LostError, Watch, run

MIB = 1 << 20


def task(name: str, size: int = 0, needs: Sequence[str] = ()) -> Task:
    job = ImageJob(name, name, Path(name), Path(name), size, size, "default")
    return Task(name, ((name, job),), frozenset(needs))


class Pretended:
    """Ends a random running task at each wait, and notes what ran together."""

    def __init__(self, hosts: Sequence[Host], seed: int, *, losing: Sequence[str] = ()) -> None:
        self._hosts = hosts
        self._chance = random.Random(seed)
        self._losing = list(losing)
        self.running: dict[str, list[Task]] = {host.name: [] for host in hosts}
        self.done: list[str] = []

    def hosts(self) -> Sequence[Host]:
        return self._hosts

    def start(self, task: Task, host: str, threads: int) -> None:
        assert task.needs <= set(self.done)
        self.running[host].append(task)
        at = next(one for one in self._hosts if one.name == host)
        assert len(self.running[host]) <= at.places
        assert sum(one.memory for one in self.running[host]) <= at.memory

    def wait(self, seconds: float) -> Sequence[Ended]:
        host = self._chance.choice([name for name, tasks in self.running.items() if tasks])
        ended = self.running[host].pop(self._chance.randrange(len(self.running[host])))
        if ended.name in self._losing:
            self._losing.remove(ended.name)
            return [Ended(ended, error=LostError("gone"))]
        self.done.append(ended.name)
        return [Ended(ended)]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(10))
def test_every_task_runs_once_within_the_memory(seed: int) -> None:
    chance = random.Random(seed)
    images = [task(f"image {n}", chance.randrange(40 * MIB)) for n in range(12)]
    trees = [task(f"tree {n}", MIB, [f"image {m}" for m in chance.sample(range(12), 3)]) for n in range(4)]
    hosts = [Host("one", 3, 1200 * MIB), Host("two", 2, 1000 * MIB)]
    executor = Pretended(hosts, seed, losing=["image 3", "image 3", "tree 1"])
    run([*trees, *images], (), executor, Watch())
    assert sorted(executor.done) == sorted(one.name for one in [*trees, *images])


def test_what_the_cache_has_is_not_waited_for() -> None:
    executor = Pretended([Host("here", 1, 1 << 40)], 0)
    run([task("tree", needs=["image"])], ["image"], NotNeeding(executor), Watch())
    assert executor.done == ["tree"]


class NotNeeding(Pretended):
    """As the other, without its check of needs."""

    def __init__(self, inner: Pretended) -> None:
        self._inner = inner

    def hosts(self) -> Sequence[Host]:
        return self._inner.hosts()

    def start(self, task: Task, host: str, threads: int) -> None:
        self._inner.running[host].append(task)

    def wait(self, seconds: float) -> Sequence[Ended]:
        return self._inner.wait(seconds)


def test_the_limit_is_met_exactly() -> None:
    one = task("one", 7 * MIB)
    run([one], (), Pretended([Host("here", 1, one.memory)], 0), Watch())
    with pytest.raises(LimitError, match="one may take"):
        run([one], (), Pretended([Host("here", 1, one.memory - 1)], 0), Watch())


def test_a_task_that_is_lost_three_times_ends_the_run() -> None:
    executor = Pretended([Host("here", 1, 1 << 40)], 0, losing=["one"] * 3)
    with pytest.raises(WillResumeError, match="one: its process was ended 3 times: gone"):
        run([task("one")], (), executor, Watch())


def test_many_threads_only_where_few_tasks_are() -> None:
    given: list[int] = []

    class Noting(Pretended):
        def start(self, task: Task, host: str, threads: int) -> None:
            given.append(threads)
            super().start(task, host, threads)

    run([task("one")], (), Noting([Host("here", 8, 1 << 40)], 0), Watch())
    run([task(str(n)) for n in range(8)], (), Noting([Host("here", 8, 1 << 40)], 0), Watch())
    assert given == [8, *[1] * 8]
