"""Making a delta with little memory: leaner ways, each still exact, the same for any number of threads."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from deltaseal import _core, images
from deltaseal.errors import LimitError
from deltaseal.images.creator import memory_ceiling

MB = 1 << 20


def this_libc() -> bytes:
    """The C library that runs this test: a real image of over a megabyte, on every machine."""
    mapped = Path("/proc/self/maps").read_text().split()
    return Path(next(word for word in mapped if "/libc.so" in word or "/libc-" in word)).read_bytes()


OLD = this_libc()
NEW = OLD[: len(OLD) // 3] + b"inserted, and nothing adjusted" + OLD[len(OLD) // 3 : -20_000]
BESIDE = 32 * MB + len(OLD) + len(NEW)  # the program and both images


def apply(delta: bytes) -> bytes:
    pieces: list[bytes] = []
    _core.apply(
        OLD,
        delta,
        lambda piece: pieces.append(bytes(piece)) is None,
        output_bytes=len(NEW),
        memory_bytes=64 * MB,
    )
    return b"".join(pieces)


def core_peak(memory: int, *, threads: int = 1) -> tuple[int, list[bytes]]:
    """Peak of the core and the streams it makes, with so many bytes for it."""
    made = _core.create(OLD, NEW, memory_bytes=memory, threads=threads)
    return made.peak_memory, [made.stream(i) for i in range(_core.STREAM_COUNT)]


def test_less_memory_is_kept_to_by_looking_at_fewer_places() -> None:
    peak, streams = core_peak(64 * MB)
    less, leaner = core_peak(peak - 1)
    assert less < peak * 0.95
    assert leaner != streams


@pytest.mark.parametrize("effort", ["default", "best"])
def test_short_memory_gives_the_same_bytes_for_any_number_of_threads(effort: str) -> None:
    deltas = {
        images.diff_bytes(OLD, NEW, effort=effort, threads=threads, max_memory=BESIDE + 24 * MB)
        for threads in (1, 2, 5)
    }
    assert len(deltas) == 1
    assert apply(deltas.pop()) == NEW


def test_with_least_memory_images_are_taken_as_plain_bytes() -> None:
    delta = images.diff_bytes(OLD, NEW, max_memory=BESIDE + 11 * MB)
    assert images.inspect(delta).header.plain
    assert apply(delta) == NEW


def test_too_little_is_refused_with_what_was_allowed() -> None:
    with pytest.raises(LimitError) as caught:
        images.diff_bytes(OLD, NEW, max_memory=BESIDE + 2 * MB)
    assert caught.value.facts == {"max_memory": BESIDE + 2 * MB}


def test_a_process_keeps_to_the_stated_ceiling(tmp_path: Path) -> None:
    """The whole process, images and program included, measured by the kernel."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(OLD)
    new.write_bytes(NEW)
    code = "import sys; from pathlib import Path; from deltaseal import images"
    make = "images.diff(*map(Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", f"{code}; {make}", old, new], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < max(
        memory_ceiling(len(OLD), len(NEW)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MB
    )
