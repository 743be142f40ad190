"""Tasks on a Dask cluster. The only module that loads ``distributed``, which is an extra: deltaseal[dask].

The cache and all trees must be seen under the same paths by every worker: a shared file system.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deltaseal.errors import NetworkError, StorageError, UsageError
from deltaseal.lab.matrix.cache import Cache
from deltaseal.lab.matrix.jobs import Task, Toolchain, run_task
from deltaseal.lab.matrix.schedule import Ended, Host, LostError

__all__ = ["SCHEME", "DaskExecutor"]

SCHEME: Final = "dask://"
_PATIENCE: Final = 30  # seconds to wait for the scheduler, and for a first worker
_UNLIMITED: Final = 1 << 62


class DaskExecutor:
    """The workers of a scheduler, each with its threads as places and its own limit of memory.

    A task of a worker that dies is run by another one: Dask sees to that.
    """

    def __init__(self, address: str, folder: Path, tools: Toolchain) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                "a Dask cluster needs the package distributed", hint="pip install 'deltaseal[dask]'"
            ) from error
        self._cache = Cache(folder)
        self._tools = tools
        self._futures: dict[Any, Task] = {}
        try:
            self._client = Client(address.removeprefix(SCHEME), timeout=_PATIENCE)
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TimeoutError) as error:
            raise NetworkError(
                f"no Dask cluster with a worker answers at {address}",
                hint="start its scheduler and a worker, and run the same command again",
            ) from error

    def hosts(self) -> Sequence[Host]:
        """The workers that are there now."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return [
            Host(address, told["nthreads"], told["memory_limit"] or _UNLIMITED)
            for address, told in sorted(workers.items())
        ]

    def start(self, task: Task, host: str, threads: int) -> None:
        """Send it to that worker; if the worker goes away, to any."""
        future = self._client.submit(
            run_task,
            task,
            self._cache.folder,
            self._tools,
            threads,
            workers=[host],
            allow_other_workers=True,
            pure=False,
        )
        self._futures[future] = task

    def wait(self, seconds: float) -> Sequence[Ended]:
        """The tasks that ended on whatever worker."""
        from distributed import wait

        try:
            found = wait(list(self._futures), timeout=seconds, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return ()
        return [self._ended(future) for future in found.done]

    def close(self) -> None:
        """Cancel what still runs, and leave the cluster as it is."""
        self._client.cancel(list(self._futures))
        self._client.close()

    def _ended(self, future: Any) -> Ended:
        task = self._futures.pop(future)
        error = future.exception()
        if error is None and not all(self._cache.has(key) for key, _ in task.jobs):
            error = StorageError(
                f"a worker has made {task.name}, but it is not in {str(self._cache.folder)!r} here",
                hint="all workers must see this folder: give one of a shared file system with --cache",
            )
        if type(error).__name__ in ("KilledWorker", "CancelledError"):
            error = LostError(str(error).partition(".")[0])
        return Ended(task, error=error)
