"""Unwind tables of a delta, from docs/spec/delta-frames.md: what a second decoder of either coding asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from spec.delta_reader import (
    CODE_CLASS,
    KINDS,
    MASK,
    Block,
    Derivation,
    OldImage,
    Prediction,
    Reader,
    Reference,
    Table,
    address_of,
    byte_named,
    damaged,
    region_of_offset,
)
from spec.frame_programs_reader import predicted_steps
from spec.model_reader_coder import M32, H, low, m

TABLE, HEADER = 2, 3
END, CIE, FDE, OTHER, NONE = range(5)
POINTERS = {0x1B: 4, 0x1C: 8}  # bytes of pointers relative to their place, by encoding
FOLLOWS, SKIPS, OWN, BYTES = range(4)
MOVED, CODE, PROVED, SAME = range(4)
ADVANCE = 0x40
OPERANDS = {
    **dict.fromkeys([*range(0xC0, 0x100), 0x0A, 0x0B, 0x2C, 0x2D], 0),
    **dict.fromkeys([*range(0x80, 0xC0), 0x06, 0x07, 0x08, 0x0D, 0x0E, 0x13, 0x2E], 1),
    **dict.fromkeys([0x05, 0x09, 0x0C, 0x11, 0x12, 0x14, 0x15, 0x2F], 2),
}
Step = tuple[int, bytes]
ARCHITECTURES = {62: "x86_64", 183: "aarch64"}


def u32(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def word(value: int, size: int = 4) -> bytes:
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def solved(data: bytes | bytearray, at: int, address: int, size: int = 4) -> int:
    """PREL32 or PREL64 in a table."""
    return address + at + int.from_bytes(data[at : at + size], "little", signed=True) & MASK


def ends_of_tables(image: OldImage, tables: dict[int, Derivation]) -> list[Block]:
    """What the address map knows of the tables."""
    blocks: list[Block] = []
    for kind, old in ((TABLE, image.frames), (HEADER, image.frame_header)):
        if kind in tables and old.size:
            new = tables[kind]
            blocks += [Block(new.start, old.offset, 1), Block(new.end - 1, old.end - 1, 1)]
    return blocks


# Records


@dataclass
class Record:
    at: int
    size: int
    kind: int = OTHER
    table_size: int = 0  # of the pointer to an exception table
    unit: int = 0
    personality: int | None = None
    personality_size: int = 0
    cie: int = 0  # number of its record
    start: int = 0
    code_size: int = 0
    table: int = 0  # its exception table
    program: bytes = b""


class Records:
    def __init__(self, data: bytes | bytearray, address: int) -> None:
        self.data, self.address = data, address
        self.all: list[Record] = []

    @property
    def cies(self) -> list[int]:
        return [number for number, record in enumerate(self.all) if record.kind == CIE]

    def read_all(self) -> None:
        p = 0
        while p < len(self.data):
            p += self.take(p, len(self.data)).size

    def take(self, p: int, end: int) -> Record:
        self.all.append(self._read(p, end))
        return self.all[-1]

    def _read(self, p: int, end: int) -> Record:
        rest = Record(p, end - p)
        if end - p < 4:
            return rest
        length = u32(self.data, p)
        if length == 0:
            return Record(p, 4, END)
        if length < 4 or length > end - p - 4:
            return rest
        record = Record(p, 4 + length)
        number = u32(self.data, p + 4)
        form = self._cie(record) if number == 0 else self._fde(record, number)
        return form or Record(p, 4 + length)

    def _cie(self, record: Record) -> Record | None:
        data = bytes(self.data[record.at + 8 : record.at + record.size])
        if len(data) < 2 or data[0] not in (1, 3) or data[1:2] != b"z" or 0 not in data[2:]:
            return None
        zero = data.index(0, 2)
        letters, at = data[2:zero], zero + 1
        if len(data) < at + 4 or max(data[at : at + 4]) >= 0x80 or data[at] not in (1, 2, 4):
            return None
        record.unit, size, at = data[at], data[at + 3], at + 4
        if size > len(data) - at:
            return None
        end, relative = at + size, False
        for letter in letters.decode("latin-1"):
            encoding = data[at] if at < end else 0
            if letter == "R" and encoding == 0x1B:
                relative = True
                at += 1
            elif letter == "L" and encoding in POINTERS:
                record.table_size = POINTERS[encoding]
                at += 1
            elif letter == "P" and encoding & 0x7F in POINTERS and at + 1 + POINTERS[encoding & 0x7F] <= end:
                record.personality, record.personality_size = 8 + at + 1, POINTERS[encoding & 0x7F]
                at += 1 + record.personality_size
            elif letter not in "SBG":
                return None
        record.kind = CIE
        return record if relative and at == end else None

    def _fde(self, record: Record, number: int) -> Record | None:
        p = record.at
        owners = [n for n in self.cies if self.all[n].at == p + 4 - number]
        if not owners or record.size < 17:
            return None
        record.kind, record.cie = FDE, owners[0]
        record.start, record.code_size = solved(self.data, p + 8, self.address), u32(self.data, p + 12)
        size = self.all[record.cie].table_size
        if self.data[p + 16] != size or record.size < 17 + size:
            return None
        if any(self.data[p + 17 : p + 17 + size]):
            record.table = solved(self.data, p + 17, self.address, size)
        record.program = bytes(self.data[p + 17 + size : p + record.size])
        return record

    def alignment(self) -> int:
        return 8 if all(record.size % 8 == 0 for record in self.all if record.kind != END) else 4


# Programs


def advance(distance: int, unit: int) -> bytes:
    u = distance // unit
    damaged(u * unit != distance or not 0 < u < 2**32, "a distance that no advance gives")
    if u < 64:
        return bytes([0x40 + u])
    size = 1 if u < 2**8 else 2 if u < 2**16 else 4
    return {1: b"\2", 2: b"\3", 4: b"\4"}[size] + u.to_bytes(size, "little")


def steps_of(program: bytes, unit: int) -> list[Step] | None:
    """None: it is not exact."""
    steps: list[Step] = []
    end, at, place = len(program.rstrip(b"\0")), 0, 0
    while at < end:
        size = {2: 1, 3: 2, 4: 4}.get(program[at], 0)
        if program[at] >> 6 == 1 or size:
            if at + 1 + size > end:
                return None
            u = int.from_bytes(program[at + 1 : at + 1 + size], "little") if size else program[at] - 64
            least = {0: 1, 1: 64, 2: 2**8, 4: 2**16}[size]
            place += u * unit
            at += 1 + size
            if u < least or place >= 2**32 or at == end:
                return None
        step = bytearray()
        while wanted(step):
            if at == len(program) or len(step) == 12:
                return None
            step.append(program[at])
            at += 1
            if step[0] not in OPERANDS:
                return None
        if len(steps) == 4096:
            return None
        steps.append((place, bytes(step)))
    return steps


def wanted(step: bytes | bytearray) -> bool:
    """Whether bytes are missing."""
    return not step or (step[0] in OPERANDS and sum(byte < 0x80 for byte in step[1:]) < OPERANDS[step[0]])


@dataclass
class Guess:
    trust: int = MOVED
    padding: int = 0
    steps: list[Step] = field(default_factory=list)
    data: bytes | None = None

    @property
    def known(self) -> int:
        return self.trust + 4 * self.padding

    def program(self, unit: int) -> bytes:
        """Without zeros, where it is of steps."""
        if self.data is not None:
            return self.data
        out, place = b"", 0
        for at, step in self.steps:
            out += (advance(at - place, unit) if at != place else b"") + step
            place = at
        return out


@dataclass
class Said:
    """What an FDE says beside its program."""

    cie: int
    start: int
    size: int
    table: int


class Decisions(Protocol):
    """The model, or what stands for it in a stream."""

    def flag(self, name: str, contexts: Sequence[int], select: int = 0) -> int: ...
    def symbol(self, name: str, size: int, contexts: Sequence[int], select: int = 0) -> int: ...
    def number(self, name: str, contexts: Sequence[int]) -> int: ...
    def signed(self, name: str, contexts: Sequence[int]) -> int: ...
    def look(self) -> None: ...

    counts_usual: bool


class StreamDecisions:
    counts_usual = True

    def __init__(self, stream: Reader) -> None:
        self._stream = stream

    def flag(self, name: str, contexts: Sequence[int], select: int = 0) -> int:
        return 1 - self.symbol(name, 1, contexts)

    def symbol(self, name: str, size: int, contexts: Sequence[int], select: int = 0) -> int:
        value = self._stream.take(1)[0]
        damaged(value >> size != 0, "a symbol of too many bits")
        return value

    def number(self, name: str, contexts: Sequence[int]) -> int:
        return self._stream.number()

    def signed(self, name: str, contexts: Sequence[int]) -> int:
        return self._stream.signed()

    def look(self) -> None:
        pass


class Unwinding:
    """Both tables; ``made``, by the offset of their first byte, once they were met. ``old`` has its tail."""

    def __init__(
        self,
        decisions: Decisions,
        prediction: Prediction,
        old: bytes,
        tables: dict[int, Derivation],
        new_size: int,
    ) -> None:
        self._decisions, self._prediction, self._old = decisions, prediction, old
        self._tables, self._new_size = tables, new_size
        self.made: dict[int, bytes] = {}

    def meet(self, at: int, new: bytes | bytearray) -> None:
        """``new``: the new image up to the offset ``at``."""
        if self.made or at not in [d.start for d in self._tables.values()]:
            return
        table = self._tables[TABLE]
        making = Making(self._decisions, self._prediction, self._old, table, bytes(new[:at]), self._new_size)
        self.made[table.start] = making.all()
        if HEADER in self._tables:
            header = self._tables[HEADER]
            data = making.header(address_of(self._prediction.map.new_regions, header.start))
            damaged(len(data) != header.end - header.start, "size of the header")
            self.made[header.start] = data


class Making:
    def __init__(
        self,
        decisions: Decisions,
        prediction: Prediction,
        old: bytes,
        table: Derivation,
        new: bytes,
        new_size: int,
    ) -> None:
        self._decisions, self._prediction = decisions, prediction
        self._image, self._regions = prediction.old, prediction.map.new_regions
        self._old_bytes, self._new = old, new
        self._size = table.end - table.start
        self._new_tables = Records(bytearray(), address_of(self._regions, table.start))
        frames: Table = self._image.frames
        self._old = Records(old[frames.offset : frames.end], frames.address)
        self._old.read_all()
        self._alignment = self._old.alignment()
        self._next, self._made = 0, dict[int, int]()
        self._behind = self._last_table = 0
        self._ways = self._rights = self._programs = self._steps = 0
        self._l0 = self._l1 = 0
        self._last = [0] * 256
        self._work = 4 * new_size + 65_536
        self._usual, self._is_usual = 0, False  # of streams: so many more, and the one at hand
        code = [r for r in self._regions if r.kind == CODE_CLASS]
        self._keeps_code = 0 < sum(r.size for r in code) <= 2**25

    @property
    def _data(self) -> bytearray:
        data = self._new_tables.data
        assert isinstance(data, bytearray)
        return data

    def all(self) -> bytes:
        while len(self._data) < self._size:
            record = self._record()
            damaged(len(self._data) + len(record) > self._size, "no room for a record")
            at = len(self._data)
            self._data.extend(record)
            self._new_tables.take(at, len(self._data))
            self._decisions.look()
        return bytes(self._data)

    def header(self, address: int) -> bytes:
        table = self._new_tables.address
        fdes = sorted((r.start, r.at) for r in self._new_tables.all if r.kind == FDE)
        out = b"\1\x1b\3\x3b" + word(table - address - 4) + word(len(fdes))
        return out + b"".join(word(start - address) + word(table + at - address) for start, at in fdes)

    # Decisions

    def _flag(self, w: int, trust: int, copied: int) -> bool:
        k, h = 256 * w + 16 * trust + copied, self._programs if w == 5 else self._rights
        contexts = [k, m(256 * w + trust, low(h, 8)), m(k, low(h, 3))]
        return self._decisions.flag("frame right", contexts, w) == 1

    def _known(self, w: int) -> list[int]:
        return [w, m(w, low(self._rights, 2)), m(w, self._l0)]

    def _number(self, w: int) -> int:
        return self._decisions.number("frame number", self._known(w))

    def _signed(self, w: int) -> int:
        return self._decisions.signed("frame number", self._known(w))

    def _way(self) -> int:
        if self._decisions.counts_usual:
            return self._counted_way()
        old = self._old.all[self._next] if 0 <= self._next < len(self._old.all) else None
        k = NONE if old is None else old.kind
        c = self._copied(old) if old is not None and old.kind == FDE else 0
        contexts = [k, m(k, c), m(k, low(self._ways, 8)), m(m(k, c), low(self._ways, 4))]
        way = self._decisions.symbol("frame way", 2, [*contexts, m(1, low(self._ways, 16))])
        self._ways = (4 * self._ways + way) & M32
        return way

    def _counted_way(self) -> int:
        if not self._is_usual:
            self._usual = self._decisions.number("", [])
        self._is_usual = self._usual > 0
        if self._is_usual:
            self._usual -= 1
            return FOLLOWS
        return self._decisions.symbol("", 2, [])

    def _copied(self, old: Record) -> int:
        return self._is_copied(old.start) + 2 * self._is_copied(old.start + old.code_size - 1 & MASK)

    def _is_copied(self, address: int) -> bool:
        prediction = self._prediction
        named = byte_named(self._image.regions, address, 0)
        return named is not None and any(b.old <= named[0] < b.old + b.length for b in prediction.map.blocks)

    # Records

    def _record(self) -> bytes:
        way = self._way()
        if way == BYTES:
            return self._bytes()
        if way == OWN:
            return self._own()
        if way == SKIPS:
            self._next = self._next + self._signed(0) & MASK
        damaged(self._next >= len(self._old.all), "no such old record")
        number, old = self._next, self._old.all[self._next]
        self._next += 1
        if old.kind == FDE:
            return self._following(old, way)
        record = bytearray(self._old.data[old.at : old.at + old.size])
        if old.kind == CIE:
            self._made[number] = len(self._new_tables.all)
            if old.personality is not None:
                at, size = old.personality, old.personality_size
                target = solved(self._old.data, old.at + at, self._old.address, size)
                place = self._new_tables.address + len(self._data) + at
                record[at : at + size] = word(self._prediction.far(target)[0] - place, size)
        return bytes(record)

    def _bytes(self) -> bytes:
        size = self._number(6)
        damaged(size == 0 or size > self._size - len(self._data), "bytes without room")
        r, out = 0, bytearray()
        for i in range(size):
            contexts = [0x200, m(0x201, low(r, 8)), m(0x202, low(r, 16)), m(0x203, low(r, 24)), m(0x204, r)]
            contexts += [m(0x205, i if i < 32 else 32 + i % 4), m(0x206, i % 4)]
            out.append(self._decisions.symbol("frame byte", 8, contexts))
            r = (r * 256 + out[-1]) & M32
        return bytes(out)

    def _following(self, old: Record, way: int) -> bytes:
        far = self._prediction.far
        cies = self._new_tables.cies
        damaged(not cies, "no CIE")
        said = Said(self._made.get(old.cie, cies[-1]), far(old.start)[0], 0, 0)
        said.size, said.table = self._expected_size(old, said.start), self._expected_table(old, said.cie)
        first, copied = (said.start, said.table), self._copied(old)
        guess = self._guess(old, said)
        if self._decisions.counts_usual and way == FOLLOWS:
            right = self._is_usual
        else:
            right = self._flag(0, guess.known, copied)
        self._rights = (2 * self._rights + (not right)) & M32
        if not right:
            same_code, same_table = self._fields(old, said, copied)
            if not same_code:
                guess = self._guess(old, said)
            if not (same_code and same_table):
                right = self._flag(5, guess.known, copied)
        self._made[old.cie] = said.cie
        self._learn(old.start, first[0], said.start)
        if old.table and said.table:
            self._learn(old.table, first[1], said.table)
        return self._fde(said, guess, right=right)

    def _fields(self, old: Record, said: Said, copied: int) -> tuple[bool, bool]:
        """Whether all but the exception table is as expected, and whether that is."""
        same = True
        if not self._flag(1, 0, copied):
            said.cie, same = self._cie(), False
        if not self._flag(2, 0, copied):
            said.start, same = said.start + self._signed(2) & MASK, False
        size = self._expected_size(old, said.start)
        if not self._flag(3, 0, copied):
            size, same = self._checked(size + self._signed(3)), False
        said.size, said.table = size, 0
        if not self._new_tables.all[said.cie].table_size:
            return same, True
        said.table = self._expected_table(old, said.cie)
        right = self._flag(4, 0, copied)
        if not right:
            said.table = self._table(4, said.table)
        return same, right

    def _checked(self, size: int) -> int:
        damaged(size & MASK >= 2**32, "size of a function")
        return size & MASK

    def _cie(self) -> int:
        back, cies = self._number(1), self._new_tables.cies
        damaged(back >= len(cies), "no such CIE")
        return cies[len(cies) - 1 - back]

    def _table(self, w: int, expected: int) -> int:
        number = self._number(w)
        if number == 0:
            return 0
        z = number - 1
        return expected + (-(z + 1) // 2 if z % 2 else z // 2) & MASK

    def _expected_size(self, old: Record, start: int) -> int:
        if old.code_size == 0:
            return 0
        last = old.start + old.code_size - 1 & MASK
        return self._prediction.sized(last, old.start, start) + 1 - start & M32

    def _expected_table(self, old: Record, cie: int) -> int:
        if not self._new_tables.all[cie].table_size or not old.table:
            return 0
        return self._prediction.far(old.table)[0]

    def _learn(self, t: int, expected: int, actual: int) -> None:
        prediction = self._prediction
        prediction.last_old, prediction.last_new = t, actual
        prediction.learn(t, actual, actual != expected)

    def _own(self) -> bytes:
        damaged(not self._new_tables.cies, "no CIE")
        said = Said(self._cie(), 0, 0, 0)
        said.start = (self._behind + 15 & MASK & ~15) + self._signed(10) & MASK
        said.size = self._checked(self._signed(11))
        if self._new_tables.all[said.cie].table_size:
            said.table = self._table(12, self._last_table)
        code = self._new_code(said)
        guess = Guess()
        if code is not None and self._spend(len(code)):
            guess = Guess(CODE, steps=self._predicted(code))
        guess.padding = 0 if self._ends_well(guess, said) else 3
        return self._fde(said, guess, right=self._flag(5, guess.known, 4))

    def _fde(self, said: Said, guess: Guess, *, right: bool) -> bytes:
        cie = self._new_tables.all[said.cie]
        self._behind = said.start + said.size & MASK
        self._last_table = said.table or self._last_table
        self._programs = (2 * self._programs + (not right)) & M32
        at = len(self._data)
        address = self._new_tables.address + at
        fixed = word(at + 4 - cie.at) + word(said.start - address - 8) + word(said.size)
        fixed += bytes([cie.table_size])
        fixed += word(said.table and said.table - address - 17, cie.table_size)
        if right:
            record = fixed + guess.program(cie.unit)
            if guess.data is None:
                record += bytes(-(4 + len(record)) % self._alignment)
                end = at + 4 + len(record)
                if guess.padding == 1:
                    record += bytes(-end % 8 // self._alignment * self._alignment)
        else:
            record = fixed + self._tokens(guess, cie.unit)
            more = self._number(7)
            record += bytes(-(4 + len(record)) % self._alignment)
            damaged(more > self._size, "no room for zeros")
            record += bytes(more * self._alignment)
        return word(len(record)) + record

    # Guesses

    def _spend(self, work: int) -> bool:
        if work > self._work:
            return False
        self._work -= work
        return True

    def _old_code(self, old: Record) -> tuple[int, bytes] | None:
        for r in self._image.regions:
            if r.kind == CODE_CLASS and r.address <= old.start < r.address + r.size:
                inside = old.start - r.address
                if 0 < old.code_size <= r.size - inside:
                    first = r.offset + inside
                    return first, self._old_bytes[first : first + old.code_size]
        return None

    def _new_code(self, said: Said) -> bytes | None:
        regions = self._regions
        loaded = [r for r in regions if r.has_bytes and r.address <= said.start]
        if not self._keeps_code or not loaded or said.size == 0:
            return None
        region = max(loaded, key=lambda r: r.address)
        n = region.offset + said.start - region.address
        decides = region_of_offset(regions, n)
        if said.start >= region.address + region.size or decides is None or decides.kind != CODE_CLASS:
            return None
        later = [r.offset for r in regions if r.has_bytes and r.offset > n]
        end = min([decides.offset + decides.size, len(self._new), *later])
        return bytes(self._new[n : n + said.size]) if n + said.size <= end else None

    def _guess(self, old: Record, said: Said) -> Guess:
        spent = self._spend(len(old.program))
        unit = self._old.all[old.cie].unit
        steps = steps_of(old.program, unit) if spent else None
        guess = self._guess_steps(old, said, steps) if spent else Guess()
        stretched = False
        if steps is not None:
            size = len(Guess(steps=steps).program(unit))
            stretched = len(old.program) - size >= self._alignment
        if not self._ends_well(guess, said):
            guess.padding = 1 if stretched else 2 if (old.at + old.size) % 8 else 3
        return guess

    def _ends_well(self, guess: Guess, said: Said) -> bool:
        cie = self._new_tables.all[said.cie]
        size, place = 17 + cie.table_size, 0
        for at, step in guess.steps:
            if at != place and (at - place) % cie.unit == 0:
                size += len(advance(at - place, cie.unit))
            size, place = size + len(step), at
        return (len(self._data) + size + -size % self._alignment) % 8 == 0

    def _guess_steps(self, old: Record, said: Said, steps: list[Step] | None) -> Guess:
        before, code = self._old_code(old), self._new_code(said)
        if before is None or code is None or not self._spend(len(before[1]) + len(code)):
            return self._moved(old, said, steps, MOVED)
        if self._is_same(before[0], before[1], code):
            return self._moved(old, said, steps, SAME)
        was, now = self._predicted(before[1]), self._predicted(code)
        if steps is not None and was == steps:
            return Guess(PROVED, steps=now)
        if steps is not None and [step for _, step in was] == [step for _, step in now]:
            return self._moved(old, said, steps, CODE)
        return Guess(CODE, steps=now)

    def _predicted(self, code: bytes) -> list[Step]:
        return predicted_steps(ARCHITECTURES.get(self._image.machine, ""), code)

    def _is_same(self, offset: int, before: bytes, code: bytes) -> bool:
        if len(before) != len(code):
            return False
        mask = bytearray(len(before))
        for reference in self._references(offset):
            kind = KINDS[reference.kind]
            at = reference.offset - offset
            if at + kind.length > len(before):
                break
            mask[at : at + kind.length] = kind.mask.to_bytes(kind.length, "little")
        return all((x ^ y) & ~z & 0xFF == 0 for x, y, z in zip(before, code, mask, strict=True))

    def _references(self, offset: int) -> Iterator[Reference]:
        return (r for r in self._image.references if r.offset >= offset)

    def _moved(self, old: Record, said: Said, steps: list[Step] | None, trust: int) -> Guess:
        before, now = self._old.all[old.cie], self._new_tables.all[said.cie]
        guess = Guess(trust)
        if steps is None:
            if before.table_size == now.table_size and before.unit == now.unit:
                guess.data = old.program
            return guess
        last = 0
        for place, step in steps:
            moved = place
            if said.size != old.code_size:
                moved = self._prediction.map(old.start + place & MASK) - said.start & MASK
            last = moved if last <= moved <= said.size else last
            guess.steps.append((last, step))
        return guess

    # Tokens

    def _tokens(self, guess: Guess, unit: int) -> bytes:
        steps, trust, out = guess.steps, guess.trust, b""
        done, loc, h = 0, 0, 1
        while True:
            step = steps[done] if done < len(steps) and steps[done][0] <= loc else None
            f = step[1][0] if step else 0x100 if done == len(steps) else 0x100 + ADVANCE
            contexts = [m(trust, f), m(f, low(self._steps, 4)), m(trust, low(h, 6)), m(f, self._l0)]
            contexts += [m(m(trust, f), low(h, 2)), m(1, low(self._steps, 8))]
            right = self._decisions.flag("frame step", contexts, trust)
            self._steps, h = (2 * self._steps + (not right)) & M32, (2 * h + (not right)) & M32
            first = f & 0xFF if right else self._byte(f, step, trust, b"")
            if first == 0:
                return out
            if first == ADVANCE:
                place = steps[done][0] if right else loc + self._units(loc, unit)
                if not right and f != 0x100 + ADVANCE:
                    while done < len(steps) and steps[done][0] < place:
                        done += 1
                out += advance(place - loc, unit)
                loc = place
                self._remember(bytes([ADVANCE]))
            else:
                if right:
                    assert step is not None
                    came, done = step[1], done + 1
                else:
                    came = self._step(f, step, trust, first)
                    done = self._follow(steps, done, step, came)
                out += came
                self._remember(came)
            damaged(len(out) > self._size, "no room for a program")

    def _units(self, loc: int, unit: int) -> int:
        u = self._number(5)
        damaged(u == 0 or loc + u * unit >= 2**32, "an advance")
        return u * unit

    def _follow(self, steps: list[Step], done: int, guessed: Step | None, came: bytes) -> int:
        if guessed is None:
            return done
        for number in range(done, min(done + 8, len(steps))):
            if steps[number][1] == came:
                return number + 1
        a, b = guessed[1][0], came[0]
        return done + (a == b or (a >> 6 == b >> 6 and a >> 6 != 0))

    def _step(self, f: int, guessed: Step | None, trust: int, first: int) -> bytes:
        step = bytes([first])
        damaged(first not in OPERANDS, "no step")
        while wanted(step):
            damaged(len(step) == 12, "a step of too many bytes")
            step += bytes([self._byte(f, guessed, trust, step)])
        return step

    def _byte(self, f: int, guessed: Step | None, trust: int, before: bytes) -> int:
        i = len(before)
        s = m(H(before), i)
        e = f if i == 0 else 0x100
        if i and guessed is not None and i < len(guessed[1]) and guessed[1].startswith(before):
            e = guessed[1][i]
        contexts = [s, m(s, self._l0), m(s, m(self._l0, self._l1)), m(s, e), m(m(s, e), trust)]
        contexts += [m(s, m(7, self._last[before[0] if i else 0])), m(m(s, e), self._l0)]
        return self._decisions.symbol("frame byte", 8, contexts)

    def _remember(self, step: bytes) -> None:
        self._l1, self._l0 = self._l0, H(step)
        self._last[step[0]] = self._l0
