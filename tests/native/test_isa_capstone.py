"""The sweeps of both instruction sets against capstone: lengths, targets, written registers."""

from __future__ import annotations

import bisect
import dataclasses
import importlib.util
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import capstone
import pytest
from elftools.elf.elffile import ELFFile
from native.images import CORPUS, driver

# The slots of made-up code: one instruction each, decoded anew.
_SLOT = 32
_NOP = b"\x90"
_FAR = 1 << 39


@pytest.fixture(scope="module")
def dump_sweep() -> Path:
    return driver("dump_sweep")


@dataclasses.dataclass(frozen=True)
class Code:
    """A stretch of code in a file."""

    arch: str
    path: Path
    offset: int
    size: int
    address: int

    def words(self) -> list[str]:
        """As dump_sweep takes it."""
        return [self.arch, str(self.path), *map(str, (self.offset, self.size, self.address))]

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclasses.dataclass(frozen=True)
class Swept:
    """What the sweep found; all by distance from the beginning of the code."""

    starts: frozenset[int]
    refs: dict[int, tuple[str, int]]  # kind, target address


def _sweep(program: Path, code: Code, *, step: int = 0) -> Swept:
    argv: list[str | Path] = [program, *code.words()]
    if step:
        argv.append(f"%{step}")
    lines = subprocess.run(argv, capture_output=True, check=True, text=True).stdout.splitlines()
    starts, refs = [], {}
    for line in lines:
        fields = line.split()
        if fields[0] == "S":
            starts.append(int(fields[1]) - code.offset)
        else:
            refs[int(fields[1]) - code.offset] = (fields[2], int(fields[4]))
    return Swept(frozenset(starts), refs)


def _print_speed(program: Path, code: Code) -> None:
    """For those who look: pytest -s."""
    argv: list[str | Path] = [program, "-t", *code.words()]
    milliseconds = float(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)
    print(f"{code.path}: {milliseconds:.1f} ms, {milliseconds / code.size * 1e6:.1f} ms a MB")


def _text(path: Path, *, limit: int) -> Code:
    with path.open("rb") as file:
        elf = ELFFile(file)
        arch = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}[elf.header.e_machine]
        text = elf.get_section_by_name(".text")
        assert text is not None
        size = min(text["sh_size"], limit)
        return Code(arch, path, text["sh_offset"], size, text["sh_addr"])


# ---- x86-64 -----------------------------------------------------------------------------------------

# Instructions whose length capstone sees otherwise, each with the reason to differ.
_X86_LENGTH_DIFFERS = {
    "ud0": "has a ModR/M byte (SDM vol. 2, UD)",
    "ud1": "has a ModR/M byte (SDM vol. 2, UD)",
}
_X86_LENGTH_DIFFERS_AFTER_66 = {
    "ret": "66 with REX.W: the immediate has 16 bits",
    "j": "66 does not shorten a near branch (SDM vol. 2, appendix A, forced 64-bit)",
}
_X86_OTHER_FORMS = {
    b"\x62": "made as EVEX below",
    b"\xc4": "made as VEX below; without a prefix before it (SDM vol. 2, 2.3.2 to 2.3.4)",
    b"\xc5": "the same",
    b"\x0f\x0f": "3DNow! is not decoded",
}
_RIP = re.compile(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_BRANCHES = ("j", "call", "loop", "xbegin")


def _x86_length_differs(raw: bytes, mnemonic: str) -> bool:
    with_66 = 0x66 in raw[:4] and mnemonic.startswith(tuple(_X86_LENGTH_DIFFERS_AFTER_66))
    return mnemonic in _X86_LENGTH_DIFFERS or with_66


def _x86_target(end: int, mnemonic: str, operands: str) -> list[int]:
    """The address that capstone's text names, if any."""
    if match := _RIP.search(operands):
        distance = int(match[2], 0) if match[1] else 0
        return [(end + (-distance if match[1] == "-" else distance)) % 2**64]
    branch = mnemonic.split()[-1].startswith(_BRANCHES)
    return [int(operands, 0)] if branch and operands[:1].isdigit() else []


def _x86_forms(count: int, seed: int) -> Iterator[bytes]:
    """Opcodes of all maps with all kinds of prefixes and operands."""
    chance = random.Random(seed)
    legacy = [b""] + [
        bytes.fromhex(text) for text in ["48", "66", "f2", "f3", "6648", "67", "41", "f0", "4866"]
    ]
    operands = [
        bytes.fromhex(text) for text in ["00", "0425", "0488", "05", "4420", "4425", "8425", "80", "c1"]
    ]
    maps = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a", b"vex2", b"vex3", b"evex")
    for _ in range(count):
        opcode_map, opcode = chance.choice(maps), chance.randrange(256)
        if opcode_map + bytes([opcode]) in _X86_OTHER_FORMS:
            continue
        head = chance.choice(legacy) + opcode_map
        pp, wide, long = chance.randrange(4), chance.choice((0, 0x80)), chance.randrange(2)
        if opcode_map == b"vex2":
            head = bytes([0xC5, 0x78 | wide | long << 2 | pp])
        elif opcode_map == b"vex3":
            head = bytes([0xC4, 0xE0 | chance.randrange(1, 4), wide | 0x78 | long << 2 | pp])
        elif opcode_map == b"evex":
            number, vector = chance.choice((1, 2, 3, 5, 6)), chance.randrange(3)
            head = bytes([0x62, 0xF0 | number, wide | 0x7C | pp, 0x08 | vector << 5])
        operand = bytearray(chance.choice(operands))
        operand[0] |= chance.randrange(8) << 3
        yield head + bytes([opcode]) + bytes(operand) + chance.randbytes(12)


def test_x86_lengths_over_the_opcode_maps(dump_sweep: Path, tmp_path: Path) -> None:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    slots, known = bytearray(), []
    for candidate in _x86_forms(100_000, seed=1):
        found = next(decoder.disasm_lite(candidate[:15], _FAR, 1), None)
        if found is None:
            continue
        raw = candidate[: found[1]]
        if not _x86_length_differs(raw, found[2]):
            known.append((raw, found[2], found[3]))
            slots += raw.ljust(_SLOT, _NOP)
    (tmp_path / "code").write_bytes(slots)
    swept = _sweep(dump_sweep, Code("x86_64", tmp_path / "code", 0, len(slots), _FAR), step=_SLOT)
    wrong = []
    for index, (raw, mnemonic, operands) in enumerate(known):
        base = index * _SLOT
        ours = [at for at in range(_SLOT) if base + at in swept.starts]
        if ours != [0, *range(len(raw), _SLOT)]:
            wrong.append((raw.hex(), mnemonic, operands, ours[:3]))
    assert wrong == [], wrong[:20]
    assert len(known) > 15_000


def _x86_compare(dump_sweep: Path, code: Code) -> Counter[str]:
    """Every instruction that capstone finds; those close to bytes it refuses are data and do not count."""
    swept = _sweep(dump_sweep, code)
    refs = sorted(swept.refs)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.skipdata = True
    found = list(decoder.disasm_lite(code.read(), code.address))
    refused = [address for address, _, mnemonic, _ in found if mnemonic == ".byte"]
    outcome: Counter[str] = Counter()
    wrong: list[object] = []
    for address, length, mnemonic, operands in found[:-16]:  # the limit may cut the last ones
        near = bisect.bisect_left(refused, address - 64)
        if near < len(refused) and refused[near] <= address + 64:
            outcome["near data"] += 1
            continue
        at = address - code.address
        first = bisect.bisect_left(refs, at)
        last = bisect.bisect_left(refs, at + length)
        ours = [swept.refs[ref][1] for ref in refs[first:last]]
        outcome["instructions"] += 1
        outcome["targets"] += len(ours)
        theirs = _x86_target(address + length, mnemonic, operands)
        if length <= 3 and not all(code.address <= target < code.address + code.size for target in theirs):
            theirs = []  # a short branch out of the stretch is not followed
        if at not in swept.starts or at + length not in swept.starts or ours != theirs:
            wrong.append((hex(address), length, mnemonic, operands, ours))
        if any(at + inside in swept.starts for inside in range(1, length)):
            wrong.append((hex(address), length, mnemonic, operands, "a start inside"))
    assert wrong == [], wrong[:20]
    return outcome


def _images_at_hand() -> list[Path]:
    """Native code that every test run has: of the interpreter's own packages."""
    names = ("_cffi_backend", "cryptography.hazmat.bindings._rust")
    specs = [importlib.util.find_spec(name) for name in names]
    return [Path(spec.origin) for spec in specs if spec and spec.origin] + [Path(sys.executable).resolve()]


def test_images_at_hand(dump_sweep: Path) -> None:
    total: Counter[str] = Counter()
    for path in _images_at_hand():
        code = _text(path, limit=1 << 20)
        total += (_x86_compare if code.arch == "x86_64" else _aarch64_compare)(dump_sweep, code)
    assert total["instructions"] > 100_000
    assert total["targets"] > total["instructions"] / 10


@pytest.mark.corpus
@pytest.mark.parametrize(
    "pair", ["libpng", "libxml2", "libc", "nss", "libcrypto", "libaom", "wheel-cryptography"]
)
def test_x86_corpus(dump_sweep: Path, pair: str) -> None:
    code = _text(CORPUS / pair / "new", limit=2 << 20)
    _print_speed(dump_sweep, code)
    outcome = _x86_compare(dump_sweep, code)
    assert outcome["near data"] < outcome["instructions"] / 4  # libcrypto has tables in its code


# ---- AArch64 ----------------------------------------------------------------------------------------

_AARCH64_KINDS = {"b": "B26", "bl": "B26", "tbz": "IMM14", "tbnz": "IMM14", "adr": "ADR"}
_GENERAL = re.compile(r"[xw](\d+)")
_ADRP_NOP = 0xD503201F


def _aarch64_expected(mnemonic: str, operands: str, word: int) -> tuple[str, int] | None:
    """Kind and target of a word that holds its target whole, by capstone's text."""
    if word >> 24 in (0x04, 0x44):  # adr of SVE: an address from vectors
        return None
    numbers = re.findall(r"#(0x[0-9a-f]+|\d+)", operands)
    name = mnemonic.split(".")[0]
    literal = name in ("ldr", "ldrsw", "prfm") and "[" not in operands
    if not numbers or not (literal or name in ("b", "bl", "bc", "tbz", "tbnz", "cbz", "cbnz", "adr")):
        return None
    kind = "IMM19" if "." in mnemonic else _AARCH64_KINDS.get(name, "IMM19")
    return kind, int(numbers[-1], 0)


def _aarch64_compare(dump_sweep: Path, code: Code) -> Counter[str]:
    swept = _sweep(dump_sweep, code)
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    decoder.skipdata = True
    data = code.read()
    outcome: Counter[str] = Counter()
    wrong = []
    for address, _, mnemonic, operands in decoder.disasm_lite(data, code.address):
        at = address - code.address
        if mnemonic in (".byte", "udf"):
            continue
        outcome["instructions"] += 1
        word = int.from_bytes(data[at : at + 4], "little")
        expected = _aarch64_expected(mnemonic, operands, word)
        ours = swept.refs.get(at)
        if ours is not None and ours[0] in ("ADRP", "LO12"):
            outcome[mnemonic] += 1
            page = int(operands.split("#")[-1], 0) if mnemonic == "adrp" else ours[1] & ~0xFFF
            low = (word >> 10 & 0xFFF) << _scale(word) if ours[0] == "LO12" else ours[1] & 0xFFF
            ours = None if ours[1] == page + low else ours
        outcome["targets"] += ours is not None
        if at not in swept.starts or ours != expected:
            wrong.append((hex(address), mnemonic, operands, ours))
    assert wrong == [], wrong[:20]
    return outcome


def _scale(word: int) -> int:
    if word >> 24 == 0x91:
        return 0
    return 4 if word >> 26 & 1 and word >> 23 & 1 else word >> 30


@pytest.mark.corpus
@pytest.mark.parametrize(
    "pair", ["libc-arm64", "libxml2-arm64", "libcrypto-arm64", "wheel-cryptography-arm64"]
)
def test_aarch64_corpus(dump_sweep: Path, pair: str) -> None:
    code = _text(CORPUS / pair / "new", limit=2 << 20)
    _print_speed(dump_sweep, code)
    outcome = _aarch64_compare(dump_sweep, code)
    assert outcome["adrp"] > 1_000
    assert outcome["add"] > 1_000


def test_aarch64_words(dump_sweep: Path, tmp_path: Path) -> None:
    """Random words: the same reference, or none, as capstone finds."""
    chance = random.Random(2)
    words = [chance.getrandbits(32) for _ in range(150_000)]
    # Half of the words go where references are.
    tops = (0x14, 0x94, 0x54, 0x34, 0xB5, 0x36, 0xB7, 0x18, 0x58, 0x98, 0xD8, 0x1C, 0x5C, 0x9C, 0x10, 0x70)
    words = [chance.choice(tops) << 24 | w & 0xFFFFFF if chance.random() < 0.5 else w for w in words]
    words = [w for w in words if w & 0x9F000000 != 0x90000000]  # but ADRP, which has its own test
    data = b"".join(w.to_bytes(4, "little") for w in words)
    (tmp_path / "code").write_bytes(data)
    outcome = _aarch64_compare(dump_sweep, Code("aarch64", tmp_path / "code", 0, len(data), _FAR))
    assert outcome["targets"] > 50_000


# Words that capstone says write a general register and that do not, with the reason.
_NO_WRITE = {
    "cmp": "an alias that writes the zero register",
    "cmn": "an alias that writes the zero register",
    "tst": "an alias that writes the zero register",
    "st1": "post-index by a register reads that register",
}
# Words that write, though capstone does not say so, or that count as writing (see aarch64.c).
_COUNTS_AS_WRITE = re.compile(
    r"adds|addg|subg|subp|subps|irg|gmi|fcvtz[su]|svc|"  # capstone leaves out the destination
    r"(ldadd|ldclr|ldeor|ldset|ldsmax|ldsmin|ldumax|ldumin|swp|cas|ldra).*|"
    r"ldg|st.*g|cpy.*|set.*|"  # memory tagging, copy and set: all registers of the word
    r"ldxp|ldaxp"  # with a status register that should be 31
)


def _slots_for_writes(seed: int) -> Iterator[tuple[int, int, bool]]:
    """Words, a register, and whether the word ends a pairing through it."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    decoder.detail = True
    chance = random.Random(seed)
    while True:
        word = chance.getrandbits(32)
        found = next(decoder.disasm(word.to_bytes(4, "little"), _FAR, 1), None)
        sve = word >> 25 & 0xF == 2
        if found is None or sve or found.mnemonic in _NO_WRITE:
            continue
        if word & 0x9F000000 == 0x90000000 or found.mnemonic == "udf":
            continue
        written = set()
        for register in found.regs_access()[1]:
            name = {"fp": "x29", "lr": "x30"}.get(name := found.reg_name(register), name)
            if match := _GENERAL.fullmatch(name):
                written.add(int(match[1]))
        call = found.mnemonic.startswith("bl")
        hint = word & 0xFFFFF01F == 0xD503201F  # those of pointer authentication write x30 or x17
        for register in {word & 31, word >> 5 & 31, word >> 10 & 31, word >> 16 & 31, *written} - {31, 30}:
            if call or (hint and register == 17):
                continue
            if register in written:
                yield word, register, True
            elif not _COUNTS_AS_WRITE.fullmatch(found.mnemonic):
                yield word, register, False


def test_aarch64_written_registers(dump_sweep: Path, tmp_path: Path) -> None:
    """adrp r; word; add other, r, #8: paired if, and only if, capstone says that the word leaves r alone."""
    expected, data = [], bytearray()
    for word, register, ends in _slots_for_writes(seed=3):
        other = (register + 1) % 29
        add = 0x91000000 | 8 << 10 | register << 5 | other
        for part in (0x90000000 | register, word, add, _ADRP_NOP):
            data += part.to_bytes(4, "little")
        expected.append((word, register, ends))
        if len(expected) == 60_000:
            break
    (tmp_path / "code").write_bytes(data)
    swept = _sweep(dump_sweep, Code("aarch64", tmp_path / "code", 0, len(data), _FAR), step=16)
    wrong = []
    for index, (word, register, ends) in enumerate(expected):
        paired = swept.refs.get(16 * index + 8) is not None
        if paired == ends:
            wrong.append((hex(word), register, "written" if ends else "left alone"))
    assert wrong == [], wrong[:20]
    assert {ends for _, _, ends in expected} == {True, False}
