"""Which images have code in common."""

from __future__ import annotations

from deltaseal import _core
from deltaseal.images.creator import Buffer, memory_ceiling

__all__ = ["code_sketch"]


def code_sketch(data: Buffer) -> frozenset[int]:
    """Hashes of some of an image's code, one for about 256 bytes; none for other files.

    A function has the same ones in whatever image it lies, so common ones are common code.
    """
    try:
        return _core.sketch_code(data, memory_bytes=memory_ceiling(len(data), 0))
    except _core.CoreError:
        return frozenset()
