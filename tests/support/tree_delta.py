"""Tree deltas put together field by field, so that a test can get one field wrong (docs/spec/tree.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import zstandard


def varint(number: int) -> bytes:
    """A number in groups of seven bits."""
    groups = []
    while number > 127:
        groups.append(number % 128 + 128)
        number //= 128
    return bytes([*groups, number])


def counted(data: bytes) -> bytes:
    """The size, then the bytes."""
    return varint(len(data)) + data


def edit(path: bytes, action: int, rest: bytes = b"", *, shared: int = 0) -> bytes:
    """An edit; ``rest`` is what follows the action."""
    return varint(shared) + counted(path[shared:]) + bytes([action]) + rest


def built(content: bytes) -> bytes:
    """The fields of a built file."""
    return varint(len(content)) + hashlib.sha256(content).digest()[:4]


def group(coding: int, old: list[int], gaps: list[int], size: int) -> bytes:
    """A group; ``gaps`` are the new files as they are stored."""
    return bytes([coding]) + b"".join(map(varint, (len(old), *old, len(gaps), *gaps, size)))


def plan(edits: list[bytes], groups: list[bytes]) -> bytes:
    """Both lists."""
    return varint(len(edits)) + b"".join(edits) + varint(len(groups)) + b"".join(groups)


@dataclass
class Delta:
    """A whole delta; each field may be set wrong."""

    old_digest: bytes
    new_digest: bytes
    plan: bytes
    payload: bytes = b""
    magic: bytes = b"DSTREE\0"
    revision: int = 1
    coding: int = 0
    size_off: int = 0  # how much the stated total length is off
    stored_plan: bytes | None = None  # with coding 1
    version: tuple[int, int, int] = field(default=(1, 5, 7))

    def __bytes__(self) -> bytes:
        sizes = varint(len(self.plan))
        stored = self.plan if self.stored_plan is None else self.stored_plan
        if self.coding:
            sizes += varint(len(stored))
        total = 84 + len(sizes) + len(stored) + len(self.payload) + self.size_off
        return b"".join(
            (
                self.magic,
                bytes([self.revision]),
                total.to_bytes(8, "little"),
                self.old_digest,
                self.new_digest,
                bytes([*self.version, self.coding]),
                sizes,
                stored,
                self.payload,
            )
        )


def frame(data: bytes, *, window_log: int = 17, magicless: bool = True, **options: bool) -> bytes:
    """A zstd frame, by default of the narrow form."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS if magicless else zstandard.FORMAT_ZSTD1,
        write_content_size=options.get("content_size", False),
        write_checksum=options.get("checksum", False),
        write_dict_id=False,
    )
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj(
        size=len(data) if "content_size" in options else -1  # a known size would make the window smaller
    )
    return writer.compress(data) + writer.flush()
