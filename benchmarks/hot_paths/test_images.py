from __future__ import annotations

from typing import Any

import pytest

from deltaseal import images as room

from .conftest import cpu_seconds

pytestmark = pytest.mark.benchmark(timer=cpu_seconds)


def test_image_diff(benchmark: Any, images: tuple[bytes, bytes]) -> None:
    delta = benchmark.pedantic(room.diff_bytes, args=images, rounds=3)
    benchmark.extra_info.update(new_bytes=len(images[1]), delta_bytes=len(delta))


def test_image_apply(benchmark: Any, images: tuple[bytes, bytes]) -> None:
    old, new = images
    delta = room.diff_bytes(old, new)

    def apply() -> bytes:
        pieces: list[bytes] = []
        room.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
        return b"".join(pieces)

    assert benchmark(apply) == new
    benchmark.extra_info.update(new_bytes=len(new), delta_bytes=len(delta))
