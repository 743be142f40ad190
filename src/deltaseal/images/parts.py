"""What a delta is made of, for those who work on its size: raw streams, decisions, and deltas made with a
technique left out. Nothing here is proved by applying, and nothing of it is to be delivered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from deltaseal import _core
from deltaseal.images.compressing import compress
from deltaseal.images.container import write_modelled, write_streams
from deltaseal.images.creator import EFFORTS, Buffer, memory_ceiling

__all__ = ["Parts", "Without", "compress_stream", "take_apart"]

Without = _core.Without


@dataclass(frozen=True, slots=True)
class Parts:
    """A delta before it is packed.

    ``size``: bytes of the whole delta without digests. ``cpu_s``: processor seconds of making it.
    ``streams``: raw bytes by name (typed streams). ``decisions``: bytes, nearly, by kind (the model).
    ``context``: old bytes that the frame of code literals stands behind.
    """

    size: int
    cpu_s: float
    streams: dict[str, bytes]
    decisions: dict[str, float]
    context: bytes


def take_apart(
    old: Buffer, new: Buffer, *, effort: str, without: Without | None = None, rounds: int | None = None
) -> Parts:
    """Make the delta of an effort and hand out its parts. ``rounds`` of matching instead of the effort's."""
    before = time.process_time()
    creation = _core.create(
        old,
        new,
        memory_bytes=memory_ceiling(len(old), len(new)),
        rounds=EFFORTS[effort].rounds if rounds is None else rounds,
        modelled=EFFORTS[effort].modelled,
        without=without,
    )
    if EFFORTS[effort].modelled:
        made = creation.modelled()
        delta = write_modelled(made, old_size=len(old), new_size=len(new), digests=None, plain=False)
        return Parts(len(delta), time.process_time() - before, {}, creation.modelled_costs(), b"")
    streams = [creation.stream(i) for i in range(_core.STREAM_COUNT)]
    code_parts = [] if without and "old bytes" in without.techniques else creation.code_parts()
    delta = write_streams(
        streams,
        code_parts=code_parts,
        threads=1,
        old_size=len(old),
        new_size=len(new),
        digests=None,
        plain=False,
    )
    names = dict(zip(_core.STREAM_NAMES, streams, strict=True))
    return Parts(
        len(delta), time.process_time() - before, names, {}, b"".join(part.context for part in code_parts)
    )


def compress_stream(data: bytes, context: bytes = b"") -> bytes:
    """One frame, as a delta has it."""
    return compress(data, context)
