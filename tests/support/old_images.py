"""Real images made on the spot, and what the core finds in an old image, as the second decoder takes it.

The regions and references come from the driver `dump_image`: docs/spec/delta-format.md takes them as given.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from pathlib import Path

from native.images import driver
from spec.delta_reader import OldImage, Reference, Region, Table

_CLASSES = {"data": 0, "code": 1, "nobits": 2}
_WANTED = ("regions", "refs", "starts", "lists", "functions", "words", "unwind", "fresh", "digits")
_MACHINES = {"x86_64": 62, "aarch64": 183}


def old_image(path: Path) -> OldImage:
    """Regions, references, instruction starts, lists and functions of the image in a file."""
    dump = subprocess.run(
        [driver("dump_image"), path, *_WANTED],
        capture_output=True,
        check=True,
        text=True,
    )
    image, starts = OldImage(), bytearray(path.stat().st_size)
    of_words: list[int] = []
    tables, machine = dict[str, Table](), 0
    for line in dump.stdout.splitlines():
        what, *rest = line.split()
        if what == "region":
            offset, address, size = (int(text, 16) for text in rest[:3])
            image.regions.append(Region(offset, address, size, _CLASSES[rest[3]]))
        elif what == "ref":
            offset, aux, base, target = (int(rest[at], 16) for at in (0, 2, 3, 4))
            image.references.append(Reference(offset, rest[1], aux, target, base))
        elif what == "start":
            starts[int(rest[0], 16)] = 1
        elif what == "arch":
            machine = _MACHINES.get(rest[0], 0)
        elif what == "unwind":
            tables[rest[0]] = Table(*(int(text, 16) for text in rest[1:]))
        elif what == "words":
            of_words.append(int(rest[0]))
        elif what == "function":
            image.functions.append(int(rest[0], 16))
        elif what == "list":
            base, *listed = (int(text, 16) for text in rest)
            image.lists.append((base, listed))
        elif what == "table":
            image.list_tables.append((int(rest[0], 16), int(rest[1], 16)))
        elif what == "fresh":
            image = replace(image, fresh=(*image.fresh, (int(rest[0], 16), int(rest[1], 16))))
        elif what == "digits":
            image = replace(image, digits=tuple(int(text, 16) for text in rest))
    known = bytes(starts) if 1 in starts else b""
    image = replace(image, starts=known, of_words=frozenset(of_words), machine=machine)
    return replace(image, frames=tables["frames"], frame_header=tables["header"])


def build_library(source: Path | str, output: Path, *options: str) -> Path:
    """A stripped shared library for x86-64; ``source`` is a C file, or its text."""
    file = [str(source)] if isinstance(source, Path) else ["-xc", "-"]
    command = ["gcc", "-shared", "-fPIC", "-O2", "-s", "-nostdlib", "-o", str(output), *options, *file]
    subprocess.run(command, check=True, input=source.encode() if isinstance(source, str) else None)
    return output


def library_source(functions: int, *, changed: int = 0, seed: int = 1) -> str:
    """C text of so many functions that call each other, and use tables, switches, strings and zeroed data.

    ``changed`` functions get more code, so that all behind them moves; as many are added at the front.
    """
    draw = random.Random(seed)
    lines = ["static int zeroed[4096]; extern void foreign(int *);"]
    picks = random.Random(seed + 1).sample(range(functions), changed)
    lines += [f"int added_{n}(int x) {{ return zeroed[x + {n}] * {n + 3} - x; }}" for n in range(changed)]
    lines += [f"int f{n}(int);" for n in range(functions)]
    lines += [f"int (*const table[])(int) = {{{', '.join(f'f{n}' for n in range(functions))}}};"]
    for n in range(functions):
        callees = [draw.randrange(functions) for _ in range(3)]
        a, b = draw.randrange(4096), draw.randrange(1 << 20)
        cases = "".join(
            f"case {k}: x ^= zeroed[{(a + 5 * k) % 4096}] + {b + k * k}; break;"
            for k in range(draw.choice([0, 7]))
        )
        extra = f"if (x > {b}) x -= added_{picks.index(n)}(x / 3);" if n in picks else ""
        lines.append(
            f"int f{n}(int x) {{ zeroed[{a}] += x; switch (x) {{ {cases} default: x++; }} {extra}"
            f'if ((x & {b}) == {a}) return (int)(long)"text {b}" + f{callees[0]}(x - 1);'
            f"foreign(zeroed + {a}); return f{callees[1]}(x >> 1) * {b % 97} + table[{callees[2]}](x); }}"
        )
    return "\n".join(lines) + "\n"
