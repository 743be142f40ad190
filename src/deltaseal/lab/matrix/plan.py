"""From releases to cells, and from cells to the fewest jobs: what is equal is planned once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deltaseal import trees
from deltaseal.lab.matrix.jobs import ImageJob, Job, Task, Toolchain, TreeJob, key_of
from deltaseal.lab.matrix.releases import BASELINE, WHOLE, MatrixBase, Releases
from deltaseal.storage import RealDisk

__all__ = ["Cell", "Plan", "make_plan"]

# Image jobs of one old image that one task does: the old one is prepared once, and others can still help.
_TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """One file that a device may be served, before it is made. Tree digests hexadecimal."""

    base: MatrixBase
    component: str
    start: str  # ``baseline``, a letter, or ``whole``
    old_dir: Path
    new_dir: Path
    old_tree: str
    new_tree: str
    key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every cell, and every job once, by its key. ``done``: base, component, letter that have the result."""

    releases: Releases
    tools: Toolchain
    cells: tuple[Cell, ...]
    jobs: dict[str, Job]
    done: frozenset[tuple[str, str, str]]

    def tasks(self, wanted: Sequence[str]) -> list[Task]:
        """Tasks for the jobs with these keys.

        Images of one old image go together, and so do the whole files of one new tree, whose contents are
        then compressed once; other trees go by themselves.
        """
        by_old: dict[str, list[tuple[str, Job]]] = {}
        by_new: dict[str, list[tuple[str, Job]]] = {}
        names, tasks = self._names, []
        for key in wanted:
            job = self.jobs[key]
            if isinstance(job, ImageJob):
                by_old.setdefault(job.old, []).append((key, job))
            elif job.kind == WHOLE:
                by_new.setdefault(job.new, []).append((key, job))
            else:
                needs = frozenset(needed for _, _, needed in job.images)
                tasks.append(Task(names[key], ((key, job),), needs))
        for jobs in by_new.values():
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            tasks.append(Task(names[jobs[0][0]] + more, tuple(jobs), frozenset()))
        for jobs in by_old.values():
            for at in range(0, len(jobs), _TOGETHER):
                part = tuple(jobs[at : at + _TOGETHER])
                tasks.append(Task(_image_name(part), part, frozenset()))
        return tasks

    @property
    def _names(self) -> dict[str, str]:
        return {one.key: f"{one.base.id} {one.component} {_way(one.start)}" for one in reversed(self.cells)}


def _way(start: str) -> str:
    return "in whole files" if start == WHOLE else f"from {start}"


def _image_name(jobs: Sequence[tuple[str, Job]]) -> str:
    first = jobs[0][1]
    assert isinstance(first, ImageJob)
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    return f"{first.new_path.name}{more}"


@dataclass(slots=True)
class _Planner:
    releases: Releases
    tools: Toolchain
    has: Callable[[str], bool]
    told: Callable[[str], None]
    done: set[tuple[str, str, str]] = field(default_factory=set)
    listings: dict[tuple[Path, str, tuple[str, ...]], trees.Listing] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def cells(self) -> Iterator[Cell]:
        for base in self.releases.bases:
            for component in base.components:
                yield from self._component(base, component)

    def _component(self, base: MatrixBase, component: str) -> Iterator[Cell]:
        dirs = base.components[component]
        if self._same(base, dirs.baseline, dirs.becomes):
            return  # the release does not touch it: devices have it in their baseline
        for start, old_dir in {BASELINE: dirs.baseline, **dirs.letters}.items():
            if self._same(base, old_dir, dirs.becomes):
                self.done.add((base.id, component, start))
            else:
                yield self._cell(base, component, start, old_dir, dirs.becomes)
        yield self._cell(base, component, WHOLE, dirs.baseline, dirs.becomes)

    def _cell(self, base: MatrixBase, component: str, start: str, old_dir: Path, new_dir: Path) -> Cell:
        old, new = self._listing(base, old_dir), self._listing(base, new_dir)
        old_tree, new_tree = old.digest.hex(), new.digest.hex()
        job = TreeJob(
            old=old_tree,
            new=new_tree,
            old_dir=old_dir.absolute(),
            new_dir=new_dir.absolute(),
            kind="whole" if start == WHOLE else "delta",
            new_bytes=sum(entry.size for entry in new.entries),
            largest=_largest(old) + _largest(new),
            names=base.names,
            exclude=base.exclude,
            effort=self.releases.effort,
        )
        key = key_of(job, self.tools)
        if key not in self.jobs:
            has_images = start != WHOLE and not self.has(key)
            self.jobs[key] = self._with_images(job, base) if has_images else job
        return Cell(base, component, start, old_dir, new_dir, old_tree, new_tree, key)

    def _with_images(self, job: TreeJob, base: MatrixBase) -> TreeJob:
        self.told(f"pairing {job.old_dir.name} and {job.new_dir.name}")
        found = []
        for pair in trees.image_pairs(job.old_dir, job.new_dir, exclude=base.exclude, names=base.names):
            image = ImageJob(
                old=pair.old.sha256.hex(),
                new=pair.new.sha256.hex(),
                old_path=job.old_dir / os.fsdecode(pair.old.path),
                new_path=job.new_dir / os.fsdecode(pair.new.path),
                old_size=pair.old.size,
                new_size=pair.new.size,
                effort=job.effort,
            )
            key = key_of(image, self.tools)
            self.jobs.setdefault(key, image)
            found.append((image.old, image.new, key))
        return replace(job, images=tuple(found))

    def _same(self, base: MatrixBase, one: Path, other: Path) -> bool:
        return self._listing(base, one).digest == self._listing(base, other).digest

    def _listing(self, base: MatrixBase, directory: Path) -> trees.Listing:
        """The listing of a directory, which is hashed once, however often it is named."""
        at = (directory.resolve(), base.names, base.exclude)
        if at not in self.listings:
            self.told(f"hashing {directory}")
            disk = RealDisk()
            with disk.open_root(directory) as top:
                self.listings[at] = trees.scan(disk, top, exclude=base.exclude, names=base.names)
        return self.listings[at]


def _largest(listing: trees.Listing) -> int:
    return max((entry.size for entry in listing.entries), default=0)


def make_plan(
    releases: Releases,
    tools: Toolchain,
    *,
    has: Callable[[str], bool] = lambda key: False,
    told: Callable[[str], None] = lambda words: None,
) -> Plan:
    """Hash every tree once and plan; ``has`` says whether a job's result is there, ``told`` gets words.

    Image jobs are planned for trees only that are not there. Raises ``TreeError`` for a directory that holds
    what must not be in a tree, ``StorageError`` for one that cannot be read.
    """
    planner = _Planner(releases, tools, has, told)
    cells = tuple(planner.cells())
    return Plan(releases, tools, cells, planner.jobs, frozenset(planner.done))
