"""Renames, written from docs/spec/delta-format.md, "Renames", alone."""

from __future__ import annotations

from collections.abc import Iterator

from spec.delta_reader import CODE_CLASS, Layout, Region, What, damaged, over, region_of_offset


def read_renames(stream: Layout, old: bytes, regions: list[Region]) -> bytes:
    """The old image as the walk copies it. ``old``: without its tail; ``regions``: the old ones."""
    count = stream.number(What.RENAMES)
    damaged(count == 0, "no rename")
    over(count > 256, "renames")
    end = 0
    renames: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        first = end + stream.number(What.RENAME_DISTANCE)
        size = stream.number(What.RENAME_SIZE) + 8
        end = first + size
        damaged(size > 64, "size of a rename")
        damaged(end > len(old), "rename outside the old image")
        new = [stream.number(What.RENAME_BYTE) for _ in range(size)]
        damaged(max(new) > 255, "byte of a rename")
        renames.append((old[first:end], bytes(new)))
    damaged(len({before[:8] for before, _ in renames}) < count, "renames that begin alike")
    return renamed(old, regions, renames)


def renamed(old: bytes, regions: list[Region], renames: list[tuple[bytes, bytes]]) -> bytes:
    out = bytearray(old)
    for first, last in pieces(regions, len(old)):
        at = first
        while at < last:
            found = next((pair for pair in renames if old.startswith(pair[0], at, last)), None)
            if found is None:
                at += 1
                continue
            out[at : at + len(found[1])] = found[1]
            at += len(found[1])
    return bytes(out)


def pieces(regions: list[Region], size: int) -> Iterator[tuple[int, int]]:
    """Where occurrences may lie."""
    begins = sorted(region.offset for region in regions if region.has_bytes)
    at = 0
    while at < size:
        region = region_of_offset(regions, at)
        last = min([size, *(begin for begin in begins if begin > at)])
        if region is not None:
            last = min(last, region.offset + region.size)
        if region is None or region.kind != CODE_CLASS:
            yield at, last
        at = last
