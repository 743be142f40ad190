"""Runs of x86-64 code in the modelled delta, and the teaching of old code (docs/spec/delta-model.md)."""

from __future__ import annotations

from spec.delta_reader import address_of
from spec.image_reader_x86_64 import Instruction, decode
from spec.model_reader_coder import M64, H, low, m
from spec.model_reader_gaps import Alignment, New, Shared, Targets

FIELD, IMMEDIATE, DISPLACEMENT, SIB, MODRM, OPCODE, DATA = 5, 4, 3, 2, 1, 0, 6
UNKNOWN = b"\1\1\5" + b"\1" * 37


def parts_of(data: bytes) -> Instruction:
    """All 0 where it is no instruction."""
    return decode(data.ljust(40, b"\0")) or Instruction()


def role_of(parts: Instruction, a: int) -> int:
    if parts.field and parts.field <= a < parts.field + parts.field_size:
        return FIELD
    if parts.immediate and a >= parts.immediate:
        return IMMEDIATE
    if parts.displacement and a >= parts.displacement:
        return DISPLACEMENT
    if parts.modrm and a >= parts.modrm:
        return SIB if a > parts.modrm else MODRM
    return OPCODE


class Reading:
    """Goes along bytes of one image. ``read(pos, size)`` gives the bytes [pos - size, pos), 0 before all."""

    def __init__(self, pos: int, before: bytes, so_far: bytes) -> None:
        self.pos, self.so_far = pos, so_far
        self.b0 = self.b1 = 0
        self.recent = int.from_bytes(before, "big")
        self._look()

    @property
    def a(self) -> int:
        return len(self.so_far)

    def _look(self) -> None:
        self.parts = parts_of(self.so_far + UNKNOWN[self.a :])
        if self.a > 0 and self.a >= self.parts.length:
            self.b1, self.b0 = self.b0, H(self.so_far[:3])
            self.so_far = b""
            self.parts = parts_of(UNKNOWN)

    def take(self, byte: int) -> None:
        self.recent = (self.recent << 8 | byte) & M64
        self._step(bytes([byte]))

    def take_field(self, field: bytes) -> None:
        self._step(field)

    def _step(self, data: bytes) -> None:
        self.pos += len(data)
        self.so_far += data
        self._look()

    def is_at_field(self, left: int) -> bool:
        return self.parts.field_size == 4 and self.a == self.parts.field and left >= 4

    def contexts(self) -> tuple[int, int, list[int]]:
        """Role, S, and the contexts 0 to 7."""
        i, parts, a = self.so_far, self.parts, self.a
        role = role_of(parts, a)
        modrm = i[parts.modrm] if role >= SIB and parts.modrm else 0
        r = low(self.recent, 32)
        x = {DISPLACEMENT: parts.displacement, IMMEDIATE: parts.immediate}.get(role, a)
        s = m(H(i), role)
        contexts = [s, m(s, self.b0), m(role, low(r, 8)), m(role, low(r, 16))]
        contexts += [m(2, r), m(m(role, modrm), H(i[x:])), m(r, low(self.recent >> 32, 16)), m(s, self.b1)]
        return role, s, contexts


class Code:
    def __init__(self, shared: Shared, alignment: Alignment, targets: Targets) -> None:
        self._shared, self._alignment, self._targets = shared, alignment, targets
        self.instruction = 0

    def run(self, new: New, size: int, block: int) -> None:
        end = new.end + size
        a = new.end - self.instruction
        a = a if 1 <= a <= 15 else 0
        reading = Reading(new.end, new.before(new.end, 8), new.before(new.end, a))
        while new.end < end:
            if reading.is_at_field(end - new.end):
                self._field(new, reading, block)
            else:
                self._byte(new, reading)
        self.instruction = end - reading.a

    def _byte(self, new: New, reading: Reading) -> None:
        expected, trust = self._alignment.byte()
        role, s, contexts = reading.contexts()
        contexts += [m(trust, expected), m(s, expected if trust else 256)]
        byte = self._shared.model.symbol("code", 8, contexts, role)
        new.data.append(byte)
        self._alignment.take_byte(byte, new.before(new.end, 4))
        reading.take(byte)

    def _field(self, new: New, reading: Reading, block: int) -> None:
        parts, place = reading.parts, address_of(self._shared.regions, new.end)
        hint = self._shared.hint("REL32", self._alignment.at, block)
        target = self._targets.read(place, H(reading.so_far), int(parts.modrm != 0), 0, hint)
        field = bytearray(4)
        self._shared.put(field, 0, "REL32", target, place, parts.length - parts.field - 4)
        new.data += field
        self._alignment.skip(4)
        reading.take_field(bytes(field))

    def show(self, c: int, d: int) -> None:
        """What is taught of the old code [c, d)."""
        old, shared = self._shared.old, self._shared
        start = next((o for o in range(max(c, 16), d) if shared.is_start(o)), None)
        if start is None:
            return
        reading = Reading(start, old[start - 8 : start], b"")
        while reading.pos < d:
            pos = reading.pos
            if reading.is_at_field(d - pos):
                reading.take_field(old[pos : pos + 4])
            else:
                shared.model.teach("code", 8, reading.contexts()[2][:6], old[pos])
                reading.take(old[pos])
