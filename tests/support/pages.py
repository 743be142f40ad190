"""Pages whose commands are run as they stand, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """The page's blocks of commands."""
    return _BLOCK.findall(page.read_text())


def run_in(folder: Path, blocks: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the blocks in ``folder``, where a component lies in two versions, ``old`` and ``new``."""
    for name, text in (("old", "one"), ("new", "two")):
        (folder / name).mkdir()
        (folder / name / "engine.so").write_bytes(text.encode() * 3_000)
    command = folder / "bin" / "deltaseal"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom deltaseal.cli import main\nmain()\n")
    command.chmod(0o755)
    return subprocess.run(
        ["sh", "-eu", "-c", "".join(blocks)],
        cwd=folder,
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
