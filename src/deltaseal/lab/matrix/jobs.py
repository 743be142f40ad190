"""Jobs: what is computed, under which key, with how much memory, and the function that does it.

A task is what one process, or one worker of a cluster, does in one go: a job, the jobs of one old
image, or the whole files of one new tree. Tasks hold plain values only, so that they can be sent
anywhere; results go to the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from deltaseal import images, trees
from deltaseal._version import __version__
from deltaseal.errors import DigestError, LimitError, UsageError
from deltaseal.lab.matrix.cache import Cache
from deltaseal.storage import BytesSource, FileSource

__all__ = ["ImageJob", "Job", "Task", "Toolchain", "TreeJob", "key_of", "run_task", "toolchain"]

MIB = 1 << 20
_IMAGE_BESIDE, _IMAGE_FACTOR = 64 * MIB, 16
_SHARED = 14  # bytes that an old image takes while several jobs share it, for each of its own
_TREE_BESIDE = 256 * MIB


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What, beside the contents, decides the bytes of a result."""

    deltaseal: str
    zstd: str
    revisions: tuple[int, int]  # of image and tree deltas


@cache
def toolchain() -> Toolchain:
    """That of this process."""
    from deltaseal.images.container import ZSTD_VERSION
    from deltaseal.trees.container import REVISION

    revision = images.inspect(images.diff_bytes(b"old", b"new")).header.revision
    return Toolchain(__version__, ".".join(map(str, ZSTD_VERSION)), (revision, REVISION))


@dataclass(frozen=True, slots=True)
class Prepared:
    """An old image and its bytes, for the jobs of one task."""

    old: bytes
    image: images.PreparedOld


@dataclass(frozen=True, slots=True)
class ImageJob:
    """The image delta between two files, which lie anywhere; digests hexadecimal, sizes bytes."""

    old: str
    new: str
    old_path: Path
    new_path: Path
    old_size: int
    new_size: int
    effort: str

    kind = "image"

    @property
    def memory(self) -> int:
        """Bytes that it may take."""
        sizes = (self.old_size, self.new_size)
        return _IMAGE_BESIDE + sum(sizes) + _IMAGE_FACTOR * max(sizes)

    @property
    def weight(self) -> int:
        """How long it takes, in a measure of its own: about the time for a byte of image."""
        return self.old_size + self.new_size

    def make(self, cache: Cache, threads: int, prepared: Prepared | None = None) -> bytes:
        """The image delta; empty where there can be none. ``prepared`` is of the same old content."""
        old = _read(self.old_path, self.old) if prepared is None else prepared.old
        new = _read(self.new_path, self.new)
        try:
            return images.diff_bytes(
                old,
                new,
                effort=self.effort,
                threads=threads,
                digests=False,
                prepared=None if prepared is None else prepared.image,
            )
        except LimitError:
            return b""


@dataclass(frozen=True, slots=True)
class TreeJob:
    """A tree delta between two directories. ``images`` are the keys of those that it needs, by contents."""

    old: str  # tree digests
    new: str
    old_dir: Path
    new_dir: Path
    kind: Literal["delta", "whole"]
    new_bytes: int
    largest: int  # bytes of the largest old and the largest new file together
    names: trees.Names
    exclude: tuple[str, ...]
    effort: str
    images: tuple[tuple[str, str, str], ...] = ()  # old, new, key

    @property
    def memory(self) -> int:
        """Bytes that it may take."""
        return _TREE_BESIDE + (3 if self.kind == "whole" else 2) * self.new_bytes + 4 * self.largest

    @property
    def weight(self) -> int:
        """As of an image job: compressing whole files is slow, putting image deltas together is quick."""
        return self.new_bytes if self.kind == "whole" else self.new_bytes // 4

    def make(self, cache: Cache, threads: int, frames: trees.Frames | None = None) -> bytes:
        """The tree delta, of images that were made before; ``frames`` are shared by the jobs of one task."""
        keys = {(old, new): key for old, new, key in self.images}

        def known(old: bytes, new: bytes) -> bytes | None:
            key = keys.get((old.hex(), new.hex()))
            return cache.get(key) if key else None

        made = trees.diff(
            self.old_dir,
            self.new_dir,
            exclude=self.exclude,
            names=self.names,
            effort=self.effort,
            threads=threads,
            whole=self.kind == "whole",
            known_images=known,
            frames=frames,
        )
        _check_unchanged(self, made)
        return made


Job = ImageJob | TreeJob


def key_of(job: Job, tools: Toolchain) -> str:
    """The key of a job (docs/spec/matrix.md, section 2)."""
    values = {
        "deltaseal": tools.deltaseal,
        "effort": job.effort,
        "format": 1,
        "kind": job.kind,
        "new": job.new,
        "old": job.old,
        "revisions": tools.revisions,
        "zstd": tools.zstd,
    }
    return _sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


@dataclass(frozen=True, slots=True)
class Task:
    """Jobs that are done in one go, one after the other. ``needs``: keys that the cache must have before."""

    name: str  # for people
    jobs: tuple[tuple[str, Job], ...]  # with their keys
    needs: frozenset[str]

    @property
    def memory(self) -> int:
        """Bytes that it may take: its jobs run one after the other, beside what several share."""
        shared = max((job.old_size for _, job in self.jobs if isinstance(job, ImageJob)), default=0)
        return max(job.memory for _, job in self.jobs) + (_SHARED * shared if len(self.jobs) > 1 else 0)

    @property
    def weight(self) -> int:
        """How long it takes, in the measure of jobs; of whole files of one tree only the first does."""
        if all(isinstance(job, TreeJob) for _, job in self.jobs):
            return max(job.weight for _, job in self.jobs)
        return sum(job.weight for _, job in self.jobs)


def run_task(task: Task, folder: Path, tools: Toolchain, threads: int) -> None:
    """Do the jobs of a task that the cache has not got, and put their results there.

    Raises ``UsageError`` if this process would make other bytes than the one that planned.
    """
    if toolchain() != tools:
        raise UsageError(
            f"this worker has {toolchain()}, the run was planned with {tools}",
            hint="install the same deltaseal, and so the same zstandard, on all machines",
        )
    cache = Cache(folder)
    wanted = [(key, job) for key, job in task.jobs if not cache.has(key)]
    prepared = _prepare(wanted, threads)
    frames: dict[bytes, bytes] | None = {} if len(wanted) > 1 else None
    for key, job in wanted:
        if isinstance(job, ImageJob):
            cache.put(key, job.make(cache, threads, prepared))
        else:
            cache.put(key, job.make(cache, threads, frames))


def _prepare(wanted: Sequence[tuple[str, Job]], threads: int) -> Prepared | None:
    """The old image of several jobs, read and indexed once; ``None`` where it would not pay."""
    jobs = [job for _, job in wanted if isinstance(job, ImageJob)]
    if len(jobs) < 2 or len({job.old for job in jobs}) != 1:
        return None
    old = _read(jobs[0].old_path, jobs[0].old)
    try:
        return Prepared(old, images.prepare(old, threads=threads))
    except LimitError:
        return None


def _read(path: Path, digest: str) -> bytes:
    with FileSource(path) as source:
        data = source.read_at(0, source.size())
    if _sha256(data) != digest:
        raise _changed(path, digest, _sha256(data))
    return data


def _check_unchanged(job: TreeJob, made: bytes) -> None:
    info = trees.inspect(BytesSource(made))
    sides = ((job.old_dir, job.old, info.old_digest), (job.new_dir, job.new, info.new_digest))
    for directory, expected, found in sides:
        if found.hex() != expected:
            raise _changed(directory, expected, found.hex())


def _changed(path: Path, expected: str, found: str) -> DigestError:
    return DigestError(
        f"{str(path)!r} was changed while the matrix was built",
        hint="build again, from directories that nobody writes to",
        expected=expected,
        found=found,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
