"""Go programs in old images, read a second time from docs/spec/image-go.md."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from spec.image_reader_model import ABSENT, MASK, Bad, Building, Cursor, Table

NONE = 0xFFFFFFFF
MAGICS = 0xFFFFFFF0, 0xFFFFFFF1
WORDS = ("types", "end of types", "read-only data", "function data", "type links", "method links", "bytes")
FORM_A = dict(zip(WORDS, (280, 288, 296, 304, 336, 360, 384), strict=True))
FORM_B = dict(zip(WORDS, (296, 304, 312, 320, 352, 376, 400), strict=True))
FORM_C = dict(zip(WORDS, (296, 304, 312, 320, 360, 384, 408), strict=True))
PARTS = (("names", 32), ("units", 40), ("files", 48), ("counters", 56), ("pairs", 64))
FORMS = {17: (72, 2), 18: (64, 1), 19: (56, 0), 20: (80, 0), 21: (112, 3), 22: (56, 1), 23: (56, 1)}
FORMS[25] = (80, 0)


def read_go(
    image: Building,
    table: Table,
    module: Table,
    space: int,
    is_function: Callable[[int], None],
    *,
    words: bool,
) -> None:
    """``words`` says that code consists of words of 4 bytes (AArch64)."""
    functions = Functions(image, table, module, space, is_function)
    functions.words = words
    functions.read()


class Part:
    """A range of the file; places count from its start."""

    def __init__(self, image: Building, table: Table, space: int) -> None:
        self.image, self.table, self.space = image, table, space

    def u8(self, at: int) -> int:
        return self.image.data[self.table.offset + at]

    def u16(self, at: int) -> int:
        return self.image.u16(self.table.offset + at)

    def u32(self, at: int) -> int:
        return self.image.u32(self.table.offset + at)

    def u64(self, at: int) -> int:
        return self.image.u64(self.table.offset + at)

    def has(self, at: int, size: int) -> bool:
        return at + size <= self.table.size

    def add(self, kind: str, at: int, base: int) -> None:
        self.image.add(kind, self.table.offset + at, base, place=self.space)

    def add_nonzero(self, kind: str, at: int, base: int) -> None:
        if self.u32(at):
            self.add(kind, at, base)


class Functions(Part):
    words = False

    def __init__(
        self, image: Building, table: Table, module: Table, space: int, is_function: Callable[[int], None]
    ) -> None:
        super().__init__(image, table, space)
        self.is_function = is_function
        self.module = Part(image, self.find_module(module, is_given=table.size > 0), space)
        self.form = self.find_form()
        if self.form is None or not self.module.has(0, self.form["bytes"]):
            self.module = Part(image, ABSENT, space)
        self.record = 40 if self.form is FORM_A else 44
        self.data: list[tuple[int, int, int]] = []  # address, number of its entry in the list, k
        self.entries: list[int] = []
        self.counter_tables: list[tuple[int, int]] = []  # offset, entry of the function
        self.at: dict[str, int] = {}
        self.base: dict[str, int] = {}

    def find_module(self, there: Table, *, is_given: bool) -> Table:
        """And the table, where none is given."""
        image = self.image
        if (is_given and not self.has(0, 72)) or not image.charge(there.size):
            return ABSENT
        for at in range(0, there.size - 15, 8):
            first, second = (self.space + image.u64(there.offset + at + word) & MASK for word in (0, 8))
            table = self.table if is_given else image.bytes_from(first)
            if not is_given and (
                table.size < 72 or image.u32(table.offset) not in MAGICS or image.data[table.offset + 7] != 8
            ):
                continue
            if [first, second] == [table.address, table.address + image.u64(table.offset + 32) & MASK]:
                self.table = table
                return Table(there.offset + at, there.address + at, there.size - at)
        return ABSENT

    def find_form(self) -> dict[str, int] | None:
        if not self.has(0, 72):
            return None
        older = self.module.has(0, 352) and self.module.u64(336) == self.module.u64(344)
        return {0xFFFFFFF0: FORM_A, 0xFFFFFFF1: FORM_B if older else FORM_C}.get(self.u32(0))

    def word(self, at: int | str) -> int:
        if isinstance(at, str):
            assert self.form is not None
            at = self.form[at]
        return self.space + self.module.u64(at) & MASK

    def read(self) -> None:
        if self.module.table.size:
            self.base["function data"] = self.word("function data")
        if self.form is None or self.u8(7) != 8:
            return
        table = self.table.address
        for name, at in PARTS:
            self.add("BASE64", at, table)
            self.at[name] = self.u64(at)
            self.base[name] = self.table.address + self.at[name]
        self.text = self.word(176) if self.module.table.size else self.space + self.u64(24) & MASK
        self.base["text"] = self.text
        self.count = self.u64(8)
        if any(not 72 <= at <= self.table.size for at in self.at.values()):
            return
        if self.count > (self.table.size - self.at["pairs"]) // 8 or self.text == self.space:
            return
        self.read_units()
        self.read_functions()
        self.read_counters()
        if self.module.table.size:
            self.read_data()
            self.read_find_table()
            Types(self).read()

    def read_units(self) -> None:
        start, end = self.at["units"], self.at["files"]
        if start > end or not self.image.charge(end - start):
            return
        for at in range(start, end - 3, 4):
            if self.u32(at) != NONE:
                self.add("BASE32", at, self.base["files"])

    def read_functions(self) -> None:
        pairs = self.at["pairs"]
        for at in range(pairs, pairs + 8 * self.count, 8):
            if not self.image.charge(8):
                return
            self.add("BASE32", at, self.base["text"])
            self.add("BASE32", at + 4, self.base["pairs"])
            self.is_function(self.text + self.u32(at) & MASK)
            self.read_record(pairs + self.u32(at + 4))

    def read_record(self, at: int) -> None:
        r = self.record
        if not self.has(at, r):
            return
        counters, data = self.u32(at + 28), self.u8(at + r - 1)
        after = 4 * (counters + data)
        if not self.has(at + r, after) or not self.image.charge(r + after):
            return
        entry = self.text + self.u32(at) & MASK
        self.add("BASE32", at, self.base["text"])
        self.add("BASE32", at + 4, self.base["names"])
        self.add_nonzero("BASE32", at + 12, entry)
        for field in (*range(at + 16, at + 28, 4), *range(at + r, at + r + 4 * counters, 4)):
            if self.u32(field):
                self.add("BASE32", field, self.base["counters"])
                self.counter_tables.append((self.u32(field), entry))
        if self.u32(at + 32) != NONE:
            self.add("INDEX32_4", at + 32, self.base["units"])
        if not self.module.table.size:
            return
        for k in range(data):
            field = at + r + 4 * (counters + k)
            if self.u32(field) != NONE:
                self.add("BASE32", field, self.base["function data"])
                address = self.word("function data") + self.u32(field) & MASK
                self.data.append((address, len(self.entries), k))
                self.entries.append(entry)

    def read_counters(self) -> None:
        start, limit = self.at["counters"], self.at["pairs"]
        if start > limit or not self.image.charge(limit - start):
            return
        end, unit = 0, 2 if self.words else 0
        for offset, entry in sorted(self.counter_tables):
            if offset >= end:
                end = self.read_counter_table(start + offset, limit, entry, unit) - start

    def read_counter_table(self, at: int, limit: int, counter: int, unit: int) -> int:
        """Where it ends."""
        first, here = True, self.table.offset
        cursor = Cursor(self.image.data, here + at, here + limit)
        try:
            while True:
                if cursor.uleb() == 0 and not first:
                    return at
                at, first = cursor.at - here, False
                after = counter + (cursor.uleb() << unit) & MASK
                size = cursor.at - here - at
                if size <= 4:
                    self.image.put(here + at, f"STEP_ULEB{size}", after - 1, aux=unit, base=counter)
                at, counter = at + size, after
        except Bad:
            return at

    def read_data(self) -> None:
        shapes = self.word("read-only data")
        tree = (20, 12, 16) if self.form is FORM_A else (16, 4, 8)
        first: dict[int, tuple[int, int]] = {}
        for address, number, k in sorted(self.data):
            first.setdefault(address, (self.entries[number], k))
        for address, after in pairwise(first):
            there = self.image.bytes_from(address)
            size = min(there.size, after - address)
            part = Part(self.image, Table(there.offset, address, size), self.space)
            entry, k = first[address]
            if k not in (2, 3) or not self.image.charge(part.table.size):
                continue
            if k == 2:
                for at in range(8, size - 15, 16):
                    part.add("BASE32", at + 12, shapes)
                continue
            length, name, place = tree
            for at in range(0, size - length + 1, length):
                part.add("BASE32", at + name, self.base["names"])
                part.add("BASE32", at + place, entry)

    def read_find_table(self) -> None:
        if self.count == 0:
            return
        entries = self.u32(self.at["pairs"] + 8 * self.count - 8) // 4096 + 1
        part = Part(self.image, self.image.bytes_from(self.word(152)), self.space)
        if not part.has(0, 20 * entries) or not self.image.charge(20 * entries):
            return
        for at in range(0, 20 * entries, 20):
            part.add("INDEX32_8", at, self.base["pairs"])


class Types(Part):
    def __init__(self, functions: Functions) -> None:
        first = functions.word("types")
        there = functions.image.bytes_from(first)
        size = min(there.size, functions.word("end of types") - there.address & MASK)
        super().__init__(functions.image, Table(there.offset, there.address, size), functions.space)
        self.functions = functions
        self.base = there.address
        self.text = functions.word(176)
        self.seen: set[int] = set()
        self.waiting: list[int] = []

    def open(self, at: int) -> None:
        if self.has(at, 48) and at % 8 == 0 and at not in self.seen:
            self.seen.add(at)
            self.waiting.append(at)

    def open_address(self, word: int) -> None:
        self.open(self.space + word - self.table.address & MASK)

    def follow(self, at: int) -> None:
        if self.has(at, 8):
            self.open_address(self.u64(at))

    def name(self, at: int) -> None:
        self.add_nonzero("BASE32", at, self.base)

    def type(self, at: int) -> None:
        if self.u32(at):
            self.name(at)
            self.open(self.u32(at))

    def links(self, name: str, size: int) -> Part:
        """What M names, whole entries; empty if it is too much."""
        assert self.functions.form is not None
        at = self.functions.form[name]
        count = self.functions.module.u64(at + 8)
        there = self.image.bytes_from(self.functions.word(at))
        fits = count * size <= there.size and self.image.charge(count * size)
        return Part(self.image, Table(there.offset, there.address, count * size if fits else 0), self.space)

    def read(self) -> None:
        links = self.links("type links", 4)
        for at in range(0, links.table.size, 4):
            links.add("BASE32", at, self.base)
            self.open(links.u32(at))
        links = self.links("method links", 8)
        for at in range(0, links.table.size, 8):
            there = self.image.bytes_from(self.space + links.u64(at) & MASK)
            if there.size >= 16:
                self.open_address(self.image.u64(there.offset))
                self.open_address(self.image.u64(there.offset + 8))
        while self.waiting:
            self.read_type(self.waiting.pop())

    def read_type(self, at: int) -> None:
        kind, uncommon = self.u8(at + 23) & 31, self.u8(at + 20) & 1
        size, pointers = FORMS.get(kind, (48, 0))
        if kind == 21 and self.has(at, 88) and self.u64(at + 80) >= 1 << 16:
            size = 88
        if not 1 <= kind <= 26 or not self.has(at, size + 16 * uncommon) or not self.image.charge(size):
            return
        self.name(at + 40)
        self.type(at + 44)
        for i in range(pointers):
            self.follow(at + 48 + 8 * i)
        if uncommon:
            self.read_methods(at + size)
        if kind == 19:
            count = self.u16(at + 48) + (self.u16(at + 50) & 0x7FFF)
            behind = at + size + 16 * uncommon
            if self.has(behind, 8 * count) and self.image.charge(8 * count):
                for i in range(count):
                    self.follow(behind + 8 * i)
        elif kind == 20:
            for entry in self.entries(at, 8):
                self.name(entry)
                self.type(entry + 4)
        elif kind == 25:
            for entry in self.entries(at, 24):
                self.follow(entry + 8)

    def entries(self, at: int, size: int) -> range:
        start, count = self.space + self.u64(at + 56) - self.table.address & MASK, self.u64(at + 64)
        if not self.has(start, count * size) or not self.image.charge(count * size):
            return range(0)
        return range(start, start + count * size, size)

    def read_methods(self, at: int) -> None:
        self.name(at)
        count, start = self.u16(at + 4), at + self.u32(at + 8)
        if not self.has(start, 16 * count) or not self.image.charge(16 * count):
            return
        for method in range(start, start + 16 * count, 16):
            self.name(method)
            self.type(method + 4)
            for code in (method + 8, method + 12):
                if self.u32(code) not in (0, NONE):
                    self.add("BASE32", code, self.text)
