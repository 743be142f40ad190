"""Tasks in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal.lab.matrix.jobs import Task, Toolchain
from deltaseal.lab.matrix.schedule import Ended, Host, LostError

__all__ = ["LocalExecutor"]

_HOST = "here"
_COMMAND = (sys.executable, "-m", "deltaseal.lab.matrix.worker")


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    task: Task | None = None


class LocalExecutor:
    """So many processes, which together may take so many bytes of memory.

    Processes are started when they are first needed, and do one task after the other. One that is ended
    from outside loses its task only; another takes its place.
    """

    def __init__(self, folder: Path, tools: Toolchain, *, processes: int, memory: int) -> None:
        self._folder = folder
        self._tools = tools
        self._host = Host(_HOST, processes, memory)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def hosts(self) -> Sequence[Host]:
        """This machine."""
        return (self._host,)

    def start(self, task: Task, host: str, threads: int) -> None:
        """Give the task to a process that has none."""
        worker = next((one for one in self._workers if one.task is None), None) or self._new_worker()
        worker.task = task
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has gone: seen when we wait for its answer
            pickle.dump((task, self._folder, self._tools, threads), worker.process.stdin)
            worker.process.stdin.flush()

    def wait(self, seconds: float) -> Sequence[Ended]:
        """The tasks whose processes have answered, or have gone."""
        return [self._ended(key.data) for key, _ in self._selector.select(seconds)]

    def close(self) -> None:
        """End the processes; what they had made is in the cache."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            self._forget(worker)
        self._workers.clear()
        self._selector.close()

    def _new_worker(self) -> _Worker:
        # In a session of its own: an interrupt from the keyboard is for us, and we end them.
        process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        worker = _Worker(process)
        self._workers.append(worker)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _ended(self, worker: _Worker) -> Ended:
        task = worker.task
        assert task is not None and worker.process.stdout is not None
        try:
            peak, error = pickle.load(worker.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            worker.process.wait()
            self._workers.remove(worker)
            self._selector.unregister(worker.process.stdout)
            self._forget(worker)
            return Ended(task, error=LostError(_how(worker.process.returncode)))
        worker.task = None
        return Ended(task, peak, error)

    @staticmethod
    def _forget(worker: _Worker) -> None:
        worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
