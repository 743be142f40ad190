"""Every attack that the product names has a test here, under its id."""

from __future__ import annotations

import re
from pathlib import Path

ALL = set(range(1, 41))


def test_every_attack_has_its_test() -> None:
    found: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for name in re.findall(r"^def test_(\w+)", path.read_text(), re.MULTILINE):
            found |= {int(number) for number in re.findall(r"(?<![A-Za-z])T(\d\d)(?!\d)", name)}
    assert sorted(ALL - found) == []
