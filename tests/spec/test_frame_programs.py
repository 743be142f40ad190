"""Predicted call frame programs: the core against the reader that knows docs/spec/frame-programs.md alone."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from native.images import CORPUS, SEEDS, driver
from spec.frame_programs_reader import Step, predicted_steps, ul
from support.old_images import library_source

PAIRS = ["curl", "libxml2", "glib", "curl-arm64", "libxml2-arm64", "glib-arm64"]
ARCHES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
# What the rules know: so rows change often, also in code of chance.
KNOWN_WORDS = """
A9BD7BFD 910003FD A90153F3 AA0003F3 F90013F5 94000000 34000080 A94153F3 A8C37BFD D65F03C0 17FFFFFB
D10083FF 910083FF D503233F 910003BF F94013F5 6D0123E9 FD4003E8 D2800209 CB2963FF 8B2963FF D503201F
D53BD053 54FFFF80 F81F0FFE F84107FE D157FFFF 340000A0 14000004 D61F0200 F9400FF3 F9000FF3 A9016BF9
A9416BF9 FD0013E8 D4200000
"""
KNOWN_BYTES = """
55 53 4154 4155 4156 4157 5B 5D 415C 415D 50 6A01 4889E5 C9 C3 4883EC18 4883C418 4881EC00020000
4881C400020000 85C0 7405 75F5 EB04 EBF0 E800000000 E900100000 FFE0 90 0F1F00 0F84F0FFFFFF 488D65F0
4889DC 488D6424F8 4989FE 4C8B6F08 0F44DF BB05000000 FF30 8F00 8FE978C0C0 06 F4 0F0B
"""


def predict(arch: str, codes: list[bytes], folder: Path) -> list[list[Step]]:
    """What the core says of each code."""
    path = folder / "codes"
    path.write_bytes(b"".join(codes))
    edges = [0]
    for code in codes:
        edges.append(edges[-1] + len(code))
    text = "".join(f"{start} {end - start}\n" for start, end in pairwise(edges))
    argv = [driver("dump_programs"), arch, path]
    lines = subprocess.run(argv, input=text, capture_output=True, check=True, text=True).stdout.splitlines()
    return [[step(word) for word in line.split()] for line in lines]


def step(word: str) -> Step:
    place, _, text = word.partition(":")
    return int(place), bytes.fromhex(text)


def functions(path: Path) -> tuple[str, list[tuple[bytes, list[Step]]]]:
    """Code and steps of each FDE of an ELF image."""
    out = []
    with path.open("rb") as file:
        elf = ELFFile(file)
        arch = ARCHES[elf.header.e_machine]
        if elf.get_section_by_name(".eh_frame") is None:
            return arch, []
        sections = [section for section in elf.iter_sections() if section["sh_flags"] & 4]
        for fde in elf.get_dwarf_info().EH_CFI_entries():
            if not isinstance(fde, FDE):
                continue
            start, size = fde.header["initial_location"], fde.header["address_range"]
            for section in sections:
                at = start - section["sh_addr"]
                if at >= 0 and at + size <= section["sh_size"] and section["sh_type"] == "SHT_PROGBITS":
                    out.append((section.data()[at : at + size], steps_of(fde)))
    return arch, out


def steps_of(fde: FDE) -> list[Step]:
    place, out = 0, []
    unit = fde.cie.header["code_alignment_factor"]
    for instruction in fde.instructions:
        opcode, args = instruction.opcode, instruction.args
        if opcode >> 6 == 1 or opcode in (2, 3, 4):
            place += args[0] * unit
        elif opcode >> 6:
            out.append((place, bytes([opcode & 0xC0 | args[0]]) + b"".join(map(ul, args[1:]))))
        elif opcode != 0 and all(isinstance(arg, int) and arg >= 0 for arg in args):
            out.append((place, bytes([opcode]) + b"".join(map(ul, args))))
    return out


def check(arch: str, codes: list[bytes], folder: Path) -> int:
    """Both say the same of all. How many steps there were."""
    got = predict(arch, codes, folder)
    assert len(got) == len(codes)
    for code, steps in zip(codes, got, strict=True):
        assert predicted_steps(arch, code) == steps, code[:4096].hex()
        places = [place for place, _ in steps]
        assert places == sorted(places) and all(place <= len(code) for place in places)
    return sum(map(len, got))


def chance(arch: str, seed: int) -> bytes:
    source = random.Random(seed)
    parts = []
    for _ in range(source.choice([0, 1, 5, 40, 200])):
        if arch == "aarch64":
            word = int(source.choice(KNOWN_WORDS.split()), 16) ^ (
                1 << source.randrange(32) if source.random() < 0.2 else 0
            )
            parts.append(word.to_bytes(4, "little"))
        elif source.random() < 0.1:
            parts.append(source.randbytes(source.randrange(1, 6)))
        else:
            parts.append(bytes.fromhex(source.choice(KNOWN_BYTES.split())))
    return b"".join(parts) + source.randbytes(source.choice([0, 0, 1, 3]))


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_code_of_chance(arch: str, tmp_path: Path) -> None:
    assert check(arch, [chance(arch, seed) for seed in range(600)], tmp_path) > 6000
    check(arch, [random.Random(seed).randbytes(seed % 300) for seed in range(600)], tmp_path)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SEEDS.iterdir()) if path.suffix == ".so"],
    ids=lambda path: path.name,
)
def test_seeds(path: Path, tmp_path: Path) -> None:
    arch, found = functions(path)
    check(arch, [code for code, _ in found], tmp_path)


@pytest.mark.parametrize("options", [["-O2"], ["-Os"], ["-O2", "-fno-omit-frame-pointer"]], ids=" ".join)
def test_what_a_compiler_makes(options: list[str], tmp_path: Path) -> None:
    """Of what the rules follow nine programs of ten come out."""
    library = tmp_path / "library.so"
    argv = ["gcc", "-shared", "-fPIC", "-xc", *options, "-", "-o", str(library)]
    subprocess.run(argv, input=library_source(100).encode(), check=True)
    arch, found = functions(library)
    codes = [code for code, _ in found]
    assert check(arch, codes, tmp_path) > 100
    exact = sum(predicted_steps(arch, code) == steps for code, steps in found)
    assert exact > 0.9 * len(found) > 90


def test_an_image_at_hand(tmp_path: Path) -> None:
    arch, found = functions(Path(sys.executable).resolve())
    check(arch, [code for code, _ in found][:1500], tmp_path)


def test_limits(tmp_path: Path) -> None:
    pushes = b"\x53" * 5000
    steps = predicted_steps("x86_64", pushes)
    assert len(steps) == 4096 and predict("x86_64", [pushes], tmp_path) == [steps]
    too_much = bytes((1 << 18) + 4)
    assert predicted_steps("aarch64", too_much) == [] == predict("aarch64", [too_much], tmp_path)[0]


@pytest.mark.corpus
@pytest.mark.parametrize("pair", PAIRS)
def test_corpus(pair: str, tmp_path: Path) -> None:
    arch, found = functions(CORPUS / pair / "new")
    check(arch, [code for code, _ in found], tmp_path)
    exact = sum(predicted_steps(arch, code) == steps for code, steps in found)
    print(f"{pair}: {exact} of {len(found)} programs")
    assert exact > 0.95 * len(found)
