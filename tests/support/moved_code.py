"""Real libraries of which functions move from one to another."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from support.old_images import build_library


def function(number: int) -> str:
    """C text of one function: calls others, wherever they are, and has strings and data of its own."""
    draw = random.Random(number)
    callees = [draw.randrange(200) for _ in range(3)]
    steps = "".join(
        f"x = (x ^ {draw.randrange(1 << 20)}) * {draw.randrange(3, 99)} + state_{number}[x & 15];"
        f'if (x > {draw.randrange(1 << 16)}) x += note("function {number} step {step}", x);'
        for step in range(draw.randrange(3, 9))
    )
    return (
        f"static int state_{number}[16]; int f{number}(int x) {{ {steps} "
        f"return f{callees[0]}(x - 1) + f{callees[1]}(x / 3) * f{callees[2]}(x); }}"
    )


def library(path: Path, numbers: Iterable[int], *options: str) -> Path:
    """A shared library of these functions."""
    declared = "".join(f"int f{number}(int);" for number in range(200))
    text = "extern int note(const char *, int);" + declared + "\n".join(map(function, numbers)) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    return build_library(text, path, *options)
