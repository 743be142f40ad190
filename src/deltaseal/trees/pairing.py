"""Which old contents a new file is made from (a choice of the writer; no reader depends on it).

For each new file, the first of these that finds something:

1. an old file with the same content: nothing is stored;
2. the old file at the same path;
3. an old file with a like name: numbers in names count as equal, since
   versions stand there; the more of the path is alike the better;
4. the old file with the most content in common.

Only old files that are gone or changed are looked at in 3 and 4. Ties go to the first in path order.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from deltaseal.trees.listing import Entry, Listing
from deltaseal.trees.paths import name_of

__all__ = ["Need", "pair"]

_DIGITS = re.compile(rb"[0-9]+")

_SKETCHED_BYTES = 1 << 22  # of a file that are looked at
_SKETCH = 256  # least hashes kept: enough to tell an eighth in common from chance
_MIN_TOKEN = 6  # bytes; shorter ones are everywhere
_TOKENS = re.compile(rb"[^\x00-\x20]{%d,64}" % _MIN_TOKEN)
_MOST_NAMESAKES = 64  # old files of one name, or with one word, that are told apart: so no work is quadratic
_ALIKE = 8  # one part in so many of the sketches must agree


@dataclass(frozen=True, slots=True)
class Need:
    """A new file whose content must be built, and the number of the old file it is like, if there is one.

    ``also``: numbers of old images that hold code of it which that one lacks.
    """

    entry: Entry
    old: int | None
    old_size: int = 0  # bytes
    also: tuple[int, ...] = ()


Read = Callable[[Entry], bytes]


def pair(old: Listing, new: Listing, *, read_old: Read, read_new: Read) -> list[Need]:
    """Return what must be built of ``new``, in path order: each content once."""
    old_files = {entry.path: number for number, entry in enumerate(old.entries) if entry.kind == "file"}
    known = {entry.sha256 for entry in old.entries if entry.kind == "file"}
    wanted: list[Entry] = []
    for entry in new.entries:
        if entry.kind == "file" and entry.sha256 not in known:
            known.add(entry.sha256)
            wanted.append(entry)
    candidates = [number for path, number in old_files.items() if new.by_path.get(path) != old.by_path[path]]
    alike = _Alike([(number, old.entries[number]) for number in candidates], read_old, read_new)
    return [
        _need(entry, old_files[entry.path] if entry.path in old_files else alike.best(entry), old)
        for entry in wanted
    ]


def _need(entry: Entry, number: int | None, old: Listing) -> Need:
    return Need(entry, number, 0 if number is None else old.entries[number].size)


class _Alike:
    """Finds the old file that a new one without a namesake is most like."""

    def __init__(self, candidates: Sequence[tuple[int, Entry]], read_old: Read, read_new: Read) -> None:
        self._candidates = candidates
        self._read_old = read_old
        self._read_new = read_new
        self._by_name: dict[bytes, list[tuple[int, Entry]]] = {}
        for number, entry in candidates:
            named = self._by_name.setdefault(_plain(name_of(entry.path)), [])
            if len(named) < _MOST_NAMESAKES:
                named.append((number, entry))

    def best(self, new: Entry) -> int | None:
        """Return the number of the best old file; ``None`` if none will do."""
        named = self._by_name.get(_plain(name_of(new.path)))
        if named:
            return min(named, key=lambda item: (-_steps_in_common(item[1].path, new.path), item[0]))[0]
        if not self._candidates:
            return None
        sketch = _sketch(self._read_new(new))
        shares = Counter(number for word in sketch for number in self._by_word.get(word, ()))
        if not shares:
            return None
        share, number = max((share, -number) for number, share in shares.items())
        return -number if share * _ALIKE > len(sketch) else None

    @cached_property
    def _by_word(self) -> dict[int, list[int]]:
        """The old files that have a word in their sketch, for words that few have."""
        found: dict[int, list[int]] = {}
        for number, entry in self._candidates:
            for word in _sketch(self._read_old(entry)):
                found.setdefault(word, []).append(number)
        return {word: numbers for word, numbers in found.items() if len(numbers) <= _MOST_NAMESAKES}


def _plain(path: bytes) -> bytes:
    return _DIGITS.sub(b"0", path)


def _steps_in_common(one: bytes, other: bytes) -> int:
    """How many names two paths have in common, from the end and from the start; exact ones count double."""
    ones, others = one.split(b"/"), other.split(b"/")
    pairs = [*zip(ones, others, strict=False), *zip(reversed(ones), reversed(others), strict=False)]
    return sum((a == b) + (_plain(a) == _plain(b)) for a, b in pairs)


def _sketch(data: bytes) -> frozenset[int]:
    """The least hashes of the words in ``data``: two sketches agree in about the share of common words."""
    hashes = {zlib.crc32(token) for token in _TOKENS.findall(data[:_SKETCHED_BYTES])}
    return frozenset(sorted(hashes)[:_SKETCH])
