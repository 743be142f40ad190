"""Whose each byte of an image delta is: costs of the core, brought to whole bytes that add up.

The rule is docs/explain.md, "Whose is a byte?": a frame's stored bytes are split among the decisions in its
streams, a modelled delta's body among all decisions, in proportion to their costs, by largest remainder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from deltaseal import _core
from deltaseal.errors import BaseMismatchError, DeltaError, LimitError
from deltaseal.images.inspector import inspect

Buffer = bytes | bytearray | memoryview
Key = TypeVar("Key", bound=tuple[int, ...])

_MEMORY_FLOOR = 256 << 20
_MEMORY_FACTOR = 24

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class ImageAccount:
    """Every byte of an image delta.

    ``header`` bytes are the container's own; ``cells`` maps (piece, kind) to bytes: pieces as the bounds cut
    the new image, ``NOWHERE`` for what was decided on no byte of it; ``kinds`` are names. ``costs`` are what
    they come from, in 1/4096 bit, those of less than a byte too. ``blocks`` are the copies: new offset, old
    offset, length.
    """

    kinds: tuple[str, ...]
    header: int
    cells: Mapping[tuple[int, int], int]
    costs: Mapping[tuple[int, int], int]
    blocks: tuple[tuple[int, int, int], ...]
    modelled: bool

    @property
    def total(self) -> int:
        """The delta's size."""
        return self.header + sum(self.cells.values())


def account(old: Buffer, delta: Buffer, bounds: Sequence[int]) -> ImageAccount:
    """The account of ``delta``, which has been applied to ``old`` before; ``bounds`` ascend from 0.

    Raises DeltaError, BaseMismatchError and LimitError.
    """
    header = inspect(delta).header
    memory = _MEMORY_FLOOR + _MEMORY_FACTOR * max(len(old), header.new_size) + 160 * len(bounds)
    try:
        found = _core.explain(old, delta, bounds, output_bytes=header.new_size, memory_bytes=memory)
    except _core.CoreError as error:
        raise _REFUSALS.get(error.status, DeltaError)(f"the delta cannot be explained: {error}") from error
    costs = _cells(found, len(bounds))
    cells: dict[tuple[int, int], int] = {}
    for kinds, size in _wholes(header, len(found.kinds)):
        part = {cell: cost for cell, cost in costs.items() if cell[1] in kinds}
        cells |= split(size, part) if part else {(NOWHERE, min(kinds)): size}
    whole = {cell: size for cell, size in cells.items() if size}
    return ImageAccount(
        found.kinds, header.header_size, whole, costs, found.blocks, header.modelled_size is not None
    )


_REFUSALS = {
    _core.Status.OLD: BaseMismatchError,
    _core.Status.LIMIT: LimitError,
    _core.Status.MEMORY: LimitError,
}


def _cells(found: _core.Explained, pieces: int) -> dict[tuple[int, int], int]:
    width = len(found.kinds)
    return {
        (NOWHERE if place // width == pieces else place // width, place % width): cost
        for place, cost in enumerate(found.costs)
        if cost
    }


def _wholes(header: _core.DeltaHeader, kinds: int) -> Iterable[tuple[set[int], int]]:
    """What is stored together: the kinds in it, and its bytes."""
    if header.modelled_size is not None:
        return [(set(range(kinds)), header.modelled_size)]
    streams: dict[int, set[int]] = defaultdict(set)
    for stream, frame in enumerate(header.frame_of):
        streams[frame].add(stream)
    return [(streams[frame], size) for frame, size in enumerate(header.frame_sizes)]


def price(data: Buffer, prefix: Buffer, bounds: Sequence[int]) -> list[int]:
    """Costs of the pieces of plain bytes that were compressed behind ``prefix``, in 1/4096 bit."""
    memory = _MEMORY_FLOOR + len(data)
    return list(_core.explain_bytes(data, prefix, bounds, memory_bytes=memory))


def split(size: int, costs: Mapping[Key, int]) -> dict[Key, int]:
    """``size`` whole bytes in proportion to ``costs``, not all 0: largest remainder, ties by key."""
    total = sum(costs.values())
    shares = {key: divmod(size * cost, total) for key, cost in costs.items()}
    left = size - sum(whole for whole, _ in shares.values())
    first = set(sorted(shares, key=lambda key: (-shares[key][1], key))[:left])
    return {key: whole + (key in first) for key, (whole, _) in shares.items()}
