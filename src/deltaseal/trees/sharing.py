"""Which old images a new one has code in common with (a choice of the writer; no reader depends on it).

Code moves: between libraries, into a new one, out of one that is gone. So the paths of files say less than
what is in them. A new image is made from the old one at its path, or the one that `pairing` found, unless
another has far more of its code; and, besides, from those that hold much of the code which that one lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from deltaseal import images
from deltaseal.trees.listing import Entry, Listing
from deltaseal.trees.pairing import Need

__all__ = ["IMAGE_MAGICS", "share"]

IMAGE_MAGICS = (
    b"\x7fELF",
    *(
        bytes.fromhex(magic) for magic in ("cffaedfe", "cefaedfe", "cafebabe", "cafebabf")
    ),  # Mach-O, thin and fat
)

_DONORS = 3  # old images beside the main one
_MIN_COMMON = 8  # hashes: two kilobytes of code
_MIN_SHARE = 50  # one part in so many of a new image's code makes a donor
_ALIKE = 8  # one part in so many makes a main image
_UNCHANGED_BYTES = 64 << 20  # of old images that stay as they are and are looked at all the same
_DONOR_BYTES_FACTOR = 2  # old bytes that donors take, to those of both trees: within the readers' limit

Read = Callable[[Entry], bytes]
Sketch = frozenset[int]


def share(needs: list[Need], old: Listing, new: Listing, *, read_old: Read, read_new: Read) -> list[Need]:
    """Return ``needs`` with the old images that each is best made from."""
    sharing = _Sharing(old, new, read_old)
    return [_shared(need, sharing, read_new) for need in needs]


def _shared(need: Need, sharing: _Sharing, read_new: Read) -> Need:
    if not sharing.may_help(need):
        return need
    content = read_new(need.entry)
    if not content.startswith(IMAGE_MAGICS):
        return need
    return sharing.improved(need, images.code_sketch(content))


class _Sharing:
    """The old images that are looked at, each sketched once, when it is first asked for."""

    def __init__(self, old: Listing, new: Listing, read_old: Read) -> None:
        self._old, self._read_old = old, read_old
        files = {number: entry for number, entry in enumerate(old.entries) if entry.kind == "file"}
        gone = {n: e for n, e in files.items() if new.by_path.get(e.path) != e}
        self._changed = gone
        self._others = {n: e for n, e in files.items() if n not in gone}
        self._sketches: dict[int, Sketch] = {}
        both = sum(entry.size for entry in (*old.entries, *new.entries) if entry.kind == "file")
        self._allowance = _DONOR_BYTES_FACTOR * both

    def may_help(self, need: Need) -> bool:
        """Whether there is an old file but the one that was found."""
        return bool(self._changed.keys() - {need.old}) or (need.old is None and bool(self._others))

    def improved(self, need: Need, wanted: Sketch) -> Need:
        """The same need with its main image, and donors of what that lacks."""
        if len(wanted) < _MIN_COMMON:
            return need
        known = self._known(unchanged=need.old is None)
        main = self._main(need.old, wanted, known)
        if main is None:
            return need
        donors = self._donors(wanted - known.get(main, frozenset()), len(wanted), main, known)
        return replace(need, old=main, old_size=self._old.entries[main].size, also=donors)

    def _main(self, paired: int | None, wanted: Sketch, known: Mapping[int, Sketch]) -> int | None:
        found = max(known, key=lambda n: (len(wanted & known[n]), -n), default=None)
        if found is None or len(wanted & known[found]) * _ALIKE < len(wanted):
            return paired
        had = len(wanted & known.get(paired, frozenset())) if paired is not None else 0
        return found if paired is None or len(wanted & known[found]) > 2 * had else paired

    def _donors(self, lacking: Sketch, size: int, main: int, known: Mapping[int, Sketch]) -> tuple[int, ...]:
        """The first is the one with most of what lacks, the next the one with most of what lacks then."""
        donors: list[int] = []
        while len(donors) < _DONORS:
            rest = [n for n in known if n != main and n not in donors and self._size(n) <= self._allowance]
            best = max(rest, key=lambda n: (len(lacking & known[n]), -n), default=None)
            common = len(lacking & known[best]) if best is not None else 0
            if best is None or common < _MIN_COMMON or common * _MIN_SHARE < size:
                break
            donors.append(best)
            self._allowance -= self._size(best)
            lacking -= known[best]
        return tuple(donors)

    def _size(self, number: int) -> int:
        return self._old.entries[number].size

    def _known(self, *, unchanged: bool) -> dict[int, Sketch]:
        numbers = list(self._changed)
        left = _UNCHANGED_BYTES if unchanged else 0
        for number in self._others:
            if self._size(number) <= left:
                left -= self._size(number)
                numbers.append(number)
        sketches = {number: self._sketch(number) for number in numbers}
        return {number: sketch for number, sketch in sketches.items() if sketch}

    def _sketch(self, number: int) -> Sketch:
        if number not in self._sketches:
            content = self._read_old(self._old.entries[number])
            is_image = content.startswith(IMAGE_MAGICS)
            self._sketches[number] = images.code_sketch(content) if is_image else frozenset()
        return self._sketches[number]
