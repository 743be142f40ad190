"""The tutorial works as it stands: its commands are run one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "README.md"


def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    for name, text in (("old", "one"), ("new", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "engine.so").write_bytes(text.encode() * 3_000)
    command = tmp_path / "bin" / "deltaseal"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom deltaseal.cli import main\nmain()\n")
    command.chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["sh", "-eu", "-c", "".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(blocks) == 6
    before, _, after = done.stdout.partition("\nexit code 20\n")
    assert "macOS 26.3.1 (a)" in before
    assert after.startswith("macOS 26.3.1 (a)\n")
