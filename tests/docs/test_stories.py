"""The stories of the docs happen as they are told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_january_to_march() -> None:
    page = (ROOT / "docs/fleet/january-to-march.md").read_text()
    (told,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = ROOT / "examples/january_to_march.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == told
