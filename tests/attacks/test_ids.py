"""Every attack on a device that the product names has a test here, under its id."""

from __future__ import annotations

import re
from pathlib import Path

ON_A_DEVICE = {*range(8, 16), 20, 21, *range(25, 37), 40}


def test_every_attack_on_a_device_has_its_test() -> None:
    found: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for name in re.findall(r"^def test_(\w+)", path.read_text(), re.MULTILINE):
            found |= {int(number) for number in re.findall(r"(?<![A-Za-z])T(\d\d)(?!\d)", name)}
    assert found >= ON_A_DEVICE
