"""What a delta says of itself, without its images."""

from __future__ import annotations

from typing import Any, NamedTuple

from deltaseal import _core
from deltaseal.errors import DeltaError, LimitError

Buffer = bytes | bytearray | memoryview

_MAGIC = b"\xd5ds\n"


class StreamInfo(NamedTuple):
    """One typed stream: its raw size, and the frame that holds it."""

    name: str
    raw_size: int
    frame: int


class ImageDeltaInfo(NamedTuple):
    """Header of an image delta; sizes in bytes."""

    header: _core.DeltaHeader
    streams: tuple[StreamInfo, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values; digests are the first 16 bytes of a SHA-256, hexadecimal."""
        h = self.header
        digests = h.digests or (b"", b"")
        return {
            "kind": "image-delta",
            "revision": h.revision,
            "zstd_version": ".".join(map(str, h.zstd_version)),
            "total_size": h.total_size,
            "header_size": h.header_size,
            "old_size": h.old_size,
            "new_size": h.new_size,
            "old_sha256_128": digests[0].hex() or None,
            "new_sha256_128": digests[1].hex() or None,
            "plain": h.plain,
            "coding": "streams" if h.modelled_size is None else "model",
            "modelled_size": h.modelled_size,
            "table": h.table,
            "parts": list(h.parts),
            "context": h.has_context,
            "streams": [{"name": s.name, "raw_size": s.raw_size, "frame": s.frame} for s in self.streams],
            "frames": [
                {"size": size, "raw": raw} for size, raw in zip(h.frame_sizes, h.frame_raw, strict=True)
            ],
        }


def is_image_delta(start: Buffer) -> bool:
    """Whether a file that begins with ``start`` claims to be an image delta."""
    return bytes(start[:4]) == _MAGIC


def inspect(delta: Buffer) -> ImageDeltaInfo:
    """Read the header of ``delta``. Raises DeltaError where it is not an image delta, or is damaged;
    LimitError where it asks for more than any delta may.
    """
    try:
        header = _core.read_header(delta)
    except _core.CoreError as error:
        if error.status is _core.Status.LIMIT:
            raise LimitError("the delta's header asks for more than any delta may") from error
        raise DeltaError("this is not an image delta of this revision, or it is damaged") from error
    streams = zip(_core.STREAM_NAMES, header.raw_sizes, header.frame_of, strict=False)
    return ImageDeltaInfo(header, tuple(StreamInfo(*s) for s in streams))
