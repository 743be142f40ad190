"""The rescue program that was built with this installation, and how to run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deltaseal._core import _native

PROGRAM = Path(_native.__file__).parent / "deltaseal-rescue"


def rescue(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it as an init system does: without any environment."""
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, env={}, timeout=20, check=False
    )
