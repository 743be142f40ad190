"""Real images and what the core finds in them, for tests that compare with other readers.

The driver `dump_image` comes from the CMake build with -DDS_TESTS=ON; its folder is $DELTASEAL_NATIVE_TESTS,
else build/native-tests, which `./dev test` makes.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "native/fuzz/seeds/image"
CORPUS = Path(os.environ.get("DELTASEAL_CORPUS") or "~/.cache/deltaseal/corpus").expanduser()
FILE_BASE = 1 << 55


@dataclass(frozen=True, slots=True)
class Ref:
    offset: int
    kind: str
    base: int
    target: int


@dataclass(frozen=True, slots=True)
class Found:
    """Regions (offset, address, size, class); references and slots by offset; instruction starts; functions
    with the names behind them.
    """

    arch: str
    regions: list[tuple[int, int, int, str]]
    refs: dict[int, Ref]
    slots: dict[int, int]
    starts: frozenset[int]
    functions: list[int]

    def within(self, start: int, size: int) -> dict[int, tuple[str, int]]:
        """Kind and target of the references in a range of the file, by offset from its start."""
        inside = (ref for ref in self.refs.values() if start <= ref.offset < start + size)
        return {ref.offset - start: (ref.kind, ref.target) for ref in inside}


def driver(name: str) -> Path:
    named = os.environ.get("DELTASEAL_NATIVE_TESTS")
    program = (Path(named) if named else ROOT / "build/native-tests") / name
    if not program.exists():
        raise FileNotFoundError(f"{program}: build native/ with -DDS_TESTS=ON (./dev test does)")
    return program


@cache
def found(path: Path) -> Found:
    """What the core finds in a file."""
    dump = subprocess.run([driver("dump_image"), path], capture_output=True, check=True, text=True)
    arch, regions, refs, slots, starts, functions = "", [], {}, {}, [], []
    for line in dump.stdout.splitlines():
        what, *rest = line.split()
        if what == "arch":
            arch = rest[0]
        elif what == "region":
            regions.append((int(rest[0], 16), int(rest[1], 16), int(rest[2], 16), rest[3]))
        elif what == "ref":
            offset = int(rest[0], 16)
            refs[offset] = Ref(offset, rest[1], int(rest[3], 16), int(rest[4], 16))
        elif what == "slot":
            slots[int(rest[0], 16)] = int(rest[1], 16)
        elif what == "start":
            starts.append(int(rest[0], 16))
        elif what == "function":
            functions.append(int(rest[0], 16))
    return Found(arch, regions, refs, slots, frozenset(starts), functions)
