"""Digests of images: the same whoever computes them."""

from __future__ import annotations

import hashlib

import pytest

from deltaseal import _core, images
from deltaseal.images.hashing import sha256

MANY = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, MANY - 1, MANY, MANY + 1, 3 * MANY])
def test_a_digest_is_that_of_hashlib(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    view = memoryview(data)[:size]
    right = hashlib.sha256(view).digest()
    assert sha256(view) == right
    for piece in (1000, 1 << 18, MANY, 2 * MANY):
        for hasher in (images.hasher(), _core.Sha256()):
            for at in range(0, size, piece):
                hasher.update(view[at : at + piece])
            assert hasher.digest() == hasher.digest() == right


def test_pieces_may_come_after_a_digest() -> None:
    hasher = images.hasher()
    hasher.update(b"one")
    assert hasher.digest() == hashlib.sha256(b"one").digest()
    hasher.update(bytearray(b"two"))
    assert hasher.digest() == hashlib.sha256(b"onetwo").digest()
