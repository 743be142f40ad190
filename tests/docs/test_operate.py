"""The page for operators works as it stands: its commands are run one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
FIXES = '[[cves]]\ncve = "CVE-2026-20643"\ncomponent = "app"\ntitle = "WebKit"\nimpact = "may bypass"\n'


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    for name, text in (("old", "one"), ("new", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "engine.so").write_bytes(text.encode() * 3_000)
    (tmp_path / "fixes.toml").write_text(FIXES)
    command = tmp_path / "bin" / "deltaseal"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom deltaseal.cli import main\nmain()\n")
    command.chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["sh", "-eu", "-c", "".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(blocks) == 10
    assert "release-macos 1 is signed, and waits to be published" in done.stdout
    assert "macOS 26.3.1 build 25D2128: fixed from (a) on, macos-26.3.1-a" in done.stdout
    assert "nothing to do: macOS 26.3.1 (a) is applied already" in done.stderr
