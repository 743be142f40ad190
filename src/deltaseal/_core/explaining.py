"""The part of the binding that explains deltas: ``ds_explain`` and ``ds_explain_bytes``."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from deltaseal._core._native import ffi, lib
from deltaseal._core.binding import Buffer, check_status

__all__ = ["Explained", "explain", "explain_bytes"]


@dataclass(frozen=True, slots=True)
class Explained:
    """What each piece of the new image costs, in 1/4096 bit.

    ``kinds`` names the delta's streams, or the model's decisions. ``costs`` has a number for every kind of
    the first piece, then of the next, last those of no place. ``blocks``: new offset, old offset, length.
    """

    kinds: tuple[str, ...]
    costs: array[int]
    blocks: tuple[tuple[int, int, int], ...]


def explain(
    old: Buffer, delta: Buffer, bounds: Sequence[int], *, output_bytes: int, memory_bytes: int
) -> Explained:
    """Apply a delta once more and look on. ``bounds`` ascend from 0. Raises CoreError as ``apply`` does."""
    limits = ffi.new("ds_limits *", {"output_bytes": output_bytes, "memory_bytes": memory_bytes})
    cuts, out = ffi.new("uint64_t[]", list(bounds)), ffi.new("ds_explanation **")
    old_data, delta_data = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", delta)
    check_status(lib.ds_explain(old_data, len(old), delta_data, len(delta), limits, cuts, len(bounds), out))
    found = ffi.gc(out[0], lib.ds_explain_free)
    kinds: list[str] = []
    while (name := lib.ds_explained_kind(found, len(kinds))) != ffi.NULL:
        kinds.append(ffi.string(name).decode("ascii"))
    costs, count = array("Q"), ffi.new("uint64_t *")
    costs.frombytes(ffi.buffer(lib.ds_explained_costs(found), (len(bounds) + 1) * len(kinds) * 8))
    numbers = array("Q")
    blocks = lib.ds_explained_blocks(found, count)
    if count[0]:
        numbers.frombytes(ffi.buffer(blocks, count[0] * 24))
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return Explained(tuple(kinds), costs, tuple(triples))


def explain_bytes(data: Buffer, prefix: Buffer, bounds: Sequence[int], *, memory_bytes: int) -> array[int]:
    """What each piece of bytes compressed behind ``prefix`` costs, in 1/4096 bit. Raises CoreError."""
    cuts, costs = ffi.new("uint64_t[]", list(bounds)), ffi.new("uint64_t[]", len(bounds))
    plain, before = ffi.from_buffer("uint8_t[]", data), ffi.from_buffer("uint8_t[]", prefix)
    check_status(
        lib.ds_explain_bytes(plain, len(data), before, len(prefix), memory_bytes, cuts, len(bounds), costs)
    )
    found = array("Q")
    found.frombytes(ffi.buffer(costs))
    return found
