"""The same matrix on a real Dask cluster of this machine, also with a worker killed midway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from support.matrices import content

from deltaseal.errors import NetworkError, StorageError
from deltaseal.lab.matrix import Cache, DaskExecutor, Releases, Watch, build, jobs, toolchain


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    made = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit="2GiB",
        dashboard_address=None,
        silence_logs=50,
    )
    with made:
        yield made


def address(cluster: LocalCluster) -> str:
    return cluster.scheduler_address.replace("tcp://", "dask://")


def slow_down(folder: str) -> None:
    """On a worker: an image job says first that it is at work, and takes its time."""
    make = jobs.ImageJob.make

    def slow(job: jobs.ImageJob, cache: Cache, threads: int, prepared: jobs.Prepared | None = None) -> bytes:
        Path(folder, f"{os.getpid()}-{job.new[:16]}").touch()
        time.sleep(1)
        return make(job, cache, threads, prepared)

    jobs.ImageJob.make = slow  # type: ignore[method-assign]


class KillsOneWorker(Watch):
    """Kills the first worker that says that it is at work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.at_work = ""

    def tick(self) -> None:
        if not self.at_work and (said := sorted(path.name for path in self._folder.iterdir())):
            self.at_work = said[0]
            os.kill(int(self.at_work.split("-")[0]), signal.SIGKILL)


def test_a_worker_that_is_killed_midway_changes_nothing(
    made: Path, releases: Path, tmp_path: Path, cluster: LocalCluster
) -> None:
    said = tmp_path / "said"
    said.mkdir()
    with Client(cluster) as client:
        client.run(slow_down, str(said))
    watch = KillsOneWorker(said)
    store = Cache(tmp_path / "cache")
    built = build(
        Releases.load(releases),
        tmp_path / "out",
        store,
        lambda: DaskExecutor(address(cluster), store.folder, toolchain()),
        watch=watch,
    )
    pid = watch.at_work.split("-")[0]
    assert not Path(f"/proc/{pid}").exists()
    assert built.made == len(list(store.folder.glob("*/*"))) == 10
    assert content(tmp_path / "out") == content(made / "out")


def test_a_cache_that_is_not_shared_is_told(releases: Path, tmp_path: Path, cluster: LocalCluster) -> None:
    store = _Blind(tmp_path / "cache")

    def executor() -> DaskExecutor:
        made = DaskExecutor(address(cluster), store.folder, toolchain())
        made._cache = store
        return made

    with pytest.raises(StorageError, match=r"a worker has made .*, but it is not in "):
        build(Releases.load(releases), tmp_path / "out", store, executor)


class _Blind(Cache):
    """A folder in which nothing is seen: the workers' own is another."""

    def has(self, key: str) -> bool:
        return False


def test_workers_say_their_memory(cluster: LocalCluster, tmp_path: Path) -> None:
    executor = DaskExecutor(address(cluster), tmp_path, toolchain())
    try:
        assert {(host.places, host.memory) for host in executor.hosts()} == {(1, 2 << 30)}
    finally:
        executor.close()


def test_where_no_cluster_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaseal.lab.matrix.cluster._PATIENCE", 1)
    with pytest.raises(NetworkError, match="no Dask cluster"):
        DaskExecutor("dask://127.0.0.1:1", tmp_path, toolchain())
