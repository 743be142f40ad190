"""Predicted call frame programs, from docs/spec/frame-programs.md."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from spec.image_reader_x86_64 import decode, signed

CODE_MAX, STEPS_MAX, OFFSET_MAX = 1 << 18, 4096, 1 << 28
Step = tuple[int, bytes]


def ul(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@dataclass(frozen=True, slots=True)
class Row:
    register: int
    offset: int
    words: dict[int, int] = field(default_factory=dict)  # of slots, by DWARF number, that are saved
    signed: int = 0


@dataclass(slots=True)
class Instruction:
    place: int
    end: int
    flow: str = "on"
    target: int | None = None  # None: outside
    padding: bool = False
    act: str = ""
    slots: tuple[int | None, ...] = ()
    amount: int = 0
    register: int = 0
    overwritten: tuple[int, ...] = ()


class Walk(ABC):
    """One walk over the chain of instructions; what both instruction sets share."""

    slots: tuple[int, ...]
    first: Row

    def __init__(self, chain: list[Instruction], targets: set[int], known: dict[int, Row]) -> None:
        self.chain, self.targets, self.known = chain, targets, known
        self.row, self.depth = self.first, self.first.offset
        self.steps: list[Step] = []
        self.waiting: list[int] = []
        self.prologue_end, self.overwrite = 0, None
        self.branched = False
        self.exits = self.find_exits()
        self.begin_trace()

    overwrite: int | None
    trace_step: int | None

    def find_exits(self) -> dict[int, Instruction]:
        exits: dict[int, Instruction] = {}
        found = None
        for instruction in reversed(self.chain):
            if instruction.flow not in ("on", "call"):
                found = instruction
            if found is not None:
                exits[instruction.place] = found
        return exits

    def begin_trace(self) -> None:
        self.trace_row, self.trace_step, self.restoring = self.row, None, False

    def put(self, place: int, step: bytes, restoring: bool = False) -> None:
        if restoring and not self.restoring:
            self.begin_trace()
            self.restoring = True
        if self.trace_step is None:
            self.trace_step = len(self.steps)
        self.steps.append((place, step))

    def set_cfa(self, place: int, register: int, offset: int, restoring: bool = False) -> None:
        row = self.row
        if (register, offset) == (row.register, row.offset):
            return
        if register == row.register:
            step = b"\x0e" + ul(offset)
        elif offset == row.offset:
            step = b"\x0d" + ul(register)
        else:
            step = b"\x0c" + ul(register) + ul(offset)
        self.put(place, step, restoring)
        self.row = replace(row, register=register, offset=offset)
        if register == self.first.register:
            self.depth = offset

    def note_save(self, slot: int | None, below: int) -> bool:
        if slot is None or slot in self.row.words or not 8 <= below <= OFFSET_MAX:
            return False
        self.row = replace(self.row, words=self.row.words | {slot: below // 8})
        return True

    def put_save(self, place: int, slot: int) -> None:
        name = bytes([0x80 + slot]) if slot < 64 else b"\x05" + ul(slot)
        self.put(place, name + ul(self.row.words[slot]))

    def restore(self, place: int, slot: int, restoring: bool) -> None:
        self.put(place, bytes([0xC0 + slot]) if slot < 64 else b"\x06" + ul(slot), restoring)
        self.row = replace(self.row, words={s: w for s, w in self.row.words.items() if s != slot})

    def negate(self, place: int) -> None:
        self.put(place, b"\x2d")
        self.row = replace(self.row, signed=1 - self.row.signed)

    def write_waiting(self, place: int) -> None:
        for slot in self.waiting:
            self.put_save(place, slot)
        self.waiting, self.overwrite = [], None

    def write_overdue(self) -> None:
        if self.overwrite is not None:
            self.write_waiting(self.overwrite)

    def settle(self, place: int) -> None:
        self.write_overdue()
        self.write_waiting(place)

    def wait(self, slot: int) -> None:
        self.write_overdue()
        self.waiting.append(slot)

    def connect(self, place: int, wanted: Row) -> None:
        if wanted == self.row:
            return
        if wanted == self.trace_row and self.trace_step is not None:
            self.steps.insert(self.trace_step, (self.steps[self.trace_step][0], b"\x0a"))
            self.steps.append((place, b"\x0b"))
        else:
            self.set_cfa(place, wanted.register, wanted.offset)
            for slot in self.slots:
                words = wanted.words.get(slot, 0)
                if words == self.row.words.get(slot, 0):
                    continue
                if words == 0:
                    self.restore(place, slot, restoring=False)
                else:
                    self.row = replace(self.row, words=self.row.words | {slot: words})
                    self.put_save(place, slot)
            if wanted.signed != self.row.signed:
                self.negate(place)
        self.row = wanted
        if wanted.register == self.first.register:
            self.depth = wanted.offset

    def jumps_out(self, place: int) -> bool:
        exit_ = self.exits.get(place)
        return exit_ is not None and (
            exit_.flow == "indirect" or (exit_.flow == "jump" and exit_.target is None)
        )

    @abstractmethod
    def end_block(self, place: int, call: bool) -> None: ...

    @abstractmethod
    def do(self, instruction: Instruction) -> None: ...

    def run(self) -> None:
        if 0 in self.targets:
            self.known.setdefault(0, self.row)
        cut = False
        for instruction in self.chain:
            if len(self.steps) >= STEPS_MAX:
                break
            place = instruction.place
            if place in self.targets or (cut and not instruction.padding):
                self.end_block(place, call=False)
                if place in self.known:
                    self.connect(place, self.known[place])
                elif cut and self.restoring:
                    self.connect(place, self.trace_row)
                self.begin_trace()
            elif cut:
                continue
            if instruction.flow != "on":
                self.end_block(place, call=instruction.flow == "call")
            if self.overwrite is None and set(instruction.overwritten) & set(self.waiting):
                self.overwrite = place
            self.do(instruction)
            if instruction.flow in ("branch", "jump") and instruction.target is not None:
                self.known.setdefault(instruction.target, self.row)
            cut = instruction.flow in ("jump", "indirect", "return", "stop")


# ---- AArch64 ----------------------------------------------------------------------------------------

A64_FLOWS = [
    (0xFC000000, 0x94000000, "call", 0, 0),
    (0xFC000000, 0x14000000, "jump", 0, 26),
    (0xFF000010, 0x54000000, "branch", 5, 19),
    (0x7E000000, 0x34000000, "branch", 5, 19),
    (0x7E000000, 0x36000000, "branch", 5, 14),
    (0xFFFFFC1F, 0xD61F0000, "indirect", 0, 0),
    (0xFFFFFC1F, 0xD63F0000, "call", 0, 0),
    (0xFFFFFC1F, 0xD65F0000, "return", 0, 0),
    (0xFFFFF800, 0xD61F0800, "indirect", 0, 0),
    (0xFFFFF800, 0xD63F0800, "call", 0, 0),
    (0xFFFFF800, 0xD65F0800, "return", 0, 0),
    (0xFFE0001F, 0xD4200000, "stop", 0, 0),
]
A64_ACTS = [
    (0xFFFFFFFF, 0xD503233F, "sign", "", ""),
    (0xFFFFFFFF, 0xD503237F, "sign", "", ""),
    (0xFFFFFFFF, 0xD50323BF, "sign", "", ""),
    (0xFFFFFFFF, 0xD50323FF, "sign", "", ""),
    (0xFFC003E0, 0xA98003E0, "push", "xx", "-i7"),
    (0xFFC003E0, 0x6D8003E0, "push", "dd", "-i7"),
    (0xFFE00FE0, 0xF8000FE0, "push", "x", "-i9"),
    (0xFFE00FE0, 0xFC000FE0, "push", "d", "-i9"),
    (0xFFC003E0, 0xA8C003E0, "pop", "xx", "i7"),
    (0xFFC003E0, 0x6CC003E0, "pop", "dd", "i7"),
    (0xFFE00FE0, 0xF84007E0, "pop", "x", "i9"),
    (0xFFE00FE0, 0xFC4007E0, "pop", "d", "i9"),
    (0xFFC003E0, 0xA90003E0, "store", "xx", "i7"),
    (0xFFC003E0, 0x6D0003E0, "store", "dd", "i7"),
    (0xFFC003E0, 0xF90003E0, "store", "x", "i12"),
    (0xFFC003E0, 0xFD0003E0, "store", "d", "i12"),
    (0xFFC003E0, 0xA94003E0, "load", "xx", "i7"),
    (0xFFC003E0, 0x6D4003E0, "load", "dd", "i7"),
    (0xFFC003E0, 0xF94003E0, "load", "x", "i12"),
    (0xFFC003E0, 0xFD4003E0, "load", "d", "i12"),
    (0xFF8003FF, 0xD10003FF, "down", "", "a12"),
    (0xFF8003FF, 0x910003FF, "up", "", "a12"),
    (0xFFE003FF, 0xCB2003FF, "down", "", "m"),
    (0xFFE003FF, 0x8B2003FF, "up", "", "m"),
    (0xFFC003FF, 0x910003FD, "set fp", "", "a12"),
    (0xFFC003FF, 0x910003BF, "sp from fp", "", ""),
    (0xFF8003FF, 0xD10003BF, "sp from fp", "", ""),
    (0xFFE00000, 0xD2800000, "constant", "", "i16"),
]


def bits(word: int, low: int, high: int) -> int:
    return word >> low & (1 << high - low + 1) - 1


def a64_slot(letter: str, number: int) -> int | None:
    if letter == "x":
        return number if 19 <= number <= 30 else None
    return number + 64 if 8 <= number <= 15 else None


def a64_amount(word: int, name: str) -> int:
    if name.startswith("-"):
        return -a64_amount(word, name[1:])
    return {
        "": 0,
        "m": 0,
        "i7": 8 * signed(bits(word, 15, 21), 7),
        "i9": signed(bits(word, 12, 20), 9),
        "i12": 8 * bits(word, 10, 21),
        "a12": bits(word, 10, 21) * (4096 if bits(word, 22, 22) else 1),
        "i16": bits(word, 5, 20),
    }[name]


def a64_overwritten(word: int) -> tuple[int, ...]:
    t, u, group = bits(word, 0, 4), bits(word, 10, 14), bits(word, 25, 28)
    if bits(word, 20, 31) == 0xD53 or group in (5, 8, 9, 13):
        return (t,)
    if group == 15:
        return (t,) if bits(word, 24, 30) == 0x1E and bits(word, 10, 15) == 0 else ()
    if group not in (4, 6, 12, 14) or bits(word, 26, 26):
        return ()
    if bits(word, 27, 29) == 5:
        return (t, u) if bits(word, 22, 22) else ()
    if bits(word, 27, 29) == 7:
        return (t,) if bits(word, 22, 23) else ()
    return (t,)


def a64_chain(code: bytes) -> Iterator[Instruction]:
    for place in range(0, len(code), 4):
        word = int.from_bytes(code[place : place + 4], "little")
        out = Instruction(place, place + 4, padding=word == 0xD503201F)
        out.overwritten = tuple(r for r in a64_overwritten(word) if 19 <= r <= 30)
        for mask, value, flow, at, size in A64_FLOWS:
            if word & mask == value:
                out.flow = flow
                if size:
                    target = place + 4 * signed(bits(word, at, at + size - 1), size)
                    out.target = target if 0 <= target < len(code) else None
                break
        else:
            for mask, value, act, letters, amount in A64_ACTS:
                if word & mask == value:
                    out.act, out.amount = act, a64_amount(word, amount)
                    numbers = zip(letters, (bits(word, 0, 4), bits(word, 10, 14)), strict=False)
                    out.slots = tuple(a64_slot(*each) for each in numbers)
                    out.register = bits(word, 16, 20) if amount == "m" else bits(word, 0, 4)
                    if amount == "m":
                        out.act += " by"
                    break
        yield out


def pairs_back(slots: list[int]) -> list[int]:
    pairs = [slots[at : at + 2] for at in range(0, len(slots), 2)]
    return [slot for pair in reversed(pairs) for slot in pair]


class AArch64(Walk):
    slots = (*range(19, 31), *range(72, 80))
    first = Row(31, 0)
    apart = False

    def __init__(self, chain: list[Instruction], targets: set[int], known: dict[int, Row]) -> None:
        super().__init__(chain, targets, known)
        self.components: set[int] = set()
        self.pushed = False
        self.constant = (0, 0)
        self.uses_fp = any(each.act == "sp from fp" for each in chain)

    def end_block(self, place: int, call: bool) -> None:
        if self.apart:
            self.settle(place)
        else:
            self.write_waiting(self.prologue_end)
        self.branched |= not call

    def do(self, instruction: Instruction) -> None:
        act, end, n = instruction.act, instruction.end, instruction.amount
        if act not in ("", "store", "load", "constant"):
            self.write_overdue()
        if act.endswith(" by"):
            act, n = act[:-3], self.constant[1] if self.constant[0] == instruction.register else 0
        if act == "sign":
            self.write_waiting(end)
            self.negate(end)
        elif act == "down":
            self.lower(end, n)
        elif act == "push":
            self.push(instruction)
        elif act == "store":
            self.store(instruction)
        elif act == "load":
            self.load(instruction)
        elif act in ("pop", "up"):
            self.write_waiting(end)
            self.raise_(end, n, instruction.slots)
        elif act == "set fp":
            if self.uses_fp and self.row.register == 31 and 0 < self.row.offset >= n:
                self.set_cfa(end, 29, self.row.offset - n)
                self.write_waiting(end)
        elif act == "sp from fp":
            if self.row.register == 29 and not self.pushed:
                self.set_cfa(end, 31, self.row.offset, restoring=True)
        elif act == "constant":
            self.constant = instruction.register, n

    def lower(self, end: int, n: int) -> bool:
        if n <= 0 or self.row.register != 31 or self.row.offset + n > OFFSET_MAX:
            return False
        if self.row.offset == 0:
            self.branched = False
        self.set_cfa(end, 31, self.row.offset + n)
        self.pushed = False
        self.write_waiting(end)
        return True

    def push(self, instruction: Instruction) -> None:
        if not self.lower(instruction.end, instruction.amount):
            return
        self.pushed = True
        for k, slot in enumerate(instruction.slots):
            if self.note_save(slot, self.depth - 8 * k) and slot is not None:
                self.put_save(instruction.end, slot)

    def store(self, instruction: Instruction) -> None:
        new = [
            slot
            for k, slot in enumerate(instruction.slots)
            if self.note_save(slot, self.depth - instruction.amount - 8 * k) and slot is not None
        ]
        if not new:
            return
        if self.branched:
            for slot in reversed(new):
                self.put_save(instruction.end, slot)
                self.components.add(slot)
            return
        for slot in new:
            self.wait(slot)
        self.prologue_end = instruction.end
        if new[0] >= 72:
            self.write_waiting(instruction.end)

    def load(self, instruction: Instruction) -> None:
        end = instruction.end
        exit_ = self.exits.get(end)
        leaves = self.jumps_out(end) or (exit_ is not None and exit_.flow == "return")
        for k, slot in reversed(list(enumerate(instruction.slots))):
            below = self.depth - instruction.amount - 8 * k
            if slot is None or slot not in self.components or slot not in self.row.words:
                continue
            if 8 * self.row.words[slot] == below:
                self.settle(end)
                self.restore(end, slot, leaves)

    def raise_(self, end: int, n: int, slots: tuple[int | None, ...]) -> None:
        offset = self.row.offset
        if n <= 0 or n > offset or (self.row.register != 31 and n != offset):
            return
        for slot in reversed(slots):
            if slot is not None and slot in self.row.words:
                self.restore(end, slot, restoring=True)
        if n == offset:
            saved = sorted(self.row.words)
            record = [29, 30] if {29, 30} <= set(saved) else []
            rest = [slot for slot in saved if slot not in record]
            general = pairs_back([slot for slot in rest if slot < 64])
            for slot in record + general + pairs_back([slot for slot in rest if slot >= 64]):
                self.restore(end, slot, restoring=True)
        self.set_cfa(end, 31, offset - n, restoring=True)


# ---- x86-64 -----------------------------------------------------------------------------------------

PREFIXES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, *range(0x40, 0x50)}
X86_SLOTS = {3: 3, 5: 6, 12: 12, 13: 13, 14: 14, 15: 15}  # number in instructions: DWARF number
RBP = 6
BY_REG = {0x03, 0x0B, 0x23, 0x2B, 0x33, 0x63, 0x69, 0x6B, 0x8B, 0x8D}
BY_REG_0F = {*range(0x40, 0x50), 0xAF, *range(0xB6, 0xB9), *range(0xBC, 0xC0)}
BY_RM = {0x01, 0x09, 0x21, 0x29, 0x31, 0x81, 0x83, 0x89, 0xC1, 0xC7, 0xD1, 0xD3}
BY_RM_0F = {0x7E, *range(0x90, 0xA0)}


def x86_flow(o: int, p: int) -> str:
    reg = p >> 3 & 7
    if 0x70 <= o <= 0x7F or 0xE0 <= o <= 0xE3 or (o == 0x0F and 0x80 <= p <= 0x8F):
        return "branch"
    if o in (0xE9, 0xEB):
        return "jump"
    if o == 0xE8 or (o == 0xFF and reg == 2):
        return "call"
    if o == 0xFF and reg == 4:
        return "indirect"
    if o in (0xC2, 0xC3):
        return "return"
    return "stop" if o == 0xF4 or (o == 0x0F and p == 0x0B) else "on"


def number(b: bytes, at: int, size: int) -> int:
    return int.from_bytes(b[at : at + size], "little", signed=True)


def x86_act(b: bytes, rex: int) -> tuple[str, int | None, int]:
    """Act, register, amount of the instruction whose opcode is the first byte."""
    o, p, r, x, low = b[0], b[1], rex & 4, rex & 2, rex & 1
    if 0x50 <= o <= 0x5F:
        return "push" if o < 0x58 else "pop", o % 8 + 8 * low, 0
    if o in (0x68, 0x6A) or (o == 0xFF and p >> 3 & 7 == 6):
        return "push", None, 0
    if o == 0x8F and p >> 3 & 7 == 0:
        return "pop", None, 0
    if o == 0xC9:
        return "leave", None, 0
    if not rex & 8:
        return "", None, 0
    if o in (0x83, 0x81) and p in (0xEC, 0xC4) and not low:
        amount = number(b, 2, 1 if o == 0x83 else 4)
        return "down", None, amount if p == 0xEC else -amount
    if o == 0x8D and p in (0x64, 0xA4) and b[2] == 0x24 and not (r or x or low):
        return "down", None, -number(b, 3, 1 if p == 0x64 else 4)
    if o == 0x8D and p in (0x65, 0xA5) and not (r or low):
        return "sp from fp", None, number(b, 2, 1 if p == 0x65 else 4)
    if o == 0x89 and p & 0xC7 == 0xC4 and not low:
        return "sp from", None, 0
    if (o, p) in ((0x89, 0xE5), (0x8B, 0xEC)) and not (r or low):
        return "set fp", None, 0
    return "", None, 0


def x86_overwritten(b: bytes, rex: int) -> int | None:
    o, two = b[0], b[0] == 0x0F
    opcode, modrm = b[1] if two else o, b[2] if two else b[1]
    if opcode in (BY_REG_0F if two else BY_REG):
        return (modrm >> 3 & 7) + (8 if rex & 4 else 0)
    if opcode in (BY_RM_0F if two else BY_RM):
        return (modrm & 7) + (8 if rex & 1 else 0) if modrm >= 0xC0 else None
    if not two and 0xB8 <= o <= 0xBF:
        return o % 8 + (8 if rex & 1 else 0)
    return None


def x86_chain(code: bytes) -> Iterator[Instruction]:
    place = 0
    while place < len(code):
        b = code[place : place + 40].ljust(40, b"\0")
        found = decode(b)
        if found is None or place + found.length > len(code):
            yield Instruction(place, place + 1)
            place += 1
            continue
        out = Instruction(place, place + found.length)
        at = next(at for at, byte in enumerate(b) if byte not in PREFIXES)
        rex = b[at - 1] if at and b[at - 1] >> 4 == 4 else 0
        out.flow = x86_flow(b[at], b[at + 1])
        out.padding = b[at] == 0x90 or (b[at] == 0x0F and b[at + 1] == 0x1F)
        if out.flow in ("branch", "jump"):
            target = out.end + number(b, found.field, found.field_size)
            out.target = target if 0 <= target < len(code) else None
        elif out.flow == "on":
            out.act, register, out.amount = x86_act(b[at:], rex)
            out.slots = (None if register is None else X86_SLOTS.get(register),)
            overwritten = x86_overwritten(b[at:], rex)
            if overwritten in X86_SLOTS:
                out.overwritten = (X86_SLOTS[overwritten],)
        yield out
        place = out.end


class X8664(Walk):
    slots = (3, 6, 12, 13, 14, 15)
    first = Row(7, 8)
    in_prologue = wrapped = False
    frame = 0

    def end_block(self, place: int, call: bool) -> None:
        self.write_waiting(self.prologue_end)
        self.in_prologue = False
        self.branched |= not call

    def do(self, instruction: Instruction) -> None:
        act, end, n = instruction.act, instruction.end, instruction.amount
        if act and act not in ("push", "down"):
            self.settle(end)
        register, offset = self.row.register, self.row.offset
        if act == "push":
            self.push(end, instruction.slots[0])
        elif act == "pop":
            self.pop(end, instruction.slots[0])
        elif act == "down":
            self.down(end, n)
        elif act == "set fp" and (register, offset) == (7, 16):
            self.set_cfa(end, 6, 16)
        elif act == "sp from fp" and register == 6:
            self.depth = 16 - n
        elif act == "leave" and register == 6:
            self.leave(end)
        elif act == "sp from" and register == 7 and self.frame:
            self.set_cfa(end, 7, self.frame)

    def enter(self) -> None:
        if (self.row.register, self.row.offset) == (7, 8):
            self.wrapped, self.in_prologue, self.frame = self.branched, True, 8

    def reach(self) -> None:
        self.frame = self.row.offset
        self.begin_trace()

    def restore_early(self, end: int, slot: int) -> None:
        if self.wrapped and slot in self.row.words and self.jumps_out(end):
            self.restore(end, slot, restoring=True)

    def leave(self, end: int) -> None:
        self.restore_early(end, RBP)
        self.set_cfa(end, 7, 8, restoring=True)

    def push(self, end: int, slot: int | None) -> None:
        self.enter()
        if self.row.register != 7:
            self.depth += 8
        elif self.depth + 8 > OFFSET_MAX:
            return
        else:
            self.set_cfa(end, 7, self.row.offset + 8)
        if not self.note_save(slot, self.depth) or slot is None:
            self.in_prologue = False
        elif self.row.register == 6 and self.in_prologue:
            self.wait(slot)
            self.prologue_end = end
        else:
            self.settle(end)
            self.put_save(end, slot)
            if self.in_prologue:
                self.reach()

    def pop(self, end: int, slot: int | None) -> None:
        if self.row.register == 6:
            self.depth -= 8
            if slot == RBP:
                self.leave(end)
            return
        if self.depth - 8 < 8:
            return
        if slot is not None and 8 * self.row.words.get(slot, 0) == self.depth:
            self.restore_early(end, slot)
        offset = self.row.offset - 8
        self.set_cfa(end, 7, offset, restoring=offset < self.frame)

    def down(self, end: int, n: int) -> None:
        if n > 0:
            self.enter()
        depth = self.depth + n
        if self.row.register != 7:
            self.depth = depth
            if n > 0 and self.in_prologue:
                self.write_overdue()
                self.prologue_end = end
        elif 8 <= depth <= OFFSET_MAX:
            self.set_cfa(end, 7, depth, restoring=depth < self.frame)
            if n > 0 and self.in_prologue:
                self.reach()
        self.in_prologue = False


CHAINS: dict[str, tuple[int, Callable[[bytes], Iterator[Instruction]], type[Walk]]] = {
    "aarch64": (4, a64_chain, AArch64),
    "x86_64": (1, x86_chain, X8664),
}


def predicted_steps(arch: str, code: bytes) -> list[Step]:
    """Place and bytes of each step."""
    if arch not in CHAINS or len(code) > CODE_MAX:
        return []
    unit, read, rules = CHAINS[arch]
    chain = list(read(code[: len(code) - len(code) % unit]))
    targets = {each.target for each in chain if each.target is not None}
    known: dict[int, Row] = {}
    first, second = (rules(chain, targets, known) for _ in range(2))
    first.run()
    if isinstance(first, AArch64) and isinstance(second, AArch64):
        second.apart = bool(first.components)
    second.run()
    return second.steps[:STEPS_MAX]
