"""The bytes of gaps in the modelled delta, from docs/spec/delta-model.md: alignment, data, targets, words.
Runs of x86-64 code stand in model_reader_x86_64.py.
"""

from __future__ import annotations

from collections import Counter as Tally

from spec.delta_reader import (
    CODE_CLASS,
    KINDS,
    MASK,
    OldImage,
    Prediction,
    Region,
    address_of,
    damaged,
    put,
    to_front,
)
from spec.model_reader_coder import M32, Model, bits, low, m
from spec.model_reader_landmarks import Landmarks

HINTED = {"REL32", "B26", "ADRP"}
NUMBERS = {name: number for number, name in enumerate(KINDS, start=1)}


class New:
    """Bytes made so far, from offset ``start`` on; all before is 0."""

    def __init__(self, start: int) -> None:
        self.start, self.data = start, bytearray()

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def before(self, offset: int, size: int) -> bytes:
        """The bytes [offset - size, offset)."""
        last = offset - self.start
        return bytes(self.data[max(last - size, 0) : last]).rjust(size, b"\0")

    def u32_before(self, offset: int) -> int:
        return int.from_bytes(self.before(offset, 4), "little")


class Shared:
    """What the parts of the walk know in common."""

    def __init__(
        self,
        model: Model,
        landmarks: Landmarks,
        image: OldImage,
        old: bytes,
        old_end: int,
        prediction: Prediction,
        regions: list[Region],
    ) -> None:
        self.model, self.image, self.prediction, self.regions = model, image, prediction, regions
        self.landmarks = landmarks
        self.plain = 0  # the latest flag of a run
        self.old, self.old_end = old, old_end  # with its tail; its size without
        self.references = {reference.offset: reference for reference in image.references}

    def is_start(self, o: int) -> bool:
        return 0 <= o < len(self.image.starts) and self.image.starts[o] == 1

    def put(self, data: bytearray, at: int, kind: str, target: int, place: int, aux: int) -> None:
        put(data, at, KINDS[kind], KINDS[kind].number(target, place, aux, 0))

    def hint(self, kind: str, at: int, block: int) -> int | None:
        """What is beside the target of the old reference at exactly this place."""
        reference = self.references.get(at)
        if reference is None or reference.kind != kind:
            return None
        return self.prediction.ruled("REL32", reference.target, block)[0]


class Alignment:
    """Where a gap stands among the old bytes."""

    def __init__(self, shared: Shared, budget: int) -> None:
        self._shared, self._budget = shared, budget
        self.old, self.first = b"", 0  # the old file, or the tail, and where it begins
        self.place = self.run = self.missed = 0

    def begin(self, at: int, *, in_tail: bool) -> None:
        end = self._shared.old_end
        self.first = end if in_tail else 0
        self.old = self._shared.old[end:] if in_tail else self._shared.old[:end]
        self.place, self.run, self.missed = at - self.first & MASK, 0, 0

    @property
    def at(self) -> int:
        return self.place + self.first & MASK

    def skip(self, size: int) -> None:
        self.place = self.place + size & MASK

    def _take(self, step: int, as_expected: bool, sought: bytes) -> None:
        self.skip(step)
        if as_expected:
            self.run += 1
            return
        self.run, self.missed = 0, self.missed + 1
        if self._budget >= 1024:
            self._budget -= 1024
            self._search(step, sought)

    def _search(self, step: int, sought: bytes) -> None:
        for away in range(512 if step == 1 else 128):
            for place in (self.place + step * away & MASK, self.place - step * away & MASK):
                if 4 <= place <= len(self.old) and self.old[place - 4 : place] == sought:
                    self.place, self.missed = place, 0
                    return

    def byte(self) -> tuple[int, int]:
        """Expected, trust."""
        if self.place >= len(self.old):
            return 0, 0
        r = self.run if self.run < 4 else bits(self.run) + 1
        return self.old[self.place], 1 + 2 * min(r, 7) + (self.missed > 0)

    def take_byte(self, byte: int, latest: bytes) -> None:
        expected, trust = self.byte()
        self._take(1, trust > 0 and expected == byte, latest)

    def word(self) -> int | None:
        at = self.place & ~3
        return int.from_bytes(self.old[at : at + 4], "little") if at + 4 <= len(self.old) else None

    def take_word(self, word: int) -> None:
        expected = self.word()
        self.place &= ~3
        as_expected = expected is not None and bare(expected) == bare(word)
        self._take(4, as_expected, word.to_bytes(4, "little"))


class Targets:
    """Targets of references that are coded as such."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.recent = [0] * 32
        self.ways = self.bases = 0
        self.last_distance = 0
        self.latest_far = [0, 0]
        self.last_step = [0, 0]
        tallies: list[Tally[int]] = [Tally(), Tally()]
        for reference in shared.image.references:
            if reference.kind in HINTED:
                tallies[0 if self.is_code(reference.target) else 1][reference.target] += 1
        self._lists = [sorted(tally, key=lambda t, tally=tally: (-tally[t], t)) for tally in tallies]

    def is_code(self, address: int) -> bool:
        regions = self._shared.image.regions
        return any(r.kind == CODE_CLASS and r.address <= address < r.address + r.size for r in regions)

    def read(self, place: int, known: int, kind: int, around: int, hint: int | None) -> int:
        """``kind``: class code is 0, data 1."""
        model, is_hint = self._shared.model, int(hint is not None)
        contexts = [is_hint, m(1, known), m(known, is_hint), m(self.ways, is_hint)]
        contexts += [m(m(known, low(self.ways, 4)), is_hint)]
        way = model.symbol("way", 2, contexts, is_hint)
        self.ways = (4 * self.ways + way) & M32
        target = self._by_way(way, place, known, kind, around, hint)
        to_front(self.recent, target, target)
        return target

    def _by_way(self, way: int, place: int, known: int, kind: int, around: int, hint: int | None) -> int:
        model = self._shared.model
        if way == 0:
            damaged(hint is None, "no hint")
            assert hint is not None
            return hint
        if way == 1:
            return self.recent[model.symbol("recent", 5, [kind, m(1, known), m(2, low(self.ways, 8))])]
        if way == 2:
            rank = model.number("rank", [kind, m(known, kind)])
            damaged(rank >= len(self._lists[kind]), "rank")
            return self._shared.prediction.far(self._lists[kind][rank])[0]
        target = self._by_base(place, known, kind, around, hint)
        if 4096 <= (target - place & MASK) <= (1 << 64) - 4096:
            self.latest_far[kind] = target
        return target

    def _by_base(self, place: int, known: int, kind: int, around: int, hint: int | None) -> int:
        model, is_hint = self._shared.model, int(hint is not None)
        contexts = [m(kind, is_hint), m(1, known), m(kind + 2, low(self.bases, 4))]
        contexts += [m(m(known, is_hint), low(self.bases, 2))]
        base = model.symbol("base", 2, contexts, is_hint)
        self.bases = (4 * self.bases + base) & M32
        damaged(base == 3 or (base == 2 and hint is None), "base")
        if base == 0:
            contexts = [kind, m(1, known), m(known, low(self.ways, 4)), m(kind + 2, self.last_distance)]
            contexts += [m(around, 5), m(around, known)]
            distance = model.signed("distance", contexts, lambda n: self._shared.landmarks.new(place + n))
            self.last_distance = distance & M32
            return place + distance & MASK
        b = self.latest_far[kind] if base == 1 else hint
        assert b is not None
        k, last = 4 * kind + base, self.last_step[kind]
        contexts = [k, m(k, known), m(k + 8, last.bit_length()), m(k + 16, last)]
        contexts += [m(m(k, known), last.bit_length())]
        step = model.signed("step", contexts, lambda n: self._shared.landmarks.new(b + n))
        if base == 1:
            self.last_step[kind] = step & M32
        return b + step & MASK


def data_contexts(n: bytes, o: int) -> list[int]:
    """0 to 4; ``n``: the eight bytes before o, the latest first."""
    contexts = [0, n[0], n[0] << 8 | n[1]]
    contexts += [m(1, n[0] << 24 | n[1] << 16 | n[2] << 8 | n[3]), m(o % 8, n[7])]
    return contexts


def show_data(shared: Shared, c: int, d: int) -> None:
    """What is taught of the old data [c, d)."""
    for o in range(max(c, 8), d):
        shared.model.teach("data", 8, data_contexts(shared.old[o - 8 : o][::-1], o), shared.old[o])


def read_data(shared: Shared, new: New, alignment: Alignment, size: int) -> None:
    if size >= 1024:
        shared.plain = shared.model.flag("plain run", [shared.plain])
        if shared.plain:
            new.data += bytes(shared.model.plain_byte() for _ in range(size))
            alignment.skip(size)
            return
    for _ in range(size):
        o = new.end
        n = new.before(o, 8)[::-1]
        expected, trust = alignment.byte()
        contexts = data_contexts(n, o)
        contexts += [m(trust, expected), m(m(2, expected), n[0])]
        new.data.append(shared.model.symbol("data", 8, contexts))
        alignment.take_byte(new.data[-1], new.before(new.end, 4))


# Words

PIECES = [(24, 8, 0), (0, 5, 0xFF000000), (5, 5, 0xFF00001F), (10, 6, 0xFF0003FF), (16, 8, 0xFF00FFFF)]
SHAPES = [
    (0x7C000000, 0x14000000, 0xFC000000, "B26", 1),
    (0xFF000000, 0x54000000, 0xFF00001F, "IMM19", 2),
    (0x7E000000, 0x34000000, 0xFF00001F, "IMM19", 2),
    (0x7E000000, 0x36000000, 0xFFF8001F, "IMM14", 2),
    (0x3B000000, 0x18000000, 0xFF00001F, "IMM19", 2),
    (0x9F000000, 0x90000000, 0x9F00001F, "ADRP", 2),
    (0x9F000000, 0x10000000, 0x9F00001F, "ADR", 2),
]
Shape = tuple[int, int, int, str, int]
SURE = 8


def shape_of(w: int) -> Shape | None:
    return next((shape for shape in SHAPES if w & shape[0] == shape[1]), None)


def bare(w: int) -> int:
    shape = shape_of(w)
    return w if shape is None else w & shape[2]


def piece(w: int, f: int) -> int:
    shift, size, _ = PIECES[f]
    return w >> shift & (1 << size) - 1


def word_contexts(s: int, f: int, p1: int, p2: int) -> list[int]:
    """0 to 4."""
    k = 256 * (s >> 24) + f
    contexts = [m(s, f), m(s + f, p1), m(m(s + f, p1), p2)]
    return [*contexts, m(m(k, p1 >> 24), p2 >> 24), m(k, piece(p1, f))]


class Words:
    def __init__(self, shared: Shared, alignment: Alignment, targets: Targets) -> None:
        self._shared, self._alignment, self._targets = shared, alignment, targets
        self._last = [0] * 256

    def run(self, new: New, size: int, block: int) -> None:
        self._p1 = bare(new.u32_before(new.end))
        self._p2 = bare(new.u32_before(new.end - 4))
        for _ in range(size // 4):
            w = self._word(new.end, block)
            new.data += w.to_bytes(4, "little")
            self._alignment.take_word(w)
            v = bare(w)
            self._p2, self._p1 = self._p1, v
            self._last[v >> 24] = v

    def _word(self, o: int, block: int) -> int:
        expected = self._alignment.word()
        self._x = 0 if expected is None else bare(expected)
        run = self._alignment.run
        sure = expected is not None and run >= SURE
        if sure and self._shared.model.flag("word expected", [run.bit_length(), self._x]):
            s = self._x
        else:
            s = self._pieces()
        shape = shape_of(s)
        if shape is None:
            return s
        _, _, kept, kind, _ = shape
        return self._refer(kind, s & kept, o, block)

    def _pieces(self) -> int:
        s = self._piece(0, 0) << 24
        shape = shape_of(s)
        for f in range(1, 5 if shape is None else shape[4]):
            s |= self._piece(f, s) << PIECES[f][0]
        if shape is not None and shape[3] == "IMM14":
            s |= self._piece(4, s, size=5) << 19
        return s

    def _refer(self, kind: str, s: int, o: int, block: int) -> int:
        at = self._alignment.first + (self._alignment.place & ~3)
        place = address_of(self._shared.regions, o)
        hint = self._shared.hint(kind, at, block)
        target = self._targets.read(place, m(s, NUMBERS[kind]), int(kind == "ADRP"), 0, hint)
        data = bytearray(s.to_bytes(4, "little"))
        self._shared.put(data, 0, kind, target, place, 0)
        return int.from_bytes(data, "little")

    def _piece(self, f: int, s: int, *, size: int = 0) -> int:
        x, op = self._x, s >> 24
        known = int(x & PIECES[f][2] == s)
        r, k = min(self._alignment.run, 3), 256 * op + f
        contexts = word_contexts(s, f, self._p1, self._p2)
        contexts += [
            m(m(x, f), 4 * known + r),
            m(1, self._p1 & 0xFF00001F) if f == 0 else m(m(k, self._last[op]), known),
            m(piece(x, f), 256 * f + op + known),
        ]
        return self._shared.model.symbol("word", size or PIECES[f][1], contexts, f)

    def show(self, c: int, d: int) -> None:
        """What is taught of the old words [c, d)."""
        p1 = p2 = 0
        for o in range(-(-c // 4) * 4, d - 3, 4):
            if not self._shared.is_start(o):
                continue
            v = bare(int.from_bytes(self._shared.old[o : o + 4], "little"))
            shape, s = shape_of(v), 0
            for f in range(5 if shape is None else shape[4]):
                shift, size, _ = PIECES[f]
                self._shared.model.teach("word", size, word_contexts(s, f, p1, p2), piece(v, f))
                s |= piece(v, f) << shift
            p2, p1 = p1, v
