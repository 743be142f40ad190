"""Arithmetic of the modelled delta, from docs/spec/delta-model.md: hashes, range coder, tables, counters,
mixing, symbols and numbers. The table of rows is read from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spec.delta_reader import Refused, damaged
from spec.image_reader_page import PAGES
from spec.model_reader_landmarks import view

Seen = Callable[[int], int]

M32, M64 = 2**32 - 1, 2**64 - 1


def m(a: int, b: int) -> int:
    h = ((a * 0x9E3779B1) ^ ((b + 0x7F4A7C15 & M32) * 0x85EBCA6B)) & M32
    return h ^ h >> 15


def H(data: Sequence[int]) -> int:
    h = len(data)
    for byte in data:
        h = (h + byte + 1) * 0x9E3779B1 & M32
    return h ^ h >> 15


def spread(h: int, s: int) -> int:
    return ((h & M32 ^ s * 0x632BE5AB & M32) * 0x9E3779B97F4A7C15 & M64) >> 32


def bits(x: int) -> int:
    return (x & M64).bit_length()


def low(x: int, n: int) -> int:
    return x & (1 << n) - 1


def clip(x: int, most: int) -> int:
    return max(-most, min(most, x))


# Tables of numbers

FURTHEST = 3071


def _squash_table() -> list[int]:
    """From -3071 to 3071."""
    e, above = 1 << 40, []
    for _ in range(FURTHEST + 1):
        above.append(min(65535, (e << 16) // (e + (1 << 40))))
        e = e * 1103814994613 >> 40
    return [65536 - p for p in reversed(above[1:])] + above


SQUASH = _squash_table()


def squash(x: int) -> int:
    return SQUASH[clip(x, FURTHEST) + FURTHEST]


def _stretch_table() -> list[int]:
    x, table = -FURTHEST, []
    for p in range(65536):
        while squash(x) < p:
            x += 1
        table.append(x)
    return table


STRETCH = _stretch_table()
RATE = [655360 // (10 * n + 13) for n in range(1024)]


class Counter:
    __slots__ = ("h", "n", "q")

    def __init__(self) -> None:
        self.q, self.n, self.h = 1 << 17, 0, 0

    def learn(self, bit: int) -> None:
        self.q += ((((1 << 18) - 1 if bit else 0) - self.q) * RATE[self.n]) >> 16
        self.n = min(self.n + 1, 255)
        self.h = 2 * (self.h or 1) + bit
        if self.h >= 64:
            self.h = 32 + self.h % 32


class Chance:
    """What came after a history, or of an instruction whether it differs: 22 bits, slower up to a limit."""

    __slots__ = ("limit", "n", "q")

    def __init__(self, q: int, n: int, limit: int) -> None:
        self.q, self.n, self.limit = q, n, limit

    def learn(self, bit: int) -> None:
        self.q += ((((1 << 22) - 1 if bit else 0) - self.q) * RATE[self.n]) >> 16
        self.n = min(self.n + 1, self.limit)


def _map() -> list[Chance]:
    entries = []
    for h in range(64):
        after = bin(h)[3:]
        ones, length = after.count("1"), len(after)
        entries.append(Chance((10 * ones + 4 << 22) // (10 * length + 8), 6, 1023))
    return entries


class RangeDecoder:
    def __init__(self, body: bytes) -> None:
        self.body, self.at, self.past = body, 0, 0
        self.range, self.code = M32, 0
        for _ in range(4):
            self.code = self.code << 8 | self._next()

    def _next(self) -> int:
        if self.at < len(self.body):
            self.at += 1
            return self.body[self.at - 1]
        self.past += 1
        return 0

    def bit(self, p: int) -> int:
        bound = (self.range >> 16) * p
        one = self.code < bound
        if one:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        while self.range < 1 << 24:
            self.code = (self.code << 8 | self._next()) & M32
            self.range = self.range << 8 & M32
        return int(one)

    def look(self) -> None:
        damaged(self.past > 4, "reads on behind the end")

    def check_end(self) -> None:
        self.look()
        damaged(self.at != len(self.body), "bytes are left")


# Rows


@dataclass
class Row:
    number: int
    inputs: int
    selects: int
    families: tuple[dict[int, list[int]], ...] = field(default_factory=lambda: ({}, {}, {}))
    final: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.maps = [_map() for _ in range(self.inputs)]

    def weights(self, family: int, number: int) -> list[int]:
        """The set's weights, then its uses."""
        k = self.inputs
        first = 8192 if k == 1 else 4096 if k <= 3 else 2048
        return self.families[family].setdefault(number, [3 * first // 5, 2 * first // 5] * k + [0, 0])


def rows() -> dict[str, Row]:
    """Fresh ones, by name."""
    pattern = r"^\| (\d+) \| ([a-z ]+) \| (\d+) \| (\d+) \| (?:number|signed|symbol|flag)"
    lines = re.findall(pattern, (PAGES / "delta-model.md").read_text(), flags=re.MULTILINE)
    return {name: Row(int(number), int(inputs), int(selects)) for number, name, inputs, selects in lines}


class Line:
    __slots__ = ("check", "counters")

    def __init__(self) -> None:
        self.check = 0
        self.counters: dict[int, Counter] = {}

    def __getitem__(self, t: int) -> Counter:
        return self.counters.setdefault(t, Counter())

    @property
    def seen(self) -> int:
        return self.counters[1].n if 1 in self.counters else 0


class Model:
    """Decodes bits, symbols and numbers, and keeps what was learned."""

    counts_usual = False

    def __init__(self, body: bytes, table: int) -> None:
        self.decoder = RangeDecoder(body)
        self.rows = rows()
        self._size = table * 4096
        self._flags: dict[int, Counter] = {}
        self._lines: dict[int, Line] = {}

    def _line(self, row: Row, i: int, h: int) -> Line:
        g = spread(h, 256 * row.number + i)
        first = g * self._size >> 32
        check = g * 0x2C1B3C6D & M32 | 1
        lines = [self._lines.setdefault(at, Line()) for at in (first, first ^ 1)]
        for line in lines:
            if line.check == check:
                return line
        taken = lines[1] if lines[1].seen < lines[0].seen else lines[0]
        taken.check, taken.counters = check, {}
        return taken

    def _bit(self, row: Row, counters: list[Counter], select: int, index: int, node: int) -> int:
        entries = [row.maps[i][counter.h] for i, counter in enumerate(counters)]
        x = []
        for counter, entry in zip(counters, entries, strict=True):
            x += [STRETCH[counter.q >> 2], STRETCH[entry.q >> 6]]
        x.append(640)
        sure = sum(counter.n >= 1 for counter in counters)
        sets = [row.weights(0, select), row.weights(1, sure), row.weights(2, node)]
        out = [clip(sum(xi * w for xi, w in zip(x, s, strict=False)) >> 13, FURTHEST) for s in sets]
        v = row.final.setdefault((select, index), [19500] * 3)
        p = squash(sum(o * w for o, w in zip(out, v, strict=True)) >> 16)
        bit = self.decoder.bit(p)
        a = 65535 if bit else 0
        for f, weights in enumerate(sets):
            v[f] = clip(v[f] + (out[f] * (a - p) + 32768 >> 16), 655360)
            e = clip((a - squash(out[f])) * (215 + 120000 // (150 + weights[-1])) >> 10, 32767)
            weights[-1] = min(4095, weights[-1] + 1)
            for i, xi in enumerate(x):
                weights[i] = min(32767, max(-32768, weights[i] + (xi * e + 32768 >> 16)))
        for counter, entry in zip(counters, entries, strict=True):
            counter.learn(bit)
            entry.learn(bit)
        return bit

    def look(self) -> None:
        self.decoder.look()

    def flag(self, name: str, contexts: Sequence[int], select: int = 0) -> int:
        row = self.rows[name]
        assert len(contexts) == row.inputs and select < row.selects
        numbers = [spread(h, 256 * row.number + i) >> 12 for i, h in enumerate(contexts)]
        counters = [self._flags.setdefault(number, Counter()) for number in numbers]
        return self._bit(row, counters, select, 0, 1)

    def plain_byte(self) -> int:
        byte = 0
        for _ in range(8):
            byte = 2 * byte + self.decoder.bit(32768)
        return byte

    def symbol(self, name: str, size: int, contexts: Sequence[int], select: int = 0) -> int:
        row = self.rows[name]
        assert len(contexts) == row.inputs and select < row.selects
        node, index, value = 1, 0, 0
        for group in [size] if size <= 4 else [size - 4, 4]:
            shift = (value + 1) * 0x3C6EF372 if index else 0
            lines = [self._line(row, i, h + shift & M32) for i, h in enumerate(contexts)]
            t = 1
            for _ in range(group):
                bit = self._bit(row, [line[t] for line in lines], select, index, node)
                t, node, index = 2 * t + bit, 2 * node + bit, index + 1
            value = value << group | t - (1 << group)
        return value

    def number(self, name: str, contexts: Sequence[int], seen: Seen | None = None) -> int:
        """``seen``: what is seen where a number leads, if it does."""
        return self._magnitude(name, contexts, self._bucket(name, contexts), seen, 0)

    def signed(self, name: str, contexts: Sequence[int], seen: Seen | None = None) -> int:
        bucket = self._bucket(name, contexts)
        if bucket == 0:
            return 0
        sign = self._part(name, contexts, 4 * bucket + 3, 1)
        size = self._magnitude(name, contexts, bucket, seen, sign)
        return -size if sign else size

    def _part(self, name: str, contexts: Sequence[int], part: int, size: int, step: int = 0) -> int:
        return self.symbol(name, size, [m(h, part & M32) for h in contexts], step)

    def _bucket(self, name: str, contexts: Sequence[int]) -> int:
        bucket = self._part(name, contexts, 0, 5)
        if bucket == 31:
            bucket += self._part(name, contexts, 1, 6)
        if bucket > 64:
            raise Refused("E_DELTA", "a number of too many bits")
        return bucket

    def _magnitude(
        self, name: str, contexts: Sequence[int], bucket: int, seen: Seen | None, sign: int
    ) -> int:
        if bucket == 0:
            return 0
        c, left, group = 1, bucket - 1, 0
        while left > 0:
            size = left % 4 or 4
            left -= size
            if left == 0 and seen is not None:
                c = self._landing(name, size, c, seen, sign)
            elif group < 2:
                c = c << size | self._part(name, contexts, 4 * bucket + 2 + 1024 * c, size, 1)
            else:
                inputs = range(self.rows[name].inputs)
                known = [m(left, bucket if i == 1 else 256 * i) for i in inputs]
                c = c << size | self.symbol(name, size, known, 2)
            group += 1
        return c

    def _landing(self, name: str, size: int, c: int, seen: Seen, sign: int) -> int:
        for k in range(size - 1, -1, -1):
            first, half = c << k + 1, 1 << k
            lower, upper = (
                view([seen(-v if sign else v) for v in range(start, start + half)])
                for start in (first, first + half)
            )
            v = m(lower, upper)
            contexts = [m(v, k), m(v, 4 * (2 * self.rows[name].number + 1 + sign) + k)]
            c = 2 * c + self.flag("landmark", contexts, k)
        return c

    def teach(self, name: str, size: int, contexts: Sequence[int], value: int) -> None:
        """A value of ``size`` bits; contexts may be fewer than the row has inputs."""
        row = self.rows[name]
        first = size - 4 if size > 4 else size
        groups = [(0, first, value >> (size - first))]
        if size > 4:
            groups.append((((value >> 4) + 1) * 0x3C6EF372, 4, value & 15))
        for shift, length, part in groups:
            lines = [self._line(row, i, h + shift & M32) for i, h in enumerate(contexts)]
            for line in lines:
                t = 1
                for position in reversed(range(length)):
                    bit = part >> position & 1
                    line[t].learn(bit)
                    t = 2 * t + bit
