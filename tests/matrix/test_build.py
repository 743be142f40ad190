"""Nothing is made twice, whatever comes between; and the bytes are the same however they are made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from support.matrices import GIB, build_here, content, fill

from deltaseal import images, trees
from deltaseal.errors import DigestError, LimitError, UsageError, WillResumeError
from deltaseal.lab.matrix import Cache, LocalExecutor, Releases, Task, Watch, build, toolchain
from deltaseal.lab.matrix.jobs import ImageJob, key_of, run_task
from deltaseal.lab.matrix.plan import make_plan


class Counting(Watch):
    """Counts how often each task is begun, and the largest peak."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.lost_words: list[str] = []
        self.peaks: list[tuple[int, int]] = []

    def began(self, task: Task, host: str) -> None:
        self.begun[task.name] += 1

    def ended(self, task: Task, peak: int) -> None:
        self.peaks.append((peak, task.memory))

    def lost(self, task: Task, words: str) -> None:
        self.lost_words.append(words)


def test_what_is_equal_is_planned_once(releases: Path) -> None:
    plan = make_plan(Releases.load(releases), toolchain())
    kinds = Counter(job.kind for job in plan.jobs.values())
    # app (one for both bases), app from letter a, os, os of the Neo; the image of os is one for both.
    assert kinds == {"delta": 4, "whole": 3, "image": 3}
    starts = [(cell.base.id, cell.component, cell.start) for cell in plan.cells]
    assert starts == [
        ("macos-26.3.1", "app", "baseline"),
        ("macos-26.3.1", "app", "a"),
        ("macos-26.3.1", "app", "whole"),
        ("macos-26.3.1", "os", "baseline"),
        ("macos-26.3.1", "os", "whole"),
        ("macos-26.3.2", "app", "baseline"),
        ("macos-26.3.2", "app", "whole"),
        ("macos-26.3.2", "os", "baseline"),
        ("macos-26.3.2", "os", "whole"),
    ]


def test_whole_files_of_one_tree_are_compressed_once(
    releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bases whose old trees differ become the same: each has its own delta, of the same frames."""
    from deltaseal.trees import grouping

    text = releases.read_text().replace('becomes = "os-neo-b"', 'becomes = "os-b"')
    releases.write_text(text)
    plan = make_plan(Releases.load(releases), toolchain())
    tasks = plan.tasks([key for key, job in plan.jobs.items() if job.kind == "whole"])
    (shared,) = [task for task in tasks if len(task.jobs) > 1]
    assert shared.name == "macos-26.3.1 os in whole files and 1 more"
    compressed: list[bytes] = []

    def counted(data: bytes, **options: object) -> bytes:
        compressed.append(data)
        return compress(data, **options)  # type: ignore[arg-type]

    compress = grouping.compress
    monkeypatch.setattr(grouping, "compress", counted)
    run_task(shared, tmp_path / "cache", toolchain(), 1)
    assert compressed and len(compressed) == len(set(compressed))
    for key, job in shared.jobs:
        assert not isinstance(job, ImageJob)
        made = Cache(tmp_path / "cache").get(key)
        assert made == trees.diff(job.old_dir, job.new_dir, whole=True)


def test_the_deltas_are_those_that_diff_makes(made: Path) -> None:
    for old, new, at in (("app", "app-b", "macos-26.3.2/app"), ("os-neo", "os-neo-b", "macos-26.3.2/os")):
        whole = trees.diff(made / old, made / new, whole=True)
        assert (made / "out" / at / "from-baseline.delta").read_bytes() == trees.diff(made / old, made / new)
        assert (made / "out" / at / "whole.delta").read_bytes() == whole
    index = json.loads((made / "out" / "matrix.json").read_bytes())
    assert sorted(cell["path"] for cell in index["cells"] if cell["kept"]) == sorted(
        content(made / "out").keys() - {"matrix.json"}
    )


def test_a_second_run_does_nothing(made: Path) -> None:
    def no_executor() -> LocalExecutor:
        raise AssertionError("nothing is to be made")

    before = (made / "out").stat().st_ino
    built = build(Releases.load(made / "RELEASES.toml"), made / "out", Cache(made / "cache"), no_executor)
    assert built.did_nothing and (made / "out").stat().st_ino == before


@pytest.mark.parametrize("jobs", [1, 3])
def test_other_places_and_processes_give_the_same_bytes(made: Path, tmp_path: Path, jobs: int) -> None:
    elsewhere = tmp_path / "a" / "longer folder"
    elsewhere.mkdir(parents=True)
    built = build_here(fill(elsewhere), elsewhere / "out", elsewhere / "cache", jobs=jobs)
    assert content(elsewhere / "out") == content(made / "out")
    assert (built.made, built.cached) == (10, 0)


def test_a_changed_tree_is_all_that_is_made_again(made: Path) -> None:
    (made / "os-neo-b" / "note.txt").write_bytes(b"another note")
    built = build_here(made / "RELEASES.toml", made / "out", made / "cache")
    assert built.made == 2  # its delta and its whole files; the image is known
    assert built.written


def test_damage_in_the_cache_is_seen_and_mended(made: Path, tmp_path: Path) -> None:
    before = content(made / "out")
    for path in (made / "cache").glob("*/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (made / "out" / "matrix.json").unlink()
    built = build_here(made / "RELEASES.toml", tmp_path / "out", made / "cache")
    assert built.made == 10
    assert content(tmp_path / "out") == before


def test_a_damaged_output_is_written_again(made: Path) -> None:
    before = content(made / "out")
    (made / "out" / "macos-26.3.1" / "app" / "whole.delta").write_bytes(b"?")
    (made / "out" / "more").write_bytes(b"?")
    built = build_here(made / "RELEASES.toml", made / "out", made / "cache")
    assert built.written and not built.made
    assert content(made / "out") == before


def test_another_folder_is_not_replaced(releases: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_bytes(b"!")
    with pytest.raises(UsageError, match="is no matrix"):
        build_here(releases, tmp_path / "out", tmp_path / "cache")
    assert content(tmp_path / "out") == {"precious": b"!"}


class Killer(Counting):
    """Kills the process that does the first image, once, or whenever it is begun."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always = always
        self.killed = 0

    def began(self, task: Task, host: str) -> None:
        super().began(task, host)
        if isinstance(task.jobs[0][1], ImageJob) and (self.always or not self.killed):
            self.killed += 1
            self.armed = True

    armed = False

    def tick(self) -> None:
        if self.armed:
            self.armed = False
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            for child in children:
                if b"matrix.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)


def test_a_process_that_is_killed_loses_its_task_only(
    made: Path, releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaseal.lab.matrix.local._COMMAND", _slow_worker())
    watch = Killer(always=False)
    build_here(releases, tmp_path / "out", tmp_path / "cache", watch=watch)
    assert watch.lost_words and set(watch.lost_words) == {"ended by SIGKILL"}
    assert content(tmp_path / "out") == content(made / "out")


def test_one_that_is_always_killed_ends_the_run(
    releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaseal.lab.matrix.local._COMMAND", _slow_worker())
    with pytest.raises(WillResumeError, match="ended 3 times: ended by SIGKILL"):
        build_here(releases, tmp_path / "out", tmp_path / "cache", jobs=1, watch=Killer(always=True))
    assert not (tmp_path / "out").exists()


def _slow_worker() -> tuple[str, ...]:
    """A worker that is slow enough to be met at its work."""
    code = (
        "import sys, time; from deltaseal.lab.matrix import jobs, worker; make = jobs.ImageJob.make\n"
        "def slow(*a): time.sleep(1); return make(*a)\n"
        "jobs.ImageJob.make = slow; worker.serve(sys.stdin.buffer, sys.stdout.buffer)  # matrix.worker"
    )
    return (sys.executable, "-c", code)


def test_a_run_that_is_killed_goes_on(made: Path, releases: Path, tmp_path: Path) -> None:
    folders = ["-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    program = [sys.executable, "-c", "from deltaseal.cli import main; main()"]
    command = [*program, "matrix", "build", str(releases), *folders, "--jobs", "1"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*/[0-9a-f]*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    first.wait()
    had = len(list((tmp_path / "cache").glob("*/[0-9a-f]*")))
    built = build_here(releases, tmp_path / "out", tmp_path / "cache", jobs=1)
    assert 0 < had < 10 and built.made < 10
    assert content(tmp_path / "out") == content(made / "out")


def test_processes_keep_to_their_estimates(releases: Path, tmp_path: Path) -> None:
    watch = Counting()
    build_here(releases, tmp_path / "out", tmp_path / "cache", watch=watch)
    assert watch.peaks and all(0 < peak <= allowed for peak, allowed in watch.peaks)


def test_a_job_that_needs_too_much_is_refused_before_any_work(releases: Path, tmp_path: Path) -> None:
    store = Cache(tmp_path / "cache")

    def small() -> LocalExecutor:
        return LocalExecutor(store.folder, toolchain(), processes=2, memory=GIB // 4)

    with pytest.raises(LimitError, match=r"may take [0-9,]+ bytes of memory, 268,435,456 are allowed"):
        build(Releases.load(releases), tmp_path / "out", store, small)
    assert not store.folder.exists()


def test_what_changes_meanwhile_is_refused(releases: Path, tmp_path: Path) -> None:
    class Changes(Watch):
        def began(self, task: Task, host: str) -> None:
            (tmp_path / "app-b" / "lib" / "engine.so").write_bytes(b"changed")

    with pytest.raises(DigestError, match="was changed"):
        build_here(releases, tmp_path / "out", tmp_path / "cache", jobs=1, watch=Changes())
    assert not (tmp_path / "out").exists()


def test_another_toolchain_has_other_keys(releases: Path) -> None:
    tools = toolchain()
    job = next(iter(make_plan(Releases.load(releases), tools).jobs.values()))
    others = [
        type(tools)("0.0.0", tools.zstd, tools.revisions),
        type(tools)(tools.deltaseal, "1.0.0", tools.revisions),
        type(tools)(tools.deltaseal, tools.zstd, (0, 0)),
    ]
    assert len({key_of(job, one) for one in (tools, *others)}) == 4


MODELS = """\
format = 1

[[bases]]
id = "one"
os = "macos"
build = "1"
models = ["A"]
components.app = { baseline = "app", becomes = "app-b" }

[[bases]]
id = "other"
os = "macos"
build = "1"
models = ["B"]
components.app = { baseline = "app", becomes = "app-a" }
"""


def test_an_old_image_of_several_new_ones_is_prepared_once(
    releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.write_text(MODELS)
    plan = make_plan(Releases.load(releases), toolchain())
    shared = [task for task in plan.tasks(list(plan.jobs)) if len(task.jobs) == 2]
    assert [task.name for task in shared] == ["engine.so and 1 more"]
    alone = max(job.memory for _, job in shared[0].jobs)
    assert shared[0].memory > alone
    prepared: list[bytes] = []
    prepare = images.prepare

    def noting(old: bytes, **options: int) -> images.PreparedOld:
        prepared.append(old)
        return prepare(old, **options)

    monkeypatch.setattr(images, "prepare", noting)
    run_task(shared[0], tmp_path / "cache", toolchain(), 1)
    assert prepared == [(tmp_path / "app" / "lib" / "engine.so").read_bytes()]
    build_here(releases, tmp_path / "out", tmp_path / "cache")
    for base, new in (("one", "app-b"), ("other", "app-a")):
        made = (tmp_path / "out" / base / "app" / "from-baseline.delta").read_bytes()
        assert made == trees.diff(tmp_path / "app", tmp_path / new)
