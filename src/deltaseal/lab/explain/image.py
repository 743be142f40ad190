"""One image delta: the new bytes cut at sections, functions and texts, and each piece given its share."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from deltaseal import images
from deltaseal.lab.explain.kinds import CONTAINER, LAYOUT, is_mended, kind_of
from deltaseal.lab.explain.parts import Function, ImageParts, Section, parts_of, strings_in
from deltaseal.lab.explain.report import Change, FunctionCost, Share

__all__ = ["NamedBytes", "explain_image"]

_TEXT_SHOWN = 48  # characters of a text that its share is named by
_TEXTS_IN = ("data", "strings")  # roles in which texts are looked for
_KINSHIP = 2  # without a name to go by, an older self gave at least half of it
_NEIGHBOURS = 8  # functions in a row that may be unknown, to find counterparts by their order


@dataclass(frozen=True, slots=True)
class NamedBytes:
    """A file, or one of several that were put together: its name and its bytes."""

    name: str
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    file: str
    section: Section
    function: Function | None = None
    text: str = ""


_TAIL = Section("(compressed streams)", 0, 0, "packed")


def explain_image(
    old: Sequence[NamedBytes], new: Sequence[NamedBytes], delta: bytes
) -> tuple[list[Share], list[FunctionCost]]:
    """The shares of a delta and the functions that cost something, largest first.

    The sides are the files that were put together, most often one; the delta has been applied before.
    """
    before, after = _Side(old), _Side(new)
    pieces = [*after.pieces(), _Piece(after.size, new[-1].name, _TAIL)]
    account = images.account(before.data, delta, [piece.start for piece in pieces])
    functions = _Functions(before, after, account, pieces)
    shares = [Share("", "(container)", "", "header", CONTAINER, account.header)]
    costs: dict[tuple[str, Function], int] = defaultdict(int)
    for (place, number), size in sorted(account.cells.items()):
        stream = account.kinds[number]
        if place == images.NOWHERE:
            shares.append(Share("", "(container)", "", stream, LAYOUT, size))
            continue
        piece = pieces[place]
        item, is_new = piece.text, False
        if piece.function is not None:
            costs[piece.file, piece.function] += size
            item = after.parts[piece.file].called(piece.function)
            is_new = functions.change(piece.file, piece.function) == "new"
        kind = kind_of(piece.section.role, stream, is_new=is_new, is_text=bool(piece.text))
        shares.append(Share(piece.file, piece.section.name, item, stream, kind, size))
    return shares, functions.costs(costs)


class _Side:
    """The files of one side as they were put together."""

    def __init__(self, files: Sequence[NamedBytes]) -> None:
        self.files = files
        self.parts = {file.name: parts_of(file.data) for file in files}
        self.bases = dict(
            zip(
                (file.name for file in files),
                accumulate((len(f.data) for f in files), initial=0),
                strict=False,
            )
        )
        self.size = sum(len(file.data) for file in files)
        self.data = files[0].data if len(files) == 1 else b"".join(file.data for file in files)

    def function_at(self, offset: int) -> tuple[str, Function] | None:
        """The function that holds a byte of the whole."""
        for file in reversed(self.files):
            if offset >= self.bases[file.name]:
                found = self.parts[file.name].function_at(offset - self.bases[file.name])
                return (file.name, found) if found else None
        return None

    def pieces(self) -> Iterator[_Piece]:
        """The whole, cut wherever a section, a function or a text begins or ends; in order."""
        for file in self.files:
            yield from _pieces_of(file, self.parts[file.name], self.bases[file.name])


def _pieces_of(file: NamedBytes, parts: ImageParts, base: int) -> Iterator[_Piece]:
    functions = iter(parts.functions)
    function = next(functions, None)
    for section in parts.sections:
        at = section.offset
        texts = strings_in(section, file.data) if section.role in _TEXTS_IN else []
        for start, end in texts:
            if start > at:
                yield _Piece(base + at, file.name, section)
            yield _Piece(base + start, file.name, section, text=_shown(file.data[start:end]))
            at = end
        while function is not None and function.offset < section.end:
            if function.offset > at:
                yield _Piece(base + at, file.name, section)
            yield _Piece(base + function.offset, file.name, section, function)
            at = function.end
            function = next(functions, None)
        if at < section.end:
            yield _Piece(base + at, file.name, section)


def _shown(text: bytes | memoryview) -> str:
    words = bytes(text).rstrip(b"\0").decode("ascii", "replace").replace("\n", "\\n").replace("\t", "\\t")
    return f'"{words[:_TEXT_SHOWN]}…"' if len(words) > _TEXT_SHOWN else f'"{words}"'


class _Functions:
    """What became of each function: its older self, and whether more than references in it differs."""

    def __init__(
        self, before: _Side, after: _Side, account: images.ImageAccount, pieces: Sequence[_Piece]
    ) -> None:
        self._before, self._after = before, after
        self._account = account
        self._starts = [block[0] for block in account.blocks]
        self._ends = list(accumulate(length for _, _, length in account.blocks))  # bytes copied so far
        self._named: dict[tuple[str, str, str], list[Function]] = defaultdict(list)
        for name, parts in before.parts.items():
            for function in parts.functions:
                if function.name:
                    self._named[name, _section_of(parts, function), function.name].append(function)
        self._mended = set(self._corrected(pieces))
        self._new_names = {f.name for parts in after.parts.values() for f in parts.functions if f.name}
        self._known: dict[tuple[str, Function], Function | None] = {}

    def _corrected(self, pieces: Sequence[_Piece]) -> Iterator[tuple[str, Function]]:
        """The functions of which copied bytes were corrected."""
        mending = {n for n, name in enumerate(self._account.kinds) if is_mended(name)}
        for place, number in self._account.costs:
            if number in mending and place != images.NOWHERE:
                piece = pieces[place]
                if piece.function is not None:
                    yield piece.file, piece.function

    def change(self, file: str, function: Function) -> Change:
        """Whether it is new, changed in substance, or only moved."""
        if self._older(file, function) is None:
            return "new"
        if self._literal(file, function) or (file, function) in self._mended:
            return "changed"
        return "moved"

    def costs(self, costs: dict[tuple[str, Function], int]) -> list[FunctionCost]:
        """Each function with its cost, largest first."""
        found = []
        for (file, function), size in costs.items():
            parts, older = self._after.parts[file], self._older(file, function)
            found.append(
                FunctionCost(
                    file=file,
                    name=parts.called(function),
                    address=function.address,
                    section=_section_of(parts, function),
                    old_size=older.size if older else None,
                    new_size=function.size,
                    change=self.change(file, function),
                    literal_bytes=self._literal(file, function),
                    bytes=size,
                )
            )
        return sorted(found, key=lambda f: (-f.bytes, f.file, f.address))

    def _copied_before(self, offset: int) -> int:
        at = bisect_right(self._starts, offset) - 1
        if at < 0:
            return 0
        start, _, length = self._account.blocks[at]
        return self._ends[at] - length + min(length, offset - start)

    def _literal(self, file: str, function: Function) -> int:
        start = self._after.bases[file] + function.offset
        copied = self._copied_before(start + function.size) - self._copied_before(start)
        return function.size - copied

    def _older(self, file: str, function: Function) -> Function | None:
        """Of the same name; else the one that most of it was copied from; else what stood there."""
        key = (file, function)
        if key not in self._known:
            self._known[key] = self._kin(file, function) or self._between(file, function)
        return self._known[key]

    def _kin(self, file: str, function: Function) -> Function | None:
        """Of the same name in its section; else, or where several have it, the one most was copied from."""
        section = _section_of(self._after.parts[file], function)
        named = self._named.get((file, section, function.name), []) if function.name else []
        if len(named) == 1:
            return named[0]
        ancestor = self._ancestor(file, function)
        return ancestor if ancestor or not named else named[0]

    def _between(self, file: str, function: Function) -> Function | None:
        """Its counterpart, where as many old functions as new ones stand between two that are known."""
        new, old = self._after.parts[file].functions, self._before.parts.get(file)
        at = bisect_right(new, function.offset, key=lambda other: other.offset) - 1
        before, after = (self._nearest_known(file, at, step) for step in (-1, 1))
        if old is None or function.name or before is None or after is None:
            return None
        starts = [other.offset for other in old.functions]
        first, last = (bisect_right(starts, known.offset) for _, known in (before, after))
        if last - first != after[0] - before[0]:
            return None
        return old.functions[first + at - before[0] - 1]

    def _nearest_known(self, file: str, at: int, step: int) -> tuple[int, Function] | None:
        """The next function, in one direction, that has an older self by name or by copies."""
        functions = self._after.parts[file].functions
        for place in range(at + step, at + step * (_NEIGHBOURS + 1), step):
            if not 0 <= place < len(functions):
                return None
            if known := self._kin(file, functions[place]):
                return place, known
        return None

    def _ancestor(self, file: str, function: Function) -> Function | None:
        copied: dict[tuple[str, Function], int] = defaultdict(int)
        start = self._after.bases[file] + function.offset
        for old_offset, length in self._copies(start, start + function.size):
            for offset in range(old_offset, old_offset + length, 16):
                if found := self._before.function_at(offset):
                    copied[found] += min(16, old_offset + length - offset)
        if not copied:
            return None
        (_, best), size = max(copied.items(), key=lambda entry: entry[1])
        other = function.name != best.name and bool(function.name) and best.name in self._new_names
        return best if size * _KINSHIP >= function.size and not other else None

    def _copies(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        at = max(0, bisect_right(self._starts, start) - 1)
        for new_offset, old_offset, length in self._account.blocks[at:]:
            if new_offset >= end:
                return
            first, last = max(start, new_offset), min(end, new_offset + length)
            if first < last:
                yield old_offset + first - new_offset, last - first


def _section_of(parts: ImageParts, function: Function) -> str:
    at = bisect_right(parts.sections, function.offset, key=lambda section: section.offset) - 1
    return parts.sections[at].name
