"""References and residuals of copied bytes in the modelled delta, from docs/spec/delta-model.md."""

from __future__ import annotations

from bisect import bisect_right

from spec.delta_reader import (
    KINDS,
    MASK,
    Block,
    Reference,
    address_of,
    put_reference,
)
from spec.image_reader_x86_64 import Instruction
from spec.model_reader_coder import M32, Chance, H, bits, low, m
from spec.model_reader_gaps import NUMBERS, PIECES, New, Shared, Targets, bare, piece
from spec.model_reader_x86_64 import DATA, DISPLACEMENT, IMMEDIATE, parts_of, role_of
from spec.shifts_reader import Shifts, operand_of

UNIT = 64
Sites = list[tuple[int, int, tuple[int, int]]]
AS_TARGETS = {"REL32", "B26", "ADRP", "ABS64", "CHAIN36"}


def enter(history: int, bit: int) -> int:
    return (2 * history + bit) & M32


class References:
    def __init__(self, shared: Shared, targets: Targets, blocks: list[Block]) -> None:
        self._shared, self._targets, self._blocks = shared, targets, blocks
        self._news = [block.new for block in blocks]
        self.wrong = 0  # history
        self._last_fix = self._kept = 0  # the second is a history

    def read(self, new: New, reference: Reference, block: Block, number: int) -> None:
        prediction = self._shared.prediction
        at = reference.offset - block.old + block.new
        place = address_of(self._shared.regions, at)
        expected, base = prediction.both(reference, place, number)
        rule = prediction.rule
        kind, actual = NUMBERS[reference.kind], expected
        is_wrong = self._flag(4 * kind + rule, rule, reference, block, expected)
        if is_wrong:
            field = bytes(new.data[at - new.start : at - new.start + KINDS[reference.kind].length])
            kept, aside = prediction.correction(reference, field, place, expected, base)
            if kept != expected and self._is_kept(kind, rule, block):
                actual = kept
            elif reference.kind in AS_TARGETS:
                which = 0 if self._targets.is_code(reference.target) else 1
                around, hint = self.around(expected), aside if aside != expected else None
                actual = self._targets.read(expected, 16 * kind + rule, which, around, hint)
            else:
                actual = aside + self._fix(kind, rule, expected, aside) & MASK
        put_reference(new.data, at - new.start, reference, place, actual, base)
        prediction.settle(reference, place, expected, actual, base, corrected=bool(is_wrong))

    def _flag(self, k: int, rule: int, reference: Reference, block: Block, expected: int) -> int:
        w, inside = self.wrong, reference.offset - block.old
        contexts = [m(k, low(w, 8)), m(k, 256 * bits(inside) + bits(block.length - inside))]
        contexts += [m(k, low(reference.target >> 10, 32)), m(k, self.around(expected))]
        flag = self._shared.model.flag("reference wrong", contexts, rule)
        self.wrong = enter(w, flag)
        return flag

    def _is_kept(self, k: int, rule: int, block: Block) -> int:
        v = self._kept
        contexts = [k, m(k, low(v, 2)), m(1, low(v, 8)), m(4 * k + rule, low(v, 1)), m(2, bits(block.length))]
        flag = self._shared.model.flag("reference kept", contexts)
        self._kept = enter(v, flag)
        return flag

    def _fix(self, k: int, rule: int, expected: int, aside: int) -> int:
        contexts = [k, m(k, rule), m(k, low(self.wrong, 2)), m(rule, self._last_fix), self.around(expected)]
        new = self._shared.landmarks.new
        fix = self._shared.model.signed("reference fix", contexts, lambda n: new(aside + n))
        self._last_fix = fix & M32
        return fix

    def around(self, p: int) -> int:
        """Where an address lies in its block, or between blocks."""
        decides = None
        for region in self._shared.regions:
            if (
                region.has_bytes
                and region.address <= p
                and (not decides or decides.address <= region.address)
            ):
                decides = region
        if decides is None or p >= decides.address + decides.size:
            return 1
        n = decides.offset + p - decides.address
        j = bisect_right(self._news, n) - 1
        first = last = inside = 0
        if j >= 0 and n < self._blocks[j].new + self._blocks[j].length:
            first, inside = self._blocks[j].new, 1
            last = first + self._blocks[j].length
        else:
            first = self._blocks[j].new + self._blocks[j].length if j >= 0 else 0
            last = self._blocks[j + 1].new if j + 1 < len(self._blocks) else MASK
        return m(256 * min(n - first, 24) + min(last - n, 24), 2 + inside)


class Site:
    """An old instruction, and the place of the byte at hand in it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.leave()

    def leave(self) -> None:
        self.first, self.a, self.form, self.parts = 0, 0, 0, Instruction()

    def enter(self, e: int, a: int) -> None:
        data = self._shared.old[e : min(e + 40, self._shared.old_end)]
        parts = parts_of(data)
        if parts.length > len(data):
            parts = Instruction()
        self.first, self.a, self.parts = e, a, parts
        form = parts.modrm + 1 if parts.modrm else parts.immediate or parts.field or parts.length
        self.form = H(data[:form])

    @property
    def operand(self) -> int:
        parts = self.parts
        f = parts.immediate or parts.displacement
        if f == 0:
            return 0
        if f + 4 <= parts.length:
            return int.from_bytes(self.old(f, f + 4), "little") // 128
        return self.old(f, f + 1)[0] // 4

    def find(self, o: int) -> None:
        k = next((k for k in range(15) if k <= o and self._shared.is_start(o - k)), None)
        self.leave()
        if k is not None:
            self.enter(o - k, k)
            if k >= self.parts.length:
                self.leave()

    def step(self, o: int) -> None:
        if self._shared.is_start(o):
            self.enter(o, 0)
        else:
            self.a += 1

    def old(self, first: int, last: int) -> bytes:
        return self._shared.old[self.first + first : self.first + last]


class Risk:
    """How likely old instructions are to differ, by their two keys."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._tables: tuple[dict[int, Chance], ...] = ({}, {})

    def words(self, o: int, z: int) -> Sites:
        """Of each word: where it begins in the unit, its size, its keys."""
        sites = []
        for i in range(0, z, 4):
            w = int.from_bytes(self._shared.old[o + i : o + i + 4], "little")
            keys = m(1, (w >> 22) * 32 + w % 32) >> 16, m(2, w >> 12) >> 16
            sites.append((i, 4, keys))
        return sites

    def instructions(self, o: int, z: int) -> Sites:
        sites, i = [], 0
        while i < z:
            if not self._shared.is_start(o + i):
                i += 1
                continue
            site = Site(self._shared)
            site.enter(o + i, 0)
            length = site.parts.length or 1
            sites.append((i, length, (m(4, site.form) >> 16, m(site.form, site.operand) >> 16)))
            i += length
        return sites

    def _chance(self, table: int, key: int) -> Chance:
        return self._tables[table].setdefault(key, Chance(4000, 0, 20))

    def level(self, table: int, sites: Sites) -> int:
        x = sum(self._chance(table, keys[table]).q for _, _, keys in sites) >> 4
        b = bits(x)
        return x if b < 2 else 2 * b + (x >> (b - 2)) % 2

    def learn(self, sites: Sites, before: bytes, after: bytes) -> None:
        for at, length, keys in sites:
            differs = before[at : at + length] != after[at : at + length]
            for table in (0, 1):
                self._chance(table, keys[table]).learn(int(differs))


WIDE = 0x1FFFE0  # the number of a wide word


class Residuals:
    def __init__(self, shared: Shared, references: References) -> None:
        self._shared, self._references = shared, references
        self._units = 0  # history
        self._risk = Risk(shared)
        self._shifts = Shifts(shared.image.functions)
        self._substituted = list(range(32))
        self._change = [0] * 5
        self._guesses = 0  # history
        self._changed = self._wide_change = 0

    def read(self, new: New, block: Block, first: int, last: int) -> None:
        """The chunk [first, last) of old bytes, copied already."""
        for o in range(first, last, UNIT):
            size = min(UNIT, last - o)
            v = o - block.old + block.new
            words = self._is_words(o) and o % 4 == v % 4 == size % 4 == 0
            sites = self._risk.words(o, size) if words else self._risk.instructions(o, size)
            at = v - new.start
            before = bytes(new.data[at : at + size])
            if self._shifts.enter(o):
                self._substituted = list(range(32))
            if self._differs(block, o, size, sites, words=words):
                if words:
                    self._words(new, o, v, size)
                else:
                    self._bytes(new, block, o, v, size)
            self._risk.learn(sites, before, bytes(new.data[at : at + size]))

    def _differs(self, block: Block, o: int, z: int, sites: Sites, *, words: bool) -> int:
        r0, r1 = self._risk.level(0, sites), self._risk.level(1, sites)
        level = self._shifts.level([self._old_word(o + i) for i in range(0, z, 4)]) if words else 0
        ends = 2 * (o == block.old) + (o + z == block.old + block.length)
        u = self._units
        contexts = [m(bits(block.length), ends), m(1, 4 * bits(z) + ends)]
        contexts += [m(2, r0), m(3, r1), m(m(4, r0), r1), m(m(5, level), low(u, 2))]
        is_start = self._shared.is_start(o) or self._shared.is_start(o + z // 2)
        flag = self._shared.model.flag("unit differs", contexts, int(is_start))
        self._units = enter(u, flag)
        return flag

    def _old_word(self, o: int) -> int:
        return int.from_bytes(self._shared.old[o : o + 4], "little")

    def _is_words(self, o: int) -> bool:
        for number, region in enumerate(self._shared.image.regions):
            if region.has_bytes and region.offset <= o < region.offset + region.size:
                return number in self._shared.image.of_words
        return False

    def _bytes(self, new: New, block: Block, o: int, v: int, z: int) -> None:
        shared, site = self._shared, Site(self._shared)
        size, d, since, moved_by = bits(block.length), 0, 15, [0] * 7
        for i in range(z):
            site.find(o) if i == 0 else site.step(o + i)
            parts, a = site.parts, site.a
            role = role_of(parts, a) if a < parts.length else DATA
            g = (o + i) % 8 if role == DATA else a
            k, at = 256 * role + g, v + i - new.start
            y = new.data[at]
            modrm = site.old(parts.modrm, parts.modrm + 1)[0] if parts.modrm else 0
            operand = 0
            if role == DISPLACEMENT:
                operand = H(site.old(parts.displacement, parts.immediate or parts.length))
            elif role == IMMEDIATE:
                operand = H(site.old(parts.immediate, parts.length))
            near = o + i - block.old < 4 or block.old + block.length - (o + i) < 4
            moved = int(y != shared.old[o + i])
            flag = 1
            if i < z - 1 or d:
                contexts = [m(k, low(d, 8)), m(role, y)]
                contexts += [m(m(role, since), moved), m(m(role, modrm), operand)]
                contexts += [m(m(role, size), int(near)), m(k, m(site.form, low(d, 3)))]
                flag = shared.model.flag("byte differs", contexts, role)
            d = d << 1 | flag  # all of the unit's; low() takes the latest
            since = 0 if flag else since + 1
            if not flag:
                continue
            before = new.before(v + i, 1 if role == DATA else a)
            contexts = [m(role, y), m(256 + role, moved_by[role]), m(site.form, 256 * y + g)]
            contexts += [m(m(role, modrm), operand + g & M32), m(H(before), k), k]
            by = moved_by[role] = shared.model.symbol("byte", 8, contexts, role)
            new.data[at] = (y + by) % 256 if role in (DISPLACEMENT, IMMEDIATE, DATA) else y ^ by

    def _words(self, new: New, o: int, v: int, z: int) -> None:
        d, b = 0, new.u32_before(v)
        for i in range(0, z, 4):
            at = v + i - new.start
            w = int.from_bytes(new.data[at : at + 4], "little")
            flag = 1
            if i < z - 4 or d:
                flag = self._word_differs(w, b, d, o + i)
            d = d << 1 | flag
            x = self._word(w, b, d) if flag else w
            self._shifts.learn(w, x)
            if is_wide(w) and (w ^ x) & WIDE and not (w ^ x) & ~(WIDE | 31):
                self._wide_change = (x & WIDE) - (w & WIDE)
            new.data[at : at + 4] = x.to_bytes(4, "little")
            b = x

    def _word_differs(self, w: int, b: int, d: int, o: int) -> int:
        site, c = self._risk.words(o, 4), bare(w)
        rd, rn = w % 32, w >> 5 & 31
        contexts = [w >> 24, m(1, c), m(m(c, b), low(d, 1)), m(c >> 24, b >> 24)]
        contexts += [m(256 * self._substituted[rd] + self._substituted[rn], 32 * rd + rn)]
        contexts += [m(self._risk.level(0, site), self._risk.level(1, site))]
        operand = operand_of(self._old_word(o))
        h = self._shifts.state(operand)
        contexts += [m(m(3, h), operand.base if operand else 32)]
        return self._shared.model.flag("word differs", contexts, int(h == 3))

    def _guess(self, w: int) -> int:
        operand = operand_of(w)
        if is_wide(w):
            return w & ~(WIDE | 31) | w + self._wide_change & WIDE | self._substituted[w % 32]
        x = w & ~0x3FF | self._substituted[w % 32] | self._substituted[w >> 5 & 31] << 5
        if operand is None:
            return x
        moved = operand.move(w, self._shifts.expected(operand))
        return x & ~operand.mask | moved & operand.mask

    def _word(self, w: int, b: int, d: int) -> int:
        x = self._guess(w)
        h = self._shifts.state(operand_of(w))
        y = parts_apart(w, x)
        if y and self._is_guessed(w, x, y, h, d):
            for f in range(5):
                self._learn_piece(w, f, piece(x, f))
            return x
        changed = self._parts(w, b, y, h, d)
        s = 0
        for f, (shift, _, _) in enumerate(PIECES):
            now = piece(w, f)
            if changed >> 4 - f & 1:
                now = self._piece(w, x, f, s, changed, b, h)
            self._learn_piece(w, f, now)
            s |= now << shift
        return s

    def _is_guessed(self, w: int, x: int, y: int, h: int, d: int) -> int:
        op, by, g = w >> 24, x - w & M32, self._guesses
        contexts = [m(op, y), m(m(bare(w), by), 1), m(m(op, by), 2), m(m(h, y), low(g, 3))]
        contexts += [m(256 * op + y, low(d, 4)), m(by, low(g, 2))]
        flag = self._shared.model.flag("word guessed", contexts, int(h == 3))
        self._guesses = enter(g, flag)
        return flag

    def _parts(self, w: int, b: int, y: int, h: int, d: int) -> int:
        op = w >> 24
        contexts = [m(op, 1), m(op, y), m(bare(w), 2), m(256 * op + y, self._changed), m(m(op, b), 3)]
        contexts += [m(m(y, h), low(d, 4)), m(op, b >> 24)]
        self._changed = self._shared.model.symbol("word parts", 5, contexts)
        return self._changed

    def _piece(self, w: int, x: int, f: int, s: int, changed: int, b: int, h: int) -> int:
        _, size, known = PIECES[f]
        was = piece(w, f)
        k, agrees = 256 * (s >> 24) + f, int(x & known == s)
        guess = self._change[f]
        if is_register(w, f):
            guess = (self._substituted[was] - was) % 256
        elif operand_of(w) is not None or is_wide(w):
            guess = (piece(x, f) - was) % (1 << size)
        contexts = [m(65536 * f + was, 1), m(m(s, f), w), m(m(s, f), b), m(m(k, was), 2)]
        contexts += [m(m(k, guess), changed), m(f, changed)]
        contexts += [m(m(3, 65536 * f + 2 * guess + agrees), h)]
        return (was + self._shared.model.symbol("word field", size, contexts, f)) % (1 << size)

    def _learn_piece(self, w: int, f: int, now: int) -> None:
        was = piece(w, f)
        if is_register(w, f):
            self._substituted[was] = now
        elif now != was:
            self._change[f] = (now - was) % 256


def is_wide(w: int) -> bool:
    return w & 0x1F800000 == 0x12800000


def is_register(w: int, f: int) -> bool:
    return f == 1 or (f == 2 and not is_wide(w))


def parts_apart(w: int, v: int) -> int:
    return sum((piece(w, f) != piece(v, f)) << 4 - f for f in range(5))
