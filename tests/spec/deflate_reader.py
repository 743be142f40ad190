"""A second reader of embedded deflate, written from docs/spec/deflate.md alone.

`content_of` and `recipe_of` take a stream apart, `stream_of` makes it again. Slow and plain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

LENGTH_BASE = [
    *range(3, 11),
    11,
    13,
    15,
    17,
    19,
    23,
    27,
    31,
    35,
    43,
    51,
    59,
    67,
    83,
    99,
    115,
    131,
    163,
    195,
    227,
    258,
]
LENGTH_EXTRA = [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0]
DISTANCE_EXTRA = [0, 0, *(i // 2 for i in range(28))]
DISTANCE_BASE = [1, 2, 3, 4, *(1 + (2 + i % 2 << i // 2 + 1) for i in range(26))]
LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
FIXED = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8
LEVELS = {
    1: (4, 4, 8, 4),
    2: (4, 5, 16, 8),
    3: (4, 6, 32, 32),
    4: (4, 4, 16, 16),
    5: (8, 16, 32, 32),
    6: (8, 16, 128, 128),
    7: (8, 32, 128, 256),
    8: (32, 128, 258, 1024),
    9: (32, 258, 258, 4096),
}
STORED, FIXED_TYPE, DYNAMIC = range(3)

Token = tuple[int, int] | None  # length and distance; None: a literal
Match = tuple[int, int] | None


class DeflateError(Exception):
    """Not a stream, or not a recipe."""


def must(holds: object) -> None:
    if not holds:
        raise DeflateError


def length_of(token: Token) -> int:
    return token[0] if token else 1


def symbol_of(value: int, bases: list[int]) -> int:
    return max(i for i, base in enumerate(bases) if base <= value)


# ---- bits ----


class BitsIn:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> int:
        value = 0
        for i in range(count):
            must(self.at >> 3 < len(self.data))
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << i
            self.at += 1
        return value

    def symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 16):
            code = code << 1 | self.take(1)
            if (length, code) in codes:
                return codes[length, code]
        raise DeflateError

    def to_byte(self) -> int:
        return self.take(-self.at % 8)


class BitsOut:
    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self.bits += [value >> i & 1 for i in range(count)]

    def code(self, code: tuple[int, int]) -> None:
        length, value = code
        self.bits += [value >> i & 1 for i in reversed(range(length))]

    def to_byte(self, fill: int = 0) -> None:
        self.put(fill, -len(self.bits) % 8)

    def bytes(self) -> bytes:
        groups = (self.bits[at : at + 8] for at in range(0, len(self.bits), 8))
        return bytes(sum(bit << i for i, bit in enumerate(group)) for group in groups)


def numbered(lengths: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Symbols and their codes as (length, code); RFC 1951, section 3.2.2."""
    code = 0
    for length in range(1, 16):
        code <<= 1
        for symbol, its in enumerate(lengths):
            if its == length:
                yield symbol, (length, code)
                code += 1


def decoder(lengths: list[int]) -> dict[tuple[int, int], int]:
    codes = {code: symbol for symbol, code in numbered(lengths)}
    room = 2**15 - sum(2 ** (15 - length) for length, _ in codes)
    must(room == 0 or (room > 0 and all(length == 1 for length, _ in codes) and len(codes) <= 1))
    return codes


def read_header(bits: BitsIn) -> tuple[list[int], list[int]]:
    literals, distances, count = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    must(literals <= 286 and distances <= 30)
    lengths = [0] * 19
    for i in range(count):
        lengths[LENGTH_ORDER[i]] = bits.take(3)
    codes, told = decoder(lengths), list[int]()
    while len(told) < literals + distances:
        symbol = bits.symbol(codes)
        if symbol < 16:
            told.append(symbol)
        elif symbol == 16:
            must(told)
            told += [told[-1]] * (3 + bits.take(2))
        else:
            told += [0] * (3 + bits.take(3) if symbol == 17 else 11 + bits.take(7))
    must(len(told) == literals + distances and told[256])
    decoder(told[:literals])
    decoder(told[literals:])
    return told[:literals], told[literals:]


# ---- a stream, taken apart ----


@dataclass
class Block:
    type: int
    tokens: list[Token] = field(default_factory=list)
    size: int = 0  # of a stored one
    padding: int = 0
    header: bytes = b""
    header_bits: int = 0


@dataclass
class Stream:
    size: int
    content: bytes
    blocks: list[Block]
    tail: int


def take_apart(data: bytes) -> Stream:
    bits, content, blocks, final = BitsIn(data), bytearray(), list[Block](), 0
    while not final:
        final, block = bits.take(1), Block(bits.take(2))
        must(block.type <= DYNAMIC)
        blocks.append(block)
        if block.type == STORED:
            block.padding = bits.to_byte()
            block.size = bits.take(16)
            must(bits.take(16) == block.size ^ 0xFFFF and bits.at // 8 + block.size <= len(data))
            content += data[bits.at // 8 : bits.at // 8 + block.size]
            bits.at += 8 * block.size
            continue
        literals, distances = FIXED, [5] * 30
        if block.type == DYNAMIC:
            start = bits.at
            literals, distances = read_header(bits)
            block.header_bits = bits.at - start
            out, again = BitsOut(), BitsIn(data, start)
            out.put(again.take(block.header_bits), block.header_bits)
            block.header = out.bytes()
        read_tokens(bits, literals, distances, block, content)
    tail = bits.to_byte()
    return Stream(bits.at // 8, bytes(content), blocks, tail)


def read_tokens(
    bits: BitsIn, literals: list[int], distances: list[int], block: Block, content: bytearray
) -> None:
    codes = {code: symbol for symbol, code in numbered(literals)}
    far = {code: symbol for symbol, code in numbered(distances)}
    while (symbol := bits.symbol(codes)) != 256:
        if symbol < 256:
            content.append(symbol)
            block.tokens.append(None)
            continue
        must(symbol < 286)
        length = LENGTH_BASE[symbol - 257] + bits.take(LENGTH_EXTRA[symbol - 257])
        must(symbol == 285 or length < 258)
        symbol = bits.symbol(far)
        distance = DISTANCE_BASE[symbol] + bits.take(DISTANCE_EXTRA[symbol])
        must(distance <= len(content))
        for _ in range(length):
            content.append(content[-distance])
        block.tokens.append((length, distance))


# ---- what is expected ----


class Style:
    def __init__(self, number: int) -> None:
        must(number < 1134)
        self.level, memory, window = number % 9 + 1, number // 9 % 9 + 1, number // 81 % 7 + 9
        self.filtered = number // 567
        self.full = 2 ** (memory + 6) - 1
        self.hash_bits = memory + 7
        self.reach = 2**window - 262
        self.good, self.lazy, self.nice, self.chain = LEVELS[self.level]


class Expectation:
    """Tokens one after the other: `expect`, then `take` what comes."""

    def __init__(self, content: bytes, style: Style) -> None:
        self.content, self.style = content, style
        self.last: dict[int, int] = {}
        self.before: dict[int, int] = {}
        self.at = self.entered = 0
        self.ahead: dict[int, Match] = {}
        self.expected: Token = None

    def enter(self, p: int) -> None:
        c, g = self.content, (self.style.hash_bits + 2) // 3
        if p + 3 <= len(c) and p not in self.before:
            h = (c[p] << 2 * g ^ c[p + 1] << g ^ c[p + 2]) % 2**self.style.hash_bits
            self.before[p] = self.last.get(h, 0)
            self.last[h] = p

    def enter_to(self, end: int) -> None:
        for p in range(self.entered, end):
            self.enter(p)
        self.entered = max(self.entered, end)

    def common(self, q: int, p: int, limit: int) -> int:
        c, length = self.content, 0
        while length < limit and c[q + length] == c[p + length]:
            length += 1
        return length

    def find(self, p: int, longer_than: int) -> Match:
        style, n = self.style, len(self.content)
        if p + 3 > n:
            return None
        limit, low = min(258, n - p), max(p - style.reach, 0)
        stop = min(style.nice, limit)
        q, best, found = self.before[p], longer_than, None
        left = style.chain // 4 if longer_than >= style.good else style.chain
        if q == 0 or q < low:
            return None
        while True:
            length = self.common(q, p, limit)
            if length > best:
                best, found = length, (length, p - q)
                if length >= stop:
                    return found
            q, left = self.before[q], left - 1
            if q <= low or left == 0:
                return found

    def search(self, p: int, longer_than: int) -> Match:
        self.enter_to(p + 1)
        found = None if longer_than >= self.style.lazy else self.find(p, longer_than)
        if found and found[0] <= 5 and (self.style.filtered or (found[0] == 3 and found[1] > 4096)):
            return None
        return found

    def expect(self) -> Token:
        p = self.at
        if self.style.level < 4:
            if p >= self.entered:
                self.enter(p)
                self.entered = p + 1
            self.expected = self.find(p, 2)
            return self.expected
        found = self.ahead[p] if p in self.ahead else self.search(p, 2)
        self.ahead, self.expected = {}, found
        if found and p + 1 < len(self.content):
            ahead = self.search(p + 1, found[0])
            if ahead and ahead[0] > found[0]:
                self.ahead, self.expected = {p + 1: ahead}, None
        return self.expected

    def take(self, token: Token) -> None:
        self.at += length_of(token)
        if token:
            self.ahead = {}
        if self.style.level >= 4 or length_of(token) <= self.style.lazy:
            self.enter_to(self.at)
        else:
            self.entered = self.at


def build_lengths(counts: list[int], most: int) -> tuple[list[int], int]:
    """Code lengths, and the highest symbol in the heap."""
    size, count, depth = len(counts), [*counts], [0] * len(counts)
    heap = [0] + [s for s in range(size) if counts[s]]
    highest = heap[-1] if len(heap) > 1 else -1
    while len(heap) < 3:
        highest, new = (highest + 1, highest + 1) if highest < 2 else (highest, 0)
        heap.append(new)
        count[new] = 1
    parent: dict[int, int] = {}

    def is_before(x: int, y: int) -> bool:
        return count[x] < count[y] or (count[x] == count[y] and depth[x] <= depth[y])

    def sift(place: int) -> None:
        node = heap[place]
        while 2 * place < len(heap):
            child = 2 * place
            if child + 1 < len(heap) and is_before(heap[child + 1], heap[child]):
                child += 1
            if is_before(node, heap[child]):
                break
            heap[place], place = heap[child], child
        heap[place] = node

    for place in range((len(heap) - 1) // 2, 0, -1):
        sift(place)
    order: list[int] = []
    while len(heap) > 2:
        a = heap[1]
        heap[1] = heap[-1]
        heap.pop()
        sift(1)
        b = heap[1]
        order += [a, b]
        parent[a] = parent[b] = len(count)
        heap[1] = len(count)
        count.append(count[a] + count[b])
        depth.append(max(depth[a], depth[b]) + 1)
        sift(1)
    lengths, overflow, of_length = {heap[1]: 0}, 0, [0] * (most + 2)
    for node in reversed(order):
        lengths[node] = min(lengths[parent[node]] + 1, most)
        overflow += lengths[parent[node]] + 1 > most
        of_length[lengths[node]] += node < size
    if overflow:
        while overflow > 0:
            b = max(i for i in range(most) if of_length[i])
            of_length[b] -= 1
            of_length[b + 1] += 2
            of_length[most] -= 1
            overflow -= 2
        symbols = (node for node in order if node < size)
        for b in range(most, 0, -1):
            for _ in range(of_length[b]):
                lengths[next(symbols)] = b
    return [lengths.get(s, 0) for s in range(size)], highest


def runs(lengths: list[int]) -> Iterator[tuple[int, int]]:
    at, before = 0, -1
    while at < len(lengths):
        length = lengths[at]
        most = 138 if length == 0 else 6 if length == before else 7
        run = 1
        while run < most and at + run < len(lengths) and lengths[at + run] == length:
            run += 1
        if run < (3 if length in (0, before) else 4):
            yield from [(length, 0)] * run
        elif length == 0:
            yield (17, run - 3) if run <= 10 else (18, run - 11)
        elif length == before:
            yield 16, run - 3
        else:
            yield length, 0
            yield 16, run - 4
        at, before = at + run, length


def extra_bits(symbol: int) -> int:
    return {16: 2, 17: 3, 18: 7}.get(symbol, 0)


class Plan:
    """What is expected of a block with these tokens."""

    def __init__(self, content: bytes, start: int, tokens: list[Token], style: Style) -> None:
        self.counts, far, at = [0] * 256 + [1] + [0] * 29, [0] * 30, start
        for token in tokens:
            if token:
                self.counts[257 + symbol_of(token[0], LENGTH_BASE)] += 1
                far[symbol_of(token[1], DISTANCE_BASE)] += 1
            else:
                self.counts[content[at]] += 1
            at += length_of(token)
        self.literals, highest = build_lengths(self.counts, 15)
        self.distances, farthest = build_lengths(far, 15)
        self.header = BitsOut()
        self.write_header(self.literals[: highest + 1], self.distances[: farthest + 1])
        bits = len(self.header.bits) + self.cost(self.literals, self.distances, far)
        fixed = self.cost(FIXED, [5] * 30, far)
        size = min((bits + 10) // 8, (fixed + 10) // 8)
        self.type = FIXED_TYPE if (fixed + 10) // 8 == size else DYNAMIC
        if at - start <= 65535 and at - start + 4 <= size:
            self.type = STORED
        full = len(tokens) == style.full and (style.level < 4 or tokens[-1] is not None)
        self.final = at == len(content) and not full
        self.end = at

    def cost(self, literals: list[int], distances: list[int], far: list[int]) -> int:
        extra = [0] * 257 + LENGTH_EXTRA
        bits = sum(n * (literals[s] + extra[s]) for s, n in enumerate(self.counts))
        return bits + sum(n * (distances[s] + DISTANCE_EXTRA[s]) for s, n in enumerate(far))

    def write_header(self, literals: list[int], distances: list[int]) -> None:
        items = [*runs(literals), *runs(distances)]
        lengths, _ = build_lengths([sum(s == symbol for s, _ in items) for symbol in range(19)], 7)
        told = next(n for n in range(19, 3, -1) if n == 4 or lengths[LENGTH_ORDER[n - 1]])
        codes = dict(numbered(lengths))
        self.header.put(len(literals) - 257, 5)
        self.header.put(len(distances) - 1, 5)
        self.header.put(told - 4, 4)
        for symbol in LENGTH_ORDER[:told]:
            self.header.put(lengths[symbol], 3)
        for symbol, extra in items:
            self.header.code(codes[symbol])
            self.header.put(extra, extra_bits(symbol))


# ---- recipes ----


def number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class Section:
    """Events of a section that is read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.load()

    def byte(self) -> int:
        must(self.at < len(self.data))
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                must(byte or shift == 7)
                return value
            must(shift < 63)

    def load(self) -> None:
        self.run = self.number() if self.at < len(self.data) else -1

    def comes(self) -> bool:
        if self.run == 0:
            return True
        self.run -= self.run > 0
        return False


class Events:
    """Events of a section that is written."""

    def __init__(self) -> None:
        self.data, self.run = bytearray(), 0

    def event(self, *parts: bytes) -> None:
        self.data += number(self.run) + b"".join(parts)
        self.run = 0


def pass_stored(expectation: Expectation, size: int) -> tuple[list[Token], bool]:
    end, tokens, cut = expectation.at + size, list[Token](), False
    while expectation.at < end:
        token = expectation.expect()
        if length_of(token) > end - expectation.at:
            token, cut = None, True
        tokens.append(token)
        expectation.take(token)
    return tokens, cut


def recipe_of(stream: Stream, style_number: int) -> bytes:
    style, content = Style(style_number), stream.content
    expectation, blocks, tokens = Expectation(content, style), Events(), Events()
    for i, block in enumerate(stream.blocks):
        start, cut, its = expectation.at, False, block.tokens
        if block.type == STORED:
            its, cut = pass_stored(expectation, block.size)
        for token in block.tokens:
            if expectation.expect() == token:
                tokens.run += 1
            else:
                tokens.event(number(token[0] - 2) + number(token[1]) if token else b"\0")
            expectation.take(token)
        plan, last = Plan(content, start, its, style), i == len(stream.blocks) - 1
        fits = len(its) == style.full or (len(its) < style.full and expectation.at == len(content))
        flags = 0
        if block.type == STORED:
            if cut or not fits or plan.type != STORED:
                flags = 1 | 1 << 1
            else:
                tokens.run += len(its)
        else:
            flags = (not fits) | (0 if plan.type == block.type else block.type + 1) << 1
        flags |= 8 if block.type == DYNAMIC and block.header != plan_header(plan, block.header_bits) else 0
        flags |= (16 if block.padding else 0) | (32 if plan.final != last else 0)
        flags |= 64 if last and stream.tail else 0
        if flags:
            fields = [(1, number(block.size or len(block.tokens))), (8, block.header)]
            fields += [(16, bytes([block.padding])), (64, bytes([stream.tail]))]
            blocks.event(bytes([flags]), *(data for flag, data in fields if flags & flag))
        else:
            blocks.run += 1
    if not blocks.data and not tokens.data:
        return b""
    return number(len(blocks.data)) + bytes(blocks.data) + bytes(tokens.data)


def plan_header(plan: Plan, bits: int) -> bytes:
    return plan.header.bytes() if len(plan.header.bits) == bits else b""


class Maker:
    """Makes the stream of content and recipe."""

    def __init__(self, content: bytes, recipe: bytes, style_number: int) -> None:
        self.content, self.style = content, Style(style_number)
        self.expectation = Expectation(content, self.style)
        self.out = BitsOut()
        split, size = 0, 0
        if recipe:
            head = Section.__new__(Section)
            head.data, head.at = recipe, 0
            size = head.number()
            split = head.at
            must(size <= len(recipe) - split)
        self.blocks, self.tokens = Section(recipe[split : split + size]), Section(recipe[split + size :])

    def make(self) -> bytes:
        while not self.block():
            pass
        must(self.expectation.at == len(self.content) and self.blocks.run < 0 and self.tokens.run < 0)
        return self.out.bytes()

    def token(self) -> Token:
        token, at = self.expectation.expect(), self.expectation.at
        if self.tokens.comes():
            token, length = None, self.tokens.number()
            if length:
                token = length + 2, self.tokens.number()
                must(token[0] <= min(258, len(self.content) - at) and 1 <= token[1] <= min(at, 32768))
            self.tokens.load()
        self.expectation.take(token)
        return token

    def gather(self, flags: int) -> list[Token]:
        size = self.blocks.number() if flags & 1 else self.style.full
        if flags >> 1 & 3 == 1 + STORED:
            must(flags & 1 and size <= min(65535, len(self.content) - self.expectation.at))
            return pass_stored(self.expectation, size)[0]
        tokens: list[Token] = []
        while len(tokens) < size and self.expectation.at < len(self.content):
            tokens.append(self.token())
        must(not flags & 1 or len(tokens) == size)
        return tokens

    def block(self) -> bool:
        told, start = self.blocks.comes(), self.expectation.at
        flags = self.blocks.byte() if told else 0
        must(flags < 128)
        tokens = self.gather(flags)
        plan = Plan(self.content, start, tokens, self.style)
        kind = (flags >> 1 & 3) - 1 if flags >> 1 & 3 else plan.type
        final = plan.final != bool(flags & 32)
        self.out.put(final, 1)
        self.out.put(kind, 2)
        literals, distances, header = plan.literals, plan.distances, plan.header
        if flags & 8:
            must(kind == DYNAMIC)
            bits = BitsIn(self.blocks.data, 8 * self.blocks.at)
            literals, distances = read_header(bits)
            taken, again = bits.at - 8 * self.blocks.at, BitsIn(self.blocks.data, 8 * self.blocks.at)
            header = BitsOut()
            header.put(again.take(taken), taken)
            self.blocks.at += (taken + 7) // 8
        padding = self.blocks.byte() if flags & 16 else 0
        if kind == STORED:
            self.stored(start, padding)
        else:
            if kind == DYNAMIC:
                self.out.bits += header.bits
            else:
                literals, distances = FIXED, [5] * 30
            self.write(start, tokens, dict(numbered(literals)), dict(numbered(distances)))
        tail = self.blocks.byte() if flags & 64 else 0
        if final:
            self.out.to_byte(tail)
        if told:
            self.blocks.load()
        return final

    def stored(self, start: int, padding: int) -> None:
        data = self.content[start : self.expectation.at]
        must(len(data) <= 65535)
        self.out.to_byte(padding)
        self.out.put(len(data), 16)
        self.out.put(len(data) ^ 0xFFFF, 16)
        for byte in data:
            self.out.put(byte, 8)

    def write(
        self, at: int, tokens: list[Token], near: dict[int, tuple[int, int]], far: dict[int, tuple[int, int]]
    ) -> None:
        for token in tokens:
            if token is None:
                must(self.content[at] in near)
                self.out.code(near[self.content[at]])
            else:
                length, distance = symbol_of(token[0], LENGTH_BASE), symbol_of(token[1], DISTANCE_BASE)
                must(257 + length in near and distance in far)
                self.out.code(near[257 + length])
                self.out.put(token[0] - LENGTH_BASE[length], LENGTH_EXTRA[length])
                self.out.code(far[distance])
                self.out.put(token[1] - DISTANCE_BASE[distance], DISTANCE_EXTRA[distance])
            at += length_of(token)
        self.out.code(near[256])


def stream_of(content: bytes, recipe: bytes, style_number: int) -> bytes:
    return Maker(content, recipe, style_number).make()
