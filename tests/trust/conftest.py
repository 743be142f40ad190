"""Keys for the tests of this room: made once, the same each time."""

from __future__ import annotations

import hashlib

import pytest

from deltaseal.trust import ALGORITHMS, PrivateKey


def key(algorithm, name: str) -> PrivateKey:
    """The key of this algorithm that belongs to a name."""
    return PrivateKey.generate(algorithm, random=lambda size: hashlib.sha256(name.encode()).digest()[:size])


@pytest.fixture(scope="session")
def keys() -> dict[str, list[PrivateKey]]:
    """Three keys of each algorithm."""
    return {algorithm: [key(algorithm, f"holder {n}") for n in range(3)] for algorithm in ALGORITHMS}
