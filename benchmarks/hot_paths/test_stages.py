"""The stages of making a delta, each timed alone: matching, prediction, encoding.

The core tells how far it is: 50 of 1000 when both images are read, 900 when they are matched. A clock that
stands still outside a stage times that stage.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from deltaseal import _core
from deltaseal.images.container import write_streams
from deltaseal.images.creator import memory_ceiling

from .conftest import cpu_seconds

READ, MATCHED = 50, 900
_TICK = 1e-9  # a clock that stands quite still is taken for a broken one


class StageClock:
    """Processor seconds between two steps of ``create``."""

    def __init__(self, begin: int, end: int) -> None:
        self._begin, self._end = begin, end
        self._began: float | None = None
        self._spent = 0.0
        self._calls = itertools.count()

    def __call__(self) -> float:
        return self._spent + next(self._calls) * _TICK

    def create(self, old: bytes, new: bytes) -> None:
        """Make the raw streams of a delta while the clock looks on."""
        memory = memory_ceiling(len(old), len(new))
        _core.create(old, new, memory_bytes=memory, progress=self._progress)
        self._stop()

    def _progress(self, done: int) -> bool:
        if done >= self._begin and done < self._end and self._began is None:
            self._began = cpu_seconds()
        elif done >= self._end:
            self._stop()
        return True

    def _stop(self) -> None:
        if self._began is not None:
            self._spent += cpu_seconds() - self._began
        self._began = None


match_clock = StageClock(READ, MATCHED)
predict_clock = StageClock(MATCHED, 1001)


@pytest.mark.benchmark(timer=match_clock)
def test_match(benchmark: Any, images: tuple[bytes, bytes]) -> None:
    benchmark.pedantic(match_clock.create, args=images, rounds=3)
    assert benchmark.stats.stats.min > 1e-4


@pytest.mark.benchmark(timer=predict_clock)
def test_predict(benchmark: Any, images: tuple[bytes, bytes]) -> None:
    benchmark.pedantic(predict_clock.create, args=images, rounds=3)
    assert benchmark.stats.stats.min > 1e-5


@pytest.mark.benchmark(timer=cpu_seconds)
def test_encode(benchmark: Any, images: tuple[bytes, bytes]) -> None:
    old, new = images
    creation = _core.create(old, new, memory_bytes=memory_ceiling(len(old), len(new)))
    streams = [creation.stream(i) for i in range(_core.STREAM_COUNT)]
    code_parts = creation.code_parts()

    def encode() -> bytes:
        return write_streams(
            streams,
            code_parts=code_parts,
            threads=1,
            old_size=len(old),
            new_size=len(new),
            digests=None,
            plain=False,
        )

    delta = benchmark.pedantic(encode, rounds=3)
    benchmark.extra_info.update(delta_bytes=len(delta))
