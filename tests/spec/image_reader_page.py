"""The tables that the pages of old images hold as blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "docs/spec"


def code_blocks(page: str) -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
