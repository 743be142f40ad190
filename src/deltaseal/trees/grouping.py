"""How the new contents are grouped and coded (a choice of the writer; no reader depends on it).

Images go alone, each against the one it is like, or against that and those
with code that it lacks. Small other files go together, where that is smaller
than each by itself: one window over all of them, and their old contents before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from deltaseal import images
from deltaseal.errors import LimitError
from deltaseal.storage import BytesSource
from deltaseal.trees.frames import MAX_PREFIX, compress, decompress
from deltaseal.trees.pairing import Need
from deltaseal.trees.plan import Coding
from deltaseal.trees.sharing import IMAGE_MAGICS

__all__ = ["IMAGE_MAGICS", "SMALL", "Frames", "KnownImages", "Made", "make_groups"]

KnownImages = Callable[[bytes, bytes], bytes | None]
"""Called with the SHA-256 of an old and a new content: their image delta without digests, as
``images.diff_bytes`` makes it with the same effort (empty: there can be none), or ``None``: make it."""

Frames = MutableMapping[bytes, bytes]
"""Frames of new contents by themselves, by the contents' SHA-256, made with the same effort; grows."""

SMALL = 1 << 18  # bytes of a file that may share a group
_SHARED = 1 << 23  # bytes of a shared group, old and new together
_OLD_NUMBER = 2  # bytes of one more old file in the plan, about
_OVERHEAD = 6  # bytes that one more group costs in the plan, about

# An image delta under this share of the new bytes is not worth being tried against plain zstd.
_CLEARLY_SMALLER = 8
_PREFIX_ALWAYS = 1 << 20  # bytes of new content for which a frame after the old bytes is always tried

_FAST_LEVEL, _LEVEL = 9, 19  # of zstd
_STEPS = 1000  # how far the making of an image delta is, in the core's own measure


@dataclass(frozen=True, slots=True)
class Made:
    """A group: the numbers of its old files, its new files as places in the list of needs, its payload."""

    old: tuple[int, ...]
    new: tuple[int, ...]
    coding: Coding
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Maker:
    needs: Sequence[Need]
    read_new: Callable[[Need], bytes]
    read_old: Callable[[int], bytes]
    effort: str
    threads: int
    max_memory: int | None
    advance: Callable[[int], None]
    under_way: Callable[[int], None]
    known_images: KnownImages | None
    frames: Frames | None


def _untold(size: int) -> None:
    """Progress that was told already."""


def make_groups(
    needs: Sequence[Need],
    *,
    read_old: Callable[[int], bytes],
    read_new: Callable[[Need], bytes],
    effort: str,
    threads: int,
    max_memory: int | None,
    advance: Callable[[int], None],
    under_way: Callable[[int], None],
    known_images: KnownImages | None = None,
    frames: Frames | None = None,
) -> list[Made]:
    """Return groups in which each of ``needs`` is once; every payload has been unpacked and compared.

    ``advance`` gets the bytes of each group that is made, ``under_way`` those done so far of a large one:
    what either raises stops the work.
    ``known_images`` gives image deltas that were made, and proved, before; what ``frames`` has
    is not compressed again.
    """
    maker = _Maker(
        needs, read_new, read_old, effort, threads, max_memory, advance, under_way, known_images, frames
    )
    contents: dict[int, bytes] = {}
    groups: list[Made] = []
    for place, need in enumerate(needs):
        content = read_new(need)
        if len(content) <= SMALL and not content.startswith(IMAGE_MAGICS):
            contents[place] = content
        else:
            groups.append(_alone(maker, place, content))
    for batch in _batches(contents, needs):
        groups += _together_or_apart(maker, batch, contents)
    return sorted(groups, key=lambda group: group.new)


def _batches(contents: Mapping[int, bytes], needs: Sequence[Need]) -> Iterator[tuple[int, ...]]:
    """Part small files, in order, into batches of at most ``_SHARED`` bytes."""
    batch: list[int] = []
    size = 0
    for place, content in contents.items():
        weight = len(content) + needs[place].old_size
        if batch and size + weight > _SHARED:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(place)
        size += weight
    if batch:
        yield tuple(batch)


def _together_or_apart(maker: _Maker, batch: tuple[int, ...], contents: Mapping[int, bytes]) -> list[Made]:
    together = _group(maker, batch, contents)
    if len(batch) == 1:
        return [together]
    again = replace(maker, advance=_untold, under_way=_untold)
    apart = [_group(again, (place,), contents) for place in batch]
    cost = sum(len(group.payload) + _OVERHEAD for group in apart)
    return apart if cost < len(together.payload) + _OVERHEAD else [together]


def _alone(maker: _Maker, place: int, content: bytes) -> Made:
    """A group of one file: from the old one that it is like, or from several, if that is smaller."""
    made = _group(maker, (place,), {place: content})
    also = maker.needs[place].also
    if not also or maker.effort == "fast":
        return made
    again = replace(maker, advance=_untold, under_way=_untold)
    joined = _group(again, (place,), {place: content}, also)
    return min(made, joined, key=lambda group: len(group.payload) + _OLD_NUMBER * len(group.old))


def _group(
    maker: _Maker, places: tuple[int, ...], contents: Mapping[int, bytes], also: tuple[int, ...] = ()
) -> Made:
    """Make one group of these needs, in the coding that comes out smallest; from ``also`` too."""
    numbers = (maker.needs[place].old for place in places)
    old_numbers = tuple(dict.fromkeys(number for number in numbers if number is not None)) + also
    olds = [maker.read_old(number) for number in old_numbers]
    old = b"".join(olds)
    new = b"".join(contents[place] for place in places)
    coding, payload = min(
        _codings(old, new, maker, [len(part) for part in olds] if also else ()),
        key=lambda candidate: (len(candidate[1]), candidate[0]),
    )
    _prove(coding, payload, old, new)
    maker.advance(len(new))
    return Made(old_numbers if coding.reads_old else (), places, coding, payload)


def _codings(old: bytes, new: bytes, maker: _Maker, parts: Sequence[int]) -> Iterator[tuple[Coding, bytes]]:
    level = _FAST_LEVEL if maker.effort == "fast" else _LEVEL
    yield Coding.RAW, new
    best = len(new)
    delta = _image_delta(old, new, maker, parts)
    if delta:
        yield Coding.IMAGE, delta
        best = len(delta)
    near = best * _CLEARLY_SMALLER > len(new)
    if old and len(old) <= MAX_PREFIX and (near or len(new) <= _PREFIX_ALWAYS):
        yield Coding.ZSTD_OLD, compress(new, level=level, prefix=old)
    if near:
        yield Coding.ZSTD, _frame(new, level, maker.frames)


def _frame(new: bytes, level: int, frames: Frames | None) -> bytes:
    """Contents by themselves, compressed; what was so before is not compressed again."""
    if frames is None:
        return compress(new, level=level)
    name = sha256(new).digest()
    if name not in frames:
        frames[name] = compress(new, level=level)
    return frames[name]


def _image_delta(old: bytes, new: bytes, maker: _Maker, parts: Sequence[int]) -> bytes:
    """Return an image delta; empty where there can be none, as over the engine's limits or the memory."""
    if not old or not new:
        return b""
    if maker.known_images is not None:
        known = maker.known_images(sha256(old).digest(), sha256(new).digest())
        if known is not None:
            return known

    def progress(step: int) -> bool:
        maker.under_way(len(new) * step // _STEPS)
        return True

    try:
        return images.diff_bytes(
            old,
            new,
            digests=False,
            parts=parts,
            effort=maker.effort,
            threads=maker.threads,
            max_memory=maker.max_memory,
            progress=progress,
        )
    except LimitError:
        return b""


def _prove(coding: Coding, payload: bytes, old: bytes, new: bytes) -> None:
    """Unpack what was packed. Image deltas have been applied by the room that makes them."""
    if coding in (Coding.ZSTD, Coding.ZSTD_OLD):
        prefix = old if coding is Coding.ZSTD_OLD else b""
        if b"".join(decompress(BytesSource(payload), len(new), prefix=prefix)) != new:
            raise AssertionError("a frame does not unpack to what was packed")
