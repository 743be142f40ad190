"""What is timed: real pairs where they are at hand, and this machine's C library, edited by rule.

Everything is timed in processor seconds, of children too: deltas are applied in a process of their own.
"""

from __future__ import annotations

import ctypes.util
import os
import random
import resource
from pathlib import Path

import pytest

_CORPUS = Path(os.environ.get("DELTASEAL_CORPUS") or "~/.cache/deltaseal/corpus").expanduser()
_PAIRS = ("libxml2", "lxml-arm64")
_EDIT_EACH = 40_000  # bytes between two edits of the image that is made


def cpu_seconds() -> float:
    """User and system time of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _edited(old: bytes) -> bytes:
    """A new version by rule: here and there a few bytes go in, go out, or change."""
    chance = random.Random(1)
    pieces = []
    for at in range(0, len(old), _EDIT_EACH):
        piece = bytearray(old[at : at + _EDIT_EACH])
        cut = chance.randrange(max(1, len(piece) - 64))
        piece[cut : cut + chance.randrange(48)] = chance.randbytes(chance.randrange(48))
        pieces.append(bytes(piece))
    return b"".join(pieces)


def _some_library() -> bytes:
    name = ctypes.util.find_library("c") or "libc.so.6"
    folders = map(Path, ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib"))
    return next(path.read_bytes() for folder in folders if (path := folder / name).is_file())


@pytest.fixture(params=[*_PAIRS, "edited-libc"], scope="session")
def images(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    if request.param == "edited-libc":
        old = _some_library()
        return old, _edited(old)
    place = _CORPUS / request.param
    if not place.is_dir():
        pytest.skip(f"run benchmarks/corpus/fetch {request.param}")
    return (place / "old").read_bytes(), (place / "new").read_bytes()
