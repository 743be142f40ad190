"""The core's reading of old images against the second reader, which knows the pages alone."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from native.images import CORPUS, SEEDS
from spec import model_reader
from spec.delta_reader import OldImage, Region
from spec.image_reader import parse
from spec.image_reader_macho import Macho
from spec.image_reader_model import B, Building, Cursor, Table
from spec.image_reader_unwind import Function, read_exceptions, read_program
from spec.stream_reader import decode
from support.made_images import (
    AARCH64,
    ALLOC,
    CODE,
    PROGBITS,
    RELA,
    X86_64,
    Piece,
    chance_image,
    crowded,
    damaged,
    elf,
)
from support.made_macho import ARM64, BASE, macho, universal
from support.made_macho import X86_64 as X86_64_CPU
from support.old_images import build_library, library_source, old_image

from deltaseal import images

SEED_FILES = sorted(
    path for path in SEEDS.iterdir() if path.suffix in (".so", ".dylib") or path.name == "fixed"
)
GOLDEN = Path(__file__).parent / "golden"
GO_SEEDS = SEEDS.parent / "go"
GO_NAMES = [(".gopclntab", ".go.module"), (".gopclntab", ".noptrdata"), ("", ".noptrdata")]  # of sections
CPUS = [X86_64_CPU, ARM64]
PAIRS = ["libpng", "expat", "libssl", "libarchive", "curl", "sshd", "libc"]
PAIRS += ["esbuild", "curl-arm64", "glib-arm64", "libc-arm64", "rollup", "numpy-umath", "lxml-x86_64", "lxml"]

THROWS = """
#include <stdexcept>
#include <string>
struct Guard { ~Guard() noexcept(false); };
extern int risky(const std::string &);
template <class T> int run(T x) {
    Guard guard;
    try { return risky(std::to_string(x)); }
    catch (const std::runtime_error &e) { return e.what()[0]; }
    catch (const std::logic_error &) { throw std::runtime_error("again"); }
    catch (...) { return -1; }
}
int a() { return run(1); }
int b() { return run(2.0); }
int c() noexcept { return run(3L); }
"""
BUILDS = {
    "plain": ["-O2", "-s"],
    "unoptimised": ["-O0", "-g"],
    "small": ["-Os", "-s", "-Wl,--hash-style=both,-z,lazy"],
    "guarded": ["-O2", "-fcf-protection=full", "-Wl,-z,lazy,-z,ibtplt"],
    "vectors": ["-O3", "-march=skylake-avx512", "-ffast-math"],
    "packed": ["-O2", "-Wl,-z,pack-relative-relocs,--hash-style=gnu"],
    "old-hash": ["-O1", "-Wl,--hash-style=sysv,-z,now"],
    "throws": ["-xc++", "-O2"],
    "throws-small": ["-xc++", "-Os", "-fno-plt", "-s"],
}


def differences(expected: OldImage, got: OldImage) -> list[object]:
    """Empty when regions, references, starts and lists are the same, in the same order."""
    if got.regions != expected.regions:
        return [expected.regions, got.regions]
    if got.starts != expected.starts:
        return ["starts"]
    if got.of_words != expected.of_words:
        return [expected.of_words, got.of_words]
    if got.functions != expected.functions:
        return [expected.functions, got.functions]
    if (got.lists, got.list_tables) != (expected.lists, expected.list_tables):
        return [expected.lists, got.lists]
    if got.fresh != expected.fresh:
        return [expected.fresh, got.fresh]
    if got.digits != expected.digits:
        return [expected.digits, got.digits]
    if got.references == expected.references:
        return []
    missing = set(expected.references) - set(got.references)
    return ["missing", *list(missing)[:5], "more", *list(set(got.references) - set(expected.references))[:5]]


def check(image: bytes, path: Path) -> None:
    path.write_bytes(image)
    assert differences(old_image(path), parse(image)) == []


def without_sections(image: bytes) -> bytes:
    bare = bytearray(image)
    struct.pack_into("<Q", bare, 40, 0)
    struct.pack_into("<HHH", bare, 58, 0, 0, 0)
    return bytes(bare)


@pytest.mark.parametrize("path", SEED_FILES, ids=lambda path: path.name)
def test_seeds(path: Path) -> None:
    assert differences(old_image(path), parse(path.read_bytes())) == []


@pytest.mark.parametrize("name", BUILDS)
def test_what_a_compiler_makes(name: str, tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    options = BUILDS[name]
    source = THROWS if "-xc++" in options else library_source(60)
    language = [] if "-xc++" in options else ["-xc"]
    command = ["gcc", "-shared", "-fPIC", "-nostdlib", *options, *language, "-", "-o", str(library)]
    subprocess.run(command, input=source.encode(), check=True)
    image = library.read_bytes()
    assert parse(image).references
    check(image, tmp_path / "whole")
    check(without_sections(image), tmp_path / "bare")


def test_an_executable(tmp_path: Path) -> None:
    program = tmp_path / "program"
    command = ["gcc", "-xc", "-", "-O2", "-no-pie", "-o", str(program)]
    source = (
        library_source(20) + "void foreign(int *x) { *x = 0; } int main(int n, char **v) { return f1(n); }"
    )
    subprocess.run(command, input=source.encode(), check=True)
    check(program.read_bytes(), tmp_path / "image")


def linked(path: Path, changed: int) -> bytes:
    """A library with a debug link that is named as distributions do."""
    build_library(library_source(20, changed=changed), path, "-Wl,--build-id=sha1")
    note = path.with_suffix(".note")
    subprocess.run(["objcopy", "-O", "binary", "-j", ".note.gnu.build-id", path, note], check=True)
    link = path.with_suffix(".link")
    link.write_bytes(note.read_bytes()[17:].hex().encode() + b".debug\0\0\0\0crc!")
    subprocess.run(["objcopy", "--add-section", f".gnu_debuglink={link}", path], check=True)
    return path.read_bytes()


@pytest.mark.parametrize("effort", ["default", "best"])
def test_a_debug_link(effort: str, tmp_path: Path) -> None:
    old, new = (linked(tmp_path / str(changed), changed) for changed in (0, 2))
    image = parse(old)
    digits, spelled, size = image.digits
    assert old[digits : digits + 2 * size] == old[spelled : spelled + size].hex().encode() and size == 19
    assert differences(old_image(tmp_path / "0"), image) == []
    delta = images.diff_bytes(old, new, effort=effort)
    assert {"default": decode, "best": model_reader.decode}[effort](old, delta, image) == new
    assert new[parse(new).digits[0] :][: 2 * size] not in delta


def test_code_of_chance(tmp_path: Path) -> None:
    for seed in range(40):
        check(chance_image(seed), tmp_path / "image")


def macho_image(seed: int) -> bytes:
    """Slices of all kinds, at times two in one file."""
    image = macho(seed, CPUS[seed % 2])
    return image if seed % 4 else universal([image, macho(seed + 1, CPUS[seed // 4 % 2])], wide=seed % 8 == 0)


def test_macho_by_hand(tmp_path: Path) -> None:
    kinds: set[str] = set()
    for seed in range(40):
        image = macho_image(seed)
        check(image, tmp_path / "image")
        kinds |= {reference.kind for reference in parse(image).references}
    assert {
        "CHAIN36",
        "CHAIN43",
        "CHAIN32",
        "NEXT12",
        "NEXT11",
        "INDEX24_4",
        "NAME23",
        "PAGE24",
        "BASE24",
    } <= kinds


def test_damaged_machos(tmp_path: Path) -> None:
    for seed in range(150):
        check(damaged(macho_image(seed), seed, front=1600), tmp_path / "image")


def test_damaged_images(tmp_path: Path) -> None:
    images = [path.read_bytes() for path in SEED_FILES if path.suffix != ".dylib"]
    for seed in range(150):
        check(damaged(images[seed % len(images)], seed), tmp_path / "image")


def test_tables_past_the_budget(tmp_path: Path) -> None:
    for seed in range(60):
        check(crowded(seed), tmp_path / "image")


def test_regions_past_the_limit(tmp_path: Path) -> None:
    image = elf(X86_64, [Piece(PROGBITS, ALLOC, 0x1000 + 2 * i, 64 + i, b"x") for i in range(4200)])
    check(image, tmp_path / "image")
    assert len(parse(image).regions) == 4096


@pytest.mark.parametrize("count", [32, 33])
def test_tables_ahead_past_the_limit(count: int, tmp_path: Path) -> None:
    """Loads of so many tables that follow each other, of two entries each."""
    tables, code = 11 * count + 8 & ~3, b""
    for number in range(count):
        lea = struct.pack("<i", tables + 8 * number - len(code) - 7)
        code += bytes.fromhex("488D05") + lea + bytes.fromhex("48630480")
    code += b"\x90" * (tables - len(code))
    for at in range(tables, tables + 8 * count, 8):
        code += struct.pack("<ii", 0 - at, 11 - at)
    image = elf(X86_64, [Piece(PROGBITS, CODE, 0x100000, 64, code)])
    check(image, tmp_path / "image")
    assert sum(r.kind == "BASE32" and r.base != B for r in parse(image).references) == 64


def test_what_is_no_image() -> None:
    assert parse(b"") == OldImage() == parse(b"\x7fELF\x02\x01" + bytes(100))


def test_universal_files_have_limits(tmp_path: Path) -> None:
    image = macho(3, X86_64_CPU)
    check(universal([image] * 33, wide=False), tmp_path / "image")
    assert parse(universal([image] * 33, wide=False)) == OldImage()


def test_it_feeds_the_second_decoder() -> None:
    old, delta, new = ((GOLDEN / f"x86-64.{part}").read_bytes() for part in ("old", "delta", "new"))
    assert decode(old, delta, parse(old)) == new


# The worked examples of the pages: references of the code or table alone, as (offset, kind, aux, target).


def found(image: bytes, start: int, end: int, path: Path) -> list[tuple[int, str, int, int]]:
    check(image, path)
    return [(r.offset, r.kind, r.aux, r.target) for r in parse(image).references if start <= r.offset < end]


def test_example_of_elf(tmp_path: Path) -> None:
    entry = struct.pack("<QQQ", 0x3DF0, 8, 0x1130)
    pieces = [
        Piece(RELA, ALLOC, 0x3A8, 0x3A8, entry),
        Piece(PROGBITS, ALLOC, 0x3DF0, 0x2DF0, struct.pack("<3Q", 0x1130, 0, 0)),
    ]
    assert found(elf(X86_64, pieces), 0x3A8, 0x2E08, tmp_path / "image") == [
        (0x3A8, "ABS64", 0, 0x3DF0),
        (0x3B8, "ABS64", 0, 0x1130),
        (0x2DF0, "ABS64", 0, 0x1130),
    ]


def test_example_of_unwind() -> None:
    table = bytes.fromhex("FF9B11 0109 02030000 0804900101 0100 00FAFFFF")
    image = Building(bytes(0xE00) + table)
    image.choose([Region(0xE00, 0x10E00, len(table), 0)])
    read_exceptions(image, [Function(0x104B0, 0x10E00)])
    assert [(r.offset, r.kind, r.target) for r in image.added] == [
        (0xE05, "ULEB1", 0x104B2),
        (0xE06, "ULEB_SIZE1", 0x104B4),
        (0xE09, "ULEB1", 0x104B8),
        (0xE0A, "ULEB_SIZE1", 0x104BB),
        (0xE0B, "ULEB2", 0x10540),
        (0xE10, "PREL32", 0x10810),
    ]


def test_example_of_a_frame_program() -> None:
    program = bytes.fromhex("410E1002 5A0A0E08 000000")
    image = Building(bytes(0xD21) + program)
    read_program(image, Cursor(image.data, 0xD21, len(image.data)), 1, 0x104B0)
    assert [(r.offset, r.kind, r.base, r.target) for r in image.added] == [
        (0xD21, "STEP6", 0x104B0, 0x104B0),
        (0xD25, "STEP8", 0x104B1, 0x1050A),
    ]


def test_example_of_macho() -> None:
    image = Building(bytes(0x8000) + bytes.fromhex("80203400"))
    slice_ = Macho(image, 0, 0x8004, 0)
    slice_.header_address = BASE
    slice_.read_function_starts(Table(0x8000, B + 0x8000, 4))
    assert [(r.offset, r.kind, r.base, r.target) for r in image.added] == [
        (0x8000, "ULEB2", 0x100000000, 0x100001000),
        (0x8002, "ULEB1", 0x100001000, 0x100001034),
    ]


def test_example_of_x86_64(tmp_path: Path) -> None:
    code = bytes.fromhex("488D15F90F0000 486304BA 4801D0 C3 90")
    words = struct.pack("<4i", -0xFF2, -0xFF1, 0, 0)
    pieces = [Piece(PROGBITS, CODE, 0x1000, 0x400, code), Piece(PROGBITS, ALLOC, 0x2000, 0x500, words)]
    references = found(elf(X86_64, pieces), 0x400, 0x510, tmp_path / "image")
    assert references[0] == (0x403, "REL32", 0, 0x2000)
    assert [(at, kind, target) for at, kind, _, target in references[1:]] == [
        (0x500, "BASE32", 0x100E),
        (0x504, "BASE32", 0x100F),
    ]


def test_example_of_aarch64(tmp_path: Path) -> None:
    code = bytes.fromhex("810000B0 20400091 220C40F9 FDFFFF97 230440F9")
    pieces = [
        Piece(PROGBITS, CODE, 0x10000, 0x400, code),
        Piece(PROGBITS, ALLOC, 0x20000, 0x500, bytes(0x2000)),
    ]
    assert found(elf(AARCH64, pieces), 0x400, 0x500, tmp_path / "image") == [
        (0x400, "ADRP", 0, 0x21010),
        (0x404, "LO12", 0, 0x21010),
        (0x408, "LO12", 3, 0x21018),
        (0x40C, "B26", 0, 0x10000),
    ]


def go_program(seed: bytes, machine: int, functions: str, module: str) -> bytes:
    """A seed of the fuzz target of Go's tables in an ELF frame: its file, loaded from the byte 0x40 on."""
    table, table_size, data, data_size = struct.unpack_from("<HHHH", seed)
    file = seed[9:]
    cuts = [
        (0x40, ""),
        (table, functions),
        (table + table_size, ""),
        (data, module),
        (data + data_size, ""),
    ]
    ends = [at for at, _ in cuts[1:]] + [len(file)]
    pieces = [
        Piece(PROGBITS, ALLOC, 0x10000 + at, at, file[at:end], name)
        for (at, name), end in zip(cuts, ends, strict=True)
        if at < end
    ]
    return elf(machine, pieces)


@pytest.mark.parametrize(
    "names", [(".gopclntab", ".go.module"), (".gopclntab", ".noptrdata"), ("", ".noptrdata")]
)
@pytest.mark.parametrize("seed", sorted(GO_SEEDS.iterdir()), ids=lambda path: path.name)
def test_go_programs(seed: Path, names: tuple[str, str], tmp_path: Path) -> None:
    front, file = seed.read_bytes()[:9], seed.read_bytes()[9:]
    image = go_program(front + file, X86_64, *names)
    assert len(parse(image).references) > 60
    check(image, tmp_path / "image")
    for number in range(60):
        bent = damaged(file, number, front=0x800).ljust(len(file), b"\0")
        check(go_program(front + bent, (X86_64, AARCH64)[number % 2], *names), tmp_path / "image")


@pytest.mark.corpus
@pytest.mark.parametrize("pair", PAIRS)
def test_real_images(pair: str) -> None:
    path = CORPUS / pair / "old"
    assert differences(old_image(path), parse(path.read_bytes())) == []
