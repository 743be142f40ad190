"""A byte source of which nothing is used that was not hashed (T25).

Invariants:

1. Before the first byte is given out, the whole source was read through once
   and its SHA-256 compared with the expected one, keeping a digest per block.
2. Bytes are given out only from blocks that were hashed after they were read
   for giving out, and whose digest is the kept one.

So a file that is swapped or rewritten between the check and the use is
refused, whatever the order in which ranges are read.
"""

from __future__ import annotations

import hashlib
from typing import Final

from deltaseal.errors import DigestError
from deltaseal.storage import ByteSource

BLOCK: Final = 65_536  # bytes; docs/spec/bundle.md section 5


class CheckedSource:
    """A source whose bytes have the expected digest, at the moment when they are used.

    Raises ``DigestError`` at once if they do not, and later if they change.
    ``what`` names the bytes in the sentence.
    """

    def __init__(self, source: ByteSource, sha256: str, *, what: str = "payload") -> None:
        self._source = source
        self._what = what
        self._blocks = _block_digests(source, sha256, what)
        self._last: tuple[int, bytes] = (-1, b"")

    def size(self) -> int:
        """The size in bytes."""
        return self._source.size()

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes at ``offset``, hashed after they were read."""
        if size <= 0 or offset < 0 or offset + size > self.size():
            return self._source.read_at(offset, size)  # nothing to give out: the source's own answer
        first, last = offset // BLOCK, (offset + size - 1) // BLOCK
        blocks = b"".join(self._block(number) for number in range(first, last + 1))
        start = offset - first * BLOCK
        return blocks[start : start + size]

    def _block(self, number: int) -> bytes:
        if self._last[0] != number:
            data = _read_block(self._source, number)
            if hashlib.sha256(data).digest() != self._blocks[number]:
                raise DigestError(
                    f"the {self._what} was changed while it was used, at byte {number * BLOCK}",
                    what=self._what,
                    offset=number * BLOCK,
                )
            self._last = (number, data)
        return self._last[1]


def _block_digests(source: ByteSource, sha256: str, what: str) -> list[bytes]:
    whole, blocks = hashlib.sha256(), []
    for number in range(-(-source.size() // BLOCK)):
        data = _read_block(source, number)
        whole.update(data)
        blocks.append(hashlib.sha256(data).digest())
    if whole.hexdigest() != sha256:
        raise DigestError(
            f"the {what} is damaged: expected SHA-256 {sha256}, found {whole.hexdigest()}",
            what=what,
            expected=sha256,
            found=whole.hexdigest(),
        )
    return blocks


def _read_block(source: ByteSource, number: int) -> bytes:
    offset = number * BLOCK
    return source.read_at(offset, min(BLOCK, source.size() - offset))
